# What the page can call, as pgganApp.begin(name), .add(base64), .save() and .share(): a page in a
# WebView can neither save a file nor open the share sheet. The picture comes in pieces, because a
# large one would not fit into one message.
#
# public final class Bridge

.class public final Lpggan/app/Bridge;
.super Ljava/lang/Object;

.field final main:Lpggan/app/Main;


.method constructor <init>(Lpggan/app/Main;)V
    .registers 2
    invoke-direct {p0}, Ljava/lang/Object;-><init>()V
    iput-object p1, p0, Lpggan/app/Bridge;->main:Lpggan/app/Main;
    return-void
.end method


# Begin a picture: an empty file of this name in the app's own cache.
.method public begin(Ljava/lang/String;)V
    .annotation runtime Landroid/webkit/JavascriptInterface;
    .end annotation
    .registers 6
    iget-object v0, p0, Lpggan/app/Bridge;->main:Lpggan/app/Main;
    invoke-static {v0, p1}, Lpggan/app/Pictures;->locate(Landroid/content/Context;Ljava/lang/String;)Ljava/io/File;
    move-result-object v1
    invoke-virtual {v1}, Ljava/io/File;->getParentFile()Ljava/io/File;
    move-result-object v2
    invoke-virtual {v2}, Ljava/io/File;->mkdirs()Z
    invoke-virtual {v1}, Ljava/io/File;->delete()Z
    iput-object v1, v0, Lpggan/app/Main;->picture:Ljava/io/File;
    return-void
.end method


# Append a piece to the picture.
.method public add(Ljava/lang/String;)V
    .annotation runtime Landroid/webkit/JavascriptInterface;
    .end annotation
    .registers 6
    iget-object v0, p0, Lpggan/app/Bridge;->main:Lpggan/app/Main;
    iget-object v0, v0, Lpggan/app/Main;->picture:Ljava/io/File;
    const/4 v1, 0x0
    invoke-static {p1, v1}, Landroid/util/Base64;->decode(Ljava/lang/String;I)[B
    move-result-object v1
    const/4 v2, 0x1
    new-instance v3, Ljava/io/FileOutputStream;
    :start
    invoke-direct {v3, v0, v2}, Ljava/io/FileOutputStream;-><init>(Ljava/io/File;Z)V
    invoke-virtual {v3, v1}, Ljava/io/FileOutputStream;->write([B)V
    invoke-virtual {v3}, Ljava/io/FileOutputStream;->close()V
    :end
    .catch Ljava/io/IOException; {:start .. :end} :failed
    return-void
    :failed
    iget-object v0, p0, Lpggan/app/Bridge;->main:Lpggan/app/Main;
    const-string v1, "The phone has no room for the picture"
    invoke-static {v0, v1, v2}, Landroid/widget/Toast;->makeText(Landroid/content/Context;Ljava/lang/CharSequence;I)Landroid/widget/Toast;
    move-result-object v0
    invoke-virtual {v0}, Landroid/widget/Toast;->show()V
    # The page learns it as an error of this call, and does not go on.
    new-instance v0, Ljava/lang/IllegalStateException;
    invoke-direct {v0, v1}, Ljava/lang/IllegalStateException;-><init>(Ljava/lang/String;)V
    throw v0
.end method


# Save the picture. Android 10 and newer let an app add to the phone's pictures without a
# permission; older ones let the person choose a place, and Main.onActivityResult writes the file
# there.
.method public save()V
    .annotation runtime Landroid/webkit/JavascriptInterface;
    .end annotation
    .registers 7
    iget-object v0, p0, Lpggan/app/Bridge;->main:Lpggan/app/Main;
    iget-object v1, v0, Lpggan/app/Main;->picture:Ljava/io/File;
    invoke-virtual {v1}, Ljava/io/File;->getName()Ljava/lang/String;
    move-result-object v1
    sget v2, Landroid/os/Build$VERSION;->SDK_INT:I
    const/16 v3, 0x1d
    if-lt v2, v3, :choose

    new-instance v2, Landroid/content/ContentValues;
    invoke-direct {v2}, Landroid/content/ContentValues;-><init>()V
    const-string v3, "_display_name"
    invoke-virtual {v2, v3, v1}, Landroid/content/ContentValues;->put(Ljava/lang/String;Ljava/lang/String;)V
    const-string v3, "mime_type"
    const-string v4, "image/png"
    invoke-virtual {v2, v3, v4}, Landroid/content/ContentValues;->put(Ljava/lang/String;Ljava/lang/String;)V
    const-string v3, "relative_path"
    const-string v4, "Pictures"
    invoke-virtual {v2, v3, v4}, Landroid/content/ContentValues;->put(Ljava/lang/String;Ljava/lang/String;)V
    invoke-virtual {v0}, Lpggan/app/Main;->getContentResolver()Landroid/content/ContentResolver;
    move-result-object v3
    sget-object v4, Landroid/provider/MediaStore$Images$Media;->EXTERNAL_CONTENT_URI:Landroid/net/Uri;
    invoke-virtual {v3, v4, v2}, Landroid/content/ContentResolver;->insert(Landroid/net/Uri;Landroid/content/ContentValues;)Landroid/net/Uri;
    move-result-object v4
    invoke-static {v0, v4}, Lpggan/app/Bridge;->copy(Lpggan/app/Main;Landroid/net/Uri;)Z
    move-result v2
    if-nez v2, :done
    if-eqz v4, :done
    # Leave no empty picture behind.
    const/4 v2, 0x0
    invoke-virtual {v3, v4, v2, v2}, Landroid/content/ContentResolver;->delete(Landroid/net/Uri;Ljava/lang/String;[Ljava/lang/String;)I
    :done
    return-void

    :choose
    new-instance v2, Landroid/content/Intent;
    const-string v3, "android.intent.action.CREATE_DOCUMENT"
    invoke-direct {v2, v3}, Landroid/content/Intent;-><init>(Ljava/lang/String;)V
    const-string v3, "android.intent.category.OPENABLE"
    invoke-virtual {v2, v3}, Landroid/content/Intent;->addCategory(Ljava/lang/String;)Landroid/content/Intent;
    const-string v3, "image/png"
    invoke-virtual {v2, v3}, Landroid/content/Intent;->setType(Ljava/lang/String;)Landroid/content/Intent;
    const-string v3, "android.intent.extra.TITLE"
    invoke-virtual {v2, v3, v1}, Landroid/content/Intent;->putExtra(Ljava/lang/String;Ljava/lang/String;)Landroid/content/Intent;
    const/4 v3, 0x2
    invoke-static {v0, v2, v3}, Lpggan/app/Start;->later(Lpggan/app/Main;Landroid/content/Intent;I)V
    return-void
.end method


# Open the share sheet with the picture, which the other app reads through Pictures.
.method public share()V
    .annotation runtime Landroid/webkit/JavascriptInterface;
    .end annotation
    .registers 6
    iget-object v0, p0, Lpggan/app/Bridge;->main:Lpggan/app/Main;
    iget-object v1, v0, Lpggan/app/Main;->picture:Ljava/io/File;
    invoke-static {v0, v1}, Lpggan/app/Pictures;->addressOf(Landroid/content/Context;Ljava/io/File;)Landroid/net/Uri;
    move-result-object v1
    new-instance v2, Landroid/content/Intent;
    const-string v3, "android.intent.action.SEND"
    invoke-direct {v2, v3}, Landroid/content/Intent;-><init>(Ljava/lang/String;)V
    const-string v3, "image/png"
    invoke-virtual {v2, v3}, Landroid/content/Intent;->setType(Ljava/lang/String;)Landroid/content/Intent;
    const-string v3, "android.intent.extra.STREAM"
    invoke-virtual {v2, v3, v1}, Landroid/content/Intent;->putExtra(Ljava/lang/String;Landroid/os/Parcelable;)Landroid/content/Intent;
    # 1 is FLAG_GRANT_READ_URI_PERMISSION: the app that is chosen may read this one picture.
    const/4 v3, 0x1
    invoke-virtual {v2, v3}, Landroid/content/Intent;->addFlags(I)Landroid/content/Intent;
    const/4 v1, 0x0
    invoke-static {v2, v1}, Landroid/content/Intent;->createChooser(Landroid/content/Intent;Ljava/lang/CharSequence;)Landroid/content/Intent;
    move-result-object v2
    # Nothing is returned from there.
    const/4 v3, -0x1
    invoke-static {v0, v2, v3}, Lpggan/app/Start;->later(Lpggan/app/Main;Landroid/content/Intent;I)V
    return-void
.end method


# Copy the picture to an address that this app may write to, tell the person, and return whether it
# is there.
.method static copy(Lpggan/app/Main;Landroid/net/Uri;)Z
    .registers 9
    const/4 v6, 0x0
    if-eqz p1, :failed
    iget-object v0, p0, Lpggan/app/Main;->picture:Ljava/io/File;
    # The system had ended the app while the person chose a place.
    if-eqz v0, :failed
    invoke-virtual {p0}, Lpggan/app/Main;->getContentResolver()Landroid/content/ContentResolver;
    move-result-object v1
    const v2, 0x10000
    new-array v2, v2, [B
    new-instance v3, Ljava/io/FileInputStream;
    :start
    invoke-direct {v3, v0}, Ljava/io/FileInputStream;-><init>(Ljava/io/File;)V
    invoke-virtual {v1, p1}, Landroid/content/ContentResolver;->openOutputStream(Landroid/net/Uri;)Ljava/io/OutputStream;
    move-result-object v4
    if-eqz v4, :failed
    :next
    invoke-virtual {v3, v2}, Ljava/io/FileInputStream;->read([B)I
    move-result v5
    if-lez v5, :copied
    invoke-virtual {v4, v2, v6, v5}, Ljava/io/OutputStream;->write([BII)V
    goto :next
    :copied
    invoke-virtual {v4}, Ljava/io/OutputStream;->close()V
    invoke-virtual {v3}, Ljava/io/FileInputStream;->close()V
    :end
    .catch Ljava/io/IOException; {:start .. :end} :failed
    const/4 v6, 0x1
    const-string v0, "Saved"
    goto :tell

    :failed
    const-string v0, "The picture could not be saved"

    :tell
    const/4 v1, 0x0
    invoke-static {p0, v0, v1}, Landroid/widget/Toast;->makeText(Landroid/content/Context;Ljava/lang/CharSequence;I)Landroid/widget/Toast;
    move-result-object v0
    invoke-virtual {v0}, Landroid/widget/Toast;->show()V
    return v6
.end method

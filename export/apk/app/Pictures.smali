# Gives the pictures in the app's cache to the apps that the person has shared them with, and to no
# other: it is not exported, and every share grants the reading of one picture.
#
# public final class Pictures extends ContentProvider

.class public final Lpggan/app/Pictures;
.super Landroid/content/ContentProvider;


.method public constructor <init>()V
    .registers 1
    invoke-direct {p0}, Landroid/content/ContentProvider;-><init>()V
    return-void
.end method


# Return the file of a picture. Of a name with folders only the last part counts.
.method static locate(Landroid/content/Context;Ljava/lang/String;)Ljava/io/File;
    .registers 5
    new-instance v0, Ljava/io/File;
    invoke-virtual {p0}, Landroid/content/Context;->getCacheDir()Ljava/io/File;
    move-result-object v1
    const-string v2, "pictures"
    invoke-direct {v0, v1, v2}, Ljava/io/File;-><init>(Ljava/io/File;Ljava/lang/String;)V
    new-instance v1, Ljava/io/File;
    invoke-direct {v1, p1}, Ljava/io/File;-><init>(Ljava/lang/String;)V
    invoke-virtual {v1}, Ljava/io/File;->getName()Ljava/lang/String;
    move-result-object v2
    new-instance v1, Ljava/io/File;
    invoke-direct {v1, v0, v2}, Ljava/io/File;-><init>(Ljava/io/File;Ljava/lang/String;)V
    return-object v1
.end method


# Delete the pictures of earlier visits.
.method static forget(Landroid/content/Context;)V
    .registers 5
    const-string v0, "any"
    invoke-static {p0, v0}, Lpggan/app/Pictures;->locate(Landroid/content/Context;Ljava/lang/String;)Ljava/io/File;
    move-result-object v0
    invoke-virtual {v0}, Ljava/io/File;->getParentFile()Ljava/io/File;
    move-result-object v0
    invoke-virtual {v0}, Ljava/io/File;->listFiles()[Ljava/io/File;
    move-result-object v0
    # Null: there is no such folder yet.
    if-eqz v0, :done
    array-length v1, v0
    :next
    add-int/lit8 v1, v1, -0x1
    if-ltz v1, :done
    aget-object v2, v0, v1
    invoke-virtual {v2}, Ljava/io/File;->delete()Z
    goto :next
    :done
    return-void
.end method


# Return the content: address of a picture. The authority is the one in the manifest.
.method static addressOf(Landroid/content/Context;Ljava/io/File;)Landroid/net/Uri;
    .registers 5
    new-instance v0, Landroid/net/Uri$Builder;
    invoke-direct {v0}, Landroid/net/Uri$Builder;-><init>()V
    const-string v1, "content"
    invoke-virtual {v0, v1}, Landroid/net/Uri$Builder;->scheme(Ljava/lang/String;)Landroid/net/Uri$Builder;
    invoke-virtual {p0}, Landroid/content/Context;->getPackageName()Ljava/lang/String;
    move-result-object v1
    const-string v2, ".pictures"
    invoke-virtual {v1, v2}, Ljava/lang/String;->concat(Ljava/lang/String;)Ljava/lang/String;
    move-result-object v1
    invoke-virtual {v0, v1}, Landroid/net/Uri$Builder;->authority(Ljava/lang/String;)Landroid/net/Uri$Builder;
    invoke-virtual {p1}, Ljava/io/File;->getName()Ljava/lang/String;
    move-result-object v1
    invoke-virtual {v0, v1}, Landroid/net/Uri$Builder;->appendPath(Ljava/lang/String;)Landroid/net/Uri$Builder;
    invoke-virtual {v0}, Landroid/net/Uri$Builder;->build()Landroid/net/Uri;
    move-result-object v0
    return-object v0
.end method


.method find(Landroid/net/Uri;)Ljava/io/File;
    .registers 4
    invoke-virtual {p0}, Lpggan/app/Pictures;->getContext()Landroid/content/Context;
    move-result-object v0
    invoke-virtual {p1}, Landroid/net/Uri;->getLastPathSegment()Ljava/lang/String;
    move-result-object v1
    # The address without a name.
    if-nez v1, :named
    const-string v1, ""
    :named
    invoke-static {v0, v1}, Lpggan/app/Pictures;->locate(Landroid/content/Context;Ljava/lang/String;)Ljava/io/File;
    move-result-object v0
    return-object v0
.end method


.method public onCreate()Z
    .registers 2
    const/4 v0, 0x1
    return v0
.end method


.method public openFile(Landroid/net/Uri;Ljava/lang/String;)Landroid/os/ParcelFileDescriptor;
    .registers 5
    .annotation system Ldalvik/annotation/Throws;
        value = { Ljava/io/FileNotFoundException; }
    .end annotation
    invoke-virtual {p0, p1}, Lpggan/app/Pictures;->find(Landroid/net/Uri;)Ljava/io/File;
    move-result-object v0
    # MODE_READ_ONLY, whatever is asked for.
    const/high16 v1, 0x10000000
    invoke-static {v0, v1}, Landroid/os/ParcelFileDescriptor;->open(Ljava/io/File;I)Landroid/os/ParcelFileDescriptor;
    move-result-object v0
    return-object v0
.end method


.method public getType(Landroid/net/Uri;)Ljava/lang/String;
    .registers 3
    const-string v0, "image/png"
    return-object v0
.end method


# Return a table of one row: the picture's name and its size in bytes.
.method public query(Landroid/net/Uri;[Ljava/lang/String;Ljava/lang/String;[Ljava/lang/String;Ljava/lang/String;)Landroid/database/Cursor;
    .registers 10
    invoke-virtual {p0, p1}, Lpggan/app/Pictures;->find(Landroid/net/Uri;)Ljava/io/File;
    move-result-object v0
    const-string v1, "_display_name"
    const-string v2, "_size"
    filled-new-array {v1, v2}, [Ljava/lang/String;
    move-result-object v1
    new-instance v3, Landroid/database/MatrixCursor;
    invoke-direct {v3, v1}, Landroid/database/MatrixCursor;-><init>([Ljava/lang/String;)V
    invoke-virtual {v0}, Ljava/io/File;->getName()Ljava/lang/String;
    move-result-object v1
    invoke-virtual {v0}, Ljava/io/File;->length()J
    move-result-wide p1
    invoke-static {p1, p2}, Ljava/lang/Long;->valueOf(J)Ljava/lang/Long;
    move-result-object v2
    filled-new-array {v1, v2}, [Ljava/lang/Object;
    move-result-object v1
    invoke-virtual {v3, v1}, Landroid/database/MatrixCursor;->addRow([Ljava/lang/Object;)V
    return-object v3
.end method


.method public insert(Landroid/net/Uri;Landroid/content/ContentValues;)Landroid/net/Uri;
    .registers 4
    const/4 v0, 0x0
    return-object v0
.end method


.method public delete(Landroid/net/Uri;Ljava/lang/String;[Ljava/lang/String;)I
    .registers 5
    const/4 v0, 0x0
    return v0
.end method


.method public update(Landroid/net/Uri;Landroid/content/ContentValues;Ljava/lang/String;[Ljava/lang/String;)I
    .registers 6
    const/4 v0, 0x0
    return v0
.end method

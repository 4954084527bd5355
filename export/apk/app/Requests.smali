# What the page asks the person for: a file, and the camera.
#
# final class Requests extends WebChromeClient

.class final Lpggan/app/Requests;
.super Landroid/webkit/WebChromeClient;

.field final main:Lpggan/app/Main;


.method constructor <init>(Lpggan/app/Main;)V
    .registers 2
    invoke-direct {p0}, Landroid/webkit/WebChromeClient;-><init>()V
    iput-object p1, p0, Lpggan/app/Requests;->main:Lpggan/app/Main;
    return-void
.end method


# Let the person choose a file. Main.onActivityResult hands it to the page.
.method public onShowFileChooser(Landroid/webkit/WebView;Landroid/webkit/ValueCallback;Landroid/webkit/WebChromeClient$FileChooserParams;)Z
    .registers 8
    iget-object v0, p0, Lpggan/app/Requests;->main:Lpggan/app/Main;
    const/4 v1, 0x0
    iget-object v2, v0, Lpggan/app/Main;->files:Landroid/webkit/ValueCallback;
    if-eqz v2, :choose
    # An earlier one was never answered: no file.
    invoke-interface {v2, v1}, Landroid/webkit/ValueCallback;->onReceiveValue(Ljava/lang/Object;)V
    :choose
    iput-object p2, v0, Lpggan/app/Main;->files:Landroid/webkit/ValueCallback;
    invoke-virtual {p3}, Landroid/webkit/WebChromeClient$FileChooserParams;->createIntent()Landroid/content/Intent;
    move-result-object v2
    const/4 v3, 0x1
    :start
    invoke-virtual {v0, v2, v3}, Lpggan/app/Main;->startActivityForResult(Landroid/content/Intent;I)V
    :end
    .catch Landroid/content/ActivityNotFoundException; {:start .. :end} :none
    return v3

    # No app on this phone has files.
    :none
    iput-object v1, v0, Lpggan/app/Main;->files:Landroid/webkit/ValueCallback;
    const/4 v3, 0x0
    return v3
.end method


# Give the camera, and nothing else, to the app's own page, after the person has allowed the app to
# use it.
.method public onPermissionRequest(Landroid/webkit/PermissionRequest;)V
    .registers 7
    invoke-virtual {p1}, Landroid/webkit/PermissionRequest;->getOrigin()Landroid/net/Uri;
    move-result-object v0
    invoke-static {v0}, Lpggan/app/Site;->owns(Landroid/net/Uri;)Z
    move-result v0
    if-eqz v0, :deny
    invoke-virtual {p1}, Landroid/webkit/PermissionRequest;->getResources()[Ljava/lang/String;
    move-result-object v0
    array-length v1, v0
    const/4 v2, 0x1
    if-ne v1, v2, :deny
    const/4 v1, 0x0
    aget-object v1, v0, v1
    const-string v2, "android.webkit.resource.VIDEO_CAPTURE"
    invoke-virtual {v2, v1}, Ljava/lang/String;->equals(Ljava/lang/Object;)Z
    move-result v1
    if-eqz v1, :deny

    iget-object v1, p0, Lpggan/app/Requests;->main:Lpggan/app/Main;
    const-string v2, "android.permission.CAMERA"
    invoke-virtual {v1, v2}, Lpggan/app/Main;->checkSelfPermission(Ljava/lang/String;)I
    move-result v3
    if-nez v3, :ask
    invoke-virtual {p1, v0}, Landroid/webkit/PermissionRequest;->grant([Ljava/lang/String;)V
    return-void

    # Main.onRequestPermissionsResult answers the page.
    :ask
    iget-object v0, v1, Lpggan/app/Main;->asked:Landroid/webkit/PermissionRequest;
    if-eqz v0, :only
    invoke-virtual {v0}, Landroid/webkit/PermissionRequest;->deny()V
    :only
    iput-object p1, v1, Lpggan/app/Main;->asked:Landroid/webkit/PermissionRequest;
    filled-new-array {v2}, [Ljava/lang/String;
    move-result-object v0
    const/4 v2, 0x3
    invoke-virtual {v1, v0, v2}, Lpggan/app/Main;->requestPermissions([Ljava/lang/String;I)V
    return-void

    :deny
    invoke-virtual {p1}, Landroid/webkit/PermissionRequest;->deny()V
    return-void
.end method


# The page does not want the camera any more.
.method public onPermissionRequestCanceled(Landroid/webkit/PermissionRequest;)V
    .registers 4
    iget-object v0, p0, Lpggan/app/Requests;->main:Lpggan/app/Main;
    iget-object v1, v0, Lpggan/app/Main;->asked:Landroid/webkit/PermissionRequest;
    if-ne v1, p1, :done
    const/4 v1, 0x0
    iput-object v1, v0, Lpggan/app/Main;->asked:Landroid/webkit/PermissionRequest;
    :done
    return-void
.end method

# The app's only screen: a WebView that shows the page in assets/.
#
# public final class Main extends Activity

.class public final Lpggan/app/Main;
.super Landroid/app/Activity;

# The page.
.field web:Landroid/webkit/WebView;

# What waits for the file that is being chosen, or null.
.field files:Landroid/webkit/ValueCallback;

# The page's request for the camera that waits for the person's answer, or null.
.field asked:Landroid/webkit/PermissionRequest;

# The picture that the page handed over last (see Bridge), or null.
.field picture:Ljava/io/File;


.method public constructor <init>()V
    .registers 1
    invoke-direct {p0}, Landroid/app/Activity;-><init>()V
    return-void
.end method


# Build the screen. Its state, the address of the page, is given after the system had ended the app.
.method protected onCreate(Landroid/os/Bundle;)V
    .registers 6
    invoke-super {p0, p1}, Landroid/app/Activity;->onCreate(Landroid/os/Bundle;)V

    new-instance v0, Landroid/webkit/WebView;
    invoke-direct {v0, p0}, Landroid/webkit/WebView;-><init>(Landroid/content/Context;)V
    iput-object v0, p0, Lpggan/app/Main;->web:Landroid/webkit/WebView;
    # Transparent until the page is drawn: the window's colour is the page's.
    const/4 v3, 0x0
    invoke-virtual {v0, v3}, Landroid/webkit/WebView;->setBackgroundColor(I)V

    invoke-virtual {v0}, Landroid/webkit/WebView;->getSettings()Landroid/webkit/WebSettings;
    move-result-object v1
    const/4 v2, 0x1
    invoke-virtual {v1, v2}, Landroid/webkit/WebSettings;->setJavaScriptEnabled(Z)V
    invoke-virtual {v1, v2}, Landroid/webkit/WebSettings;->setDomStorageEnabled(Z)V
    invoke-virtual {v1, v3}, Landroid/webkit/WebSettings;->setAllowFileAccess(Z)V
    # The camera's picture is a video that nobody taps.
    invoke-virtual {v1, v3}, Landroid/webkit/WebSettings;->setMediaPlaybackRequiresUserGesture(Z)V

    new-instance v1, Lpggan/app/Site;
    invoke-virtual {p0}, Lpggan/app/Main;->getAssets()Landroid/content/res/AssetManager;
    move-result-object v2
    invoke-direct {v1, v2}, Lpggan/app/Site;-><init>(Landroid/content/res/AssetManager;)V
    invoke-virtual {v0, v1}, Landroid/webkit/WebView;->setWebViewClient(Landroid/webkit/WebViewClient;)V
    new-instance v1, Lpggan/app/Requests;
    invoke-direct {v1, p0}, Lpggan/app/Requests;-><init>(Lpggan/app/Main;)V
    invoke-virtual {v0, v1}, Landroid/webkit/WebView;->setWebChromeClient(Landroid/webkit/WebChromeClient;)V
    new-instance v1, Lpggan/app/Bridge;
    invoke-direct {v1, p0}, Lpggan/app/Bridge;-><init>(Lpggan/app/Main;)V
    const-string v2, "pgganApp"
    invoke-virtual {v0, v1, v2}, Landroid/webkit/WebView;->addJavascriptInterface(Ljava/lang/Object;Ljava/lang/String;)V

    # Android 15 and newer draw apps below the system's bars. This view leaves room for them.
    new-instance v1, Landroid/widget/FrameLayout;
    invoke-direct {v1, p0}, Landroid/widget/FrameLayout;-><init>(Landroid/content/Context;)V
    const/4 v2, 0x1
    invoke-virtual {v1, v2}, Landroid/widget/FrameLayout;->setFitsSystemWindows(Z)V
    invoke-virtual {v1, v0}, Landroid/widget/FrameLayout;->addView(Landroid/view/View;)V
    invoke-virtual {p0, v1}, Lpggan/app/Main;->setContentView(Landroid/view/View;)V

    # Android 16 calls onBackPressed no longer.
    sget v1, Landroid/os/Build$VERSION;->SDK_INT:I
    const/16 v2, 0x21
    if-lt v1, v2, :shown
    invoke-static {p0}, Lpggan/app/Back;->listen(Lpggan/app/Main;)V

    :shown
    if-eqz p1, :first
    invoke-virtual {v0, p1}, Landroid/webkit/WebView;->restoreState(Landroid/os/Bundle;)Landroid/webkit/WebBackForwardList;
    move-result-object v1
    if-nez v1, :done

    :first
    invoke-static {p0}, Lpggan/app/Pictures;->forget(Landroid/content/Context;)V
    const-string v1, "https://appassets.androidplatform.net/"
    invoke-virtual {v0, v1}, Landroid/webkit/WebView;->loadUrl(Ljava/lang/String;)V

    :done
    return-void
.end method


.method protected onSaveInstanceState(Landroid/os/Bundle;)V
    .registers 3
    invoke-super {p0, p1}, Landroid/app/Activity;->onSaveInstanceState(Landroid/os/Bundle;)V
    iget-object v0, p0, Lpggan/app/Main;->web:Landroid/webkit/WebView;
    invoke-virtual {v0, p1}, Landroid/webkit/WebView;->saveState(Landroid/os/Bundle;)Landroid/webkit/WebBackForwardList;
    return-void
.end method


# A screen that was left lets go of the page, and so of the camera.
.method protected onDestroy()V
    .registers 3
    iget-object v0, p0, Lpggan/app/Main;->web:Landroid/webkit/WebView;
    invoke-virtual {v0}, Landroid/webkit/WebView;->getParent()Landroid/view/ViewParent;
    move-result-object v1
    check-cast v1, Landroid/view/ViewGroup;
    invoke-virtual {v1, v0}, Landroid/view/ViewGroup;->removeView(Landroid/view/View;)V
    invoke-virtual {v0}, Landroid/webkit/WebView;->destroy()V
    invoke-super {p0}, Landroid/app/Activity;->onDestroy()V
    return-void
.end method


.method public onBackPressed()V
    .registers 1
    invoke-virtual {p0}, Lpggan/app/Main;->goBack()V
    return-void
.end method


# Go back in the page; where it began, leave the app as it is.
.method goBack()V
    .registers 3
    iget-object v0, p0, Lpggan/app/Main;->web:Landroid/webkit/WebView;
    invoke-virtual {v0}, Landroid/webkit/WebView;->canGoBack()Z
    move-result v1
    if-eqz v1, :leave
    invoke-virtual {v0}, Landroid/webkit/WebView;->goBack()V
    return-void
    :leave
    const/4 v1, 0x1
    invoke-virtual {p0, v1}, Lpggan/app/Main;->moveTaskToBack(Z)Z
    return-void
.end method


# Take what a screen of another app returns: 1 is a file for the page, 2 the place of a picture to
# be saved.
.method protected onActivityResult(IILandroid/content/Intent;)V
    .registers 7
    invoke-super {p0, p1, p2, p3}, Landroid/app/Activity;->onActivityResult(IILandroid/content/Intent;)V
    const/4 v0, 0x1
    if-ne p1, v0, :place
    iget-object v1, p0, Lpggan/app/Main;->files:Landroid/webkit/ValueCallback;
    if-eqz v1, :done
    const/4 v0, 0x0
    iput-object v0, p0, Lpggan/app/Main;->files:Landroid/webkit/ValueCallback;
    invoke-static {p2, p3}, Landroid/webkit/WebChromeClient$FileChooserParams;->parseResult(ILandroid/content/Intent;)[Landroid/net/Uri;
    move-result-object v2
    invoke-interface {v1, v2}, Landroid/webkit/ValueCallback;->onReceiveValue(Ljava/lang/Object;)V
    return-void

    :place
    const/4 v0, 0x2
    if-ne p1, v0, :done
    # -1 is RESULT_OK.
    const/4 v0, -0x1
    if-ne p2, v0, :done
    if-eqz p3, :done
    invoke-virtual {p3}, Landroid/content/Intent;->getData()Landroid/net/Uri;
    move-result-object v0
    if-eqz v0, :done
    invoke-static {p0, v0}, Lpggan/app/Bridge;->copy(Lpggan/app/Main;Landroid/net/Uri;)Z

    :done
    return-void
.end method


# Tell the page whether the person allows the camera.
.method public onRequestPermissionsResult(I[Ljava/lang/String;[I)V
    .registers 7
    iget-object v0, p0, Lpggan/app/Main;->asked:Landroid/webkit/PermissionRequest;
    if-eqz v0, :done
    const/4 v1, 0x0
    iput-object v1, p0, Lpggan/app/Main;->asked:Landroid/webkit/PermissionRequest;
    array-length v1, p3
    if-eqz v1, :deny
    const/4 v1, 0x0
    aget v1, p3, v1
    # 0 is PERMISSION_GRANTED.
    if-nez v1, :deny
    invoke-virtual {v0}, Landroid/webkit/PermissionRequest;->getResources()[Ljava/lang/String;
    move-result-object v1
    invoke-virtual {v0, v1}, Landroid/webkit/PermissionRequest;->grant([Ljava/lang/String;)V
    return-void
    :deny
    invoke-virtual {v0}, Landroid/webkit/PermissionRequest;->deny()V
    :done
    return-void
.end method

# The back gesture of Android 13 and newer. It has a class of its own, because older ones lack the
# interface.
#
# final class Back implements OnBackInvokedCallback

.class final Lpggan/app/Back;
.super Ljava/lang/Object;
.implements Landroid/window/OnBackInvokedCallback;

.field final main:Lpggan/app/Main;


.method constructor <init>(Lpggan/app/Main;)V
    .registers 2
    invoke-direct {p0}, Ljava/lang/Object;-><init>()V
    iput-object p1, p0, Lpggan/app/Back;->main:Lpggan/app/Main;
    return-void
.end method


.method static listen(Lpggan/app/Main;)V
    .registers 4
    new-instance v0, Lpggan/app/Back;
    invoke-direct {v0, p0}, Lpggan/app/Back;-><init>(Lpggan/app/Main;)V
    invoke-virtual {p0}, Lpggan/app/Main;->getOnBackInvokedDispatcher()Landroid/window/OnBackInvokedDispatcher;
    move-result-object v1
    # 0 is PRIORITY_DEFAULT.
    const/4 v2, 0x0
    invoke-interface {v1, v2, v0}, Landroid/window/OnBackInvokedDispatcher;->registerOnBackInvokedCallback(ILandroid/window/OnBackInvokedCallback;)V
    return-void
.end method


.method public onBackInvoked()V
    .registers 2
    iget-object v0, p0, Lpggan/app/Back;->main:Lpggan/app/Main;
    invoke-virtual {v0}, Lpggan/app/Main;->goBack()V
    return-void
.end method

# Starts a screen of another app from the thread that may do so: the page's calls arrive on another
# one.
#
# final class Start implements Runnable

.class final Lpggan/app/Start;
.super Ljava/lang/Object;
.implements Ljava/lang/Runnable;

.field final main:Lpggan/app/Main;

.field final intent:Landroid/content/Intent;

# By which Main.onActivityResult knows what is returned; -1: nothing is.
.field final code:I


.method constructor <init>(Lpggan/app/Main;Landroid/content/Intent;I)V
    .registers 4
    invoke-direct {p0}, Ljava/lang/Object;-><init>()V
    iput-object p1, p0, Lpggan/app/Start;->main:Lpggan/app/Main;
    iput-object p2, p0, Lpggan/app/Start;->intent:Landroid/content/Intent;
    iput p3, p0, Lpggan/app/Start;->code:I
    return-void
.end method


.method static later(Lpggan/app/Main;Landroid/content/Intent;I)V
    .registers 4
    new-instance v0, Lpggan/app/Start;
    invoke-direct {v0, p0, p1, p2}, Lpggan/app/Start;-><init>(Lpggan/app/Main;Landroid/content/Intent;I)V
    invoke-virtual {p0, v0}, Lpggan/app/Main;->runOnUiThread(Ljava/lang/Runnable;)V
    return-void
.end method


.method public run()V
    .registers 4
    iget-object v0, p0, Lpggan/app/Start;->main:Lpggan/app/Main;
    iget-object v1, p0, Lpggan/app/Start;->intent:Landroid/content/Intent;
    iget v2, p0, Lpggan/app/Start;->code:I
    :start
    invoke-virtual {v0, v1, v2}, Lpggan/app/Main;->startActivityForResult(Landroid/content/Intent;I)V
    :end
    .catch Landroid/content/ActivityNotFoundException; {:start .. :end} :none
    return-void
    :none
    const-string v1, "No app on this phone can do that"
    const/4 v2, 0x0
    invoke-static {v0, v1, v2}, Landroid/widget/Toast;->makeText(Landroid/content/Context;Ljava/lang/CharSequence;I)Landroid/widget/Toast;
    move-result-object v0
    invoke-virtual {v0}, Landroid/widget/Toast;->show()V
    return-void
.end method

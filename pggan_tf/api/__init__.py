"""The Python interface: everything that `import pggan_tf as pg` offers.

    import pggan_tf as pg

    run = pg.train("~/photos", target_res=64, minutes=20)
    run.generator.sample(seeds=range(16)).save("faces.png")
    pg.export(run, "phone/")

The command line calls the same functions.
"""

from pggan_tf.api.converting import convert
from pggan_tf.api.data import faces, prepare
from pggan_tf.api.exporting import export, push
from pggan_tf.api.generators import Generator
from pggan_tf.api.images import Images
from pggan_tf.api.measuring import Evaluation, evaluate
from pggan_tf.api.origins import Origin, whose
from pggan_tf.api.runs import Run, load
from pggan_tf.api.training import plan, train
from pggan_tf.config import Config, Plan
from pggan_tf.config.recipes import PIPELINES, RECIPES
from pggan_tf.errors import Stopped, TryAgain, UserError
from pggan_tf.losses import LOSSES, Loss
from pggan_tf.metrics import METRICS
from pggan_tf.networks import NETWORKS
from pggan_tf.tasks import TASKS, Task
from pggan_tf.training.callbacks import Callback

__all__ = [
    "LOSSES",
    "METRICS",
    "NETWORKS",
    "PIPELINES",
    "RECIPES",
    "TASKS",
    "Callback",
    "Config",
    "Evaluation",
    "Generator",
    "Images",
    "Loss",
    "Origin",
    "Plan",
    "Run",
    "Stopped",
    "Task",
    "TryAgain",
    "UserError",
    "convert",
    "evaluate",
    "export",
    "faces",
    "load",
    "plan",
    "prepare",
    "push",
    "train",
    "whose",
]

"""pggan-tf: grow a GAN on your own photos with TensorFlow, and export it to a phone.

`import pggan_tf as pg` is quick: what `pg.train` and the other names of `pggan_tf.api` need is
imported when one of them is first used.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING

from pggan_tf import keras_classes
from pggan_tf.version import __version__ as __version__

if TYPE_CHECKING:
    from pggan_tf.api import *


def _sorts_slowly(cpuinfo: str) -> bool:
    """Tell whether NumPy sorts slowly with AVX-512 on this CPU (AMD family 19h, Zen 4).

    Compress-store instructions are slow on these CPUs, and NumPy sorts five times as fast with AVX2
    (numpy/numpy#32690). Computing the sliced Wasserstein distance is mostly sorting.

    cpuinfo: content of /proc/cpuinfo.
    """
    fields = dict(line.split(":", 1) for line in cpuinfo.partition("\n\n")[0].splitlines() if ":" in line)
    fields = {name.strip(): value.split() for name, value in fields.items()}
    known = fields.get("vendor_id") == ["AuthenticAMD"] and fields.get("cpu family") == ["25"]
    return known and "avx512bw" in fields.get("flags", ())


if "numpy" not in sys.modules:  # NumPy reads the variable only once, when it is imported
    try:
        with open("/proc/cpuinfo") as _file:
            if _sorts_slowly(_file.read()):
                os.environ.setdefault("NPY_DISABLE_CPU_FEATURES", "X86_V4 AVX512_ICL")
    except OSError:
        pass

# The names of pggan_tf.api, written out so that editors complete them without importing it.
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


def __getattr__(name: str):
    """Return a name of pggan_tf.api, which is imported when one of them is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(".api", __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]


keras_classes.register_with_keras()

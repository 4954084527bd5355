"""Choose the fastest arithmetic of a device, and whether XLA compiles the training step.

Arithmetic means the number format that layers compute in: float32, bfloat16 or float16. float16 is
what tensor cores of the years before bfloat16 multiply, but small gradients vanish in it, so losses
are scaled, see `loss_scaling`. Variables, logits and the layers that make images from features
(to_image) are always float32. Images are always NHWC: oneDNN and tensor cores are fastest with
channels last, and TensorFlow transposes images if an older GPU needs another layout.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pggan_tf.config import Config

_CPU_FLAGS = ("amx_bf16", "avx512_bf16")
# Values of ONEDNN_MAX_CPU_ISA that keep oneDNN from the instructions above (oneDNN, "CPU Dispatcher
# Control").
_ISAS_WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")


def cpu_has_bfloat16() -> bool:
    """Tell whether this CPU multiplies bfloat16 in hardware and oneDNN is allowed to use that.

    Otherwise TensorFlow emulates bfloat16, which is slower than float32 and rounds partial sums.
    """
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    if allowed.upper() in _ISAS_WITHOUT_BFLOAT16:
        return False
    try:
        return any(f" {flag}" in Path("/proc/cpuinfo").read_text() for flag in _CPU_FLAGS)
    except OSError:
        return False


def choose_policy(choice: str) -> str:
    """Return the Keras dtype policy for a value of --precision, such as 'mixed_bfloat16'.

    choice: 'auto', 'float32', 'bfloat16' or 'float16'. 'auto' is bfloat16 on GPUs with compute
    capability 8.0 or higher and on CPUs with AMX or AVX512-BF16, float16 on GPUs with tensor cores
    of capability 7.0 or higher, else float32.
    """
    import tensorflow as tf

    if choice == "auto":
        gpus = tf.config.get_visible_devices("GPU")  # --strategy cpu hides them
        if gpus:
            capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
            choice = "bfloat16" if capability >= (8, 0) else "float16" if capability >= (7, 0) else "float32"
        else:
            choice = "bfloat16" if cpu_has_bfloat16() else "float32"
    return choice if choice == "float32" else f"mixed_{choice}"


def guess_half(choice: str) -> bool:
    """Tell whether layers compute in 16 bits for a value of --precision, as far as known without TensorFlow.

    'auto' is taken for that of the CPU; GPUs that compute in 32 bits are those before the V100.
    """
    return cpu_has_bfloat16() if choice == "auto" else choice != "float32"


def is_exact(choice: bool | None) -> bool:
    """Tell whether the same step always gives the same last bit, for a value of --exact."""
    import tensorflow as tf

    return not tf.config.list_logical_devices("GPU") or bool(choice)


@contextlib.contextmanager
def allow_tf32() -> Iterator[None]:
    """Context manager that allows TF32 on GPUs: float32 products with 10 of 23 bits.

    TensorFlow reads its switch, one for the whole program, when a product is computed, and XLA when
    it compiles. So training steps allow TF32 while they run, and everything else, such as metrics,
    grids and files, is computed with all bits.
    """
    import tensorflow as tf

    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(True)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


def use_xla(choice: str, devices: int = 1, degrade: bool = False) -> bool:
    """Tell whether XLA compiles the training step, for a value of --xla.

    XLA fuses the operations between convolutions, so that GPUs wait less for memory. On CPUs its
    convolutions are slower than oneDNN's. With 'auto', steps in which replicas exchange values are
    not compiled.

    Args:
        choice: 'auto', 'on' or 'off'.
        devices: number of devices that share every batch.
        degrade: whether images are degraded, by JPEG too, which XLA cannot compile.
    """
    import tensorflow as tf

    if choice == "auto":
        return bool(tf.config.list_logical_devices("GPU")) and devices == 1 and not degrade
    return choice == "on"


@dataclass(frozen=True)
class Arithmetic:
    """How the devices of a run compute, decided once at its start."""

    policy: str = "float32"  # the Keras dtype policy, see `choose_policy`
    exact: bool = True  # whether the same step always gives the same last bit, see `is_exact`
    xla: bool = False  # whether XLA compiles the training step, see `use_xla`

    @property
    def half(self) -> bool:
        """Whether layers compute in 16 bits."""
        return self.policy != "float32"


def choose(config: Config, devices: int, policy: str | None = None) -> Arithmetic:
    """Return how the devices compute, by --precision, --exact and --xla.

    Args:
        config: the run's config.
        devices: number of devices that share every batch.
        policy: the dtype policy of a run that is resumed, which stays.
    """
    running = config.running
    return Arithmetic(
        policy or choose_policy(running.precision),
        is_exact(running.exact),
        use_xla(running.xla, devices, config.purpose.degrade != "none"),
    )

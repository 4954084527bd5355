"""What a device is fastest with: which arithmetic, and whether XLA compiles the step. Variables, toRGB and logits stay float32 in
every case, and images are NHWC in every case: oneDNN and tensor cores want channels last, and TensorFlow turns what an older
GPU wants otherwise."""

from __future__ import annotations

import os
from pathlib import Path

_CPU_FLAGS = ("amx_bf16", "avx512_bf16")
# Values of ONEDNN_MAX_CPU_ISA that keep oneDNN from the instructions above (oneDNN, "CPU Dispatcher Control").
_ISAS_WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")


def cpu_has_bfloat16() -> bool:
    """Tell whether this processor multiplies bfloat16 itself and oneDNN is allowed to use that.

    Without it TensorFlow emulates bfloat16: more slowly than float32, and with sums that are rounded in between.
    """
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA") or ""
    if allowed.upper() in _ISAS_WITHOUT_BFLOAT16:
        return False
    try:
        return any(f" {flag}" in Path("/proc/cpuinfo").read_text() for flag in _CPU_FLAGS)
    except OSError:
        return False


def policy(choice: str) -> str:
    """'auto', 'float32' or 'bfloat16' -> a Keras dtype policy.

    auto: bfloat16 on GPUs of compute capability 8.0 and up and on CPUs with AMX or AVX512-BF16, else float32.
    """
    import tensorflow as tf

    if choice == "auto":
        gpus = tf.config.get_visible_devices("GPU")  # --strategy cpu hides them
        if gpus:
            capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
            choice = "bfloat16" if capability >= (8, 0) else "float32"
        else:
            choice = "bfloat16" if cpu_has_bfloat16() else "float32"
    return "mixed_bfloat16" if choice == "bfloat16" else "float32"


def by_xla(config, strategy) -> bool:
    """Whether XLA compiles the training step of `config`. It fuses what lies between convolutions, which GPUs wait for memory in; on
    CPUs its own convolutions are slower than oneDNN's. Replicas that talk within a step are left to TensorFlow."""
    import tensorflow as tf

    if config.running.xla == "auto":
        gpus, alone = tf.config.list_logical_devices("GPU"), strategy.num_replicas_in_sync == 1
        return bool(gpus) and alone and not config.purpose.degrade
    return config.running.xla == "on"

"""Ask for the GPUs of this machine and their memory."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# Files of Linux drivers of NVIDIA's and AMD's cards, and of WSL.
_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
_MIB = 2**20
_UNKNOWN = 8 * 2**30  # bytes to count with if nothing tells the memory of a GPU


@dataclass(frozen=True)
class Gpu:
    """A GPU of this machine."""

    name: str
    memory: int  # bytes


def may_exist() -> bool:
    """Tell whether this machine may have a GPU, at once and without TensorFlow."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return False
    return not sys.platform.startswith("linux") or any(Path(file).exists() for file in _DRIVERS)


def list_gpus(strategy: str = "auto") -> list[Gpu]:
    """Return the GPUs that a training on this machine would use.

    strategy: value of --strategy.
    """
    if strategy == "cpu" or not may_exist():
        return []
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if strategy == "gpu":
        gpus = gpus[:1]
    memory = _read_memory() if gpus else []
    least = min(memory, default=_UNKNOWN)  # which card is which, depends on CUDA_VISIBLE_DEVICES
    details = (tf.config.experimental.get_device_details(gpu) for gpu in gpus)
    return [Gpu(detail.get("device_name", "GPU"), least) for detail in details]


def _read_memory() -> list[int]:
    """Return the bytes of memory of every NVIDIA card of this machine; [] if nvidia-smi does not tell."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        text = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
        return [int(float(line) * _MIB) for line in text.split("\n") if line.strip()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []

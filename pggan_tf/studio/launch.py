"""Start the processes of a studio: the worker and helpers."""

from __future__ import annotations

import subprocess
import sys

from pggan_tf.studio.environment import make_environment
from pggan_tf.studio.store import Store


def start_worker(store: Store) -> subprocess.Popen:
    """Start the process that trains a queue. Neither Ctrl-C nor a closed terminal reaches it."""
    with (store.folder / "worker.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "pggan_tf.studio.worker", str(store.runs)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=store.runs,
            env=make_environment(),
            start_new_session=True,
        )


# Variables that hide the GPUs of NVIDIA and of AMD from a program.
_NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1", "HIP_VISIBLE_DEVICES": "-1"}


def start_helper(store: Store, gpu: bool) -> subprocess.Popen:
    """Start a helper, which reads requests and writes answers as lines of JSON.

    gpu: whether it may use GPUs; not while something is trained, which needs their whole memory.
    """
    with (store.folder / "helper.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "pggan_tf.studio.helper"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=store.work,
            # TensorFlow would take the whole memory of a GPU at once.
            env={"TF_FORCE_GPU_ALLOW_GROWTH": "true", **make_environment(), **({} if gpu else _NO_GPU)},
            start_new_session=True,
        )

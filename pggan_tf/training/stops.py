"""Say what a training that could not save everything has kept, and how to go on."""

from __future__ import annotations

from pathlib import Path

from pggan_tf.errors import Stopped, shell_path
from pggan_tf.runs import checkpoint
from pggan_tf.signals import INTERRUPTED


def explain_unwritable(folder: Path, why: str, where: str | None = None, code: int = 1) -> Stopped:
    """Return an exception (not raised here) for a file that could not be written.

    Args:
        folder: the run's folder.
        why: the reason, such as 'no space left on the disk'.
        where: path of the file (default: the run's folder).
        code: the process' exit code.
    """
    last = next(iter(checkpoint.list_checkpoints(folder)), None)
    return Stopped(
        f"{where or folder}: {why}. "
        + (
            f"The last good checkpoint is {last}. Mend that, then: --resume {shell_path(folder)}"
            if last
            else "Nothing was trained yet."
        ),
        code,
    )


def explain_interrupt(folder: Path, images_seen: int) -> Stopped:
    """Return an exception (not raised here) for a training that did not wait until it was saved.

    Args:
        folder: the run's folder.
        images_seen: number of images that the run has seen.
    """
    last = next(iter(checkpoint.list_checkpoints(folder)), None)
    saved = checkpoint.parse_images(last) if last else 0
    kept = f"the first {saved:,} are saved. To go on from there" if saved else "none are saved. To begin again"
    return Stopped(
        f"stopped at once by Ctrl-C after {images_seen:,} images, of which {kept}: pggan train --resume {shell_path(folder)}",
        INTERRUPTED,
        folder,
    )

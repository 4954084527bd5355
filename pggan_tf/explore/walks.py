"""Latent walks: frames of a video that interpolates spherically (slerp) between latents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from pggan_tf import synthesis
from pggan_tf.data import pixels
from pggan_tf.errors import UserError

SHOWN = 128  # smallest size in pixels of an image in a frame
_IMAGES = 32  # number of images that are generated at a time, at least those of one frame


def interpolate(keys: np.ndarray, frames: int, loop: bool) -> np.ndarray:
    """Interpolate spherically (slerp) between evenly spaced keyframes.

    Args:
        keys: Latents [K, N, L] of K keyframes for N simultaneous walks.
        frames: Number of frames of the result.
        loop: Whether to return to the first keyframe, so that the video can be repeated without a
            jump; the first keyframe itself is not included again at the end. Otherwise the last
            frame is the last keyframe.

    Returns:
        The latents of all frames, float32 [frames, N, L].
    """
    if loop:
        keys = np.concatenate([keys, keys[:1]])
    spans = len(keys) - 1
    if not spans:
        return np.repeat(keys, frames, axis=0)
    places = np.linspace(0, spans, frames, endpoint=not loop)
    first = np.minimum(places.astype(int), spans - 1)
    out = np.empty((frames, *keys.shape[1:]), np.float32)
    for i in range(spans):
        out[first == i] = synthesis.slerp(keys[i], keys[i + 1], places[first == i] - i)
    return out


def get_frame_size(shape: tuple[int, int], walks: int, columns: int) -> tuple[int, int]:
    """Return height and width in pixels of the frames that `draw_frames` yields.

    Args:
        shape: Height and width of the images in pixels.
        walks: Number of walks in a frame.
        columns: Number of walks in a row.
    """
    return pixels.Sheet(walks, columns).size(*pixels.find_enlarged_shape(shape, SHOWN))


def draw_frames(
    sampler: synthesis.Sampler,
    latents: np.ndarray,
    stage: int,
    columns: int,
    labels: np.ndarray,
    truncation: float = 1.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[np.ndarray]:
    """Draw frames in which N walks are shown in a grid.

    Args:
        sampler: Sampler of the generator.
        latents: Latents of all frames, [frames, N, L], from `interpolate`.
        stage: Resolution in pixels, one of the generator's.
        columns: Number of walks in a row of the grid.
        labels: Class of each walk, int64 [N].
        truncation: 1 uses the latents as they are; below 1, images are more typical.
        progress: Function called with (frames done, total frames).

    Yields:
        The frames, uint8 [H, W, C], whose size `get_frame_size` returns.
    """
    frames, walks, size = latents.shape
    chunk = max(1, _IMAGES // walks)
    for i in range(0, frames, chunk):
        part = latents[i : i + chunk]
        images = sampler.images(part.reshape(-1, size), stage, truncation=truncation, labels=np.tile(labels, len(part)))
        cells = pixels.enlarge(images, SHOWN)
        for cell in cells.reshape(len(part), walks, *cells.shape[1:]):
            yield pixels.tile(cell, columns)
        progress(min(i + chunk, frames), frames)


def read_latents(file: str | Path) -> np.ndarray:
    """Read latents, float32 [N, L], from a .npy file such as `pggan project` writes.

    Raises UserError if the file cannot be read or does not contain such latents.
    """
    try:
        latents = np.load(file, allow_pickle=False)
    except OSError as error:
        raise UserError(f"--latents {file}: cannot be read ({error.strerror or error}).") from None
    except (ValueError, EOFError) as error:
        raise UserError(f"--latents {file}: not a .npy of numbers ({error}).") from None
    if isinstance(latents, np.ndarray) and latents.ndim == 2 and latents.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            latents = latents.astype(np.float32)
            lengths = np.linalg.norm(latents, axis=1)
        if len(latents) and (np.isfinite(lengths) & (lengths > 0)).all():
            return latents
    raise UserError(f"--latents {file}: expected a .npy of finite floats [N, L], none of them all zeros.")

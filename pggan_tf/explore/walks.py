"""Walk from latent to latent on arcs, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from pggan_tf import synthesis
from pggan_tf.data import pixels
from pggan_tf.errors import UserError

SHOWN = 128  # pixels: the least side of an image in a frame
_IMAGES = 32  # made at once, or those of one frame


def interpolate(keys: np.ndarray, frames: int, loop: bool) -> np.ndarray:
    """Visit keyframes at even intervals, on arcs between them (`synthesis.slerp`).

    Args:
        keys: Latents [K, N, L] of K keyframes of N walks side by side.
        frames: How many frames the walks take.
        loop: Go back to the first keyframe, which would be the frame after the last. Otherwise the
            last frame is the last keyframe.

    Returns:
        Latents float32 [frames, N, L].
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


def get_frame_size(stage: int, walks: int, columns: int) -> tuple[int, int]:
    """Return height and width in pixels of the frames that `draw_frames` makes."""
    side = pixels.find_enlarged_side(stage, SHOWN)
    return pixels.Sheet(walks, columns).size(side, side)


def draw_frames(
    sampler: synthesis.Sampler,
    latents: np.ndarray,
    stage: int,
    columns: int,
    labels: np.ndarray,
    truncation: float = 1.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[np.ndarray]:
    """Draw the frames of walks side by side.

    Args:
        sampler: Makes the images.
        latents: [frames, N, L], from `interpolate`.
        stage: Resolution to generate at.
        columns: How many of the N walks stand in a row.
        labels: The class of each walk, int64 [N].
        truncation: At 1, latents as they are; below 1, more typical images.
        progress: Called with the frames done and all of them.

    Yields:
        uint8 [H, W, C] frames of the size `get_frame_size`.
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
    """Read float32 latents [N, L] from a .npy file, such as `pggan project` writes."""
    try:
        latents = np.load(file, allow_pickle=False)
    except OSError as error:
        raise UserError(f"--latents {file}: cannot be read ({error.strerror or error}).") from None
    except ValueError as error:
        raise UserError(f"--latents {file}: not a .npy of numbers ({error}).") from None
    if (
        not isinstance(latents, np.ndarray)
        or latents.ndim != 2
        or latents.dtype.kind != "f"
        or not np.isfinite(latents).all()
        or not np.abs(latents).max(axis=1, initial=0).all()
    ):
        raise UserError(f"--latents {file}: expected a .npy of finite floats [N, L], none of them all zeros.")
    return latents.astype(np.float32)

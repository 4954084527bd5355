"""Frames -> a video: .mp4 (H.264) by PyAV, .gif and .webp by Pillow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pggan_tf.data import pixels
from pggan_tf.errors import UserError
from pggan_tf.files import atomic_write

FORMATS = {".mp4": 16_384, ".gif": 65_535, ".webp": 16_383}  # the longest side: of x264, and of the files
_GIF_FPS = 50  # frames that are shown for less than 1/50 s are slowed down by browsers
_CRF = "18"  # x264's quality: 18 looks like the original
_BT601, _LIMITED = (
    5,
    1,
)  # what swscale turns RGB into, by their numbers in H.264: players guess otherwise in large videos


def check(path: str | Path, fps: int = 30) -> Path:
    """The path, if a video can be written there, as of `pixels.check_file`."""
    path = Path(path)
    if path.suffix.lower() == ".gif" and fps > _GIF_FPS:
        raise UserError(f"--fps {fps}: a .gif has {_GIF_FPS} frames a second at most. Take .mp4 or .webp, or fewer.")
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"--video {path}: expected a name that ends in {', '.join(FORMATS)}.")
    return pixels.check_file("--video", path)


def check_size(path: Path, height: int, width: int) -> None:
    """Refuses frames that the kind of file cannot hold, before they are computed."""
    suffix = path.suffix.lower()
    if max(height, width) > FORMATS[suffix]:
        raise UserError(
            f"--video {path}: frames of {width:,} x {height:,} pixels; {suffix} holds {FORMATS[suffix]:,} a side at most. "
            "Choose a smaller --grid or --stage."
        )


def write(path: Path, frames: Iterator[np.ndarray], fps: int) -> None:
    """Writes uint8 [H, W, 1|3] frames of one size, one at a time, whole or not at all."""
    with atomic_write(path) as partial:
        (_h264 if path.suffix.lower() == ".mp4" else _animation)(partial, frames, fps)


def _h264(path: Path, frames: Iterator[np.ndarray], fps: int) -> None:
    import av

    with av.open(path, "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = None
        for frame in frames:
            # Colour is kept for every second pixel: sides have to be even.
            frame = np.pad(frame, [(0, n % 2) for n in frame.shape[:2]] + [(0, 0)], mode="edge")
            if stream is None:
                stream = container.add_stream("libx264", rate=fps, options={"crf": _CRF})
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.codec_context.colorspace, stream.codec_context.color_range = _BT601, _LIMITED
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.broadcast_to(frame, (*frame.shape[:2], 3))))
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def _animation(path: Path, frames: Iterator[np.ndarray], fps: int) -> None:
    from PIL import Image

    kind = path.suffix[1:].upper()
    options = {"quality": 90, "duration": round(1000 / fps)} if kind == "WEBP" else {}

    def pictures():
        for i, frame in enumerate(frames):
            picture = Image.fromarray(frame.squeeze(-1) if frame.shape[-1] == 1 else frame)
            # A GIF counts in 1/100 s: frames that are shown 30 and 40 ms, so that all together last as long as asked for.
            picture.info["duration"] = 10 * (round(100 * (i + 1) / fps) - round(100 * i / fps))
            yield picture

    every = pictures()
    next(every).save(path, kind, save_all=True, append_images=every, loop=0, **options)

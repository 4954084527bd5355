"""Write frames as a video: .mp4 (H.264) with PyAV, .gif and .webp with Pillow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pggan_tf.data import pixels, transparency, xmp
from pggan_tf.errors import UserError
from pggan_tf.files import atomic_write

# Largest width and height in pixels that x264, GIF and WebP support.
FORMATS = {".mp4": 16_384, ".gif": 65_535, ".webp": 16_383}
_GIF_FPS = 50  # browsers slow down a GIF whose frames are shown for less than 1/50 s
_CRF = "18"  # constant rate factor of x264: 18 is visually lossless
# Colour space and range that swscale converts RGB to, as numbers defined by H.264. They are written
# to the file, because players assume other ones for large videos.
_BT601, _LIMITED = 5, 1


def check(path: str | Path, fps: int = 30) -> Path:
    """Return `path` as a Path. Raise UserError if a video cannot be written there.

    This is the case if the format is not supported, if `fps` is too high for a .gif or if the file
    cannot be created.
    """
    path = Path(path)
    if path.suffix.lower() == ".gif" and fps > _GIF_FPS:
        raise UserError(f"--fps {fps}: a .gif has {_GIF_FPS} frames a second at most. Take .mp4 or .webp, or fewer.")
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"--video {path}: expected a name that ends in {', '.join(FORMATS)}.")
    pixels.check_file("--video", path)
    return path


def check_size(path: Path, height: int, width: int) -> None:
    """Raise UserError if frames of this size in pixels are too large for the video format."""
    suffix = path.suffix.lower()
    if max(height, width) > FORMATS[suffix]:
        raise UserError(
            f"--video {path}: frames of {width:,} x {height:,} pixels; {suffix} holds {FORMATS[suffix]:,} a side at most. "
            "Choose a smaller --grid or --stage."
        )


def write(path: Path, frames: Iterator[np.ndarray], fps: int, packet: bytes | None = None) -> None:
    """Write frames, uint8 [H, W, C] of the same size, as a video.

    The file appears at `path` only when it is complete. Transparency is kept in a .webp; in other
    files white is behind it.

    packet: XMP packet of the video, such as from `marks.make_packet`, or None.
    """
    write_format = _write_h264 if path.suffix.lower() == ".mp4" else _write_animation
    if path.suffix.lower() != ".webp":
        frames = map(transparency.flatten, frames)
    with atomic_write(path) as partial:
        write_format(partial, frames, fps, packet)


def _write_h264(path: Path, frames: Iterator[np.ndarray], fps: int, packet: bytes | None) -> None:
    import av

    with av.open(path, "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = None
        for frame in frames:
            # Colour is stored at half the resolution, so width and height must be even.
            frame = np.pad(frame, [(0, n % 2) for n in frame.shape[:2]] + [(0, 0)], mode="edge")
            if stream is None:
                stream = container.add_stream("libx264", rate=fps, options={"crf": _CRF})
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.codec_context.colorspace, stream.codec_context.color_range = _BT601, _LIMITED
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.broadcast_to(frame, (*frame.shape[:2], 3))))
            container.mux(stream.encode(picture))
        if stream:
            container.mux(stream.encode())
    if packet:
        with path.open("ab") as file:
            file.write(xmp.make_box(packet))


class _Durations(tuple):
    """Milliseconds that each frame of a WebP lasts: whole ones, of which `fps` frames last one second."""

    def __new__(cls, fps: int):
        return super().__new__(cls, (round(1000 * (i + 1) / fps) - round(1000 * i / fps) for i in range(fps)))

    def __getitem__(self, number):
        return super().__getitem__(number % len(self))


def _write_animation(path: Path, frames: Iterator[np.ndarray], fps: int, packet: bytes | None) -> None:
    from PIL import Image

    kind = path.suffix[1:].upper()
    options = {"quality": 90, "duration": _Durations(fps)} if kind == "WEBP" else {}
    options |= xmp.make_pillow_options(kind, packet) if kind == "WEBP" else {}

    def convert():
        for i, frame in enumerate(frames):
            picture = Image.fromarray(frame.squeeze(-1) if frame.shape[-1] == 1 else frame)
            # The duration of a GIF frame is a multiple of 10 ms: at 30 fps, frames last 30 or
            # 40 ms, so that 30 frames last 1 s.
            picture.info["duration"] = 10 * (round(100 * (i + 1) / fps) - round(100 * i / fps))
            yield picture

    images = convert()
    next(images).save(path, kind, save_all=True, append_images=images, loop=0, **options)
    if packet and kind == "GIF":
        path.write_bytes(xmp.add_to_gif(path.read_bytes(), packet))

"""Videos in, videos out: frames changed one by one; sound copied as it is; every frame keeps its time."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pggan_tf.errors import UserError
from pggan_tf.files import partial_name

EXTENSIONS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ts", ".mts")
# What videos are written as, and by which encoder.
KINDS = {".mp4": "libx264", ".m4v": "libx264", ".mov": "libx264", ".mkv": "libx264", ".webm": "libvpx-vp9"}
# Next to lossless: what is written is often edited further.
_QUALITY = {"libx264": {"crf": "16"}, "libvpx-vp9": {"crf": "18", "b": "0", "row-mt": "1", "cpu-used": "4"}}
_BT709, _STUDIO_RANGE = 1, 1  # ITU-T H.273, tables 2 to 4
_UNSPECIFIED = 2


class _Writer:
    """One video file, begun with its first frame, whose size it has. lying: whether frames are turned by a quarter."""

    def __init__(self, av, path: Path, picture, sounds, lying: bool):
        self.av, self.path, self.picture, self.lying = av, path, picture, lying
        self.partial = partial_name(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.container = av.open(str(self.partial), "w")
        try:
            self.sounds = {sound.index: self.container.add_stream_from_template(sound) for sound in sounds}
        except (av.FFmpegError, ValueError) as error:
            self.discard()
            raise self._refusal(error) from None
        self.stream = None

    def _refusal(self, error) -> UserError:
        if getattr(error, "errno", None) == errno.ENOSPC:
            return UserError(f"{self.path}: no space left on that disk. Make room, or choose another --out.")
        return UserError(
            f"{self.path}: cannot hold this video and its sound ({error}). Choose a name that ends in .mkv."
        )

    def _begin(self, height: int, width: int):
        encoder = KINDS[self.path.suffix.lower()]
        stream = self.container.add_stream(encoder, rate=self.picture.average_rate or 25, options=_QUALITY[encoder])
        stream.width, stream.height = width, height
        # Colour at half the resolution is what every player shows; sides that are odd have no half.
        stream.pix_fmt = "yuv444p" if height % 2 or width % 2 else "yuv420p"
        context = stream.codec_context
        context.time_base = self.picture.time_base
        if shape := self.picture.sample_aspect_ratio:  # of pixels that are not square
            context.sample_aspect_ratio = 1 / shape if self.lying else shape
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _STUDIO_RANGE
        return stream

    def frame(self, image: np.ndarray, pts: int) -> None:
        """uint8 [H,W,3]."""
        try:
            self.stream = self.stream or self._begin(*image.shape[:2])
            frame = self.av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
            frame = frame.reformat(
                format=self.stream.pix_fmt, dst_colorspace=_BT709, src_color_range="JPEG", dst_color_range="MPEG"
            )
            frame.pts, frame.time_base = pts, self.picture.time_base
            self.container.mux(self.stream.encode(frame))
        except self.av.FFmpegError as error:
            raise self._refusal(error) from None

    def sound(self, packet) -> None:
        copy = self.av.Packet(bytes(packet))
        copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
        copy.time_base, copy.is_keyframe = packet.time_base, packet.is_keyframe
        copy.stream = self.sounds[packet.stream.index]
        try:
            self.container.mux(copy)
        except self.av.FFmpegError as error:
            raise self._refusal(error) from None

    def finish(self) -> None:
        self.container.mux(self.stream.encode(None))
        self.container.close()
        self.partial.replace(self.path)

    def discard(self) -> None:
        self.container.close()
        self.partial.unlink(missing_ok=True)


def _upright(frame) -> np.ndarray:
    """uint8 [H,W,3], turned as the file says. Those that do not name their colours are BT.601 up to 576 lines, else BT.709."""
    unnamed = frame.colorspace == _UNSPECIFIED
    source = ("ITU709" if frame.height > 576 else "ITU601") if unnamed else None
    image = frame.to_ndarray(format="rgb24", src_colorspace=source, dst_color_range="JPEG")
    return np.rot90(image, frame.rotation // 90 % 4)


def rewrite(
    source: Path, outs: list[Path], change: Callable[[np.ndarray], list[np.ndarray]], progress=lambda done, total: None
) -> tuple[int, int]:
    """change: a frame uint8 [H,W,3] -> one for each of `outs`, of a size that stays. Returns how many frames there are, and how
    many parts of the stream could not be decoded."""
    import av

    for out in outs:
        if out.suffix.lower() not in KINDS:
            raise UserError(f"{out}: not a video that can be written. Expected a name that ends in {', '.join(KINDS)}.")
    try:
        given = av.open(str(source))
    except av.FFmpegError as error:
        raise UserError(f"{source}: not a video that can be opened ({error.strerror}).") from None
    with given:
        picture = next(iter(given.streams.video), None)
        if picture is None or picture.codec_context is None:
            what = "no video stream" if picture is None else "its video is of a kind that this PyAV cannot decode"
            raise UserError(f"{source}: {what}. Expected a video with a stream of frames.")
        picture.thread_type = "AUTO"
        sounds = [s for s in given.streams.audio if s.codec_context is not None]
        writers, waiting, done, damaged, lost = [], [], 0, "", 0
        try:
            for packet in given.demux(picture, *sounds):
                if packet.stream.index != picture.index:
                    if packet.dts is not None:  # None: the end of the stream
                        waiting.append(packet)
                    continue
                try:
                    frames = packet.decode()
                except av.FFmpegError as error:
                    damaged, lost = str(error.strerror), lost + 1
                    continue
                for frame in frames:
                    images = change(_upright(frame))
                    if not writers:
                        for out in outs:
                            writers.append(_Writer(av, out, picture, sounds, frame.rotation % 180 != 0))
                    # Frames without a time are those of a constant rate.
                    pts = round(done / picture.average_rate / picture.time_base) if frame.pts is None else frame.pts
                    for writer, image in zip(writers, images, strict=True):
                        writer.frame(image, pts)
                    done += 1
                    progress(done, picture.frames or None)
                if writers:  # a file begins with its first frame: sound waits for it
                    for packet in waiting:
                        for writer in writers:
                            writer.sound(packet)
                    waiting.clear()
            if not writers:
                why = f" ({damaged})" if damaged else ""
                raise UserError(f"{source}: no frame of its video stream can be decoded{why}.")
            for writer in writers:
                for packet in waiting:
                    writer.sound(packet)
                writer.finish()
        except BaseException:
            for writer in writers:
                writer.discard()
            raise
    return done, lost

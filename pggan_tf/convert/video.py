"""Videos in, videos out: frames changed one by one; sound and subtitles copied as they are; every frame keeps its time."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pggan_tf.convert import hdr
from pggan_tf.errors import UserError
from pggan_tf.files import make_partial_path

EXTENSIONS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ts", ".mts")
# What videos are written as, and by which encoder.
KINDS = {".mp4": "libx264", ".m4v": "libx264", ".mov": "libx264", ".mkv": "libx264", ".webm": "libvpx-vp9"}
# Next to lossless: what is written is often edited further.
_QUALITY = {"libx264": {"crf": "16"}, "libvpx-vp9": {"crf": "18", "b": "0", "row-mt": "1", "cpu-used": "4"}}
_BT709, _STUDIO_RANGE = 1, 1  # ITU-T H.273, tables 2 to 4
_UNSPECIFIED, _BT2020 = 2, 9
# Of a file's metadata, what tells of the file and not of the video.
_OF_THE_FILE = {"encoder", "major_brand", "minor_version", "compatible_brands", "duration"}


class _Writer:
    """One video file, begun with its first frame, whose size it has. lying: whether frames are turned by a quarter. left_out: what
    of the given video it does not hold."""

    def __init__(self, av, path: Path, given, picture, lying: bool):
        self.av, self.path, self.given, self.picture, self.lying = av, path, given, picture, lying
        self.left_out: list[str] = []
        self.partial = make_partial_path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.container = av.open(str(self.partial), "w")
        try:
            self.copied = {stream.index: self._copy(stream) for stream in given.streams.audio if stream.codec_context}
            self.container.metadata.update(_about(given.metadata))
            self.container.set_chapters(given.chapters())
        except (av.FFmpegError, ValueError) as error:
            self.discard()
            raise self._refusal(error) from None
        for stream in given.streams.subtitles:
            with contextlib.suppress(av.FFmpegError, ValueError):
                if stream.codec_context:
                    self.copied[stream.index] = self._copy(stream)
        others = Counter(s.type for s in given.streams if s.index != picture.index and s.index not in self.copied)
        self.left_out += [f"{n} {kind} stream{'s' * (n > 1)}" for kind, n in others.items()]
        self.stream = None

    def _copy(self, stream):
        copy = self.container.add_stream_from_template(stream)
        copy.metadata.update(_about(stream.metadata))
        copy.disposition = stream.disposition
        return copy

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

    def packet(self, packet) -> None:
        """Of a stream that is copied; of another one nothing."""
        if packet.stream.index not in self.copied:
            return
        copy = self.av.Packet(bytes(packet))
        copy.pts, copy.duration = packet.pts, packet.duration
        copy.dts = packet.pts if packet.dts is None else packet.dts
        copy.time_base, copy.is_keyframe = packet.time_base, packet.is_keyframe
        copy.stream = self.copied[packet.stream.index]
        try:
            self.container.mux(copy)
        except self.av.FFmpegError as error:
            raise self._refusal(error) from None

    def finish(self) -> None:
        self.container.mux(self.stream.encode(None))
        self.container.close()
        with self.av.open(str(self.partial)) as written:
            there = {name.lower(): value for name, value in written.metadata.items()}
            about = _about(self.given.metadata)
            if lost := [name for name, value in about.items() if there.get(name.lower()) != value]:
                self.left_out.append(f"metadata ({', '.join(lost)})")
        self.partial.replace(self.path)

    def discard(self) -> None:
        self.container.close()
        self.partial.unlink(missing_ok=True)


def _about(metadata: dict) -> dict:
    return {name: value for name, value in metadata.items() if name.lower() not in _OF_THE_FILE}


def _upright(frame) -> np.ndarray:
    """uint8 [H,W,3] of BT.709, turned as the file says. Those that do not name their colours are BT.601 up to 576 lines, else
    BT.709."""
    if hdr.needed(frame.color_trc, frame.color_primaries):
        matrix = _BT2020 if frame.colorspace == _UNSPECIFIED else frame.colorspace
        codes = frame.to_ndarray(format="rgb48le", src_colorspace=matrix, dst_color_range="JPEG")
        image = hdr.to_sdr(codes, frame.color_trc, frame.color_primaries, _peak(frame))
        return np.rot90(image, frame.rotation // 90 % 4)
    unnamed = frame.colorspace == _UNSPECIFIED
    source = ("ITU709" if frame.height > 576 else "ITU601") if unnamed else None
    image = frame.to_ndarray(format="rgb24", src_colorspace=source, dst_color_range="JPEG")
    return np.rot90(image, frame.rotation // 90 % 4)


def _peak(frame) -> float:
    """MaxCLL (CTA-861.3) in cd/m2, the first of two numbers of 32 bits; where it is not told, what is usual."""
    told = next((bytes(data)[:4] for data in frame.side_data if data.type.name == "CONTENT_LIGHT_LEVEL"), b"")
    return float(int.from_bytes(told, sys.byteorder)) or hdr.PEAK


def _opened(av, source: Path, outs: list[Path]):
    for out in outs:
        if out.suffix.lower() not in KINDS:
            raise UserError(f"{out}: not a video that can be written. Expected a name that ends in {', '.join(KINDS)}.")
    try:
        return av.open(str(source))
    except av.FFmpegError as error:
        raise UserError(f"{source}: not a video that can be opened ({error.strerror}).") from None


def _picture_stream(source: Path, given):
    picture = next(iter(given.streams.video), None)
    if picture is None or picture.codec_context is None:
        what = "no video stream" if picture is None else "its video is of a kind that this PyAV cannot decode"
        raise UserError(f"{source}: {what}. Expected a video with a stream of frames.")
    return picture


def _told(writers: list[_Writer], say: Callable[[str], None]) -> None:
    for writer in writers:
        if writer.left_out:
            say(
                f"{writer.path}: left out, as {writer.path.suffix} does not hold it as it was: {', '.join(writer.left_out)}"
            )


def rewrite(
    source: Path,
    outs: list[Path],
    change: Callable[[np.ndarray], list[np.ndarray]],
    progress=lambda done, total: None,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[int, int]:
    """change: a frame uint8 [H,W,3] -> one for each of `outs`, of a size that stays. Returns how many frames there are, and how
    many parts of the stream could not be decoded. say: is told what was left out, and what was done to HDR."""
    import av

    with _opened(av, source, outs) as given:
        picture = _picture_stream(source, given)
        picture.thread_type = "AUTO"
        copied = [s for s in (*given.streams.audio, *given.streams.subtitles) if s.codec_context is not None]
        writers, waiting, done, damaged, lost = [], [], 0, "", 0
        try:
            for packet in given.demux(picture, *copied):
                if packet.stream.index != picture.index:
                    if packet.pts is not None:  # None: the end of the stream
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
                        if hdr.needed(frame.color_trc, frame.color_primaries):
                            say(f"{source}: {hdr.name(frame.color_trc)}, made BT.709")
                        for out in outs:
                            writers.append(_Writer(av, out, given, picture, frame.rotation % 180 != 0))
                    # Frames without a time are those of a constant rate.
                    pts = round(done / picture.average_rate / picture.time_base) if frame.pts is None else frame.pts
                    for writer, image in zip(writers, images, strict=True):
                        writer.frame(image, pts)
                    done += 1
                    progress(done, picture.frames or None)
                if writers:  # a file begins with its first frame: sound and subtitles wait for it
                    for packet in waiting:
                        for writer in writers:
                            writer.packet(packet)
                    waiting.clear()
            if not writers:
                why = f" ({damaged})" if damaged else ""
                raise UserError(f"{source}: no frame of its video stream can be decoded{why}.")
            for writer in writers:
                for packet in waiting:
                    writer.packet(packet)
                writer.finish()
            _told(writers, say)
        except BaseException:
            for writer in writers:
                writer.discard()
            raise
    return done, lost

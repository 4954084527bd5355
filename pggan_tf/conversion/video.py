"""Conversion of videos, frame by frame.

Videos are read and written with PyAV (FFmpeg). The video that is converted is called the source. A
video file holds several streams: one of frames, others of sound or subtitles. Each stream is a
sequence of packets, which are pieces of encoded data. Frames are decoded, converted and encoded
again at the same times; packets of sound and subtitles are copied.
"""

from __future__ import annotations

import contextlib
import errno
import sys
import types
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pggan_tf.conversion import hdr
from pggan_tf.data import marks, xmp
from pggan_tf.errors import UserError
from pggan_tf.files import make_partial_path

EXTENSIONS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ts", ".mts")
# The extensions of videos that can be written, and the encoder for each.
KINDS = {".mp4": "libx264", ".m4v": "libx264", ".mov": "libx264", ".mkv": "libx264", ".webm": "libvpx-vp9"}
# Nearly lossless, because results are often edited further.
_QUALITY = {"libx264": {"crf": "16"}, "libvpx-vp9": {"crf": "18", "b": "0", "row-mt": "1", "cpu-used": "4"}}
_BT709, _STUDIO_RANGE = 1, 1  # values in ITU-T H.273, tables 2 to 4
_UNSPECIFIED, _BT2020 = 2, 9
# Names of metadata entries that describe the file and not the video. They are not copied.
_ISO = (".mp4", ".m4v", ".mov")  # files of boxes, which hold XMP
_OF_THE_FILE = {"encoder", "major_brand", "minor_version", "compatible_brands", "duration"}


class _Writer:
    """A video file that is being written.

    Its video stream is created when the first frame is added, with the size of that frame.

    Args:
        av: the module of PyAV.
        path: the file to write.
        source: the source, opened with PyAV.
        picture: the video stream of `source`.
        rotated: whether the source asks players to rotate its frames by 90 degrees, so that width
            and height change places.
        mark: the mark of the video; None: without one.

    Raises:
        UserError: if the format of `path` cannot hold the sound of the source.
    """

    def __init__(self, av, path: Path, source, picture, rotated: bool, mark: marks.Mark | None):
        self.av, self.path, self.source, self.picture, self.rotated = av, path, source, picture, rotated
        self.mark = mark
        self.left_out: list[str] = []  # parts of the source that this file does not hold
        self.partial = make_partial_path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.container = av.open(str(self.partial), "w")
        try:
            self.copied = {stream.index: self._copy(stream) for stream in source.streams.audio if stream.codec_context}
            self.container.metadata.update(_select_metadata(source.metadata))
            if mark and path.suffix.lower() not in _ISO:
                self.container.metadata.update(marks.make_tags(mark))
            self.container.set_chapters(source.chapters())
        except (av.FFmpegError, ValueError) as error:
            self.discard()
            raise self._explain(error) from None
        for stream in source.streams.subtitles:
            with contextlib.suppress(av.FFmpegError, ValueError):
                if stream.codec_context:
                    self.copied[stream.index] = self._copy(stream)
        others = Counter(s.type for s in source.streams if s.index != picture.index and s.index not in self.copied)
        self.left_out += [f"{n} {kind} stream{'s' * (n > 1)}" for kind, n in others.items()]
        self.stream: Any = None

    def _copy(self, stream):
        """Add a stream to this file, with the settings of a stream of the source, and return it.

        Packets of the source's stream can then be copied to the new stream.
        """
        copy = self.container.add_stream_from_template(stream)
        copy.metadata.update(_select_metadata(stream.metadata))
        copy.disposition = stream.disposition
        return copy

    def _explain(self, error) -> UserError:
        """Return, but do not raise, a UserError that explains an error of FFmpeg."""
        if getattr(error, "errno", None) == errno.ENOSPC:
            return UserError(f"{self.path}: no space left on that disk. Make room, or choose another --out.")
        return UserError(
            f"{self.path}: cannot hold this video and its sound ({error}). Choose a name that ends in .mkv."
        )

    def _begin(self, height: int, width: int):
        """Add the video stream for frames of this size in pixels, and return it."""
        encoder = KINDS[self.path.suffix.lower()]
        stream = self.container.add_stream(encoder, rate=self.picture.average_rate or 25, options=_QUALITY[encoder])
        stream.width, stream.height = width, height
        # Every player supports colour at half the resolution, but odd sides cannot be halved.
        stream.pix_fmt = "yuv444p" if height % 2 or width % 2 else "yuv420p"
        context = stream.codec_context
        context.time_base = self.picture.time_base
        if shape := self.picture.sample_aspect_ratio:  # pixels that are not square
            context.sample_aspect_ratio = 1 / shape if self.rotated else shape
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _STUDIO_RANGE
        return stream

    def add_frame(self, image: np.ndarray, pts: int) -> None:
        """Write a frame. Raise UserError if this fails.

        Args:
            image: RGB, uint8 [H,W,3].
            pts: time at which the frame is shown, in units of `picture.time_base`.
        """
        try:
            self.stream = self.stream or self._begin(*image.shape[:2])
            frame = self.av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
            frame = frame.reformat(
                format=self.stream.pix_fmt, dst_colorspace=_BT709, src_color_range="JPEG", dst_color_range="MPEG"
            )
            frame.pts, frame.time_base = pts, self.picture.time_base
            self.container.mux(self.stream.encode(frame))
        except self.av.FFmpegError as error:
            raise self._explain(error) from None

    def copy_packet(self, packet) -> None:
        """Write a packet of sound or subtitles of the source. Raise UserError if this fails.

        If this file has no copy of the packet's stream, do nothing.
        """
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
            raise self._explain(error) from None

    def finish(self) -> None:
        """Complete the file and rename it to its final name.

        Metadata of the source that the file's format has not stored is added to `left_out`.
        """
        self.container.mux(self.stream.encode(None))
        self.container.close()
        with self.av.open(str(self.partial)) as written:
            found = {name.lower(): value for name, value in written.metadata.items()}
            expected = _select_metadata(self.source.metadata)
            if lost := [name for name, value in expected.items() if found.get(name.lower()) != value]:
                self.left_out.append(f"metadata ({', '.join(lost)})")
        if self.mark and self.path.suffix.lower() in _ISO:
            with self.partial.open("ab") as file:
                file.write(xmp.make_box(marks.make_packet(self.mark) or b""))
        self.partial.replace(self.path)

    def discard(self) -> None:
        """Delete the incomplete file."""
        self.container.close()
        self.partial.unlink(missing_ok=True)


def _select_metadata(metadata: dict) -> dict:
    """Return the entries {name: text} that describe a video, without those about its file."""
    return {name: value for name, value in metadata.items() if name.lower() not in _OF_THE_FILE}


def _read_frame(frame) -> np.ndarray:
    """Convert a frame of PyAV to an upright RGB image, uint8 [H,W,3] in BT.709.

    A frame that does not state its colour space is assumed to use BT.601 if it has at most 576
    lines, else BT.709.
    """
    if hdr.needs_conversion(frame.color_trc, frame.color_primaries):
        matrix = _BT2020 if frame.colorspace == _UNSPECIFIED else frame.colorspace
        codes = frame.to_ndarray(format="rgb48le", src_colorspace=matrix, dst_color_range="JPEG")
        image = hdr.to_sdr(codes, frame.color_trc, frame.color_primaries, _read_peak(frame))
        return np.rot90(image, frame.rotation // 90 % 4)
    unnamed = frame.colorspace == _UNSPECIFIED
    source = ("ITU709" if frame.height > 576 else "ITU601") if unnamed else None
    image = frame.to_ndarray(format="rgb24", src_colorspace=source, dst_color_range="JPEG")
    return np.rot90(image, frame.rotation // 90 % 4)


def _read_peak(frame) -> float:
    """Return the light of a video's brightest pixel in cd/m2.

    This is MaxCLL (CTA-861.3), the first of two 32-bit numbers in the frame's side data. If it is
    not stated, return hdr.PEAK.
    """
    stated = next((bytes(data)[:4] for data in frame.side_data if data.type.name == "CONTENT_LIGHT_LEVEL"), b"")
    return float(int.from_bytes(stated, sys.byteorder)) or hdr.PEAK


def _open_video(av, source: Path, outs: list[Path]):
    """Open a video for reading and return PyAV's container.

    Args:
        av: the module of PyAV.
        source: path of the video.
        outs: paths of the results; only their extensions are checked.

    Raises:
        UserError: if it cannot be opened, or if a name in `outs` has an extension that cannot be
            written.
    """
    for out in outs:
        if out.suffix.lower() not in KINDS:
            raise UserError(f"{out}: not a video that can be written. Expected a name that ends in {', '.join(KINDS)}.")
    try:
        return av.open(str(source))
    except av.FFmpegError as error:
        raise UserError(f"{source}: not a video that can be opened ({error.strerror}).") from None


def _find_picture_stream(path: Path, source):
    """Return the first video stream of an opened file.

    Args:
        path: path of the file, for messages.
        source: the file, opened with PyAV.

    Raises:
        UserError: if there is no video stream, or if it cannot be decoded.
    """
    picture = next(iter(source.streams.video), None)
    if picture is None or picture.codec_context is None:
        what = "no video stream" if picture is None else "its video is of a kind that this PyAV cannot decode"
        raise UserError(f"{path}: {what}. Expected a video with a stream of frames.")
    return picture


def _report_left_out(writers: list[_Writer], say: Callable[[str], None]) -> None:
    """Report the parts of the source that are missing in the written files.

    say: called with one line for every file that lacks something.
    """
    for writer in writers:
        if writer.left_out:
            say(
                f"{writer.path}: left out, as {writer.path.suffix} does not hold it as it was: {', '.join(writer.left_out)}"
            )


def rewrite(
    path: Path,
    outs: list[Path],
    change: Callable[[np.ndarray], list[np.ndarray]],
    progress=lambda done, total: None,
    say: Callable[[str], None] = lambda line: None,
    mark: marks.Mark | None = None,
) -> tuple[int, int]:
    """Convert the frames of a video, and write one or several videos.

    Args:
        path: path of the video.
        outs: paths of the results.
        change: function that takes a frame, uint8 [H,W,3], and returns a list with one frame for
            each path in `outs`. The sizes must not change between calls.
        progress: called with (frames done, frames in total or None).
        say: called with messages about what was left out, and about HDR that was converted.
        mark: the mark of the results; None: without one.

    Returns:
        (number of frames converted, number of packets of the video stream that could not be
        decoded).

    Raises:
        UserError: if the video cannot be read or written.
    """
    import av

    with _open_video(av, path, outs) as source:
        picture = _find_picture_stream(path, source)
        picture.thread_type = "AUTO"
        work = _Rewriting(av, path, outs, change, progress, say, source, picture, mark)
        try:
            work.run()
        except BaseException:
            for writer in work.writers:
                writer.discard()
            raise
    return work.done, work.lost


@dataclass
class _Rewriting:
    """A conversion of one video by `rewrite`: its arguments, open files and counts so far."""

    av: types.ModuleType
    path: Path
    outs: list[Path]
    change: Callable[[np.ndarray], list[np.ndarray]]
    progress: Callable
    say: Callable[[str], None]
    source: Any  # the source, opened with PyAV
    picture: Any  # its video stream
    mark: marks.Mark | None = None
    writers: list[_Writer] = field(default_factory=list)  # empty before the first frame
    waiting: list = field(default_factory=list)  # packets of sound and subtitles that are not copied yet
    done: int = 0  # frames converted
    lost: int = 0  # packets of the video stream that could not be decoded
    damage: str = ""  # FFmpeg's reason for the last of these failures

    def run(self) -> None:
        """Convert all frames and complete the files. Raise UserError if no frame can be decoded."""
        streams = self.source.streams
        copied = [s for s in (*streams.audio, *streams.subtitles) if s.codec_context is not None]
        for packet in self.source.demux(self.picture, *copied):
            if packet.stream.index != self.picture.index:
                if packet.pts is not None:  # None marks the end of the stream
                    self.waiting.append(packet)
                continue
            try:
                frames = packet.decode()
            except self.av.FFmpegError as error:
                self.damage, self.lost = str(error.strerror), self.lost + 1
                continue
            for frame in frames:
                self._convert(frame)
            if self.writers:  # files are created with the first frame; sound and subtitles wait until then
                self._copy_waiting()
        if not self.writers:
            why = f" ({self.damage})" if self.damage else ""
            raise UserError(f"{self.path}: no frame of its video stream can be decoded{why}.")
        self._copy_waiting()
        for writer in self.writers:
            writer.finish()
        _report_left_out(self.writers, self.say)

    def _convert(self, frame) -> None:
        """Convert a frame and add it to every result. Create the results for the first frame."""
        images = self.change(_read_frame(frame))
        if not self.writers:
            if hdr.needs_conversion(frame.color_trc, frame.color_primaries):
                self.say(f"{self.path}: {hdr.describe_transfer(frame.color_trc)}, made BT.709")
            for out in self.outs:
                turned = frame.rotation % 180 != 0
                self.writers.append(_Writer(self.av, out, self.source, self.picture, turned, self.mark))
        rate, unit = self.picture.average_rate, self.picture.time_base
        pts = round(self.done / rate / unit) if frame.pts is None else frame.pts  # without times: a constant frame rate
        for writer, image in zip(self.writers, images, strict=True):
            writer.add_frame(image, pts)
        self.done += 1
        self.progress(self.done, self.picture.frames or None)

    def _copy_waiting(self) -> None:
        """Copy the waiting packets of sound and subtitles to every result."""
        for packet in self.waiting:
            for writer in self.writers:
                writer.copy_packet(packet)
        self.waiting.clear()

"""Conversion of videos, frame by frame.

Videos are read and written with PyAV (FFmpeg). The video that is converted is called the source. A
video file holds several streams: one of frames, others of sound or subtitles. Each stream is a
sequence of packets, which are pieces of encoded data. Frames are decoded, converted and encoded
again at the same times; packets of sound and subtitles are copied.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pggan_tf.conversion.video_writer import KINDS, Writer
from pggan_tf.data import hdr, marks
from pggan_tf.errors import UserError

EXTENSIONS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ts", ".mts")
_UNSPECIFIED, _BT2020 = 2, 9
_JUMP = Fraction(1, 2)  # seconds; where the times of frames go back by more, a second recording begins


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


def _is_transparent(frame) -> bool:
    """Tell whether any pixel of a frame of PyAV is not opaque. An alpha channel alone does not say so."""
    if not any(component.is_alpha for component in frame.format.components):
        return False
    return bool(frame.to_ndarray(format="rgba")[..., 3].min() < 255)


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
    """Return the first video stream of an opened file that is not its cover, or else the cover.

    A cover is a picture for lists of files. Its stream has one frame, and may be the first.

    Args:
        path: path of the file, for messages.
        source: the file, opened with PyAV.

    Raises:
        UserError: if there is no video stream, or if it cannot be decoded.
    """
    streams = sorted(source.streams.video, key=lambda s: bool(s.disposition & s.disposition.attached_pic))
    picture = next(iter(streams), None)
    if picture is None or picture.codec_context is None:
        what = "no video stream" if picture is None else "its video is of a kind that this PyAV cannot decode"
        raise UserError(f"{path}: {what}. Expected a video with a stream of frames.")
    return picture


def _report_left_out(writers: list[Writer], say: Callable[[str], None]) -> None:
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
    writers: list[Writer] = field(default_factory=list)  # empty before the first frame
    waiting: list = field(default_factory=list)  # packets of sound and subtitles that are not copied yet
    done: int = 0  # frames converted
    lost: int = 0  # packets of the video stream that could not be decoded
    transparent: bool = False  # whether transparency was found, which the results do not have
    damage: str = ""  # FFmpeg's reason for the last of these failures
    shift: Fraction = Fraction(0)  # seconds that are added to all times, so that they begin at 0 and rise
    end: int | None = None  # time of the last frame in units of the stream, before `shift` is added
    last: int | None = None  # the same in the results
    known: int = 0  # the same of the last frame whose time is known
    timeless: int = -1  # number of frames since; without such a frame, the first one is shown at 0

    def _demux(self) -> Iterator:
        """Yield the packets of all streams. Where the file is damaged beyond reading, it ends."""
        streams = self.source.streams
        copied = [s for s in (*streams.audio, *streams.subtitles) if s.codec_context is not None]
        try:
            yield from self.source.demux(self.picture, *copied)
        except (self.av.FFmpegError, IndexError) as error:
            self.damage, self.lost = str(getattr(error, "strerror", error)), self.lost + 1

    def run(self) -> None:
        """Convert all frames and complete the files. Raise UserError if no frame can be decoded."""
        # WebM holds alpha beside the frames, where its usual decoder does not look, and names it in a tag.
        self.transparent = {k.lower(): v for k, v in self.picture.metadata.items()}.get("alpha_mode") == "1"
        # Recordings of television begin at any time.
        self.shift = -Fraction(max(0, self.source.start_time or 0), 1_000_000)
        for packet in self._demux():
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
        self._tell_of_end()
        if self.transparent:
            for writer in self.writers:
                writer.left_out.append("transparency")
        _report_left_out(self.writers, self.say)

    def _convert(self, frame) -> None:
        """Convert a frame and add it to every result. Create the results for the first frame."""
        self.transparent = self.transparent or _is_transparent(frame)
        images = self.change(_read_frame(frame))
        if not self.writers:
            if hdr.needs_conversion(frame.color_trc, frame.color_primaries):
                self.say(f"{self.path}: {hdr.describe_transfer(frame.color_trc)}, made BT.709")
            for out in self.outs:
                turned = frame.rotation % 180 != 0
                self.writers.append(Writer(self.av, out, self.source, self.picture, turned, self.mark, self.shift))
        duration = frame.duration or 0
        pts = self._find_time(frame.pts, duration)
        for writer, image in zip(self.writers, images, strict=True):
            writer.add_frame(image, pts, duration)
        self.done += 1
        self.progress(self.done, self.picture.frames or None)

    def _find_time(self, pts: int | None, duration: int) -> int:
        """Return the time of a frame in the results, which is later than that of the frame before it.

        Args:
            pts: its time in the source; None: not known.
            duration: how long it is shown; 0: not known. Both in units of the stream.
        """
        unit, step = self.picture.time_base, 1 / (self.picture.average_rate or 25)
        if pts is None:  # a constant frame rate since the last time that is known
            self.timeless += 1
            found = self.known + round(self.timeless * step / unit)
            self.last = found if self.last is None else max(found, self.last + 1)
            return self.last
        if self.last is not None and (pts + round(self.shift / unit)) * unit < self.last * unit - _JUMP:
            self.shift = (self.last - pts) * unit + step  # a second recording, joined to the first
        self.end = pts + duration
        found = pts + round(self.shift / unit)
        self.last = self.known = found if self.last is None else max(found, self.last + 1)
        self.timeless = 0
        return self.last

    def _tell_of_end(self) -> None:
        """Report if the source ends before the time that it states, as one that was cut off does."""
        unit, length = self.picture.time_base, self.picture.duration
        if length is None or self.end is None:
            return
        begin = self.picture.start_time or 0
        if (missing := float((begin + length - self.end) * unit)) > max(1.0, 0.05 * float(length * unit)):
            whole = float(length * unit)
            self.say(
                f"{self.path}: ends {missing:.1f} s before the {whole:.1f} s that it states; the file may have been cut off"
            )

    def _copy_waiting(self) -> None:
        """Copy the waiting packets of sound and subtitles to every result."""
        for packet in self.waiting:
            for writer in self.writers:
                writer.copy_packet(packet, self.shift)
        self.waiting.clear()

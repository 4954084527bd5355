"""Write a video: encode frames, copy packets of sound and subtitles, and what is known of the source."""

from __future__ import annotations

import contextlib
import errno
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pggan_tf.data import marks, xmp
from pggan_tf.errors import UserError
from pggan_tf.files import make_partial_path

# The extensions of videos that can be written, and the encoder for each.
KINDS = {".mp4": "libx264", ".m4v": "libx264", ".mov": "libx264", ".mkv": "libx264", ".webm": "libvpx-vp9"}
# Nearly lossless, because results are often edited further.
_QUALITY = {"libx264": {"crf": "16"}, "libvpx-vp9": {"crf": "18", "b": "0", "row-mt": "1", "cpu-used": "4"}}
_BT709, _STUDIO_RANGE = 1, 1  # values in ITU-T H.273, tables 2 to 4
_ISO = (".mp4", ".m4v", ".mov")  # files of boxes, which hold XMP
# Names of metadata entries that describe the file and not the video. They are not copied.
_OF_THE_FILE = {"encoder", "major_brand", "minor_version", "compatible_brands", "duration"}


class Writer:
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
        shift: seconds that are added to all times of the source.

    Raises:
        UserError: if the format of `path` cannot hold the sound of the source.
    """

    def __init__(self, av, path: Path, source, picture, rotated: bool, mark: marks.Mark | None, shift: Fraction):
        self.av, self.path, self.source, self.picture, self.rotated = av, path, source, picture, rotated
        self.mark = mark
        self.left_out: list[str] = []  # parts of the source that this file does not hold
        self.partial = make_partial_path(path)
        self._last: dict[int, int] = {}  # index of a stream of the source -> time of its last packet
        self._late = 0  # number of packets that were left out, as they came too late
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.container = av.open(str(self.partial), "w")
        except OSError as error:  # those of FFmpeg, too
            raise UserError(f"{path}: cannot be written ({error.strerror or error}). Choose another --out.") from None
        try:
            self.copied = {stream.index: self._copy(stream) for stream in source.streams.audio if stream.codec_context}
            self.container.metadata.update(_select_metadata(source.metadata))
            if mark and path.suffix.lower() not in _ISO:
                self.container.metadata.update(marks.make_tags(mark))
            moved = (_move_chapter(chapter, shift) for chapter in source.chapters())
            within = [chapter for chapter in moved if chapter["end"] > 0]  # others end before the video begins
            self.container.set_chapters(within)
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
        if stream.type == "audio" and "channels" in (layout := stream.codec_context.layout).name:
            # Old files say how many there are, but not which; MP4 has to know.
            with contextlib.suppress(KeyError):
                copy.codec_context.layout = {1: "mono", 2: "stereo"}[layout.nb_channels]
        return copy

    def _explain(self, error) -> UserError:
        """Return, but do not raise, a UserError that explains an error of FFmpeg."""
        if getattr(error, "errno", None) == errno.ENOSPC:
            return UserError(f"{self.path}: no space left on that disk. Make room, or choose another --out.")
        advice = "" if self.path.suffix.lower() == ".mkv" else " Choose a name that ends in .mkv."
        return UserError(f"{self.path}: cannot hold this video and its sound ({error}).{advice}")

    def _begin(self, height: int, width: int):
        """Add the video stream for frames of this size in pixels, and return it."""
        encoder = KINDS[self.path.suffix.lower()]
        # These files store how long a frame is shown only in the order of decoding, which B-frames change.
        options = _QUALITY[encoder] | ({"bf": "0"} if self.path.suffix.lower() in _ISO else {})
        stream = self.container.add_stream(encoder, rate=self.picture.average_rate or 25, options=options)
        stream.width, stream.height = width, height
        # Every player supports colour at half the resolution, but odd sides cannot be halved.
        stream.pix_fmt = "yuv444p" if height % 2 or width % 2 else "yuv420p"
        context = stream.codec_context
        context.time_base = self.picture.time_base
        context.flags |= self.av.codec.context.Flags.frame_duration  # else the last frame's is not stored
        if shape := self.picture.sample_aspect_ratio:  # pixels that are not square
            context.sample_aspect_ratio = 1 / shape if self.rotated else shape
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _STUDIO_RANGE
        return stream

    def add_frame(self, image: np.ndarray, pts: int, duration: int) -> None:
        """Write a frame. Raise UserError if this fails.

        Args:
            image: RGB, uint8 [H,W,3].
            pts: time at which the frame is shown, in units of `picture.time_base`.
            duration: how long it is shown, in the same units; 0: not known.
        """
        try:
            self.stream = self.stream or self._begin(*image.shape[:2])
            frame = self.av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
            frame = frame.reformat(
                format=self.stream.pix_fmt, dst_colorspace=_BT709, src_color_range="JPEG", dst_color_range="MPEG"
            )
            frame.pts, frame.time_base, frame.duration = pts, self.picture.time_base, duration
            self.container.mux(self.stream.encode(frame))
        except self.av.FFmpegError as error:
            raise self._explain(error) from None

    def copy_packet(self, packet, shift: Fraction) -> None:
        """Write a packet of sound or subtitles of the source. Raise UserError if this fails.

        If this file has no copy of the packet's stream, do nothing. A packet that does not come after the
        one before it, as in damaged files, is left out and counted.

        Args:
            packet: the packet.
            shift: seconds that are added to its times.
        """
        index, ticks = packet.stream.index, round(shift / packet.time_base)
        if index not in self.copied:
            return
        copy = self.av.Packet(bytes(packet))
        copy.pts, copy.duration = packet.pts + ticks, packet.duration
        copy.dts = copy.pts if packet.dts is None else packet.dts + ticks
        last = self._last.get(index, copy.dts - 1)
        if copy.dts < last or (copy.dts == last and packet.stream.type != "subtitle"):
            self._late += 1
            return
        self._last[index] = copy.dts
        copy.time_base, copy.is_keyframe = packet.time_base, packet.is_keyframe
        copy.stream = self.copied[index]
        try:
            self.container.mux(copy)
        except self.av.FFmpegError as error:
            raise self._explain(error) from None

    def finish(self) -> None:
        """Complete the file and rename it to its final name.

        Metadata of the source that the file's format has not stored is added to `left_out`.
        """
        try:
            self.container.mux(self.stream.encode(None))
            self.container.close()
        except self.av.FFmpegError as error:
            raise self._explain(error) from None
        if self._late:
            self.left_out.append(f"{self._late} packets of sound or subtitles, whose times do not rise")
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
        with contextlib.suppress(self.av.FFmpegError):
            self.container.close()
        self.partial.unlink(missing_ok=True)


def _move_chapter(chapter: dict, shift: Fraction) -> dict:
    """Return a chapter, as PyAV describes it, whose times are later by `shift` seconds."""
    ticks = round(shift / chapter["time_base"])
    return {**chapter, "start": max(0, chapter["start"] + ticks), "end": chapter["end"] + ticks}


def _select_metadata(metadata: dict) -> dict:
    """Return the entries {name: text} that describe a video, without those about its file."""
    return {name: value for name, value in metadata.items() if name.lower() not in _OF_THE_FILE}

"""Videos made here, changed, and looked into: frames, times, sound, colours, turns."""

import io
import types
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from pggan_tf.commands import cli
from pggan_tf.conversion import video
from pggan_tf.data import hdr
from pggan_tf.errors import UserError
from tests.test_colorize import trained  # noqa: F401  a fixture

av = pytest.importorskip("av")


def frame(number, height=48, width=64):
    """Smooth, and unlike its neighbours."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0], image[..., 1], image[..., 2] = 40 + 12 * number % 200, 90, np.linspace(0, 200, width)
    return image


def make(path, frames=12, rate=12, times=None, sound="aac", turn=0, height=48, width=64, pix_fmt="yuv420p", shape=None):
    """A video as FFmpeg makes them; times: pts in 1/1000 s."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=rate, options={"crf": "8"})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        if shape:
            stream.codec_context.sample_aspect_ratio = shape
        if turn:
            stream.set_display_rotation(turn)
        audio = out.add_stream(sound, rate=44_100) if sound else None
        for i in range(frames):
            picture = av.VideoFrame.from_ndarray(frame(i, height, width), "rgb24")
            picture.pts, picture.time_base = (times[i], Fraction(1, 1000)) if times else (i, Fraction(1, rate))
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
        if audio:
            wave = (np.sin(np.arange(44_100) / 20) / 2).astype(np.float32)
            for start in range(0, 44_100, 1024):
                piece = np.ascontiguousarray(np.stack([wave[start : start + 1024]] * 2))
                samples = av.AudioFrame.from_ndarray(piece, "fltp", "stereo")
                samples.rate, samples.pts, samples.time_base = 44_100, start, Fraction(1, 44_100)
                out.mux(audio.encode(samples))
            out.mux(audio.encode(None))
    return path


def look(path):
    """Frames as arrays, their times in seconds, packets of sound as (bytes, seconds)."""
    with av.open(str(path)) as file:
        images, times = [], []
        for picture in file.decode(video=0):
            images.append(picture.to_ndarray(format="rgb24", src_colorspace="ITU709"))
            times.append(float(picture.time))
        rate = file.streams.video[0].average_rate
    with av.open(str(path)) as file:
        sound = (
            [(bytes(p), float(p.pts * p.time_base)) for p in file.demux(audio=0) if p.dts is not None]
            if file.streams.audio
            else []
        )
    return images, times, rate, sound


def test_frames_times_and_sound_are_kept(tmp_path):
    given = make(tmp_path / "given.mp4")
    done, lost = video.rewrite(given, [tmp_path / "out.mp4"], lambda image: [image.repeat(2, 0).repeat(2, 1)])
    assert lost == 0
    images, times, rate, sound = look(tmp_path / "out.mp4")
    _, times_before, rate_before, sound_before = look(given)
    assert done == len(images) == 12 and rate == rate_before == 12
    np.testing.assert_allclose(times, times_before, atol=1e-4)
    assert [data for data, _ in sound] == [data for data, _ in sound_before] and len(sound) > 40
    np.testing.assert_allclose([t for _, t in sound], [t for _, t in sound_before], atol=1e-3)
    for i, image in enumerate(images):
        assert image.shape == (96, 128, 3)
        assert np.abs(image[::2, ::2].astype(int) - frame(i)).mean() < 4, i
    assert sorted(f.name for f in tmp_path.iterdir()) == ["given.mp4", "out.mp4"]


def test_a_changing_rate_stays_as_it_is(tmp_path):
    times = [0, 40, 80, 300, 310, 900, 1000]
    given = make(tmp_path / "given.mkv", frames=7, times=times, sound=None)
    video.rewrite(given, [tmp_path / "out.mkv"], lambda image: [image])
    np.testing.assert_allclose(look(tmp_path / "out.mkv")[1], np.array(times) / 1000, atol=1e-3)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_the_last_frame_is_shown_as_long_as_it_was(tmp_path, suffix):
    with av.open(str(tmp_path / "given.mp4"), "w") as out:
        stream, packets = out.add_stream("libx264", rate=10, options={"bf": "0"}), []
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for pts in (0, 100, 200):
            picture = av.VideoFrame.from_ndarray(frame(1), "rgb24")
            picture.pts, picture.time_base = pts, Fraction(1, 1000)
            packets += stream.encode(picture)
        packets += stream.encode(None)
        packets[-1].duration = 3000
        out.mux(packets)
    video.rewrite(tmp_path / "given.mp4", [tmp_path / f"out{suffix}"], lambda image: [image])
    with av.open(str(tmp_path / f"out{suffix}")) as made:
        assert abs(made.duration / 1e6 - 3.2) < 0.05


def test_a_recording_that_begins_at_any_time_begins_at_0(tmp_path):
    given = make(tmp_path / "given.ts", frames=24, times=[30_000_000 + 40 * i for i in range(24)], sound=None)
    video.rewrite(given, [tmp_path / "out.mp4"], lambda image: [image])
    times = look(tmp_path / "out.mp4")[1]
    np.testing.assert_allclose(times, np.arange(24) / 25, atol=2e-3)


def test_subtitles_of_one_time_and_chapters_of_a_late_start(tmp_path):
    given = make(tmp_path / "plain.mkv", frames=24, times=[10_000 + 40 * i for i in range(24)], sound=None)
    text = tmp_path / "text.srt"
    lines = [("10,200", "10,500"), ("10,200", "10,400"), ("10,600", "10,800")]
    text.write_text("".join(f"{i}\n00:00:{a} --> 00:00:{b}\nline {i}\n\n" for i, (a, b) in enumerate(lines, 1)))
    with (
        av.open(str(given)) as source,
        av.open(str(text)) as words,
        av.open(str(tmp_path / "given.mkv"), "w") as out,
    ):
        times = (4_000, 9_000), (10_400, 10_800)  # the first ends before the video begins
        out.set_chapters(
            [
                {"id": i, "start": a, "end": b, "time_base": Fraction(1, 1000), "metadata": {}}
                for i, (a, b) in enumerate(times)
            ]
        )
        copies = {stream: out.add_stream_from_template(stream) for stream in [*source.streams, *words.streams]}
        for packet in (packet for file in (source, words) for packet in file.demux()):
            if packet.size:
                packet.stream = copies[packet.stream]
                out.mux(packet)
    said = []
    video.rewrite(tmp_path / "given.mkv", [tmp_path / "out.mkv"], lambda image: [image], say=said.append)
    with av.open(str(tmp_path / "out.mkv")) as made:
        (chapter,) = made.chapters()
        shown = [float(p.pts * p.time_base) for p in made.demux(subtitles=0) if p.pts is not None]
    np.testing.assert_allclose(shown, [0.2, 0.2, 0.6], atol=0.05)
    assert abs(float(chapter["start"] * chapter["time_base"]) - 0.4) < 0.05 and not said


@pytest.mark.parametrize(
    ("rate", "steps", "times"),
    [
        (25, (1000, None, 1080), (1000, 1040, 1080)),
        (25, (None, None, 40), (0, 40, 41)),
        (25, (0, 5000, None), (0, 5000, 5040)),
        (30, (None,) * 4, (0, 33, 67, 100)),  # not the sum of what was rounded
        (30, (100, None, None, 150, None, 201), (100, 133, 167, 168, 201, 202)),
        (5000, (None,) * 4, (0, 1, 2, 3)),
    ],
)
def test_frames_without_a_time_follow_at_the_frame_rate(rate, steps, times):
    picture = types.SimpleNamespace(time_base=Fraction(1, 1000), average_rate=rate)
    work = video._Rewriting(av, None, [], None, None, None, None, picture)
    assert tuple(work._find_time(pts, 40) for pts in steps) == times


def test_two_recordings_that_were_joined_follow_each_other(tmp_path):
    make(tmp_path / "one.ts", frames=25, rate=25, sound="aac")
    joined = tmp_path / "joined.ts"
    joined.write_bytes((tmp_path / "one.ts").read_bytes() * 2)
    for name in ("out.mkv", "out.mp4"):
        said = []
        done, _ = video.rewrite(joined, [tmp_path / name], lambda image: [image], say=said.append)
        images, times, _, sound = look(tmp_path / name)
        assert done == len(images) == 50
        assert (np.diff(times) > 0.02).all() and 1.9 < times[-1] < 3
        assert (np.diff([t for _, t in sound]) > 0).all() and sound[-1][1] > 1.8


def test_damage_in_the_middle_ends_nothing(tmp_path):
    make(tmp_path / "whole.ts", frames=50, rate=25)
    data = bytearray((tmp_path / "whole.ts").read_bytes())
    rng = np.random.default_rng(0)
    for number, at in enumerate(rng.integers(len(data) // 4, 3 * len(data) // 4, 20)):
        data[at] ^= 1 << (number % 8)
    (tmp_path / "hurt.ts").write_bytes(data)
    done, _ = video.rewrite(tmp_path / "hurt.ts", [tmp_path / "out.mp4"], lambda image: [image])
    times = look(tmp_path / "out.mp4")[1]
    assert 30 < done == len(times) and (np.diff(times) > 0).all()


def test_a_file_that_was_cut_off_is_told(tmp_path):
    make(tmp_path / "whole.mkv", frames=100, rate=25, sound=None)
    with (
        av.open(str(tmp_path / "whole.mkv")) as given,
        av.open(str(tmp_path / "whole.mp4"), "w", options={"movflags": "faststart"}) as out,
    ):
        copy = out.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = copy
                out.mux(packet)
    data = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 6 // 10])
    for name in ("whole", "cut"):
        said = []
        video.rewrite(tmp_path / f"{name}.mp4", [tmp_path / "out.mp4"], lambda image: [image], say=said.append)
        assert bool(said) == (name == "cut"), said
    assert "before the 3.9 s that it states; the file may have been cut off" in said[0]


def test_old_sound_without_a_layout_goes_into_mp4(tmp_path):
    with av.open(str(tmp_path / "given.avi"), "w") as out:
        stream, audio = out.add_stream("mpeg4", rate=10), out.add_stream("pcm_s16le", rate=8000)
        stream.width, stream.height, stream.pix_fmt, audio.layout = 64, 48, "yuv420p", "stereo"
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.int16), "s16", "stereo")
        samples.rate, samples.pts = 8000, 0
        for i in range(5):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame(i), "rgb24")))
        out.mux([*stream.encode(None), *audio.encode(samples), *audio.encode(None)])
    video.rewrite(tmp_path / "given.avi", [tmp_path / "out.mp4"], lambda image: [image])
    with av.open(str(tmp_path / "out.mp4")) as made:
        assert made.streams.audio[0].codec_context.layout.name == "stereo"


def test_a_place_that_nothing_can_be_written_to_is_named(tmp_path):
    given = make(tmp_path / "given.mp4")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/out.mp4: cannot be written"):
        video.rewrite(given, [tmp_path / "file" / "out.mp4"], lambda image: [image])


@pytest.mark.parametrize("turn", [90, 180, -90])
def test_videos_of_phones_stand_upright(tmp_path, turn):
    given = make(tmp_path / "given.mp4", frames=2, turn=turn, sound=None)
    video.rewrite(given, [tmp_path / "out.mp4"], lambda image: [image])
    image = look(tmp_path / "out.mp4")[0][0]
    assert np.abs(image.astype(int) - np.rot90(frame(0), turn // 90)).mean() < 4


@pytest.mark.parametrize("turn, shape", [(0, Fraction(4, 3)), (90, Fraction(3, 4))])
def test_pixels_that_are_not_square_stay_so(tmp_path, turn, shape):
    given = make(tmp_path / "given.mp4", frames=2, turn=turn, sound=None, shape=Fraction(4, 3))
    video.rewrite(given, [tmp_path / "out.mp4"], lambda image: [image])
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert file.streams.video[0].sample_aspect_ratio == shape


def test_sides_that_are_odd_and_other_kinds_of_file(tmp_path):
    given = make(tmp_path / "given.mkv", frames=3, height=45, width=63, pix_fmt="yuv444p")
    for name in ("out.mov", "out.mkv"):
        video.rewrite(given, [tmp_path / name], lambda image: [image])
        assert look(tmp_path / name)[0][0].shape == (45, 63, 3)


def test_sound_that_does_not_fit_says_so(tmp_path):
    given = make(tmp_path / "given.mp4", frames=3)
    with pytest.raises(UserError, match=r"out.webm: cannot hold.*\.mkv"):
        video.rewrite(given, [tmp_path / "out.webm"], lambda image: [image])
    assert [f.name for f in tmp_path.iterdir()] == ["given.mp4"]


def test_a_mistake_in_the_middle_leaves_nothing_behind(tmp_path):
    given = make(tmp_path / "given.mp4")
    calls = []

    def change(image):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return [image]

    with pytest.raises(KeyboardInterrupt):
        video.rewrite(given, [tmp_path / "out.mp4"], change)
    assert [f.name for f in tmp_path.iterdir()] == ["given.mp4"]


def without_video(path):
    with av.open(str(path), "w") as out:
        audio = out.add_stream("aac", rate=44_100)
        samples = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
        samples.rate = 44_100
        out.mux(audio.encode(samples))
        out.mux(audio.encode(None))


def damaged(path):
    """The table of a whole video, and zeros where its frames were."""
    make(path, sound=None)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    size = int.from_bytes(data[start - 8 : start - 4], "big")
    data[start : start - 8 + size] = bytes(size - 8)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "write, message",
    [
        (without_video, "no video stream"),
        (damaged, "no frame of its video stream can be decoded"),
        (lambda path: path.write_bytes(b"no video"), "not a video that can be opened"),
        (lambda path: path.write_bytes(b""), "not a video that can be opened"),
    ],
    ids=["sound alone", "damaged", "text", "empty"],
)
def test_what_cannot_be_decoded_says_why(trained, tmp_path, capsys, write, message):  # noqa: F811
    write(tmp_path / "given.mp4")
    code = cli.main(
        ["colorize", str(trained["colorize"]), str(tmp_path / "given.mp4"), "--out", str(tmp_path / "out.mp4")]
    )
    assert code == 2 and message in capsys.readouterr().err
    assert [f.name for f in tmp_path.iterdir()] == ["given.mp4"]


def test_both_commands_take_videos(trained, tmp_path, capsys):  # noqa: F811
    given = make(tmp_path / "given.mp4", frames=3)
    folder = str(tmp_path / "out")
    assert cli.main(["colorize", str(trained["colorize"]), str(given), "--out", f"{folder}/a.mp4", "--compare"]) == 0
    assert cli.main(["upscale", str(trained["upscale"]), str(given), "--out", folder + "/"]) == 0
    assert "a.mp4: 3 frames" in capsys.readouterr().out
    shapes = {p.name: look(p)[0][0].shape for p in (tmp_path / "out").iterdir()}
    assert shapes == {"a.mp4": (48, 64, 3), "a-compare.mp4": (48, 128, 3), "given.mp4": (192, 256, 3)}
    assert cli.main(["upscale", str(trained["upscale"]), str(given), "--out", f"{folder}/a.gif"]) == 2
    assert "not a video that can be written" in capsys.readouterr().err


def coloured(path, trc, primaries, matrix, code):
    """Three frames of one gray, whose Y' is `code` of 10 bits in studio range."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p10le"
        context = stream.codec_context
        context.color_trc, context.color_primaries, context.colorspace = trc, primaries, matrix
        for i in range(3):
            picture = av.VideoFrame(64, 64, "yuv420p10le")
            for plane, value in zip(picture.planes, (code, 512, 512)):
                plane.update(np.full(plane.buffer_size // 2, value, "<u2").tobytes())
            picture.pts, picture.time_base = i, Fraction(1, 25)
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return path


# Signals of BT.2408-7, tables 1 and 5, and the light that they stand for; then what BT.2390 and a gamma of 2.4 make of it.
@pytest.mark.parametrize(
    "trc, signal, light",
    [(18, 0.0, 0), (18, 0.38, 26), (18, 0.5, 50.7), (16, 0.38, 26), (16, 0.44, 50), (14, 0.5, 203 * 0.5**2.4)],
)
def test_hdr_becomes_the_light_that_it_stands_for(tmp_path, trc, signal, light):
    """Below the knee, at 94 cd/m2, light stays what it is: relative to 203 cd/m2, through the display's gamma."""
    given = coloured(tmp_path / "given.mkv", trc, 9, 9, round(64 + 876 * signal))
    said = []
    video.rewrite(given, [tmp_path / "out.mp4"], lambda image: [image], say=said.append)
    assert len(said) == 1 and "made BT.709" in said[0] and ("HDR" in said[0]) == (trc != 14)
    pixel = look(tmp_path / "out.mp4")[0][0][32, 32].astype(int)
    np.testing.assert_allclose(pixel, 255 * (light / 203) ** (1 / 2.4), atol=3)
    with av.open(str(tmp_path / "out.mp4")) as file:
        first = next(file.decode(video=0))
        assert (first.color_trc, first.color_primaries, first.colorspace) == (1, 1, 1)


def test_tone_mapping_by_hand():
    """White of graphics, the peak, and a saturated colour."""

    def gray(light, transfer=hdr.PQ, peak=1000.0):
        codes = np.full((1, 1, 3), hdr._encode_pq(light) * 65535).round().astype(np.uint16)
        return hdr.to_sdr(codes, transfer, 9, peak)[0, 0, 0]

    # EETF from 0..1000 to 0..203 cd/m2 at 203: E = .7724, KS = .6586, T = 1/3, E' = .7387, which is 160.6 cd/m2.
    assert gray(203) == pytest.approx(255 * (160.6 / 203) ** (1 / 2.4), abs=1.5)
    assert gray(1000) == gray(5000) == 255 and gray(4000, peak=4000) == 255 and gray(1000, peak=4000) < 253
    steps = [int(gray(light)) for light in (1, 5, 20, 80, 94, 95, 150, 300, 600, 900)]
    assert steps == sorted(set(steps))  # nothing is cut, nothing turned around
    # BT.2020's green lies outside of BT.709: cut, not wrapped around. BT.709's own green in BT.2020: green alone.
    green = np.zeros((1, 1, 3), np.uint16)
    green[..., 1] = round(hdr._encode_pq(50) * 65535)
    assert hdr.to_sdr(green, hdr.PQ, 9)[0, 0, [0, 2]].tolist() == [0, 0]
    inside = np.array([0.3293, 0.9195, 0.0880]) * 50  # cd/m2 of BT.709's green of 50, by BT.2087
    codes = (hdr._encode_pq(inside) * 65535).round().astype(np.uint16)[None, None]
    np.testing.assert_allclose(hdr.to_sdr(codes, hdr.PQ, 9)[0, 0], [0, 255 * (50 / 203) ** (1 / 2.4), 0], atol=8)


def titled(path, given, subtitles=True, **metadata):
    """A copy of a video with metadata, a chapter, sound in a language and subtitles."""
    text = path.with_name("text.srt")
    text.write_text("1\n00:00:00,000 --> 00:00:00,300\nhello\n\n2\n00:00:00,400 --> 00:00:00,900\nworld\n\n")
    with av.open(str(given)) as source, av.open(str(text)) as words, av.open(str(path), "w") as out:
        out.metadata.update(metadata)
        part = {"id": 1, "start": 0, "end": 500, "time_base": Fraction(1, 1000), "metadata": {"title": "one"}}
        out.set_chapters([part])
        streams = [*source.streams, *(words.streams.subtitles if subtitles else ())]
        copies = {stream: out.add_stream_from_template(stream) for stream in streams}
        for stream, copy in copies.items():
            if stream.type != "video":
                copy.metadata["language"] = "ger"
        for file in (source, words) if subtitles else (source,):
            for packet in file.demux():
                if packet.size:
                    packet.stream = copies[packet.stream]
                    out.mux(packet)
    text.unlink()
    return path


ABOUT = {"title": "reel 3", "creation_time": "2002-05-01T10:00:00.000000Z", "comment": "found in the attic"}


@pytest.mark.parametrize("name", ["out.mkv", "out.mp4"])
def test_subtitles_title_date_and_chapters_are_kept(tmp_path, name):
    given = titled(tmp_path / "given.mkv", make(tmp_path / "plain.mp4"), **ABOUT, director="nobody")
    said = []
    video.rewrite(given, [tmp_path / name], lambda image: [image], say=said.append)
    with av.open(str(tmp_path / name)) as file:
        about = {key.lower(): value for key, value in file.metadata.items()}
        assert {key: about.get(key) for key in ABOUT} == ABOUT
        assert [(c["start"] * c["time_base"], c["end"] * c["time_base"]) for c in file.chapters()] == [
            (0, Fraction(1, 2))
        ]
        assert file.chapters()[0]["metadata"]["title"] == "one"
        assert file.streams.audio[0].metadata["language"] == "ger"
        words = [bytes(p) for p in file.demux(file.streams.subtitles[0]) if p.size] if file.streams.subtitles else []
    assert len(look(tmp_path / name)[0]) == 12
    if name == "out.mkv":
        assert words == [b"hello", b"world"] and said == []
    else:
        assert len(said) == 1 and "out.mp4: left out" in said[0]
        assert "1 subtitle stream," in said[0] and "metadata (director)" in said[0].lower()


def test_the_command_says_what_was_left_out(trained, tmp_path, capsys):  # noqa: F811
    given = titled(tmp_path / "given.mkv", make(tmp_path / "plain.mp4", frames=2), **ABOUT)
    for name in ("out.mkv", "out.mp4"):
        assert cli.main(["colorize", str(trained["colorize"]), str(given), "--out", str(tmp_path / name)]) == 0
    err = capsys.readouterr().err
    assert "out.mkv" not in err and "out.mp4: left out" in err and "subtitle" in err


def make_box(kind, content):
    """A box of an MP4 file: its length, kind and content."""
    return (8 + len(content)).to_bytes(4, "big") + kind + content


def add_cover(path, given, cover_size):
    """A copy of a video whose cover, a red JPEG, is stored before its streams, as iTunes may write it."""
    jpeg = io.BytesIO()
    Image.new("RGB", cover_size, (200, 10, 10)).save(jpeg, "JPEG")
    cover = make_box(b"covr", make_box(b"data", (13).to_bytes(4, "big") + bytes(4) + jpeg.getvalue()))
    reader = make_box(b"hdlr", bytes(8) + b"mdirappl" + bytes(9))
    tags = make_box(b"udta", make_box(b"meta", bytes(4) + reader + make_box(b"ilst", cover)))
    content = given.read_bytes()
    begin = content.index(b"moov") - 4
    end = begin + int.from_bytes(content[begin : begin + 4], "big")
    assert end == len(content), "the table is at the end, so that the places of frames do not change"
    header = begin + 8 + int.from_bytes(content[begin + 8 : begin + 12], "big")  # the end of mvhd
    table = content[begin + 8 : header] + tags + content[header:end]
    path.write_bytes(content[:begin] + make_box(b"moov", table))
    return path


@pytest.mark.parametrize("name", ["out.mkv", "out.mp4"])
def test_a_cover_before_the_frames_is_not_the_video(trained, tmp_path, capsys, name):  # noqa: F811
    given = add_cover(tmp_path / "given.mp4", make(tmp_path / "plain.mp4"), (32, 32))
    with av.open(str(given)) as file:
        assert [stream.codec_context.name for stream in file.streams.video] == ["mjpeg", "h264"]
    assert cli.main(["colorize", str(trained["colorize"]), str(given), "--out", str(tmp_path / name)]) == 0
    images, times, rate, sound = look(tmp_path / name)
    assert len(images) == 12 and rate == 12 and images[0].shape == (48, 64, 3) and len(sound) > 40
    np.testing.assert_allclose(np.diff(times), np.full(11, 1 / 12), atol=2e-3)
    assert f"{name}: left out, as" in (err := capsys.readouterr().err) and "1 video stream" in err


def test_a_file_of_a_cover_alone_is_a_video_of_one_frame(tmp_path):
    """There is nothing else in it that could be meant."""
    sound = tmp_path / "sound.mp4"
    without_video(sound)
    given = add_cover(tmp_path / "given.mp4", sound, (32, 48))
    assert video.rewrite(given, [tmp_path / "out.mp4"], lambda image: [image]) == (1, 0)
    (image,), _, _, _ = look(tmp_path / "out.mp4")
    assert image.shape == (48, 32, 3) and image[..., 0].mean() > 180


def make_transparent(path, codec, pix_fmt, alpha):
    """A video of three frames whose pixels have one alpha, 0..255."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        for i in range(3):
            image = np.dstack([frame(i), np.full((48, 64), alpha, np.uint8)])
            picture = av.VideoFrame.from_ndarray(image, "rgba").reformat(format=pix_fmt)
            picture.pts, picture.time_base = i, Fraction(1, 10)
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("given.mov", "prores_ks", "yuva444p10le"),
        ("given.mov", "png", "rgba"),
        ("given.webm", "libvpx-vp9", "yuva420p"),
    ],
    ids=["ProRes 4444", "PNG", "VP9"],
)
def test_transparency_that_is_lost_is_told(trained, tmp_path, capsys, name, codec, pix_fmt):  # noqa: F811
    given = make_transparent(tmp_path / name, codec, pix_fmt, 128)
    assert cli.main(["colorize", str(trained["colorize"]), str(given), "--out", str(tmp_path / "out.mp4")]) == 0
    assert len(look(tmp_path / "out.mp4")[0]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert "out.mp4: left out, as" in line and line.endswith("as it was: transparency")


@pytest.mark.parametrize(("codec", "pix_fmt"), [("prores_ks", "yuva444p10le"), ("png", "rgba")])
def test_nothing_is_lost_of_frames_that_are_opaque(tmp_path, codec, pix_fmt):
    """Editors write an alpha that is full everywhere."""
    given, said = make_transparent(tmp_path / "given.mov", codec, pix_fmt, 255), []
    video.rewrite(given, [tmp_path / "out.mov"], lambda image: [image], say=said.append)
    assert not [line for line in said if "transparency" in line]

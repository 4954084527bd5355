"""Colours of videos: how much they flicker along a motion that is known, frame by frame and kept steady."""

import numpy as np
import pytest
from skimage import data

from pggan_tf.commands import cli
from pggan_tf.conversion.steady import Steadier
from tests.stand_ins import Colorizer, saved

STEP = 3  # pixels that the camera moves a frame


def pan(frames=12, side=96, noise=0.01, seed=0):
    """Lightness of a camera that moves over a photo, with the noise of a sensor, and colours that jump from frame to frame."""
    rng = np.random.default_rng(seed)
    photo = data.astronaut()[100:, :].mean(-1) / 255
    truth = np.stack([photo - 0.5, 0.3 - photo], -1) * 0.4
    for i in range(frames):
        window = np.s_[i * STEP : i * STEP + side, i * STEP : i * STEP + side]
        lightness = np.clip(photo[window] + rng.normal(0, noise, (side, side)), 0, 1)
        yield lightness[..., None], truth[window] + rng.normal(0, 0.05, 2) + rng.normal(0, 0.02, (side, side, 2))


def flicker(colours):
    """Mean change of the colour of what stays in view, from one frame to the next."""
    return np.mean([np.abs(b[:-STEP, :-STEP] - a[STEP:, STEP:]).mean() for a, b in zip(colours[2:], colours[3:])])


def test_colours_flicker_less_along_the_motion_and_stay_where_they_were():
    frames, steadier = list(pan()), Steadier()
    alone = [ab for _, ab in frames]
    steadied = [steadier(lightness, ab) for lightness, ab in frames]
    assert flicker(steadied) < 0.4 * flicker(alone)
    assert (steadied[0] == alone[0].astype(np.float32)).all(), "nothing came before the first frame"
    # They are the colours of this place, not smeared: nearer to the truth than each frame alone.
    photo = data.astronaut()[100:, :].mean(-1) / 255
    last = 11 * STEP
    truth = np.stack([photo - 0.5, 0.3 - photo], -1)[last : last + 96, last : last + 96] * 0.4
    assert np.abs(steadied[-1] - truth).mean() < 0.7 * np.abs(alone[-1] - truth).mean()
    still = Steadier(strength=0)
    assert all((still(lightness, ab) == ab.astype(np.float32)).all() for lightness, ab in frames)


def test_a_cut_takes_the_new_colours():
    steadier = Steadier()
    for lightness, ab in pan():
        steadier(lightness, ab)
    rocket = data.rocket()[:96, 200:296].mean(-1)[..., None] / 255
    ab = np.full((96, 96, 2), 0.3, np.float32)
    assert np.abs(steadier(rocket, ab) - ab).mean() < 0.05, "colours of the scene before shine through"
    other = steadier(np.zeros((40, 60, 1)), np.ones((40, 60, 2)))
    assert (other == 1).all(), "a frame of another size begins anew"
    tiny = Steadier()
    assert all((tiny(np.zeros((8, 8, 1)), np.full((8, 8, 2), value)) == value).all() for value in (0.1, 0.2))


def test_the_command_steadies_videos_and_can_be_told_not_to(tmp_path, capsys):
    av = pytest.importorskip("av")
    run = saved(Colorizer(), tmp_path / "run", np.zeros((1, 64, 64, 1), np.float32))
    with av.open(str(tmp_path / "gray.mkv"), "w") as out:
        stream = out.add_stream("ffv1", rate=12)
        stream.width = stream.height = 96
        stream.pix_fmt = "gray"
        for lightness, _ in pan(noise=0.06):
            frame = av.VideoFrame.from_ndarray((lightness[..., 0] * 255).astype(np.uint8), "gray")
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    found = {}
    for name, more in (("steady", []), ("alone", ["--no-steady"])):
        words = ["colorize", str(run), str(tmp_path / "gray.mkv"), "--out", str(tmp_path / f"{name}.mkv"), *more]
        assert cli.main(words) == 0, capsys.readouterr().err
        with av.open(str(tmp_path / f"{name}.mkv")) as file:
            rgb = [frame.to_ndarray(format="rgb24", src_colorspace="ITU709") / 255 for frame in file.decode(video=0)]
        found[name] = flicker([image - image.mean(-1, keepdims=True) for image in rgb])
    assert found["steady"] < 0.8 * found["alone"], found

"""Images with alpha: arithmetic, reading, augmentation."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from pggan_tf.data import augment, decode, pixels, sprites, transparency
from pggan_tf.training import coaching
from tests.conftest import pggan

COLOUR, ALPHA = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))


# Arithmetic


def test_colours_are_multiplied_with_the_nearest_rounding():
    every = np.stack([COLOUR, ALPHA], -1)
    exact = COLOUR.astype(float) * ALPHA / 255
    np.testing.assert_array_equal(transparency.premultiply(every)[..., 0], np.rint(exact))
    # Pillow, which reads photos, rounds in the same way.
    np.testing.assert_array_equal(np.asarray(Image.fromarray(every).convert("La")), transparency.premultiply(every))


def test_division_is_undone_to_the_bit():
    premultiplied = np.stack([np.minimum(COLOUR, ALPHA), ALPHA], -1)
    straight = transparency.unpremultiply(premultiplied)
    np.testing.assert_array_equal(transparency.premultiply(straight), premultiplied)
    assert straight[100, 50].tolist() == [128, 100] and straight[0].max() == 0
    assert transparency.unpremultiply(np.array([[200, 100]], np.uint8)).tolist() == [[255, 100]], "above alpha"


def test_images_without_alpha_stay_the_same():
    for channels in (1, 3, 6):
        images = np.arange(2 * 4 * 4 * channels, dtype=np.uint8).reshape(2, 4, 4, channels)
        for change in (transparency.premultiply, transparency.unpremultiply, transparency.flatten,
                       transparency.draw_on_checkerboard, transparency.clear_hidden):  # fmt: skip
            assert change(images) is images
    assert not any(transparency.has_alpha(n) for n in (1, 3, 5, 6)) and transparency.count_colours(4) == 3


def test_white_is_behind_flat_images():
    straight = np.array([[[255, 0, 0, 255], [255, 0, 0, 51], [9, 9, 9, 0]]], np.uint8)
    assert transparency.flatten(straight).tolist() == [[[255, 0, 0], [255, 204, 204], [255, 255, 255]]]
    same = transparency.flatten(transparency.premultiply(straight), premultiplied=True)
    np.testing.assert_array_equal(same, transparency.flatten(straight))


def test_a_checkerboard_is_seen_through_transparent_parts():
    shown = transparency.draw_on_checkerboard(np.zeros((1, 16, 24, 4), np.uint8))[0, ..., 0]
    assert (shown[0, 0], shown[0, 8], shown[8, 0], shown[8, 8]) == (255, 204, 204, 255)


def test_outputs_of_a_network_are_divided_by_alpha_in_every_form():
    straight = sprites.draw(1, 32)
    x = pixels.to_float(transparency.premultiply(straight))
    made = transparency.to_pixels(x)
    np.testing.assert_array_equal(transparency.premultiply(made), transparency.premultiply(straight))
    assert not made[made[..., 3] == 0].any()
    in_graph = pixels.to_uint8(transparency.to_straight(x).numpy())
    assert np.abs(transparency.premultiply(in_graph).astype(int) - transparency.premultiply(made)).max() <= 1
    # Colours above alpha and values beyond -1..1 are clipped.
    wild = np.array([[[3.0, 0.5, -2.0, 0.0], [1.0, 1.0, 1.0, -1.5]]], np.float32)
    assert transparency.to_pixels(wild).tolist() == [[[255, 255, 0, 128], [0, 0, 0, 0]]]


def test_negatives_keep_alpha():
    assert transparency.invert(np.array([[10, 20, 30, 40]], np.uint8)).tolist() == [[245, 235, 225, 40]]


# Reading


def encode(image, format="PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def half_transparent(size=32) -> Image.Image:
    """Red on the left; on the right green that nobody sees."""
    planes = np.zeros((size, size, 4), np.uint8)
    planes[:, : size // 2] = (200, 0, 0, 255)
    planes[:, size // 2 :] = (0, 255, 0, 0)
    return Image.fromarray(planes)


@pytest.mark.parametrize("filter", ["lanczos", "box", "bicubic"])
def test_invisible_colours_leave_no_seam(filter):
    image = decode.decode_photo(encode(half_transparent()), 4)
    small = decode.cut_square(image, 7, filter)
    assert image.mode == "RGBa" and small.shape == (7, 7, 4)
    assert not small[..., 1].any(), "no green"
    assert (small[..., :3] <= small[..., 3:]).all() and 0 < small[3, 3, 3] < 255
    straight = transparency.unpremultiply(small)
    assert np.abs(straight[straight[..., 3] > 60][:, 0].astype(int) - 200).max() <= 3


def palette_png() -> bytes:
    image = Image.new("P", (16, 16), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (8, 0, 16, 16))
    return encode(image, transparency=bytes([255, 128]))


@pytest.mark.parametrize(
    "data, right",
    [
        (palette_png(), (0, 0, 128, 128)),
        (encode(half_transparent(16), "WEBP", lossless=True), (0, 0, 0, 0)),
        (encode(half_transparent(16), "GIF"), (0, 0, 0, 0)),
        (encode(half_transparent(16), "TIFF"), (0, 0, 0, 0)),
        (encode(half_transparent(16).convert("RGB")), (0, 255, 0, 255)),
        (np.asarray(half_transparent(16)), (0, 0, 0, 0)),
    ],
)
def test_alpha_is_read_from_every_format(data, right):
    first = decode.decode_first(data, 4)
    assert np.asarray(first.image)[8, 12].tolist() == list(right) and np.asarray(first.image)[8, 3, 3] == 255
    assert first.clear == (right[3] < 255)
    assert decode.decode_first(data, 3).clear == first.clear


def test_sixteen_bits_with_alpha_become_eight():
    import cv2

    planes = np.full((8, 8, 4), 0x8080, np.uint16)
    planes[..., 2] = 0xFFFF  # red, in the order of OpenCV
    image = decode.decode_photo(cv2.imencode(".png", planes)[1].tobytes(), 4)
    assert np.asarray(image)[4, 4].tolist() == [128, 64, 64, 128]


def test_gray_with_alpha():
    image = decode.decode_photo(encode(Image.fromarray(np.full((8, 8, 2), 100, np.uint8))), 2)
    assert image.mode == "La" and np.asarray(image)[0, 0].tolist() == [39, 100]
    assert np.asarray(decode.decode_photo(encode(half_transparent()), 2))[0, [0, 31]].tolist() == [[60, 255], [0, 0]]


def test_borders_of_transparent_pictures_are_transparent():
    wide = half_transparent().crop((0, 8, 32, 24))
    image = decode.decode_photo(encode(wide), 4)
    padded, mirrored = (decode.cut(image, (16, 16), "box", crop) for crop in ("pad", "fit"))
    assert padded[0, 0].tolist() == [100, 0, 0, 128], "the mean of the edge, half of which is transparent"
    assert mirrored[0, 0].tolist() == [200, 0, 0, 255] and not mirrored[0, -1].any()
    (tile, *_) = decode.cut_tiles(image, 16)
    assert tile.shape == (16, 16, 4) and tile[0, 0].tolist() == [200, 0, 0, 255]


def test_duplicates_differ_in_more_than_their_alpha(tmp_path):
    for i in range(4):
        planes = np.zeros((64, 64, 4), np.uint8)  # black shapes
        planes[8 * i : 8 * i + 24, 10 : 20 + 10 * i, 3] = 255
        Image.fromarray(planes).save(tmp_path / f"{i}.png")
    code, out, err = pggan("prepare", tmp_path, f"{tmp_path}-out", "--size", 16, "--alpha", "--dedupe")
    assert code == 0 and "4 kept" in out + err


@pytest.mark.parametrize(
    "options, message",
    [
        (["--pairs", "--alpha"], "--pairs and --alpha: networks for pairs take no transparency"),
        (["--channels", 4, "--recipe", "recolor"], "Photos keep their transparency without it"),
        (["--channels", 5], "--channels 5"),
    ],
)
def test_what_is_refused(options, message, tmp_path):
    verb = ("train", "--dry-run") if "--channels" in options else ("prepare", "sprites", tmp_path, "--size", 8)
    code, _, err = pggan(*verb, *options)
    assert code == 2 and message in err


# Augmentation


@pytest.fixture
def reals():
    images = np.stack([sprites.draw(i, 16) for i in range(6)])
    return pixels.to_float(transparency.premultiply(images))


def opaque(x):
    """The same colours with alpha 1 everywhere."""
    return np.concatenate([x[..., :3], np.ones_like(x[..., 3:])], -1)


SEED = np.array([3, 4], np.int64)


@pytest.mark.parametrize("number", range(3))
def test_colours_of_opaque_images_change_as_without_alpha(number, reals):
    changed = augment.ALPHA_STEPS[number](opaque(reals), SEED).numpy()
    plain = augment.STEPS[number](reals[..., :3], SEED).numpy()
    np.testing.assert_allclose(changed[..., :3], plain, atol=1e-5)


@pytest.mark.parametrize("number", range(3))
def test_colour_steps_leave_alpha_and_what_is_transparent(number, reals):
    changed = augment.ALPHA_STEPS[number](reals, SEED).numpy()
    np.testing.assert_allclose(changed[..., 3], reals[..., 3], atol=1e-6)
    clear = reals[..., 3] == -1
    np.testing.assert_allclose(changed[clear], -1, atol=1e-6)
    assert np.abs(changed - reals).max() > 0.05


def test_contrast_turns_around_the_visible_mean():
    x = np.full((1, 4, 4, 4), -1, np.float32)
    x[0, 0, :2, 3], x[0, 0, 0, :3], x[0, 0, 1, :3] = 1, -0.5, 0.5  # two opaque pixels of 0.25 and 0.75
    changed = augment.change_contrast_under_alpha(x, SEED).numpy()
    assert abs(changed[0, 0, :2, :3].mean()) < 1e-6 and abs(changed[0, 0, 0, 0]) != 0.5
    assert np.isfinite(augment.change_contrast_under_alpha(np.full((1, 4, 4, 4), -1.1, np.float32), SEED)).all()


@pytest.mark.parametrize("step", [augment.translate_transparent, augment.cut_out_transparent])
def test_places_move_all_channels_and_leave_nothing_behind(step, reals):
    changed = step(np.ones_like(reals), SEED).numpy()
    gone = changed[..., 3] == -1
    assert gone.any() and (changed[gone] == -1).all() and (changed[~gone] == 1).all()


def test_the_coach_judges_images_as_they_are_trained_on():
    coach, judged = coaching.Coach.__new__(coaching.Coach), []
    photos = transparency.premultiply(np.stack([sprites.draw(i, 16) for i in range(8)]))
    coach._read_photos = lambda run: (photos, photos[:0])
    coach._judge = lambda run, images: judged.append(images) or np.zeros(len(images))
    run = SimpleNamespace(plan=SimpleNamespace(loss=SimpleNamespace(decision_threshold=None)))
    check = coach._check(run, transparency.unpremultiply(photos))
    assert check["variety"] == 1 and all((images == photos).all() for images in judged) and len(judged) == 2

import keras
import numpy as np
import pytest
import tensorflow as tf

from pggan_tf import synthesis
from pggan_tf.layers import block_mean, pixel_norm, repeat_pixels
from pggan_tf.networks import base
from pggan_tf.networks.base import count_maps
from pggan_tf.networks.progressive import Discriminator, Generator

RESOLUTIONS = (4, 8, 16, 48)
SMALL = {"channels": 3, "fmap_base": 64, "fmap_max": 12}


def networks(**kwargs):
    keras.utils.set_random_seed(1)
    g, d = Generator(RESOLUTIONS, latent_size=8, **SMALL, **kwargs), Discriminator(RESOLUTIONS, **SMALL, **kwargs)
    g.build(), d.build()
    return g, d


def latents(n=4):
    return tf.random.stateless_normal((n, 8), seed=(1, 2))


def test_the_paper_s_widths_and_parameter_count():
    assert [count_maps(r, 8192, 512) for r in (4, 8, 16, 32, 64, 128, 256, 512, 1024)] == [
        512,
        512,
        512,
        512,
        256,
        128,
        64,
        32,
        16,
    ]
    full = tuple(2**k for k in range(2, 11))
    g, d = Generator(full), Discriminator(full)
    g.build(), d.build()
    # Karras et al. 2018, table 2: 23.1 M each at 1024 x 1024, counting the input or output of the last stage only.
    for network in (g, d):
        count = sum(int(np.prod(v.shape)) for v in network.variables_at(1024, fade=False))
        assert round(count / 1e6, 1) == 23.1


def test_the_fade_begins_with_the_stage_before_and_ends_with_the_new_one():
    g, d = networks()
    z = latents()
    for low, high in ((4, 8), (8, 16), (16, 48)):
        f = high // low
        np.testing.assert_allclose(g(z, resolution=high, alpha=0.0), repeat_pixels(g(z, resolution=low), f), atol=1e-6)
        np.testing.assert_allclose(g(z, resolution=high, alpha=1.0), g(z, resolution=high), atol=1e-6)
        x = tf.random.stateless_uniform((4, high, high, 3), seed=(3, 4))
        np.testing.assert_allclose(d(x, resolution=high, alpha=0.0), d(block_mean(x, f), resolution=low), atol=1e-5)
        np.testing.assert_allclose(d(x, resolution=high, alpha=1.0), d(x, resolution=high), atol=1e-5)
        middle = 0.5 * (g(z, resolution=high, alpha=0.0) + g(z, resolution=high, alpha=1.0))
        np.testing.assert_allclose(g(z, resolution=high, alpha=0.5), middle, atol=1e-6)


def test_interpolated_maps_keep_the_paper_s_widths_and_fades():
    g, _ = networks()
    smooth = Generator.from_config(g.get_config() | {"upsampling": "bilinear"})
    smooth.build()
    smooth.set_weights(g.get_weights())
    z = latents()
    np.testing.assert_array_equal(smooth(z, resolution=4), g(z, resolution=4))
    for low, high in ((4, 8), (8, 16), (16, 48)):
        assert np.abs(smooth(z, resolution=high) - g(z, resolution=high)).max() > 0.05
        expected = repeat_pixels(smooth(z, resolution=low), high // low)
        np.testing.assert_allclose(smooth(z, resolution=high, alpha=0.0), expected, atol=1e-6)
    assert smooth.get_config()["upsampling"] == "bilinear"
    assert "upsampling" not in g.get_config(), "earlier versions read the files of what they know"


def test_latents_scale_and_shift_the_maps_of_every_convolution():
    g, _ = networks()
    modulated = Generator.from_config(g.get_config() | {"modulation": "latents"})
    modulated.build()
    layers = [layer for layer in modulated.layers_at(48, fade=False) if layer.name.startswith("modulate")]
    assert [layer.name for layer in layers] == [
        f"modulate_{name}" for name in ("conv_4", "up_8", "conv_8", "up_16", "conv_16", "up_48", "conv_48")
    ]
    assert [layer.name for layer in modulated.layers_at(4, fade=False) if layer in layers] == ["modulate_conv_4"]
    shared = {v.path.partition("/")[2]: v for v in g.variables}
    for v in modulated.variables:
        if "modulate" not in v.path:
            v.assign(shared.pop(v.path.partition("/")[2]))
    assert not shared
    z = latents()
    assert np.abs(modulated(z) - g(z)).max() > 0.05
    for layer in layers:
        layer.set_kernel(0 * layer.compute_kernel(), layer.bias)
    np.testing.assert_array_equal(modulated(z), g(z))  # scales of 1 and shifts of 0
    # Of the last layer: maps times 1 + s and plus b, for s = 3 z0 and b = -z1 of the normalised latents.
    units = layers[-1].units // 2
    kernel = np.zeros((g.latent_size, 2 * units), np.float32)
    kernel[0, :units], kernel[1, units:] = 3, -1
    layers[-1].set_kernel(kernel, layers[-1].bias)
    unit = (z / np.sqrt(np.mean(np.square(z), axis=1, keepdims=True) + 1e-8))[:, None, None]
    for psi, scaled in ((None, unit), (0.5, 0.5 * unit)):
        maps = g.compute_features(z, 48, psi)[-1] * (1 + 3 * scaled[..., :1]) - scaled[..., 1:2]
        np.testing.assert_allclose(modulated.compute_features(z, 48, psi)[-1], maps, rtol=1e-4, atol=1e-4)
    assert modulated.get_config()["modulation"] == "latents"
    assert "modulation" not in g.get_config(), "earlier versions read the files of what they know"


def test_truncation_leads_towards_the_mean_image():
    g, _ = networks()
    g = synthesis.finish(g, synthesis.calibration_latents(g.latent_size, 32))
    spread = [float(np.std(g(latents(64), resolution=16, truncation=t), axis=0).mean()) for t in (0.0, 0.5, 1.0)]
    assert spread[0] == pytest.approx(0, abs=1e-6) and 0.05 * spread[2] < spread[1] < 0.8 * spread[2]
    np.testing.assert_array_equal(g(latents(), truncation=1.0), g(latents()))


@pytest.mark.parametrize("norm", ["pixel", "batch"])
@pytest.mark.parametrize("classes", [(), ("a", "b", "c")])
def test_what_finalizing_computes_does_not_depend_on_how_inputs_are_divided(norm, classes, monkeypatch):
    def finalized():
        keras.utils.set_random_seed(1)
        g = Generator((8, 16), latent_size=8, generator_norm=norm, classes=classes, **SMALL)
        g.build()
        return synthesis.finish(g, synthesis.calibration_latents(8, 70))

    whole = finalized()
    maps = whole.compute_first_features(synthesis.calibration_latents(8, 70), whole.cycle_labels(70)).numpy()
    mean = np.stack([maps[c :: max(1, len(classes))].mean(0) for c in range(max(1, len(classes)))])
    mean = pixel_norm(mean) if norm == "pixel" else mean
    np.testing.assert_allclose(whole.mean_features, mean, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(base, "_PASS_PIXELS", 10 * 256)  # 10 images of 16 px, 40 of 8: no multiples of the classes
    divided = finalized()
    np.testing.assert_allclose(divided.mean_features, whole.mean_features, rtol=1e-4, atol=1e-5)
    if norm == "batch":  # of the first layer: those above see inputs normalised by fewer
        np.testing.assert_allclose(divided.norm_dense.mean, whole.norm_dense.mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(divided.norm_dense.variance, whole.norm_dense.variance, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("count", "left_out"), [(1, 0), (3, 0), (33, 0), (65, 1), (127, 1)])
def test_nearly_all_inputs_calibrate(count, left_out, monkeypatch):
    g = Generator((32,), latent_size=8, generator_norm="batch", **SMALL)
    g.build()
    seen = []
    monkeypatch.setattr(g, "_run_for_calibration", lambda some, resolution, first: seen.append((first, len(some))))
    g.calibrate_batch_norm(synthesis.calibration_latents(8, count))
    sizes = [n for _, n in seen]
    assert sum(sizes) == count - left_out and len(set(sizes)) == 1 and max(sizes) <= 64
    assert [first for first, _ in seen] == list(range(0, count - left_out, sizes[0]))


def test_a_finished_generator_shows_the_same_image_at_every_stage():
    """The lower stages' outputs, refitted, come as close to the last stage's image as a linear map of their features can."""
    g, _ = networks()
    done = synthesis.finish(g, synthesis.calibration_latents(g.latent_size))
    z = latents(64)
    last = g(z, resolution=48)
    np.testing.assert_array_equal(done(z, resolution=48), last)
    for r in (4, 8, 16):
        target = block_mean(last, 48 // r).numpy()
        before, after = (np.mean((n(z, resolution=r).numpy() - target) ** 2) for n in (g, done))
        assert after < 0.5 * before and after < np.var(target)


def test_an_unknown_resolution_is_named():
    g, _ = networks()
    with pytest.raises(ValueError, match="resolution 32.*4, 8, 16, 48"):
        g(latents(), resolution=32)

"""Exports of a generator with alpha give the images of Python: signatures, files, the server, the page."""

import io

import keras
import numpy as np
import pytest
from PIL import Image

from export import api, gpu, litert, parity, signatures, source
from pggan_tf import synthesis
from pggan_tf.data import marks, transparency
from pggan_tf.networks import progressive
from tests.test_web import built, face, opened, serving


def make_generator(channels=4, resolutions=(4, 8, 16)):
    """Not trained, but of much contrast in colour and alpha."""
    keras.utils.set_random_seed(1)
    network = progressive.Generator(resolutions, channels=channels, fmap_base=256, fmap_max=32, latent_size=8)
    network.build()
    return synthesis.finish(network, synthesis.calibration_latents(network.latent_size, 64))


@pytest.fixture(scope="module")
def network():
    return make_generator()


def near(a, b, most=2):
    """Compare what is seen of two straight images."""
    a, b = (transparency.premultiply(np.asarray(x)).astype(int) for x in (a, b))
    assert a.shape == b.shape and np.abs(a - b).max() <= most, np.abs(a - b).max()


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_signatures_give_straight_alpha(network, kind):
    offered = signatures.network_signatures(network)
    image = signatures.convert_output(
        offered[0].function(latents=synthesis.latents([5], 8), truncation=np.ones(1, np.float32)), kind
    ).numpy()[0]
    image = image if kind == "uint8" else np.rint(image * 127.5 + 127.5).astype(np.uint8)
    truth = face(network, 5, 16)
    assert image.shape == (16, 16, 4) and truth[..., 3].min() < 64 and truth[..., 3].max() > 192
    near(image, truth, 1)
    assert signatures.describe(offered, kind)["gen_16"]["image"].startswith(
        "16x16 image with straight alpha in its last"
    )


def test_the_server_gives_pictures_with_alpha(network):
    from fastapi.testclient import TestClient

    asked = TestClient(api.make_application(source.Source("a-run", network, None, "0"), api.Limits()))
    with Image.open(io.BytesIO(asked.get("/generate?seed=5&stage=16").content)) as picture:
        assert picture.mode == "RGBA"
        image = np.asarray(picture)
    near(image, face(network, 5, 16), 1)
    assert not image[image[..., 3] == 0].any()
    gray = make_generator(2, (4,))
    asked = TestClient(api.make_application(source.Source("a-run", gray, None, "0"), api.Limits()))
    with Image.open(io.BytesIO(asked.get("/generate?seed=5").content)) as picture:
        near(np.asarray(picture.convert("LA")), face(gray, 5, 4), 1)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["none", "float16"])
def test_a_tflite_file_makes_the_images_of_python(network, how):
    offered = signatures.network_signatures(network)
    model = litert.quantize(litert.convert(network, offered), offered, how)
    run = litert.Runner(model)
    parity.require(parity.compare(offered, run, timed=False), litert.QUANTIZATIONS[how], how)
    image = run("gen_16", {"latents": synthesis.latents([5], 8), "truncation": np.ones(1, np.float32)})[0]
    near(image, face(network, 5, 16))


@pytest.mark.slow
def test_a_phone_s_gpu_takes_all_of_it(network):
    model = litert.convert(network, signatures.network_signatures(network), "float32")
    assert not any(gpu.find_fallbacks(model).values())


@pytest.mark.slow
@pytest.mark.parametrize("package", ["onnx", "coremltools"])
def test_onnx_and_core_ml_make_the_images_of_python(network, package, tmp_path):
    pytest.importorskip(package)
    latents = {"latents": synthesis.latents([5], 8), "truncation": np.ones(1, np.float32)}
    if package == "onnx":
        from export import onnx

        run = onnx.Runner(onnx.convert(signatures.network_signatures(network), "uint8"))
    else:
        from export import coreml

        offered = signatures.network_signatures(network, dynamic=False, pixels="float32")
        coreml.convert(offered, "uint8", tmp_path / coreml.NAME, {})
        run = coreml.Runner(tmp_path / coreml.NAME, "uint8")
    near(run("gen_16", latents)[0], face(network, 5, 16), 3)


@pytest.fixture(scope="module")
def site(network, tmp_path_factory):
    from export import web
    from pggan_tf.errors import UserError

    try:
        web.fetch_runtime()
    except UserError as reason:
        pytest.skip(str(reason))
    return built({"generate": network}, tmp_path_factory.mktemp("site"))


@pytest.mark.slow
def test_the_page_shows_and_saves_alpha(site, network, page, tmp_path):
    with serving(site) as address:
        opened(page, address, seed=5, count=1, stage=16)
        canvas = page.locator(".faces canvas")
        style = canvas.evaluate("e => [e.className, getComputedStyle(e).backgroundImage]")
        assert "transparent" in style[0] and "conic-gradient" in style[1]
        small = page.locator(".growth canvas").first.evaluate("e => getComputedStyle(e).backgroundImage")
        assert "conic-gradient" in small
        page.click(".hearts button")
        with page.expect_download() as download:
            page.click("[name=save]")
        download.value.save_as(tmp_path / "sprite.png")
        page.click("[name=album]")
        page.wait_for_selector(".kept[data-drawn='1']")
        with page.expect_download() as sheet:
            page.click("[name=sheet]")
        sheet.value.save_as(tmp_path / "sheet.png")
    for name in ("sprite.png", "sheet.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.mode == "RGBA"
            near(np.asarray(picture), face(network, 5, 16), 4)
            assert marks.read(picture.info["XML:com.adobe.xmp"].encode()) is not None
    # The icon has no transparent part, which phones would show black.
    with Image.open(site / "icon-192.png") as icon:
        assert icon.mode == "RGB"

"""A task that nothing of the project knows: it is trained, converts photos, is exported and served, and has its tab."""

import dataclasses
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

import pggan_tf as pg
from export import web
from pggan_tf import config as configs
from pggan_tf import networks, tasks
from pggan_tf.data import pixels, portraits, shards
from pggan_tf.errors import UserError
from pggan_tf.runs import generators
from tests import image_networks
from tests.conftest import ROOT, pggan, run_folder, train
from tests.test_web import serving

# The verbs, the default of --task, recipes of the studio's cards and a way of preparing photos that have the name of a task.
MOST_LINES = 14
PHOTO = portraits.draw(3, 48)[:40]


class Invert(tasks.Task):
    """Images to their negatives, both in 0..1."""

    name = verb = "invert"
    input_channels = 3
    card = tasks.Card("image-to-image", "makes negatives", "Tests of the darkroom.")
    page = tasks.Page("Negatives", "Negative", "Invert", instruction="Open a photo: the network inverts its middle.")

    def condition(self, images, seed):
        return images * 0.5 + 0.5

    def target(self, images):
        return 0.5 - images * 0.5

    def to_image(self, condition, output):
        return 2 * output - 1

    def preview(self, condition, shape):
        return 2 * condition - 1


def test_few_lines_name_a_task():
    """What differs between tasks is asked of their classes. Architectures say in their rows what they are for."""
    name = re.compile(r"""(['"])(generate|colorize|recolor|upscale|translate)\1""")
    apart = ("pggan_tf/tasks", "pggan_tf/networks", "pggan_tf/keras_classes", "pggan_tf/config/recipes")
    found = []
    for room in ("pggan_tf", "preprocessing", "export", "cloud"):
        for path in (p for p in (ROOT / room).rglob("*") if p.suffix in (".py", ".js", ".html")):
            where = path.relative_to(ROOT).as_posix()
            built = path.name == "studio.js" or "node_modules" in path.parts
            if not where.startswith(apart) and not built:
                lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
                found += [f"{where}:{number}: {line.strip()}" for number, line in lines if name.search(line)]
    assert len(found) <= MOST_LINES, "\n".join(found)


@pytest.fixture(scope="module", autouse=True)
def known():
    """The task in its table, and an architecture that is made for it."""
    with pytest.MonkeyPatch.context() as patch:
        row = networks.NETWORKS["recolor"]
        patch.setitem(tasks.TASKS, Invert.name, Invert)
        patch.setitem(networks.NETWORKS, "recolor", dataclasses.replace(row, tasks=(*row.tasks, Invert.name)))
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of it, trained through the front door."""
    code, out, err = train(
        *("--task", "invert", "--network", "recolor", "--loss", "none", "--pixel", "l1", "--target-res", "16"),
        *("--width", "4", "--batch", "8", "--portraits", "24", "--total-images", "80", "--grid", "6"),
        *("--metrics", "psnr", "--runs", tmp_path_factory.mktemp("runs")),
    )
    assert code == 0, err
    return run_folder(out)


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    code, _, err = pggan("export", run, "--out", out := tmp_path_factory.mktemp("exported") / "invert")
    assert code == 0, err
    return out


def expected(run) -> np.ndarray:
    """What its network makes of the photo, uint8 [40, 48, 3]."""
    network = generators.load(run)
    return pixels.from_unit(network(pixels.to_unit(PHOTO)[None]).numpy()[0], np.uint8)


def test_it_is_trained_and_reported(run):
    assert (run / "generator.keras").is_file() and len(sorted(run.glob("fakes-*.png"))) > 1
    assert "Input, output and truth" in (run / "report.html").read_text(encoding="utf-8")
    data = shards.Shards(json.loads((run / "environment.json").read_text())["dataset"]["folder"])
    triples = generators.make_samples(configs.load(run / "config.json"), generators.load(run), data).triples(0, 2)
    condition, _, original = (images.astype(int) for images in triples)
    np.testing.assert_allclose(255 - condition, original, atol=1)
    code, _, err = pggan("generate", run, "--grid", run / "x.png")
    assert code == 2 and "was trained to invert, not to generate from latents. Give it photos: pggan invert." in err


def test_it_converts_photos(run, tmp_path):
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    pg.convert(run, tmp_path / "photo.png", tmp_path / "out.png")
    np.testing.assert_allclose(np.asarray(Image.open(tmp_path / "out.png")).astype(int), expected(run), atol=1)
    code, _, err = pggan("colorize", run, tmp_path / "photo.png", "--out", tmp_path / "x.png")
    assert code == 2 and "was trained to invert, not to colorize" in err


def test_it_is_exported_with_its_signatures_and_its_card(run, exported):
    from export import litert

    report = json.loads((exported / "report.json").read_text())
    assert report["task"] == "invert" and [*report["files"][0]["interface"]] == ["invert_16", "invert"]
    runner = litert.Runner((exported / "generator.tflite").read_bytes())
    np.testing.assert_allclose(runner("invert", {"photo": PHOTO[None]})[0].astype(int), expected(run), atol=1)
    card = (exported / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "A network that makes negatives, at 16 pixels." in card and "Tests of the darkroom." in card


def test_it_is_served(run):
    pytest.importorskip("fastapi", reason="fastapi is not installed (extra serve)")
    pytest.importorskip("httpx2", reason="httpx2 is not installed")
    from starlette.testclient import TestClient

    from export import api, source

    asked = TestClient(api.make_application(source.open_source(run), api.Limits()))
    assert asked.get("/health").json() == {"status": "ok", "task": "invert", "stages": []}
    body = io.BytesIO()
    Image.fromarray(PHOTO).save(body, "PNG")
    answer = asked.post("/invert", content=body.getvalue())
    assert answer.status_code == 200
    made = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))
    np.testing.assert_allclose(made.astype(int), expected(run), atol=1)


def test_it_has_its_tab(run, page, tmp_path):
    try:
        web.fetch_runtime()
    except UserError as reason:
        pytest.skip(str(reason))
    image_networks.built("colorize").save(tmp_path / "colorize.keras")
    code, _, err = pggan("export", run, tmp_path / "colorize.keras", "--to", "web", "--out", tmp_path / "site")
    assert code == 0, err
    entry = json.loads((tmp_path / "site" / "site.json").read_text())["models"][0]
    assert (entry["task"], entry["title"], entry["tab"], entry["panel"]) == ("invert", "Negatives", "Negative", "photo")
    with serving(tmp_path / "site") as address:
        page.goto(address)
        page.get_by_role("tab", name="Colorize").wait_for()
        panel = page.get_by_role("tabpanel", name="Negative")
        panel.get_by_text("Open a photo: the network inverts its middle.").wait_for()
        assert page.inner_text("#title") == "Negatives"
        body = io.BytesIO()
        Image.fromarray(PHOTO).save(body, "PNG")
        panel.locator("[name=file]").set_input_files(
            {"name": "photo.png", "mimeType": "image/png", "buffer": body.getvalue()}
        )
        panel.locator(".compare").wait_for()

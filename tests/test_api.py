"""The Python interface: what `import pggan_tf as pg` offers, as a notebook or a script uses it."""

import copy
import json
import os
import pickle
import subprocess
import sys

import keras
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

import pggan_tf as pg
from pggan_tf import api
from tests.conftest import ROOT, pggan

TINY = {
    "fmap_base": 64,
    "fmap_max": 16,
    "latent_size": 8,
    "portraits": 120,
    "grid": 4,
    "report": False,
    "target_res": 8,
    "fade_images": 0,
    "stable_images": 160,
    "batch": 8,
    "snapshot_images": 160,
}
IMAGES = 320  # of the whole plan
ONE_STAGE = {**TINY, "target_res": 4}  # 160 images in one phase


@pytest.fixture(scope="module")
def ticks():
    return []


@pytest.fixture(scope="module")
def run(tmp_path_factory, ticks):
    return pg.train(runs=tmp_path_factory.mktemp("runs"), callbacks=[ticks.append], progress=False, **TINY)


def in_a_new_process(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_name_is_offered():
    assert pg.__all__ == api.__all__ and set(pg.__all__) <= set(dir(pg))
    assert all(getattr(pg, name) is getattr(api, name) for name in pg.__all__)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        pg.trian  # noqa: B018


def test_no_module_takes_the_place_of_a_name():
    modules = {path.stem for path in (ROOT / "pggan_tf").iterdir()}
    assert not modules & {*pg.__all__}


def test_the_import_waits_for_nothing():
    code = "import sys, pggan_tf; print([m for m in ('tensorflow', 'keras', 'numpy', 'click') if m in sys.modules])"
    assert in_a_new_process(code) == "[]\n"


@pytest.mark.slow
@pytest.mark.parametrize("first", ["pggan_tf", "keras"])
def test_keras_finds_every_network(first):
    code = f"""
import {first}, importlib.util
importlib.util.find_spec("keras")
import pggan_tf, keras, glob
for file in sorted(glob.glob("tests/golden/networks/*.keras")):
    model = keras.saving.load_model(file)
    print(file.split("/")[-1], model.count_params() > 0, isinstance(model, keras.Model), type(model).__module__)
print(keras.__spec__.loader.__class__.__name__)
"""
    *lines, loader = in_a_new_process(code).splitlines()
    assert len(lines) == len(list((ROOT / "tests/golden/networks").glob("*.keras"))) > 8
    assert all(" True True pggan_tf.networks." in line for line in lines) and loader == "SourceFileLoader"


def test_another_backend_of_keras_is_refused(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(pg.UserError, match="imported with the backend jax; pggan-tf needs tensorflow"):
        pg.load(ROOT / "tests/golden/networks/pggan-generator.keras")


def test_a_run_has_columns(run, ticks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    history = run.history
    assert history["images"][-1] == IMAGES == run.images_seen and run.ended
    assert len({len(column) for column in history.values()}) == 1
    assert {"images", "seconds", "resolution", "alpha", "learning_rate", "loss_d", "loss_g"} <= history.keys()
    assert [tick["images"] for tick in ticks] == history["images"]
    assert [tick["loss_d"] for tick in ticks] == history["loss_d"]
    assert run.metrics == {} and run.config.networks.target_res == 8 and len(run.plan.phases) == 2
    assert run.grid().size == (129, 129) and run._repr_png_() == run.grids[-1].read_bytes()
    assert repr(run) == f"Run('{run.folder}', 320 images seen)" and run.folder.is_absolute()


def test_a_generator_makes_images(run, tmp_path):
    generator = run.generator
    assert generator is run.generator and generator.stages == (4, 8) and generator.task == "generate"
    images = generator.sample(range(5), stage=4)
    assert images.shape == (5, 4, 4, 3) and images.dtype == np.uint8
    assert (generator.sample([4, 2]) == generator.sample()[[4, 2]]).all() and generator.sample([3]).shape == (
        1,
        8,
        8,
        3,
    )
    assert (generator.sample("1-3") == generator.sample(range(1, 4))).all()
    assert (generator.sample(iter([1, 2, 3])) == generator.sample("1-3")).all(), "what can be read once is enough"
    assert (np.concatenate(list(generator.batches(range(40)))) == generator.sample(range(40))).all()
    again = pg.load(run.folder / "generator.keras")
    assert (again.sample(truncation=0.5) == generator.sample(truncation=0.5)).all()
    code, out, err = pggan("generate", run.folder, "--count", "5", "--npz", tmp_path / "a.npz", "--stage", "4")
    assert code == 0 and (np.load(tmp_path / "a.npz")["images"] == images).all()


def test_images_show_and_save_themselves(run, tmp_path):
    images = run.generator.sample(range(5))
    assert isinstance(images, np.ndarray) and images.grid().size == (3 * 65 - 1, 2 * 65 - 1)
    assert images.grid(columns=5).size == (5 * 65 - 1, 64) and images[0].grid().size == (64, 64)
    assert images._repr_png_()[:4] == b"\x89PNG" and (images / 255)._repr_png_() is None
    assert images[..., :1].grid().mode == "L"
    assert (np.load(images.save(tmp_path / "a.npz"))["images"] == images).all()
    assert np.load(images[0].save(tmp_path / "b.npz"))["images"].shape == (1, 8, 8, 3)
    code, out, err = pggan("generate", run.folder, "--count", "5", "--grid", tmp_path / "b.png")
    assert code == 0 and images.save(str(tmp_path / "a.png")).read_bytes() == (tmp_path / "b.png").read_bytes()
    with pytest.raises(pg.UserError, match="a.txt"):
        images.save(tmp_path / "a.txt")
    with pytest.raises(pg.UserError, match="float64"):
        (images / 255).save(tmp_path / "c.npz")


@pytest.mark.slow
def test_a_callback_ends_the_training_and_it_goes_on_exactly(run, tmp_path):
    seen = []
    early = pg.train(
        folder=tmp_path / "own",
        progress=False,
        callbacks=[lambda t: seen.append(t) or np.bool_(t["images"] < 100)],
        **TINY,
    )
    assert not early.ended and 100 <= early.images_seen < IMAGES and len(early.history["images"]) == len(seen)
    assert (early.generator.stages, early.resume(progress=False)) == ((4,), early) and early.ended
    assert (early.generator.sample(range(8)) == run.generator.sample(range(8))).all()
    assert [t for t in early.history["loss_d"]] == run.history["loss_d"]
    # The same call goes on with what has begun, and has nothing left to do.
    assert pg.train(folder=tmp_path / "own", progress=False, **TINY).images_seen == IMAGES


@pytest.mark.slow
@pytest.mark.parametrize("images", [100, 160])
def test_a_function_that_fails_loses_nothing(images, tmp_path):
    def fail(tick):
        if tick["images"] >= images:
            raise FileNotFoundError("mine")

    with pytest.raises(FileNotFoundError, match="mine"):
        pg.train(folder=tmp_path / "own", progress=False, callbacks=fail, **ONE_STAGE)
    run = pg.load(tmp_path / "own")
    assert images <= run.images_seen < images + 30 and run.ended == (images == 160)
    assert run.resume(progress=False).history["images"][-1] == 160 and len(run.grids) == 1


def test_callbacks_hear_of_more_than_ticks(tmp_path):
    heard = []

    class Mine(pg.Callback):
        def phase(self, run, phase):
            heard.append(phase.name)

        def snapshot(self, run):
            heard.append(run.images_seen)

        def end(self, run):
            heard.append(run.done)

    pg.train(folder=tmp_path / "own", progress=False, callbacks=[Mine()], **ONE_STAGE)
    assert heard == ["4px stable", 160, True]


@pytest.mark.parametrize("event", ["begin", "phase", "step", "tick", "snapshot", "measure", "end"])
def test_a_callback_that_fails_loses_nothing(event, tmp_path):
    """Whatever it raises is the user's own, not trouble with the run's folder, and it is called no more."""
    heard = []

    def fail(self, run, *args):
        heard.append(event)
        raise ConnectionError("my tracker is away")

    callback = type("Mine", (pg.Callback,), {event: fail})()
    with pytest.raises(ConnectionError, match="my tracker is away"):
        pg.train(folder=tmp_path / "own", progress=False, callbacks=[callback], **ONE_STAGE)
    run = pg.load(tmp_path / "own")
    assert heard == [event] and run.images_seen > 0 and not list(run.folder.glob("*partial*"))
    assert run.resume(progress=False).ended and run.images_seen == 160


@pytest.mark.slow
def test_a_callback_that_fails_ends_a_pipeline(tmp_path):
    ends = []

    class Mine(pg.Callback):
        def end(self, run):
            ends.append(run.config.recipe)
            raise ConnectionError("my tracker is away")

    options = {"target_res": 32, "portraits": 64, "total_images": 160, "grid": 4, "blocks": 1, "width": 8}
    with pytest.raises(ConnectionError):
        pg.train(recipe="pggan-separable+srgan", folder=tmp_path / "own", report=False, progress=False, callbacks=[Mine()], **options)  # fmt: skip
    assert ends == ["pggan-separable"]


def test_a_training_goes_on_if_the_working_directory_changes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "else").mkdir()
    leave = [lambda tick: os.chdir(tmp_path / "else")]
    run = pg.train(folder="own", progress=False, callbacks=leave, **ONE_STAGE)
    assert run.folder == tmp_path / "own" and run.ended
    monkeypatch.chdir(tmp_path)
    assert pg.train(runs="many", progress=False, callbacks=leave, **ONE_STAGE).folder.parent == tmp_path / "many"


def test_runs_and_what_stopped_them_go_from_process_to_process(run):
    run.generator.sample([1])
    for thing in (pickle.loads(pickle.dumps(run)), copy.deepcopy(run)):
        assert thing.folder == run.folder and (thing.generator.sample([1]) == run.generator.sample([1])).all()
    generator = pickle.loads(pickle.dumps(run.generator))
    assert (generator.sample([1]) == run.generator.sample([1])).all()
    stopped = pickle.loads(pickle.dumps(pg.Stopped("it was stopped", 130, run.folder)))
    assert (str(stopped), stopped.code, stopped.folder) == ("it was stopped", 130, run.folder)


def test_a_loss_of_ones_own(tmp_path, monkeypatch):
    import dataclasses

    monkeypatch.setitem(pg.LOSSES, "mine", dataclasses.replace(pg.LOSSES["lsgan"], penalty="r1", penalty_weight=0.1))
    run = pg.train(folder=tmp_path / "own", progress=False, loss="mine", **ONE_STAGE)
    assert run.ended and run.config.objective.loss == "mine" and pg.plan(loss="mine").loss.penalty == "r1"


def test_arrays_are_data_too(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (30, 12, 12, 3), np.uint8)
    shards = pg.prepare(images, tmp_path / "shards", size=8, split=0.8)
    assert len(shards) == 24 and shards.read(8, [0, 1]).shape == (2, 8, 8, 3)
    run = pg.train(shards, folder=tmp_path / "own", progress=False, **ONE_STAGE)
    found = pg.evaluate(images, images[::-1].copy(), metrics="swd", images=20)
    assert run.ended and found["swd"] == found.figures["swd"].value > 0
    assert (
        "swd" in str(found) and "<pre>" in found._repr_html_() and found.to_dict()["metrics"]["swd"]["unit"] == "x 1000"
    )
    with pytest.raises(pg.UserError, match="float64"):
        pg.evaluate(images / 255, run)
    with pytest.raises(pg.UserError, match="fid: was not measured"):
        found["fid"]


def test_the_working_directory_may_change(run, tmp_path, monkeypatch):
    monkeypatch.chdir(run.folder.parent)
    here, file = pg.load(run.folder.name), pg.load(f"{run.folder.name}/generator.keras")
    assert repr(here) == f"Run('{run.folder.name}', 320 images seen)"
    monkeypatch.chdir(tmp_path)
    assert here.ended and repr(here) == f"Run('{run.folder}', 320 images seen)"
    assert here.images_seen == IMAGES and here.folder == run.folder
    assert pg.evaluate(file, here, "swd", images=np.int64(9))["swd"] == 0


def test_a_script_is_run_once(tmp_path):
    """Workers of a pool do not run it again, although it does not ask for its own name."""
    script = f"""
import pggan_tf as pg
from preprocessing import prepare
print("begun")
prepare.MANY_DRAWINGS = 2  # from here on, processes draw them
print(len(pg.prepare("portraits", {str(tmp_path / "out")!r}, size=8, count=40, workers=2)), __file__)
"""
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("begun") == 1 and done.stdout.endswith(f"40 {tmp_path / 'script.py'}\n")


def test_plans_are_made_without_training(tmp_path):
    plan = pg.plan(tmp_path, target_res=32, recipe="pegasus")
    assert plan.resolutions[-1] == 32 and "32px stable" in str(plan)
    parts = pg.plan(recipe="pggan-separable+srgan", target_res=128)
    assert [part.target_res for part in parts] == [32, 128]


def test_networks_are_exported_and_loaded(run, tmp_path):
    folder = pg.export(run, tmp_path / "phone", formats=["keras"])
    assert folder == tmp_path / "phone" and (folder / "report.json").is_file()
    exported = pg.load(folder)
    assert (exported.sample([3]) == run.generator.sample([3])).all() and repr(exported).startswith("Generator(")


@pytest.fixture(scope="module")
def colorizer(tmp_path_factory):
    options = {"recipe": "recolor", "target_res": 16, "portraits": 40, "total_images": 64, "grid": 4, "report": False}
    return pg.train(runs=tmp_path_factory.mktemp("runs"), progress=False, **options)


def test_photos_are_converted(colorizer, tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    out = pg.convert(colorizer, tmp_path / "photo.png", tmp_path / "colour.png", compare=True)
    made = colorizer.generator.convert(photo[None])
    assert out == tmp_path / "colour.png" and (np.asarray(Image.open(out)) == made[0]).all()
    assert (tmp_path / "colour-compare.png").is_file()
    for call, words in (
        (lambda: pg.convert(colorizer, tmp_path / "photo.png", "a.png", tile=0), "--tile 0: expected"),
        (lambda: pg.convert(colorizer, tmp_path / "photo.png", "a.png", size=64), "--size 64: .* leave --size out"),
        (lambda: pg.convert(colorizer, tmp_path / "nothing.png", "a.png"), "no such file"),
        (lambda: colorizer.generator.sample(), "not to generate from latents"),
        (lambda: colorizer.generator.convert(photo), r"\[20, 30, 3\]"),
    ):
        with pytest.raises(pg.UserError, match=words):
            call()


def test_mistakes_are_named(run, tmp_path):
    for call, words in (
        (lambda: pg.train(target_rez=64), "target_rez: no option of train; did you mean target_res"),
        (lambda: pg.train(target_res="large"), "--target-res large: not a whole number"),
        (lambda: pg.train(tmp_path / "nothing", progress=False), "nothing"),
        (lambda: pg.train(3), "3: expected a path"),
        (lambda: pg.train(callbacks=[3]), "callbacks: 3 is neither a function"),
        (lambda: pg.train(callbacks=[pg.Callback]), "neither a function nor an object"),
        (lambda: run.resume(loss="hinge"), "--loss hinge"),
        (lambda: pg.load(tmp_path / "nothing"), "Expected a run's folder"),
        (lambda: run.generator.sample([-1]), r"seeds \[-1\]: expected one or more whole numbers"),
        (lambda: run.generator.sample([1.5]), r"seeds \[1.5\]"),
        (lambda: run.generator.sample([]), r"seeds \[\]"),
        (lambda: run.generator.sample(4), r"seeds 4: expected a list: range\(4\)"),
        (lambda: run.generator.sample(truncation="much"), "--truncation much"),
        (lambda: pg.prepare([], tmp_path / "b", size=8), "sources: an empty list"),
        (lambda: pg.prepare("portraits", None, size=8), "None: expected a path"),
        (lambda: pg.train(callbacks=7), "callbacks: 7 is no list"),
        (lambda: run.generator.sample(stage=5), "--stage 5: .* has 4, 8"),
        (lambda: run.generator.sample(truncation=2), "--truncation 2"),
        (lambda: run.generator.sample(class_name="cat"), "--class cat"),
        (lambda: run.generator.convert(np.zeros([1, 8, 8, 3], np.uint8)), "makes images from latents"),
        (lambda: run.grid(1000), "none with the number 1000"),
        (lambda: run.grid(-1000), "none with the number -1000"),
        (lambda: run.grid("0"), "number 0: expected a whole number"),
        (lambda: run.grid(True), "number True: expected a whole number"),
        (lambda: pg.evaluate("portraits", run, metrics=None), "metrics None: expected names of metrics"),
        (lambda: pg.evaluate("portraits", run, metrics=[3]), "metrics .3.: expected names of metrics"),
        (
            lambda: pg.prepare(np.zeros((3, 8, 8, 3), np.uint8), tmp_path / "b", size=8, count=5),
            "--count 5: .*--limit",
        ),
        (lambda: pg.whose(None), "photos None: expected the path"),
        (lambda: pg.whose([tmp_path, 3]), "photos 3: expected the path"),
        (lambda: pg.prepare("portraits", tmp_path / "b", size=None), "size None: not valid"),
        (lambda: pg.faces("portraits", tmp_path / "b", size=None), "size None: not valid"),
        (lambda: pg.plan("portraits", recipe="pggan-separable+srgan", target_res=8), "Expected 16 or more"),
        (lambda: pg.export(run, tmp_path / "a", quantise="int8"), "did you mean quantize"),
        (lambda: pg.export(run, tmp_path / "a", formats="tflight"), "tflight"),
        (lambda: pg.prepare("portraits", tmp_path / "b", size=2), "2: expected 4 to 1024"),
        (lambda: pg.prepare("portraits", tmp_path / "b", size=8, grey=True), "did you mean gray"),
        (lambda: pg.faces("portraits", tmp_path / "b", size=8, align="up"), "--align up"),
        (lambda: pg.evaluate("portraits", run, "fidd"), "did you mean fid"),
        (lambda: pg.evaluate("portraits", run, filter="sharp"), "--filter sharp"),
        (lambda: pg.evaluate("portraits", run, size="a"), "size a: expected a whole number"),
        (lambda: pg.prepare("portraits", tmp_path / "b", size=(24, 32)), r"\(24, 32\): expected a number of pixels"),
        (
            lambda: pg.prepare("portraits", tmp_path / "b", size=8, gray=[1]),
            r"gray \[1\]: not valid. Expected True or False",
        ),
        (lambda: pg.export([], tmp_path / "a"), "runs: none"),
        (lambda: pg.convert("portraits", tmp_path / "a.png", tmp_path / "b.png", scale="2"), "--scale 2: expected a"),
        (lambda: run.generator.sample(sliders=[(1, 2)]), "sliders .*: expected {number or name: amount}"),
        (lambda: run.generator.draw_sliders(count=2.5), "--count 2.5: expected a whole number"),
        (lambda: run.generator.sample([1]).grid(columns=1.5), "columns 1.5: expected a whole number"),
        (lambda: run.report(tmp_path / "config.json"), "config.json: expected a name that ends in .html"),
    ):
        with pytest.raises(pg.UserError, match=words) as error:
            call()
        assert error.value._render_traceback_() == [f"UserError: {error.value}"]


@pytest.mark.slow
def test_a_notebook_shows_a_bar_and_the_newest_grid(tmp_path):
    cells = [
        "import pggan_tf as pg",
        f"run = pg.train(folder={str(tmp_path / 'own')!r}, **{ONE_STAGE})",
        "run",
        "pg.load('nothing')",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, allow_errors=True, resources={"metadata": {"path": ROOT}}).execute()
    trained, shown, failed = (cell["outputs"] for cell in notebook.cells[1:])
    bar, grid = (o["data"] for o in trained if o["output_type"] == "display_data")
    assert 'value="160" max="160"' in bar["text/html"] and "4px stable: 160 images" in bar["text/html"]
    assert "image/png" in grid and "image/png" in shown[0]["data"]
    printed = "".join(o["text"] for o in trained if o["output_type"] == "stream")
    assert "phase 1/1" in printed and "img/s" not in printed
    assert "\n".join(failed[0]["traceback"]).startswith("UserError: nothing: no such folder")


def test_the_command_line_writes_what_python_does(tmp_path):
    run = pg.train(folder=tmp_path / "own", progress=False, **ONE_STAGE)
    options = [f"--{k.replace('_', '-')}={v}" for k, v in ONE_STAGE.items() if k != "report"]
    code, out, err = pggan("train", *options, "--no-report", "--runs", tmp_path / "runs")
    assert code == 0, err
    other = pg.load(out.splitlines()[-1])
    configs = [json.loads((folder / "config.json").read_text()) for folder in (run.folder, other.folder)]
    assert configs[0] == configs[1] and (other.generator.sample() == run.generator.sample()).all()

"""Networks on a model hub: pushed there, loaded from there, and what is refused of others."""

import getpass
import io
import json
import re
import socket
import zipfile

import keras
import numpy as np
import pytest
import yaml
from PIL import Image

from export import source as sources
from pggan_tf.config import resolve
from pggan_tf.data import portraits
from pggan_tf.errors import TryAgain, UserError
from pggan_tf.runs import generators
from pggan_tf.runs import hub as hubs
from tests import hub_server, image_networks
from tests.conftest import ROOT, pggan, start
from tests.test_export import calm, grown, refused
from tests.test_keras_files import function, rebuilt

constants = pytest.importorskip("huggingface_hub.constants", reason="huggingface_hub is not installed")
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload:DeprecationWarning")  # of huggingface_hub
WHERE = "hf://jane/cats"
# Of the person and the machine that trained; nobody else may learn them.
PRIVATE = {
    "dataset": {"folder": "/home/marta/.cache/shards", "source": "/home/marta", "images": 9, "checksum": "0", "classes": []},
    "command": ["/home/marta/bin/pggan", "--data", "/home/marta"],
    "system": "Linux-marta-pc",
    "precision": "float32",
}  # fmt: skip


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub, its user jane who is logged in, and an empty cache."""
    with hub_server.serve() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        for name in ("HF_HUB_CACHE", "HF_TOKEN_PATH", "AGENT_HARNESSES_PATH"):
            monkeypatch.setattr(constants, name, str(tmp_path / "huggingface" / name))
        # Large files by HTTP: the other protocol is spoken by compiled code, to servers of its own.
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_TOKEN", "hf_jane")
        yield hub


def forget(monkeypatch, tmp_path):
    """An empty cache, as of another person."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "another"))


def make_run(folder, network):
    folder.mkdir()
    network.save(folder / "generator.keras")
    content = resolve({"data": "/home/marta", "target_res": 32}).to_json()
    (folder / "config.json").write_text(json.dumps(content))
    (folder / "environment.json").write_text(json.dumps(PRIVATE))
    Image.new("RGB", (64, 64), (1, 2, 3)).save(folder / "fakes-000000001.png")  # of photos of the user
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("marta") / "00000-pggan-marta-32", calm(grown()))


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("marta") / "00001-recolor-marta-32", image_networks.built("recolor"))


@pytest.fixture(scope="module")
def file(run):
    """The bytes of a generator.keras."""
    return (run / "generator.keras").read_bytes()


def succeeds(*arguments):
    code, out, err = pggan(*arguments)
    assert code == 0 and "Traceback" not in err, err
    return out, err


def images(place, out):
    succeeds("generate", place, "--count", "3", "--npz", out)
    return np.load(out)["images"]


def unpacked(files):
    """Every text and every array of some files: members of .keras files, too."""
    for name, data in files.items():
        yield name, data
        if zipfile.is_zipfile(io.BytesIO(data)):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                yield from ((f"{name}/{member}", archive.read(member)) for member in archive.namelist())


@pytest.mark.slow
def test_a_pushed_run_draws_the_same_images_elsewhere(hub, run, tmp_path, monkeypatch):
    pytest.importorskip("ai_edge_quantizer")
    out, err = succeeds("push", run, "jane/cats", "--licence", "cc-by-4.0", "--message", "First")
    repository = hub.repositories["jane/cats"]
    assert out.splitlines()[-1] == f"{hub.address}/jane/cats" and err == ""
    assert repository.messages == ["First"] and not repository.private
    names = "README.md MODEL_CARD.md config.json metadata.json model.weights.h5 generator.keras generator.tflite report.json run.json samples.png"
    assert set(repository.files) == set(names.split())
    _, head, card = repository.files["README.md"].decode().split("---\n", 2)
    assert yaml.safe_load(head) == {
        "license": "cc-by-4.0",
        "library_name": "keras",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["gan", "tflite", "pggan-tf"],
    }
    assert '"hf://jane/cats"' in card and "`pggan generate hf://jane/cats ...`" in card and "# cats\n" in card
    for name, data in unpacked(repository.files):
        for word in (
            "marta",
            str(ROOT),
            str(tmp_path),
            socket.gethostname(),
            f"/{getpass.getuser()}",
            "/home/",
            "hf_jane",
        ):
            assert word.encode() not in data, f"{name} tells {word}"
    forget(monkeypatch, tmp_path)
    truth = images(run, tmp_path / "here.npz")
    np.testing.assert_array_equal(images(WHERE, tmp_path / "there.npz"), truth)
    loaded = keras.saving.load_model(WHERE)  # by Keras's own loader, which takes the folder's other files
    np.testing.assert_array_equal(loaded.weights[0], keras.saving.load_model(run / "generator.keras").weights[0])
    forget(monkeypatch, tmp_path / "third")
    generators.load(WHERE)
    cached = {p.name for p in (tmp_path / "third").rglob("snapshots/*/*")}
    assert cached == {"generator.keras", "report.json", "run.json"}


@pytest.mark.slow
def test_a_network_of_photos_shows_no_photo_of_its_user(hub, colours, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("export.build._find_missing", lambda: ["ai_edge_litert"])
        succeeds("export", colours, "--to", "hub", "--out", tmp_path / "out")
    with Image.open(tmp_path / "out" / "samples.png") as picture:
        seen = np.asarray(picture.convert("RGB"))
    assert picture.size == (4 * 64 + 3, 2 * 64 + 1) and len(np.unique(seen.reshape(-1, 3), axis=0)) > 100
    succeeds("push", colours, "jane/colours", "--private")
    repository = hub.repositories["jane/colours"]
    assert repository.private and repository.messages == ["Upload colours"]
    assert b"pipeline_tag: image-to-image\n" in repository.files["README.md"]
    assert b"`pggan colorize hf://jane/colours ...`" in repository.files["README.md"]
    Image.fromarray(portraits.draw(3, 32)).convert("L").save(tmp_path / "photo.png")
    for place, name in ((colours, "here.png"), ("hf://jane/colours@main", "there.png")):
        succeeds("colorize", place, tmp_path / "photo.png", "--out", tmp_path / name, "--no-mark")  # it names the run
    assert (tmp_path / "here.png").read_bytes() == (tmp_path / "there.png").read_bytes()
    refused(
        pggan("generate", "hf://jane/colours", "--npz", tmp_path / "a.npz"), "hf://jane/colours: was trained to recolor"
    )


@pytest.mark.slow
def test_every_verb_takes_a_location(hub, file, tmp_path, monkeypatch):
    report = json.dumps({"source": "old", "task": "generate", "licence": "mit", "files": []}).encode()
    hub.put("jane/cats", {"generator.keras": file, "report.json": report})
    Image.fromarray(portraits.draw(3, 48)).save(tmp_path / "photo.png")
    out = tmp_path / "out.png"
    succeeds("grid", WHERE, "--stages", "--seeds", "0-1", "--out", out)
    succeeds("project", WHERE, tmp_path / "photo.png", "--out", tmp_path / "projected", "--steps", "1")
    assert "swd" in succeeds("evaluate", WHERE, WHERE, "--images", "4", "--metrics", "swd")[0]
    succeeds("export", WHERE, "--to", "keras", "--out", tmp_path / "again")
    assert (tmp_path / "again" / "generator.keras").read_bytes() == file
    assert "license: mit" in (tmp_path / "again" / "README.md").read_text()
    api = pytest.importorskip("export.api")
    monkeypatch.setattr(api, "serve", lambda path, *_, **__: print(path))
    assert succeeds("serve", WHERE)[0] == f"{WHERE}\n"
    opened = sources.open_source(WHERE)
    assert (opened.name, opened.licence, opened.plan) == ("cats", "mit", None)
    for verb, *more in (("report",), ("neighbours",), ("train", "--resume"), ("train", "--init-from")):
        refused(pggan(verb, *more, WHERE), f"{WHERE}: holds an exported network and nothing of its training")


def test_a_revision_is_kept_and_the_newest_is_loaded_without_one(hub, file, tmp_path):
    repository = hub.put("jane/cats", {"generator.keras": b"old"})
    old = repository.names["v1.0"] = repository.names["main"]
    new = repository.commit({"generator.keras": file})
    for revision, data in (("", file), ("@v1.0", b"old"), (f"@{old}", b"old"), (f"@{new}", file), ("@main", file)):
        assert (hubs.download(WHERE + revision) / "generator.keras").read_bytes() == data
    repository.commit({"generator.keras": b"newer"})
    assert (hubs.download(WHERE) / "generator.keras").read_bytes() == b"newer"


def test_what_was_loaded_works_without_the_hub(hub, file, tmp_path, monkeypatch):
    hub.put("jane/cats", {"generator.keras": file})
    said = []
    generators.load(WHERE, said.append)
    assert said == []
    hub.failure = 503
    assert generators.load(WHERE, said.append).task == "generate"
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    generators.load(WHERE, said.append)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    generators.load(WHERE, said.append)
    assert said == [f"{WHERE}: the hub cannot be reached; using the files that were downloaded last"] * 3
    with pytest.raises(TryAgain, match="^hf://jane/dogs: the hub cannot be reached"):
        generators.load("hf://jane/dogs")


def one_line(arguments, code, words):
    found, out, err = pggan(*arguments)
    assert (
        found == code and re.fullmatch(f"(without a .tflite.*\n)?error: {words}\n", err) and "Traceback" not in out
    ), (found, err)


@pytest.mark.parametrize(
    "place, words",
    [
        ("hf://jane/dogs", "there is no such repository, or it is private. Check the name; if it is private: hf auth login"),
        ("hf://joe/secret", "there is no such repository, or it is private. .*"),
        ("hf://jane/cats@v9", "there is no such revision. Leave it out, or give a branch, a tag or a commit."),
        ("hf://jane/empty", "has no generator.keras. Expected a repository that pggan push has written."),
        ("hf://cats", "expected hf://USER/NAME, or hf://USER/NAME@REVISION with a tag or a commit."),
        ("hf://jane/../../etc", "expected hf://USER/NAME, .*"),
        ("hf://jane/cats@../../x", "expected hf://USER/NAME, .*"),
        ("hf://jane/cats/x", "expected hf://USER/NAME, .*"),
    ],
)  # fmt: skip
def test_a_location_that_is_none_is_one_line(hub, file, tmp_path, place, words):
    hub.put("jane/cats", {"generator.keras": file})
    hub.put("jane/empty", {"README.md": b"", "model.pkl": b"", "config.json": b"{}", "model.weights.h5": b""})
    hub.put("joe/secret", {"generator.keras": file}, private=True)
    one_line(("generate", place, "--npz", tmp_path / "a.npz"), 2, f"{place}: {words}")
    assert not any("model." in request for request in hub.requests)


def hostile(file, folder):
    """Name -> (files of a repository, what is said of it)."""

    def changed(name, change):
        (folder / "good.keras").write_bytes(file)
        return rebuilt(folder / "good.keras", change, folder / f"{name}.keras").read_bytes()

    def called(module, name):
        return lambda config: config | {"config": config["config"] | {"conv": function(module, name)}}

    keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x, (3,))]).save(folder / "lambda.keras")
    foreign = {"class_name": "Popen", "module": "subprocess", "registered_name": "Popen", "config": {"args": f"touch {folder}/made"}}  # fmt: skip
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive, zipfile.ZipFile(io.BytesIO(file)) as good:
        archive.writestr("../../made", "x")
        archive.writestr("config.json", good.read("config.json"))
    cannot = "not a generator that can be loaded [(].+[)]."
    return {
        "code": ({"generator.keras": (folder / "lambda.keras").read_bytes()}, "not a generator .*`Lambda` layer.*"),
        "class": ({"generator.keras": changed("class", lambda _: foreign)}, cannot),
        "system": ({"generator.keras": changed("system", called("os", "system"))}, cannot),
        "paths": ({"generator.keras": bomb.getvalue()}, cannot),
        "text": ({"generator.keras": b"import os"}, "not a .keras file: .*"),
        "pickle": ({"generator.pkl": b"cos\nsystem\n.", "model.py": b"1/0"}, "has no generator.keras. .*"),
        "names": ({"../generator.keras": file, "/generator.keras": file, "a/generator.keras": file}, "has no generator.keras. .*"),
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["code", "class", "system", "paths", "text", "pickle", "names"])
def test_a_hostile_repository_ends_in_one_line(hub, file, tmp_path, kind):
    files, words = hostile(file, tmp_path)[kind]
    hub.put("joe/cats", files)
    before = {p for p in tmp_path.iterdir() if p.name != "huggingface"}
    one_line(("generate", "hf://joe/cats", "--npz", tmp_path / "a.npz"), 2, f"hf://joe/cats: {words}")
    assert {p for p in tmp_path.iterdir() if p.name != "huggingface"} == before
    kept = {p.name for p in (tmp_path / "huggingface").rglob("snapshots/*/*")}
    assert kept <= {"generator.keras"} and not list(tmp_path.rglob("made"))
    assert {r.rpartition("/")[2] for r in hub.requests if "/resolve/" in r} <= {"generator.keras"}


def test_too_large_a_file_is_not_downloaded(hub, file, tmp_path):
    hub.put("joe/cats", {"generator.keras": file}, claims={"generator.keras": 100 << 30})
    said = "hf://joe/cats: its generator.keras has 107,374,182,400 bytes; at most 4,294,967,296 are allowed."
    one_line(("generate", "hf://joe/cats", "--npz", tmp_path / "a.npz"), 2, re.escape(said))
    hub.put("joe/dogs", {"generator.keras": file, "run.json": b"{}"}, claims={"run.json": 1 << 30})
    one_line(("generate", "hf://joe/dogs", "--npz", tmp_path / "a.npz"), 2, "hf://joe/dogs: its run.json has .*")
    assert not any(r.startswith("GET") and "/resolve/" in r for r in hub.requests)


def test_too_much_in_a_small_file_is_not_unpacked(hub, file, tmp_path, monkeypatch):
    monkeypatch.setitem(hubs.LIMITS, "generator.keras", 1 << 21)
    bomb = io.BytesIO(file)
    with zipfile.ZipFile(bomb, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("more", bytes(1 << 21))
    hub.put("joe/cats", {"generator.keras": bomb.getvalue()})
    words = "hf://joe/cats: its generator.keras unpacks to 2,[0-9,]+ bytes; at most 2,097,152 are allowed."
    one_line(("generate", "hf://joe/cats", "--npz", tmp_path / "a.npz"), 2, words)


@pytest.mark.parametrize("name", ["report.json", "run.json"])
@pytest.mark.parametrize("data", [b"[" * 100_000, b"\xff", b"null", b'{"source": ["/etc/passwd"], "data": "/etc"}'])
def test_facts_of_others_are_only_texts(hub, file, tmp_path, name, data):
    hub.put("joe/cats", {"generator.keras": file, "report.json": b"{}", name: data})
    try:
        source = sources.open_source("hf://joe/cats")
    except UserError as error:
        assert name == "run.json" and "\n" not in str(error)
    else:
        assert source.name == "cats" and source.environment is None


@pytest.mark.parametrize(
    "token, status, code, words",
    [
        (None, None, 2, "jane/cats: you are not logged in. Type: hf auth login, or set HF_TOKEN to a token of .*"),
        ("hf_wrong", None, 2, "jane/cats: the token is not valid. Type: hf auth login, or set HF_TOKEN to another of .*"),
        ("hf_guest", None, 2, "jane/cats: the token may not do this. Give a name of your own, and a token .* that may write."),
        ("hf_jane", 503, 75, "jane/cats: the hub cannot be reached [(].*503.*[)]. Try again later."),
        ("hf_jane", 429, 75, "jane/cats: the hub cannot be reached [(].*rate limit.*[)]. Try again later."),
        ("hf_jane", 0, 75, "jane/cats: the hub cannot be reached [(].*refused[)]. Try again later."),
        ("hf_jane", 413, 2, "jane/cats: the hub refuses this [(].*413.*[)]."),
    ],
)  # fmt: skip
def test_a_push_that_fails_is_one_line(hub, run, monkeypatch, token, status, code, words):
    monkeypatch.delenv("HF_TOKEN")
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    if status == 0:
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    hub.failure = status
    monkeypatch.setattr("export.build.write", lambda *_: [])
    monkeypatch.setattr("export.card.NAMES", ())
    one_line(("push", run, "jane/cats"), code, words)
    assert not hub.repositories


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("ENDPOINT", "nonsense", "HF_ENDPOINT is no address"), ("HF_HUB_OFFLINE", True, "HF_HUB_OFFLINE is set")],
)
def test_settings_that_no_waiting_mends_are_named(hub, run, monkeypatch, name, value, words):
    monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr("export.build.write", lambda *_: [])
    monkeypatch.setattr("export.card.NAMES", ())
    one_line(("push", run, "jane/cats"), 2, f"jane/cats: {words}.*")


@pytest.mark.parametrize(
    "status, code, words",
    [(500, 75, "the hub cannot be reached [(].*500.*"), (403, 2, "the token may not do this. .*")],
)
def test_an_upload_that_breaks_off_leaves_nothing(hub, run, monkeypatch, status, code, words):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    monkeypatch.setattr("export.build._find_missing", lambda: ["ai_edge_litert"])
    hub.refused = {"upload": status}
    one_line(("push", run, "jane/cats"), code, f"jane/cats: {words}")
    assert hub.repositories["jane/cats"].files == {}


def test_a_repository_that_is_something_else_is_left_alone(hub, run, file):
    ours = {"generator.keras": file, "report.json": b"{}"}
    held = {"jane/other": {"pytorch_model.bin": b"", "README.md": b""}, "jane/public": ours}
    for name, files in held.items():
        hub.put(name, files)
    one_line(
        ("push", run, "jane/other"),
        2,
        "jane/other: holds files of another kind [(]pytorch_model.bin[)]. Choose a new name.",
    )
    said = "jane/public: is public already. Make it private in its settings, or choose a new name."
    one_line(("push", run, "jane/public", "--private"), 2, said)
    for name in ("jane", "jane/a/b", "jane/.."):
        one_line(("push", run, name), 2, f"{name}: expected hf://USER/NAME, .*")
    one_line(("push", run, "jane/cats@v1"), 2, "jane/cats@v1: a network is pushed to USER/NAME, without a revision.")
    one_line(("push", run.parent, "jane/cats"), 2, f"{run.parent}: no generator.keras. .*")
    assert {name: r.files for name, r in hub.repositories.items()} == held


def test_a_second_push_replaces_what_the_first_wrote(hub, run, colours, monkeypatch):
    monkeypatch.setattr("export.build._find_missing", lambda: ["ai_edge_litert"])
    repository = hub.put("jane/cats", {".gitattributes": b"", "README.md": b"# cats"})
    _, err = succeeds("push", run, "jane/cats", "--licence", "mit")
    assert err == 'without a .tflite, ai_edge_litert not installed: pip install "pggan-tf[export]"\n'
    assert b"- tflite" not in repository.files["README.md"] and "generator.tflite" not in repository.files
    repository.commit({**repository.files, "generator.tflite": b"old", "photo.jpg": b"mine", "generator.txt": b"mine"})
    succeeds("push", run, "hf://jane/cats", "--licence", "mit")
    assert repository.files["photo.jpg"] == repository.files["generator.txt"] == b"mine"
    assert "generator.tflite" not in repository.files and repository.files[".gitattributes"] == b""


def test_a_licence_that_the_hub_does_not_know_is_one_line(hub, run, file, tmp_path, monkeypatch):
    words = "--licence m: [}]: the hub does not know it. Give one of https://[^ ]+, or other."
    one_line(("push", run, "jane/cats", "--licence", "m: }"), 2, words)
    assert not hub.repositories
    exported = tmp_path / "exported"
    exported.mkdir()
    (exported / "generator.keras").write_bytes(file)
    (exported / "report.json").write_text('{"licence": "m"}')
    monkeypatch.setattr("export.build._find_missing", lambda: ["a"])
    one_line(("push", exported, "jane/cats"), 2, "jane/cats: the hub refuses this [(]Invalid metadata .*license.*")


def test_the_package_may_be_missing(monkeypatch, run):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    words = 'huggingface_hub not installed. Type: pip install "pggan-tf[hub]"'
    one_line(("push", run, "jane/cats"), 2, re.escape(words))
    with pytest.raises(UserError, match="^huggingface_hub not installed"):
        generators.load(WHERE)


@pytest.mark.slow
def test_a_process_finds_the_hub_by_its_environment(hub, file, tmp_path):
    """As a user types it, in a process that has not loaded anything yet; Keras loads the location, too."""
    import os

    hub.put("jane/cats", {"generator.keras": file})
    env = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_XET": "1"}
    process = start("-m", "pggan_tf", "generate", WHERE, "--count", "2", "--npz", tmp_path / "a.npz", env=env)
    _, err = process.communicate(timeout=240)
    assert process.returncode == 0 and err == "" and np.load(tmp_path / "a.npz")["images"].shape == (2, 48, 48, 3)

"""Networks that came from elsewhere: what is loaded, what is refused, and that nothing in a file is run or read besides it."""

import json
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from pggan_tf import errors, networks
from pggan_tf.config import resolve
from pggan_tf.errors import UserError
from pggan_tf.runs import checkpoint, generators, keras_files
from tests import stand_ins

ONE = np.zeros((1, 8, 8, 3), np.float32)


def refused(words):
    """A context that ends in a UserError of these words, all of it but the paths."""
    return pytest.raises(UserError, match=f"^{words}$")


def folder(path, **files):
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)
    return path


def network(**config):
    return json.dumps({"class_name": "Generator", "config": {}, **config})


def saved(layers, path, zipped=True):
    keras.saving.save_model(keras.Sequential(layers), path, zipped=zipped)
    return path


def rebuilt(path, change, out):
    """A copy of a .keras file whose config.json is changed."""
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(out, "w") as copy:
        for name in whole.namelist():
            data = whole.read(name)
            copy.writestr(name, json.dumps(change(json.loads(data))) if name == "config.json" else data)
    return out


def test_what_a_folder_is(tmp_path):
    run = folder(tmp_path / "run", config__json="{}", environment__json="{}")
    model = folder(tmp_path / "model", config__json=network(), model__weights="")
    (model / "model.weights").rename(model / "model.weights.h5")
    card = folder(tmp_path / "card", **{"MODEL_CARD-best__md": ""})
    half = folder(tmp_path / "half", config__json=network())
    other = folder(tmp_path / "other", environment__json="{}")
    found = {p.name: (keras_files.is_run(p), keras_files.is_exported(p), keras_files.is_model(p)) for p in (run, model, card, half, other)}  # fmt: skip
    yes, no = True, False
    assert found == {"run": (yes, no, no), "model": (no, no, yes), "card": (no, yes, no), "half": (no, no, no), "other": (no, no, no)}  # fmt: skip
    keras_files.check_run(run)
    exported = "holds an exported network and nothing of its training. Give the folder of its run."
    for path, words in (
        (model, exported),
        (card, exported),
        (half, "no environment.json, so not a run's folder."),
        (other, "no config.json, so not a run's folder."),
        (tmp_path / "none", "no such folder. Expected the folder of a run."),
    ):
        with refused(f"{path}: {words}"):
            keras_files.check_run(path)


@pytest.mark.parametrize("text", ["{}", "[]", "5", "null", "{", "", "\xff", "[" * 100_000])
def test_a_config_of_something_else_is_no_network(text, tmp_path):
    path = folder(tmp_path / "x", a="")
    (path / keras_files.WEIGHTS).touch()
    (path / keras_files.CONFIG).write_bytes(text.encode("latin-1"))
    assert not keras_files.is_model(path)
    (path / keras_files.CONFIG).unlink()
    (path / keras_files.CONFIG).mkdir()
    assert not keras_files.is_model(path)


def test_what_keras_is_given(tmp_path):
    file = tmp_path / "a.keras"
    file.touch()
    assert keras_files.find(file) == file
    both = folder(tmp_path / "both", config__json=network(), generator__keras="")
    (both / keras_files.WEIGHTS).touch()
    assert keras_files.find(both) == both / "generator.keras"
    (both / "generator.keras").unlink()
    assert keras_files.find(both) == both
    phone = folder(tmp_path / "phone", MODEL_CARD__md="")
    (tmp_path / "weights.h5").touch()
    expected = "Expected a run's folder, an exported one, or a .keras file."
    for path, words in (
        (tmp_path / "weights.h5", f"not a .keras file. {expected}"),
        (
            phone,
            "exported without generator.keras, which this needs. Give the run's folder, or one of pggan export --to keras.",
        ),
        (tmp_path, f"no generator.keras. {expected}"),
        (tmp_path / "none.keras", f"no such file. {expected}"),
        (tmp_path / "none", f"no such folder. {expected}"),
    ):
        with refused(f"{path}: {words}"):
            keras_files.find(path)


def test_ours_is_loaded_from_a_file_and_from_its_members(tmp_path):
    run = stand_ins.saved(stand_ins.Upscaler(scale=2, depth=1), tmp_path / "run", ONE)
    file = run / "generator.keras"
    truth = keras_files.load(file)
    assert (truth.task, truth.scale, truth.depth) == ("upscale", 2, 1)
    members = folder(tmp_path / "members")
    keras_files.unpack(file, members)
    assert {p.name for p in members.iterdir()} == {"config.json", "metadata.json", "model.weights.h5"}
    for name in keras_files.MEMBERS:
        assert (members / name).read_bytes() == zipfile.ZipFile(file).read(name)
    for path in (keras_files.find(members), file):
        loaded = keras_files.load(path)
        for a, b in zip(truth.weights, loaded.weights, strict=True):
            np.testing.assert_array_equal(a, b)
    said = []
    assert generators.load(run, said.append).task == "upscale" and said == []


def test_what_is_no_network_of_ours_is_one_line(tmp_path):
    (tmp_path / "text.keras").write_text("my network\n")
    with refused(
        f"{tmp_path}/text.keras: not a .keras file: expected the zip archive that Keras writes. It may be damaged."
    ):
        keras_files.load(tmp_path / "text.keras")
    plain = saved([keras.Input((3,)), keras.layers.Dense(2)], tmp_path / "plain.keras")
    saved([keras.Input((3,)), keras.layers.Dense(2)], tmp_path / "plain", zipped=False)
    for path in (plain, tmp_path / "plain"):
        with refused(
            f"{path}: holds a network of another kind [(]Sequential[)]. Expected a generator that pggan-tf trained."
        ):
            keras_files.load(path)
    with zipfile.ZipFile(tmp_path / "empty.keras", "w") as archive:
        archive.writestr("a", "b")
    with refused(f"{tmp_path}/empty.keras: not a generator that can be loaded [(][^\n]+[)]."):
        keras_files.load(tmp_path / "empty.keras")
    long = rebuilt(plain, lambda c: {**c, "class_name": "x" * 1000}, tmp_path / "long.keras")
    with refused(f"{long}: not a generator that can be loaded [(][^\n]{{150}}[)]."):
        keras_files.load(long)
    deep = rebuilt(plain, lambda c: {**c, "config": {}}, tmp_path / "deep.keras")
    with zipfile.ZipFile(deep, "w") as archive:
        archive.writestr("config.json", "[" * 100_000)
    with refused(f"{deep}: not a generator that can be loaded [(][^\n]+[)]."):
        keras_files.load(deep)


class Failing:
    """Keras, of which a file is met by this error."""

    def __init__(self, error):
        self.error = error

    def __call__(self, *_args, **_kwargs):
        raise self.error


@pytest.mark.parametrize("error, why", [(ValueError("  one. two"), "one"), (KeyError(), "KeyError"), (OSError("a\nb"), "a"), (ValueError(" \n"), "ValueError")])  # fmt: skip
def test_the_reason_is_the_first_sentence(error, why, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.saving, "load_model", Failing(error))
    with refused(f"{tmp_path}: not a generator that can be loaded [(]{why}[)]."):
        keras_files.load(tmp_path)


@pytest.mark.parametrize("error", [MemoryError(), tf.errors.ResourceExhaustedError(None, None, "OOM")])
def test_an_end_of_memory_is_not_the_file_s_fault(error, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.saving, "load_model", Failing(error))
    with (
        pytest.raises(errors.OutOfMemory, match="^out of memory while it is read. Wait$"),
        errors.explain_out_of_memory("it is read", "Wait"),
    ):
        keras_files.load(tmp_path)


def function(module, name):
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def attacks(plain, folder, secret):
    """Name -> a .keras file that asks for more than a network: functions of other modules, files of this machine."""

    def with_activation(value):
        def change(config):
            config["config"]["layers"][-1]["config"]["activation"] = value
            return config

        return change

    def with_layer(layer):
        def change(config):
            config["config"]["layers"].append(layer)
            return config

        return change

    def built(layer, **config):
        return with_layer({"module": "keras.layers", "class_name": layer, "config": config, "registered_name": None})

    touched = str(folder / "touched")
    changes = {
        "system": with_activation(function("os", "system")),
        "eval": with_activation(function("builtins", "eval")),
        "partial": with_activation({"module": "functools", "class_name": "partial", "config": {"func": function("os", "mkdir")}}),
        "unsafe": with_activation(function("keras.config", "enable_unsafe_deserialization")),
        "get_file": with_activation(function("keras.utils", "get_file")),
        "load_model": with_activation(function("keras.saving", "load_model")),
        "lookup": built("StringLookup", name="lookup", vocabulary=str(secret)),
        "saved_model": built("TFSMLayer", name="tfsm", filepath=str(folder), call_endpoint="serve"),
        "lambda": built("Lambda", name="code", function={"class_name": "__lambda__", "config": {"code": "4wEAAAA=", "defaults": None, "closure": None}}),
        "touch": with_activation({"module": "pathlib", "class_name": "Path", "config": touched, "registered_name": "Path"}),
    }  # fmt: skip
    return {name: rebuilt(plain, change, folder / f"{name}.keras") for name, change in changes.items()}


def test_a_file_gets_no_more_than_a_network(tmp_path):
    plain = saved([keras.Input((3,)), keras.layers.Dense(2, name="last")], tmp_path / "plain.keras")
    secret = tmp_path / "secret.txt"
    secret.write_text("password\n")
    before = set(tmp_path.iterdir())
    for name, path in attacks(plain, tmp_path, secret).items():
        before.add(path)
        with pytest.raises(UserError, match="not a generator that can be loaded") as refusal:
            keras_files.load(path)
        assert "password" not in str(refusal.value) and "\n" not in str(refusal.value), name
    assert set(tmp_path.iterdir()) == before
    # Nor does a file of before change what is refused after it.
    code = saved([keras.Input((3,)), keras.layers.Lambda(lambda x: x, (3,))], tmp_path / "code.keras")
    saved([keras.Input((3,)), keras.layers.Lambda(lambda x: x, (3,))], tmp_path / "code", zipped=False)
    for path in (code, tmp_path / "code"):
        with pytest.raises(UserError, match=r"not a generator that can be loaded \(.*`Lambda` layer"):
            keras_files.load(path)


def tiny(run, phase=0, **changes):
    """A run's folder that has got as far as a checkpoint, and its averaged generator; `changes`: of the config."""
    plan = resolve({"target_res": 8, "fmap_base": 64, "fmap_max": 8, "latent_size": 8, **changes})
    run.mkdir(parents=True, exist_ok=True)
    (run / "config.json").write_text(json.dumps(plan.to_json()))
    dataset = {"folder": str(run / "gone"), "source": "portraits", "images": 4, "checksum": "c", "classes": []}
    (run / "environment.json").write_text(json.dumps({"dataset": dataset}))
    keras.utils.set_random_seed(1)
    generator = networks.make_generator(
        plan.config.networks.network, {**plan.network_options(()), "resolutions": plan.resolutions}
    )
    generator.build()
    arrays = {f"ema/{v.path.partition('/')[2]}": v.numpy() for v in generator.get_checkpoint_variables()}
    checkpoint.write(checkpoint.path_for(run, 16), {**arrays, "step": np.array(3)}, {"phase": phase, "images_seen": 16})
    return generator


def test_a_run_that_has_not_ended_gives_its_average(tmp_path):
    run, said = tmp_path / "run", []
    truth = tiny(run)
    checkpoint.write(checkpoint.path_for(run, 32), {"ema/a": np.array([np.nan])}, {})
    loaded = generators.load(run, said.append)
    assert loaded.resolutions == (4,) and len(said) == 1 and "ema/a became NaN or Inf" in said[0]
    kept = {v.path: v for v in truth.get_checkpoint_variables()}
    for variable in loaded.get_checkpoint_variables():
        if "to_image" not in variable.path and kept[variable.path].numpy().any():  # the others are fitted anew
            np.testing.assert_array_equal(variable, kept[variable.path])
    assert generators.load_from_latents(run, said.append).task == "generate" and len(said) == 2


def test_a_run_that_does_not_fit_its_checkpoint_is_one_line(tmp_path):
    run = tmp_path / "run"
    tiny(run)
    held = {name: (run / name).read_text() for name in ("config.json", "environment.json")}
    for name, text, words in (
        ("environment.json", "[]", f"{run}/environment.json: expected a JSON object"),
        ("environment.json", "{", f"{run}/environment.json: cannot be read"),
        (
            "config.json",
            held["config.json"].replace('"fmap_max": 8', '"fmap_max": 4'),
            f"{run}: ema/.* is .*, expected ",
        ),
        ("config.json", "{", f"{run}/config.json: not JSON"),
    ):
        (run / name).write_text(text)
        with pytest.raises(UserError, match=f"^{words}"):
            generators.load(run, print)
        (run / name).write_text(held[name])
    for meta in ({}, {"phase": 99}, {"phase": "4px"}):
        checkpoint.write(checkpoint.path_for(run, 32), {}, meta)
        with refused(f"{run}: its newest checkpoint is of another config.json. Restore the one of its run."):
            generators.load(run, print)


def test_networks_of_photos_have_no_latents(tmp_path):
    recolor = stand_ins.saved(stand_ins.Recolorer(), tmp_path / "r", ONE[..., :1])
    upscale = stand_ins.saved(stand_ins.Upscaler(), tmp_path / "u", ONE)
    for path, task, verb in ((recolor, "recolor", "colorize"), (upscale, "upscale", "upscale")):
        with refused(f"{path}: was trained to {task}, not to generate from latents. Give it photos: pggan {verb}."):
            generators.load_from_latents(path)

"""Files as an earlier version wrote them: shards, a run stopped within a fade, a generator and a discriminator of every family.

`write_…` make them anew with the code as it is. The tests read those that are kept here.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shlex
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from tests.conftest import ROOT, pggan, train

HERE = Path(__file__).parent
SHARDS, RUN, NETWORKS = HERE / "shards", HERE / "fading", HERE / "networks"
EXPECTED = "expected.json"

# Grows from 4 to 8 pixels in so few images that it is gone on with in seconds. It stops within the fade.
RUN_OPTIONS = (
    "--resolutions 4,8 --fmap-base 16 --fmap-max 4 --latent-size 4 --batch 8 --stable-images 4=64,8=0 --fade-images 96"
    " --ema-half-life-images 50 --penalty-every 4 --learning-rate 0.002 --snapshot-images 40 --grid 4 --no-report"
    " --precision float32 --keep-checkpoints 40 --checkpoint-minutes 0"
)
STOPPED_AT = 112

# Of every family: what is typed after `train`.
FAMILIES = {
    "pggan": "--resolutions 4,8 --fmap-base 16 --fmap-max 4 --latent-size 4",
    "pggan-normed": "--resolutions 4,8 --fmap-base 16 --fmap-max 4 --latent-size 4 --conv standard --conditional"
    " --generator-norm batch --discriminator-norm batch --spectral down --minibatch discrimination",
    "dcgan": "--network dcgan --target-res 8 --fmap-base 8 --fmap-max 4 --latent-size 4 --spectral all",
    "colorize": "--recipe colorize --width 2 --fmap-max 4 --target-res 8",
    "translate": "--recipe translate --width 2 --fmap-max 4 --target-res 8",
    "recolor": "--recipe recolor --width 2 --target-res 8",
    "srgan": "--recipe srgan --width 2 --blocks 1 --target-res 8 --patch 8 --scale 2",
}
CLASSES = ("cat", "dog")


# Shards


def _photos(folder: Path) -> None:
    """Twelve squares in two classes; two of them are smaller than the rest."""
    from PIL import Image

    rng = np.random.default_rng(5)
    for i in range(12):
        path = folder / CLASSES[i % 2] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        side = 5 if i in (3, 8) else 8
        Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).save(path)
    for i in range(8):  # two side by side
        path = folder.parent / "pairs" / f"{i:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 16, 3), np.uint8)).save(path)


def write_shards() -> None:
    shutil.rmtree(SHARDS, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        _photos(photos)
        for name, source, options in (
            ("classes", photos, "--keep-small --shard-images 6"),
            ("gray", photos, "--gray --compress"),
            ("pairs", photos.parent / "pairs", "--pairs"),
        ):
            code, _, err = pggan("prepare", source, SHARDS / name, "--size", 8, *options.split())
            assert code == 0, err
            manifest = SHARDS / name / "manifest.json"
            manifest.write_text(manifest.read_text().replace(folder, ""))
            for path in (SHARDS / name).iterdir():
                if path.name != "manifest.json" and path.suffix != ".npz":
                    path.unlink()
            (SHARDS / name / EXPECTED).write_text(json.dumps(shards_read(SHARDS / name), indent=1) + "\n")


def shards_read(folder: Path) -> dict:
    """What is in a folder of shards, pixels by their SHA-256."""
    from pggan_tf.data.shards import Shards

    opened = Shards(folder)
    found = {"checksum": opened.manifest.checksum, "classes": list(opened.manifest.classes)}
    for resolution in opened.manifest.resolutions:
        images = opened.read(resolution, np.arange(opened.count(resolution)))
        found[str(resolution)] = [*images.shape, str(images.dtype), hashlib.sha256(images.tobytes()).hexdigest()]
    if opened.manifest.classes:
        found["labels"] = opened.labels(4, np.arange(len(opened))).tolist()
    return found


# A run


def _at(place: str, written: dict) -> dict:
    """A config.json whose data lie at a place."""
    images, asked = written["images"] | {"data": place}, written["asked"] | {"data": place}
    return written | {"images": images, "asked": asked}


def write_run() -> None:
    """A run whose process was killed at STOPPED_AT images, without what names this machine."""
    shutil.rmtree(RUN, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "run"
        code, _, err = train("--data", SHARDS / "classes", *RUN_OPTIONS.split(), "--run", made)
        assert code == 0, err
        RUN.mkdir(parents=True)
        config = json.loads((made / "config.json").read_text())
        (RUN / "config.json").write_text(json.dumps(_at("/shards", config), indent=1) + "\n")
        environment = json.loads((made / "environment.json").read_text())
        environment |= {"commit": None, "system": "Linux", "cpu": "", "cores": 2, "command": ["train.py"]}
        environment |= {"started": "2026-11-28T00:00:00+00:00", "asked": _at("/shards", environment["asked"])}
        environment["dataset"] |= {"folder": "/shards"}
        (RUN / "environment.json").write_text(json.dumps(environment, indent=1) + "\n")
        lines = (made / "stats.jsonl").read_text().splitlines(keepends=True)
        (RUN / "stats.jsonl").write_text("".join(s for s in lines if json.loads(s)["images"] <= STOPPED_AT))
        (RUN / "checkpoints").mkdir()
        name = f"checkpoint-{STOPPED_AT:012d}.npz"
        shutil.copy(made / "checkpoints" / name, RUN / "checkpoints" / name)
    with tempfile.TemporaryDirectory() as folder:
        found = resumed(Path(folder) / "run")
    lists = {name: found.pop(name) for name in ("stats", "weights")}
    text = json.dumps(found, indent=1).removesuffix("\n}")
    stats = ",\n".join(f"  {json.dumps(line)}" for line in lists["stats"])
    weights = ",\n".join(f"  {json.dumps(name)}: {json.dumps(numbers)}" for name, numbers in lists["weights"].items())
    (RUN / EXPECTED).write_text(f'{text},\n "stats": [\n{stats}\n ],\n "weights": {{\n{weights}\n }}\n}}\n')


def resumed(folder: Path) -> dict:
    """What becomes of the run in `folder`, a copy of it that is gone on with to its end."""
    shutil.copytree(RUN, folder)
    free = ("--keep-checkpoints", 2, "--checkpoint-minutes", 5)
    code, out, err = train("--resume", folder, "--data", SHARDS / "classes", *free)
    assert code == 0, err
    stats = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    arrays, meta = last_checkpoint(folder)
    return {
        "said": [_without_times(line) for line in out.replace(str(folder), "RUN").splitlines()],
        "files": sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and _is_kept(p)),
        "meta": {k: v for k, v in meta.items() if k not in ("seconds", "window", "arrays")},
        "stats": [without_speed(line) for line in stats],
        "weights": {
            name: [list(a.shape), *([] if name.startswith("optimizer") else _numbers(a))] for name, a in arrays.items()
        },
        "sha256": hashlib.sha256(b"".join(arrays[name].tobytes() for name in sorted(arrays))).hexdigest(),
        "processor": processor(),
    }


def without_speed(line: dict) -> dict:
    """A line of stats.jsonl without what depends on the machine's speed."""
    return {k: v for k, v in line.items() if k not in ("seconds", "images_per_second") and not k.endswith("_seconds")}


def last_checkpoint(folder: Path) -> tuple[dict, dict]:
    """Arrays by name, and the numbers beside them: a checkpoint is a zip of .npy files and a meta.json."""
    with zipfile.ZipFile(max((folder / "checkpoints").glob("checkpoint-*.npz"))) as archive:
        arrays = {
            name.removesuffix(".npy"): np.load(io.BytesIO(archive.read(name)))
            for name in archive.namelist()
            if name.endswith(".npy")
        }
        return arrays, json.loads(archive.read("meta.json"))


def _is_kept(path: Path) -> bool:
    """How many checkpoints there are depends on how long the machine is on."""
    return (
        not path.name.startswith(".") and not {"tensorboard", "checkpoints"} & {*path.parts} and path.name != EXPECTED
    )


def _without_times(line: str) -> str:
    """Nor losses, which processors round in their own ways."""
    return re.sub(r"(\d+ img/s )?D -?\d.*|built in [\d.]+ s", "...", line)


def _numbers(array: np.ndarray) -> list[float]:
    return [float(f"{v:.7g}") for v in np.ravel(array)]


def processor() -> str:
    """Names the kind of processor by what sums depend on: its instructions, the number of cores, the version of TensorFlow."""
    import tensorflow as tf

    try:
        flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.M)[1]
    except (OSError, TypeError):
        return "unknown"
    cores = len(os.sched_getaffinity(0))
    return hashlib.sha256(f"{flags.split()} {cores} {tf.__version__}".encode()).hexdigest()[:16]


# Networks


def _built(options: str) -> dict:
    from cloud.commands import parse
    from pggan_tf.training import execution

    (plan,) = parse(["train", *shlex.split(options)], ROOT).plans
    gan = execution.build(plan, "float32", CLASSES)
    return {"generator": gan.generator, "discriminator": gan.discriminator}


def write_networks() -> None:
    shutil.rmtree(NETWORKS, ignore_errors=True)
    NETWORKS.mkdir()
    expected = {}
    for family, options in FAMILIES.items():
        for role, network in _built(options).items():
            if network is None:
                continue
            rng = np.random.default_rng(3)
            for variable in network.variables:  # biases and statistics too are to make a difference
                change = rng.normal(0, 0.3, variable.shape).astype(np.float32)
                variable.assign(variable + (np.abs(change) if variable.path.endswith("variance") else change))
            path = NETWORKS / f"{family}-{role}.keras"
            network.save(path)
            _compress(path)
            expected[path.name] = outputs(path)
    (NETWORKS / EXPECTED).write_text(json.dumps(expected) + "\n")


def _compress(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def outputs(path: Path) -> dict[str, list]:
    """What a saved network makes of fixed inputs: name of a pass -> [shape, numbers]."""
    network = _loaded(path)
    rng = np.random.default_rng(4)
    made = {}
    if hasattr(network, "latent_size"):
        z = rng.normal(size=(2, network.latent_size)).astype(np.float32)
        labels = {"labels": np.array([0, 1])} if network.classes else {}
        for resolution in network.resolutions:
            made[str(resolution)] = network(z, resolution=resolution, **labels)
    else:
        channels = getattr(network, "input_channels", network.channels)
        for resolution in network.resolutions:
            x = rng.uniform(-1, 1, (2, resolution, resolution, channels)).astype(np.float32)
            made[str(resolution)] = network(x)
    return {name: [list(y.shape), [float(f"{v:.5g}") for v in np.ravel(y)]] for name, y in made.items()}


def _loaded(path: Path):
    """As the product loads a generator; it never loads a discriminator, which Keras knows by the names of its classes."""
    import importlib

    import keras

    from pggan_tf import networks
    from pggan_tf.runs import generators

    if path.stem.endswith("generator"):
        return generators.load(path)
    for module in networks.list_modules():
        importlib.import_module(f"pggan_tf.networks.{module}")
    return keras.saving.load_model(path, compile=False)

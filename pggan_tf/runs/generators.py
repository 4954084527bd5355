"""Load the generators of runs and files, and test whether they are usable.

The generator of a run is the moving average of the weights that training updates. A finished one is
a float32 copy with calibrated batch normalisation, see `synthesis.finish`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pggan_tf import networks, tasks
from pggan_tf.config import Plan
from pggan_tf.data import marks
from pggan_tf.data.shards import Shards
from pggan_tf.data.writer import hash_file
from pggan_tf.errors import UserError
from pggan_tf.runs import checkpoint, folder, hub, keras_files, pretrained
from pggan_tf.synthesis import CALIBRATION_INPUTS, FromImages, FromLatents, calibration_latents, finish


def make_samples(plan: Plan, generator, shards) -> FromLatents | FromImages:
    """Return an object that makes the images that a run's grids show and its metrics measure.

    Args:
        plan: the run's plan.
        generator: the run's generator.
        shards: the run's data.
    """
    grid, held_out = plan.config.running.grid, plan.config.images.held_out
    if not plan.task.from_images:
        return FromLatents(generator, grid)
    return FromImages(generator, plan.task, shards, plan.target_res, max(1, grid // 3), held_out)


def describe_ruin(generator, inputs: np.ndarray) -> str | None:
    """Return a text such as 'its images are NaN or Inf' if a generator is useless, else None.

    The weights of the generator are tested, and images that it makes.

    Args:
        generator: the finished generator.
        inputs: latents or conditions (input images) to make the tested images from.
    """
    import tensorflow as tf

    named = {f"generator/{v.path.partition('/')[2]}": v.numpy() for v in generator.variables}
    if what := checkpoint.describe_ruin(named):
        return what
    labels = {"labels": generator.cycle_labels(len(inputs))} if generator.classes else {}
    images = generator(tf.constant(inputs), resolution=generator.resolutions[-1], **labels).numpy()
    return None if np.isfinite(images).all() else "its images are NaN or Inf"


def _from_checkpoint(run: Path, report):
    """Return the finished generator of a run that has not ended, from its newest checkpoint.

    It has the stages that have completely faded in.

    Args:
        run: the run's folder.
        report: called with messages about damaged checkpoints.
    """
    arrays, meta = checkpoint.read_newest(run, report)
    plan, environment = folder.read(run)
    dataset = environment["dataset"]
    try:
        phase = plan.phases[meta["phase"]]
    except (KeyError, IndexError, TypeError):
        raise UserError(
            f"{run}: its newest checkpoint is of another config.json. Restore the one of its run."
        ) from None
    resolutions = [r for r in plan.resolutions if r <= phase.resolution]
    if phase.fade and len(resolutions) > 1:
        resolutions.pop()  # leave out a block that is still fading in
    options = {**plan.network_options(dataset["classes"]), "resolutions": tuple(resolutions)}
    generator = networks.make_generator(plan.config.networks.network, options)
    generator.build()
    averages = {f"ema/{v.path.partition('/')[2]}": v for v in generator.get_checkpoint_variables()}
    checkpoint.restore(averages, {name: arrays[name] for name in averages if name in arrays}, str(run))
    if not plan.task.from_images:
        return finish(generator, calibration_latents(generator.latent_size))
    if not generator.get_batch_norms():
        return generator
    try:
        if dataset["folder"] is None:
            raise UserError("environment.json names no folder.")
        shards = Shards(dataset["folder"])
    except UserError as error:
        raise UserError(
            f"{run}: has not ended, and batch normalisation is measured on its data, which is gone ({error}) Train it to its end with --resume."
        ) from None
    return finish(generator, make_samples(plan, generator, shards).inputs(CALIBRATION_INPUTS))


def load(path: str | Path, report=print):
    """Return the generator, a Keras model, of a run's or exported folder, a `.keras` file or a hub.

    If a run has not ended, it is the moving average of its newest checkpoint.

    Args:
        path: the folder or file, a location on a hub, `hf://USER/NAME`, or the name of a pretrained
            run.
        report: called with messages about damaged checkpoints, or about a hub that is out of reach.

    Raises:
        UserError: if no generator can be loaded. If a run has a checkpoint in place of its damaged
            file, the message says so.
    """
    for module in networks.list_modules():  # registers the classes that the file may name
        importlib.import_module(f"pggan_tf.networks.{module}")
    if keras_files.is_location(path):
        return keras_files.load(hub.download(path, report) / keras_files.GENERATOR, str(path))
    path = Path(pretrained.locate(path))
    if keras_files.is_run(path) and not (path / keras_files.GENERATOR).is_file():
        return _from_checkpoint(path, report)
    try:
        return keras_files.load(keras_files.find(path))
    except UserError as error:
        if not keras_files.is_run(path) or not checkpoint.list_checkpoints(path):
            raise
        raise UserError(f"{error} If you delete it, the run's newest checkpoint is read in its place.") from None


def load_from_latents(path: str | Path, report=print):
    """Return a generator as `load` does, with the same arguments.

    Raises UserError if it converts images instead of making them from latents.
    """
    generator = load(path, report)
    task = tasks.task_of(generator)
    if task.from_images:
        raise UserError(
            f"{path}: was trained to {task.name}, not to generate from latents. Give it photos: pggan {task.verb}."
        )
    return generator


def find_weights(path: str | Path) -> Path:
    """Return the file with the weights of the generator that `load` returns for the same path.

    This is a .keras file, the weights in a folder that Keras saved, or the newest checkpoint of a
    run that has not ended. Raise UserError if there is none.
    """
    path = pretrained.locate(path)
    if keras_files.is_location(path):
        file = hub.download(path, lambda line: None) / keras_files.GENERATOR
    elif keras_files.is_run(Path(path)) and not (Path(path) / keras_files.GENERATOR).is_file():
        checkpoints = checkpoint.list_checkpoints(Path(path))
        if not checkpoints:
            raise UserError(f"{path}: has no generator and no checkpoint.")
        file = checkpoints[0]
    else:
        file = keras_files.find(Path(path))
    return file / keras_files.WEIGHTS if file.is_dir() else file


def list_weights(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yield (path for `load`, file with its weights) of every generator in a folder and below it."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != checkpoint.FOLDER)
        here = Path(place)
        for name in sorted(names):
            if name.endswith(".keras") and not name.startswith("."):
                yield here / name, here / name
        if keras_files.is_run(here) and keras_files.GENERATOR not in names:
            yield from ((here, file) for file in checkpoint.list_checkpoints(here)[:1])
        elif keras_files.is_model(here):
            yield here, here / keras_files.WEIGHTS


def make_mark(path: str | Path, source_type: str) -> marks.Mark:
    """Return what pictures say about themselves that the generator of a path makes or changes.

    Args:
        path: what the generator was loaded from, see `load`.
        source_type: how the pictures come about, the `source_type` of the generator's task.
    """
    file = find_weights(path)
    hub_name = hub.parse(path)[0].partition("/")[2] if keras_files.is_location(path) else None
    return marks.Mark(source_type, hub_name or _name_run(file), hash_file(file))


def _name_run(file: Path) -> str:
    """Return the name of the run whose weights a file holds; else that of its folder, or its own."""
    folder = file.parent.parent if file.parent.name == checkpoint.FOLDER else file.parent
    if not keras_files.is_run(folder) and keras_files.is_exported(folder):
        with contextlib.suppress(OSError, ValueError, RecursionError, KeyError, TypeError):
            return str(json.loads((folder / keras_files.REPORT).read_text())["source"])
    own = file.suffix == ".keras" and file.name != keras_files.GENERATOR and not keras_files.is_run(folder)
    return file.stem if own else folder.resolve().name

"""Write and read the folder of a run, and compare a run's options with newly requested ones.

Options, configs and plans are defined in the package `config`.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path

from pggan_tf import files, networks, schedule
from pggan_tf.config import FIELDS, Config, Plan, as_text, as_typed, flag, parsing
from pggan_tf.config.resolve import complete
from pggan_tf.data.shards import Shards
from pggan_tf.errors import TryAgain, UserError, shell_path
from pggan_tf.runs import checkpoint, keras_files, records
from pggan_tf.version import __version__

CONFIG, ENVIRONMENT, GENERATOR = keras_files.CONFIG, keras_files.ENVIRONMENT, keras_files.GENERATOR
STATS, LOG = "stats.jsonl", "log.txt"
BEST, BEST_GENERATOR = keras_files.BEST, keras_files.BEST_GENERATOR
_PACKAGES = ("tensorflow", "keras", "numpy", "opencv-python-headless", "pillow")


def write_json(path: Path, content) -> None:
    """Write a value as JSON to the file `path`, which is never incomplete.

    content: any value that JSON can store.
    """
    with files.atomic_write(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")


def tidy(folder: Path) -> None:
    """Remove unfinished files that killed processes left in a run's folder.

    Only files that nothing but training writes are removed, not those of a report, for example.
    """
    files.remove_partial(folder, "*.json", "*.jsonl", "*.keras", "*-reals.png", "*-fakes-*.png")


def create(parent: str | Path, name: str) -> Path:
    """Create the folder `parent`/00000-`name` of a new run and return its path.

    The number is the next free one in `parent`. Raises UserError if no folder can be created.
    """
    parent = Path(parent)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            used = [int(m[1]) for p in parent.iterdir() if (m := re.match(r"(\d{5,})-", p.name))]
            folder = parent / f"{max(used, default=-1) + 1:05d}-{name}"
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                continue  # another run took the number meanwhile
    except OSError as error:
        raise UserError(
            f"--runs {parent}: cannot be written ({error.strerror}). Choose a folder you may write to."
        ) from None


def make_name(recipe: str, data: str | Sequence[str] | None, size: str) -> str:
    """Return a name for a run's folder, without the number: 'recipe-data-size'.

    Args:
        recipe: name of the recipe.
        data: value of --data: a path, several, or None for drawn portraits.
        size: size of the last stage, such as '64' or '48x64'.
    """
    places = [data] if isinstance(data, str) else data or ["portraits"]
    source = re.sub(r"[^\w.-]+", "-", "-".join(Path(place).name for place in places))
    # File systems limit a name's bytes, and a letter may have four bytes.
    return f"{recipe}-{os.fsencode(source)[:80].decode(errors='ignore')}-{size}"


def reserve_folder(folder: Path) -> None:
    """Create the folder of a new run, or use an existing one.

    Raises UserError if an existing folder contains visible files other than an environment.json,
    which is all that a run killed at its start leaves.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = [p.name for p in folder.iterdir() if not p.name.startswith(".") and p.name != ENVIRONMENT]
    except OSError as error:
        raise UserError(
            f"--run {folder}: cannot be written ({error.strerror}). Choose a folder you may write to."
        ) from None
    if CONFIG in found:
        raise UserError(
            f"--run {folder}: another process has begun a run there just now. The same command goes on with it."
        )
    if found:
        raise UserError(f"--run {folder}: holds {min(found)} and is no run's folder. Choose an empty one.")


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Context manager that locks a run's folder while this process trains the run.

    It raises TryAgain if another process is training the run.
    """

    def refuse():
        raise TryAgain(f"{folder}: another process is training this run. Wait for it, or stop it.")

    with files.hold_lock(folder / ".lock", refuse):
        yield


def begin(folder: Path, plan: Plan, environment: dict) -> None:
    """Write config.json and environment.json of a new run.

    Args:
        folder: the run's folder, which is created if it does not exist.
        plan: the plan to train.
        environment: content of environment.json.
    """
    reserve_folder(folder)
    write_json(folder / ENVIRONMENT, environment)
    write_json(folder / CONFIG, plan.to_json())  # last: a folder with it is a run


def command_output(*command: str) -> str | None:
    """Return the text that a command prints, or None if it fails or prints nothing."""
    try:
        return (
            subprocess.run(
                command, capture_output=True, text=True, timeout=10, check=True, cwd=Path(__file__).parent
            ).stdout.strip()
            or None
        )
    except (OSError, subprocess.SubprocessError):
        return None


def processor() -> str:
    """Return the name of this machine's CPU."""
    try:
        return re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]
    except (OSError, TypeError):
        return platform.processor()


def environment(config: Config, dataset, policy: str) -> dict:
    """Return the content of environment.json, a dict: versions, machine, data, command of a run.

    Args:
        config: the run's config.
        dataset: the data, a `data.shards.Shards`.
        policy: the Keras dtype policy, such as 'float32' or 'mixed_bfloat16'.
    """
    import tensorflow as tf

    def version(package):
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            return None

    return {
        "pggan_tf": __version__,
        "commit": command_output("git", "rev-parse", "HEAD"),
        "python": platform.python_version(),
        "packages": {p: version(p) for p in _PACKAGES},
        "system": platform.platform(),
        "cpu": processor(),
        "cores": os.cpu_count(),
        "gpus": [
            tf.config.experimental.get_device_details(g).get("device_name", g.name)
            for g in tf.config.list_physical_devices("GPU")
        ],
        "precision": policy,
        "dataset": {
            "folder": str(dataset.folder.resolve()),
            "source": dataset.manifest.source,
            "images": len(dataset),
            "checksum": dataset.manifest.checksum,
            "classes": list(dataset.manifest.classes),
        },
        "seed": config.running.seed,
        "command": sys.argv,
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


class Log:
    """Function-like object that writes messages to the terminal and to a run's log.txt.

    Errors in writing the file are ignored.

    Args:
        folder: the run's folder; None: only the terminal.
        show: function that prints a message on the terminal.
    """

    def __init__(self, folder: Path | None = None, show=print):
        self.folder, self.show = folder, show

    def __call__(self, line: str) -> None:
        self.show(line)
        if self.folder:
            try:
                with (self.folder / LOG).open("a", encoding="utf-8", errors="replace") as file:
                    file.write(f"{datetime.now():%Y-%m-%d %H:%M:%S} {line}\n")
            except OSError:
                pass


def truncate_stats(folder: Path, images_seen: int) -> None:
    """Remove the lines of stats.jsonl that were written after `images_seen` images.

    A killed run wrote them after the checkpoint from which it is resumed, so it will write them
    again.

    folder: the run's folder.
    """
    path = folder / STATS
    if not path.is_file():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["images"] <= images_seen:
                kept.append(line)
        except (ValueError, KeyError, TypeError):
            continue  # an incomplete line, or a line that training did not write
    with files.atomic_write(path) as partial:
        partial.write_text("".join(f"{line}\n" for line in kept))


def check_same(folder: Path, plan: Plan, environment: dict, free: Collection[str]) -> None:
    """Raise UserError if a run that has begun was started with other options than those of `plan`.

    Args:
        folder: the run's folder.
        plan: the plan of the options that are requested now.
        environment: content of the run's environment.json.
        free: names of options that may differ.
    """
    if "asked" not in environment:
        raise UserError(
            f"--run {folder}: was begun by an older pggan-tf, which did not note its options. Give --resume."
        )
    written = parsing.from_json(environment["asked"])
    typed = [{n: v for n, v in asked.items() if n not in free} for asked in (written.asked or {}, plan.asked)]
    if written.asked is not None and typed[0] == typed[1]:  # only defaults may have changed since
        return
    then = complete(written.config)
    # What was typed otherwise is named before a default that is another one by now.
    for name in sorted(FIELDS, key=lambda name: typed[0].get(name) == typed[1].get(name)):
        before, now = then.value(name), plan.config.value(name)
        if name not in free and before != now:
            raise UserError(
                f"{as_typed(name, now)}: the run in {folder} was begun with {as_text(before)}, and is gone on with exactly. "
                f"For others give another --run{_from_its_weights(then, name, folder)}."
            )


def _from_its_weights(config: Config, name: str, folder: Path) -> str:
    """Return the end of a message: a hint to start a new run from a run's weights.

    It is '' if the new run's networks would differ, so that they cannot use the weights.

    Args:
        config: config of the old run.
        name: the option that has another value in the new run.
        folder: folder of the old run.
    """
    same = name in networks.NETWORKS[config.networks.network].options_of_weights
    return "" if same else f", with --init-from {shell_path(folder)} to start from its weights"


def refuse_changes(folder: Path, plan: Plan, environment: dict, options: Mapping, free: Collection[str]) -> None:
    """Raise UserError if an option given with --resume differs from the run's options.

    Args:
        folder: the run's folder.
        plan: the run's plan.
        environment: content of the run's environment.json.
        options: {option: value} given with --resume.
        free: names of options that may differ.
    """
    written = parsing.from_json(environment["asked"]) if "asked" in environment else None
    asked = written.config if written else plan.config
    for name, value in options.items():
        if written and written.asked and name in written.asked and written.asked[name] == value:
            continue  # a plan may have other values, such as the rest of --total-images in --stable-images
        planned, begun = plan.config.value(name), asked.value(name)
        if isinstance(value, dict) and planned:
            value = {resolution: schedule.lookup(value, resolution) for resolution in planned}
            if name == "fade_images":
                value[min(value)] = 0  # as in every plan
        if value == parsing.AUTO and name in parsing.DECIDED_ONCE:
            continue  # what it stood for when the run was started stays
        if name not in free and value not in (planned, begun):
            before = planned if begun is None else begun
            started = "without it" if before is None else f"with {as_text(before)}"
            raise UserError(
                f"{as_typed(name, value)}: {folder} was started {started}, and --resume goes on exactly. "
                f"For others start a new run{_from_its_weights(plan.config, name, folder)}."
            )


def check_weights(plan: Plan, source: Path) -> None:
    """Raise UserError if the networks of a new run cannot start with the weights of another run.

    Args:
        plan: plan of the new run.
        source: folder of the other run, given with --init-from.
    """
    theirs, architecture = read(source)[0], plan.architecture
    if not checkpoint.list_checkpoints(source):
        raise UserError(f"--init-from {source}: it has no checkpoint yet. Give a run that has begun to train.")
    for name in architecture.options_of_weights:
        there, here = theirs.config.value(name), plan.config.value(name)
        alike = there == here or there is None
        if name == "stddev_group":
            alike = (there > 1) == (here > 1)
        if not alike:
            raise UserError(
                f"--init-from {source}: {flag(name)} is {as_text(there)} there and {as_text(here)} here. Weights only go with the same "
                f"networks: give {as_typed(name, there)}."
            )
    common = min(len(theirs.resolutions), len(plan.resolutions))
    if architecture.grows and theirs.resolutions[:common] != plan.resolutions[:common]:
        raise UserError(
            f"--init-from {source}: it grew through {', '.join(map(str, theirs.resolutions))} px, which does not begin like "
            f"{', '.join(map(str, plan.resolutions))}. Give --resolutions that begin alike."
        )
    there, here = (str(p.config.purpose.patch or p.size) for p in (theirs, plan))
    adversarial = theirs.loss.adversarial and plan.loss.adversarial
    discriminators = "patch" in architecture.structure and adversarial  # they are built for one size
    if not architecture.grows and there != here and (discriminators or not architecture.any_size):
        name = "patch" if architecture.any_size else "target_res"
        raise UserError(
            f"--init-from {source}: its networks are made for {there} px, these for {here}: give {as_typed(name, there)}."
        )


def read(folder: str | Path) -> tuple[Plan, dict]:
    """Return (plan, content of environment.json) of the run in a folder.

    Raises UserError if it is not a run's folder, or if a file cannot be read.
    """
    folder = Path(folder)
    keras_files.check_run(folder)
    written = parsing.read(folder / CONFIG)
    return Plan(written.config, written.asked or {}), records.read_environment(folder / ENVIRONMENT)


def check_data(folder: Path, shards: Shards, environment: dict) -> None:
    """Raise UserError if the data is not the data that the run was trained on.

    Args:
        folder: the run's folder.
        shards: the data.
        environment: content of the run's environment.json.
    """
    theirs = environment["dataset"]
    if theirs["checksum"] is None or "precision" not in environment:
        raise UserError(
            f"{folder / ENVIRONMENT}: does not say on which data it was trained, or in which precision. "
            f"Restore the file, or start a new run with --init-from {shell_path(folder)}."
        )
    if shards.manifest.checksum != theirs["checksum"]:
        raise UserError(
            f"{folder}: its data was {theirs['source']} with {theirs['images']} images (checksum {theirs['checksum'][:12]}), "
            f"now it is {shards.manifest.source} with {len(shards)} ({shards.manifest.checksum[:12]}). "
            f"Restore the data, or start a new run with --init-from {shell_path(folder)}."
        )

"""Starts runs: new ones, resumed ones, and ones that begin with another's weights."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from pggan_tf import __version__, checkpoint, files, growth, networks, objectives, pipeline
from pggan_tf import config as configs
from pggan_tf.config import Config
from pggan_tf.errors import TryAgain, UserError, shell_path
from pggan_tf.shards import Shards, cache_folder
from pggan_tf.training import distribution, loop, precision, scores, tracking
from pggan_tf.training import run as runs
from pggan_tf.training.cluster import ALONE, Cluster

# What may differ when a run is resumed: nothing of it changes a weight by more than rounding.
FREE_ON_RESUME = (
    "strategy",
    "xla",
    "data",
    "keep_checkpoints",
    "checkpoint_minutes",
    "report",
    "init_from",
    "vgg_weights",
    "inception_weights",
    "log",
)


def _initial(config: Config, classes: Sequence[str], say) -> tuple[Config, dict]:
    """For --init-from: (the config without the stages that its weights have been through, their arrays).

    The last stage that had faded in whole is trained on; what is above it grows.
    """
    source = Path(config.init_from)
    theirs, environment = runs.read(source)
    arrays, meta = checkpoint.newest(source, say)
    if config.conditional and (there := environment["dataset"]["classes"]) != list(classes):
        raise UserError(
            f"--init-from {source}: its classes are {', '.join(there)}, here {', '.join(classes) or 'none'}. A conditional network goes "
            "with the same classes in the same order."
        )
    if not networks.NETWORKS[config.network].grows:
        return config, arrays
    phase = configs.schedule(theirs)[meta["phase"]]
    whole = phase.resolution if not phase.fade or meta["images_seen"] >= phase.end else 0
    last = max((r for r in config.resolutions if r < phase.resolution or r == whole), default=config.resolutions[0])
    fade = {r: 0 if r <= last else n for r, n in config.fade_images.items()}
    stable = {r: 0 if r < last else n for r, n in config.stable_images.items()}
    return dataclasses.replace(config, fade_images=fade, stable_images=stable), arrays


@contextlib.contextmanager
def _alone(folder: Path):
    """Two processes in one run's folder would write over each other."""

    def refuse():
        raise TryAgain(f"{folder}: another process is training this run. Wait for it, or stop it.")

    with files.locked(folder / ".lock", refuse):
        yield


MOST_SNAPSHOTS = 200  # of a run that takes one every so many epochs

# Where something lies may differ from machine to machine.
_PLACES = ("data", "init_from", "vgg_weights", "inception_weights")


SHARED_SECONDS = 90.0  # a mounted folder may show a file that late to other machines


def _await(path: Path, cluster: Cluster) -> Path:
    """A file that the chief sees, once it is seen here too."""
    deadline = time.monotonic() + SHARED_SECONDS
    while not path.is_file():
        if time.monotonic() > deadline:
            raise TryAgain(
                f"{path}: {cluster.name(0)} has it, and it is not here. The run's folder has to lie where all machines see it."
            )
        time.sleep(0.5)
    return path


def _check_devices(config: Config, strategy, say) -> None:
    """Refuses batches that the devices cannot share."""
    import tensorflow as tf

    devices = strategy.num_replicas_in_sync
    if tf.config.list_logical_devices("GPU"):
        if config.conv == "separable" and not precision.by_xla(config, strategy):
            # TensorFlow has no depthwise convolution of this kind for GPUs, and would refuse to train.
            say(
                "separable convolutions on GPUs without XLA: a resumed run goes on to rounding, not to the last bit; --conv standard "
                "would do that"
            )
        else:
            tf.config.experimental.enable_op_determinism()  # else a resumed run would differ in the last bits
    if config.xla == "on" and (devices > 1 or config.degrade):
        what = f"{devices} devices talk within a step" if devices > 1 else "--degrade writes JPEG"
        raise UserError(f"--xla on: {what}, which XLA does not compile here. Give --xla off.")
    if devices > 1 and objectives.LOSSES[config.loss].compares_with_batch:
        raise UserError(
            f"--loss {config.loss} on {devices} devices: each would compare with its own images' mean. Use one device."
        )
    for resolution, batch in config.batch.items():
        if batch % devices:
            raise UserError(f"--batch {batch} at {resolution} px: {devices} devices cannot share it evenly.")
        group, share = config.stddev_group, batch // devices
        alone = config.minibatch == "stddev" and not config.sync_batch
        if devices > 1 and alone and share > group > 1 and share % group:
            raise UserError(
                f"--batch {batch} at {resolution} px on {devices} devices: {share} images each, not a multiple of --stddev-group {group}. "
                "Give another, or --sync-batch."
            )


def with_snapshots(config: Config, epochs: float | None, shards: Shards) -> Config:
    """The config with a snapshot every so many epochs of its images; of a long training on few photos, every several times as many:
    a grid of each would take longer than the training."""
    if epochs is None:
        return config
    every = max(1, round(epochs * pipeline.kept(shards, config.resolutions[-1], config.held_out)))
    several = -(-configs.schedule(config)[-1].end // (MOST_SNAPSHOTS * every))
    return dataclasses.replace(config, snapshot_images=several * every, snapshot_epochs=None)


def _own_places(theirs: dict, config: Config) -> Config:
    """The chief's config, with this machine's places."""
    return dataclasses.replace(configs.from_dict(theirs), **{name: getattr(config, name) for name in _PLACES})


def start(
    config: Config,
    shards: Shards,
    parent: str,
    *,
    folder: Path | None = None,
    dry_run: bool = False,
    started: float | None = None,
    cache: str | None = None,
    say=print,
    cluster: Cluster = ALONE,
) -> Path | None:
    """Plans and trains a new run of a completed config; returns its folder: `folder`, or a new one in `parent`. If a run was
    begun in `folder` by the same config, goes on with that.

    started: time.monotonic() when the command began, for --minutes. cache: see shards.cache_folder.
    """
    with distribution.joined(config.strategy, cluster) as strategy:
        begun = bool(folder) and not dry_run and (folder / runs.CONFIG).is_file()
        if cluster.everyone(begun)[0]:  # as the chief sees it
            asked = config
            _await(folder / runs.CONFIG, cluster)
            config, environment = runs.read(folder)
            runs.check_same(folder, asked, environment, FREE_ON_RESUME)
            config = dataclasses.replace(config, **{name: getattr(asked, name) for name in FREE_ON_RESUME})
            _check_data(folder, shards, environment)
            _resume(folder, config, environment["precision"], shards, cache, say, cluster, strategy)
            return folder
        return _start(config, shards, parent, folder, dry_run, started, cache, say, cluster, strategy)


def _start(
    config: Config,
    shards: Shards,
    parent: str,
    folder: Path | None,
    dry_run: bool,
    started: float | None,
    cache: str | None,
    say,
    cluster: Cluster,
    strategy,
) -> Path | None:
    started = time.monotonic() if started is None else started
    asked = config
    if cluster.chief and not os.access(_existing(folder or Path(parent)), os.W_OK | os.X_OK):
        given = f"--run {folder}" if folder else f"--runs {parent}"
        raise UserError(f"{given}: cannot be written. Choose a folder you may write to.")
    config = with_snapshots(config, asked.snapshot_epochs, shards)
    _check_devices(config, strategy, say)
    policy = precision.policy(config.precision)
    options = {configs.flag(k): v for k, v in configs.to_dict(config).items() if k not in _PLACES}
    cluster.agree(**{"pggan-tf": __version__}, **options, policy=policy, checksum=shards.manifest.checksum)
    measuring = scores.Scores(config, cache_folder(cache), say) if config.metrics and cluster.chief else None
    arrays = None
    if config.init_from:
        config, arrays = _initial(config, shards.manifest.classes, say)
    with strategy.scope():
        gan = loop.build(config, policy, shards.manifest.classes)
    if arrays:
        loop.load_weights(gan, arrays, config.init_from)
    del arrays  # see _resume
    minutes = config.minutes
    devices = f"{policy}, {strategy.num_replicas_in_sync} device{'s' * (strategy.num_replicas_in_sync > 1)}"
    speeds, costs = {}, {}
    if config.probe or minutes is not None:
        say(f"measuring the speed of every stage ({devices})")
        speeds = loop.probe(config, shards, strategy, policy, cluster)
    if minutes is not None and cluster.chief:  # the others take over its plan
        if measuring:
            say("measuring how long the metrics of every stage take")
            costs = measuring.seconds(gan.ema, shards, config.resolutions)
        spent = time.monotonic() - started
        planned = loop.planned_for_minutes(config, speeds, spent, costs)
        config = with_snapshots(planned, asked.snapshot_epochs, shards)
    config = _own_places(cluster.everyone(configs.to_dict(config))[0], config)
    phases = configs.schedule(config)
    if dry_run:
        say(json.dumps(configs.to_dict(config), indent=1))
    for line in configs.longer_than_asked(config, phases):
        say(line)
    say(growth.table(phases, speeds))
    metrics_seconds = loop.measuring_seconds(config, costs)
    if costs:
        say(f"and {metrics_seconds / 60:.1f} minutes for the metrics")
    if dry_run:
        return None
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    elif cluster.chief:
        folder = runs.create(parent, runs.named(config.recipe, config.data, config.target_res))
    folder = Path(cluster.everyone(str(folder))[0])
    cluster.trains(folder)
    if not cluster.chief:
        say(f"worker {cluster.index} of {len(cluster.addresses)} trains; the chief writes {folder}")
        loop.Run(config, folder, shards, gan, strategy, say, phases, speeds, cluster=cluster).train()
        return folder
    with _alone(folder):
        runs.claim(folder)
        environment = {
            **runs.environment(config, shards, policy),
            "planned_for_minutes": minutes,
            "asked": configs.to_dict(asked),
        }
        runs.write_json(folder / runs.ENVIRONMENT, environment)
        runs.write_json(folder / runs.CONFIG, configs.to_dict(config))
        log = runs.Log(folder, say)
        log(f"run {folder}")
        text = f"{len(shards):,} images, {phases[-1].end:,} to be seen"
        if speeds:
            expected = sum(growth.expected_seconds(p, speeds) for p in phases) + metrics_seconds
            text += f"; the full schedule should take {expected / 60:.1f} minutes on this machine"
            text += ", and the metrics besides" if measuring and not costs else ""
        log(text)
        log(gan.how_updated(phases[0].resolution))
        if config.task != "generate":
            log("in grids, three by three: what is given, what is made of it, the original")
        run = loop.Run(config, folder, shards, gan, strategy, log, phases, speeds, measuring=measuring, cluster=cluster)
        run.train()
    return folder


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def resume(
    folder: str, shards_for, changes: dict, cache: str | None = None, say=print, cluster: Cluster = ALONE
) -> Path:
    """Goes on with a run exactly where its newest whole checkpoint stands. changes: options given beside --resume.

    shards_for: config, environment -> Shards; the data may have moved, its checksum decides.
    """
    folder = Path(folder)
    config, environment = runs.read(folder)
    runs.refuse_changes(folder, config, environment, changes, FREE_ON_RESUME)
    config = dataclasses.replace(config, **{k: v for k, v in changes.items() if k in FREE_ON_RESUME})
    tracking.check(config.log)
    shards = shards_for(config, environment)
    _check_data(folder, shards, environment)
    with distribution.joined(config.strategy, cluster) as strategy:
        _resume(folder, config, environment["precision"], shards, cache, say, cluster, strategy)
    return folder


def _check_data(folder: Path, shards: Shards, environment: dict) -> None:
    theirs = environment["dataset"]
    if theirs["checksum"] is None or "precision" not in environment:
        raise UserError(
            f"{folder / runs.ENVIRONMENT}: does not say on which data it was trained, or in which precision. "
            f"Restore the file, or start a new run with --init-from {shell_path(folder)}."
        )
    if shards.manifest.checksum != theirs["checksum"]:
        raise UserError(
            f"{folder}: its data was {theirs['source']} with {theirs['images']} images (checksum {theirs['checksum'][:12]}), "
            f"now it is {shards.manifest.source} with {len(shards)} ({shards.manifest.checksum[:12]}). "
            f"Restore the data, or start a new run with --init-from {shell_path(folder)}."
        )


def _resume(folder: Path, config: Config, policy: str, shards: Shards, cache, say, cluster: Cluster, strategy) -> None:
    cluster.trains(folder)
    cluster.agree(**{"pggan-tf": __version__})
    _check_devices(config, strategy, say)
    measuring = scores.Scores(config, cache_folder(cache), say) if config.metrics and cluster.chief else None
    log = runs.Log(folder, say) if cluster.chief else say
    phases = configs.schedule(config)
    with _alone(folder) if cluster.chief else contextlib.nullcontext():
        with strategy.scope():
            gan = loop.build(config, policy, shards.manifest.classes)
        run = loop.Run(config, folder, shards, gan, strategy, log, phases, measuring=measuring, cluster=cluster)
        found = checkpoint.newest(folder, log) if cluster.chief and checkpoint.saved(folder) else None
        images = cluster.everyone(found and found[1]["images_seen"])[0]
        if images is not None:
            if cluster.chief:
                checkpoint.tidy(folder)
                runs.tidy(folder)
            else:
                found = checkpoint.read(_await(checkpoint.path_for(folder, images), cluster))
            run.restore(*found)
            del found  # as large as the networks and their optimisers, and a run may last for days
        elif config.init_from:
            loop.load_weights(gan, checkpoint.newest(Path(config.init_from), log)[0], config.init_from)
        if cluster.chief:
            runs.forget_after(folder, run.images_seen)
        log(f"resuming {folder} at {run.images_seen:,} of {phases[-1].end:,} images")
        log(gan.how_updated(run.phase.resolution))
        run.train()

"""Starts runs: new ones, resumed ones, and ones that begin with another's weights."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path

from pggan_tf import config as configs
from pggan_tf import growth
from pggan_tf.config import Config
from pggan_tf.errors import UserError
from pggan_tf.shards import Shards
from pggan_tf.training import checkpoint, distribution, loop, precision
from pggan_tf.training import run as runs

# What may differ when a run is resumed: nothing of it changes a weight.
FREE_ON_RESUME = ("keep_checkpoints", "checkpoint_minutes")


def _without_trained(config: Config, trained: tuple[int, ...]) -> Config:
    """The schedule without the stages below the last that the starting weights have been through, and without its fade."""
    last = max((r for r in config.resolutions if r in trained), default=config.resolutions[0])
    fade = {r: 0 if r <= last else n for r, n in config.fade_images.items()}
    stable = {r: 0 if r < last else n for r, n in config.stable_images.items()}
    return dataclasses.replace(config, fade_images=fade, stable_images=stable)


def start(
    config: Config,
    shards: Shards,
    parent: str,
    *,
    init_from: str | None = None,
    dry_run: bool = False,
    started: float | None = None,
    say=print,
) -> Path | None:
    """Plans and trains a new run of a completed config; returns its folder. started: time.monotonic() when the command began, for --minutes."""
    started = time.monotonic() if started is None else started
    if not os.access(_existing(Path(parent)), os.W_OK | os.X_OK):
        raise UserError(f"--runs {parent}: cannot be written. Choose a folder you may write to.")
    strategy = distribution.strategy()
    policy = precision.policy(config.precision)
    if init_from:
        source = Path(init_from)
        source_config, _ = runs.read(source)
        arrays, meta = checkpoint.newest(source, say)
        config = _without_trained(
            config, tuple(p.resolution for p in configs.schedule(source_config)[: meta["phase"] + 1])
        )
    with strategy.scope():
        gan = loop.build(config, policy)
    if init_from:
        loop.load_weights(gan, arrays, init_from)
    minutes = config.minutes
    say(
        f"measuring the speed of every stage ({policy}, {strategy.num_replicas_in_sync} device{'s' * (strategy.num_replicas_in_sync > 1)})"
    )
    speeds = loop.probe(config, shards, strategy, policy)
    if minutes is not None:
        config = loop.planned_for_minutes(config, speeds, time.monotonic() - started)
    phases = configs.schedule(config)
    if dry_run:
        say(json.dumps(configs.to_dict(config), indent=1))
    say(growth.table(phases, speeds))
    if dry_run:
        return None
    folder = runs.create(
        parent,
        f"{config.recipe}-{Path(config.data).resolve().name if config.data else 'portraits'}-{config.target_res}",
    )
    runs.write_json(
        folder / runs.ENVIRONMENT,
        {**runs.environment(config, shards, policy), "init_from": init_from, "planned_for_minutes": minutes},
    )
    runs.write_json(folder / runs.CONFIG, configs.to_dict(config))
    log = runs.Log(folder, say)
    log(f"run {folder}")
    expected = sum(growth.expected_seconds(p, speeds) for p in phases)
    log(
        f"{len(shards):,} images, {phases[-1].end:,} to be seen; the full schedule should take {expected / 60:.1f} minutes on this machine"
    )
    loop.Run(config, folder, shards, gan, strategy, log, phases, speeds).train()
    return folder


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def resume(folder: str, shards_for, changes: dict, say=print) -> Path:
    """Goes on with a run exactly where its newest whole checkpoint stands. changes: options given beside --resume.

    shards_for: config -> Shards.
    """
    folder = Path(folder)
    config, environment = runs.read(folder)
    for name, value in changes.items():
        if name not in FREE_ON_RESUME and value != getattr(config, name):
            raise UserError(
                f"{configs.flag(name)} {value}: {folder} was started with {getattr(config, name)}, and --resume goes on exactly. "
                f"For other settings start a new run with --init-from {folder}."
            )
    config = dataclasses.replace(config, **{k: v for k, v in changes.items() if k in FREE_ON_RESUME})
    shards = shards_for(config)
    if shards.manifest.checksum != environment["dataset"]["checksum"]:
        raise UserError(
            f"--resume {folder}: its data was {environment['dataset']['source']} with {environment['dataset']['images']} images "
            f"(checksum {environment['dataset']['checksum'][:12]}), now it is {shards.manifest.source} with {len(shards)} "
            f"({shards.manifest.checksum[:12]}). Restore the data, or start a new run with --init-from {folder}."
        )
    strategy = distribution.strategy()
    log = runs.Log(folder, say)
    phases = configs.schedule(config)
    with strategy.scope():
        gan = loop.build(config, environment["precision"])
    run = loop.Run(config, folder, shards, gan, strategy, log, phases)
    if checkpoint.saved(folder):
        arrays, meta = checkpoint.newest(folder, log)
        run.restore(arrays, meta)
    elif environment.get("init_from"):
        loop.load_weights(gan, checkpoint.newest(Path(environment["init_from"]), log)[0], environment["init_from"])
    runs.forget_after(folder, run.images_seen)
    log(f"resuming {folder} at {run.images_seen:,} of {phases[-1].end:,} images")
    run.train()
    return folder

"""The command line: verbs -> config -> one call. Heavy things are imported inside the verbs, so that --help answers at once."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import importlib
import json
import time
from pathlib import Path

import click

from pggan_tf import config as configs
from pggan_tf import growth, options, pixels, recipes, terminal
from pggan_tf.errors import DamagedFile, Stopped, TryAgain, UserError, is_out_of_memory, memory_for, nearest, shell_path


class _Field(click.ParamType):
    """A value of one config field, checked as soon as it is read."""

    def __init__(self, name: str):
        self.field = name
        kind = configs.base_type(name)
        self.name = {int: "number", float: "number", str: "text"}.get(
            kind, "res=value,…" if str(kind).startswith("dict") else "a,b,…"
        )

    def convert(self, value, param, ctx):
        return configs.parse(self.field, value)


def _given_again(ctx, param, values: tuple):
    """What an option that may be given several times comes to."""
    return configs.parse(param.name, values) if values else None


def _config_options(command):
    """One option for every field of Config. What is not given stays None, so that recipes and files can fill it."""
    for name, field in reversed(configs.FIELDS.items()):
        default = field.default_factory() if field.default is dataclasses.MISSING else field.default
        if configs.base_type(name) is bool:
            declaration = f"{configs.as_given(name, True)}/{configs.as_given(name, False)}"
            option = click.option(
                declaration, name, default=None, help=f"{field.metadata['help']}  [{'yes' if default else 'no'}]"
            )
        else:
            shown = None if default is None else configs.typed(default)
            text = field.metadata["help"] + (
                f": {', '.join(field.metadata['choices'])}" if field.metadata["choices"] else ""
            )
            if name == "recipe":
                text += f": {', '.join([*recipes.RECIPES, *recipes.PIPELINES])}"
            again = {"multiple": True, "callback": _given_again} if name in configs.SEVERAL else {}
            option = click.option(
                configs.flag(name),
                name,
                type=_Field(name),
                default=None,
                help=text + (f"  [{shown}]" if shown is not None else ""),
                **again,
            )
        command = option(command)
    return command


# Verbs that live in other rooms: name -> module with a click command `command`, imported when it is asked for.
VERBS = {
    "faces": "preprocessing.faces",
    "prepare": "preprocessing.prepare",
    "inspect": "preprocessing.inspect",
    "colorize": "pggan_tf.convert.colorize",
    "upscale": "pggan_tf.convert.upscale",
    "translate": "pggan_tf.convert.translate",
    "report": "pggan_tf.explore.report",
    "compare": "pggan_tf.explore.compare",
    "interpolate": "pggan_tf.explore.interpolate",
    "grid": "pggan_tf.explore.grid",
    "project": "pggan_tf.explore.project",
    "neighbours": "pggan_tf.explore.neighbours",
    "evaluate": "pggan_tf.evaluate",
    "export": "export.command",
    "serve": "export.serve",
}


class _Verbs(click.Group):
    def list_commands(self, ctx):
        return [*super().list_commands(ctx), *VERBS]

    def get_command(self, ctx, name):
        if name in VERBS:
            return importlib.import_module(VERBS[name]).command
        return super().get_command(ctx, name)

    def resolve_command(self, ctx, args):
        if args and self.get_command(ctx, args[0]) is None:
            raise UserError(f"{args[0]}: no such command; {nearest(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="pggan-tf")
def cli():
    """Grow a GAN on your own photos, and take it to a phone."""


def _shards(config: configs.Config, cache: str | None, check_only: bool = False):
    from preprocessing import cache as cached

    with terminal.progress() as progress:
        return cached.shards_for(
            config.data,
            cache,
            config.target_res,
            config.resolutions,
            filter=config.filter,
            channels=configs.data_channels(config),
            upscale_small=config.upscale_small,
            crop=config.crop,
            count=config.portraits,
            say=click.echo,
            progress=progress,
            check_classes=lambda classes: configs.network_options(config, classes),
            check_only=check_only,
        )


@cli.command()
@_config_options
@click.option("--config", "config_file", help="config.json of a run to repeat; other options change it")
@click.option("--resume", help="folder of a run to go on with, exactly where it stopped")
@click.option("--runs", help="folder that the run's folder is made in  [runs]")
@click.option(
    "--run",
    "own_folder",
    help="the run's own folder: begun there, or, if it was, gone on with. For jobs that may be restarted",
)
@click.option("--cache", help="folder for prepared data  [$PGGAN_CACHE, else ~/.cache/pggan-tf]")
@click.option("--dry-run", is_flag=True, help="print the whole config and the plan, and train nothing")
@click.option("--workers", help="host:port of every machine that trains, the same on all, or set TF_CONFIG")
@click.option(
    "--worker-index", type=int, help="which of --workers this machine is, from 0; the first one writes the run"
)
@click.option(
    "--worker-timeout",
    type=click.FloatRange(0.01),
    default=5.0,
    show_default=True,
    help="minutes to wait for --workers",
)
def train(config_file, resume, runs, own_folder, cache, dry_run, workers, worker_index, worker_timeout, **given):
    """Grow a generator: on --data, or on drawn portraits."""
    started = time.monotonic()
    from pggan_tf.training import cluster as clusters

    cluster = clusters.cluster(workers, worker_index, worker_timeout)
    given = {k: v for k, v in given.items() if v is not None}
    given = options.absolute(given)  # a run may be resumed from another folder
    if own_folder and (resume or runs):
        raise UserError(f"--run and {'--resume' if resume else '--runs'}: give one of them.")
    if resume:
        if config_file or dry_run:
            raise UserError("--resume goes with neither --config nor --dry-run: a run goes on with its own config.")
        terminal.start_tensorflow()
        from pggan_tf.training import session

        again = functools.partial(_shards_again, cache=cache, moved="data" in given)
        click.echo(session.resume(resume, again, given, cache, click.echo, cluster))
        return
    own = Path(own_folder) if own_folder else None
    wanted = options.asked(config_file, given, cache, own)
    if len(wanted) > 1 and cluster.addresses:
        each = " and ".join(f"--recipe {config.recipe}" for config in wanted)
        raise UserError(f"--recipe {given['recipe']} trains one run after the other: on several machines give {each}.")
    several = len(wanted) > 1
    folders = [own and own / config.recipe if several else own for config in wanted]
    planned = dry_run and not any(c.minutes is not None or c.init_from is not None or c.probe for c in wanted)
    # All data first: the second run's must not be missed when the first has trained for hours.
    data = [_data(*each, cache, dry_run, check_only=planned) for each in zip(wanted, folders)]
    if several and not own and not dry_run:
        from pggan_tf.training import run

        own = run.create(runs or "runs", run.named(given["recipe"], wanted[-1].data, wanted[-1].target_res))
        folders = [own / config.recipe for config in wanted]
    for i, (config, shards) in enumerate(zip(wanted, data)):
        if several:
            click.echo(f"{config.recipe}, {config.target_res} px")
        if planned:
            click.echo(json.dumps(configs.to_dict(config), indent=1))
            phases = configs.schedule(config)
            click.echo("\n".join([*configs.longer_than_asked(config, phases), growth.table(phases)]))
            continue
        terminal.start_tensorflow()
        from pggan_tf.training import session

        try:
            folders[i] = session.start(
                config,
                shards,
                runs or "runs",
                folder=folders[i],
                dry_run=dry_run,
                started=started,
                cache=cache,
                say=click.echo,
                cluster=cluster,
            )
        except Stopped as stopped:
            if not several:
                raise
            raise Stopped(
                f"{stopped} (to go on with all {len(wanted)} runs: the same command, --run {shell_path(own)})",
                stopped.code,
            ) from None
        if folders[i]:
            click.echo(folders[i])
        started = time.monotonic()
    if several and not dry_run:
        click.echo(f"to use them together: pggan generate {folders[0]} --upscale {folders[1]} --grid faces.png")


def _data(config: configs.Config, folder: Path | None, cache: str | None, dry_run: bool, check_only: bool):
    """The shards of a run that is to be trained in `folder`, or gone on with there; what can be refused by now is. check_only:
    that alone, see `cache.shards_for`."""
    from pggan_tf.training import run, tracking

    tracking.check(config.log)
    begun = folder and (folder / run.CONFIG).is_file()
    if folder and not begun and not dry_run:
        new = [place for place in (folder, *folder.parents) if not place.exists()]
        click.get_current_context().call_on_close(lambda: _remove_empty(new))
        run.claim(folder)
    if begun:
        return _shards_again(config, run.read(folder)[1], cache, moved=False, check_only=check_only)
    return _shards(config, cache, check_only)


def _remove_empty(folders: list[Path]) -> None:
    """Of what is refused or stopped before it has begun, nothing stays."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _shards_again(config: configs.Config, environment: dict, cache: str | None, moved: bool, check_only: bool = False):
    """The data of a run to be resumed: as they were kept, whatever has come to the source since, else prepared again. moved: the
    user says where they are now."""
    from pggan_tf import shards

    known = environment["dataset"]
    if not moved and known["folder"] and shards.is_shards(known["folder"]):
        try:
            kept = shards.Shards(known["folder"])
        except DamagedFile:
            kept = None
        if kept and kept.manifest.checksum == known["checksum"]:
            return kept
    return _shards(config, cache, check_only)


@cli.command()
@click.argument("source")
@click.option("--seeds", help="which images, such as 0-63 or 1,5,7-9  [0-63]")
@click.option("--count", type=click.IntRange(1), help="so many images, from seed 0 on")
@click.option("--grid", help="write all of them as one picture")
@click.option("--npz", help="write all of them as uint8 'images' [N,H,W,C]")
@click.option("--dir", "folder", help="write each as a .png into this folder")
@click.option("--class", "class_name", help="images of this class, from a conditional generator  [every class in turn]")
@click.option("--negative", is_flag=True, help="light and dark exchanged: 1 - G(z), as the gray horses were shown")
@click.option("--recolor", help="run that colours the gray images: --recipe recolor, or colorize")
@click.option("--upscale", help="run that enlarges the images: --recipe srgan")
@click.option("--stage", type=int, help="resolution to generate at  [the last that was trained]")
@click.option(
    "--truncation",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="below 1: less varied, more typical images",
)
@memory_for(
    "images are made", "Give a smaller --stage, or fewer by --count or --seeds: --grid holds all of them at once."
)
def generate(source, seeds, count, grid, npz, folder, class_name, negative, recolor, upscale, stage, truncation):
    """Images out of SOURCE, a run's folder or a generator.keras."""
    if seeds and count:
        raise UserError("--seeds and --count: give one of them.")
    if not (grid or npz or folder):
        raise UserError("nowhere to write: give --grid FILE, --npz FILE or --dir FOLDER.")
    from pggan_tf import synthesis
    from pggan_tf.convert import conversion

    if npz and not npz.endswith(".npz"):
        raise UserError(f"--npz {npz}: expected a name that ends in .npz.")
    if count and count > synthesis.MOST_SEEDS:
        raise UserError(f"--count {count}: expected {synthesis.MOST_SEEDS:,} at most. Others by --seeds FIRST-LAST.")
    numbers = synthesis.parse_seeds(seeds) if seeds else list(range(count or 64))
    if grid:
        pixels.check_picture("--grid", grid)
    if npz:
        pixels.check_file("--npz", npz)
    if folder:
        pixels.check_file("--dir", _numbered(folder, numbers[0]))
    terminal.start_tensorflow()
    generator = synthesis.load_from_latents(source)
    stage = synthesis.choose_stage(generator, source, stage)
    labels = synthesis.choose_labels(generator, source, class_name, numbers)
    changes, scale = [], 1
    if recolor:
        from pggan_tf.convert import colorize

        changes.append(colorize.colorizer(conversion.network_for(recolor, colorize.TASKS, "colorize")))
    if upscale:
        from pggan_tf.convert import upscale as upscaling

        network = conversion.network_for(upscale, upscaling.TASKS, "upscale")
        changes.append(upscaling.upscaler(network))
        scale = network.scale
    sheet = pixels.Sheet(len(numbers), edge=1)
    if grid:
        side = pixels.enlarged_side(stage * scale, pixels.VISIBLE)
        pixels.check_size("--grid", grid, *sheet.size(side, side))
    done = 0
    try:  # part by part: what is kept need not fit into memory, and a folder has what was made if the rest is not
        with (
            pixels.npz(npz, len(numbers)) if npz else contextlib.nullcontext() as keep,
            terminal.progress() as progress,
        ):
            for images in synthesis.Sampler(generator).batches(numbers, labels, stage, truncation):
                if negative:
                    images = 255 - images
                for change in changes:
                    images = conversion.changed(images, change)
                if grid:
                    sheet.add(pixels.enlarge(images, pixels.VISIBLE))
                if npz:
                    keep(images)
                if folder:
                    for number, image in zip(numbers[done : done + len(images)], images):
                        pixels.save(_numbered(folder, number), image)
                done += len(images)
                progress(done, len(numbers))
        if grid:
            pixels.save(grid, sheet.picture)
    except OSError as error:
        raise UserError(
            f"{error.filename or npz}: cannot be written ({error.strerror or error}). Make room, or choose another place."
        ) from None
    for place in filter(None, (grid, npz, folder)):
        click.echo(place)


def _numbered(folder: str, number: int) -> Path:
    return Path(folder) / f"{number:06d}.png"


# What a disk or a network may have got over by the next try.
_PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ECONNRESET, errno.EHOSTUNREACH}


def main(arguments: list[str] | None = None, command: click.Command = cli) -> int:
    """Runs a command; returns the exit code. Mistakes of the person at the keyboard are one line and a 2."""
    try:
        command.main(arguments, prog_name="pggan" if command is cli else None, standalone_mode=False)
        return 0
    except click.exceptions.Exit as exit:
        return exit.exit_code
    except click.ClickException as error:
        message = error.format_message()
        click.echo(f"error: {message}", err=True)
        return 2
    except click.Abort:
        click.echo("stopped by Ctrl-C", err=True)
        return 130
    except UserError as error:
        click.echo(f"error: {error}", err=True)
        return 75 if isinstance(error, TryAgain) else 2
    except OSError as error:
        click.echo(
            f"error: {error.filename or 'file'}: {error.strerror or error}. Check the disk and the rights, then try again.",
            err=True,
        )
        return 75 if error.errno in _PASSING else 2
    except Stopped as error:
        click.echo(str(error), err=True)
        return error.code
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        click.echo("error: out of memory. Give fewer or smaller images at a time, or a machine with more.", err=True)
        return 2

"""`pggan export`: write files for phones, browsers and other tools.

Every file is compared with Keras before it is accepted. The source of an export is a trained
network with what is known about it (`export.source.Source`). The signatures that a file offers are
named functions in the file, with their inputs (`offered` in the code). report.json lists the
written files: each has an entry, a dict with the file's name, its size, its signatures and the
result of the comparison.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from pathlib import Path

import click

from export.files import Options, write_files, write_samples
from pggan_tf.choice import Choice
from pggan_tf.errors import UserError, explain_out_of_memory
from pggan_tf.runs import records

FORMATS = ("tflite", "keras", "savedmodel", "onnx", "web")
QUANTIZE = ("none", "float16", "dynamic", "int8")
CARD = "MODEL_CARD.md"


@click.command("export")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--to",
    "formats",
    type=Choice(FORMATS),
    multiple=True,
    help=f"format to write: {', '.join(FORMATS)}; may be given several times  [tflite]",
)
@click.option("--all", "everything", is_flag=True, help="write every format, and a .tflite for every quantisation")
@click.option("--out", help="folder to write to, new or empty  [RUN/export]")
@click.option(
    "--quantize",
    type=Choice(QUANTIZE),
    help="quantisation of a .tflite: none; float16 (half the size); dynamic (weights in 8 bits); int8 (values between "
    "convolutions in 8 bits, too, which differs more from Keras: dynamic is better for generators with separable "
    "convolutions)  [none; dynamic for web]",
)
@click.option(
    "--output",
    "kind",
    type=Choice(("uint8", "float32")),
    help="type of the output pixels: uint8, or float32 in -1..1  [uint8; float32 for web]",
)
@click.option(
    "--truncation",
    type=click.FloatRange(0, 1),
    help="constant truncation of a generator, built into the file  [an input of the file]",
)
@click.option("--representative", help="folder of photos on which int8 calibrates its ranges  [the run's own data]")
@click.option("--licence", help="licence of the weights, for the model card and the files, such as cc-by-4.0")
@click.option("--subject", help="what a generator draws, such as horse, for the texts of the web page  [face]")
@explain_out_of_memory(
    "the network is exported",
    "Give one --to at a time, --quantize dynamic in place of int8, or a machine with more memory.",
)
def command(runs, formats, everything, out, quantize, kind, truncation, representative, licence, subject):
    """Export RUN, a finished run's folder, an exported folder or a generator.keras.

    A site (--to web) may hold several RUNs of different tasks.
    """
    if everything and (formats or quantize):
        raise UserError("--all and --to or --quantize: give one of them. --all is every format and every quantisation.")
    formats = FORMATS if everything else formats or ("tflite",)
    _check_read(
        formats, quantize=quantize, output=kind, truncation=truncation, representative=representative, subject=subject
    )
    if subject is not None and not re.fullmatch(r"[^\W\d_][\w -]{0,30}", subject):
        raise UserError(f"--subject {subject!r}: expected a noun of at most 31 letters, such as horse.")
    if len(runs) > 1 and formats != ("web",):
        raise UserError(f"{len(runs)} runs: only --to web puts several into one folder. Export them one by one.")
    given = Path(runs[0])
    target = Path(out) if out else (given if given.is_dir() else given.parent) / "export"
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"--out {target}: is not an empty folder. Choose a new one, or remove it.")
    from pggan_tf import terminal

    terminal.start_tensorflow()
    _check_installed(formats)
    from export import source as sources

    opened = [sources.open_source(run) for run in runs]
    tasks = [s.task.name for s in opened]
    if len(set(tasks)) < len(tasks):
        raise UserError(
            f"{' and '.join(runs)}: two are for {max(tasks, key=tasks.count)}; a site has one network for each task."
        )
    if truncation is not None and all(s.task.from_images for s in opened):
        raise UserError(f"--truncation {truncation}: {runs[0]} takes photos; only generators have it.")
    if representative is not None and not any(s.task.from_images for s in opened):
        raise UserError(f"--representative {representative}: {runs[0]} takes no photos. Leave it out.")
    partial = target.absolute()
    partial = partial.with_name(f".{partial.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        options = Options(quantize, everything, kind or "uint8", truncation, representative, licence, subject or "face")
        files = _write(opened, formats, partial, options)
        if target.exists():  # it may be a link or a mounted disk, which must not be replaced
            for made in partial.iterdir():
                shutil.move(made, target / made.name)
        else:
            partial.rename(target)
    except OSError as error:
        raise UserError(
            f"--out {target}: cannot be written ({error.strerror or error}). Choose a folder you may write to."
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _show(files)
    click.echo(target)


# option -> the formats that use it
_READ = {
    "quantize": ("tflite", "web"),
    "output": ("tflite", "savedmodel", "onnx"),
    "truncation": ("tflite", "savedmodel", "onnx", "web"),
    "representative": ("tflite", "savedmodel", "onnx", "web"),
    "subject": ("web",),
}


def _check_read(formats, **options) -> None:
    """Raise UserError if an option was given that none of the requested formats uses.

    Args:
        formats: the requested formats, from FORMATS.
        options: the value of each option in _READ; None: not given.
    """
    for name, value in options.items():
        if value is not None and not set(formats) & set(_READ[name]):
            raise UserError(
                f"--{name} {value} with --to {' --to '.join(formats)}: nothing would read it. "
                f"It works with --to {', '.join(_READ[name])}."
            )


def _check_installed(formats) -> None:
    """Raise UserError if a package that a requested format needs is missing.

    For the web format, also download the runtime of the page if it is not in the cache.
    """
    import importlib.util

    if {"tflite", "web"} & set(formats) and (
        missing := [p for p in ("ai_edge_litert", "ai_edge_quantizer") if importlib.util.find_spec(p) is None]
    ):
        raise UserError(f'{", ".join(missing)} not installed. Type: pip install "pggan-tf[export]"')
    if "onnx" in formats:
        from export import onnx

        onnx.check_installed()
    if "web" in formats:
        from export import web

        web.fetch_runtime()


def _write(opened, formats, out: Path, options: Options) -> list[dict]:
    """Write all files into the folder `out` and return their entries for report.json.

    Args:
        opened: the sources; several for a web site, else one.
        formats: the requested formats, from FORMATS.
        out: an empty folder.
        options: the options of the command.

    Raises:
        UserError: if a file differs too much from Keras, or int8 has no photos to calibrate on.
    """
    from export import card, web
    from export import source as sources

    def photos(source):
        """Return photos for examples, uint8 [N, S, S, 3]; empty for a generator of latents."""
        if not source.task.from_images:
            return ()
        own = source.load_photos(options.representative)
        if own is None and (options.quantize == "int8" or options.everything):
            given = "--all" if options.everything else "--quantize int8"
            raise UserError(
                f"{given}: int8 measures its ranges on photos, and the data of {source.name} are not here. "
                "Give a folder of photos: --representative FOLDER"
            )
        return own if own is not None else sources.draw_portraits(source.network.resolutions[-1])

    if formats == ("web",):
        files = web.build(opened, out, *_collect_site_options(options, photos))
        for source in opened:
            which = "" if len(opened) == 1 else f"-{source.task.name}"
            own = [f for f in files if f["file"] == f"models/{source.task.name}.tflite"]
            _write_report(source, out / f"report{which}.json", options.licence, own)
            _write_config(source, out / f"run{which}.json")
            text = card.make_card(source, options.licence, own, samples=False, which=which)
            (out / f"MODEL_CARD{which}.md").write_text(text, encoding="utf-8", errors="replace")
        return files
    (source,) = opened
    files = write_files(source, formats, out, options, photos(source))
    if "web" in formats:
        (out / "web").mkdir()
        made = web.build(opened, out / "web", *_collect_site_options(options, photos))
        files += [{**f, "file": f"web/{f['file']}"} for f in made]
    samples = write_samples(source, out, options.truncation)
    _write_report(source, out / sources.REPORT, options.licence, files)
    text = card.make_card(source, options.licence, files, samples)
    for name in (CARD, "README.md"):  # model hubs show README.md
        (out / name).write_text(text, encoding="utf-8", errors="replace")
    _write_config(source, out / sources.RUN)
    return files


def _collect_site_options(options: Options, photos) -> tuple:
    """Return the positional arguments of `web.build` that follow `out`.

    photos: function from a source to photos for examples, as in `web.build`.
    """
    return options.quantize or "dynamic", options.truncation, photos, options.licence, options.subject


def _write_report(source, path: Path, licence: str | None, files: list[dict]) -> None:
    """Write report.json: facts about the source, and the entries of its files.

    licence: licence of the weights; None: the licence that the source states.
    """
    licence = licence or source.licence
    whose = {"source": source.name, "task": source.task.name, "sha256": source.sha256, "licence": licence}
    path.write_text(json.dumps({**whose, "files": files}, indent=1) + "\n")


def _write_config(source, path: Path) -> None:
    """Write the configuration of the source's run, if it is known, without the user's folders."""
    from pggan_tf.runs import folder as runs

    if source.plan is not None:
        runs.write_json(path, records.remove_places(json.loads(source.config_file.read_text())))


def _show(files: list[dict]) -> None:
    """Print a table of the written files. files: their entries in report.json."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for name in ("file", "MB", "signature", "differs by", "PSNR dB", "ms an image"):
        table.add_column(name, justify="left" if name in ("file", "signature") else "right")
    for f in files:
        head = (f["file"], f"{f['bytes'] / 1e6:.2f}")
        if not f["signatures"]:
            table.add_row(*head)
        for i, r in enumerate(f["signatures"]):
            psnr = "same" if r["psnr"] is None else f"{r['psnr']:.1f}"
            table.add_row(
                *(head if i == 0 else ("", "")), r["signature"], f"{r['max_difference']} of 255", psnr, f"{r['ms']:.2f}"
            )
    with contextlib.suppress(BrokenPipeError):
        Console(highlight=False, markup=False).print(table)
        for f in files:
            if "dynamic" in f:
                click.echo(_compare_dynamic(f))


def _compare_dynamic(file: dict) -> str:
    """Return a line for the user that compares int8 with dynamic quantisation.

    file: entry of an int8 file in report.json; its key "dynamic" holds the values of the same file
        with dynamic quantisation. The first signature is compared.
    """
    each = {"int8": {"bytes": file["bytes"], **file["signatures"][0]}, "dynamic": file["dynamic"]}
    said = [
        f"{how} {f['bytes'] / 1e6:.2f} MB, {'same' if f['psnr'] is None else format(f['psnr'], '.1f')} dB, {f['ms']:.2f} ms"
        for how, f in each.items()
    ]
    return f"{file['signatures'][0]['signature']} by --quantize {'; by '.join(said)}"

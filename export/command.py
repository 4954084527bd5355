"""`pggan export`: write files for phones, browsers and other tools; see `export.build`."""

from __future__ import annotations

import contextlib

import click

from export import build
from export.files import Options
from pggan_tf.errors import UserError
from pggan_tf.option_types import Choice, FloatRange


@click.command("export")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--to",
    "formats",
    type=Choice((*build.FORMATS, build.HUB, *build.PROJECTS, build.APK)),
    multiple=True,
    help=f"format to write: {', '.join(build.FORMATS)}; {build.HUB}, a folder as `pggan push` uploads it; "
    f"{' or '.join(build.PROJECTS)}, sources for Android Studio and Xcode; may be given several times; "
    f"or {build.APK} by itself, an Android app  [tflite]",
)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="write every format but hub, apk and projects, and a .tflite for every quantisation",
)
@click.option(
    "--out",
    help="folder to write to, new or empty; for apk a new file  [RUN/export, ./export for hf://; RUN/NAME.apk, ./NAME.apk]",
)
@click.option(
    "--quantize",
    type=Choice(build.QUANTIZE),
    help="quantisation of a .tflite: none; float16 (half the size); dynamic (weights in 8 bits); int8 (values between "
    "convolutions in 8 bits, too, which differs more from Keras: dynamic is better for generators with separable "
    "convolutions)  [none; dynamic for web and apk]",
)
@click.option(
    "--output",
    type=Choice(("uint8", "float32")),
    help="type of the output pixels: uint8, or float32 in -1..1  [uint8; float32 for web and apk]",
)
@click.option(
    "--truncation",
    type=FloatRange(0, 1),
    help="constant truncation of a generator, built into the file  [an input of the file]",
)
@click.option("--representative", help="folder of photos on which int8 calibrates its ranges  [the run's own data]")
@click.option("--licence", help="licence of the weights, for the model card and the files, such as cc-by-4.0")
@click.option("--subject", help="what a generator draws, such as horse, for the texts of the web page  [face]")
@click.option(
    "--no-mark",
    is_flag=True,
    help="do not write into the metadata of samples, and of pictures that the web page saves, that a network made them",
)
@click.option("--name", help="name of the app, below its icon  [Faces, or what its networks do]")
@click.option("--app-id", help="application id, which no other app on a phone may have  [pggan. and the name]")
@click.option(
    "--version-code",
    type=int,
    help="number of the app's version; an update needs a larger one  [minutes since 2020 began]",
)
@click.option(
    "--key", help="PEM file with the private key and the certificate that sign the app  [one that is made and kept]"
)
def command(runs, formats, everything, out, **options):
    """Export RUN, a finished run's folder, an exported folder, a generator.keras, hf://USER/NAME or portraits.

    A site (--to web) or an app (--to apk) may hold several RUNs of different tasks.
    """
    if out == "":
        raise UserError("--out: no name. Give the folder to write to, or leave it out.")
    target, files = build.build(runs, formats, out, Options(everything=everything, **options))
    show(files)
    click.echo(target)


def show(files: list[dict]) -> None:
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
            ms = "" if r["ms"] is None else f"{r['ms']:.2f}"
            table.add_row(*(head if i == 0 else ("", "")), r["signature"], f"{r['max_difference']} of 255", psnr, ms)
    with contextlib.suppress(BrokenPipeError):
        Console(highlight=False, markup=False).print(table)
        for f in files:
            if "dynamic" in f:
                click.echo(_compare_dynamic(f))
            if any(f.get("gpu", {}).get("falls_back", {}).values()):
                click.echo(_tell_fallbacks(f))


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


def _tell_fallbacks(file: dict) -> str:
    """Return a line for the user that names what a phone's GPU would leave to its CPU.

    file: entry of a .tflite file in report.json.
    """
    by_operations: dict[str, list[str]] = {}
    for name, reasons in file["gpu"]["falls_back"].items():
        if reasons:
            by_operations.setdefault(", ".join(reasons), []).append(name)
    said = "; ".join(f"{', '.join(names)}: {operations}" for operations, names in by_operations.items())
    return f"{file['file']} on a phone's GPU leaves to the CPU {said}"

"""`pggan edit`: change a generated image with sliders, directions of the latent space."""

from __future__ import annotations

import click

from pggan_tf.commands import shared
from pggan_tf.data import marks, pixels
from pggan_tf.errors import UserError
from pggan_tf.explore import sliders


@click.command("edit")
@click.argument("source")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="seed of the image")
@click.option(
    "--slider",
    "settings",
    multiple=True,
    metavar="SLIDER=AMOUNT",
    help="number or name of a slider, and how far to move along it in standard deviations of the latent, -10 to 10, "
    "such as 2=+3 or smile=-1.5; may be given several times",
)
@click.option("--out", required=True, help="picture to write")
@click.option("--class", "class_name", help="class of the image  [one that follows from the seed]")
@shared.stage
@shared.truncation
@shared.no_mark
def command(source, seed, settings, out, class_name, stage, truncation, no_mark):
    """Change a generated image with sliders, directions of the latent space; see `pggan sliders`.

    SOURCE is a run's folder, a generator.keras, hf://USER/NAME or portraits.
    """
    asked: dict[int | str, float] = {}
    for text in settings:
        key, amount = sliders.parse_amount(text)
        if key in asked:
            raise UserError(f"--slider {text}: {key} is given twice. Give one amount for it.")
        asked[key] = amount
    out = pixels.check_picture("--out", out)
    from pggan_tf.api import Generator

    generator = Generator.open(source)
    made = generator.sample([seed], stage=stage, truncation=truncation, class_name=class_name, sliders=asked)
    pixels.save(out, made[0], marks.make_packet(None if no_mark else generator.mark))
    click.echo(out)

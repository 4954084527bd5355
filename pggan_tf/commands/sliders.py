"""`pggan sliders`: list, draw and name the sliders of a generator."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from pggan_tf import synthesis
from pggan_tf.commands import shared
from pggan_tf.data import marks, pixels
from pggan_tf.errors import UserError
from pggan_tf.runs import keras_files, pretrained, slider_names


def _parse_names(ctx, param, texts: tuple[str, ...]) -> list[tuple[int, str]]:
    """Return (number, name) for each value of --rename (a callback of click).

    Args:
        ctx: click's context.
        param: click's option.
        texts: the values, such as '2=smile'; '2=' takes the name away.

    Raises:
        UserError: if a value is malformed.
    """
    pairs = []
    for text in texts:
        number, equals, name = text.partition("=")
        if not (equals and number.isdecimal()):
            raise UserError(f"--rename {text}: expected NUMBER=NAME, such as 2=smile, or 2= to take a name away.")
        pairs.append((int(number), name))
    return pairs


@click.command("sliders")
@click.argument("source")
@click.option("--out", help="picture to write: each slider as a strip from -4 to +4")
@click.option("--seeds", default="0-1", show_default=True, help="seeds of the images, such as 0-3 or 5,7")
@click.option(
    "--count",
    type=click.IntRange(1),
    default=6,
    show_default=True,
    help="number of sliders, the strongest; the list has those with a name, too",
)
@click.option("--class", "class_name", help="class of the images  [every class in turn]")
@click.option(
    "--rename",
    "names",
    multiple=True,
    metavar="NUMBER=NAME",
    callback=_parse_names,
    help="give a slider a name, such as 2=smile, which is kept in the run's folder; 2= takes it away; may be given "
    "several times",
)
@shared.stage
@shared.truncation
@shared.no_mark
def command(source, out, seeds, count, class_name, names, stage, truncation, no_mark):
    """List the sliders of SOURCE, directions in which its images can be changed; draw and name them.

    SOURCE is a run's folder, a generator.keras, hf://USER/NAME or portraits.
    """
    from pggan_tf import api
    from pggan_tf.explore import sliders
    from pggan_tf.report import strips

    out = pixels.check_picture("--out", out) if out else None
    numbers = synthesis.parse_seeds(seeds)
    if names:  # they are kept in the folder of a run
        keras_files.check_run(Path(pretrained.locate(source)))
    opened = api.load(source)
    generator = opened.generator if isinstance(opened, api.Run) else opened
    count = min(count, len(generator.sliders))
    if out:
        shape = generator.network.shape_at(generator.choose_stage(stage))
        size = strips.get_size(generator.choose_sliders(count), len(numbers), shape)
        pixels.check_size("--out", out, *size)
    if isinstance(opened, api.Run):
        digest = sliders.compute_digest(sliders.read_kernel(generator.network, source))
        if outdated := slider_names.find_outdated(opened.folder, digest):
            lost = "taken away" if names else "left out"
            click.echo(f"named before the run trained on, so {lost}: {', '.join(outdated)}", err=True)
        if names:
            opened.rename_sliders(names)
    named = [slider for slider in generator.sliders[count:] if slider.name]
    for slider in [*generator.choose_sliders(count), *named]:
        click.echo(f"{slider.label}: {slider.strength:.2f} times as strong as an average direction")
    if out:
        drawn = generator.draw_sliders(numbers, count=count, stage=stage, truncation=truncation, class_name=class_name)
        pixels.save(out, np.asarray(drawn), marks.make_packet(None if no_mark else generator.mark))
        click.echo(out)

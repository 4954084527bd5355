"""`pggan whose`: find out whose network made a picture, by making it again."""

from __future__ import annotations

import click

from pggan_tf.api import origins
from pggan_tf.errors import Stopped


@click.command("whose")
@click.argument("pictures", nargs=-1, required=True, metavar="PICTURE...")
@click.option(
    "--runs",
    help="folder below which the runs are searched, by the SHA-256 of their weights; or one run, or a .keras file  [runs]",
)
def command(pictures, runs):
    """Tell whose network made each PICTURE: read its mark, make it again and compare the pixels.

    Exit code 0: all are made again to the last bit. 1: at least one is not. 3: none is wrong, but
    at least one is only alike, because it was compressed or made by an exported page.
    """
    answers = []
    for origin in origins.find_origins(pictures, runs):
        answers.append(origin.answer)
        click.echo(f"{origin.file}: {_describe_answer(origin)}")
        if said := _describe_mark(origin):
            click.echo(f"  its mark says: {said}")
    if any(answer != origins.YES for answer in answers):
        counts = ", ".join(f"{answers.count(a)} {a}" for a in (origins.YES, origins.ALIKE, origins.NO))
        raise Stopped(f"{len(answers)} pictures: {counts}", 1 if origins.NO in answers else 3)


def _describe_answer(origin: origins.Origin) -> str:
    """Return the answer and its reason in a sentence."""
    words = {origins.YES: "yes, to the last bit", origins.ALIKE: "alike, which is no proof"}
    return f"{words.get(origin.answer, origin.answer)}: {origin.reason}"


def _describe_mark(origin: origins.Origin) -> str:
    """Return what a picture's mark says, such as 'run faces, seed 5, stage 64'; '' for nothing."""
    seeds = origin.seeds if origin.seeds is None or len(origin.seeds) <= 40 else f"{origin.seeds[:40]}..."
    several = "seeds" if seeds and not seeds.isdigit() else "seed"
    facts = {
        "run": origin.run,
        several: seeds,
        "stage": origin.stage,
        "truncation": origin.truncation,
        "class": origin.class_name,
    }
    return ", ".join(f"{name} {value}" for name, value in facts.items() if value is not None)

"""`pggan push`: upload a trained network to a model hub, Hugging Face."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import click

from pggan_tf import terminal
from pggan_tf.errors import UserError, explain_out_of_memory
from pggan_tf.runs import hub


@click.command("push")
@click.argument("run")
@click.argument("repository", metavar="USER/NAME")
@click.option("--private", is_flag=True, help="make a new repository that only its owner sees")
@click.option(
    "--licence", help="licence of the weights, by its name on the hub, such as cc-by-4.0  [that of RUN, else other]"
)
@click.option("--message", help="message of the commit  [Upload NAME]")
@explain_out_of_memory("the network is exported", "Take a machine with more memory.")
def command(run, repository, private, licence, message):
    """Upload RUN, a finished run's folder or a generator.keras, to the repository USER/NAME.

    The hub is Hugging Face, or the one at the address in HF_ENDPOINT. Log in first: hf auth login,
    or set HF_TOKEN. What is uploaded is the folder of `pggan export RUN --to hub`: no photo of
    yours, no path of this machine. Afterwards every command takes hf://USER/NAME in place of RUN.
    """
    from export import card
    from export import command as exporting
    from export import source as sources

    repository, revision = hub.parse(repository)
    if revision:
        raise UserError(f"{repository}@{revision}: a network is pushed to USER/NAME, without a revision.")
    hub.check_installed()
    hub.check_repository(repository, private)
    if licence is not None:
        hub.check_licence(licence)
    terminal.start_tensorflow()
    name = repository.partition("/")[2]
    source = dataclasses.replace(sources.open_source(run), name=name)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        options = exporting.Options(None, False, "uint8", None, None, licence, "face")
        files = exporting.write([source], exporting.expand_formats(("hub",)), folder, options)
        for file in (folder / name for name in card.NAMES):
            text = file.read_text(encoding="utf-8")
            file.write_text(text.replace(card.PLACEHOLDER, repository), encoding="utf-8")
        exporting.show(files)
        page = hub.upload(folder, repository, private, message or f"Upload {name}")
    click.echo(page)

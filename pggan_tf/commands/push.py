"""`pggan push`: upload a trained network to a model hub, Hugging Face."""

from __future__ import annotations

import click

from export.command import show
from pggan_tf.api.exporting import push_files


@click.command("push")
@click.argument("run")
@click.argument("repository", metavar="USER/NAME")
@click.option("--private", is_flag=True, help="make a new repository that only its owner sees")
@click.option(
    "--licence", help="licence of the weights, by its name on the hub, such as cc-by-4.0  [that of RUN, else other]"
)
@click.option("--message", help="message of the commit  [Upload NAME]")
def command(run, repository, private, licence, message):
    """Upload RUN, a finished run's folder or a generator.keras, to the repository USER/NAME.

    The hub is Hugging Face, or the one at the address in HF_ENDPOINT. Log in first: hf auth login,
    or set HF_TOKEN. What is uploaded is the folder of `pggan export RUN --to hub`: no photo of
    yours, no path of this machine. Afterwards every command takes hf://USER/NAME in place of RUN.
    """
    page, files = push_files(run, repository, private=private, licence=licence, message=message)
    show(files)
    click.echo(page)

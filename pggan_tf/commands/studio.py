"""`pggan studio`: photos, training, playing and comparing in one window of a browser."""

from __future__ import annotations

import importlib.util
import threading
import webbrowser
from pathlib import Path

import click

from export import hosts
from pggan_tf import files
from pggan_tf.errors import UserError


@click.command("studio")
@click.argument("photos", nargs=-1)
@click.option("--runs", default="runs", show_default=True, help="folder of the runs, old and new")
@hosts.take_host_and_port(7863, ", for a browser on another one")
@click.option("--no-browser", is_flag=True, help="print the address, and open no browser")
def command(photos, runs, host, port, no_browser):
    """Open a page on this machine: choose photos, train, watch, play, compare, export.

    PHOTOS are folders of photos to open in it; folders outside of your home folder have to be named here. Closing the
    page or this command stops no training.
    """
    if missing := [p for p in ("fastapi", "uvicorn", "segno") if importlib.util.find_spec(p) is None]:
        raise UserError(f'{", ".join(missing)} not installed. Type: pip install "pggan-tf[serve]"')
    for place in photos:
        if not Path(place).is_dir():
            raise UserError(f"{place}: no such folder. Expected a folder of photos.")
    from export import lan
    from pggan_tf.studio import server, store
    from pggan_tf.studio.refusal import Refusal
    from pggan_tf.studio.studio import Studio

    def show(address):
        if not hosts.is_loopback(host):
            lan.print_code(address, click.echo)
            click.echo("whoever has this address can use the studio; the connection is not encrypted")
        click.echo(address)
        if not no_browser:
            threading.Timer(0.3, webbrowser.open, (kept.write_redirect(address).as_uri(),)).start()

    if "\n" in str(Path(runs).absolute()):  # what is printed while it trains is read line by line
        raise UserError(f"--runs {runs!r}: has a line break in its path. Choose another folder.")
    kept = store.Store(runs)
    kept.create()

    def refuse():
        known = store.read_json(kept.folder / "server.json", {}).get("address")
        raise UserError(
            f"--runs {runs}: a studio is open there already{f', at {known}' if known else ''}. Close it first."
        )

    try:
        with files.hold_lock(kept.folder / "server.lock", refuse):
            kept.remove_redirect()  # of a studio that was killed
            shown = lan.find_address() if host == "0.0.0.0" else host
            try:
                server.serve(Studio(runs, photos), host, shown, port, show)
            finally:
                kept.remove_redirect()
    except KeyboardInterrupt:
        pass
    except Refusal as refusal:  # of a folder that is named
        raise UserError(str(refusal)) from None
    except OSError as error:
        raise hosts.explain_taken(host, port, error) from None

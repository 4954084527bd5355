"""`pggan serve`: serve a site of `pggan export --to web`, or a network over HTTP.

A site is a folder of static files, whose networks run in the browser. A network is served by
`export.api`, which runs it on this machine.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import importlib.util
import socket
import threading
import time
from pathlib import Path

import click

from export import hosts, lan
from pggan_tf import terminal
from pggan_tf.errors import UserError
from pggan_tf.option_types import FloatRange
from pggan_tf.runs import keras_files, pretrained

# Headers that browsers require before a page may share memory between threads.
ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}


# Limits of a site's server: seconds that a request may take to arrive, and that a part of the answer may take to be
# read; open connections, and those of one address. A browser opens about six.
_SECONDS = 30
_CONNECTIONS, _OF_ONE_ADDRESS = 128, 32


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Request handler for the files of a site. It adds the headers ISOLATION and logs nothing."""

    timeout = _SECONDS  # of silence
    server: _Server

    extensions_map = {
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".wasm": "application/wasm",
        ".tflite": "application/octet-stream",
        ".webmanifest": "application/manifest+json",
    }

    def end_headers(self):
        for name, value in ISOLATION.items():
            self.send_header(name, value)
        self.send_header("Cache-Control", "no-cache")  # so that browsers see a new export at once
        super().end_headers()

    def send_head(self):
        place = self.translate_path(self.path)
        # A link may lead out of the site.
        if "\0" not in place and Path(place).resolve().is_relative_to(Path(self.directory).resolve()):
            return super().send_head()
        self.send_error(http.HTTPStatus.NOT_FOUND)
        return None

    def list_directory(self, path):
        self.send_error(http.HTTPStatus.NOT_FOUND)

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionError, TimeoutError):  # the browser has closed the connection, or does not read
            self.close_connection = True

    def parse_request(self):
        sound = super().parse_request()
        self.server.note_arrival(self.connection)
        return sound

    def log_message(self, format, *arguments):
        pass


class _Server(http.server.ThreadingHTTPServer):
    """HTTP server with a thread for each connection that nobody can keep from answering others.

    Connections above the limits are closed at once, and so are those whose request has not arrived
    in time. Proxies on this machine bring the requests of many, so its own addresses may use all.
    """

    address = ""  # what a phone opens, with its key; for the page with the QR code

    def __init__(self, *args):
        self._lock = threading.Lock()
        self._open: dict[socket.socket, tuple[str, float]] = {}  # connection -> address, time until its request is due
        super().__init__(*args)

    def process_request(self, request, client_address):
        host = client_address[0]
        with self._lock:
            same = sum(other == host for other, _ in self._open.values())
            taken = len(self._open) >= _CONNECTIONS or (same >= _OF_ONE_ADDRESS and not hosts.is_loopback(host))
            if not taken:
                self._open[request] = host, time.monotonic() + _SECONDS
        if taken:
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def note_arrival(self, request) -> None:
        """Note that the request of a connection has arrived, so that it is not closed for being late."""
        with self._lock:
            self._open[request] = self._open[request][0], float("inf")

    def service_actions(self):  # called about twice a second
        super().service_actions()
        with self._lock:
            late = [request for request, (_, due) in self._open.items() if due < time.monotonic()]
        for request in late:
            with contextlib.suppress(OSError):  # it has just been closed
                request.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request):
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)


def make_site_server(site: Path, host: str, port: int, key: str | None = None):
    """Return an HTTP server for the files in a folder. It does not run yet.

    Args:
        site: the folder. Nothing outside it is served.
        host: address to listen on.
        port: port to listen on; 0 chooses a free one.
        key: serve only browsers that came with this key, see `export.lan`; None: all.
    """
    handler = lan.gate(_Handler, key) if key else _Handler

    class Server(_Server):
        address_family = hosts.choose_family(host)

    return Server((host, port), functools.partial(handler, directory=str(site)))


def _check_installed(*packages: str) -> None:
    """Raise UserError if one of these packages of the extra `serve` is missing."""
    if missing := [p for p in packages if importlib.util.find_spec(p) is None]:
        raise UserError(f'{", ".join(missing)} not installed. Type: pip install "pggan-tf[serve]"')


@click.command("serve")
@click.argument("path")
@hosts.take_host_and_port(8000, "  [127.0.0.1; with --lan that in the network]", host=None)
@click.option(
    "--lan",
    "in_network",
    is_flag=True,
    help="show a site to phones in the same network: prints an address with a key, and its QR code",
)
@click.option("--max-mb", default=16, show_default=True, type=click.IntRange(1), help="maximum size of an upload in MB")
@click.option(
    "--max-megapixels",
    default=16.0,
    show_default=True,
    type=FloatRange(0, min_open=True),
    help="maximum size of an uploaded photo and of a result; it limits how long a request may compute",
)
@click.option(
    "--waiting",
    default=16,
    show_default=True,
    type=click.IntRange(1),
    help="maximum number of requests that wait or upload; any further one gets status 429",
)
@click.option(
    "--timeout",
    default=30.0,
    show_default=True,
    type=FloatRange(0, min_open=True),
    help="seconds allowed for each of: arrival of a request, upload, waiting, computation, reading the next part of the answer",
)
@click.option(
    "--no-mark", is_flag=True, help="do not write into the metadata of pictures that a network made or changed them"
)
def command(path, host, in_network, port, max_mb, max_megapixels, waiting, timeout, no_mark):
    """Serve PATH: a site of `pggan export --to web`, or a network over HTTP.

    A network is given as a run's folder, a .keras file or hf://USER/NAME. A site is served with the headers that
    threads need in browsers.
    """
    typed, path = path, str(pretrained.locate(path))
    folder = Path(path)
    if (folder / "web" / "site.json").is_file():  # pggan export --to web, with other formats beside it
        folder = folder / "web"
    try:
        if (folder / "site.json").is_file():
            if in_network:
                _check_installed("segno")
            key = lan.make_key() if in_network else None
            shown = lan.find_address() if in_network and host in (None, "0.0.0.0", "::") else host or hosts.LOCAL
            host = host or shown
            with make_site_server(folder, host, port, key) as server:
                address = hosts.format_address(shown, server.server_port)
                if key:
                    code, address = f"{address}{lan.CODE[1:]}?key={key}", f"{address}?key={key}"
                    server.address = address
                    lan.print_code(address, click.echo)
                    click.echo(f"the code as a page, if the terminal shows it badly: {code}")
                click.echo(address)
                if not hosts.is_loopback(host):
                    click.echo(
                        "browsers install pages, keep them offline and open cameras from https alone: for that, copy the folder to an https host"
                    )
                server.serve_forever()
        elif not folder.exists() and not keras_files.is_location(path):
            raise UserError(
                f"{path}: not here. Expected a site of `pggan export --to web`, a run's folder or a .keras file."
            )
        elif in_network:
            raise UserError(f"--lan: is for sites. Make one with: pggan export {typed} --to web --out site/")
        else:
            _check_installed("fastapi", "uvicorn")
            terminal.start_tensorflow()
            from export import api

            limits = api.Limits(max_mb << 20, int(max_megapixels * 1e6), waiting, timeout)
            api.serve(path, host or hosts.LOCAL, port, limits, click.echo, mark=not no_mark)
    except KeyboardInterrupt:
        pass
    except OSError as error:
        raise hosts.explain_taken(host or hosts.LOCAL, port, error) from None

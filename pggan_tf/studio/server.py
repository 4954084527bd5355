"""The web application of a studio, and the server that runs it."""

# There is no `from __future__ import annotations` here: FastAPI evaluates annotations.

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import fastapi
import uvicorn
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from export import hosts, protocol
from pggan_tf import files
from pggan_tf.errors import UserError
from pggan_tf.studio import growing, playing, routes
from pggan_tf.studio.answers import KINDS, Answer
from pggan_tf.studio.gate import Gate, list_names
from pggan_tf.studio.refusal import Refusal, as_refusal, show
from pggan_tf.studio.studio import Studio

PAGE = Path(__file__).parent / "page"
CONNECTIONS = 1000  # open at the same time; any further one is refused
SILENCE = 60.0  # seconds after which a connection without a request is closed


# The files of the page; its sources beside them are not served.
PAGE_FILES = ("index.html", "studio.js", "studio.css", "tasks.webp", "LICENCES.txt")


def make_application(studio: Studio, host: str = "127.0.0.1", port: int = 0) -> Gate:
    """Return the web application of a studio.

    Args:
        studio: the studio.
        host: value of --host, by which browsers may call this machine.
        port: port of the server; cookies are shared by all ports, so its name has it.
    """

    @contextlib.asynccontextmanager
    async def live(app):
        watching = asyncio.create_task(studio.watcher.run())
        await asyncio.to_thread(studio.phones.resume)
        try:
            yield
        finally:
            watching.cancel()
            studio.close()

    app = fastapi.FastAPI(
        title="pggan studio", docs_url=None, redoc_url=None, openapi_url=None, lifespan=live, redirect_slashes=False
    )

    @app.exception_handler(Refusal)
    @app.exception_handler(UserError)
    @app.exception_handler(OSError)
    async def refuse(request: Request, error: Exception):
        refusal = as_refusal(error)
        assert refusal is not None
        return Answer({"error": str(refusal)}, refusal.status)

    @app.exception_handler(RequestValidationError)
    async def explain(request: Request, error: RequestValidationError):
        first = error.errors()[0]
        return Answer(
            {"error": f"{'.'.join(map(str, first['loc'][1:]))} {show(first.get('input'))}: {first['msg']}."}, 400
        )

    @app.exception_handler(HTTPException)
    async def pass_on(request: Request, error: HTTPException):
        said = {404: "nothing is at this address", 405: "this address takes no request of this kind"}
        return Answer(
            {"error": f"{show(request.url.path)}: {said.get(error.status_code, error.detail)}."}, error.status_code
        )

    @app.exception_handler(Exception)
    async def admit(request: Request, error: Exception):  # the gate writes it down
        what = f"this did not work ({type(error).__name__}). What happened is in studio.log in the folder .studio."
        return Answer({"error": what}, 400)

    def send_page(name: str) -> Response:
        file = PAGE / name
        if name not in PAGE_FILES or not file.is_file():
            raise Refusal(404, f"{show(name)}: no file of the page.")
        headers = {"Cache-Control": "no-cache"}
        return Response(
            file.read_bytes(), media_type=KINDS.get(file.suffix, "application/octet-stream"), headers=headers
        )

    @app.get("/")
    async def page():
        return send_page("index.html")

    @app.get("/static/{name:path}")
    async def static(name: str):
        return send_page(name)

    routes.add_general(app, studio)
    routes.add_photos(app, studio)
    routes.add_queue(app, studio)
    growing.add_growing(app, studio)
    playing.add_playing(app, studio)
    playing.add_jobs(app, studio)
    routes.add_runs(app, studio)
    return Gate(app, studio.key, f"pggan-studio-{port}", list_names(host))


class _Server(uvicorn.Server):
    """Server that ends the streams of events first, for which it would wait otherwise."""

    should_exit: bool
    force_exit: bool

    def __init__(self, config: uvicorn.Config, studio: Studio):
        super().__init__(config)
        self.studio = studio

    def handle_exit(self, sig, frame):
        """End the streams, then the server; a second Ctrl-C does not wait for anything."""
        self.studio.hub.close()
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def _log_errors(folder: Path) -> None:
    """Write errors of the program to studio.log."""
    logger = logging.getLogger("pggan_tf.studio")
    handler = logging.FileHandler(folder / "studio.log", encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger.addHandler(handler)
    logger.propagate = False


def serve(studio: Studio, host: str, shown: str, port: int, say: Callable[[str], None]) -> None:
    """Serve a studio until the process is stopped.

    Args:
        studio: the studio.
        host: address to listen on.
        shown: the address that is told to browsers.
        port: port to listen on; 0 chooses a free one.
        say: called with the address, which has the key in it, as soon as requests are accepted.
    """
    _log_errors(studio.store.folder)
    with contextlib.closing(socket.create_server((host, port), family=hosts.choose_family(host))) as listening:
        port = listening.getsockname()[1]
        address = f"{hosts.format_address(shown, port)}?key={studio.key}"
        config = uvicorn.Config(
            make_application(studio, host, port),
            log_level="critical",
            server_header=False,
            ws="none",
            http=protocol.make_protocol(SILENCE),
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=3,
        )
        file = studio.store.folder / "server.json"
        with files.atomic_write(file) as partial:
            partial.touch(0o600)
            partial.write_text(json.dumps({"pid": os.getpid(), "address": address}))
        try:
            say(address)
            _Server(config, studio).run(sockets=[listening])
        finally:
            file.unlink(missing_ok=True)

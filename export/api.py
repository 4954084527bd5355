"""HTTP interface of `pggan serve RUN`, through which clients use a trained network.

Clients send a photo and receive the converted one, or ask a generator for an image. Results are
PNG. A stage is a resolution that a generator was trained at.

Every request is checked, and rejected with a reason, before the network sees it. No part of a
request is used as a path, and nothing is stored. Only one image is computed at a time, because the
network uses every core anyway.
"""

# There is no `from __future__ import annotations` here: FastAPI evaluates annotations, and some of
# them contain values of the served network.

import asyncio
import contextlib
import io
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import fastapi
import numpy as np
import tensorflow as tf
import uvicorn
from fastapi import HTTPException, Query, Request, Response

from export import hosts, protocol, signatures
from export import source as sources
from pggan_tf import synthesis, tasks
from pggan_tf.data import marks, photos, transparency
from pggan_tf.errors import UserError
from pggan_tf.version import __version__

# Accepted formats of uploads. Rarer formats are left out because their decoders could have security
# flaws.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF")
CONNECTIONS = 256  # maximum number of open connections; any further one gets a 503


@dataclass(frozen=True)
class Limits:
    """Limits on what a request may cost."""

    upload_bytes: int = 16 << 20  # maximum size of a photo's file
    pixels: int = 16_000_000  # maximum number of pixels of a photo, and of a result
    waiting: int = 16  # maximum number of requests that upload or wait to be computed
    seconds: float = 30.0  # for each of: a header, an upload, the wait, the work, reading the response


class Turns:
    """Queue that runs one computation at a time, in a thread.

    Its limits are `limits.waiting`, the number of waiting requests, and `limits.seconds`, the time
    that a request may wait.
    """

    def __init__(self, limits: Limits):
        self.limits, self._turn, self._waiting = limits, asyncio.Lock(), 0

    async def __call__(self, work: Callable, upload: Callable[[], Awaitable[bytes]] | None = None):
        """Wait until no other computation runs, then run `work` in a thread and return its result.

        A request counts as waiting while its upload is read. Otherwise any number of uploads could
        be held in memory.

        Args:
            work: function without arguments, or with the uploaded bytes as its only argument if
                there is an upload.
            upload: coroutine function that returns the uploaded bytes; None: no upload.

        Raises:
            HTTPException: 429 if too many requests wait, or if this one has waited too long.
        """
        busy = partial(HTTPException, 429, headers={"Retry-After": "1"})
        if self._waiting >= self.limits.waiting:
            raise busy(f"{self._waiting} requests are waiting already. Try again in a second.")
        self._waiting += 1
        try:
            work = partial(work, await upload()) if upload else work
            await asyncio.wait_for(self._turn.acquire(), self.limits.seconds)
        except TimeoutError:
            raise busy(f"waited for {self.limits.seconds:g} seconds in vain. Try again later.") from None
        finally:
            self._waiting -= 1
        # A thread cannot be stopped. If the client disconnects, the next computation still waits
        # until this one has ended.
        done = asyncio.get_running_loop().run_in_executor(None, work)
        done.add_done_callback(lambda _: self._turn.release())
        return await asyncio.shield(done)


def _make_ending() -> HTTPException:
    return HTTPException(503, "the server is ending. Ask again when it runs again.")


class Deadline:
    """Time limit of the running computation, which calls `check` repeatedly."""

    def __init__(self, seconds: float):
        self.seconds, self._end, self.ending = seconds, 0.0, False

    def start(self) -> None:
        """Restart the time limit, for a new computation. Raise HTTPException 503 if the server is ending."""
        if self.ending:
            raise _make_ending()
        self._end = time.monotonic() + self.seconds

    def stop(self) -> None:
        """End the running computation and all later ones, because the server is ending."""
        self.ending = True

    def check(self) -> None:
        """Raise HTTPException: 413 if the time limit has passed, 503 if the server is ending."""
        if self.ending:
            raise _make_ending()
        if time.monotonic() > self._end:
            raise HTTPException(413, f"it takes more than {self.seconds:g} seconds. Send a smaller photo.")


def _read_photo(data: bytes, limits: Limits, scale: int) -> photos.Photo:
    """Decode an uploaded photo in the same way as the command line.

    The format and the size of the photo are checked before its pixels are decoded.

    Args:
        data: content of the uploaded file.
        limits: limits on the photo and on the result.
        scale: factor by which the network enlarges a photo.

    Raises:
        HTTPException: 413 if the photo or the result would be too large, 415 if the format is not
            accepted, 422 if the photo cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    kinds = ", ".join(FORMATS)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
    except UnidentifiedImageError:
        raise HTTPException(
            415,
            f"not a photo of a known kind. Send the bytes of one of {kinds} as the body, not a form: curl --data-binary @photo.jpg",
        ) from None
    except Exception as error:  # decoders may raise any exception on malicious data
        raise HTTPException(422, f"a photo that cannot be read ({type(error).__name__}).") from None
    if width * height * scale * scale > limits.pixels:
        what = f"{width}x{height} pixels" + (f", {scale} times as large" if scale > 1 else "")
        raise HTTPException(413, f"{what}: more than {limits.pixels:,}. Send a smaller photo.")
    if (side := scale * max(width, height)) > (longest := photos.KINDS[".png"][2]):
        raise HTTPException(413, f"a side of {side:,} pixels; a PNG has {longest:,} at most. Send a smaller photo.")
    try:
        return photos.read(data, FORMATS)
    except photos.Unreadable as reason:
        raise HTTPException(422, f"a photo that cannot be read ({reason}).") from None


def _answer_png(photo: photos.Photo) -> Response:
    """Return an HTTP response that holds a photo as PNG.

    Bit depth, transparency, colour profile and metadata of the photo are kept.
    """
    data, _ = photos.encode_png(photo)
    return Response(b"".join(photos.split_png(data.tobytes(), photo)), media_type="image/png")


# Descriptions of responses for OpenAPI.
_PICTURE = {
    200: {"description": "a picture", "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}
}
_FULL = {503: {"description": "too many connections", "content": {"text/plain": {"schema": {"type": "string"}}}}}
_REASON = {"application/json": {"schema": {"type": "object", "properties": {"detail": {}}, "required": ["detail"]}}}


def _describe_refusals(**reasons: str) -> dict:
    """Return {status code: description of the error response}, in the form that FastAPI expects.

    reasons: keyword arguments such as c413="too large": the letter c and a status code, and the
        text for this code.
    """
    return {int(code[1:]): {"description": text, "content": _REASON} for code, text in reasons.items()}


def _check_names(request: Request, *names: str) -> None:
    """Raise HTTPException 422 if the query string of a URL has unknown or repeated parameters.

    Args:
        request: the request.
        names: the known parameters.
    """
    given = [name for name, _ in request.query_params.multi_items()]
    if wrong := next((n for n in given if n not in names or given.count(n) > 1), None):
        expected = f"each of {', '.join(names)} once at most" if names else "nothing after the ?"
        raise HTTPException(422, f"{wrong[:40]}: expected {expected}.")


def make_application(source: sources.Source, limits: Limits, mark: bool = True) -> fastapi.FastAPI:
    """Return the web application that serves one network.

    Its paths are / (description), /health (state), /openapi.json (interface), and /VERB, which uses
    the network: VERB is the `pggan` command of the network's task, such as upscale.

    Args:
        source: the network and what is known about it.
        limits: limits on every request.
        mark: whether pictures say in their metadata what made them.
    """
    network, task, turns = source.network, source.task, Turns(limits)
    about = f"{source.name}: a network that was trained to {task.name}."
    app = fastapi.FastAPI(title="pggan-tf", version=__version__, description=about, docs_url=None, redoc_url=None)

    @app.get("/health", summary="Whether it runs, and what it serves", responses=_FULL)
    async def health() -> dict[str, str | list[int]]:
        return {"status": "ok", "task": task.name, "stages": [] if task.from_images else list(network.resolutions)}

    @app.get("/", include_in_schema=False)
    async def paths() -> dict[str, str | list[str]]:
        return {"about": about, "paths": [*app.openapi()["paths"], "/openapi.json"]}

    if not task.from_images:
        app.get(f"/{task.verb}", summary="One image as PNG", response_class=Response, responses=_PICTURE | _FULL | _describe_refusals(c422="a value that is not allowed", c429="too many wait"))(_make_generate(network, turns, source.mark if mark else None))  # fmt: skip
        return app
    deadline = app.state.deadline = Deadline(limits.seconds)
    scale, change = network.scale, task.converter(network, check=deadline.check)

    def work(data: bytes) -> Response:
        deadline.start()
        try:
            photo = _read_photo(data, limits, scale)
            return _answer_png(change(photo).made_from(photo, source.mark if mark else None))
        except UserError as reason:  # such as too little memory
            raise HTTPException(413, str(reason)) from None

    async def changed(request: Request) -> Response:
        _check_names(request)
        try:
            return await turns(
                work, partial(protocol.read_body, request, limits.upload_bytes, limits.seconds, HTTPException)
            )
        except asyncio.CancelledError:
            if deadline.ending:  # and has waited long enough
                raise _make_ending() from None
            raise

    body = {"required": True, "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}
    refusals = _describe_refusals(c400="an upload broken off", c408="a slow upload", c413="too many bytes or pixels, or too much work", c415="not a photo", c422="a damaged photo", c429="too many wait")  # fmt: skip
    app.post(f"/{task.verb}", summary=f"The photo in the body, after {task.name}, as PNG", response_class=Response, responses=_PICTURE | _FULL | refusals, openapi_extra={"requestBody": body})(changed)  # fmt: skip
    return app


def _make_generate(network, turns: Turns, mark: marks.Mark | None) -> Callable:
    """Return the coroutine function with which FastAPI answers requests for generated images.

    It has the parameters seed, stage and truncation, and class if the generator is conditional.

    Args:
        network: a generator that takes latents.
        turns: the queue in which images are computed.
        mark: the mark of the network's images; None: without one.
    """
    functions = {s.name: tf.function(s.function, autograph=False) for s in signatures.network_signatures(network)}
    stages, classes = list(network.resolutions), list(network.classes)
    Seed = Annotated[int, Query(ge=0, lt=2**32, description="which image")]
    Stage = Annotated[int, Query(description="pixels", json_schema_extra={"enum": stages})]
    Truncation = Annotated[float, Query(ge=0, le=1, description="below 1: less varied, more typical images")]
    Class = Annotated[str, Query(description="by default one that follows from the seed", json_schema_extra={"enum": classes})]  # fmt: skip

    def draw(seed: int, stage: int, truncation: float, label: str | None) -> Response:
        values = {"latents": synthesis.latents([seed], network.latent_size), "truncation": np.float32([truncation])}
        if classes:
            label = label or classes[seed % len(classes)]
            values["label"] = np.int32([classes.index(label)])
        image = functions[f"gen_{stage}"](**{k: tf.constant(v) for k, v in values.items()})
        own = mark and mark.for_seeds(str(seed), stage, truncation, label, marks.IMAGE)
        pixels = transparency.clear_hidden(signatures.convert_output(image, "uint8").numpy()[0])
        colours = transparency.count_colours(pixels.shape[-1])
        alpha = pixels[..., colours:] if colours < pixels.shape[-1] else None
        return _answer_png(photos.Photo(pixels[..., :colours], alpha, xmp=marks.make_packet(own)))

    def check_choice(name: str, value, known: list):
        if value not in known:
            raise HTTPException(422, f"{name}={value}: expected one of {', '.join(map(str, known))}.")

    async def plain(
        request: Request, seed: Seed = 0, stage: Stage = stages[-1], truncation: Truncation = 1.0
    ) -> Response:
        _check_names(request, "seed", "stage", "truncation")
        check_choice("stage", stage, stages)
        return await turns(partial(draw, seed, stage, truncation, None))

    async def conditional(
        request: Request,
        seed: Seed = 0,
        stage: Stage = stages[-1],
        truncation: Truncation = 1.0,
        label: Annotated[Class, Query(alias="class")] = None,
    ) -> Response:
        _check_names(request, "seed", "stage", "truncation", "class")
        check_choice("stage", stage, stages)
        if label is not None:
            check_choice("class", label, classes)
        return await turns(partial(draw, seed, stage, truncation, label))

    return conditional if classes else plain


def serve(path: str, host: str, port: int, limits: Limits, say: Callable[[str], None], mark: bool = True) -> None:
    """Serve a network until the process is stopped.

    Args:
        path: a run's folder, an exported folder or a .keras file.
        host: address to listen on.
        port: port to listen on; 0 chooses a free one.
        limits: limits on every request.
        say: called with the server's address as soon as the server accepts requests.
        mark: whether pictures say in their metadata what made them.

    Raises:
        UserError: if networks of this task cannot be served.
    """
    source = sources.open_source(path)
    if not source.task.served:
        *others, last = (name for name, kind in tasks.TASKS.items() if kind.served)
        raise UserError(
            f"{path} was trained to {source.task.name}; serve offers networks that {', '.join(others)} or {last}."
        )
    with contextlib.closing(socket.create_server((host, port), family=hosts.choose_family(host))) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)  # small, to see soon what was read
        config = uvicorn.Config(
            make_application(source, limits, mark),
            log_level="warning",
            server_header=False,
            ws="none",  # a WebSocket would not be subject to the limits of the protocol below
            http=protocol.make_protocol(limits.seconds),
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=5,
        )
        say(hosts.format_address(host, listening.getsockname()[1]))
        _Server(config).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Server that ends the running computation as soon as it is told to end."""

    def handle_exit(self, sig, frame):
        if deadline := getattr(self.config.app.state, "deadline", None):
            deadline.stop()
        super().handle_exit(sig, frame)

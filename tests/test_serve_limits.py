"""What `pggan serve RUN` lets in and what it refuses, function by function: to the byte, and in its words."""

import asyncio
import contextlib
import functools
import io
import logging
import queue
import socket
import struct
import threading
import types
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from export import hosts, source
from pggan_tf import __version__, synthesis
from pggan_tf.data import colour, photos
from pggan_tf.errors import UserError
from tests import stand_ins

fastapi = pytest.importorskip("fastapi", reason="fastapi is not installed (extra serve)")
pytest.importorskip("httpx2", reason="httpx2 is not installed")
import uvicorn  # noqa: E402
from starlette.requests import Request  # noqa: E402
from starlette.testclient import TestClient  # noqa: E402

from export import api  # noqa: E402
from export import protocol as protocols  # noqa: E402

RNG = np.random.default_rng(0)


class Faces:
    """Every pixel is the latent's first numbers, halved, times the truncation; lighter by a quarter for every class."""

    task, latent_size, resolutions, channels = "generate", 8, (4, 8), 3

    def __init__(self, classes=()):
        self.classes = classes

    def shape_at(self, resolution):
        return resolution, resolution

    def __call__(self, latents, resolution, truncation, labels=0):
        colours = truncation * latents[:, :3] / 2 + tf.cast(labels, tf.float32) / 4
        return tf.tile(colours[:, None, None], (1, resolution, resolution, 1))


def face(seed, resolution, truncation=1.0, label=0):
    """uint8 [R,R,3]: what Faces makes, by NumPy."""
    colours = truncation * synthesis.latents([seed], 8)[0, :3] / 2 + label / 4
    values = np.rint(np.clip(colours * 127.5 + 127.5, 0, 255))
    return np.broadcast_to(values, (resolution, resolution, 3)).astype(np.uint8)


def application(network, **limits):
    return api.make_application(source.Source("a-run", network, None, "0"), api.Limits(**limits))


def client(network, **limits):
    return TestClient(application(network, **limits))


def file_of(image, kind="PNG"):
    out = io.BytesIO()
    Image.fromarray(image).save(out, kind)
    return out.getvalue()


def picture(answer):
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png", answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def noise(height, width):
    return RNG.integers(0, 256, (height, width, 3), np.uint8)


def refused(code, what, **headers):
    """A context in which a request is refused so."""
    return pytest.raises(fastapi.HTTPException, check=lambda e: (e.status_code, e.detail, e.headers or {}) == (code, what, headers))  # fmt: skip


BUSY = {"Retry-After": "1"}


async def held(turns, **waiting):
    """A computation that has its turn until the event is set, as a task."""
    begun, end = threading.Event(), threading.Event()
    task = asyncio.create_task(turns(lambda: begun.set() or end.wait(20)))
    assert await asyncio.to_thread(begun.wait, 20)
    return task, end


def test_so_many_wait_and_the_next_is_told():
    async def run():
        turns, order = api.Turns(api.Limits(waiting=2, seconds=5)), []
        first, end = await held(turns)
        waiting = [asyncio.create_task(turns(functools.partial(order.append, i))) for i in range(2)]
        await asyncio.sleep(0)
        with refused(429, "2 requests are waiting already. Try again in a second.", **BUSY):
            await turns(order.clear)
        end.set()
        await asyncio.gather(first, *waiting)
        assert order == [0, 1] and await turns(lambda: 7) == 7

    asyncio.run(run())


def test_who_waits_in_vain_is_told_and_waits_no_longer():
    async def run():
        turns = api.Turns(api.Limits(waiting=1, seconds=0.05))
        first, end = await held(turns)
        for _ in range(2):
            with refused(429, "waited for 0.05 seconds in vain. Try again later.", **BUSY):
                await turns(print)
        end.set()
        await first
        assert await turns(lambda: 7) == 7

    asyncio.run(run())


def test_who_uploads_is_waiting():
    async def run():
        turns, arrived = api.Turns(api.Limits(waiting=1)), asyncio.Event()

        async def slow():
            await arrived.wait()
            return b"photo"

        async def broken():
            raise fastapi.HTTPException(400, "broken off")

        first = asyncio.create_task(turns(bytes.upper, slow))
        await asyncio.sleep(0)
        with refused(429, "1 requests are waiting already. Try again in a second.", **BUSY):
            await turns(bytes.upper, broken)
        arrived.set()
        assert await first == b"PHOTO"
        with refused(400, "broken off"):
            await turns(bytes.upper, broken)
        assert await turns(bytes.upper, slow) == b"PHOTO"

    asyncio.run(run())


def test_a_turn_lasts_until_its_thread_is_done():
    """Whoever went away meanwhile, and whatever the computation ends in."""

    async def run():
        turns, order = api.Turns(api.Limits()), []
        first, end = await held(turns)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        following = asyncio.create_task(turns(functools.partial(order.append, "next")))
        await asyncio.sleep(0.02)
        assert order == []
        end.set()
        await following
        with pytest.raises(ZeroDivisionError):
            await turns(lambda: 1 / 0)
        assert order == ["next"] and await turns(lambda: 7) == 7

    asyncio.run(run())


def test_a_deadline_is_of_the_work_that_began_last(monkeypatch):
    now = types.SimpleNamespace(monotonic=lambda: clock)
    monkeypatch.setattr(api, "time", now)
    clock, deadline = 1000.0, api.Deadline(7.5)
    deadline.start()
    clock = 1007.5
    deadline.check()
    clock = 1007.6
    with refused(413, "it takes more than 7.5 seconds. Send a smaller photo."):
        deadline.check()
    deadline.start()
    deadline.check()


def request(*parts, query="", **headers):
    """A request whose body comes in parts; None: it is broken off, a number: seconds without any."""
    left = list(parts)

    async def receive():
        while isinstance(left[0], float):
            await asyncio.sleep(left.pop(0))
        part = left.pop(0)
        return {"type": "http.disconnect"} if part is None else {"type": "http.request", "body": part, "more_body": bool(left)}  # fmt: skip

    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": named, "query_string": query.encode()}, receive)


def uploaded(*parts, limit=4, seconds=20.0, **headers):
    return asyncio.run(protocols.read_body(request(*parts, **headers), limit, seconds, fastapi.HTTPException))


def test_an_upload_is_let_in_up_to_its_last_byte():
    assert uploaded(b"ab", b"cd") == uploaded(b"abcd", content_length="4") == b"abcd"
    assert uploaded(b"abc", 0.01, b"d", content_length="") == b"abcd" and uploaded(b"") == b""
    for parts in ((b"ab", b"cde"), (b"abcde", None)):
        with refused(413, "more than 4 bytes. Send a smaller file."):
            uploaded(*parts)
    with refused(413, "more than 1,234 bytes. Send a smaller file."):
        uploaded(content_length="1235", limit=1234)  # none of it is asked for
    with refused(408, "the upload took more than 0.05 seconds. Try again."):
        uploaded(b"ab", 5.0, b"c", seconds=0.05)
    with refused(400, "the upload was broken off. Send it again."):
        uploaded(b"ab", None)


def test_other_names_than_those_there_are_are_refused():
    api._check_names(request(query="seed=1&stage=4"), "seed", "stage")
    api._check_names(request(query=""))
    for query, names, words in (
        ("seed=1&x=2", ("seed", "stage"), "x: expected each of seed, stage once at most."),
        ("seed=1&seed=2", ("seed", "stage"), "seed: expected each of seed, stage once at most."),
        ("seed=1", (), "seed: expected nothing after the ?."),
        ("n" * 50 + "=1", (), "n" * 40 + ": expected nothing after the ?."),
    ):
        with refused(422, words):
            api._check_names(request(query=query), *names)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(width, height, *chunks):
    """A PNG that says it has this size, and holds nothing but these chunks."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_a_photo_is_let_in_up_to_its_last_pixel():
    image = noise(6, 10)
    for scale, limit, said in ((1, 60, "10x6 pixels"), (2, 240, "10x6 pixels, 2 times as large")):
        read = api._read_photo(file_of(image), api.Limits(pixels=limit), scale)
        np.testing.assert_array_equal(read.pixels, image)
        with refused(413, f"{said}: more than {limit - 1}. Send a smaller photo."):
            api._read_photo(file_of(image), api.Limits(pixels=limit - 1), scale)
    with refused(413, "60000x60000 pixels: more than 16,000,000. Send a smaller photo."):
        api._read_photo(png_of(60_000, 60_000), api.Limits(), 1)
    long = "a side of 1,000,002 pixels; a PNG has 1,000,000 at most. Send a smaller photo."
    for size in ((500_001, 1), (1, 500_001)):
        with refused(413, long):
            api._read_photo(png_of(*size), api.Limits(), 2)
    with pytest.raises(fastapi.HTTPException, match="422: a photo that cannot be read [(]"):
        api._read_photo(png_of(500_000, 1), api.Limits(), 2)  # as long as may be; of its pixels there are none


def test_what_is_no_photo_is_refused():
    for data in (b"", b"<svg/>", b"GIF89a", file_of(noise(4, 4), "TIFF"), file_of(noise(4, 4), "PPM")):
        with refused(
            415,
            "not a photo of a known kind. Send the bytes of one of JPEG, PNG, WEBP, BMP, GIF as the body, not a form: "
            "curl --data-binary @photo.jpg",
        ):
            api._read_photo(data, api.Limits(), 1)
    bomb = png_of(4, 4, chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(2 << 20))))
    with refused(422, "a photo that cannot be read (ValueError)."):
        api._read_photo(bomb, api.Limits(), 1)
    whole = file_of(noise(64, 64))
    with pytest.raises(fastapi.HTTPException, match="422: a photo that cannot be read [(](?!None).+[)][.]$"):
        api._read_photo(whole[: len(whole) // 2], api.Limits(), 1)


def test_a_seed_is_one_face():
    asked = client(Faces())
    np.testing.assert_array_equal(picture(asked.get("/generate")), face(0, 8))
    made = picture(asked.get("/generate?seed=4294967295&stage=4&truncation=0.5"))
    np.testing.assert_array_equal(made, face(2**32 - 1, 4, 0.5))
    np.testing.assert_array_equal(picture(asked.get("/generate?truncation=0")), face(0, 8, 0.0))
    for query, words in (
        ("stage=16", "stage=16: expected one of 4, 8."),
        ("seeed=5", "seeed: expected each of seed, stage, truncation once at most."),
        ("class=cat", "class: expected each of seed, stage, truncation once at most."),
    ):
        answer = asked.get(f"/generate?{query}")
        assert (answer.status_code, answer.json()) == (422, {"detail": words})
    for query in (
        "seed=-1",
        f"seed={2**32}",
        "seed=x",
        "truncation=-0.1",
        "truncation=1.1",
        "truncation=nan",
        "stage=x",
    ):
        assert asked.get(f"/generate?{query}").status_code == 422, query


def test_a_class_is_the_seed_s_or_the_one_asked_for():
    asked = client(Faces(("cat", "dog")))
    for query, truth in (
        ("", face(0, 8)),
        ("seed=2", face(2, 8)),
        ("seed=3", face(3, 8, label=1)),
        ("seed=3&class=cat&stage=4", face(3, 4)),
        ("seed=4&class=dog&truncation=0.5", face(4, 8, 0.5, 1)),
    ):
        np.testing.assert_array_equal(picture(asked.get(f"/generate?{query}")), truth)
    for query, words in (
        ("class=bird", "class=bird: expected one of cat, dog."),
        ("class=", "class=: expected one of cat, dog."),
        ("stage=16", "stage=16: expected one of 4, 8."),
        ("label=cat", "label: expected each of seed, stage, truncation, class once at most."),
    ):
        answer = asked.get(f"/generate?{query}")
        assert (answer.status_code, answer.json()) == (422, {"detail": words})


def test_each_task_changes_photos_in_its_way():
    image = noise(12, 20)
    colorizer = client(stand_ins.Recolorer(), pixels=12 * 20)
    made, gray = picture(colorizer.post("/colorize", content=file_of(image))), colour.to_gray(image / 255)[..., 0]
    right = np.pad(gray[:, 1:], [(0, 0), (0, 1)])
    np.testing.assert_allclose(made, 255 * np.stack([right, gray / 2, 0 * gray], -1), atol=0.51)
    made = picture(client(stand_ins.Colorizer(constant=[0.0, 0.0])).post("/colorize", content=file_of(image)))
    assert made.shape == image.shape and np.ptp(made.astype(int), axis=-1).max() <= 1, "gray"
    flat = np.full((5, 7, 3), (10, 100, 200), np.uint8)
    upscaler = client(stand_ins.Upscaler(scale=2), pixels=140, upload_bytes=len(file_of(flat)))
    made = picture(upscaler.post("/upscale", content=file_of(flat)))
    np.testing.assert_array_equal(made, np.broadcast_to(flat[0, 0], (10, 14, 3)))
    for answer, code, words in (
        (upscaler.post("/upscale?scale=4", content=file_of(flat)), 422, "scale: expected nothing after the ?."),
        (upscaler.post("/upscale", content=file_of(noise(9, 9))), 413, f"more than {len(file_of(flat))} bytes. Send a smaller file."),
        (upscaler.post("/upscale", content=file_of(flat[:1].repeat(6, 0))), 413, "7x6 pixels, 2 times as large: more than 140. Send a smaller photo."),
        (colorizer.post("/colorize", content=b"text"), 415, None),
    ):  # fmt: skip
        assert answer.status_code == code and words in (None, answer.json()["detail"]), answer.text
    assert colorizer.post("/upscale").status_code == upscaler.post("/colorize").status_code == 404


def test_work_ends_when_the_server_does():
    deadline = api.Deadline(30.0)
    deadline.start()
    deadline.check()
    deadline.stop()
    with pytest.raises(fastapi.HTTPException, match="503: the server is ending"):
        deadline.check()
    network = stand_ins.Upscaler(scale=2)
    app = application(network)
    asked = TestClient(app)
    picture(asked.post("/upscale", content=file_of(noise(4, 4))))
    app.state.deadline.stop()
    answer = asked.post("/upscale", content=file_of(noise(4, 4)))
    assert answer.status_code == 503 and "is ending" in answer.json()["detail"]


class Hungry:
    """A network for which there is no memory."""

    task, scale, multiple, context, input_channels = "upscale", 2, 1, 1, 3

    def __call__(self, image):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM")


@pytest.mark.parametrize("kind, verb", [(stand_ins.Upscaler, "upscale"), (stand_ins.Recolorer, "colorize")])
def test_work_without_an_end_or_without_memory_is_given_up(kind, verb, monkeypatch):
    clock, step = 0.0, 30.0  # seconds between one look at the clock and the next

    def monotonic():
        nonlocal clock
        clock += step
        return clock

    monkeypatch.setattr(api, "time", types.SimpleNamespace(monotonic=monotonic))
    asked, body = client(kind()), file_of(noise(4, 4))
    for _ in range(2):
        picture(asked.post(f"/{verb}", content=body))
    step = 30.5
    answer = asked.post(f"/{verb}", content=body)
    assert (answer.status_code, answer.json()) == (
        413,
        {"detail": "it takes more than 30 seconds. Send a smaller photo."},
    )
    step = 0.0
    answer = client(Hungry()).post("/upscale", content=body)
    assert answer.status_code == 413 and "no memory" in answer.json()["detail"]


def test_what_is_served_is_described():
    """The description is what programs build their requests from."""
    faces, photo = client(Faces(("cat", "dog"))), client(stand_ins.Upscaler(scale=2))
    assert faces.get("/health").json() == {"status": "ok", "task": "generate", "stages": [4, 8]}
    assert photo.get("/health").json() == {"status": "ok", "task": "upscale", "stages": []}
    about = "a-run: a network that was trained to upscale."
    assert photo.get("/").json() == {"about": about, "paths": ["/health", "/upscale", "/openapi.json"]}
    assert all(photo.get(path).status_code == 404 for path in ("/docs", "/redoc", "/generate"))
    described = photo.get("/openapi.json").json()
    assert described["info"] == {"title": "pggan-tf", "version": __version__, "description": about}
    (upscale,) = described["paths"]["/upscale"].values()
    (generate,) = faces.get("/openapi.json").json()["paths"]["/generate"].values()
    (health,) = described["paths"]["/health"].values()
    binary = {"schema": {"type": "string", "format": "binary"}}
    reason = {"application/json": {"schema": {"type": "object", "properties": {"detail": {}}, "required": ["detail"]}}}
    full = {"description": "too many connections", "content": {"text/plain": {"schema": {"type": "string"}}}}
    said = {
        "400": "an upload broken off",
        "408": "a slow upload",
        "413": "too many bytes or pixels, or too much work",
        "415": "not a photo",
        "422": "a damaged photo",
        "429": "too many wait",
    }
    pictures = {"200": {"description": "a picture", "content": {"image/png": binary}}, "503": full}
    assert upscale["responses"] == pictures | {k: {"description": v, "content": reason} for k, v in said.items()}
    assert upscale["requestBody"] == {"required": True, "content": {"image/*": binary}}
    assert upscale["summary"] == "The photo in the body, after upscale, as PNG" and health["responses"]["503"] == full
    said = {"422": "a value that is not allowed", "429": "too many wait"}
    assert generate["responses"] == pictures | {k: {"description": v, "content": reason} for k, v in said.items()}
    assert (generate["summary"], health["summary"]) == ("One image as PNG", "Whether it runs, and what it serves")
    asked = {
        p["name"]: p["schema"] | {"about": p["description"], "required": p["required"]} for p in generate["parameters"]
    }
    abouts = {name: schema.pop("about") for name, schema in asked.items()}
    assert abouts == {
        "seed": "which image",
        "stage": "pixels",
        "truncation": "below 1: less varied, more typical images",
        "class": "by default one that follows from the seed",
    }
    for schema in asked.values():
        assert not schema.pop("required") and schema.pop("description") and schema.pop("title")
    assert asked == {
        "seed": {"type": "integer", "minimum": 0, "exclusiveMaximum": 2**32, "default": 0},
        "stage": {"type": "integer", "enum": [4, 8], "default": 8},
        "truncation": {"type": "number", "minimum": 0, "maximum": 1, "default": 1.0},
        "class": {"type": "string", "enum": ["cat", "dog"]},
    }


class Clock:
    """Timers of a loop, which end when the test says so."""

    def __init__(self):
        self.timers, self.create_task = [], asyncio.get_running_loop().create_task

    def call_later(self, seconds, callback, *arguments):
        timer = asyncio.TimerHandle(seconds, callback, arguments, asyncio.get_running_loop())
        self.timers.append(timer)
        return timer

    def waiting(self, seconds):
        return [t for t in self.timers if t.when() == seconds and not t.cancelled()]

    def end(self, seconds):
        """Lets the one timer of so many seconds end."""
        (timer,) = self.waiting(seconds)
        self.timers.remove(timer)
        timer._run()


class Wire(asyncio.Transport):
    """A connection whose client reads what the test says: `unread` bytes are left of what was written."""

    unread, end = 0, None

    def __init__(self, host="127.0.0.1"):
        super().__init__({"peername": (host, 50000)})
        self.written = bytearray()

    def write(self, data):
        self.written += data

    def get_write_buffer_size(self):
        return self.unread

    def is_closing(self):
        return self.end is not None

    def close(self):
        self.end = self.end or "closed"

    def abort(self):
        self.end = "aborted"

    def pause_reading(self):
        pass

    resume_reading = pause_reading


ASKED = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def connected(scenario):
    """Runs scenario(protocol, wire, clock, answer): a connection that was just made to a server which gives up after 7 seconds;
    awaiting answer() sends the answer to what was asked."""

    async def run():
        answered = asyncio.Event()

        async def app(_scope, _receive, send):
            await answered.wait()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})

        async def answer():
            answered.set()
            for _ in range(10):
                await asyncio.sleep(0)
            answered.clear()
            assert wire.written.endswith(b"ok")

        config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_keep_alive=5)
        config.load()
        wire, clock = Wire(), Clock()
        protocol = type("Protocol", (protocols._Protocol,), {"seconds": 7})(
            config, uvicorn.server.ServerState(), {}, clock
        )
        protocol.connection_made(wire)
        assert len(clock.waiting(7)) == 1 and wire.end is None
        await scenario(protocol, wire, clock, answer)

    asyncio.run(run())


@pytest.mark.parametrize("sent", [[], [ASKED[:20]]])
def test_who_sends_no_whole_header_is_let_go(sent):
    async def scenario(protocol, wire, clock, answer):
        for part in sent:
            protocol.data_received(part)
        clock.end(7)
        assert wire.end == "closed" and clock.waiting(7) == []

    connected(scenario)


@pytest.mark.parametrize("sent", [[], [ASKED[:20]]])
def test_who_is_silent_after_an_answer_is_let_go(sent):
    async def scenario(protocol, wire, clock, answer):
        protocol.data_received(ASKED)
        clock.end(7)
        assert wire.end is None and clock.waiting(7) == [], "it is being answered"
        await answer()
        for part in sent:
            protocol.data_received(part)
        assert len(clock.waiting(7)) == 1
        clock.end(7)
        assert wire.end == "closed"

    connected(scenario)


def test_one_address_has_a_share_of_the_silent_connections(monkeypatch):
    monkeypatch.setattr(protocols, "_SILENT", 3)

    async def scenario(protocol, wire, clock, answer):
        def connect(host):
            other = type(protocol)(protocol.config, protocol.server_state, {}, clock)
            other.connection_made(Wire(host))
            return other

        many = [connect("192.168.1.7") for _ in range(5)]
        assert [one.transport.end for one in many] == [None, None, None, "closed", "closed"]
        for one in many[3:]:
            one.connection_lost(None)
        many[0].data_received(ASKED)
        assert connect("192.168.1.7").transport.end is None, "only two of the others are silent"
        assert connect("192.168.1.8").transport.end is None
        assert all(connect("127.0.0.1").transport.end is None for _ in range(9)), "as many as a proxy brings"

    connected(scenario)


def test_who_asks_again_is_answered_again():
    async def scenario(protocol, wire, clock, answer):
        for _ in range(3):
            protocol.data_received(ASKED)
            await answer()
            assert len(clock.waiting(7)) == 1 and wire.end is None, "one wait at a time"
        assert wire.written.count(b"200 OK") == 3
        protocol.connection_lost(None)
        assert clock.waiting(7) == [] and protocol.connections == set()

    connected(scenario)


def test_who_reads_no_more_of_an_answer_is_let_go():
    async def scenario(protocol, wire, clock, answer):
        protocol.data_received(ASKED)
        wire.unread = 100  # of an answer that is being sent
        clock.end(7)
        assert wire.end is None, "more of it than before"
        await answer()
        for wire.unread in (60, 1):
            clock.end(7)
            assert wire.end is None, "some of it was read"
        clock.end(7)
        assert wire.end == "aborted" and clock.waiting(7) == []

    connected(scenario)


@contextlib.contextmanager
def served(run, host="127.0.0.1", **limits):
    """`api.serve` in a thread -> (its address, uvicorn's server)."""
    said, servers = queue.Queue(), []

    class Held(api._Server):
        def __init__(self, config):
            super().__init__(config)
            servers.append(self)

    def serve():
        try:
            api.serve(str(run), host, 0, api.Limits(**limits), said.put)
        except BaseException as error:
            said.put(error)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "_Server", Held)
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        address = said.get(timeout=30)
    try:
        assert isinstance(address, str) and said.empty(), address
        yield address, servers[0]
    finally:
        for server in servers:
            server.should_exit = True
        thread.join(20)
        for name in ("uvicorn", "uvicorn.access"):  # they write to what is the standard error of this test
            logging.getLogger(name).handlers.clear()
    assert not thread.is_alive() and said.empty(), said.get()


def test_a_run_is_served_at_an_address(tmp_path, monkeypatch):
    monkeypatch.setattr(api, "CONNECTIONS", 3)
    run = stand_ins.saved(stand_ins.Upscaler(scale=2), tmp_path / "run", np.zeros((1, 8, 8, 3), np.float32))
    body, image = file_of(np.full((4, 5, 3), 100, np.uint8)), None
    with served(run, pixels=80) as (address, server), contextlib.ExitStack() as stack:
        port = int(address.removeprefix("http://127.0.0.1:").removesuffix("/"))
        here = ("127.0.0.1", port)

        def ask(data):
            with socket.create_connection(here, timeout=20) as one:
                one.sendall(data)
                return b"".join(iter(lambda: one.recv(1 << 16), b""))

        close = b"Host: x\r\nConnection: close\r\n"
        answer = ask(b"POST /upscale HTTP/1.1\r\n" + close + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        head, _, image = answer.partition(b"\r\n\r\n")
        assert np.asarray(Image.open(io.BytesIO(image))).shape == (8, 10, 3)
        assert b"200 OK" in head and b"server:" not in head.lower()
        config, (listening,) = server.config, server.servers[0].sockets
        assert (config.timeout_keep_alive, config.timeout_graceful_shutdown) == (5, 5)
        assert config.http_protocol_class.seconds == 30 and issubclass(config.http_protocol_class, protocols._Protocol)
        assert 1 << 17 < listening.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 1 << 19
        for _ in range(2):
            stack.enter_context(socket.create_connection(here))
        assert b"503 Service Unavailable" in ask(b"GET /health HTTP/1.1\r\n" + close + b"\r\n")


def test_what_cannot_be_served_is_told(tmp_path):
    run = stand_ins.saved(stand_ins.Translator(), tmp_path / "run", np.zeros((1, 16, 16, 3), np.float32))
    with pytest.raises(
        UserError, match=f"^{run} was trained to translate; serve offers networks that generate, colorize"
    ):
        api.serve(str(run), "127.0.0.1", 0, api.Limits(), print)


@pytest.mark.parametrize(
    "host, local, family, address",
    [
        ("localhost", True, socket.AF_INET, "http://localhost:80/"),
        ("127.0.0.1", True, socket.AF_INET, "http://127.0.0.1:80/"),
        ("127.8.9.1", True, socket.AF_INET, "http://127.8.9.1:80/"),
        ("::1", True, socket.AF_INET6, "http://[::1]:80/"),
        ("::", False, socket.AF_INET6, "http://[::]:80/"),
        ("0.0.0.0", False, socket.AF_INET, "http://0.0.0.0:80/"),
        ("10.127.0.1", False, socket.AF_INET, "http://10.127.0.1:80/"),
        ("my.host", False, socket.AF_INET, "http://my.host:80/"),
    ],
)
def test_hosts(host, local, family, address):
    assert (hosts.is_loopback(host), hosts.choose_family(host), hosts.format_address(host, 80)) == (
        local,
        family,
        address,
    )


def test_a_picture_is_answered_whole():
    image = RNG.integers(0, 65536, (3, 4, 3), np.uint16)
    answer = api._answer_png(photos.Photo(image))
    assert answer.media_type == "image/png"
    np.testing.assert_array_equal(photos.read(bytes(answer.body)).pixels, image)

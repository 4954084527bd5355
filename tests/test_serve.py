"""`pggan serve RUN`: what it answers, what it refuses, and that it stays what it was under load and nonsense."""

import concurrent.futures
import contextlib
import dataclasses
import http.client
import io
import itertools
import json
import re
import signal
import socket
import struct
import sys
import threading
import time
import types
import zlib

import keras
import numpy as np
import pytest
from PIL import Image, ImageCms

from export import hosts, serve, source
from pggan_tf import synthesis, tasks
from pggan_tf.data import marks, photos, pixels, portraits
from pggan_tf.errors import UserError
from pggan_tf.networks import progressive, tiles
from tests import stand_ins
from tests.conftest import pggan, start

fastapi = pytest.importorskip("fastapi", reason="fastapi is not installed (extra serve)")
pytest.importorskip("httpx2", reason="httpx2 is not installed")
from starlette.testclient import TestClient  # noqa: E402

from export import api  # noqa: E402


def generator(classes=()):
    keras.utils.set_random_seed(1)
    network = progressive.Generator((4, 8), channels=3, fmap_base=64, fmap_max=8, latent_size=8, classes=classes)
    network.build()
    return synthesis.finish(network, synthesis.calibration_latents(network.latent_size, 64))


def colorizer():
    network = stand_ins.Colorizer()
    network(np.zeros((1, 64, 64, 1), np.float32))
    return network


def upscaler():
    network = stand_ins.Upscaler(scale=2, depth=2)
    network.resolutions = (32,)
    network(np.zeros((1, 8, 8, 3), np.float32))
    return network


NETWORKS = {
    "generate": generator,
    "classes": lambda: generator(("cat", "dog")),
    "colorize": colorizer,
    "upscale": upscaler,
}


@pytest.fixture(scope="module")
def networks():
    return {name: make() for name, make in NETWORKS.items()}


def application(network, **limits):
    return api.make_application(source.Source("a-run", network, None, "0"), api.Limits(**limits))


def client(network, **limits):
    return TestClient(application(network, **limits), raise_server_exceptions=False)


def picture(answer):
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png", answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))


def file_of(image, kind="PNG", **options):
    out = io.BytesIO()
    Image.fromarray(image).save(out, kind, **options)
    return out.getvalue()


def refused(answer, code, *words):
    assert answer.status_code == code and all(w in str(answer.json()["detail"]) for w in words), answer.text


def test_a_seed_is_the_same_face(networks):
    network, asked = networks["generate"], client(networks["generate"])
    for seed, stage, truncation in ((0, 8, 1.0), (5, 4, 0.5), (2**32 - 1, 8, 0.0)):
        made = picture(asked.get(f"/generate?seed={seed}&stage={stage}&truncation={truncation}"))
        z = synthesis.latents([seed], 8)
        truth = synthesis.Sampler(network, 1).images(z, stage, truncation=truncation)[0]
        assert np.abs(made.astype(int) - truth).max() <= 1
    np.testing.assert_array_equal(picture(asked.get("/generate")), picture(asked.get("/generate?seed=0&stage=8")))
    assert asked.get("/health").json() == {"status": "ok", "task": "generate", "stages": [4, 8]}


def test_classes(networks):
    network, asked = networks["classes"], client(networks["classes"])
    z = synthesis.latents([4], 8)
    for name, label in (("cat", 0), ("dog", 1)):
        truth = synthesis.Sampler(network, 1).images(z, 8, labels=np.array([label]))[0]
        assert np.abs(picture(asked.get(f"/generate?seed=4&class={name}")).astype(int) - truth).max() <= 1
    # Without a class it is what `pggan generate` makes of the seed.
    np.testing.assert_array_equal(
        picture(asked.get("/generate?seed=4")), picture(asked.get("/generate?seed=4&class=cat"))
    )
    refused(asked.get("/generate?class=bird"), 422, "class=bird", "cat, dog")


def test_what_is_no_seed_or_stage_is_refused(networks):
    asked = client(networks["generate"])
    assert {"/generate", "/health", "/openapi.json"} <= set(asked.get("/").json()["paths"])
    for query, *words in (
        ("seed=-1", "greater than or equal to 0"),
        (f"seed={2**32}", "less than 4294967296"),
        ("seed=x", "valid integer"),
        ("seed=" + "9" * 5000, "seed"),
        ("seeed=5", "seeed: expected each of seed, stage, truncation once at most"),
        ("seed=5&seed=6", "once at most"),
        ("stage=16", "stage=16: expected one of 4, 8"),
        ("truncation=nan", "truncation"),
        ("truncation=1.5", "truncation"),
    ):
        refused(asked.get(f"/generate?{query}"), 422, *words)
    assert asked.post("/generate").status_code == 405 and asked.get("/upscale").status_code == 404


def test_photos_are_changed_as_the_command_line_changes_them(networks, tmp_path):
    image = portraits.draw(1, 64)[:40, :]
    made = picture(client(networks["upscale"]).post("/upscale", content=file_of(image)))
    np.testing.assert_array_equal(made, tasks.Upscale().converter(networks["upscale"])(photos.Photo(image)).pixels)
    assert made.shape == (80, 128, 3)
    made = picture(client(networks["colorize"]).post("/colorize", content=file_of(image, "JPEG")))
    assert made.shape == image.shape and made[..., 0].mean() > made[..., 2].mean() + 10, "reddish"
    gray = file_of(image[..., 0])
    assert picture(client(networks["colorize"]).post("/colorize", content=gray)).shape == image.shape
    # Gray, depth, transparency and profile are kept: the answer is the file that the command line writes.
    rng, profile = np.random.default_rng(0), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    deep = rng.integers(0, 65536, (20, 24, 4), np.uint16)
    packet = marks.make_packet(marks.Mark(marks.CHANGED, "a-run", "0"))
    for photo in (
        photos.Photo(image[..., :1]),
        photos.Photo(deep[..., :1]),
        photos.Photo(deep[..., :3], deep[..., 3:], profile),
        photos.Photo(image, image[..., :1], profile),
    ):
        photos.write(tmp_path / "given.png", photo)
        for verb, change in (("upscale", tasks.Upscale().converter), ("colorize", tasks.Colorize().converter)):
            changed = change(networks[verb])(photos.read((tmp_path / "given.png").read_bytes()))
            photos.write(tmp_path / "made.png", dataclasses.replace(changed, xmp=packet))
            answer = client(networks[verb]).post(f"/{verb}", content=(tmp_path / "given.png").read_bytes())
            assert answer.content == (tmp_path / "made.png").read_bytes()
        kept = photos.read(answer.content)
        assert (kept.pixels.dtype, kept.profile) == (photo.pixels.dtype, photo.profile)
        assert (kept.alpha is None) == (photo.alpha is None)
    turned = Image.Exif()
    turned[0x0112] = 6
    upright = picture(client(networks["upscale"]).post("/upscale", content=file_of(image, "JPEG", exif=turned)))
    assert upright.shape == (128, 80, 3)
    # A profile that is damaged costs no more than itself.
    broken = file_of(image, "JPEG", icc_profile=profile[:300])
    assert photos.read(broken).profile == profile[:300]
    for verb in ("upscale", "colorize"):
        answer = client(networks[verb]).post(f"/{verb}", content=broken)
        whole = client(networks[verb]).post(f"/{verb}", content=file_of(image, "JPEG", icc_profile=profile))
        np.testing.assert_array_equal(picture(answer), picture(whole))
        assert photos.read(whole.content).profile == profile != photos.read(answer.content).profile


def bomb(width, height):
    """A PNG of a few bytes that says it is huge."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def test_bad_uploads_are_refused_with_a_reason(networks):
    asked = client(networks["upscale"], upload_bytes=20_000, pixels=10_000)
    good = file_of(portraits.draw(1, 32))
    for body, code, *words in (
        (b"", 415, "not a photo"),
        (b"<svg/>", 415, "JPEG, PNG"),
        (b"GIF89a", 415, "JPEG, PNG"),
        (good[: len(good) // 2], 422, "cannot be read"),
        (bomb(60_000, 60_000), 413, "60000x60000"),
        (bomb(51, 50), 413, "51x50", "2 times as large"),
        (bomb(20, 20), 422, "cannot be read"),
        (b"x" * 20_001, 413, "20,000 bytes"),
    ):
        refused(asked.post("/upscale", content=body), code, *words)
    # Without a length, what has come so far is counted.
    refused(asked.post("/upscale", content=(b"x" * 1000 for _ in range(30))), 413, "20,000 bytes")
    picture(asked.post("/upscale", content=good))
    # Few pixels, all in one row: a PNG that could be read, and whose answer could not be written.
    row = file_of(np.zeros((1, 600_000), np.uint8))
    refused(client(networks["upscale"]).post("/upscale", content=row), 413, "1,200,000 pixels", "1,000,000 at most")


def test_other_kinds_of_photos_than_it_names_are_refused(networks, monkeypatch):
    """Decoders that few photos need are not opened to strangers, whatever the command line reads."""
    asked = client(networks["upscale"])
    image = portraits.draw(1, 16)
    for kind in ("JPEG", "PNG", "WEBP", "BMP", "GIF"):
        picture(asked.post("/upscale", content=file_of(image, kind)))
    for kind in ("TIFF", "AVIF", "JPEG2000", "PPM", "ICO", "TGA", "PDF", "PCX", "SGI", "DDS"):
        refused(asked.post("/upscale", content=file_of(image, kind)), 415, "JPEG, PNG, WEBP, BMP, GIF as the body")
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    refused(asked.post("/upscale", content=heic), 415, "not a photo")
    # Twice: the reader is told what may be read, too.
    formats = []
    read = photos.read
    monkeypatch.setattr(photos, "read", lambda data, *more: formats.append(more) or read(data, *more))
    picture(asked.post("/upscale", content=file_of(image)))
    assert formats == [(("JPEG", "PNG", "WEBP", "BMP", "GIF"),)]


def test_limits_are_what_is_let_in(networks):
    good = file_of(portraits.draw(1, 32))
    exactly = {"upload_bytes": len(good), "pixels": 64 * 64}
    picture(client(networks["upscale"], **exactly).post("/upscale", content=good))
    for name, words in (("upload_bytes", f"more than {len(good) - 1:,} bytes"), ("pixels", "more than 4,095")):
        asked = client(networks["upscale"], **{**exactly, name: exactly[name] - 1})
        refused(asked.post("/upscale", content=good), 413, words)
        if name == "upload_bytes":
            refused(asked.post("/upscale", content=iter([good])), 413, words)


def test_the_command_s_limits_reach_the_server(monkeypatch, tmp_path):
    asked, said = [], []
    monkeypatch.setattr(
        api, "serve", lambda path, host, port, limits, say, mark: asked.append(limits) or said.append(mark)
    )
    assert pggan("serve", tmp_path)[0] == 0
    many = ("--no-mark", "--max-mb", "2", "--max-megapixels", "0.5", "--waiting", "3", "--timeout", "7")
    assert pggan("serve", tmp_path, *many)[0] == 0
    assert asked == [api.Limits(16 << 20, 16_000_000, 16, 30.0), api.Limits(2 << 20, 500_000, 3, 7.0)]
    assert asked[0] == api.Limits() and said == [True, False]


def test_pictures_say_what_made_them(networks):
    def mark_of(answer):
        with Image.open(io.BytesIO(answer.content)) as image:
            return image.info.get("xmp")

    source_type, digest = marks.GENERATED, "ab" * 32
    for name, verb in (("classes", "generate?seed=5&truncation=0.5"), ("upscale", "upscale"), ("colorize", "colorize")):
        opened = source.Source("a-run", networks[name], None, digest)
        photo = file_of(portraits.draw(1, 32))
        for marked in (True, False):
            asked = TestClient(api.make_application(opened, api.Limits(), marked))
            answer = asked.get(verb) if name == "classes" else asked.post(verb, content=photo)
            packet = mark_of(answer)
            if not marked:
                assert answer.status_code == 200 and packet is None
                continue
            expected = marks.Mark(source_type, "a-run", digest)
            if name == "classes":
                expected = expected.for_seeds("5", 8, 0.5, "dog", marks.IMAGE)
            assert marks.read(packet) == expected
        source_type = marks.CHANGED


def test_what_there_is_no_memory_for_is_refused(networks, monkeypatch):
    def full(photo):
        raise UserError("96x64 pixels at once: no memory.")

    monkeypatch.setattr(tasks.Upscale, "converter", lambda *a, **k: full)
    answer = client(networks["upscale"]).post("/upscale", content=file_of(portraits.draw(1, 32)))
    refused(answer, 413, "no memory")


def test_what_takes_too_long_is_given_up_between_two_tiles(networks, monkeypatch):
    large = file_of(portraits.draw(1, 256).repeat(3, 1))
    assert len(list(tiles.split_side(768, 256, networks["upscale"].context))) > 1
    asked = {verb: client(networks[verb]) for verb in ("upscale", "colorize")}
    for verb in asked:
        picture(asked[verb].post(f"/{verb}", content=large))
    clock = itertools.count(0, 20)  # seconds that pass between one look at it and the next
    monkeypatch.setattr(api, "time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    for verb in asked:
        refused(asked[verb].post(f"/{verb}", content=large), 413, "more than 30 seconds", "smaller photo")


def test_no_path_of_a_request_is_one(networks, tmp_path):
    """Nothing of an address is opened while it is answered, whatever it looks like."""
    asked = client(networks["generate"])
    picture(asked.get("/generate"))
    secret = tmp_path / "secret.png"
    secret.write_bytes(file_of(portraits.draw(1, 8)))
    seen, watched = [], True  # a hook is there for good
    sys.addaudithook(lambda event, details: seen.append(str(details[0])) if watched and event == "open" else None)
    for path in (f"/{secret}", "/..%2f..%2fetc/passwd", "/generate/../../etc/passwd", f"/generate?seed={secret}", f"/generate?stage=../{secret}", "/openapi.json"):  # fmt: skip
        assert asked.get(path).status_code in (200, 404, 422)
    assert [s for s in seen if "secret" in s or "etc" in s] == []
    secret.read_bytes()
    watched = False
    assert seen[-1] == str(secret)  # it would have been seen


def test_it_is_described(networks):
    described = client(networks["upscale"]).get("/openapi.json").json()
    assert set(described["paths"]) == {"/health", "/upscale"}
    assert set(described["paths"]["/upscale"]["post"]["responses"]) == {
        "200",
        "400",
        "408",
        "413",
        "415",
        "422",
        "429",
        "503",
    }
    assert client(networks["generate"]).get("/docs").status_code == 404  # it would load code from elsewhere


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_fuzz(networks, name):
    """Requests made from the description, right and wrong: never a 5xx, always what the description says."""
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    import hypothesis
    from hypothesis import strategies as st

    # What a description cannot say: only bytes that are a photo are right. Other bytes have a test of their own.
    right = [file_of(portraits.draw(1, 16), kind) for kind in ("PNG", "JPEG", "WEBP")]
    schemathesis.openapi.media_type("image/*", st.sampled_from(right))
    schema = schemathesis.openapi.from_asgi("/openapi.json", application(networks[name]))
    settings = hypothesis.settings(max_examples=30, deadline=None, database=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
    codes = set()
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in schemathesis.GenerationMode:
            if mode is schemathesis.GenerationMode.NEGATIVE and operation.path != "/generate":
                continue  # it has parameters; the others have none that could be wrong
            cases = operation.as_strategy(generation_mode=mode)

            @settings
            @hypothesis.given(case=cases)
            def run(case):
                answer = case.call()
                codes.add(answer.status_code)
                assert answer.status_code < 500
                case.validate_response(answer)

            run()
    assert {"generate": {200, 422}, "classes": {200, 422}}.get(name, {200}) <= codes


def test_bytes_that_look_like_photos(networks):
    """Photos with a few bytes changed: read, or refused."""
    hypothesis = pytest.importorskip("hypothesis")
    from hypothesis import strategies as st

    asked = client(networks["upscale"], pixels=100_000)
    image = portraits.draw(1, 32)
    starts = [file_of(image, kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP")]
    changes = st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=6)

    @hypothesis.settings(max_examples=150, deadline=None, database=None, derandomize=True)
    @hypothesis.given(st.sampled_from(starts), changes, st.integers(0, 100))
    def run(data, changes, cut):
        data = bytearray(data)
        for at, value in changes:
            data[at % len(data)] = value
        answer = asked.post("/upscale", content=bytes(data[: len(data) - cut]))
        assert answer.status_code in (200, 413, 415, 422)
        if answer.status_code != 200:
            assert answer.json()["detail"]

    run()


class running:
    """`pggan serve` as a process."""

    code = None

    def __init__(self, *arguments, host="127.0.0.1"):
        self.arguments, self.host = arguments, host

    def __enter__(self):
        self.process = start("-m", "tests.stand_ins", "serve", *self.arguments, "--host", self.host, "--port", "0")
        line = self.process.stdout.readline()
        assert line.startswith(hosts.format_address(self.host, 0).rstrip("0/")), line + self.process.stderr.read()
        self.port = int(line.strip().rstrip("/").rpartition(":")[2])
        return self

    def __exit__(self, *_):
        if self.code is None:
            self.stop()

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=30)
        self.code, self.errors = self.process.returncode, err

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.getheader("retry-after"), answer.read()
        finally:
            connection.close()


@pytest.mark.slow
def test_load(tmp_path):
    """Forty at once, many times over, good and bad: each gets a picture or a reason, and memory stays what it was."""
    psutil = pytest.importorskip("psutil")
    run = stand_ins.saved(stand_ins.Upscaler(depth=2), tmp_path / "run", np.zeros((1, 8, 8, 3), np.float32))
    good, broken = file_of(portraits.draw(1, 64)), file_of(portraits.draw(1, 64))[:300]
    with running(run, "--waiting", "32") as server, concurrent.futures.ThreadPoolExecutor(40) as pool:
        assert server.ask("POST", "/upscale", good)[0] == 200

        def load(count):
            bodies = [broken if i % 5 == 4 else good for i in range(count)]
            answers = list(pool.map(lambda body: server.ask("POST", "/upscale", body), bodies))
            for body, (code, retry, content) in zip(bodies, answers):
                assert code in (200, 429) if body is good else code in (422, 429), code
                assert (retry == "1") == (code == 429)
                assert content[:4] == b"\x89PNG" if code == 200 else json.loads(content)["detail"]
            return sum(code == 200 for code, _, _ in answers)

        memory = psutil.Process(server.process.pid).memory_info
        load(150)
        before = memory().rss
        assert load(600) > 0
        assert memory().rss - before < 40 << 20
        assert server.ask("GET", "/health")[0] == 200
    assert server.code == 0 and "Traceback" not in server.errors, server.errors


@pytest.fixture(scope="module")
def impatient(tmp_path_factory):
    """A server with room for three that waits for nobody longer than five seconds; at its end, it has met no error."""
    folder = tmp_path_factory.mktemp("impatient")
    run = stand_ins.saved(stand_ins.Upscaler(), folder / "run", np.zeros((1, 8, 8, 3), np.float32))
    with running(run, "--timeout", "5", "--waiting", "3") as server:
        yield server
    assert server.code == 0 and "Traceback" not in server.errors, server.errors


def test_a_slow_upload_is_given_up_and_holds_up_nobody(impatient):
    server, good = impatient, file_of(portraits.draw(1, 16))
    slow = socket.create_connection(("127.0.0.1", server.port), timeout=30)
    slow.sendall(b"POST /upscale HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\nfirst")
    assert server.ask("POST", "/upscale", good)[0] == 200
    answer = b""
    while b"took more than" not in answer and (part := slow.recv(4096)):
        answer += part
    assert answer.startswith(b"HTTP/1.1 408") and b"5 seconds" in answer
    slow.close()
    gone = socket.create_connection(("127.0.0.1", server.port), timeout=30)  # a client that goes away
    gone.sendall(b"POST /upscale HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(good) + good[:10])
    gone.close()
    time.sleep(0.2)
    assert server.ask("POST", "/upscale", good)[0] == 200


def headers(path, length, *more):
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {length}", *more, "", ""]).encode()


def test_uploads_are_waiting_requests(impatient):
    """There is room for so many: a further one is refused before any of it is read."""
    server, good = impatient, file_of(portraits.draw(1, 16))
    slow = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(3)]
    for one in slow:
        one.sendall(headers("/upscale", len(good), "Expect: 100-continue"))
        assert one.recv(4096).startswith(b"HTTP/1.1 100")  # its turn to upload
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as further:
        further.sendall(headers("/upscale", 5000))
        answer = further.recv(4096)
    assert answer.startswith(b"HTTP/1.1 429") and b"retry-after: 1" in answer
    for one in slow:
        one.sendall(good)
        assert one.recv(4096).startswith(b"HTTP/1.1 200")
        one.close()
    assert server.ask("POST", "/upscale", good)[0] == 200


def test_who_is_silent_is_let_go(impatient):
    """As many connections as there may be, none of which asks for anything: they are closed, and others are answered."""
    server, begun = impatient, b"GET /health HTTP/1.1\r\nHost: x\r\n"
    with contextlib.ExitStack() as stack:
        silent = []
        for i in range(api.CONNECTIONS):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            one.sendall(
                (b"", begun, begun + b"\r\n")[i % 3]
            )  # nothing; half of a header; one request, and then half of one
            silent.append(one)
        for one in silent[2::3]:
            assert one.recv(4096).startswith(b"HTTP/1.1 ")
            one.sendall(begun)
        for one in silent:
            with contextlib.suppress(ConnectionResetError):
                while one.recv(4096):
                    pass  # until it is closed
        assert server.ask("GET", "/health")[0] == 200


def large_answer(server, body, window):
    """A connection that several MB wait in, of which the client's system takes `window` bytes; and how many they are."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    one.settimeout(60)
    one.connect(("127.0.0.1", server.port))
    one.sendall(headers("/upscale", len(body)) + body)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += one.recv(1)
    assert head.startswith(b"HTTP/1.1 200"), head
    return one, int(re.search(rb"content-length: (\d+)", head)[1])


@pytest.mark.slow
def test_who_does_not_read_an_answer_is_let_go(tmp_path):
    """But not who reads it slowly; and the server can be stopped meanwhile."""
    psutil = pytest.importorskip("psutil")
    run = stand_ins.saved(stand_ins.Upscaler(), tmp_path / "run", np.zeros((1, 8, 8, 3), np.float32))
    noise = file_of(np.random.default_rng(0).integers(0, 256, (250, 250, 3), np.uint8))
    with running(run, "--timeout", "2") as server, contextlib.ExitStack() as stack:
        silent, size = large_answer(server, noise, 4096)
        slow, _ = large_answer(server, noise, 1 << 16)
        stack.enter_context(silent), stack.enter_context(slow)
        file = stack.enter_context(slow.makefile("rb"))
        for _ in range(100):
            assert len(file.read(size // 100)) == size // 100
            time.sleep(0.05)  # longer than the server waits, all in all
        taken, own = psutil.Process(server.process.pid).net_connections, silent.getsockname()
        wait = iter(range(300))
        while any(c.raddr == own for c in taken()):
            assert next(wait, None) is not None, "it is still connected"
            time.sleep(0.1)
        stack.enter_context(large_answer(server, noise, 4096)[0])
        server.stop()
    assert server.code == 0 and "Traceback" not in server.errors, server.errors


def test_ipv6(tmp_path):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as reason:
        pytest.skip(f"no IPv6 here: {reason}")
    run = stand_ins.saved(stand_ins.Upscaler(), tmp_path / "run", np.zeros((1, 8, 8, 3), np.float32))
    with running(run, host="::1") as server:
        assert server.ask("GET", "/health")[0] == 200
    with serve.make_site_server(tmp_path, "::1", 0) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        server.port = site.server_port
        assert server.ask("GET", "/run/generator.keras")[0] == 200
        site.shutdown()


def test_what_cannot_be_served_is_told(tmp_path):
    code, _, err = pggan("serve", tmp_path)
    assert code == 2 and "no generator.keras" in err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        generator().save(tmp_path / "generator.keras")
        code, _, err = pggan("serve", tmp_path, "--port", taken.getsockname()[1])
    assert code == 2 and "cannot be listened on" in err and "--port" in err, err


def test_pictures_are_whole(networks):
    """Round trip: PNG is lossless, gray networks give gray pictures."""
    image = pixels.to_uint8(np.linspace(-1, 1, 48).reshape(4, 12, 1))
    answer = api._answer_png(photos.Photo(image))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(answer.body))), image[..., 0])

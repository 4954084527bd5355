"""Nonsense at the studio's server: no 5xx, no path outside, nothing that is not a sentence."""

import asyncio
import contextlib
import json
import random
import time

import pytest

from tests.studio_stand import HOST, Asker, copy_pretrained, draw_photos, make_studio, write_run

pytest.importorskip("fastapi", reason="fastapi is not installed (extra serve)")

SECRET = b"a secret of another folder"
RUN = "00000-pggan-portraits-8"
PATHS = [
    "GET /", "GET /static/{text}", "GET /api/studio", "GET /api/browse", "GET /api/folders", "POST /api/folders",
    "GET /api/folders/{folder}", "POST /api/uploads", "PUT /api/folders/{folder}/files", "GET /api/folders/{folder}/photos",
    "GET /api/folders/{folder}/photos/{number}.jpg", "PUT /api/folders/{folder}/photos/{number}",
    "POST /api/folders/{folder}/look", "POST /api/plan", "GET /api/queue", "POST /api/queue", "DELETE /api/queue/{text}",
    "POST /api/queue/{text}/move", "GET /api/runs", "GET /api/runs/{run}", "GET /api/runs/{run}/files/{file}",
    "POST /api/runs/{run}/pause", "POST /api/runs/{run}/go-on", "POST /api/runs/{run}/name", "GET /api/runs/{run}/generator",
    "GET /api/runs/{run}/faces.png", "GET /api/runs/{run}/face.png", "GET /api/runs/{run}/sliders",
    "PUT /api/runs/{run}/sliders/{number}", "GET /api/runs/{run}/sliders/{number}.png", "POST /api/runs/{run}/nearest",
    "POST /api/runs/{run}/walk", "POST /api/runs/{run}/project", "POST /api/runs/{run}/convert",
    "POST /api/runs/{run}/export", "POST /api/runs/{run}/phone", "GET /api/runs/{run}/phone", "GET /api/runs/{run}/made",
    "DELETE /api/runs/{run}/made/{text}", "POST /api/queue/{text}/again", "GET /api/jobs", "GET /api/jobs/{text}",
    "DELETE /api/jobs/{text}", "GET /api/compare", "GET /api/{text}", "GET /{text}", "DELETE /api/runs/{text}",
    "DELETE /api/folders/{text}",
]  # fmt: skip
TEXTS = [
    "", "..", "../..", "../../secret/a.png", "..%2f..%2fsecret%2fa.png", "....//....//secret/a.png", "/etc/passwd",
    "//etc/passwd", "~/.ssh", "~root", "secret/a.png", ".studio", ".studio/key", "C:\\Windows", "\\\\host\\share", "file:///etc/passwd",
    "a\x00b", "\x00", "\n", "\u202e", "\ud800", "ä", "🙂" * 40, "a" * 300, "a" * 9000, "%", "%00", "%zz", "{}", "[]", "null", "NaN",
    "-1", "0", "1e999", "1" * 400, "true", "<script>", "' or 1=1", "$(id)", "; id", "|id", "--help", "--resume", "con", "key",
    "index.html", "../index.html", "config.json", "reals.png", "studio", "checkpoints", "http://evil.example/", "hf://a/b",
]  # fmt: skip
NAMES = [
    "path", "name", "filter", "page", "side", "size", "shape", "crop", "faces", "margin", "least", "left_out", "title", "to",
    "minutes", "data", "recipe", "target_res", "options", "seed", "seeds", "stage", "truncation", "sliders", "columns", "mix",
    "scale", "class", "download", "hints", "saturation", "seconds", "format", "on", "runs", "key", "nothing",
]  # fmt: skip
VALUES = [
    None, True, False, 0, 1, -1, 3, 0.5, 1e308, -1e308, 10**400, float("nan"), float("inf"), [], {}, [1, 2, 3, 4], [0, 0, 9, 9],
    [1e308] * 4, [None] * 4, ["a"] * 4, {"run": RUN}, {"run": ".."}, {"path": "/etc"}, {"init_from": "/etc"},
    {"init_from": RUN}, {"data": "/etc"}, {"vgg_weights": "/etc/passwd"}, {"features": "../x.keras"}, {"batch": {"4": 1}},
    {"batch": [1]}, {"total_images": 10**30}, {"metrics": ["swd"]}, {"metrics": "/etc"}, {"resolutions": "4,,8"}, {"shape": "0:0"},
    {"shape": "auto"}, {"target_res": "9x9"}, [[[[[]]]]], "auto", "portraits", "pggan", "srgan", "16", "192x256", "3:4", "web", "keras",
    "0-15", "5,7-9", "1:3,2:-1", "120,80=c03020", "kept", "doubtful", "centre",
]  # fmt: skip
# Bodies that make sense, of which one entry is changed.
BODIES = {
    "/api/folders": {"path": "~/photos"},
    "/api/folders/{folder}/look": {
        "size": 16,
        "shape": None,
        "crop": "centre",
        "faces": False,
        "margin": 0.3,
        "least": None,
    },
    "/api/folders/{folder}/photos/{number}": {"crop": [1, 2, 30, 30], "left_out": False},
    "/api/plan": {"data": "portraits", "recipe": "pggan", "target_res": 16, "options": {"total_images": 3000}},
    "/api/queue": {
        "data": "portraits",
        "recipe": "pggan",
        "target_res": 16,
        "options": {"total_images": 3000},
        "name": "a",
    },
    "/api/runs/{run}/name": {"title": "a"},
    "/api/runs/{run}/sliders/{number}": {"name": "smile"},
    "/api/runs/{run}/walk": {"seeds": "0-3", "seconds": 1},
    "/api/runs/{run}/export": {"format": "keras", "name": "a"},
    "/api/runs/{run}/go-on": {"minutes": 3},
}
METHODS = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "get", "X" * 50]


def invent(random, folder):
    """A request that makes little sense: (method, path, query, body, headers)."""

    def some_text():
        text = random.choice(TEXTS)
        if random.random() < 0.3:
            text = random.choice((f"{text}/{random.choice(TEXTS)}", f"{RUN}/{text}", f"{text}.png"))
        return text

    method, path = random.choice(PATHS).split(" ", 1)
    usual_body = BODIES.get(path)
    for name, usual in (("folder", folder), ("run", RUN), ("number", "1"), ("file", "reals.png"), ("text", "x")):
        while f"{{{name}}}" in path:
            path = path.replace(f"{{{name}}}", usual if random.random() < 0.7 else some_text(), 1)
    if random.random() < 0.3:
        path = path.replace(RUN, "00007-portraits")
    path = path.encode("utf-8", "replace").decode()
    pairs = [
        (random.choice(NAMES), random.choice((some_text(), str(random.choice(VALUES)))))
        for _ in range(random.randrange(4))
    ]
    query = "&".join(f"{name}={value}" for name, value in pairs).encode("utf-8", "replace")
    content = {
        random.choice(NAMES): random.choice((some_text(), random.choice(VALUES))) for _ in range(random.randrange(5))
    }
    if usual_body and random.random() < 0.8:
        content = {**usual_body, random.choice([*usual_body]): random.choice((some_text(), random.choice(VALUES)))}
    body = json.dumps(content).encode()
    if random.random() < 0.2:
        body = random.choice((b"", b"{", b"[" * 100_000, b"\xff\xfe", body[:-1], b"null", b"7", random.randbytes(200)))
    headers = {}
    if random.random() < 0.1:
        odd = random.choice(("", "evil.example", "\x00", "a" * 500, "null", HOST, "1", "-1", "999999999999"))
        name = random.choice(("host", "origin", "cookie", "x_studio", "content_length", "range", "content_type"))
        headers = {name: None if random.random() < 0.2 else odd}
    return random.choice(METHODS) if random.random() < 0.1 else method, path, query, body, headers


def list_files(place):
    """All that lies in a folder, with times and sizes."""
    return {str(p): (p.lstat().st_mtime_ns, p.lstat().st_size) for p in place.rglob("*") if not p.is_dir()}


def throw(asker, place, folder, count, seed):
    """Send many requests. Return how many there were of each status."""
    chosen, statuses = random.Random(seed), {}
    outside = {place / "secret", place / "home" / "photos"}
    before = {p: list_files(p) for p in outside}

    async def send_all():
        for _ in range(count):
            method, path, query, body, headers = invent(chosen, folder)
            if path.startswith("/api/events"):
                continue
            try:
                status, names, data = await asyncio.wait_for(asker.send(method, path, query, body, **headers), 60)
            except TimeoutError:
                raise AssertionError(f"no answer: {method} {path} {query} {body[:200]}") from None
            what = f"{method} {path} {query!r} {body[:200]!r} {headers}: {status} {data[:300]!r}"
            assert 200 <= status < 500, what
            assert SECRET not in data and b"root:x:" not in data and asker.studio.key.encode() not in data, what
            if status >= 400 and names.get("content-type") == "application/json":
                said = json.loads(data)["error"]
                assert 10 < len(said) < 2000 and "Traceback" not in said, what
            statuses[status] = statuses.get(status, 0) + 1

    asyncio.run(send_all())
    deadline = time.monotonic() + 60
    while any(job["state"] == "running" for job in asker.studio.jobs.list_all()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert asker.gate.unexpected == []
    assert {p: list_files(p) for p in outside} == before, "nothing outside was written"
    assert sorted(p.name for p in place.iterdir()) == ["home", "runs", "secret"]
    # Keras and Matplotlib have settings there.
    own = {p.name for p in (place / "home").iterdir()} - {".keras", ".config", ".cache"}
    assert own == {"photos", "link"}
    return statuses


def make_place(place, monkeypatch, verbs):
    monkeypatch.setenv("HOME", str(place / "home"))
    (place / "secret").mkdir()
    (place / "secret" / "a.png").write_bytes(SECRET)
    draw_photos(place / "home" / "photos")
    (place / "home" / "link").symlink_to(place / "secret")
    write_run(place / "runs")
    copy_pretrained(place / "runs")
    studio = make_studio(place / "runs", verbs=verbs)
    studio.queue._launch = None
    return Asker(studio), studio.folders.open(str(place / "home" / "photos"))["id"]


def test_some_hundred_requests_of_nonsense(tmp_path, monkeypatch):
    asker, folder = make_place(tmp_path, monkeypatch, ("nothing",))
    statuses = throw(asker, tmp_path, folder, 600, 1)
    assert statuses.keys() >= {200, 400, 403, 404} and sum(statuses.values()) == 600


@pytest.mark.slow
def test_ten_thousand_requests_of_nonsense(tmp_path, monkeypatch):
    """Those that need TensorFlow, too: plans, pictures, looks; but no walks and exports, which take minutes."""
    verbs = ("plan", "look", "generator", "faces", "face", "sliders", "strip", "rename", "convert")
    asker, folder = make_place(tmp_path, monkeypatch, verbs)
    statuses = {}
    for seed in range(10):
        with contextlib.suppress(FileNotFoundError):
            folder = asker.studio.folders.open(str(tmp_path / "home" / "photos"))["id"]
        if not (tmp_path / "runs" / RUN).exists():  # a request has deleted it
            write_run(tmp_path / "runs")
        if not (tmp_path / "runs" / "00007-portraits").exists():
            copy_pretrained(tmp_path / "runs")
        for path, _ in asker.studio.queue.read():
            path.unlink()
        for status, number in throw(asker, tmp_path, folder, 1000, seed + 2).items():
            statuses[status] = statuses.get(status, 0) + number
    assert sum(statuses.values()) == 10_000
    print(dict(sorted(statuses.items())))

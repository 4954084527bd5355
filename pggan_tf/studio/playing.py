"""Addresses of the panel Play: pictures of a generator, photos through a network, exports, jobs."""

# There is no `from __future__ import annotations` here: FastAPI evaluates annotations.

import collections
import contextlib
import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import fastapi
from fastapi import Request, Response

from pggan_tf.runs import checkpoint, slider_names
from pggan_tf.runs import folder as folders
from pggan_tf.studio import made
from pggan_tf.studio.answers import Answer, answer_file, read_body, read_json
from pggan_tf.studio.choices import list_formats
from pggan_tf.studio.refusal import (
    Refusal,
    check_names,
    show,
    take_choice,
    take_number,
    take_switch,
    take_text,
    take_whole,
)
from pggan_tf.studio.routes import ask, call, take_query
from pggan_tf.studio.runs import quote_name
from pggan_tf.studio.store import make_id
from pggan_tf.studio.studio import Studio

PHOTO_BYTES = 16 << 20  # largest photo that a network converts, as in `pggan serve`
MOST_HINTS = 64
_SEED, _SIDE = 2**32 - 1, 1024
_KEPT = 64  # pictures that are kept to be shown again
_LARGEST = 1 << 20  # bytes of a picture that is kept


def _take_sliders(query: dict) -> dict | None:
    """Return {number: amount} for a text such as '2:3,5:-1', or None."""
    text = take_text(query, "sliders", None, longest=1000)
    if text is None:
        return None
    out = {}
    for part in text.split(","):
        number, colon, amount = part.partition(":")
        if not (colon and number.isdecimal() and len(number) < 6):
            raise Refusal(400, f"sliders {show(text)}: expected NUMBER:AMOUNT, separated by commas, such as 2:3,5:-1.")
        out[str(int(number))] = float(take_number({"amount": amount}, "amount", -10, 10))
    return out


def _take_sampling(query: dict) -> dict:
    """Return the arguments that all pictures of seeds have."""
    return {
        "stage": take_whole(query, "stage", 1, 4096, None),
        "truncation": float(take_number(query, "truncation", 0, 1, 1.0)),
        "class_name": take_text(query, "class", None),
        "sliders": _take_sliders(query),
    }


def _take_hints(query: dict) -> list[str]:
    """Return hints as `pggan colorize` takes them, for a text such as '120,80=c03020;10,20=ffffff'."""
    text = take_text(query, "hints", None, longest=4000)
    parts = [part for part in (text or "").split(";") if part]
    if len(parts) > MOST_HINTS:
        raise Refusal(400, f"{len(parts)} hints: expected at most {MOST_HINTS}.")
    out = []
    for part in parts:
        place, equals, colour = part.partition("=")
        x, comma, y = place.partition(",")
        digits = colour.lstrip("#").lower()
        right = equals and comma and len(digits) == 6 and set(digits) <= set("0123456789abcdef")
        if not (right and x.isdecimal() and y.isdecimal() and len(x) < 7 and len(y) < 7):
            raise Refusal(400, f"hints {show(part)}: expected X,Y=RRGGBB, such as 120,80=c03020.")
        out.append(f"{int(x)},{int(y)}=#{digits}")
    return out


class Player:
    """Asks the helper for pictures.

    Args:
        studio: the studio.
    """

    def __init__(self, studio: Studio):
        self.studio = studio
        self._pictures: collections.OrderedDict[str, bytes] = collections.OrderedDict()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def make_file(self, suffix: str, data: bytes | None = None) -> Iterator[Path]:
        """Context manager that yields the path of a file for the helper, which is removed afterwards."""
        file = self.studio.store.work / f"{make_id()}{suffix}"
        try:
            if data is not None:
                file.write_bytes(data)
            yield file
        finally:
            file.unlink(missing_ok=True)

    def find(self, name: str) -> str:
        """Return the folder of a run with a generator. Raise Refusal if it has none yet."""
        folder = self.studio.runs.find(name)
        if not (folder / folders.GENERATOR).is_file() and not checkpoint.list_checkpoints(folder):
            raise Refusal(409, f"{name}: has no generator yet. Wait for its first checkpoint.")
        return str(folder)

    def draw(self, name: str, verb: str, args: dict) -> bytes:
        """Return a picture by the helper as PNG; one that was drawn just now is not drawn again."""
        folder = Path(self.find(name))
        newest = next(iter(checkpoint.list_checkpoints(folder)), None)
        marks = [
            f.stat().st_mtime_ns
            for f in (folder / folders.GENERATOR, newest, folder / slider_names.FILE)
            if f and f.is_file()
        ]
        key = json.dumps([name, verb, args, marks], sort_keys=True)
        with self._lock:
            if key in self._pictures:
                self._pictures.move_to_end(key)
                return self._pictures[key]
        with self.make_file(".png") as file:
            self.studio.helper.call(verb, {"run": str(folder), "out": str(file), **args})
            data = file.read_bytes()
        if len(data) <= _LARGEST:
            with self._lock:
                self._pictures[key] = data
                while len(self._pictures) > _KEPT:
                    self._pictures.popitem(last=False)
        return data

    def list_sliders(self, name: str) -> list[dict]:
        """Return the sliders of a run, with the address of what each changes."""
        return self._with_strips(name, self.studio.helper.call("sliders", {"run": self.find(name)}))

    @staticmethod
    def _with_strips(name: str, sliders: list[dict]) -> list[dict]:
        address = f"/api/runs/{quote_name(name)}/sliders"
        return [slider | {"strip": f"{address}/{slider['index']}.png"} for slider in sliders]

    def rename_slider(self, name: str, index: int, title: str) -> list[dict]:
        """Give a slider a name, and return all sliders."""
        folder = self.find(name)
        args = {"run": folder, "index": index, "name": title}
        return self._with_strips(name, self.studio.helper.call("rename", args))

    def place_own(self, name: str) -> Path:
        """Return the folder with what the studio has made of a run."""
        return self.studio.runs.place_own(name, self.studio.runs.find(name))

    def place_within(self, name: str, *parts: str) -> Path:
        """Return a folder within `place_own`, which is written to. Raise Refusal if it is a link."""
        return self.studio.runs.place_within(name, self.studio.runs.find(name), *parts)

    def list_made(self, name: str) -> dict:
        """Return all that was made of a run: {things, exports}, see `made`."""
        own = self.place_own(name)
        return {"things": made.list_all(name, own), "exports": made.list_exports(name, own)}

    def remove_made(self, name: str, id: str) -> None:
        """Remove a thing that was made of a run."""
        made.remove(name, self.place_own(name), id)

    def convert(self, name: str, data: bytes, query: dict) -> tuple[str, bytes]:
        """Return (id, picture) of a photo after the network of a run, as PNG; both are kept in the run's folder."""
        given = {
            "hints": _take_hints(query),
            "saturation": float(take_number(query, "saturation", 0, 4, 1.0)),
            "scale": take_number(query, "scale", 1, 16, None),
        }
        title = take_text(query, "name", "photo")
        args = {"run": self.find(name), **given}
        with self.make_file(".photo", data) as photo, self.make_file(".png") as out:
            self.studio.helper.call("convert", args | {"photo": str(photo), "out": str(out)})
            picture = out.read_bytes()
        id = hashlib.sha256(data).hexdigest()[:10]
        self.place_within(name, f"convert-{id}")  # neither of them may be a link
        made.keep_photo(self.place_own(name), id, data, picture, {"name": title, **given})
        return f"convert-{id}", picture

    def start_job(self, name: str, kind: str, title: str, args: dict, photo: Path | None = None) -> dict:
        """Begin a job that makes something of a run, and writes it into the run's folder.

        Args:
            name: the run.
            kind: verb of the helper.
            title: what the page calls the job.
            args: arguments of the verb.
            photo: a file to remove when the job is done.
        """
        folder = self.find(name)
        place = made.choose_place(self.place_within(name), kind)

        def clean():
            if photo:
                photo.unlink(missing_ok=True)
            if place.is_dir() and not made.describe(name, place):  # it was cancelled, or has failed
                shutil.rmtree(place, ignore_errors=True)

        args = {"run": folder, "out": str(place), **args}
        return self.studio.jobs.start(kind, title, kind, args, lambda _: made.describe(name, place), clean, run=name)

    def project(self, name: str, data: bytes, title: str, stage: int | None) -> dict:
        """Begin to look for the image nearest to a photo, and return the job."""
        self.find(name)
        photo = self.studio.store.work / f"{make_id()}.photo"
        try:
            photo.write_bytes(data)
            return self.start_job(name, "project", title, {"photo": str(photo), "name": title, "stage": stage}, photo)
        except BaseException:
            photo.unlink(missing_ok=True)
            raise

    def export(self, name: str, format: str, title: str | None) -> dict:
        """Begin to export a run, and return the job."""
        about = next(f for f in list_formats() if f["name"] == format)
        if not about["available"]:
            raise Refusal(409, f"{format}: something is missing. Type: {about['missing']}")
        folder = Path(self.find(name))
        if not (folder / folders.GENERATOR).is_file():
            raise Refusal(409, f"{name}: has not ended. A run is exported when its training is done.")
        place = self.place_within(name, "export", format)
        args = {"run": str(folder), "out": str(place), "format": format, "name": title}
        return self.studio.jobs.start(
            "export",
            f"{name} to {format}",
            "export",
            args,
            lambda _: made.describe_export(name, place),
            run=name,
            format=format,
        )


def add_playing(app: fastapi.FastAPI, studio: Studio) -> None:
    """Add the addresses of the panel Play."""
    player = Player(studio)
    png = {"Cache-Control": "private, no-cache"}

    def answer_picture(data: bytes, name: str, download: bool) -> Response:
        return answer_file(data, name, True) if download else Response(data, media_type="image/png", headers=png)

    @app.get("/api/runs/{name}/generator")
    async def describe(name: str):
        return Answer(await ask(lambda: studio.helper.call("generator", {"run": player.find(name)})))

    @app.get("/api/runs/{name}/faces.png")
    async def faces(name: str, request: Request):
        query = take_query(request, "seeds", "stage", "truncation", "sliders", "columns", "class", "download")
        args = {"seeds": take_text(query, "seeds", "0-15", longest=2000), **_take_sampling(query)}
        args["columns"] = take_whole(query, "columns", 1, 64, None)
        return answer_picture(await ask(player.draw, name, "faces", args), "faces.png", "download" in query)

    @app.get("/api/runs/{name}/face.png")
    async def face(name: str, request: Request):
        known = ("seed", "to", "mix", "stage", "truncation", "sliders", "scale", "class", "download")
        query = take_query(request, *known)
        args = {"seed": take_whole(query, "seed", 0, _SEED, 0), "to": take_whole(query, "to", 0, _SEED, None)}
        args |= {
            "mix": float(take_number(query, "mix", 0, 1, 0.5)),
            "scale": take_whole(query, "scale", 1, _SIDE, None),
        }
        data = await ask(player.draw, name, "face", args | _take_sampling(query))
        return answer_picture(data, f"seed-{args['seed']}.png", "download" in query)

    @app.get("/api/runs/{name}/sliders")
    async def sliders(name: str):
        return Answer(await ask(player.list_sliders, name))

    @app.get("/api/runs/{name}/sliders/{index}.png")
    async def strip(name: str, index: int, request: Request):
        query = take_query(request, "seeds", "stage", "truncation")
        args = {"index": index, "seeds": take_text(query, "seeds", "0-1", longest=200)}
        args |= {
            "stage": take_whole(query, "stage", 1, 4096, None),
            "truncation": float(take_number(query, "truncation", 0, 1, 1.0)),
        }
        return Response(await ask(player.draw, name, "strip", args), media_type="image/png", headers=png)

    @app.put("/api/runs/{name}/sliders/{index}")
    async def rename(name: str, index: int, request: Request):
        body = await read_json(request)
        check_names(body, ("name",))
        return Answer(await ask(player.rename_slider, name, index, take_text(body, "name", "", longest=60)))

    @app.post("/api/runs/{name}/nearest")
    async def nearest(name: str, request: Request):
        body = await read_json(request)
        check_names(body, ("seed", "truncation"))
        seed = take_whole(body, "seed", 0, _SEED, 0)
        args = {"seed": seed, "truncation": float(take_number(body, "truncation", 0, 1, 1.0))}
        return Answer(await call(player.start_job, name, "nearest", f"photos nearest to {seed}", args))

    @app.post("/api/runs/{name}/walk")
    async def walk(name: str, request: Request):
        body = await read_json(request)
        check_names(body, ("seeds", "seconds", "stage", "size", "truncation", "class"))
        args = _take_sampling({n: v for n, v in body.items() if n in ("truncation", "class")})
        args["stage"] = take_whole(body, "stage", 1, 4096, take_whole(body, "size", 1, 4096, None))
        args |= {"seeds": take_text(body, "seeds", "0-7", longest=2000)}
        args |= {"seconds": float(take_number(body, "seconds", 0.5, 60, 8))}
        return Answer(await call(player.start_job, name, "walk", f"walk {args['seeds']}", args))

    @app.post("/api/runs/{name}/project")
    async def project(name: str, request: Request):
        query = take_query(request, "stage", "name")
        stage, title = take_whole(query, "stage", 1, 4096, None), take_text(query, "name", "photo")
        data = await read_body(request, PHOTO_BYTES)
        return Answer(await call(player.project, name, data, title, stage))

    @app.post("/api/runs/{name}/convert")
    async def convert(name: str, request: Request):
        query = take_query(request, "hints", "saturation", "scale", "name")
        data = await read_body(request, PHOTO_BYTES)
        id, picture = await ask(player.convert, name, data, query)
        return Response(picture, media_type="image/png", headers={"X-Made": id})

    @app.get("/api/runs/{name}/made")
    async def list_made(name: str):
        return Answer(await call(player.list_made, name))

    @app.delete("/api/runs/{name}/made/{id}")
    async def remove_made(name: str, id: str):
        await call(player.remove_made, name, id)
        return Answer({})

    @app.post("/api/runs/{name}/export")
    async def export(name: str, request: Request):
        body = await read_json(request)
        check_names(body, ("format", "name"))
        format = take_choice(body, "format", [f["name"] for f in list_formats()])
        return Answer(await call(player.export, name, format, take_text(body, "name", None, longest=40)))

    @app.get("/api/runs/{name}/phone")
    async def find_phone(name: str):
        await call(studio.runs.find, name)
        return Answer(await call(studio.phones.find, name))

    @app.post("/api/runs/{name}/phone")
    async def phone(name: str, request: Request):
        body = await read_json(request)
        check_names(body, ("on",))
        await call(studio.runs.find, name)
        shown = await call(studio.phones.show if take_switch(body, "on", True) else studio.phones.stop, name)
        studio.hub.send("runs", {"name": name})
        return Answer(shown)


def add_jobs(app: fastapi.FastAPI, studio: Studio) -> None:
    """Add the addresses of jobs."""

    @app.get("/api/jobs")
    async def list_jobs():
        return Answer(studio.jobs.list_all())

    @app.get("/api/jobs/{id}")
    async def get_job(id: str):
        return Answer(studio.jobs.get(id))

    @app.delete("/api/jobs/{id}")
    async def cancel_job(id: str):
        await call(studio.jobs.cancel, id)
        return Answer(studio.jobs.get(id))

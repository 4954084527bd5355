"""Addresses of the server for photos, the queue, runs and their comparison."""

# There is no `from __future__ import annotations` here: FastAPI evaluates annotations.

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import fastapi
from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from pggan_tf.studio import comparison, helpers, photos
from pggan_tf.studio.answers import Answer, answer_file, read_body, read_json
from pggan_tf.studio.events import MOST_PAGES
from pggan_tf.studio.folders import UPLOAD_BYTES
from pggan_tf.studio.refusal import Refusal, check_names, take_box, take_choice, take_switch, take_text, take_whole
from pggan_tf.studio.studio import Studio

# Who waits for a helper must not keep others from reading files.
_PHOTOS = ThreadPoolExecutor(2, "photos")
_FILES, _HELPERS = ThreadPoolExecutor(8, "files"), ThreadPoolExecutor(helpers.WAITING + 2, "helpers")


async def call(work: Callable, *args):
    """Run a function that reads or writes files in a thread, and return its result."""
    return await asyncio.get_running_loop().run_in_executor(_FILES, partial(work, *args))


async def draw(work: Callable, *args):
    """Run a function that decodes a photo in a thread, and return its result."""
    return await asyncio.get_running_loop().run_in_executor(_PHOTOS, partial(work, *args))


async def ask(work: Callable, *args):
    """Run a function that asks a helper in a thread, and return its result."""
    return await asyncio.get_running_loop().run_in_executor(_HELPERS, partial(work, *args))


def take_query(request: Request, *names: str) -> dict[str, str]:
    """Return the query of an address. Raise Refusal if it has unknown or repeated names."""
    pairs = request.query_params.multi_items()
    for name, _ in pairs:
        check_names({name: None}, names or ("nothing",))
    if len(dict(pairs)) < len(pairs):
        raise Refusal(400, f"the address names something twice. Expected each of {', '.join(names)} once at most.")
    return {name: value for name, value in pairs if value != ""}


def add_photos(app: fastapi.FastAPI, studio: Studio) -> None:
    """Add the addresses of the panel Photos."""

    @app.get("/api/browse")
    async def browse(request: Request):
        query = take_query(request, "path")
        return Answer(await call(studio.folders.browse, take_text(query, "path", None, longest=4096)))

    @app.get("/api/folders")
    async def list_folders():
        return Answer(await call(studio.folders.list_all))

    @app.post("/api/folders")
    async def open_folder(request: Request):
        body = await read_json(request)
        check_names(body, ("path",))
        return Answer(await call(studio.folders.open, take_text(body, "path", longest=4096)))

    @app.get("/api/folders/{id}")
    async def describe_folder(id: str):
        def describe():
            folder = studio.folders.describe(studio.folders.get(id))
            known = studio.photos.read(id)
            return folder | {"look": studio.photos.read_look(id), "notes": known.get("notes", [])}

        return Answer(await call(describe))

    @app.delete("/api/folders/{id}")
    async def close_folder(id: str):
        await call(studio.folders.close, id)
        return Answer({})

    @app.post("/api/uploads")
    async def begin_upload(request: Request):
        body = await read_json(request)
        check_names(body, ("name",))
        return Answer(await call(studio.folders.begin_upload, take_text(body, "name", "photos")))

    @app.put("/api/folders/{id}/files")
    async def upload(id: str, request: Request):
        query = take_query(request, "name")
        file = await call(studio.folders.place_upload, id, take_text(query, "name", longest=1024))
        data = await read_body(request, UPLOAD_BYTES)
        file = await call(studio.folders.keep_upload, file, data)
        return Answer({"name": file.name})

    @app.get("/api/folders/{id}/photos")
    async def list_photos(id: str, request: Request):
        query = take_query(request, "filter", "page")
        filter = take_choice(query, "filter", photos.FILTERS, "all")
        return Answer(await call(studio.photos.list_page, id, filter, take_whole(query, "page", 0, 10**6, 0)))

    @app.get("/api/folders/{id}/photos/{index}.jpg")
    async def show_photo(id: str, index: int, request: Request):
        side = take_whole(take_query(request, "side"), "side", 16, photos.LARGEST, 256)
        mark = await call(studio.photos.find_mark, id, index, side)  # an index means another photo when some are added
        headers = {"Cache-Control": "private, no-cache", **({"ETag": f'"{mark}"'} if mark else {})}
        if mark and request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        data = await draw(studio.photos.draw, id, index, side)
        return Response(data, media_type="image/jpeg", headers=headers)

    @app.put("/api/folders/{id}/photos/{index}")
    async def change_photo(id: str, index: int, request: Request):
        body = await read_json(request)
        check_names(body, ("crop", "left_out", "name"))
        crop, left_out = take_box(body, "crop"), take_switch(body, "left_out")
        seen = take_text(body, "name", None, longest=4096)
        changed = await call(studio.photos.change, id, index, crop, left_out, seen)
        return Answer(changed)


def add_queue(app: fastapi.FastAPI, studio: Studio) -> None:
    """Add the addresses of the queue; a wish is added by `growing`, which plans it."""

    @app.get("/api/queue")
    async def list_queue():
        return Answer(await call(studio.queue.list_all))

    @app.delete("/api/queue/{id}")
    async def remove_entry(id: str):
        await call(studio.queue.remove, id)
        return Answer({})

    @app.post("/api/queue/{id}/again")
    async def train_again(id: str):
        return Answer(await call(studio.queue.train_again, id))

    @app.post("/api/queue/{id}/move")
    async def move_entry(id: str, request: Request):
        body = await read_json(request)
        check_names(body, ("to",))
        return Answer(await call(studio.queue.move, id, take_whole(body, "to", 0, 10**6)))


def add_runs(app: fastapi.FastAPI, studio: Studio) -> None:
    """Add the addresses of the panels Watch and Compare."""

    @app.get("/api/runs")
    async def list_runs():
        return Answer(await call(studio.runs.list_all))

    @app.get("/api/runs/{name}")
    async def describe_run(name: str):
        return Answer(await call(studio.runs.describe, name))

    @app.get("/api/runs/{name}/files/{file:path}")
    async def show_file(name: str, file: str, request: Request):
        query = take_query(request, "download")

        def read():
            found = studio.runs.find_file(name, file)
            return answer_file(found.read_bytes(), found.name, bool(query))

        return await call(read)

    @app.post("/api/runs/{name}/pause")
    async def pause(name: str):
        await call(studio.runs.find, name)
        await call(studio.queue.pause, name)
        return Answer({})

    @app.post("/api/runs/{name}/name")
    async def rename(name: str, request: Request):
        body = await read_json(request)
        check_names(body, ("title",))
        await call(studio.runs.rename, name, take_text(body, "title", longest=80))
        studio.hub.send("runs", {"name": name})
        return Answer({})

    @app.delete("/api/runs/{name}")
    async def delete(name: str):
        await call(studio.jobs.check_idle, name)
        await call(studio.runs.delete, name)
        await call(studio.phones.stop, name)
        return Answer({})

    @app.get("/api/compare")
    async def compare(request: Request):
        names = take_text(take_query(request, "runs"), "runs", longest=4096).split(",")
        return Answer(await call(comparison.compare, studio.runs, names))


def add_general(app: fastapi.FastAPI, studio: Studio) -> None:
    """Add the addresses that every panel uses."""

    @app.get("/api/studio")
    async def describe():
        return Answer(await call(studio.describe))

    @app.get("/api/events")
    async def stream():
        if studio.hub.pages >= MOST_PAGES:
            raise Refusal(429, f"{MOST_PAGES} windows are open. Close one of them.")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(studio.hub.stream(), media_type="text/event-stream", headers=headers)

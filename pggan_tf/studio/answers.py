"""Read bodies of requests with limits, and make answers."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from export import protocol
from pggan_tf.studio.refusal import JSON_BYTES, Refusal, parse_json

UPLOAD_SECONDS = 120.0  # for the body of a request
KINDS = {
    ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
    ".json": "application/json", ".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg",
    ".webp": "image/webp", ".gif": "image/gif", ".mp4": "video/mp4", ".woff2": "font/woff2", ".ico": "image/x-icon",
    ".webmanifest": "application/manifest+json", ".txt": "text/plain; charset=utf-8", ".wasm": "application/wasm",
}  # fmt: skip


class Answer(JSONResponse):
    """An answer in JSON. Names of files may hold bytes that are no text, which are escaped."""

    def render(self, content: Any) -> bytes:
        """Return the bytes of the answer."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


async def read_body(request: Request, most: int) -> bytes:
    """Return the body of a request of at most `most` bytes.

    Raises Refusal if it is larger or too slow.
    """
    return await protocol.read_body(request, most, UPLOAD_SECONDS, Refusal)


async def read_json(request: Request) -> dict:
    """Return the JSON object in the body of a request."""
    return parse_json(await read_body(request, JSON_BYTES))


def answer_file(data: bytes, name: str, download: bool = False) -> Response:
    """Return a file as an answer.

    Args:
        data: its content.
        name: its name, whose ending says of what kind it is.
        download: let the browser save it.
    """
    ending = "." + name.rpartition(".")[2].lower()
    headers = {}
    # Only pictures are shown in the page's own origin: a file that the studio exports may be anything.
    if download or ending not in KINDS or ending in (".html", ".js", ".svg"):
        safe = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name.rpartition("/")[2])
        headers["Content-Disposition"] = f'attachment; filename="{safe}"'
    return Response(data, media_type=KINDS.get(ending, "application/octet-stream"), headers=headers)

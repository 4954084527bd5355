"""Let only the user's own browser in: check Host, Origin, the key and the header X-Studio.

A web page elsewhere can make a browser send requests to this machine. Without the key, which is in
the cookie of the studio's own page alone (SameSite=Strict), they are refused. Host is checked
besides, so that no name of a foreign domain can be made to mean this machine (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import json
import logging
import socket
from collections.abc import Collection

from export import lan
from pggan_tf.studio.refusal import Refusal, as_refusal

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",  # the first address has the key in it
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
WRITES = ("POST", "PUT", "DELETE")
METHODS = ("GET", "HEAD", *WRITES)
_LONGEST_ADDRESS = 8192
MOST_ACTIVE = 256  # requests, streams of events among them, that are answered at the same time
_LOCKED = (
    "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'><title>pggan studio</title>"
    "<h1>This address needs its key</h1><p>Open the address that <code>pggan studio</code> has printed, with <code>?key=</code> in it."
)
# After a click on another site, a redirect would come without the cookie, which is Strict: this page goes on by itself.
_ENTER = (
    "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content='0;url=/'><title>pggan studio</title>"
    "<p><a href=/>To the studio</a>"
)
log = logging.getLogger("pggan_tf.studio")


def split_host(host: str) -> str:
    """Return the name in a header Host without its port, in lower case and without brackets."""
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.rpartition(":")[0] if name.count(":") == 1 else name


def is_own_host(host: str, names: Collection[str]) -> bool:
    """Tell whether a header Host means this machine: an IP address, or one of its names.

    A foreign domain cannot be an IP address, so only names have to be known. The port may be
    another one, such as that of a tunnel.

    names: further names, in lower case.
    """
    name = split_host(host)
    if name == "localhost" or name in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def list_names(host: str) -> set[str]:
    """Return the names of this machine that a browser may use. host: the value of --host."""
    own = socket.gethostname().lower()
    return {host.lower(), own, own.partition(".")[0], f"{own.partition('.')[0]}.local"}


class Gate:
    """ASGI middleware that refuses requests which are not from the studio's own page.

    It also turns every error into an answer with a sentence, so that none is a 5xx.

    Args:
        app: the application behind it.
        key: the key.
        cookie: name of the cookie that holds the key.
        names: names of this machine, see `list_names`.
    """

    def __init__(self, app, key: str, cookie: str, names: Collection[str]):
        self.app, self.key, self.cookie, self.names = app, key, cookie, names
        self._active = 0
        self.unexpected: list[str] = []  # errors of the program itself, for tests

    async def __call__(self, scope, receive, send):
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self.app(scope, receive, send)
            return
        begun = False

        async def send_on(message):
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                present = {name.lower() for name, _ in message["headers"]}
                extra = {**HEADERS, "Cache-Control": "no-store"}
                more = [(n.lower().encode(), v.encode()) for n, v in extra.items() if n.lower().encode() not in present]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        self._active += 1
        try:
            if self._active > MOST_ACTIVE:
                raise Refusal(429, f"{MOST_ACTIVE} requests are being answered. Try again in a moment.")
            await self._admit(scope, receive, send_on)
        except Exception as error:
            refusal = as_refusal(error)
            if refusal is None:
                self.unexpected.append(f"{scope['method']} {scope['path']}: {type(error).__name__}: {error}")
                log.exception("%s %s", scope["method"], scope["path"])
                refusal = Refusal(
                    400,
                    f"this did not work ({type(error).__name__}). What happened is in studio.log in the folder .studio.",
                )
            if not begun:
                await _answer(send_on, refusal.status, {"error": str(refusal)})
        finally:
            self._active -= 1

    async def _admit(self, scope, receive, send) -> None:
        """Pass a request on to the application if it may come in."""
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            text = value.decode("latin-1")
            # Several cookies may come in several headers.
            both = f"{headers['cookie']}; {text}" if name == b"cookie" and "cookie" in headers else text
            headers[name.decode("latin-1").lower()] = both
        host, method = headers.get("host", ""), scope["method"]
        if not is_own_host(host, self.names):
            raise Refusal(
                403, "Host is not an address of this machine. Open the address that pggan studio has printed."
            )
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
            raise Refusal(403, "Origin is another page than the studio's own, and is refused.")
        # Pictures and scripts are asked for without an Origin; cookies are those of all ports of a host.
        own = headers.get("sec-fetch-site", "none") in ("none", "same-origin")
        if scope["path"].startswith("/api/") and not own:
            raise Refusal(403, "another page than the studio's own has asked, and is refused.")
        if method not in METHODS:
            raise Refusal(405, f"{method[:20]}: not offered. Expected one of {', '.join(METHODS)}.")
        target = scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
        if len(target) > _LONGEST_ADDRESS:
            raise Refusal(400, f"an address of {len(target):,} characters. Expected at most {_LONGEST_ADDRESS:,}.")
        if method == "GET" and scope["path"] == "/" and lan.take_key(target, self.key):
            cookie = f"{self.cookie}={self.key}; Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000"
            if own:
                await _answer(send, 303, "", {"Location": "/", "Set-Cookie": cookie})
            else:
                await _answer(send, 200, _ENTER, {"Content-Type": "text/html; charset=utf-8", "Set-Cookie": cookie})
            return
        if not lan.has_key(headers.get("cookie"), self.key, self.cookie):
            if scope["path"].startswith("/api/"):
                raise Refusal(
                    401, "this needs the key. Open the address that pggan studio has printed, with ?key= in it."
                )
            await _answer(send, 401, _LOCKED, {"Content-Type": "text/html; charset=utf-8"})
            return
        if method in WRITES and headers.get("x-studio") != "1":
            raise Refusal(403, "the header X-Studio: 1 is missing, without which nothing is changed.")
        await self.app(scope, receive, send)


async def _answer(send, status: int, content, headers: dict[str, str] | None = None) -> None:
    """Send a whole answer. content: text, or what JSON can hold."""
    text = content if isinstance(content, str) else json.dumps(content)
    kind = {"Content-Type": "text/plain; charset=utf-8" if isinstance(content, str) else "application/json"}
    body = text.encode(errors="replace")
    lines = {**kind, "Content-Length": str(len(body)), **(headers or {})}
    raw = [(name.lower().encode(), value.encode()) for name, value in lines.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})

"""Show a site to the phones of a local network: an address with a key, and its QR code."""

from __future__ import annotations

import hmac
import http
import io
import secrets
import socket
import urllib.parse
from http.cookies import CookieError, SimpleCookie

from export import hosts
from pggan_tf.errors import UserError

COOKIE = "pggan-key"
CODE = "/qr"  # path of the page with the QR code
_OUTSIDE = ("192.0.2.1", 9)  # reserved for documentation (RFC 5737); nothing is sent to it


def find_address() -> str:
    """Return this machine's address in its local network, such as '192.168.1.20'.

    Raises UserError if it has none.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_OUTSIDE)  # only chooses the address that a packet would be sent from
            address = probe.getsockname()[0]
        except OSError:
            address = "127.0.0.1"
    if hosts.is_loopback(address) or address == "0.0.0.0":
        raise UserError("--lan: this machine is in no network. Join one, or give --host with its address.")
    return address


def make_key() -> str:
    """Return a new random key of 16 characters, which nobody can guess."""
    return secrets.token_urlsafe(12)


def print_code(address: str, say) -> None:
    """Print the QR code of an address, for the camera of a phone.

    Args:
        address: URL.
        say: called with every line.
    """
    import segno

    rows = [[0] * 4 + list(row) + [0] * 4 for row in segno.make_qr(address, error="m").matrix]
    blank = [0] * len(rows[0])
    rows = [blank] * 4 + rows + [blank] * (4 + len(rows) % 2)
    # Two rows in a line of characters. The light parts are drawn, as terminals are mostly dark.
    signs = {(0, 0): "█", (0, 1): "▀", (1, 0): "▄", (1, 1): " "}
    for upper, lower in zip(rows[::2], rows[1::2]):
        say("".join(signs[a, b] for a, b in zip(upper, lower)))


def draw_page(address: str) -> bytes:
    """Return a page with the QR code of an address, for screens whose terminal shows it badly.

    address: URL.
    """
    import segno

    code = segno.make_qr(address, error="m").svg_inline(border=4, light="#fff", omitsize=True)
    style = "body{margin:0;height:100vh;display:grid;place-items:center}svg{width:90vmin;height:90vmin}"
    head = f'<meta charset="utf-8"><title>Scan with a phone</title><style>{style}</style>'
    about = "QR code of this page's address and its key"
    return f'<!doctype html><html lang="en">{head}<main role="img" aria-label="{about}">{code}</main>'.encode()


def has_key(cookies: str | None, key: str, name: str = COOKIE) -> bool:
    """Return whether the header Cookie of a request holds the key in the cookie `name`."""
    try:
        found = SimpleCookie(cookies or "").get(name)
    except CookieError:
        return False
    return found is not None and hmac.compare_digest(found.value.encode(), key.encode())


def take_key(target: str, key: str) -> str | None:
    """Return where to send a browser that came with the key in its address, else None.

    It is the same path without the key, which then is in a cookie.

    Args:
        target: path and query of the request, such as '/?key=...'.
        key: the key.
    """
    path, _, query = target.partition("?")
    given = urllib.parse.parse_qs(query).get("key", [""])[0]
    if not hmac.compare_digest(given.encode(), key.encode()):
        return None
    return "/" + path.lstrip("/")  # not '//host', which would be another machine


def gate(handler: type, key: str) -> type:
    """Return a request handler that serves nothing to browsers without the key.

    handler: a subclass of `http.server.SimpleHTTPRequestHandler`.
    """

    class Gated(handler):  # type: ignore[misc]
        """Request handler that asks for the key first."""

        def send_head(self):
            if has_key(self.headers.get("Cookie"), key):
                return self._send_code() if self.path.partition("?")[0] == CODE else super().send_head()
            if (place := take_key(self.path, key)) is None:
                self.send_error(http.HTTPStatus.FORBIDDEN, "This address needs its key. Scan the code again.")
                return None
            self.send_response(http.HTTPStatus.SEE_OTHER)
            self.send_header("Location", place)
            self.send_header("Set-Cookie", f"{COOKIE}={key}; Path=/; HttpOnly; SameSite=Strict")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None

        def _send_code(self):
            """Begin the answer to a request for the QR code, and return its body as a file."""
            body = draw_page(self.server.address)
            self.send_response(http.HTTPStatus.OK)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            return io.BytesIO(body)

    return Gated

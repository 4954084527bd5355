"""HTTP protocol of uvicorn that does not wait for ever for silent clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.requests import ClientDisconnect, Request
from uvicorn.protocols.http.h11_impl import H11Protocol

from export import hosts

# Connections of one address that have not asked for anything yet. A browser opens about six; proxies on this machine
# may open more.
_SILENT = 32


class _Protocol(H11Protocol):
    """HTTP protocol of uvicorn that closes connections on which nothing happens for `seconds`.

    A connection is closed if its client sends no complete request, or reads nothing of a response,
    for this time.

    uvicorn's own timeout starts only after the first response, stops at the next byte received, and
    ignores responses that are not read. With it alone, a silent client could hold a connection for
    ever.
    """

    seconds: float
    _silence: asyncio.TimerHandle | None = None

    def connection_made(self, transport):
        super().connection_made(transport)
        self._expect()
        host = self.client[0] if self.client else hosts.LOCAL
        silent = (c for c in self.connections if c.cycle is None and c.client and c.client[0] == host)
        if not hosts.is_loopback(host) and sum(1 for _ in silent) > _SILENT:
            transport.close()  # one machine would otherwise take all connections that there may be

    def on_response_complete(self):
        super().on_response_complete()
        self._expect()

    def connection_lost(self, exc):
        self._silence.cancel()
        super().connection_lost(exc)

    def _should_upgrade(self) -> bool:
        return False  # a WebSocket would not be subject to these limits

    def _expect(self) -> None:
        """Start or restart the timer that closes the connection after `seconds`."""
        if self._silence:
            self._silence.cancel()
        unread = (
            self.transport.get_write_buffer_size()
        )  # it only shrinks until the next response, which restarts this timer
        self._silence = self.loop.call_later(self.seconds, self._close_unless_used, unread)

    def _close_unless_used(self, unread: int) -> None:
        """Close the connection if its client is silent, or wait for another `seconds`.

        unread: bytes of the response that the client had not read when the timer was started.
        """
        left = self.transport.get_write_buffer_size()
        if left and left == unread:
            self.transport.abort()
        elif left:
            self._expect()
        elif self.cycle is None or self.cycle.response_complete:
            self.transport.close()


def make_protocol(seconds: float) -> type[_Protocol]:
    """Return a protocol that closes connections after so many seconds of silence."""
    return type("Protocol", (_Protocol,), {"seconds": seconds})


async def read_body(request: Request, most: int, seconds: float, refuse: Callable[[int, str], Exception]) -> bytes:
    """Return the body of a request, which is read in parts so that none can be too large.

    Args:
        request: the request.
        most: maximum size in bytes.
        seconds: time that it may take.
        refuse: makes the exception that is raised, of a status code and a sentence: 413 if the body
            is too large, 408 if it is too slow, 400 if the client disconnects.
    """
    too_large = refuse(413, f"more than {most:,} bytes. Send a smaller file.")
    announced = request.headers.get("content-length") or "0"
    if announced.isdecimal() and (len(announced) > 20 or int(announced) > most):
        raise too_large
    data = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                data += part
                if len(data) > most:
                    raise too_large
    except TimeoutError:
        raise refuse(408, f"the upload took more than {seconds:g} seconds. Try again.") from None
    except ClientDisconnect:
        raise refuse(400, "the upload was broken off. Send it again.") from None
    return bytes(data)

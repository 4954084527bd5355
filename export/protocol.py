"""HTTP protocol of uvicorn that does not wait for ever for silent clients."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol


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

    def on_response_complete(self):
        super().on_response_complete()
        self._expect()

    def connection_lost(self, exc):
        self._silence.cancel()
        super().connection_lost(exc)

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

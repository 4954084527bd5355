"""Tell open pages what has changed, by server-sent events.

Files are looked at by their times, a few times a minute, and only while a page is open.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable

SECONDS = 2.0  # between two looks at the files
GAP = 3.5  # least seconds between two events about the same run
_WAITING = 200  # events that a page may leave unread; then it is dropped, and comes again
MOST_PAGES = 32
_KEYS = {"runs": "name", "folders": "id"}  # event -> what its content calls the key
_ALIVE = 15.0  # seconds after which a comment is sent, so that connections are not taken for dead


class Hub:
    """Sends events to all open pages."""

    def __init__(self):
        self._pages: set[asyncio.Queue] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.closed = False

    @property
    def pages(self) -> int:
        """Number of open pages."""
        return len(self._pages)

    def send(self, event: str, content=None) -> None:
        """Send an event to all pages; from any thread."""
        text = f"event: {event}\ndata: {json.dumps(content if content is not None else {})}\n\n"
        if self._loop is not None and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._spread, text)

    def _spread(self, text: str | None) -> None:
        for page in list(self._pages):
            try:
                page.put_nowait(text)
            except asyncio.QueueFull:
                self._pages.discard(page)

    def close(self) -> None:
        """End all streams, so that the server can end."""
        self.closed = True
        if self._loop is not None and not self._loop.is_closed():
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._spread, None)

    async def stream(self) -> AsyncIterator[str]:
        """Yield the events of one page until it is closed."""
        self._loop = asyncio.get_running_loop()
        page: asyncio.Queue = asyncio.Queue(_WAITING)
        self._pages.add(page)
        try:
            yield "retry: 1000\nevent: hello\ndata: {}\n\n"
            while page in self._pages and not self.closed:
                try:
                    text = await asyncio.wait_for(page.get(), _ALIVE)
                except TimeoutError:
                    text = ": still here\n\n"
                if text is None:
                    return
                yield text
        finally:
            self._pages.discard(page)


class Watcher:
    """Looks at the files of a store and tells the hub what has changed.

    Args:
        hub: the hub.
        look: function that returns {name of an event: {key: mark}}; a mark changes when what it
            stands for does.
        always: function that is called at every look, also without pages.
        load: function that returns how busy the machine is.
    """

    def __init__(
        self, hub: Hub, look: Callable[[], dict[str, dict]], always: Callable[[], None], load: Callable[[], dict]
    ):
        self.hub, self._look, self._always, self._load = hub, look, always, load
        self._before: dict[str, dict] | None = None
        self._told: dict[str, float] = {}

    async def run(self) -> None:
        """Look again and again, until the task is cancelled."""
        while True:
            with contextlib.suppress(Exception):  # such as a folder that vanishes during a look
                await asyncio.to_thread(self._step)
            await asyncio.sleep(SECONDS)

    def _is_due(self, run: str) -> bool:
        """Tell whether pages may be told of a run now, so that they do not ask all the time."""
        now = time.monotonic()
        if now - self._told.get(run, -GAP) < GAP:
            return False
        self._told[run] = now
        return True

    def _step(self) -> None:
        self._always()
        if not self.hub.pages:
            self._before = None
            return
        now = self._look()
        if self._before is None:
            self.hub.send("all")  # a page may have asked before something changed, and this is the first look
        for event, marks in now.items() if self._before is not None else ():
            before = self._before.get(event, {}) if self._before else {}
            for key in [key for key in {**before, **marks} if before.get(key) != marks.get(key)]:
                if event == "runs" and not self._is_due(key):
                    marks[key] = before.get(key)  # it is told at a later look
                else:
                    self.hub.send(event, {_KEYS[event]: key} if event in _KEYS else {})
        self._before = now
        self.hub.send("machine", self._load())

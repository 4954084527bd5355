"""Ctrl-C and SIGTERM as a wish that is granted at the next safe moment."""

from __future__ import annotations

import signal
import threading


class Signals:
    """`received` is the signal that asked for an end, or None. A second Ctrl-C ends the process at once."""

    NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}

    def __enter__(self):
        self.received = None
        self._before = {}
        if threading.current_thread() is threading.main_thread():  # no other may handle signals
            self._before = {s: signal.signal(s, self._note) for s in self.NAMES}
        return self

    def _note(self, number, frame):
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number

    @property
    def name(self) -> str:
        return self.NAMES[self.received]

    @property
    def code(self) -> int:
        """What a process that the signal ended exits with."""
        return 128 + self.received

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

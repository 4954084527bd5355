"""Ctrl-C, SIGTERM and a closed terminal as a wish that is granted at the next safe moment."""

from __future__ import annotations

import signal
import threading


class Signals:
    """`received` is the signal that asked for an end, or None. A second Ctrl-C ends the process at once."""

    NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
    if hasattr(signal, "SIGHUP"):  # a closed terminal; Windows has no such signal
        NAMES[signal.SIGHUP] = "SIGHUP"

    def __enter__(self):
        self.received = None
        self._before = {}
        if threading.current_thread() is threading.main_thread():  # no other may handle signals
            heard = [s for s in self.NAMES if not self._ignored(s)]
            self._before = {s: signal.signal(s, self._note) for s in heard}
        return self

    @staticmethod
    def _ignored(number: int) -> bool:
        """Whether this process was started to outlive its terminal, as by nohup."""
        return number == getattr(signal, "SIGHUP", None) and signal.getsignal(number) == signal.SIG_IGN

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

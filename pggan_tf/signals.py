"""Ctrl-C, SIGTERM and a closed terminal as a wish that is granted at the next safe moment."""

from __future__ import annotations

import contextlib
import signal
import threading


@contextlib.contextmanager
def undivided():
    """Of a Ctrl-C while the block runs comes one KeyboardInterrupt, whatever an import within makes of it: some libraries turn it into
    errors of their own, others go on."""
    received = False

    def note(number, frame):
        nonlocal received
        received = True
        raise KeyboardInterrupt

    heard = threading.current_thread() is threading.main_thread() and callable(signal.getsignal(signal.SIGINT))
    before = signal.signal(signal.SIGINT, note) if heard else None
    try:
        yield
    except BaseException:
        if not received:
            raise
    finally:
        if heard:
            signal.signal(signal.SIGINT, before)
    if received:
        raise KeyboardInterrupt


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

"""Record Ctrl-C, SIGTERM and a closed terminal, so that work can stop at the next safe point."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading

INTERRUPTED = 128 + signal.SIGINT  # exit code of a process that Ctrl-C has ended


@contextlib.contextmanager
def keep_interrupt():
    """Context manager that raises KeyboardInterrupt if Ctrl-C was pressed during its block.

    It does so even if an import in the block suppressed the KeyboardInterrupt. During their import,
    some libraries turn it into an error of their own, and others ignore it.
    """
    received = False

    def handle(number, frame):
        nonlocal received
        received = True
        raise KeyboardInterrupt

    handled = threading.current_thread() is threading.main_thread() and callable(signal.getsignal(signal.SIGINT))
    before = signal.signal(signal.SIGINT, handle) if handled else None
    try:
        yield
    except BaseException:
        if not received:
            raise
    finally:
        if handled:
            signal.signal(signal.SIGINT, before)
    if received:
        raise KeyboardInterrupt


class Signals:
    """Context manager that records the signals that ask the process to end.

    These are Ctrl-C, SIGTERM and SIGHUP. `received` is the number of the last signal, or None. The
    first one is answered by a line on standard error. A Ctrl-C after any recorded signal raises
    KeyboardInterrupt at once.

    Args:
        answer: what happens after the first signal, for that line.
    """

    NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}
    if hasattr(signal, "SIGHUP"):  # a closed terminal; Windows has no such signal
        NAMES[signal.SIGHUP] = "SIGHUP"

    def __init__(self, answer: str = "stopping as soon as everything is saved"):
        self.answer = answer

    def __enter__(self):
        self.received = None
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            # Only the main thread may set handlers.
            handled = [s for s in self.NAMES if not self._is_ignored(s)]
            self._before = {s: signal.signal(s, self._record) for s in handled}
        return self

    @staticmethod
    def _is_ignored(number: int) -> bool:
        """Tell whether the signal is SIGHUP and is ignored, as in a process started by nohup."""
        return number == getattr(signal, "SIGHUP", None) and signal.getsignal(number) == signal.SIG_IGN

    def _record(self, number, frame):
        """Record a signal; this is the signal handler."""
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        first, self.received = self.received is None, number
        if first and number in (signal.SIGINT, signal.SIGTERM):  # nobody sees a line in a closed terminal
            again = " again" if number == signal.SIGINT else ""
            # The signal may have come while another line was being written there, or after its end.
            with contextlib.suppress(OSError, RuntimeError, ValueError, AttributeError):
                sys.stderr.write(f"{self.name}: {self.answer}. Ctrl-C{again} stops at once, without saving.\n")
                sys.stderr.flush()

    @property
    def name(self) -> str:
        """Name of the received signal for messages, such as 'Ctrl-C'."""
        return self.NAMES[self.received]

    @property
    def code(self) -> int:
        """Exit code of a process that the received signal ended."""
        return 128 + self.received

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

"""Signals as wishes: what is heard, and what is left alone."""

import os
import signal

import pytest

from pggan_tf.signals import Signals

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system closes terminals without a signal")


@pytest.mark.parametrize(("name", "words"), [("SIGINT", "Ctrl-C"), ("SIGTERM", "SIGTERM"), ("SIGHUP", "SIGHUP")])
def test_a_signal_is_noted_and_named(name, words, hears_closed_terminals):
    number = getattr(signal, name)
    before = signal.getsignal(number)
    with Signals() as signals:
        assert signals.received is None
        os.kill(os.getpid(), number)
        assert (signals.received, signals.name, signals.code) == (number, words, 128 + number)
    assert signal.getsignal(number) == before


def test_what_nohup_has_started_outlives_its_terminal():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.received is None
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)

"""Signals as wishes: what is heard, and what is left alone."""

import os
import re
import signal

import pytest

from pggan_tf.signals import Signals
from tests.conftest import TINY, start

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


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_the_first_signal_is_answered_and_a_second_one_is_not_waited_for(name):
    """The answer comes while the work goes on, and only once."""
    code = """
import time
from pggan_tf.signals import Signals
with Signals() as signals:
    try:
        print("at work", flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        print("at once, after", signals.name)
"""
    process = start("-c", code)
    assert process.stdout.readline() == "at work\n"
    process.send_signal(getattr(signal, name))
    words = {"SIGINT": "Ctrl-C", "SIGTERM": "SIGTERM"}[name]
    again = {"SIGINT": "Ctrl-C again", "SIGTERM": "Ctrl-C"}[name]
    answer = process.stderr.readline()
    assert answer == f"{words}: stopping as soon as everything is saved. {again} stops at once, without saving.\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, f"at once, after {words}\n", "")


def test_a_signal_is_noted_where_nothing_can_be_said():
    code = "import os, signal, sys\nfrom pggan_tf.signals import Signals\nsys.stderr = None if sys.argv[1] == 'none' else sys.stderr\n"
    code += (
        "with Signals() as signals:\n    os.close(2)\n    os.kill(os.getpid(), signal.SIGINT)\n    print(signals.name)"
    )
    for stream in ("none", "closed"):
        assert start("-c", code, stream).communicate(timeout=60)[0] == "Ctrl-C\n"


SLOW = """
import sys, time
from pggan_tf import entry
from pggan_tf.training import loop
observe = loop.Run._observe
def observe_and_wait(run, *arguments):
    observe(run, *arguments)
    if run.images_seen > 800:
        print("at work", flush=True)
        time.sleep(60)
loop.Run._observe = observe_and_wait
sys.exit(entry.run("pggan_tf.commands.cli:cli", sys.argv[1:]))
"""


def test_ctrl_c_twice_says_what_is_saved_and_how_to_go_on(tmp_path):
    """As `pggan train`, with a step that takes long: a checkpoint is written before each phase, the second begins at 800."""
    run = tmp_path / "run"
    schedule = ["--target-res", "8", "--fade-images", "800", "--stable-images", "800", "--batch", "8"]
    process = start("-c", SLOW, "train", *TINY, *schedule, "--run", run)
    assert any(line == "at work\n" for line in process.stdout)
    process.send_signal(signal.SIGINT)
    assert any(
        line == "Ctrl-C: stopping after this step and saving. Ctrl-C again stops at once, without saving.\n"
        for line in process.stderr  # TensorFlow writes there, too
    )
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    said = re.fullmatch(r"stopped at once by Ctrl-C after (\d+) images, of which the first 800 are saved\. (.+)\n", err)
    assert process.returncode == 130 and said and 800 < int(said[1]) < 1600, err
    assert said[2] == f"To go on from there: pggan train --resume {run}"

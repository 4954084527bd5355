"""What the doors of the program print."""

import time

import pytest

from pggan_tf.errors import hide_secrets, make_printable


@pytest.mark.parametrize(
    "text, shown",
    [
        ("Anna’s photos/ü 猫.jpg", "Anna’s photos/ü 猫.jpg"),
        ("a\tb\nc", "a\tb\nc"),
        ("\x1b]0;title\x07\r\x7f\x9b2J", r"\x1b]0;title\x07\r\x7f\x9b2J"),
        ("a\u202egpj.exe\u2066", r"a\u202egpj.exe\u2066"),
        (ValueError("http://u:p@h/a?key=1"), "http://h/a?key=1"),
    ],
)
def test_names_from_others_only_say_what_they_are(text, shown):
    assert make_printable(text) == shown


@pytest.mark.parametrize("hostile", ["://", "a@", "://a@", "?", "://?", "#?,"])
def test_long_texts_take_no_time(hostile):
    begun = time.monotonic()
    hide_secrets("http://" + hostile * 50_000)
    assert time.monotonic() - begun < 20  # seconds; it takes a hundredth of one, and minutes if squared

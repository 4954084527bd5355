"""--target-res auto: a resolution that follows from the minutes, the machine and the photos."""

import numpy as np
import pytest

from pggan_tf.api import sizing
from pggan_tf.config import resolve
from pggan_tf.errors import UserError

VALUES = resolve({"target_res": 64}).config.values()


def test_operations_follow_from_the_layers():
    """At 4 px: 2 x 16 pixels, 128 maps from 128, twice; seven passes. Full convolutions need nine times as many."""
    small = VALUES | {"fmap_base": 2048, "fmap_max": 128}
    moved = 1000 * 2 * 16 * 128
    assert sizing.estimate_operations(small, 4) == 7 * 2 * 16 * 2 * 128**2 + moved
    assert sizing.estimate_operations(small | {"conv": "standard"}, 4) == 9 * 7 * 2 * 16 * 2 * 128**2 + moved
    assert 3 < sizing.estimate_operations(VALUES, 16) / sizing.estimate_operations(VALUES, 8) < 5


def test_more_minutes_and_faster_machines_have_larger_images():
    found = [sizing.choose(VALUES, minutes, 8e10, None) for minutes in (0.1, 1, 6, 60, 6000)]
    assert found == sorted(found) and found[0] == 16 and found[-1] == 256
    assert [sizing.choose(VALUES, 6, speed, None) for speed in (8e10, 16e10)] == [32, 64], "one slow core, and two"
    assert sizing.choose(VALUES, 6000, 8e10, 89) == 64, "the photos have 89 pixels"
    assert sizing.choose(VALUES, 6000, 8e10, 9) == 16, "what is too small is said when the photos are prepared"


def test_this_machine_has_a_speed():
    assert 1e8 < sizing.measure_speed(0.05) < 1e17


def test_auto_is_replaced_by_a_number(monkeypatch, tmp_path):
    from PIL import Image

    monkeypatch.setattr(sizing, "measure_speed", lambda: 1e13)
    said = []
    assert sizing.replace_auto({"target_res": 32}, said.append) == {"target_res": 32} and not said
    found = sizing.replace_auto({"target_res": "auto", "minutes": 600.0}, said.append)
    assert found == {"target_res": 256, "minutes": 600.0} and "256 px, for 600 minutes" in said[0]
    for i in range(3):
        Image.fromarray(np.zeros((50, 40 + i, 3), np.uint8)).save(tmp_path / f"{i}.png")
    options = {"target_res": "auto", "minutes": 600.0, "data": str(tmp_path)}
    assert sizing.replace_auto(options, said.append)["target_res"] == 32


@pytest.mark.parametrize(
    "options, words",
    [
        ({}, "goes with --minutes"),
        ({"minutes": 5.0, "recipe": "dcgan"}, "networks that grow"),
        ({"minutes": 5.0, "recipe": "pggan-separable+srgan"}, "networks that grow"),
    ],
)
def test_auto_is_refused_where_nothing_tells(options, words):
    with pytest.raises(UserError, match=words):
        sizing.replace_auto({"target_res": "auto", **options}, print)
    with pytest.raises(UserError, match="Give a number"):
        resolve({"target_res": "auto"})

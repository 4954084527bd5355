"""Every recipe trains to the figures that it trained to, and on the processor that they were recorded on to the last bit."""

import json

import pytest

from pggan_tf.config import recipes
from tests.golden import trained


@pytest.fixture(scope="module")
def recorded():
    return json.loads(trained.FILE.read_text())


def test_every_recipe_is_recorded(recorded):
    assert set(recorded) == set(trained.RECIPES) == set(recipes.RECIPES)


def values(line: dict, start: str = "") -> dict:
    """Values of a line by name; those of data measured beside the generator's lie in dicts and lists."""
    flat = {}
    for name, value in line.items():
        if isinstance(value, list):
            value = dict(enumerate(value))
        flat |= values(value, f"{start}{name}/") if isinstance(value, dict) else {f"{start}{name}": value}
    return flat


@pytest.mark.slow
@pytest.mark.parametrize("recipe", trained.RECIPES)
def test_a_recipe_trains_to_the_same(recipe, recorded, tmp_path):
    then, now = recorded[recipe], trained.result(recipe, tmp_path / "run")
    assert now["state"] == then["state"]
    assert [line["images"] for line in now["stats"]] == [line["images"] for line in then["stats"]]
    for before, after in zip(then["stats"], now["stats"]):
        before, after = values(before), values(after)
        assert list(after) == list(before)
        for name, value in before.items():
            expected = value if isinstance(value, str) else pytest.approx(value, rel=0.05, abs=0.02)
            assert after[name] == expected, name
    if then["processor"] == now["processor"]:
        assert now["sha256"] == then["sha256"]

"""Files as an earlier version wrote them are read, and what follows from them is what it was."""

import json

import numpy as np
import pytest

from tests.golden import option_sets, resolving, saved

RATE, STEPS = 0.002, 6  # of the run that is gone on with


@pytest.mark.parametrize("name", ["classes", "gray", "pairs"])
def test_shards_hold_what_was_written(name):
    expected = json.loads((saved.SHARDS / name / saved.EXPECTED).read_text())
    assert saved.shards_read(saved.SHARDS / name) == expected


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("golden") / "run"


@pytest.fixture(scope="module")
def then_and_now(folder):
    return json.loads((saved.RUN / saved.EXPECTED).read_text()), json.loads(json.dumps(saved.resumed(folder)))


@pytest.mark.parametrize("part", ["said", "files", "meta"])
def test_a_run_goes_on_by_the_same_clock_and_says_the_same(part, then_and_now):
    then, now = then_and_now
    assert now[part] == then[part]


def test_a_run_keeps_its_config(then_and_now, folder):
    before, after = (resolving.flat(json.loads((f / "config.json").read_text())) for f in (saved.RUN, folder))
    assert before == after


def test_a_run_s_figures_are_the_same_to_rounding(then_and_now):
    then, now = then_and_now
    assert [line["images"] for line in now["stats"]] == [line["images"] for line in then["stats"]]
    for before, after in zip(then["stats"], now["stats"]):
        assert list(before) == list(after)
        assert [before[k] for k in ("resolution", "fade", "alpha")] == [
            after[k] for k in ("resolution", "fade", "alpha")
        ]
        np.testing.assert_allclose(list(after.values()), list(before.values()), rtol=0.01, atol=0.002)


def test_a_run_s_weights_are_the_same_to_rounding(then_and_now):
    """Adam divides by the gradient's own size: where that is next to nothing, rounding decides which way a weight goes."""
    then, now = then_and_now
    assert list(then["weights"]) == list(now["weights"])
    apart = []
    for name, (shape, *numbers) in then["weights"].items():
        assert now["weights"][name][0] == shape, name
        if name.startswith(("generator", "discriminator", "ema")):
            apart += np.abs(np.subtract(numbers, now["weights"][name][1:])).tolist()
    assert max(apart) < 2 * RATE * STEPS and np.quantile(apart, 0.95) < 1e-4


def test_a_run_goes_on_to_the_same_bits(then_and_now):
    then, now = then_and_now
    if then["processor"] != now["processor"]:
        pytest.skip("recorded on another kind of processor, where sums are rounded in another order")
    assert now["sha256"] == then["sha256"]


@pytest.mark.parametrize("name", sorted(p.name for p in saved.NETWORKS.glob("*.keras")))
def test_a_network_makes_the_same_of_the_same(name):
    expected = json.loads((saved.NETWORKS / saved.EXPECTED).read_text())[name]
    made = saved.outputs(saved.NETWORKS / name)
    assert list(made) == list(expected)
    for key, (shape, numbers) in expected.items():
        assert made[key][0] == shape
        np.testing.assert_allclose(made[key][1], numbers, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("given", option_sets.PLANNED, ids=lambda given: given[0])
def test_minutes_come_to_the_same_plan(given):
    then = json.loads(resolving.PLANNED.read_text())[" ".join(map(str, given))]
    assert json.loads(json.dumps(resolving.planned(*given))) == then

"""Every architecture has the weights that it had: names, shapes, order, first values, and how many each stage trains."""

import pytest

from pggan_tf.networks import NETWORKS
from tests.golden import weights


@pytest.fixture(scope="module")
def recorded():
    return weights.sections(weights.FILE.read_text())


@pytest.mark.parametrize("options", weights.VARIANTS)
def test_weights_are_what_they_were(options, recorded):
    then, now = recorded[options], weights.described(options)
    pairs = zip([*then, *["nothing"] * len(now)], [*now, *["nothing"] * len(then)])
    lines = [f"{before}  ->  {after}" for before, after in pairs if not weights.alike(before, after)]
    assert not lines, "\n".join(["from then to now:", *lines[:30]])


def test_every_architecture_is_recorded(recorded):
    assert list(recorded) == list(weights.VARIANTS), "record it: python -m tests.golden.record weights"
    names = {line.split(",")[0] for lines in recorded.values() for line in lines if line.endswith(" weights")}
    assert len(names) == sum(1 + (kind.discriminator_module is not None) for kind in NETWORKS.values())

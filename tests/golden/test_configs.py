"""Every recipe with every set of options: the resolved config, the plan, or the refusal are what they were."""

import json
import shlex

import pytest

from pggan_tf import config as configs
from tests.golden import option_sets, resolving


@pytest.fixture(scope="module", autouse=True)
def bare(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bare")
    with resolving.bare_machine(folder):
        yield folder


def test_every_recipe_is_recorded():
    known = {path.stem for path in resolving.FOLDER.glob("*.json") if not path.stem.startswith(("version-", "planned"))}
    assert known == set(resolving.records()), "record it: python -m tests.golden.record configs"


@pytest.mark.parametrize("record", resolving.records())
def test_what_options_come_to(record, tmp_path):
    then = json.loads((resolving.FOLDER / f"{record}.json").read_text())
    now = resolving.reduced(resolving.outcomes(record, tmp_path))
    lines = resolving.differences(then, json.loads(json.dumps(now)))
    assert not lines, "\n".join([f"{len(lines)} lines differ, from then to now:", *lines[:60]])


def test_what_a_dry_run_prints():
    assert resolving.dry_runs() == resolving.PRINTED.read_text().split("\n")[:-1]


def test_every_option_is_in_a_set():
    sets = (*option_sets.WITH_RECIPES, *option_sets.ALONE)
    typed = {word.partition("=")[0].replace("--no-", "--") for options in sets for word in shlex.split(options)}
    missing = {configs.flag(name) for name in configs.FIELDS} - typed
    assert not missing

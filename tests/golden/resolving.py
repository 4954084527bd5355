"""What a command line of `train` comes to, as text that outlives changes of the code: options, plan, or refusal.

What is known of today's code is in `flat`, `phases`, `accepted` and `planned`; the records know names of options and numbers alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from tests.conftest import ROOT, pggan
from tests.golden import option_sets

FOLDER = Path(__file__).parent / "configs"
ALONE = "alone"
# Beside the records: what --dry-run prints, and the plans of --minutes.
PRINTED, PLANNED = FOLDER / "printed.txt", FOLDER / "planned.json"


def flat(written: dict) -> dict:
    """What is in a run's config.json as {option: value}."""
    if written["version"] < 3:
        return {name: value for name, value in written.items() if name != "version"}
    groups = [value for name, value in written.items() if isinstance(value, dict) and name != "asked"]
    return {"recipe": written["recipe"]} | {name: value for group in groups for name, value in group.items()}


def phases(plan) -> str:
    """The phases of a plan: '4px stable 300,032 by 64 at 0.004; 8px fade ...'."""
    from pggan_tf.errors import UserError

    def phase(p) -> str:
        steps = f"{p.batch}x{p.critic_steps}" if p.critic_steps > 1 else str(p.batch)
        decay = f", the last {p.decay_images:,} down to 0" if p.decay_images else ""
        return f"{p.name} {p.images:,} by {steps} at {p.learning_rate:g}{decay}"

    try:
        return "; ".join(map(phase, plan.phases))
    except UserError as error:
        return f"refused: {error}"


def accepted(words: list[str]) -> list[dict]:
    """[{config, plan}] of the runs that `train WORDS` would make. Raises UserError."""
    from cloud.commands import parse

    found = parse(["train", *words], ROOT).plans
    return [{"config": flat(json.loads(json.dumps(plan.to_json()))), "plan": phases(plan)} for plan in found]


def printed(options: str) -> tuple[list[dict], list[str]]:
    """(the configs, the other lines) that `train OPTIONS --dry-run` prints."""
    with mock.patch.dict(os.environ, {"ONEDNN_MAX_CPU_ISA": "AVX2"}):  # float32 needs the same memory on all machines
        code, out, err = pggan("train", "--dry-run", *shlex.split(options))
    assert code == 0, err
    found, lines = [], []
    while out:
        if out.startswith("{"):
            config, end = json.JSONDecoder().raw_decode(out)
            found.append(flat(config))
            out = out[end:].lstrip("\n")
        else:
            line, _, out = out.partition("\n")
            lines.append(line.rstrip())
    return found, lines


def dry_runs() -> list[str]:
    """Lines that --dry-run prints besides the configs, which have to be those of `accepted`."""
    lines = []
    for options in option_sets.PRINTED:
        found, others = printed(options)
        resolved = [run["config"] for run in accepted(shlex.split(options))]
        places = {"data": str(ROOT / str(found[0]["data"]))} if found[0]["data"] else {}
        assert [config | places for config in found] == [config | places for config in resolved], options
        lines += ["", f"# train {options} --dry-run", *others]
    return lines[1:]


def planned(options: str, spent: float, cost: float) -> dict:
    """{config, plan, seconds of measurements} that `train OPTIONS`, with --minutes, makes of speeds that are given."""
    from cloud.commands import parse
    from pggan_tf.errors import UserError
    from pggan_tf.training.planning import plan_for_minutes

    (plan,) = parse(["train", *shlex.split(options)], ROOT).plans
    parts = dict.fromkeys(p.part for p in plan.phases)
    speeds = {p: 40_000 / p.resolution**1.5 * (0.8 if p.fade else 1.0) * (1.0 if p.adversarial else 2.0) for p in parts}
    costs = dict.fromkeys(plan.resolutions, cost) if cost else {}
    try:
        plan = plan_for_minutes(plan, speeds, spent + 3.0 * len(parts), costs)  # 3 s to build each part
    except UserError as error:
        return {"refused": str(error)}
    found = flat(json.loads(json.dumps(plan.to_json())))
    names = ("fade_images", "stable_images", "pretrain_images", "metrics_every", "minutes")
    return {
        **{name: found[name] for name in names},
        "plan": phases(plan),
        "measuring": round(plan.metrics_seconds(costs), 3),
    }


def outcome(options: str) -> dict:
    """{runs: [{config, plan}]}, or {exit, error} as the command line ends and says it."""
    from pggan_tf.errors import UserError

    words = shlex.split(options)
    with contextlib.suppress(UserError):
        return {"runs": accepted(words)}
    code, _, err = pggan("train", "--dry-run", *words)
    return {"exit": code, "error": err.strip().replace(str(ROOT), ".")}


@contextlib.contextmanager
def bare_machine(folder: Path) -> Iterator[None]:
    """As on a machine that has fetched nothing, in the project's folder."""
    wanted = {"KERAS_HOME": str(folder), "PGGAN_CACHE": str(folder), "TF_CONFIG": None}
    before = {name: os.environ.get(name) for name in wanted}

    def put(values):
        for name, value in values.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    put(wanted)
    try:
        with contextlib.chdir(ROOT):
            yield
    finally:
        put(before)


def records() -> list[str]:
    """Names of the records: of every recipe, and of what goes without one."""
    from pggan_tf.config import recipes

    return [ALONE, *recipes.RECIPES, *recipes.PIPELINES]


def _over(runs: list[dict], number: int, folder: Path) -> Path:
    """The config.json, as version 2 wrote it, of one of the runs."""
    path = folder / f"over-{number}.json"
    path.write_text(json.dumps({"version": 2, **runs[number]["config"]}))
    return path


def outcomes(record: str, folder: Path) -> dict[str, dict]:
    """All outcomes of a record, by what is typed after `train`. folder: for files that are made meanwhile."""
    sets = option_sets.WITH_RECIPES
    if record == ALONE:
        return {options: outcome(options) for options in dict.fromkeys(("", *sets[1:], *option_sets.ALONE))}
    found = {f"--recipe {record} {options}".strip(): outcome(f"--recipe {record} {options}") for options in sets}
    begun = found[f"--recipe {record}"]["runs"]
    for number in range(len(begun)):
        path = _over(begun, number, folder)
        for options in option_sets.OVER_A_CONFIG:
            here = outcome(f"--config {path} {options}")
            if "error" in here:
                here["error"] = here["error"].replace(str(path), "config.json")
            found[f"--config {record}.json{f'#{number}' * (number > 0)} {options}".strip()] = here
    return found


def reduced(found: dict[str, dict]) -> dict[str, dict]:
    """The same with the first outcome whole and the others as differences from it."""
    first, *_ = found.values()
    bases = first["runs"]
    out = {}
    for options, here in found.items():
        if here is not first and "runs" in here:
            here = {"runs": [_changes(run, bases[min(i, len(bases) - 1)]) for i, run in enumerate(here["runs"])]}
        out[options] = here
    return out


def _changes(run: dict, base: dict) -> dict:
    config = {k: v for k, v in run["config"].items() if k not in base["config"] or base["config"][k] != v}
    gone = sorted(base["config"].keys() - run["config"].keys())
    return {
        "changes": dict(sorted(config.items())),
        **({"gone": gone} if gone else {}),
        **({"plan": run["plan"]} if run["plan"] != base["plan"] else {}),
    }


def written(found: dict[str, dict]) -> str:
    """A record as text: one line an outcome, but the first one, from which the others are told apart."""
    first, *others = reduced(found).items()
    lines = [f"{json.dumps(first[0])}: {json.dumps(first[1], indent=1)}"]
    lines += [f"{json.dumps(options)}: {json.dumps(here)}" for options, here in others]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def differences(then: dict[str, dict], now: dict[str, dict]) -> list[str]:
    """Lines for people: what is typed, and what it came to then and comes to now. Both: as `reduced` has them."""
    lines = []
    for options in dict.fromkeys((*then, *now)):
        before, after = then.get(options, {}), now.get(options, {})
        if before == after:
            continue
        found = []
        for key in ("exit", "error"):
            if before.get(key) != after.get(key):
                found.append(f"    {key}: {before.get(key)} -> {after.get(key)}")
        for number, (a, b) in enumerate(zip(_padded(before, after), _padded(after, before))):
            old, new = _values(a, then, number), _values(b, now, number)
            names = [n for n in dict.fromkeys((*old, *new)) if old.get(n, "-") != new.get(n, "-")]
            found += [f"    {n}: {old.get(n, 'not there')} -> {new.get(n, 'not there')}" for n in names]
        lines += [f"train {options}", *found] if found else []
    return lines


def _values(run: dict, record: dict[str, dict], number: int) -> dict:
    """The options of a run, and its plan, that a record may have as differences from its first outcome."""
    if not run:
        return {}
    bases = next(iter(record.values()))["runs"]
    base = bases[min(number, len(bases) - 1)]
    values = run.get("config") or {k: v for k, v in base["config"].items() if k not in run.get("gone", ())}
    return values | run.get("changes", {}) | {"plan": run.get("plan", base["plan"])}


def _padded(one: dict, other: dict) -> list[dict]:
    runs = one.get("runs", [])
    return runs + [{}] * (len(other.get("runs", [])) - len(runs))

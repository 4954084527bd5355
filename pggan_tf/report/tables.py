"""Format the tables and sentences of reports: facts, plan, options, environment, comparison."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pggan_tf import metrics, schedule
from pggan_tf.config import flag, resolve
from pggan_tf.errors import UserError
from pggan_tf.report.runs import RunSummary
from pggan_tf.report.words import format_number, format_option, title_metric
from pggan_tf.runs import records
from pggan_tf.shapes import name_size
from pggan_tf.terminal import format_duration


def summarize(run: RunSummary) -> str:
    """Return one sentence about a run: recipe, data, resolution, progress and training time."""
    what = f"Recipe {run.config.recipe} on {run.data} ({run.data_images} images) to {run.plan.size} px"
    progress = f"{run.images:,} images shown in {format_duration(run.seconds)} of training"
    if run.ended:
        return f"{what}: {progress}."
    return f"{what}: {min(1, run.images / run.phases[-1].end):.0%} done, {progress}."


def list_facts(run: RunSummary) -> list[tuple[str, str]]:
    """Return the key facts at the top of a report as pairs of a name and a value."""
    speed = run.ticks[-1].get("images_per_second") if run.ticks else None
    facts = [
        ("images shown", format_number(run.images)),
        ("of training", format_duration(run.seconds)),
        ("images/s at the end", "-" if speed is None else format_number(speed)),
        ("steps skipped", run.skipped),
    ]
    facts += [
        (f"parameters of {'G' if network == 'generator' else 'D'}", format_number(count))
        for network, count in run.parameters.items()
    ]
    if run.kept is not None:
        facts.append(("images shown to generator.keras, the best", format_number(run.kept)))
    which = "last" if run.kept is None else "of generator.keras"
    return facts + [(f"{name}, {which}", f"{value:.4g}") for name, value in run.final_metrics.items()]


def list_plan(run: RunSummary) -> list[dict]:
    """Return one dict for each phase with the keys 'phase', 'time', 'speed' and 'state'.

    'phase' is the `schedule.Phase`; 'state' is 'done', 'under way' or 'to come'. 'time' and 'speed'
    (images per second) are texts, empty for a phase that has not begun.
    """
    rows = []
    for phase in run.phases:
        time, speed = _measure_phase(run, phase)
        state = "done" if run.images >= phase.end else "under way" if run.images > phase.start else "to come"
        if state == "under way" and run.ended:  # by --stop plateau
            state = "done"
        rows.append({"phase": phase, "time": time, "speed": speed, "state": state})
    return rows


def _measure_phase(run: RunSummary, phase: schedule.Phase) -> tuple[str, str]:
    """Return time and images per second, as text, of the trained part of a phase.

    Both are empty for a phase that has not begun.
    """
    images = min(run.images, phase.end) - phase.start
    if images <= 0:
        return "", ""
    seconds = run.interpolate_seconds(phase.start + images) - run.interpolate_seconds(phase.start)
    return (format_duration(seconds), format_number(images / seconds)) if seconds > 0 else ("", "")


def list_changed_options(run: RunSummary) -> dict[str, str] | None:
    """Return {flag: value} of the options that differ from the defaults of the run's recipe.

    Returns None if this version does not know the recipe.
    """
    try:
        same_size = {"target_res": run.plan.target_res, "resolutions": run.plan.resolutions}
        defaults = resolve({"recipe": run.config.recipe, **same_size}).config.values()
        defaults |= {"target_res": None, "resolutions": None}
    except UserError:  # a recipe of another version, or one that cannot be trained on its own
        return None
    own = records.remove_places(run.config.values())
    return {
        flag(name): format_option(value)
        for name, value in own.items()
        if name != "recipe" and value is not None and value != defaults.get(name)
    }


def list_environment(run: RunSummary) -> list[tuple[str, str]]:
    """Return (name, text) for each entry of environment.json except the requested options.

    Paths are shortened to their last part.
    """
    entries = records.remove_places({name: value for name, value in run.environment.items() if name != "asked"})
    entries["dataset"].pop("folder")  # its last part is only a name in a cache
    rows = []
    for name, value in entries.items():
        if name == "packages" and isinstance(value, dict):
            value = ", ".join(f"{k} {v}" for k, v in value.items())
        for part, text in value.items() if isinstance(value, dict) else [("", value)]:
            text = " ".join(map(str, text)) if name == "command" and isinstance(text, list) else format_option(text)
            if text not in ("", "None", "[]"):
                rows.append((f"{name} {part}".strip().replace("_", " "), text))
    return rows


def compare_runs(runs: Sequence[RunSummary]) -> dict[str, list[str]]:
    """Return the table that compares runs: {name of a row: one text for each run}."""
    rows: dict[str, list[str]] = {
        "recipe": [run.config.recipe for run in runs],
        "data": [f"{run.data}, {run.data_images}" for run in runs],
        "network": [run.plan.network_in_words for run in runs],
        "loss": [run.config.objective.loss for run in runs],
        "update": [run.config.objective.update for run in runs],
        "resolution": [f"{run.plan.size} px" for run in runs],
        "parameters of G": [format_number(r.parameters["generator"]) if r.parameters else "-" for r in runs],
        "parameters of D": [format_number(r.parameters["discriminator"]) if r.parameters else "-" for r in runs],
        "images shown": [f"{run.images:,}" + ("" if run.ended else " so far") for run in runs],
        "time": [format_duration(run.seconds) for run in runs],
        "images/s": [format_number(run.images / run.seconds) if run.seconds > 0 else "-" for run in runs],
        "steps skipped": [run.skipped for run in runs],
        "spread of D's loss": [_measure_spread(run, "loss_d") for run in runs],
        "spread of G's loss": [_measure_spread(run, "loss_g") for run in runs],
    }
    for name in list_metrics(runs):
        rows[title_metric(name)] = [_format_last(run, name) for run in runs]
    if any(run.measurements for run in runs):
        rows["measured on"] = [_format_measured_on(run) for run in runs]
    return rows


def list_metrics(runs: Sequence[RunSummary]) -> list[str]:
    """Return the full names of all metrics of the runs, without duplicates."""
    return list(dict.fromkeys(name for run in runs for name in run.metrics))


def _measure_spread(run: RunSummary, name: str) -> str:
    """Return the standard deviation of the last half of a curve as text, or '-' without values.

    It shows how much the curve still varies late in training.
    """
    _, values = run.get_series(name)
    half = values[len(values) // 2 :]
    return f"{np.std(half):.3g}" if len(half) > 1 else "-"


def _format_last(run: RunSummary, name: str) -> str:
    """Return a metric of generator.keras as text, with its spread if known; '-' if not measured."""
    if name not in run.final_metrics:
        return "-"
    spread = run.final[-1]["details"].get(f"{name} spread")
    return f"{run.final_metrics[name]:.4g}" + (f" ± {spread:.2g}" if spread is not None else "")


def _format_measured_on(run: RunSummary) -> str:
    """Return the number and size of the images of the last measurement, or '-' if there is none."""
    if not run.final:
        return "-"
    images, resolution = (run.final[-1][name] for name in ("measured", "resolution"))
    count = "unknown many" if images is None else f"{images:,}"
    return f"{count} at {'unknown' if resolution is None else name_size(resolution, run.plan.aspect)} px"


def find_best(runs: Sequence[RunSummary]) -> set[tuple[str, int]]:
    """Return the cells with the best metric values: (row name of `compare_runs`, index of the run).

    Runs are compared if they were measured at the same resolution, on the same number of images and
    on the same data. Runs for which one of these is not known are not compared.
    """
    best = set()
    for name in list_metrics(runs):
        metric = metrics.METRICS.get(metrics.strip_features(name))
        alike: dict[tuple, list[tuple[float, int]]] = {}
        for i, run in enumerate(runs):
            lines = [line for line in run.final if name in line["metrics"]]
            if metric and metric.better and lines:
                last, checksum = lines[-1], run.environment["dataset"]["checksum"]
                alike.setdefault((last["resolution"], last["measured"], checksum), []).append(
                    (last["metrics"][name], i)
                )
        for key, values in alike.items():
            if metric and len(values) > 1 and None not in key:
                first = (max if metric.better == "higher" else min)(value for value, _ in values)
                best |= {(title_metric(name), i) for value, i in values if value == first}
    return best


def list_differences(runs: Sequence[RunSummary]) -> list[str]:
    """Return one sentence for each reason why the runs' metrics cannot easily be compared."""
    measured = [run for run in runs if run.final]
    kinds = {
        "at unlike sizes": {run.final[-1]["resolution"] for run in measured},
        "on unlike data": {run.environment["dataset"]["checksum"] for run in measured},
        "on unlike numbers of images": {run.final[-1]["measured"] for run in measured},
    }
    out = [f"metrics were measured {what}: not to be compared" for what, found in kinds.items() if len(found) > 1]
    names_by_caveat: dict[tuple[str, str], list[str]] = {}
    for run in measured:
        for caveat in run.caveats:
            names_by_caveat.setdefault(caveat, []).append(run.name)
    out += [
        f"stats.jsonl of {run.name}: {run.unread_lines:,} lines say nothing and are left out"
        for run in runs
        if run.unread_lines
    ]
    return out + [
        f"{name}{'' if len(names) == len(runs) else ' of ' + ', '.join(names)}: {caveat}"
        for (name, caveat), names in names_by_caveat.items()
    ]

"""Compare runs side by side, as `pggan compare` does."""

from __future__ import annotations

from pggan_tf.config import flag
from pggan_tf.report import runs as reports
from pggan_tf.report import tables
from pggan_tf.report.words import format_option
from pggan_tf.runs import records
from pggan_tf.studio.runs import Runs, quote_name

_CURVES = ("loss_d", "loss_g")


def compare(runs: Runs, names: list[str]) -> dict:
    """Return what the panel Compare shows of 2 to 8 runs.

    Args:
        runs: the runs.
        names: names of those to compare.

    Raises:
        UserError: if there are fewer or more, or one is given twice or cannot be read.
        Refusal: if there is no run of a name.
    """
    read = reports.read_runs([runs.find(name) for name in names])
    rows, best = tables.compare_runs(read), tables.find_best(read)
    return {
        "runs": names,
        "titles": [runs.find_title(name) for name in names],
        "table": [
            {"name": row, "values": values, "best": [i for i in range(len(read)) if (row, i) in best]}
            for row, values in rows.items()
        ],
        "notes": tables.list_differences(read),
        "differences": list_differences(read),
        "series": _list_series(read, names),
        "sheets": [_address_sheet(name, run) for name, run in zip(names, read)],
    }


def list_differences(read) -> list[dict]:
    """Return the options in which runs differ: {option, values}."""
    each = [records.remove_places(run.config.values()) for run in read]
    out = []
    for name in each[0]:
        values = [None if config.get(name) is None else format_option(config[name]) for config in each]
        if len(set(values)) > 1:
            out.append({"option": flag(name), "values": values})
    return out


def _list_series(read, names: list[str]) -> dict[str, list[dict]]:
    """Return the curves of losses and metrics by their names."""
    series: dict[str, list[dict]] = {}
    for name, run in zip(names, read):
        step = max(1, len(run.ticks) // 600)
        for curve in _CURVES:
            ticks = [tick for tick in run.ticks[::step] if tick.get(curve) is not None]
            if ticks:
                one = {
                    "run": name,
                    "images": [t["images"] for t in ticks],
                    "minutes": [t["seconds"] / 60 for t in ticks],
                }
                series.setdefault(curve, []).append(one | {"values": [t[curve] for t in ticks]})
        for metric, values in run.metrics.items():
            one = {"run": name, "images": [i for i, _, _ in values], "minutes": [s / 60 for _, s, _ in values]}
            series.setdefault(metric, []).append(one | {"values": [v for _, _, v in values]})
    return series


def _address_sheet(name: str, run) -> str | None:
    """Return the address of a sheet of the same seeds for each run; None if it makes no images."""
    if run.plan.task.from_images or not run.has_generator:
        return None
    return f"/api/runs/{quote_name(name)}/faces.png?seeds=0-15&columns=4"

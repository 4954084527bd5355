"""Draw curves as inline SVG in the colours of the page, which differ in light and dark schemes."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pggan_tf.report.runs import MOST_COMPARED, RunSummary
from pggan_tf.report.tables import list_metrics
from pggan_tf.report.words import title_metric

IMAGES = "images shown"  # label of the usual axis
_POINTS = 400  # of a curve at most
# matplotlib draws in these colours, and `_inline` replaces each by a variable of the page's style
# sheet.
_INK, _LINE, _BAND = "#010203", "#040506", "#070809"
_CURVES = [f"#0a0b0{i}" for i in range(MOST_COMPARED)]
_CSS_COLOURS = {_INK: "var(--soft)", _LINE: "var(--line)", _BAND: "var(--band)"} | {
    colour: f"var(--curve-{i})" for i, colour in enumerate(_CURVES)
}
_TRAINING_PLOTS = {
    "Losses": {"loss_d": "discriminator", "loss_g": "generator"},
    "What the discriminator says": {"logit_real": "on real images", "logit_fake": "on generated images"},
}
_COMPARED_PLOTS = {
    "The discriminator's loss": "loss_d",
    "The generator's loss": "loss_g",
    "What D says of real images": "logit_real",
    "What D says of generated images": "logit_fake",
}


@dataclass(frozen=True)
class Curve:
    """A sequence of points. Neighbours are joined by a line where their `stages` are equal."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    stages: Sequence = ()  # of each point: what it was measured at, such as a resolution

    def split(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return (x, y) of each piece that is one line; points that are not finite are left out."""
        x, y = np.asarray(self.x, float), np.asarray(self.y, float)
        finite = np.isfinite(x) & np.isfinite(y)
        stages = [stage for stage, use in zip(self.stages, finite) if use] or [None] * int(finite.sum())
        cuts = [i for i in range(1, len(stages)) if stages[i] != stages[i - 1]]
        return [piece for piece in zip(np.split(x[finite], cuts), np.split(y[finite], cuts)) if len(piece[0])]


Pieces = dict[int, list[tuple[np.ndarray, np.ndarray]]]  # index of a curve -> what `Curve.split` returns


@dataclass(frozen=True)
class Band:
    """The part of an axis that one phase of training takes."""

    start: float
    end: float
    name: str  # empty where the phase's resolution is that of the one before
    fading: bool  # whether a new stage fades in


@dataclass(frozen=True)
class Plot:
    """A drawing and what belongs to it on the page."""

    title: str
    svg: str
    labels: dict[int, str]  # of the curves, by the numbers of their colours; empty where there is one curve
    text: str  # what the plot shows, for those who cannot see it
    note: str = ""


def _thin(x: np.ndarray, y: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Average neighbouring points until at most `points` are left."""
    if len(x) <= points:
        return x, y
    parts = np.array_split(np.arange(len(x)), points)
    return np.array([x[p].mean() for p in parts]), np.array([y[p].mean() for p in parts])


def _smooth(y: np.ndarray) -> np.ndarray:
    """Return the moving average over a twentieth of the curve, over less at its ends."""
    half = len(y) // 40
    sums = np.concatenate([[0.0], np.cumsum(y)])
    low, high = np.maximum(np.arange(len(y)) - half, 0), np.minimum(np.arange(len(y)) + half + 1, len(y))
    return (sums[high] - sums[low]) / (high - low)


def _limit(values: np.ndarray) -> tuple[float, float] | None:
    """Return limits of the y axis that cut single spikes, which would flatten everything else.

    None where all values lie near the range of the central 99 %.
    """
    low, high = np.percentile(values, [0.5, 99.5])
    margin = 0.25 * (high - low) or 1.0
    if values.min() >= low - margin and values.max() <= high + margin:
        return None
    return float(max(low - margin, values.min() - margin / 10)), float(min(high + margin, values.max() + margin / 10))


def draw_plot(title: str, curves: Sequence[Curve], x_label: str, bands: Sequence[Band] = ()) -> Plot | None:
    """Draw curves over one axis, with the phases of training behind them.

    Return None where no curve has a point.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # By the number of its colour: a run has the same colour in every plot, even where others have
    # no curve.
    pieces = {i: parts for i, curve in enumerate(curves) if (parts := curve.split())}
    if not pieces:
        return None
    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": f"{title} {x_label}",
        "font.size": 10.5,
        "axes.edgecolor": _LINE,
        **dict.fromkeys(("text.color", "xtick.color", "ytick.color", "axes.labelcolor"), _INK),
    }
    limits = _limit(np.concatenate([y for parts in pieces.values() for _, y in parts]))
    with rc_context(settings):
        figure = Figure(figsize=(4.6, 3.0), layout="constrained")
        axes = figure.add_subplot()
        _draw_bands(axes, bands)
        _draw_curves(axes, pieces)
        if limits:
            axes.set_ylim(*limits)
        _style_axes(axes, x_label)
        _name_bands(axes, bands)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    ends = "; ".join(
        f"{curves[i].label} from {parts[0][1][0]:.3g} to {parts[-1][1][-1]:.3g}" for i, parts in pieces.items()
    )
    notes = ["Spikes beyond the frame are cut."] if limits else []
    if any(len(parts) > 1 for parts in pieces.values()):
        notes.append("A line ends where the resolution changes: beyond, it is another measure.")
    labels = {i: curves[i].label for i in pieces} if len(curves) > 1 else {}
    return Plot(title, _inline(buffer.getvalue()), labels, f"{title}, over {x_label}: {ends}.", " ".join(notes))


def _draw_bands(axes, bands: Sequence[Band]) -> None:
    for band in bands:
        if band.fading:
            axes.axvspan(band.start, band.end, color=_BAND, linewidth=0)
        if band.name:
            axes.axvline(band.start, color=_LINE, linewidth=0.8)


def _draw_curves(axes, pieces: Pieces) -> None:
    """Draw few points as they are, many of them pale with their moving average on top."""
    for i, parts in pieces.items():
        for x, y in parts:
            few = len(x) < 60
            axes.plot(
                *_thin(x, y, _POINTS),
                color=_CURVES[i],
                linewidth=2 if few else 0.7,
                alpha=1 if few else 0.35,
                marker="o" if len(x) < 20 else None,
                markersize=4,
            )
            if not few:
                axes.plot(*_thin(x, _smooth(y), _POINTS), color=_CURVES[i], linewidth=2)


def _style_axes(axes, x_label: str) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator

    axes.margins(x=0.02)
    axes.grid(axis="y", color=_LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xlabel(x_label)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    if x_label == IMAGES:
        axes.xaxis.set_major_formatter(EngFormatter(sep="\N{THIN SPACE}"))


def _name_bands(axes, bands: Sequence[Band]) -> None:
    """Write the bands' names at the top, but for those that would lie on the one before."""
    left, right = axes.get_xlim()
    last = -math.inf
    for band in bands:
        if band.name and band.start - last > 0.12 * (right - left):
            axes.annotate(
                band.name,
                (band.start, 1),
                xycoords=("data", "axes fraction"),
                xytext=(3, 2),
                textcoords="offset points",
            )
            last = band.start


def _inline(svg: str) -> str:
    """Adapt matplotlib's SVG for a page that holds several of them.

    Its size, fonts and colours become those of the page, and names that others have too are
    removed.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(
        r'(<svg[^>]*?) height="[^"]*"([^>]*?) width="[^"]*"|(<svg[^>]*?) width="[^"]*"([^>]*?) height="[^"]*"',
        r"\1\2\3\4",
        svg,
        count=1,
    )
    svg = svg.replace("<svg ", '<svg aria-hidden="true" ', 1)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    svg = re.sub(
        r' id="(?:figure|axes|patch|matplotlib|xtick|ytick|line2d|text|PolyCollection|FillBetween)[^"]*"', "", svg
    )
    for colour, variable in _CSS_COLOURS.items():
        svg = svg.replace(colour, variable)
    return svg


def _list_bands(run: RunSummary, unit: float | None = None) -> list[Band]:
    """Return the phases that have begun, named where a new resolution begins.

    Args:
        run: A run; with one resolution it has no bands.
        unit: Seconds that one unit of the axis stands for; None for an axis of images seen.
    """

    def place(images: float) -> float:
        return run.interpolate_seconds(images) / unit if unit else images

    several, last, out = len(run.config.networks.resolutions or ()) > 1, None, []
    for phase in run.phases:
        if phase.start < run.images and several:
            name = f"{phase.resolution} px" if phase.resolution != last else ""
            out.append(Band(place(phase.start), place(min(phase.end, run.images)), name, phase.fade))
            last = phase.resolution
    return out


def draw_training_plots(run: RunSummary) -> list[Plot]:
    """Draw losses, logits and, where they were recorded, penalty and augmentation of a run."""
    bands = _list_bands(run)
    plots = [
        draw_plot(title, [Curve(label, *run.get_series(name)) for name, label in names.items()], IMAGES, bands)
        for title, names in _TRAINING_PLOTS.items()
    ]
    if any(run.get_series("penalty")[1]):
        plots.append(draw_plot("Penalty", [Curve("penalty", *run.get_series("penalty"))], IMAGES, bands))
    if any(run.get_series("augment_probability")[1]):
        curve = Curve("probability", *run.get_series("augment_probability"))
        plots.append(draw_plot("Augmentation", [curve], IMAGES, bands))
    return [plot for plot in plots if plot]


def draw_compared_plots(runs: Sequence[RunSummary]) -> list[Plot]:
    """Draw losses and logits, each with a curve for every run."""
    plots = [
        draw_plot(title, [Curve(run.name, *run.get_series(name)) for run in runs], IMAGES)
        for title, name in _COMPARED_PLOTS.items()
    ]
    return [plot for plot in plots if plot]


def draw_metric_plots(runs: Sequence[RunSummary]) -> list[Plot]:
    """Draw every metric over images seen and over time, with a curve for each run that has it."""
    minutes = max(run.seconds for run in runs) < 7200
    plots = []
    for name in list_metrics(runs):
        for unit, label in ((None, IMAGES), (60, "minutes") if minutes else (3600, "hours")):
            curves = []
            for run in runs:
                lines = [line for line in run.measurements if name in line["metrics"]]
                x = [line["seconds"] / unit if unit else line["images"] for line in lines]
                y, stages = [line["metrics"][name] for line in lines], [line["resolution"] for line in lines]
                curves.append(Curve(run.name if len(runs) > 1 else name, x, y, stages))
            bands = _list_bands(runs[0], unit) if len(runs) == 1 else ()
            plots.append(draw_plot(title_metric(name), curves, label, bands))
    return [plot for plot in plots if plot]

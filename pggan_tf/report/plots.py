"""Draw plots as inline SVG that uses the page's colours, so that light and dark mode both work."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pggan_tf import shapes
from pggan_tf.report.runs import MOST_COMPARED, RunSummary
from pggan_tf.report.tables import list_metrics
from pggan_tf.report.words import title_metric

IMAGES = "images shown"  # label of the x axis of most plots
_POINTS = 400  # largest number of points of a curve
# Placeholder colours for matplotlib; `_inline` replaces them with CSS variables of the page.
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
    """Points of a curve. A line connects neighbouring points whose `stages` are equal."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    stages: Sequence = ()  # stage of each point, such as the resolution it was measured at

    def split(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Split the curve into connected lines and return (x, y) of each, without NaN and Inf."""
        x, y = np.asarray(self.x, float), np.asarray(self.y, float)
        finite = np.isfinite(x) & np.isfinite(y)
        stages = [stage for stage, use in zip(self.stages, finite) if use] or [None] * int(finite.sum())
        cuts = [i for i in range(1, len(stages)) if stages[i] != stages[i - 1]]
        return [piece for piece in zip(np.split(x[finite], cuts), np.split(y[finite], cuts)) if len(piece[0])]


Pieces = dict[int, list[tuple[np.ndarray, np.ndarray]]]  # index of a curve -> its lines


@dataclass(frozen=True)
class Band:
    """Range of the x axis that one phase of training covers."""

    start: float
    end: float
    name: str  # empty if the phase has the same resolution as the previous one
    fading: bool  # whether a new stage fades in


@dataclass(frozen=True)
class Plot:
    """Plot on a page, with its legend and texts."""

    title: str
    svg: str
    labels: dict[int, str]  # index of a curve (its colour) -> label; empty for one curve
    text: str  # description for screen readers
    note: str = ""


def _thin(x: np.ndarray, y: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Reduce a curve to at most `points` points by averaging neighbours; return its x and y."""
    if len(x) <= points:
        return x, y
    parts = np.array_split(np.arange(len(x)), points)
    return np.array([x[p].mean() for p in parts]), np.array([y[p].mean() for p in parts])


def _smooth(y: np.ndarray) -> np.ndarray:
    """Return the moving average of y over a window of 1/20 of its length, less at the ends."""
    half = len(y) // 40
    sums = np.concatenate([[0.0], np.cumsum(y)])
    low, high = np.maximum(np.arange(len(y)) - half, 0), np.minimum(np.arange(len(y)) + half + 1, len(y))
    return (sums[high] - sums[low]) / (high - low)


def _limit(values: np.ndarray) -> tuple[float, float] | None:
    """Return limits (low, high) of the y axis that cut off spikes, which would flatten the rest.

    Returns None if there are no spikes: all values are near the range of the central 99 %.
    """
    low, high = np.percentile(values, [0.5, 99.5])
    margin = 0.25 * (high - low) or 1.0
    if values.min() >= low - margin and values.max() <= high + margin:
        return None
    return float(max(low - margin, values.min() - margin / 10)), float(min(high + margin, values.max() + margin / 10))


def draw_plot(title: str, curves: Sequence[Curve], x_label: str, bands: Sequence[Band] = ()) -> Plot | None:
    """Draw curves in one plot, with the phases of training in the background.

    Args:
        title: Title of the plot.
        curves: The curves.
        x_label: Label of the x axis; IMAGES for images seen by the run.
        bands: The phases of training; none by default.

    Returns:
        The plot, or None if no curve has a finite point.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    # A curve keeps its index, which selects its colour, even if other curves have no points: so a
    # run has the same colour in all plots.
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
    """Draw short curves as they are, and long ones pale with their moving average on top."""
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
    """Write the names of the bands at the top, omitting names that would overlap."""
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
    """Adapt an SVG of matplotlib for a page with several plots.

    The fixed size and font are removed, colours are replaced with CSS variables of the page, and
    ids that several plots would share are removed.
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
    """Return a band for each phase that has begun.

    A band has a name if a new resolution starts with it.

    Args:
        run: The run. If it has only one resolution, there are no bands.
        unit: Seconds per unit of an x axis of time; None if the x axis shows images seen.
    """

    def place(images: float) -> float:
        return run.interpolate_seconds(images) / unit if unit else images

    several, last, out = len(run.config.networks.resolutions or ()) > 1, None, []
    for phase in run.phases:
        if phase.start < run.images and several:
            size = shapes.name_size(phase.resolution, phase.aspect)
            name = f"{size} px" if phase.resolution != last else ""
            out.append(Band(place(phase.start), place(min(phase.end, run.images)), name, phase.fade))
            last = phase.resolution
    return out


def draw_training_plots(run: RunSummary) -> list[Plot]:
    """Return plots (SVG) of a run's losses and logits.

    If they were recorded, the penalty and the probability of augmentation have plots as well.
    """
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
    """Return a plot (SVG) for each loss and each logit, with one curve for each run."""
    plots = [
        draw_plot(title, [Curve(run.name, *run.get_series(name)) for run in runs], IMAGES)
        for title, name in _COMPARED_PLOTS.items()
    ]
    return [plot for plot in plots if plot]


def draw_metric_plots(runs: Sequence[RunSummary]) -> list[Plot]:
    """Return two plots (SVG) for each metric, over images seen and over time; a curve per run."""
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

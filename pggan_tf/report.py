"""A run's folder -> report.html, and several runs' folders -> one page that compares them. Reads files; trains and loads nothing.

A page is one file: pictures are data URIs, plots are inline SVG in the page's own colours, so that they follow light and dark.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import io
import json
import math
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from pggan_tf import metrics, schedule
from pggan_tf.config import Config, Plan, flag, load, resolve
from pggan_tf.errors import UserError
from pggan_tf.files import atomic_write
from pggan_tf.runs import checkpoint, keras_files, records

NAME = "report.html"
MOST_GRIDS = 60  # shown of a run
_PICTURE_BYTES = 120_000  # at most, of one grid: sixty of them are 10 MB of text
_WIDTHS = (800, 640, 480, 320)  # a grid is shown in the first of them that it fits into
_POINTS = 400  # of a curve
_NOT_TRAINED = ("typical", "mean", "variance", "singular")  # last parts of such variables' names


@dataclass(frozen=True)
class Grid:
    """A picture of samples, `images` into the run."""

    path: Path
    resolution: int
    images: int
    title: str


@dataclass(frozen=True)
class Run:
    """What a run's folder says about it. ticks, measured: the lines of stats.jsonl, with losses and with metrics, see `records`."""

    folder: Path
    plan: Plan
    environment: dict
    ticks: list[dict]
    measured: list[dict]
    grids: list[Grid]
    parameters: dict[str, int]  # of generator and discriminator, trained ones; empty without a checkpoint
    unread: int = 0  # lines of stats.jsonl that say nothing
    parents: int = 0  # folders above its own that its name holds too

    @property
    def config(self) -> Config:
        return self.plan.config

    @property
    def phases(self) -> tuple[schedule.Phase, ...]:
        return self.plan.phases

    @property
    def name(self) -> str:
        return "/".join(self.folder.resolve().parts[-1 - self.parents :])

    @property
    def images(self) -> int:
        return self.ticks[-1]["images"] if self.ticks else 0

    @property
    def seconds(self) -> float:
        return self.ticks[-1]["seconds"] if self.ticks else 0.0

    @property
    def ended(self) -> bool:
        return (self.folder / "generator.keras").is_file()

    @property
    def metrics(self) -> dict[str, list[tuple[int, float, float]]]:
        """name -> (images, seconds, value) in order."""
        out: dict[str, list] = {}
        for line in self.measured:
            for name, value in line["metrics"].items():
                out.setdefault(name, []).append((line["images"], line["seconds"], value))
        return out

    @property
    def caveats(self) -> list[tuple[str, str]]:
        """(metrics, what has to be said of them), of the last measurement."""
        said: dict[str, list] = {}
        for name, caveats in (self.measured[-1]["caveats"] if self.measured else {}).items():
            for caveat in caveats:
                said.setdefault(caveat, []).append(name)
        out = [(", ".join(names), caveat) for caveat, names in said.items()]
        details = self.measured[-1]["details"] if self.measured else {}
        return out + [(name, f"{value:.4g}") for name, value in details.items() if name.endswith(" of the data")]

    @property
    def data(self) -> str:
        """What it was trained on, without the folders that it lies in."""
        return records.name_source(self.environment["dataset"]["source"] or "") or "data that is not known"

    @property
    def data_images(self) -> str:
        images = self.environment["dataset"]["images"]
        return "unknown many" if images is None else f"{images:,}"

    @property
    def skipped(self) -> str:
        """Steps skipped so far, in words."""
        last = self.ticks[-1] if self.ticks else {}
        steps = last.get("skipped_total")
        if steps is None:
            return "-"
        # Older runs did not count by network.
        return skips(steps, *(last.get(f"skipped_{n}_total", steps) for n in ("generator", "discriminator")))


def _grids(folder: Path, phases: Sequence[schedule.Phase]) -> list[Grid]:
    out = []
    for path in folder.glob("fakes-*px-*.png"):
        if found := re.fullmatch(r"fakes-\d+-(\d+)px-(\d+)\.png", path.name):
            resolution, images = map(int, found.groups())
            phase = schedule.phase_at(phases, images - 1) or phases[-1]
            alpha = phase.alpha(images)
            fading = f", the new stage at {alpha:.0%}" if phase.fade and alpha < 1 else ""
            out.append(Grid(path, resolution, images, f"{resolution} px, {images:,} images{fading}"))
    return sorted(out, key=lambda grid: grid.images)


def _parameters(folder: Path) -> dict[str, int]:
    """Counted from the newest checkpoint's headers."""
    for path in checkpoint.list_checkpoints(folder)[:1]:
        counts = dict.fromkeys(("generator", "discriminator"), 0)
        try:
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    player, _, rest = name.removesuffix(".npy").partition("/")
                    if player in counts and rest.rpartition("/")[2] not in _NOT_TRAINED:
                        with archive.open(name) as member:
                            np.lib.format.read_magic(member)
                            counts[player] += math.prod(np.lib.format.read_array_header_1_0(member)[0])
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError):
            return {}  # being pruned at this moment, or damaged: the run itself will say so
        return counts
    return {}


def read(folder: str | Path) -> Run:
    folder = Path(folder)
    keras_files.check_run(folder)
    plan = load(folder / "config.json")
    environment = records.read_environment(folder / "environment.json")
    said = records.read_history(folder / "stats.jsonl")
    grids, parameters = _grids(folder, plan.phases), _parameters(folder)
    return Run(folder, plan, environment, said.ticks, said.measured, grids, parameters, said.unread)


# Words


def duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 1000:
        return f"{seconds / 60:.1f} min"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def short(number: float) -> str:
    """1234567 -> '1.23 M'."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= 0.9995 * size:  # three digits of less would be 1000
            return f"{number / size:.3g} {letter}"
    return f"{number:.4g}"


def summary(run: Run) -> str:
    """One sentence: what was trained on what and how long."""
    what = f"Recipe {run.config.recipe} on {run.data} ({run.data_images} images) to {run.config.networks.target_res} px"
    shown = f"{run.images:,} images shown in {duration(run.seconds)} of training"
    if run.ended:
        return f"{what}: {shown}."
    return f"{what}: {min(1, run.images / run.phases[-1].end):.0%} done, {shown}."


def skips(skipped: float, skipped_generator: float, skipped_discriminator: float) -> str:
    """Skipped steps in words; by network where one was updated and the other was not."""
    alike = skipped == skipped_generator == skipped_discriminator
    return f"{skipped:,.0f}" + ("" if alike else f" (G {skipped_generator:,.0f}, D {skipped_discriminator:,.0f})")


def _facts(run: Run) -> list[tuple[str, str]]:
    speed = run.ticks[-1].get("images_per_second") if run.ticks else None
    facts = [
        ("images shown", short(run.images)),
        ("of training", duration(run.seconds)),
        ("images/s at the end", "-" if speed is None else short(speed)),
        ("steps skipped", run.skipped),
    ]
    facts += [
        (f"parameters of {'G' if player == 'generator' else 'D'}", short(n)) for player, n in run.parameters.items()
    ]
    return facts + [(f"{name}, last", f"{values[-1][2]:.4g}") for name, values in run.metrics.items()]


def _took(run: Run, phase: schedule.Phase) -> tuple[str, str]:
    """(time, images/s) of a phase as far as it has come."""
    at = lambda images: float(np.interp(images, *zip((0, 0.0), *((x["images"], x["seconds"]) for x in run.ticks))))  # noqa: E731
    images = min(run.images, phase.end) - phase.start
    seconds = at(phase.start + images) - at(phase.start) if images > 0 else 0
    return (duration(seconds), short(images / seconds)) if seconds > 0 else ("", "")


def _plan(run: Run) -> list[dict]:
    rows = []
    for phase in run.phases:
        time, speed = _took(run, phase)
        state = "done" if run.images >= phase.end else "under way" if run.images > phase.start else "to come"
        rows.append({"phase": phase, "time": time, "speed": speed, "state": state})
    return rows


def changed(run: Run) -> dict[str, str] | None:
    """The fields of the config that differ from the recipe's, as options would give them; None where the recipe is not known here."""
    try:
        same_size = {"target_res": run.plan.target_res, "resolutions": run.plan.resolutions}
        usual = resolve({"recipe": run.config.recipe, **same_size}).config.values()
        usual |= {"target_res": None, "resolutions": None}
    except UserError:  # a recipe of another version, or one that cannot stand alone
        return None
    own = records.remove_places(run.config.values())
    return {
        flag(k): _as_option(v)
        for k, v in own.items()
        if k not in ("version", "recipe") and v is not None and v != usual.get(k)
    }


def _environment(run: Run) -> list[tuple[str, str]]:
    """environment.json for people: nested objects in lines of their own, and no path of the machine. The config has a place of its own."""
    held = records.remove_places({name: value for name, value in run.environment.items() if name != "asked"})
    held["dataset"].pop("folder")  # a name that a cache gave it
    rows = []
    for name, value in held.items():
        if name == "packages" and isinstance(value, dict):
            value = ", ".join(f"{k} {v}" for k, v in value.items())
        for part, text in value.items() if isinstance(value, dict) else [("", value)]:
            text = " ".join(map(str, text)) if name == "command" and isinstance(text, list) else _as_option(text)
            if text not in ("", "None", "[]"):
                rows.append((f"{name} {part}".strip().replace("_", " "), text))
    return rows


def _as_option(value) -> str:
    if isinstance(value, Mapping):
        items = list(value.items())
        return ",".join(f"{k}={v}" for i, (k, v) in enumerate(items) if i == 0 or v != items[i - 1][1])
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


# Pictures


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _webp(picture, lossless: bool = False) -> bytes:
    """The picture, as it is if it may be and that is small; otherwise in the largest of the widths in which it is."""
    from PIL import Image

    def encoded(**how) -> bytes:
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", method=3, **how)
        return buffer.getvalue()

    if lossless and len(data := encoded(lossless=True)) <= _PICTURE_BYTES:
        return data
    for width in _WIDTHS:
        if picture.width > width:
            height = max(1, round(picture.height * width / picture.width))
            picture = picture.resize((width, height), Image.Resampling.LANCZOS)
        if len(data := encoded(quality=85)) <= _PICTURE_BYTES:
            break
    return data


@functools.lru_cache(maxsize=4 * MOST_GRIDS)
def _embedded(path: Path, modified: int) -> str:
    """A grid as a data URI. Kept, for a report that is refreshed while a run goes on."""
    from PIL import Image

    resolution = re.search(r"-(\d+)px-", path.name)
    with Image.open(path) as picture:
        # A few large squares: a photo's compression would blur them, and not save a byte.
        return _data_uri(
            _webp(picture.convert("RGB"), lossless=resolution is not None and int(resolution[1]) <= 16), "webp"
        )


def embedded(path: Path) -> str:
    return _embedded(path, path.stat().st_mtime_ns)


def _can_be_shown(path: Path) -> bool:
    from PIL import Image

    try:
        return bool(embedded(path))
    except (
        OSError,
        ValueError,
        SyntaxError,
        Image.DecompressionBombError,
    ):  # what Pillow says of a file that is cut or none
        return False


def embedded_array(image: np.ndarray) -> str:
    """uint8 [H, W, 1|3]."""
    from PIL import Image

    return _data_uri(
        _webp(Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).convert("RGB")), "webp"
    )


def _some(grids: Sequence[Grid], most: int) -> list[Grid]:
    """At most so many of them, evenly spread, the first and the last among them."""
    if len(grids) <= most:
        return list(grids)
    return [grids[i] for i in np.linspace(0, len(grids) - 1, most).round().astype(int)]


# Plots


@dataclass(frozen=True)
class Curve:
    """stages: for each point what it was measured at; points that lie beside each other are joined where that is the same."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    stages: Sequence = ()

    def pieces(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """(x, y) of the points that are joined; figures that are not finite are left out."""
        x, y = np.asarray(self.x, float), np.asarray(self.y, float)
        there = np.isfinite(x) & np.isfinite(y)
        stages = [stage for stage, shown in zip(self.stages, there) if shown] or [None] * int(there.sum())
        cuts = [i for i in range(1, len(stages)) if stages[i] != stages[i - 1]]
        return [piece for piece in zip(np.split(x[there], cuts), np.split(y[there], cuts)) if len(piece[0])]


@dataclass(frozen=True)
class Plot:
    """svg: of the plot; labels: of its curves, by the numbers of the page's colours; text: what it shows, for those who cannot
    see it."""

    title: str
    svg: str
    labels: dict[int, str]
    text: str
    note: str = ""


# Colours that stand for the page's own, which differ in the light and in the dark.
_INK, _LINE, _BAND = "#010203", "#040506", "#070809"
COLOURS = 8
IMAGES = "images shown"  # the usual axis
_CURVES = [f"#0a0b0{i}" for i in range(COLOURS)]
_AS_STYLE = {_INK: "var(--soft)", _LINE: "var(--line)", _BAND: "var(--band)"} | {
    c: f"var(--curve-{i})" for i, c in enumerate(_CURVES)
}


def _thinned(x: np.ndarray, y: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Means of neighbours, at most `points` of them."""
    if len(x) <= points:
        return x, y
    parts = np.array_split(np.arange(len(x)), points)
    return np.array([x[p].mean() for p in parts]), np.array([y[p].mean() for p in parts])


def _smooth(y: np.ndarray) -> np.ndarray:
    """Moving average over a twentieth of the curve, shorter at its ends."""
    half = len(y) // 40
    sums = np.concatenate([[0.0], np.cumsum(y)])
    low, high = np.maximum(np.arange(len(y)) - half, 0), np.minimum(np.arange(len(y)) + half + 1, len(y))
    return (sums[high] - sums[low]) / (high - low)


def _frame(values: np.ndarray) -> tuple[float, float] | None:
    """Limits that a single spike does not flatten everything else into; None where all of it fits."""
    low, high = np.percentile(values, [0.5, 99.5])
    margin = 0.25 * (high - low) or 1.0
    if values.min() >= low - margin and values.max() <= high + margin:
        return None
    return float(max(low - margin, values.min() - margin / 10)), float(min(high + margin, values.max() + margin / 10))


def plot(
    title: str, curves: Sequence[Curve], x_label: str, bands: Sequence[tuple[float, float, str, bool]] = ()
) -> Plot | None:
    """Curves over one axis. bands: (from, to, name, whether fading in) of stages. None where there is nothing to draw."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, MaxNLocator

    # By the number of its colour: a run has the same colour in every plot, whatever others lack.
    drawn = {i: pieces for i, c in enumerate(curves) if (pieces := c.pieces())}
    if not drawn:
        return None
    broken = any(len(pieces) > 1 for pieces in drawn.values())
    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": f"{title} {x_label}",
        "font.size": 10.5,
        "axes.edgecolor": _LINE,
    }
    settings |= {"text.color": _INK, "xtick.color": _INK, "ytick.color": _INK, "axes.labelcolor": _INK}
    with rc_context(settings):
        figure = Figure(figsize=(4.6, 3.0), layout="constrained")
        axes = figure.add_subplot()
        for low, high, name, fades in bands:
            if fades:
                axes.axvspan(low, high, color=_BAND, linewidth=0)
            if name:
                axes.axvline(low, color=_LINE, linewidth=0.8)
        frame = _frame(np.concatenate([y for pieces in drawn.values() for _, y in pieces]))
        for i, pieces in drawn.items():
            for x, y in pieces:
                few = len(x) < 60
                axes.plot(*_thinned(x, y, _POINTS), color=_CURVES[i], linewidth=2 if few else 0.7, alpha=1 if few else 0.35,
                          marker="o" if len(x) < 20 else None, markersize=4)  # fmt: skip
                if not few:
                    axes.plot(*_thinned(x, _smooth(y), _POINTS), color=_CURVES[i], linewidth=2)
        if frame:
            axes.set_ylim(*frame)
        axes.margins(x=0.02)
        axes.grid(axis="y", color=_LINE, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(length=0)
        axes.set_xlabel(x_label)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        if x_label == IMAGES:
            axes.xaxis.set_major_formatter(EngFormatter(sep="\N{THIN SPACE}"))
        left, right = axes.get_xlim()
        written = -math.inf
        for low, _, name, _ in bands:  # names that would lie on one another are left out
            if name and (low - written) > 0.12 * (right - left):
                axes.annotate(
                    name, (low, 1), xycoords=("data", "axes fraction"), xytext=(3, 2), textcoords="offset points"
                )
                written = low
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    ends = "; ".join(
        f"{curves[i].label} from {pieces[0][1][0]:.3g} to {pieces[-1][1][-1]:.3g}" for i, pieces in drawn.items()
    )
    notes = ["Spikes beyond the frame are cut."] if frame else []
    notes += ["A line ends where the resolution changes: beyond, it is another measure."] if broken else []
    labels = {i: curves[i].label for i in drawn} if len(curves) > 1 else {}
    return Plot(title, _inline(buffer.getvalue()), labels, f"{title}, over {x_label}: {ends}.", " ".join(notes))


def _inline(svg: str) -> str:
    """matplotlib's SVG for inside of a page: its size, fonts, colours and names are the page's."""
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
    for colour, style in _AS_STYLE.items():
        svg = svg.replace(colour, style)
    return svg


def _bands(run: Run, unit: float | None = None) -> list[tuple[float, float, str, bool]]:
    """The phases that have begun, named where a new resolution begins, in images, or in time by a `unit` of so many seconds."""
    ticks = [(0, 0.0), *((x["images"], x["seconds"]) for x in run.ticks)]
    place = lambda images: float(np.interp(images, *zip(*ticks))) / unit if unit else images  # noqa: E731
    several, last, out = len(run.config.networks.resolutions) > 1, None, []
    for phase in run.phases:
        if phase.start < run.images and several:
            name = f"{phase.resolution} px" if phase.resolution != last else ""
            out.append((place(phase.start), place(min(phase.end, run.images)), name, phase.fade))
            last = phase.resolution
    return out


def _column(run: Run, name: str) -> tuple[list, list]:
    there = [x for x in run.ticks if x.get(name) is not None]
    return [x["images"] for x in there], [x[name] for x in there]


LOSSES = {"loss_d": "discriminator", "loss_g": "generator"}
LOGITS = {"logit_real": "on real images", "logit_fake": "on generated images"}


def _training_plots(run: Run) -> list[Plot]:
    bands = _bands(run)
    plots = [
        plot("Losses", [Curve(label, *_column(run, n)) for n, label in LOSSES.items()], IMAGES, bands),
        plot("What the discriminator says", [Curve(label, *_column(run, n)) for n, label in LOGITS.items()], IMAGES, bands),
    ]  # fmt: skip
    if any(_column(run, "penalty")[1]):
        plots.append(plot("Penalty", [Curve("penalty", *_column(run, "penalty"))], IMAGES, bands))
    if any(_column(run, "augment_probability")[1]):
        curve = Curve("probability", *_column(run, "augment_probability"))
        plots.append(plot("Augmentation", [curve], IMAGES, bands))
    return [p for p in plots if p]


def _titled(name: str) -> str:
    """A metric, and which way is better, where one is."""
    known = metrics.METRICS.get(name.partition("[")[0])
    return f"{name}, {known.better} is better" if known and known.better else name


def _metric_plots(runs: Sequence[Run]) -> list[Plot]:
    """Every metric over images and over time, a curve for each run that has it."""
    minutes = max(run.seconds for run in runs) < 7200
    plots = []
    for name in dict.fromkeys(name for run in runs for name in run.metrics):
        for unit, label in ((None, IMAGES), (60, "minutes") if minutes else (3600, "hours")):
            curves = []
            for run in runs:
                lines = [m for m in run.measured if name in m["metrics"]]
                x = [m["seconds"] / unit if unit else m["images"] for m in lines]
                y, stages = [m["metrics"][name] for m in lines], [m["resolution"] for m in lines]
                curves.append(Curve(run.name if len(runs) > 1 else name, x, y, stages))
            bands = _bands(runs[0], unit) if len(runs) == 1 else ()
            plots.append(plot(_titled(name), curves, label, bands))
    return [p for p in plots if p]


# Pages


def _render(template: str, **values) -> str:
    import jinja2

    from pggan_tf import __version__

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pggan_tf"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters |= {
        "embedded": embedded,
        "embedded_array": embedded_array,
        "short": short,
        "duration": duration,
    }
    made = f"pggan-tf {__version__}, {datetime.now():%Y-%m-%d %H:%M}"
    return environment.get_template(template).render(**values, made=made)


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="replace")  # names of files may not be UTF-8


@dataclass(frozen=True)
class Picture:
    """One that was made for the report. image: uint8 [H, W, 1|3]; text: what it shows."""

    title: str
    image: np.ndarray
    text: str


def write(folder: str | Path, out: str | Path | None = None, pictures: Sequence[Picture] = ()) -> Path:
    """Writes the report of a run; returns its path. pictures: what a generator has to be loaded for, see explore.report."""
    run = read(folder)
    reals = run.folder / "reals.png"
    grids, unshown = _shown(run, MOST_GRIDS)
    text = _render(
        "report.html",
        run=run,
        summary=summary(run),
        facts=_facts(run),
        plan=_plan(run),
        plots=_training_plots(run),
        metric_plots=_metric_plots([run]),
        grids=grids,
        unshown=unshown,
        reals=reals if reals.is_file() and _can_be_shown(reals) else None,
        pictures=pictures,
        changed=changed(run),
        config=json.dumps(records.remove_places(dataclasses.asdict(run.config)), indent=1),
        environment=_environment(run),
        generates=not run.plan.task.from_images,
    )
    path = Path(out) if out else run.folder / NAME
    _write(path, text)
    return path


def _shown(run: Run, most: int) -> tuple[list[Grid], int]:
    """(at most so many grids of a run, how many of them cannot be shown)."""
    some = _some(run.grids, most)
    whole = [grid for grid in some if _can_be_shown(grid.path)]
    return whole, len(some) - len(whole)


def _spread(values: Sequence[float]) -> float | None:
    """Standard deviation over the last half of a curve: how restless training was when it should have settled."""
    half = values[len(values) // 2 :]
    return float(np.std(half)) if len(half) > 1 else None


def comparison(runs: Sequence[Run]) -> dict[str, list[str]]:
    """What the runs have in numbers: row -> one text for each run."""
    number = lambda value: "-" if value is None else f"{value:.3g}"  # noqa: E731
    rows: dict[str, list[str]] = {
        "recipe": [r.config.recipe for r in runs],
        "data": [f"{r.data}, {r.data_images}" for r in runs],
        "network": [r.plan.network_in_words for r in runs],
        "loss": [r.config.objective.loss for r in runs],
        "update": [r.config.objective.update for r in runs],
        "resolution": [f"{r.config.networks.target_res} px" for r in runs],
        "parameters of G": [short(r.parameters["generator"]) if r.parameters else "-" for r in runs],
        "parameters of D": [short(r.parameters["discriminator"]) if r.parameters else "-" for r in runs],
        "images shown": [f"{r.images:,}" + ("" if r.ended else " so far") for r in runs],
        "time": [duration(r.seconds) for r in runs],
        "images/s": [short(r.images / r.seconds) if r.seconds > 0 else "-" for r in runs],
        "steps skipped": [r.skipped for r in runs],
        "spread of D's loss": [number(_spread(_column(r, "loss_d")[1])) for r in runs],
        "spread of G's loss": [number(_spread(_column(r, "loss_g")[1])) for r in runs],
    }
    for name in dict.fromkeys(name for run in runs for name in run.metrics):
        rows[_titled(name)] = [_last(run, name) for run in runs]
    if any(run.measured for run in runs):
        rows["measured on"] = [_measured_on(r.measured[-1]) if r.measured else "-" for r in runs]
    return rows


def _measured_on(line: dict) -> str:
    images, resolution = line["measured"], line["resolution"]
    return (
        f"{'unknown many' if images is None else f'{images:,}'} at {'unknown' if resolution is None else resolution} px"
    )


def best(runs: Sequence[Run]) -> set[tuple[str, int]]:
    """(row of `comparison`, number of the run) of the best figures among runs that were measured alike: at the same resolution, on as many
    images of the same data. All of known kind, else nothing says that they were alike."""
    out = set()
    for name in dict.fromkeys(name for run in runs for name in run.metrics):
        known = metrics.METRICS.get(name.partition("[")[0])
        alike: dict[tuple, list[tuple[float, int]]] = {}
        for i, run in enumerate(runs):
            found = [m for m in run.measured if name in m["metrics"]]
            if known and known.better and found:
                last, checksum = found[-1], run.environment["dataset"]["checksum"]
                alike.setdefault((last["resolution"], last["measured"], checksum), []).append(
                    (last["metrics"][name], i)
                )
        for key, values in alike.items():
            if len(values) > 1 and None not in key:
                first = (max if known.better == "higher" else min)(value for value, _ in values)
                out |= {(_titled(name), i) for value, i in values if value == first}
    return out


def _last(run: Run, name: str) -> str:
    if name not in run.metrics:
        return "-"
    spread = run.measured[-1]["details"].get(f"{name} spread")
    return f"{run.metrics[name][-1][2]:.4g}" + (f" ± {spread:.2g}" if spread is not None else "")


def unlike(runs: Sequence[Run]) -> list[str]:
    """What makes the runs' figures hard to compare, or few: a sentence for each."""
    measured = [run for run in runs if run.measured]
    kinds = {
        "at unlike sizes": {run.measured[-1]["resolution"] for run in measured},
        "on unlike data": {run.environment["dataset"]["checksum"] for run in measured},
        "on unlike numbers of images": {run.measured[-1]["measured"] for run in measured},
    }
    out = [f"metrics were measured {what}: not to be compared" for what, found in kinds.items() if len(found) > 1]
    said: dict[tuple[str, str], list[str]] = {}
    for run in measured:
        for caveat in run.caveats:
            said.setdefault(caveat, []).append(run.name)
    out += [
        f"stats.jsonl of {run.name}: {run.unread:,} lines say nothing and are left out" for run in runs if run.unread
    ]
    return out + [
        f"{name}{'' if len(names) == len(runs) else ' of ' + ', '.join(names)}: {caveat}"
        for (name, caveat), names in said.items()
    ]


def write_comparison(runs: Sequence[Run], out: str | Path, classes: Mapping[Path, Picture]) -> Path:
    """One page with the runs side by side. classes: for runs with classes, a row of samples for each, by folder."""
    plots = [
        plot(title, [Curve(run.name, *_column(run, column)) for run in runs], IMAGES)
        for title, column in (
            ("The discriminator's loss", "loss_d"),
            ("The generator's loss", "loss_g"),
            ("What D says of real images", "logit_real"),
            ("What D says of generated images", "logit_fake"),
        )
    ]
    text = _render(
        "compare.html",
        runs=runs,
        table=comparison(runs),
        best=best(runs),
        notes=unlike(runs),
        plots=[p for p in plots if p],
        metric_plots=_metric_plots(runs),
        grids={run.folder: _shown(run, MOST_GRIDS // len(runs))[0] for run in runs},
        classes=classes,
    )
    path = Path(out)
    _write(path, text)
    return path

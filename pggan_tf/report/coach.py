"""Tell from the figures of a run what goes wrong with its training, in words, and what to type then.

Two kinds of lines of stats.jsonl are looked at: ticks (losses and logits) and checks, which
`training.coaching` writes at snapshots. What the figures of each illness look like is shown in
docs/when-it-goes-wrong.md; the bounds below lie between those of ill and of healthy runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pggan_tf import metrics, schedule
from pggan_tf.config import Plan, parsing, recipes
from pggan_tf.config.resolve import merge, resolve
from pggan_tf.config.schema import DEFAULTS
from pggan_tf.errors import UserError
from pggan_tf.metrics import choose_judge

_TICKS = 10  # number of last ticks that are averaged
_CHECKS = 2  # number of last checks that must agree
LARGEST_LOGIT = 1e3  # beyond it, the learning rate is too high
_SKIPPED = 0.1  # share of skipped steps, beyond which the learning rate is too high
_FIRST_STEPS = 200  # steps after which skips count: before, float16 looks for the scale of its losses
WON = 0.05  # the discriminator has won if its loss is below this share of that of an undecided one
_VARIETY = 0.35  # images have collapsed if they vary less than this share of the photos' variation
# Photos are known by heart if at least this share of what the discriminator sees between photos it
# was trained on and generated images also lies between these photos and others.
_BY_HEART = 0.6
_LEAST_GAP = 0.2  # least difference of logits that says something
FEW_PHOTOS, MANY_PASSES = 1_000, 100
LEAST_MEASUREMENTS = 6  # number of measurements at the last resolution that tell a plateau


@dataclass(frozen=True)
class Advice:
    """What goes wrong in a run, and what to do."""

    illness: str  # its name: a key of ILLNESSES, or "nothing gained"
    text: str  # what is seen, in one or two sentences
    commands: tuple[str, ...]  # options that help, as typed

    def __str__(self) -> str:
        """Return the advice in one line."""
        return self.text + (f" Try: {'; or '.join(self.commands)}" if self.commands else "")


def _average(ticks: Sequence[dict], name: str) -> float:
    """Return the mean of an entry of the last ticks; NaN without ticks."""
    values = [v for tick in ticks[-_TICKS:] if (v := tick.get(name)) is not None]
    return float(np.mean(values)) if values else float("nan")


def find_largest_logit(ticks: Sequence[dict]) -> float:
    """Return the larger absolute value of the mean logits of reals and of fakes in the last ticks; 0 without any."""
    found = [abs(_average(ticks, name)) for name in ("logit_real", "logit_fake")]
    return max((value for value in found if value == value), default=0.0)


@dataclass(frozen=True)
class Figures:
    """The figures of a run so far."""

    plan: Plan
    ticks: Sequence[dict]  # lines of stats.jsonl with losses, in order of images seen
    checks: Sequence[dict]  # checks, see `training.coaching`
    measured: Sequence[dict]  # lines with metrics
    photos: float | None  # number of images that are trained on; None if it is not known

    def mean(self, name: str) -> float:
        """Return the mean of an entry of the last ticks; NaN without ticks."""
        return _average(self.ticks, name)

    @property
    def resolution(self) -> int:
        """The resolution of the stage that is trained now."""
        return int(self.ticks[-1].get("resolution") or self.plan.target_res)

    def last_checks(self, *names: str) -> list[dict]:
        """Return the last checks that have all these entries, or an empty list if there are too few."""
        found = [check for check in self.checks if all(check.get(name) is not None for name in names)]
        return list(found[-_CHECKS:]) if len(found) >= _CHECKS else []


def _list_changes(plan: Plan, *changes: dict[str, str]) -> tuple[str, ...]:
    """Return commands that change options, as typed, without those that the plan has already or does not allow.

    Args:
        plan: plan of the run that is ill.
        *changes: {option: value as typed}, one for each command.
    """
    return tuple(
        " ".join(f"{parsing.flag(name)} {value}" for name, value in change.items())
        for change in changes
        if any(plan.config.value(name) != parsing.parse(name, value) for name, value in change.items())
        and _may_change(plan, {name: parsing.parse(name, value) for name, value in change.items()})
    )


def _may_change(plan: Plan, change: Mapping) -> bool:
    """Tell whether a run like that of `plan` may have these options, {option: value}, too."""
    try:
        # A config.json of versions 1 and 2 does not say what was asked for.
        resolve(merge(plan.asked, change) if plan.asked else {**plan.config.values(), **change})
    except UserError:
        return False
    return True


def suggest_rate(plan: Plan, resolution: int, rate: float) -> float:
    """Return a learning rate for a run whose own, `rate`, is too high at a resolution.

    It is that of the recipe if that is lower, else a quarter of the run's.
    """
    table = recipes.RECIPES.get(plan.config.recipe, {}).get("learning_rate") or DEFAULTS["learning_rate"]
    usual = schedule.lookup(table, resolution)
    return usual if usual < rate else rate / 4


def _suggest_adaptive(plan: Plan) -> str:
    """Return the options of adaptive augmentation that may change every image after a quarter of the run."""
    quarter = max(1_000, plan.phases[-1].end // 4)
    rounded = round(quarter, 1 - len(str(quarter)))
    return "--augment ada" + (f" --augment-images {rounded}" if rounded < DEFAULTS["augment_images"] else "")


def _suggest_other_weights(plan: Plan) -> tuple[str, ...]:
    """Return the advice to begin with other weights, unless the run of `plan` has done so."""
    return () if plan.config.optimization.init_from else ("--init-from RUN, a run on many others",)


def _find_high_rate(figures: Figures) -> Advice | None:
    logit = find_largest_logit(figures.ticks)
    batch = schedule.lookup(figures.plan.config.optimization.batch, figures.resolution)
    settled = figures.ticks[-1].get("images", 0) >= _FIRST_STEPS * batch
    skipped = figures.mean("skipped") if settled else 0.0
    if not (logit > LARGEST_LOGIT or skipped > _SKIPPED):
        return None
    seen = f"the discriminator's logits have grown to {logit:.2g}"
    if skipped > _SKIPPED:
        seen = f"{skipped:.0%} of the last steps had a loss or gradient that was NaN or Inf, and were skipped"
    rate = schedule.lookup(figures.plan.config.optimization.learning_rate, figures.resolution)
    rate = suggest_rate(figures.plan, figures.resolution, rate)
    return Advice(
        "learning rate too high",
        f"The learning rate is too high: {seen}. The images will not recover.",
        _list_changes(figures.plan, {"learning_rate": f"{rate:.2g}"}, {"precision": "float32"}),
    )


def _find_victory(figures: Figures) -> Advice | None:
    checks, options = figures.last_checks("undecided"), figures.plan.config.objective
    undecided = checks[-1]["undecided"] if checks else 0.0
    # Checks of earlier versions lack what follows.
    least, loss = checks[-1].get("least", 0.0) if checks else 0.0, figures.mean("loss_d")
    if figures.plan.config.networks.conditional:  # the loss that is logged is that of classes, too
        loss = checks[-1].get("adversarial", loss) if checks else loss
    if not (undecided > 0 and loss - least < WON * (undecided - least)):
        return None
    kind = options.penalty if "r1" in options.penalty or "r2" in options.penalty else None
    weight = 3 * schedule.lookup(options.penalty_weight, figures.resolution) if kind else 0
    return Advice(
        "discriminator wins",
        f"The discriminator wins: its loss is {loss:.2g}, where {undecided:.2g} is that of one which cannot tell images apart. "
        "The generator learns next to nothing from it.",
        (
            f"--penalty {kind or 'r1'} --penalty-weight {round(weight, 3) or 1:g}",
            f"--discriminator-rate {figures.plan.config.optimization.discriminator_rate / 2:g}",
        ),
    )


def _find_collapse(figures: Figures) -> Advice | None:
    checks = figures.last_checks("variety")
    if not checks or not all(check["variety"] < _VARIETY for check in checks):
        return None
    rate = schedule.lookup(figures.plan.config.optimization.learning_rate, figures.resolution)
    stddev = "minibatch" in figures.plan.architecture.structure
    return Advice(
        "collapse",
        f"The generator has collapsed: its images vary {checks[-1]['variety']:.2f} times as much as the photos. "
        "A run seldom recovers from that.",
        _list_changes(
            figures.plan,
            {"minibatch": "stddev", "discriminator_rate": "1"} if stddev else {"discriminator_rate": "1"},
            {"loss": "wgan-gp", "update": "two-stage"},
            {"learning_rate": f"{rate / 2:.2g}"},
        )[:2],
    )


def _find_memory(figures: Figures) -> Advice | None:
    checks = figures.last_checks("logit_seen", "logit_unseen", "logit_made")
    shares = []
    for check in checks:
        gap, known = check["logit_seen"] - check["logit_made"], check["logit_seen"] - check["logit_unseen"]
        error = 2 * check.get("logit_error", 0.0)  # the means of few photos differ by chance
        shares.append(known / gap if gap > _LEAST_GAP and known > error else 0.0)
    if not shares or min(shares) < _BY_HEART:
        return None
    last = checks[-1]
    augmented = figures.plan.config.images.augment != "none"
    return Advice(
        "photos known by heart",
        f"The discriminator knows its photos by heart: it gives {last['logit_seen']:.2f} to them, {last['logit_unseen']:.2f} to "
        f"photos that it has not seen and {last['logit_made']:.2f} to generated images.",
        ("more photos", *_suggest_other_weights(figures.plan))
        if augmented
        else (
            "more photos",
            "--augment diff",
            *((_suggest_adaptive(figures.plan),) if _may_change(figures.plan, {"augment": "ada"}) else ()),
        ),
    )


def _find_few_photos(figures: Figures) -> Advice | None:
    if figures.photos is None or figures.plan.task.from_images or figures.plan.config.images.augment != "none":
        return None
    passes = figures.plan.phases[-1].end / max(1.0, figures.photos)
    if figures.photos >= FEW_PHOTOS or passes < MANY_PASSES:
        return None
    return Advice(
        "too few photos",
        f"The photos are few: there are {figures.photos:,.0f}, the run shows each of them {passes:,.0f} times, and the discriminator will know "
        "them by heart.",
        ("more photos", "--augment diff", *_suggest_other_weights(figures.plan)),
    )


def since_best(plan: Plan, measured: Sequence[dict]) -> tuple[float, str, float] | None:
    """Return how long a run has not improved at its last resolution.

    Returns:
        (images since the best measurement, as a share of the images of the last stage; name of the
        metric; its best value). None if there are too few measurements to tell.
    """
    adversarial = plan.task.from_images and plan.loss.adversarial
    last = [m for m in measured if m["resolution"] == plan.target_res and m["images"] > plan.phases[-1].start]
    judge = choose_judge(last[-1]["metrics"], adversarial) if last else None
    if judge is None or len(last) < LEAST_MEASUREMENTS:
        return None
    sign = -1 if metrics.METRICS[metrics.strip_features(judge)].better == "higher" else 1
    values = [(sign * line["metrics"][judge], line["images"]) for line in last if judge in line["metrics"]]
    best, images = min(values)
    return (last[-1]["images"] - images) / plan.phases[-1].images, judge, sign * best


def _find_plateau(figures: Figures) -> Advice | None:
    found = since_best(figures.plan, figures.measured)
    if found is None or found[0] < 1 / 3:
        return None
    share, judge, best = found
    plan = figures.plan
    zoom = plan.task.may_zoom and not plan.config.purpose.zoom
    return Advice(
        "nothing gained",
        f"Nothing was gained for {share:.0%} of the last stage: {judge} was {best:.4g} before. The best generator is best.keras.",
        (
            *(["--stop plateau"] if plan.config.running.stop == "end" else []),
            "more photos",
            *(["--zoom 0.3, if few photos are known by heart"] if zoom else []),
            f"a larger {'--width' if plan.task.from_images else '--fmap-base'}",
        ),
    )


# Name -> function that returns the advice if a run has the illness. Each explains the figures that
# those after it look at, so only the first one is told; "nothing gained" is told besides.
ILLNESSES: dict[str, Callable[[Figures], Advice | None]] = {
    "learning rate too high": _find_high_rate,
    "discriminator wins": _find_victory,
    "collapse": _find_collapse,
    "photos known by heart": _find_memory,
    "too few photos": _find_few_photos,
}


def advise(figures: Figures) -> list[Advice]:
    """Return what goes wrong in a run: the first illness that is found, and whether it has stopped improving.

    The list is empty for a healthy run.
    """
    if not figures.ticks:
        return []
    found = next((advice for find in ILLNESSES.values() if (advice := find(figures))), None)
    return [advice for advice in (found, _find_plateau(figures)) if advice]

"""Measure the speed of every stage, and plan a run so that it takes the minutes of --minutes.

Terms of the schedule (stage, phase, part, speed) are defined in `pggan_tf.schedule`. A snapshot is
a moment at which the run draws a grid of images; a measurement is one computation of the metrics.
"""

from __future__ import annotations

import dataclasses
import math
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pggan_tf import schedule
from pggan_tf.config import Plan, parsing
from pggan_tf.data import pipeline
from pggan_tf.data.shards import Shards
from pggan_tf.errors import OutOfMemory, UserError, explain_out_of_memory
from pggan_tf.runs import checkpoint
from pggan_tf.training import execution

# Options that are paths, which may differ between machines.
PLACES = ("data", "init_from", "vgg_weights", "inception_weights")
PROBE_SECONDS = 0.5
# Seconds to build and measure a phase (4 to 6 on two slow cores), and the largest share of
# --minutes for doing so.
BUILDING_SECONDS, BUILDING_SHARE = 5.0, 0.06
# With --minutes and without --metrics-every, a run has about MEASUREMENTS measurements of the
# metrics, or fewer if they would take more than METRICS_SHARE of its time.
MEASUREMENTS, METRICS_SHARE = 40, 0.1
# Snapshots with --minutes, beside those at the end of each phase: two a minute, within these bounds.
LEAST_SNAPSHOTS, SNAPSHOTS = 8, 40
MOST_SNAPSHOTS = 200  # maximum number of snapshots with --snapshot-epochs


def _seconds(call: Callable, iterator: Iterator, steps: int, clock: Callable[[], float]) -> float:
    """Take `steps` training steps in one call, and return the seconds that this took.

    Args:
        call: a function of `execution.Programs.prepare`.
        iterator: the batches for it.
        steps: number of steps.
        clock: see `measure_speeds`.
    """
    begun = clock()
    call(iterator, steps)
    return clock() - begun


def leave_out_phases(plan: Plan) -> Plan:
    """Return a plan for --minutes without the phases that building would take too long for.

    Each phase is compiled, which takes seconds. If all of them would take more than BUILDING_SHARE
    of the minutes, new stages do not fade in; if that is not enough, low resolutions are left out,
    but not the second one: a run through 8 and 32 px alone lost little (docs/benchmarks/quality.md).
    The networks stay the same.
    """
    options = plan.config.schedule
    if (
        options.minutes is None
        or plan.config.optimization.init_from  # has left out the stages that its weights have completed
        or not plan.architecture.grows
        or plan.asked.keys() & {"fade_share", "stage_growth", "resolutions"}
    ):
        return plan
    most = max(2, int(60 * options.minutes * BUILDING_SHARE / BUILDING_SECONDS))
    if len(plan.phases) <= most:
        return plan
    kept = sorted({phase.resolution for phase in plan.phases})
    if len(kept) > most:
        kept = [*kept[1:2], *kept[1 - most :]]
    stable = {r: n if r in kept else 0 for r, n in options.stable_images.items()}
    return plan.replace(fade_images=dict.fromkeys(plan.resolutions, 0), stable_images=stable)


def measure_speeds(
    plan: Plan, programs: execution.Programs, clock: Callable[[], float] = time.perf_counter
) -> dict[schedule.Part, float]:
    """Measure the speed of every part of the plan with a few real steps: {part: images per second}.

    Afterwards the networks are as they were, and the compiled steps are those to train with.

    Args:
        plan: the plan.
        programs: the compiled steps of the run, with its networks, data, devices and machines.
        clock: returns the time in seconds.
    """
    return try_batches(plan, programs, clock, halves=False)[1]


def try_batches(
    plan: Plan, programs: execution.Programs, clock: Callable[[], float] = time.perf_counter, halves: bool = True
) -> tuple[Plan, dict[schedule.Part, float], list[str]]:
    """Measure every part of the plan as `measure_speeds` does, with batches that fit into the memory.

    A batch for which the memory of the device does not suffice is halved, for this resolution and
    all higher ones, and tried again.

    Args:
        plan: the plan.
        programs: the compiled steps of the run, with its networks, data, devices and machines.
        clock: returns the time in seconds.
        halves: whether to halve batches; if not, too little memory is an error.

    Returns:
        (the plan with these batches, {part: images per second}, messages about halved batches).
    """
    gan, setting = programs.gan, programs.setting
    before = {name: variable.numpy() for name, variable in gan.state().items()}
    speeds: dict[schedule.Part, float] = {}
    notes: list[str] = []
    while left := [phase for phase in plan.phases if phase.part not in speeds]:
        phase, resolution = left[0], left[0].resolution
        smaller = plan.with_half_batches(resolution, setting.devices) if halves else None
        try:
            with explain_out_of_memory(
                f"the speed at {resolution} px is measured in batches of {phase.batch}",
                f"Give less: {plan.suggest_less_memory(resolution, setting.devices)}",
            ):
                speeds[phase.part] = _measure_speed(plan, programs, phase, clock)
        except OutOfMemory:
            if smaller is None:
                raise
            notes.append(
                f"--batch auto: {phase.batch} images at {resolution} px are too many for the memory of the device; "
                f"{smaller.config.optimization.batch[resolution]} from now on"
            )
            setting.say(notes[-1])
            plan = smaller
            speeds = {part: speed for part, speed in speeds.items() if part.resolution < resolution}
    with setting.strategy.scope():
        gan.optimizers = {}
        checkpoint.restore(gan.state(), before, "the new networks")
    return plan, speeds, notes


def _measure_speed(
    plan: Plan, programs: execution.Programs, phase: schedule.Phase, clock: Callable[[], float]
) -> float:
    """Measure the speed of one part of the plan with steps of `phase`; see `measure_speeds`."""
    gan, setting = programs.gan, programs.setting
    cluster = setting.cluster
    phase = dataclasses.replace(phase, start=0, images=10**9, stage_start=0)
    with setting.strategy.scope():
        gan.images_seen.assign(0)
        gan.begin(phase)
    call, iterator = programs.prepare(phase, plan.training_images(setting.shards, phase.resolution), 0)
    # Use the chief's time, because all workers have to take the same number of steps.
    cluster.all_gather(_seconds(call, iterator, programs.steps_to_build(phase), clock))
    gan.images_seen.assign(0)
    penalised = cluster.all_gather(_seconds(call, iterator, 1, clock))[0]
    steps, total, taken = 1, 0, 0.0
    while taken < PROBE_SECONDS:
        last = cluster.all_gather(_seconds(call, iterator, steps, clock))[0]
        total, taken = total + steps, taken + last
        steps = max(1, min(4 * steps, math.ceil((PROBE_SECONDS - taken) * steps / last)))
    per_step = taken / total
    every = max(1, plan.config.objective.penalty_every // phase.critic_steps)
    if total < every:  # steps are so slow that none of the measured ones had the lazy penalty
        per_step += (penalised - per_step) / every
    return phase.images_per_step / per_step


@dataclass(frozen=True)
class Measured:
    """What was measured for the plan of a run; all of it is empty if nothing was."""

    speeds: Mapping[schedule.Part, float]  # {part: images per second} of every part of the plan
    metrics: Mapping[int, float]  # {resolution: seconds of one measurement of the metrics}
    notes: Sequence[str] = ()  # messages about batches that were too large for the memory


def measure(plan: Plan, programs: execution.Programs, measuring) -> tuple[Plan, Measured]:
    """Measure speeds, for --probe, --minutes and --batch auto, and the time of metrics, for --minutes.

    With --batch auto, the batches are halved until the device has the memory for them. That is for
    one machine: of several, one alone could not say that its memory does not suffice.

    Args:
        plan: the run's plan.
        programs: the compiled steps of the run, with its networks, data, devices and machines.
        measuring: the `metric_callback.MetricCallback` that computes the metrics, or None.

    Returns:
        (the plan, with the batches that were found; what was measured).
    """
    minutes, setting = plan.config.schedule.minutes, programs.setting
    tries = plan.asked.get("batch") == parsing.AUTO and not setting.cluster.addresses
    if not plan.config.running.probe and minutes is None and not tries:
        return plan, Measured({}, {})
    devices = f"{setting.arithmetic.policy}, {setting.devices} device{'s' * (setting.devices > 1)}"
    setting.say(f"measuring the speed of every stage ({devices})")
    notes: Sequence[str] = ()
    if tries:
        plan, speeds, notes = try_batches(plan, programs)
    else:
        speeds = measure_speeds(plan, programs)
    costs: Mapping[int, float] = {}
    if minutes is not None and measuring:
        setting.say("measuring how long the metrics of every stage take")
        costs = measuring.time_measurements(programs.gan.ema, setting.shards, plan.resolutions)
    return plan, Measured(speeds, costs, notes)


def with_snapshots(plan: Plan, shards: Shards) -> Plan:
    """Return a plan with a number of images between two snapshots in place of --snapshot-epochs.

    If there would be more than MOST_SNAPSHOTS, a multiple of --snapshot-epochs is used, because
    drawing the grids would take longer than the training.

    shards: the data; an epoch is one pass over its training images.
    """
    epochs = plan.config.running.snapshot_epochs
    if epochs is None:
        return plan
    every = max(1, round(epochs * pipeline.train_count(shards.count(plan.target_res), plan.config.images.held_out)))
    several = -(-plan.phases[-1].end // (MOST_SNAPSHOTS * every))
    return plan.replace(snapshot_images={4: several * every}, snapshot_epochs=None)


def finish_plan(plan: Plan, programs: execution.Programs, measuring, started: float) -> tuple[Plan, Measured]:
    """Return the plan by which a new run is trained, and what was measured for it.

    It has numbers of images in place of --minutes and --snapshot-epochs. All machines train by the
    plan of the chief, whose speeds decide.

    Args:
        plan: the run's plan.
        programs: the compiled steps of the run, with its networks, data, devices and machines.
        measuring: the `metric_callback.MetricCallback` that computes the metrics, or None.
        started: time.monotonic() at the start of the command, from which --minutes counts.

    Raises:
        UserError: if --minutes is too short.
    """
    setting = programs.setting
    plan, measured = measure(leave_out_phases(plan), programs, measuring)
    if plan.config.schedule.minutes is not None and setting.cluster.chief:
        plan = plan_for_minutes(plan, measured.speeds, time.monotonic() - started, measured.metrics)
    plan = with_snapshots(plan, setting.shards)
    theirs = parsing.from_json(setting.cluster.all_gather(plan.to_json())[0])
    here = {name: plan.config.value(name) for name in PLACES}
    return Plan(theirs.config.replace(**here), theirs.asked or {}), measured


def plan_for_minutes(
    plan: Plan,
    speeds: Mapping[schedule.Part, float],
    spent: float,
    costs: Mapping[int, float] = types.MappingProxyType({}),
) -> Plan:
    """Return a plan whose run ends --minutes after the start of the command.

    The returned plan has numbers of images in place of --minutes, so that repeating it gives the
    same run.

    Args:
        plan: the plan with --minutes; only its schedule is replaced.
        speeds: {part: images per second} of every part of the plan.
        spent: seconds since the start of the command, which are part of --minutes.
        costs: {resolution: seconds of one measurement of the metrics}; empty without metrics.

    Raises:
        UserError: if --minutes is too short.
    """
    minutes = plan.config.schedule.minutes or 0.0
    fixed = spent + schedule.OVERHEAD * 60 * minutes
    available, least = 60 * minutes - fixed, 0.2 * 60 * minutes
    if available < least:
        raise UserError(
            f"--minutes {minutes:g}: preparing and building {len(speeds)} phase{'s' * (len(speeds) != 1)} takes {fixed / 60:.1f} minutes "
            f"of it. Give more minutes{' or a smaller --target-res' if len(plan.resolutions) > 1 else ''}."
        )
    every: dict = {}
    if plan.config.running.snapshot_images is None and plan.config.running.snapshot_epochs is None:
        every["snapshot_images"] = _at_equal_times(min(SNAPSHOTS, max(LEAST_SNAPSHOTS, 2 * minutes)), speeds, available)
    planned, seconds = plan_for_seconds(plan, speeds, available).rescheduled(**every), available
    if not costs:
        return planned
    if plan.config.measuring.metrics_every is None:
        every["metrics_every"] = _measurements(planned, speeds, available, costs)
    for _ in range(8):  # the number of measurements depends on the plan, so iterate
        seconds *= available / (seconds + planned.metrics_seconds(costs))
        if seconds < least:
            raise UserError(
                f"--minutes {minutes:g}: the metrics take most of it. "
                "Give more minutes, fewer --metrics-images or a larger --metrics-every."
            )
        planned = plan_for_seconds(plan, speeds, seconds).rescheduled(**every)
    return planned


def plan_for_seconds(plan: Plan, rates: Mapping[schedule.Part, float], seconds: float) -> Plan:
    """Return a plan with as many images as can be trained on in `seconds`.

    Args:
        plan: the plan; only its numbers of images are replaced.
        rates: {part: images per second} of every part of the plan.
        seconds: time for training steps.
    """
    options = plan.config.schedule
    growth = options.stage_growth or schedule.fitting_growth(seconds, rates)
    images = schedule.images_for(seconds, rates, growth, options.fade_share, options.pretrain_share)
    none, alone = dict.fromkeys(plan.resolutions, 0), options.pretrain_images > 0
    main = {p: n for p, n in images.items() if not p.fade and (p.adversarial or not alone)}
    return plan.rescheduled(
        fade_images=none | {p.resolution: n for p, n in images.items() if p.fade},
        stable_images=none | {p.resolution: n for p, n in main.items()},
        pretrain_images=sum(n for p, n in images.items() if not p.fade and p not in main),
    )


def _at_equal_times(times: float, rates: Mapping[schedule.Part, float], seconds: float) -> dict[int, int]:
    """Return {resolution: images between two events}, for `times` events at equal intervals of time.

    Args:
        times: number of events in the run.
        rates: {part: images per second} of every part of the plan.
        seconds: time of the run.
    """
    trained = sorted({p.resolution for p in rates})
    slowest = {r: min(v for p, v in rates.items() if p.resolution == r) for r in trained}
    return {r: max(1, round(seconds / times * rate)) for r, rate in slowest.items()}


def _measurements(
    plan: Plan, rates: Mapping[schedule.Part, float], seconds: float, costs: Mapping[int, float]
) -> dict[int, int]:
    """Return {resolution: number of images between two measurements of the metrics}.

    The measurements are at equal intervals of time, and together take at most METRICS_SHARE of it.

    Args:
        plan: the plan.
        rates: {part: images per second} of every part of the plan.
        seconds: time for training and measurements.
        costs: {resolution: seconds of one measurement}.
    """
    often = plan.replace(metrics_every=_at_equal_times(MEASUREMENTS, rates, seconds))
    share = often.metrics_seconds(costs) / (METRICS_SHARE * seconds)
    return _at_equal_times(MEASUREMENTS / max(1.0, share), rates, seconds)

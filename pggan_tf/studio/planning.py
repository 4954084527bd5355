"""Plan a run before it is trained, with an estimate of what its minutes suffice for."""

from __future__ import annotations

import functools

from pggan_tf import config as configs
from pggan_tf import schedule, terminal
from pggan_tf.api import sizing
from pggan_tf.config import parsing
from pggan_tf.errors import UserError
from pggan_tf.training import requests

_STARTING = 12.0  # seconds until training begins, beside the building of phases


@functools.cache
def _measure_speed() -> float:
    """Return the speed of this machine, measured once in this process."""
    terminal.start_tensorflow()
    return sizing.measure_speed()


def _choose(options: dict, speed: float | None) -> tuple[dict, list[str]]:
    """Return (options with numbers in place of auto, what was said about it)."""
    said: list[str] = []
    chosen = parsing.split_size(requests.absolute({n: configs.parse(n, v) for n, v in options.items()}))
    chosen = sizing.replace_auto_shape(chosen, said.append)
    return sizing.replace_auto(chosen, said.append, speed=speed), said


def plan(args: dict, progress) -> dict:
    """Return the plan of options of training.

    Args:
        args: {options: {name: value}}, and maybe speed: the most operations per second that were
            measured before. They are measured anew in each process, as the machine may have been
            busy.
        progress: not used.

    Returns:
        {size, resolution, options, images, phases, text, estimated, warnings, speed}.

    Raises:
        UserError: if the options do not go together.
    """
    options, speed = args["options"], args.get("speed")
    minutes = options.get("minutes")
    if minutes is not None:
        speed = max(_measure_speed(), speed or 0.0)
    chosen, said = _choose(options, speed)
    parts = requests.plans(chosen)
    texts, phases, warnings, estimated = [], [], list(said), False
    for part in parts:
        planned, speeds, told = _plan_part(part, speed)
        warnings += told
        estimated = estimated or bool(speeds)
        name = f"{part.config.recipe}, {part.size} px\n" if len(parts) > 1 else ""
        texts.append(name + schedule.as_table(planned.phases, speeds or None))
        for p in planned.phases:
            seconds = schedule.expected_seconds(p, speeds) if speeds else None
            one = {"resolution": p.resolution, "fade": p.fade, "images": p.images, "batch": p.batch, "name": p.name}
            phases.append(one | {"minutes": None if seconds is None else round(seconds / 60, 3)})
    return {
        "recipe": parts[-1].config.recipe,
        "task": parts[0].task.name,
        "size": parts[-1].size,
        "resolution": parts[-1].target_res,
        "options": {n: configs.as_text(v) if isinstance(v, dict | tuple) else v for n, v in chosen.items()},
        "images": sum(p["images"] for p in phases),
        "phases": phases,
        "text": "\n".join(texts),
        "estimated": estimated,
        "warnings": warnings,
        "speed": speed,
    }


def _plan_part(plan, speed: float | None):
    """Return (plan with estimated numbers of images, estimated speeds, warnings) of one run."""
    minutes = plan.config.schedule.minutes
    if minutes is None:
        return plan, {}, plan.too_long()
    if not plan.architecture.grows or speed is None:
        return plan, {}, ["How many images fit into the minutes is measured when the training begins."]
    from pggan_tf.training import planning

    plan = planning.leave_out_phases(plan)
    speeds = sizing.estimate_speeds(plan, speed)
    try:
        planned = planning.plan_for_minutes(plan, speeds, _STARTING + planning.BUILDING_SECONDS * len(speeds))
    except UserError as reason:
        return plan, {}, [str(reason)]
    return planned, speeds, planned.describe_blurs(minutes)


def count_parameters(args: dict, progress) -> dict:
    """Return the numbers of parameters of both networks: {generator, discriminator}; see `plan`."""
    terminal.start_tensorflow()
    from pggan_tf import networks

    chosen, _ = _choose(args["options"], args.get("speed"))
    counts = {"generator": 0, "discriminator": 0}
    for part in requests.plans(chosen):
        options, name = part.network_options(args.get("classes") or ("a", "b")), part.config.networks.network
        made = {"generator": networks.make_generator(name, options)}
        if part.loss.adversarial:
            made["discriminator"] = networks.make_discriminator(name, options)
        for network, model in made.items():
            if not model.built:
                model.build()
            counts[network] += sum(int(v.shape.num_elements()) for v in model.trainable_variables)
    return counts

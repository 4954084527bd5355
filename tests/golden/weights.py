"""Every architecture at tiny sizes: names, shapes and first values of its weights, in the order in which they are made.

First values follow from the seed and from how many weights were drawn before: what is built in another order starts from others.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np

from tests.conftest import ROOT

FILE = Path(__file__).parent / "weights.txt"
CLASSES = ("cat", "dog", "eel")

_PLAIN = "--upsampling nearest --modulation none"  # as before they were options
_GROWING = f"--resolutions 4,8,16 --fmap-base 32 --fmap-max 6 --latent-size 5 {_PLAIN}"
_DCGAN = "--network dcgan --target-res 16 --fmap-base 16 --fmap-max 6 --latent-size 5"
_UNET = "--width 2 --fmap-max 6 --target-res"
_SRGAN = "--recipe srgan --width 2 --blocks 2"
# What is typed after `train`.
VARIANTS = (
    _GROWING,
    f"{_GROWING} --channels 1 --conv standard --stddev-group 1",
    f"{_GROWING} --conv standard --generator-norm batch --discriminator-norm batch --spectral down"
    " --minibatch discrimination",
    f"{_GROWING} --conv standard --generator-norm none --spectral all --minibatch none",
    f"{_GROWING} --conditional",
    f"{_GROWING} --conditional --generator-norm batch --channels 1 --optimizer rmsprop --augment ada",
    f"--resolutions 3,6,18 --fmap-base 16 --fmap-max 4 --latent-size 3 --batch 4 {_PLAIN}",
    f"--resolutions 8 --fmap-base 32 --fmap-max 4 --latent-size 3 --conv standard {_PLAIN}",
    "--resolutions 4,8,16 --fmap-base 32 --fmap-max 6 --latent-size 5 --conditional",
    _DCGAN,
    f"{_DCGAN} --channels 1 --generator-norm none --discriminator-norm none --spectral all",
    f"{_DCGAN} --target-res 8 --spectral down --conditional",
    f"--recipe colorize {_UNET} 16 --no-hints",
    f"--recipe colorize {_UNET} 8 --generator-norm none --discriminator-norm none --loss none --no-hints",
    f"--recipe colorize {_UNET} 8",
    f"--recipe translate {_UNET} 16",
    f"--recipe translate {_UNET} 32 --generator-norm group --discriminator-norm batch --spectral all --reverse",
    "--recipe recolor --width 3 --target-res 8",
    f"{_SRGAN} --target-res 16 --patch 16",
    f"{_SRGAN} --target-res 24 --scale 2 --patch 8 --generator-norm batch --discriminator-norm none --spectral all",
    f"{_SRGAN} --target-res 16 --patch 16 --scale 8 --discriminator-norm group --loss none",
)


def built(options: str):
    """(networks by role, all names in a checkpoint, resolutions) of what `train OPTIONS` would train."""
    from cloud.commands import parse
    from pggan_tf.training import execution

    (plan,) = parse(["train", *shlex.split(options)], ROOT).plans
    gan = execution.build(plan, "float32", CLASSES)
    roles = {"generator": gan.generator, "discriminator": gan.discriminator}
    gan.begin(plan.phases[-1])
    return roles, list(gan.state()), plan.resolutions


def _line(variable, role: str, kept: list[str]) -> str:
    name = variable.path.partition("/")[2]
    shape, first = "x".join(map(str, variable.shape)) or "()", float(np.ravel(variable.numpy())[0])
    kind = "" if variable.trainable else "  not trained"
    kind += "" if f"{role}/{name}" in kept else "  not kept"
    return f"{name}  {shape}  {first:.4f}{kind}"


def _stages(network, resolutions) -> list[str]:
    """How many weights a pass at every resolution trains, while it fades in and after."""
    lines = []
    for resolution in resolutions:
        counts = {
            fade: sum(int(np.prod(v.shape)) for v in network.variables_at(resolution, fade)) for fade in (True, False)
        }
        lines.append(f"trained at {resolution} px: {counts[True]} fading in, {counts[False]} after")
    return lines


def described(options: str) -> list[str]:
    """Lines about the networks of a variant."""
    import keras

    roles, kept, resolutions = built(options)
    besides = [name for name in kept if name.partition("/")[0] not in (*roles, "ema")]
    lines = [f"# train {options}"]
    for role, network in roles.items():
        if network is None:
            lines += ["", f"no {role}"]
            continue
        total = sum(int(np.prod(v.shape)) for v in network.variables)
        name = keras.saving.get_registered_name(type(network))  # as .keras files have it
        lines += ["", f"{role}: {name}, {total} weights", *(_line(v, role, kept) for v in network.variables)]
        lines += _stages(network, resolutions)
    slots = sorted({name.rpartition("/")[2] for name in besides if name.startswith("optimizer_")})
    own = [name for name in besides if not name.startswith("optimizer_")]
    sums = [
        f"{o} {sum(n.startswith(o + '/') for n in besides)}" for o in ("optimizer_generator", "optimizer_discriminator")
    ]
    return [*lines, "", f"kept besides: {', '.join(own)}", f"of optimisers: {json.dumps(slots)}; {', '.join(sums)}"]


def sections(text: str) -> dict[str, list[str]]:
    """Options of a variant -> its lines."""
    parts = [part.rstrip("\n").split("\n") for part in text.split("# train ")[1:]]
    return {first: ["# train " + first, *rest] for first, *rest in parts}


def alike(before: str, now: str) -> bool:
    """Whether two lines say the same. First values may differ by what processors differ in."""
    a, b = before.split("  "), now.split("  ")
    if len(a) < 3 or len(a) != len(b):
        return before == now
    return [*a[:2], *a[3:]] == [*b[:2], *b[3:]] and abs(float(a[2]) - float(b[2])) < 2e-4

"""Start a run with the weights of another one (--init-from)."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from pggan_tf.config import Plan
from pggan_tf.errors import UserError
from pggan_tf.runs import checkpoint, generators, keras_files
from pggan_tf.runs import folder as runs
from pggan_tf.training import execution
from pggan_tf.training.execution import Setting
from pggan_tf.training.gan import GAN

# What environment.json keeps of a pretrained run: the rest describes the machine of its training.
_KEPT = ("pggan_tf", "packages", "precision", "dataset", "seed", "planned_for_minutes")


def build(plan: Plan, setting: Setting) -> tuple[Plan, GAN]:
    """Return (plan, networks) of a new run, with the weights of --init-from if it is given.

    The returned plan leaves out the stages that these weights have completed, see `skip_trained_stages`.
    """
    arrays, init_from = None, plan.config.optimization.init_from
    if init_from:
        plan, arrays = skip_trained_stages(plan, Path(init_from), setting.shards.manifest.classes, setting.say)
    with setting.strategy.scope():
        gan = execution.build(plan, setting.arithmetic.policy, setting.shards.manifest.classes)
    if arrays and init_from:
        gan.load_weights(arrays, init_from)
    return plan, gan


def skip_trained_stages(plan: Plan, source: Path, classes: tuple[str, ...], say) -> tuple[Plan, dict]:
    """Return (plan, {variable name: array}) of a new run that starts with another run's weights.

    The arrays are those of the other run's newest checkpoint. In the plan, stages that these
    weights have completed have no images: training starts with the last stage that has completely
    faded in. What --total-images then leaves over is the last stage's, as in every plan.

    Args:
        plan: the plan of the new run.
        source: folder of the run given with --init-from.
        classes: names of the classes in the data.
        say: called with messages.
    """
    theirs, environment = runs.read(source)
    arrays, meta = read_weights(source, say)
    if plan.config.networks.conditional and (there := environment["dataset"]["classes"]) != list(classes):
        raise UserError(
            f"--init-from {source}: its classes are {', '.join(there)}, here {', '.join(classes) or 'none'}. A conditional network goes "
            "with the same classes in the same order."
        )
    if not plan.architecture.grows:
        return plan, arrays
    phase = theirs.phases[meta["phase"]]
    whole = phase.resolution if not phase.fade or meta["images_seen"] >= phase.end else 0
    last = max((r for r in plan.resolutions if r < phase.resolution or r == whole), default=plan.resolutions[0])
    fade = {r: 0 if r <= last else n for r, n in plan.config.schedule.fade_images.items()}
    stable = {r: 0 if r < last else n for r, n in plan.config.schedule.stable_images.items()}
    plan = plan.replace(fade_images=fade, stable_images=stable).with_rest()
    frozen = plan.config.optimization.freeze_discriminator
    if frozen and (first := execution.find_completed_stage(plan)) > last:
        raise UserError(
            f"--freeze-discriminator {frozen}: the stage of {first} px would be frozen, but the weights of --init-from end with {last} "
            f"px and have none for it. Expected images in which the stage after {last} px fades in (--fade-images)."
        )
    return plan, arrays


def read_weights(source: Path, say=print) -> tuple[dict[str, np.ndarray], dict]:
    """Return ({variable name: array}, meta) of a run's newest checkpoint, to start another run with.

    If the checkpoint lacks the generator, as in a pretrained run, it is that of generator.keras.

    Args:
        source: the run's folder.
        say: called with messages about damaged checkpoints.

    Raises:
        UserError: if there is no good checkpoint.
    """
    arrays, meta = checkpoint.read_newest(source, say)
    if not any(name.startswith("ema/") for name in arrays):
        for variable in generators.load(source).get_checkpoint_variables():
            name, value = variable.path.partition("/")[2], variable.numpy()
            arrays |= {f"generator/{name}": value, f"ema/{name}": value}
    halves = {name: array.astype(np.float32) for name, array in arrays.items() if array.dtype == np.float16}
    return arrays | halves, meta


def write_pretrained(run: Path, out: Path) -> None:
    """Write a pretrained run, which is small: its generator, and the weights of its discriminator.

    All of them are rounded to half precision. It has nothing else to resume it with.

    Args:
        run: folder of a run that has ended.
        out: folder to write, such as pggan_tf/pretrained/NAME.

    Raises:
        UserError: if the run has not ended.
    """
    if not (run / runs.GENERATOR).is_file():
        raise UserError(f"{run}: has not ended. Expected a run with its {runs.GENERATOR}.")
    network = generators.load(run)
    for variable in network.variables:
        variable.assign(variable.numpy().astype(np.float16))
    plan, environment = runs.read(run)
    arrays, meta = checkpoint.read_newest(run)
    kept = {name: array.astype(np.float16) for name, array in arrays.items() if name.startswith("discriminator/")}
    out.mkdir(parents=True)
    runs.write_json(out / runs.CONFIG, plan.to_json())
    environment["dataset"] |= {"folder": None}
    runs.write_json(out / runs.ENVIRONMENT, {name: environment[name] for name in _KEPT})
    checkpoint.write(checkpoint.path_for(out, meta["images_seen"]), kept, meta)
    network.save(out / "whole.keras")
    compressed = zipfile.ZipFile(out / runs.GENERATOR, "w", zipfile.ZIP_DEFLATED, compresslevel=9)
    with compressed, zipfile.ZipFile(out / "whole.keras") as whole:
        for name in keras_files.MEMBERS:  # rounded numbers end in zeros, which take little space
            compressed.writestr(name, whole.read(name))
    (out / "whole.keras").unlink()

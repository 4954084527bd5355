"""Write training steps as XLA modules with their inputs, and check them against TensorFlow's own steps.

A module is what XLA compiles: one training step of one stage, without TensorFlow. `benchmarks.gpu`
runs such files by JAX, on a machine with a GPU that need not have TensorFlow.

python -m benchmarks.xla                                   # 32 px, phone: write it, check it, print a table
python -m benchmarks.xla --resolutions 64,256 --sizes small,paper --precisions float32,bfloat16
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, so that Ctrl-C is handled from here on
    import sys

    from pggan_tf import entry

    sys.exit(entry.run("benchmarks.xla:main"))

import dataclasses
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks import measure, page
from pggan_tf.config import Plan, resolve
from pggan_tf.config.cost import GIB
from pggan_tf.config.sizes import SIZES
from pggan_tf.errors import UserError
from pggan_tf.files import atomic_write

RESOLUTIONS = (32, 64, 128, 256, 512, 1024)
# The step of `benchmarks.peers`, which people write in PyTorch, and the default one.
OBJECTIVES: dict[str, dict] = {"default": {}, "wgan-gp": {"loss": "wgan-gp", "update": "two-stage"}}
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
_TOLD = ("fmap_base", "fmap_max", "latent_size", "conv", "loss", "update")  # options that a file names
_GRID = 64  # images of a grid
_LARGEST_VALUES = 1 << 23  # numbers of all variables together up to which their values are written
_NORMAL = "normal"  # stands for values that are drawn from N(0, 1), as kernels are


@dataclass
class Step:
    """A training step of one stage, traced by TensorFlow for XLA.

    Attributes:
        plan: the plan of its run.
        resolution: resolution of the stage in pixels.
        gan: the networks, which the functions change.
        functions: functions (pixels, labels) -> values of `STATS`, compiled by XLA when they are called:
            the step with the penalty and, if the penalty is lazy, the one without.
        every: the penalty is in every such step.
        inputs: pixels uint8 [n, R, R, C] and labels int64 [n].
    """

    plan: Plan
    resolution: int
    gan: Any
    functions: list
    every: int
    inputs: tuple

    def list_parameters(self, function) -> list[tuple[str, np.ndarray]]:
        """Return (name, value at present) of the parameters of a function's module, in their order.

        They are pixels, labels, and what the step reads: variables of the GAN and constants.
        """
        concrete = function.get_concrete_function(*self.inputs)
        known = {id(v.handle): (v.name, v) for v in concrete.variables}
        known |= {id(v.handle): (name, v) for name, v in self.gan.state().items()}
        found = [(name, x.numpy()) for name, x in zip(("pixels", "labels"), self.inputs)]
        for number, captured in enumerate(concrete.captured_inputs):
            name, value = known.get(id(captured), (f"constant_{number}", captured))
            found.append((name, value.numpy()))
        return found


def make_step(plan: Plan, policy: str = "float32", fade: bool = False) -> Step:
    """Return the training step of the last stage of a plan, with photos of noise.

    Args:
        plan: the plan.
        policy: the Keras dtype policy, 'float32' or 'mixed_bfloat16'.
        fade: whether the stage fades in.
    """
    import tensorflow as tf

    from pggan_tf import schedule
    from pggan_tf.training import execution
    from pggan_tf.training.step import STATS, train_step

    resolution, options, objective = plan.target_res, plan.config.optimization, plan.objective(plan.target_res)
    steps = plan.config.objective.critic_steps
    phase = schedule.Phase(
        0, resolution, fade, 0, 10**9, options.batch[resolution], options.learning_rate[resolution], 0, steps
    )
    gan = execution.build(plan, policy)
    gan.begin(phase)
    shape = (phase.images_per_step, resolution, resolution, plan.data_channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    inputs = (tf.constant(pixels), tf.zeros([len(pixels)], tf.int64))
    every = objective.penalty_every if objective.penalty != "none" else 1
    now = dataclasses.replace(objective, penalty_every=1, penalty_weight=objective.penalty_weight * every)

    def make_function(objective):
        def take_step(pixels, labels):
            gan.objective_at = lambda resolution: objective
            stats = train_step(gan, phase, pixels, labels)
            return tf.stack([stats[name] for name in STATS])

        return tf.function(take_step, autograph=False, jit_compile=True)

    kinds = [now, dataclasses.replace(objective, penalty="none", penalty_every=1)] if every > 1 else [now]
    return Step(plan, resolution, gan, [make_function(kind) for kind in kinds], every, inputs)


def find_results(hlo: bytes) -> list[int]:
    """Return for every result of a module, but the first, the number of the parameter that it replaces.

    hlo: a serialized HloModuleProto.
    """
    from tensorflow.compiler.xla.service import hlo_pb2

    module = hlo_pb2.HloModuleProto.FromString(hlo)
    pairs = {tuple(e.output_shape_index): e.parameter_number for e in module.input_output_alias.entries}
    return [pairs[key] for key in sorted(pairs)]


def forbid_tf32(hlo: bytes) -> bytes:
    """Return a module whose convolutions and matrix products are computed in whole float32.

    GPUs round their factors to TF32, which has ten bits after the point, unless a module says no.

    hlo: a serialized HloModuleProto.
    """
    from tensorflow.compiler.xla import xla_data_pb2
    from tensorflow.compiler.xla.service import hlo_pb2

    module, highest = hlo_pb2.HloModuleProto.FromString(hlo), xla_data_pb2.PrecisionConfig.HIGHEST
    for computation in module.computations:
        for instruction in computation.instructions:
            if instruction.opcode in ("convolution", "dot"):
                del instruction.precision_config.operand_precision[:]
                instruction.precision_config.operand_precision.extend([highest, highest])
    return module.SerializeToString()


def plan_memory(function, *inputs) -> int:
    """Return the bytes that XLA plans for a function on this machine's CPU, parameters included.

    It is the arithmetic of XLA's buffer assignment; nothing is run.

    Args:
        function: a `tf.function` with jit_compile.
        *inputs: its arguments.
    """
    from tensorflow.compiler.xla.service import hlo_pb2

    content = function.experimental_get_compiler_ir(*inputs)(stage="optimized_hlo_proto_serialized")
    buffers = hlo_pb2.HloProto.FromString(content).buffer_assignment.buffer_allocations
    return sum(buffer.size for buffer in buffers if not buffer.is_thread_local)


def make_sampler(step: Step):
    """Return (function (latents) -> images in -1..1, latents): a grid of the moving average."""
    import tensorflow as tf

    from pggan_tf.networks.latents import latents

    network, resolution = step.gan.ema, step.resolution
    z = tf.constant(latents(range(min(_GRID, max(4, (1 << 22) // resolution**2))), network.latent_size))
    return tf.function(lambda z: network(z, resolution=resolution), autograph=False, jit_compile=True), z


def count_trained(network) -> int:
    """Return the number of trained parameters of a network."""
    return sum(math.prod(variable.shape) for variable in network.trainable_variables)


def describe_values(values: np.ndarray):
    """Return a number if all values are equal to it, else 'normal'."""
    flat = values.reshape(-1)
    return flat[0].item() if flat.size and (flat == flat[0]).all() else _NORMAL


def write(step: Step, file: Path, precision: str, objective: str) -> dict:
    """Write a step and the sampler of its generator as one .npz file, and return what is in it.

    The file has `hlo_0` (the step with the penalty), `hlo_1` (that without, if the penalty is lazy),
    both as `whole_0` and `whole_1` without TF32, `sampler` (the grid), the shapes, types and values of
    all parameters by their names, and `about`, a text in JSON. Values of large networks are left out:
    kernels are N(0, 1) to begin with, and everything else is one number.

    Args:
        step: the step.
        file: path of the file.
        precision: 'float32' or 'bfloat16'.
        objective: a key of OBJECTIVES.
    """
    arrays: dict[str, Any] = {}
    programs: list[dict[str, Any]] = []
    values: dict[str, np.ndarray] = {}
    for number, function in enumerate(step.functions):
        hlo = function.experimental_get_compiler_ir(*step.inputs)(stage="hlo_serialized")
        parameters = step.list_parameters(function)
        graph = function.get_concrete_function(*step.inputs).graph
        arrays |= {f"hlo_{number}": hlo, f"whole_{number}": forbid_tf32(hlo)}
        names = [f"{name}@{number}" if name.startswith("constant_") else name for name, _ in parameters]
        values |= {name: value for name, (_, value) in zip(names, parameters)}
        gflop = measure.executed_flops(graph) / 1e9
        programs.append({"names": names, "results": find_results(hlo), "gflop": gflop})
    sampler, z = make_sampler(step)
    drawn = sampler.get_concrete_function(z)
    known = {id(variable.handle): name for name, variable in step.gan.state().items()}
    arrays["sampler"] = sampler.experimental_get_compiler_ir(z)(stage="hlo_serialized")
    arrays = {name: np.frombuffer(content, np.uint8) for name, content in arrays.items()} | {"latents": z.numpy()}
    first, *others = (program["gflop"] for program in programs)
    about: dict[str, Any] = {
        "resolution": step.resolution,
        "batch": len(step.inputs[0]),
        "size": step.plan.config.networks.size or "phone",
        "precision": precision,
        "objective": objective,
        "every": step.every,
        "gflop": (first + (step.every - 1) * sum(others)) / step.every,
        "parameters": {name: count_trained(network) for name, network in step.gan.networks.items() if name != "ema"},
        "options": {name: step.plan.config.value(name) for name in _TOLD},
        "programs": programs,
        "sampler": ["latents", *(known[id(captured)] for captured in drawn.captured_inputs)],
        "values": {n: {"shape": v.shape, "type": str(v.dtype), "like": describe_values(v)} for n, v in values.items()},
    }
    whole = sum(value.size for value in values.values()) <= _LARGEST_VALUES
    for name, value in values.items():
        if about["values"][name]["like"] == _NORMAL and (whole or name == "pixels" or name.startswith("constant_")):
            arrays[f"value/{name}"] = value
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as partial, partial.open("wb") as opened:
        np.savez_compressed(opened, about=np.array(json.dumps(about)), **arrays)
    return about


def check(step: Step) -> dict[str, float]:
    """Take steps compiled by XLA and by TensorFlow from the same state, and compare.

    Returns:
        {'stats': largest relative difference of the losses, 'weights': difference of the weights of
        all networks, relative to what the step changed them by (root mean squares)}.
    """
    import tensorflow as tf

    state, found = step.gan.state(), {"stats": 0.0, "weights": 0.0}
    before = {name: variable.numpy() for name, variable in state.items()}
    for compiled in step.functions:
        results = []
        for function in (compiled, tf.function(compiled.python_function, autograph=False)):
            for name, variable in state.items():
                variable.assign(before[name])
            stats = function(*step.inputs).numpy()
            results.append((stats, {name: variable.numpy() for name, variable in state.items()}))
        (ours, changed), (theirs, expected) = results
        found["stats"] = max(found["stats"], compare(ours, theirs))
        weights = [name for name in expected if name.partition("/")[0] in step.gan.networks]
        differs, moved = (
            sum(float(np.square(expected[n].astype(np.float64) - other[n]).sum()) for n in weights)
            for other in (changed, before)
        )
        found["weights"] = max(found["weights"], math.sqrt(differs / moved))
    return found


def compare(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference of two arrays, relative to the largest expected value."""
    most = float(np.abs(expected).max()) or 1.0
    return float(np.abs(found.astype(np.float64) - expected).max()) / most


def make_plan(resolution: int, size: str, objective: str, options: Mapping = {}) -> Plan:
    """Return the plan of a form: a stage of a size on a GPU, with an objective.

    Args:
        resolution: resolution of the stage in pixels.
        size: a key of SIZES.
        objective: a key of OBJECTIVES.
        options: {option: value} of further options.
    """
    asked = {"size": size, "target_res": resolution, **OBJECTIVES[objective], **options}
    return resolve(asked).with_large_batches()


def write_photos(folder: Path, count: int, resolution: int = 64) -> None:
    """Write drawn portraits as photos.npz, uint8 [count, resolution, resolution, 3]."""
    from pggan_tf.data import portraits

    folder.mkdir(parents=True, exist_ok=True)
    images = np.stack([portraits.draw(number, resolution) for number in range(count)])
    np.savez_compressed(folder / "photos.npz", images=images)


def _split(text: str, known, option: str) -> list[str]:
    """Return the words of an option, each of which has to be one of `known`."""
    words = text.split(",")
    if unknown := [word for word in words if word not in known]:
        raise UserError(f"{option} {text}: {unknown[0]} is none of {', '.join(known)}.")
    return words


@click.command()
@click.option("--resolutions", default="32", show_default=True, help=f"any of {', '.join(map(str, RESOLUTIONS))}")
@click.option("--sizes", default="phone", show_default=True, help=f"any of {', '.join(SIZES)}")
@click.option("--precisions", default="float32", show_default=True, help=f"any of {', '.join(POLICIES)}")
@click.option("--objectives", default="default", show_default=True, help=f"any of {', '.join(OBJECTIVES)}")
@click.option("--folder", default="steps", show_default=True, help="where the modules are written")
@click.option("--checked", default=64, show_default=True, help="resolutions up to this one are checked")
@click.option(
    "--photos", default=0, help="also write this many drawn portraits of 64 px, for `benchmarks.gpu` to train with"
)
@click.option("--memory", is_flag=True, help="also compile each step and print the memory that XLA plans for it")
@page.out_option
def main(
    resolutions: str,
    sizes: str,
    precisions: str,
    objectives: str,
    folder: str,
    checked: int,
    photos: int,
    memory: bool,
    out: Path | None,
) -> None:
    """Write the step of every form as a module, check it, and print a table."""
    stages = [int(r) for r in _split(resolutions, [str(r) for r in (8, 16, *RESOLUTIONS)], "--resolutions")]
    forms = [
        (resolution, size, precision, objective)
        for resolution in stages
        for size in _split(sizes, SIZES, "--sizes")
        for precision in _split(precisions, POLICIES, "--precisions")
        for objective in _split(objectives, OBJECTIVES, "--objectives")
    ]
    measure.announce(len(forms) * (40 + 240 * memory))
    if photos:
        write_photos(Path(folder), photos)
    question = "Is a training step, written as an XLA module, the step that TensorFlow takes?"
    written, rows = page.Page(out, "The step as an XLA module", question), []
    for resolution, size, precision, objective in forms:
        begun = time.perf_counter()
        step = make_step(make_plan(resolution, size, objective), POLICIES[precision])
        file = Path(folder) / f"{resolution}-{size}-{precision}-{objective}.npz"
        about = write(step, file, precision, objective)
        differences = check(step) if resolution <= checked else {}
        need = f"{plan_memory(step.functions[0], *step.inputs) / GIB:.2f}" if memory else ""
        rows.append(
            (
                *(resolution, size, precision, objective, about["batch"], f"{about['gflop'] / about['batch']:.2f}"),
                f"{file.stat().st_size / 1e6:.1f}",
                *(f"{differences[name]:.1e}" if differences else "" for name in ("stats", "weights")),
                *((need,) if memory else ()),
                f"{time.perf_counter() - begun:.0f}",
            )
        )
    heads = [
        "px",
        "size",
        "precision",
        "objective",
        "batch",
        "GFLOP/image",
        "file, MB",
        "losses differ",
        "weights differ",
    ]
    written.table([*heads, *(("XLA's memory, GiB",) if memory else ()), "seconds"], rows)
    written.notes(
        "Differences are between one step compiled by XLA and one by TensorFlow: of losses relative to the largest, of weights relative to the step.",
        "`GFLOP` counts convolutions and matrix products, those of a lazy penalty in one step of its interval.",
        "Adam's first step is as long for a gradient of rounding errors as for any other, which is most of what weights differ by.",
        "`benchmarks/gpu.py` runs these files by JAX, without TensorFlow.",
    )

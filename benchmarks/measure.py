"""Helpers for the benchmarks: separate processes, bare training steps and the peak of this machine.

A bare training step is measured by its time and its number of operations.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pggan_tf.errors import UserError

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# The generator of Karras et al. 2018, and the widths with which it is compared with others.
PLAIN = {"upsampling": "nearest", "modulation": "none"}
WIDTHS = {"fmap_base": 2048, "fmap_max": 128}


def in_process(function: Callable, **arguments):
    """Call a function of a module in a new process, and return its result.

    Libraries must not share threads, and runs must not share memory. Arguments and result are
    passed as JSON.
    """
    module = function.__module__
    if module == "__main__":  # when started as `python -m benchmarks.step`
        module = sys.modules["__main__"].__spec__.name
    name = function.__name__
    code = f"import json, sys; from {module} import {name}; print(json.dumps({name}(**json.loads(sys.argv[1]))))"
    done = subprocess.run([sys.executable, "-c", code, json.dumps(arguments)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{module}.{name}({arguments}) failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def train(options: Mapping[str, object], folder: Path, may_fail: bool = False) -> None:
    """Train a run in a folder of its own, or go on with it; a finished run is kept as it is.

    Args:
        options: {option of train.py: its value}; "" for an option without a value.
        folder: the run's folder. It must not hold a run with other options.
        may_fail: whether a run that ends because its weights are ruined is accepted.

    Raises:
        UserError: if training ended otherwise.
    """
    words = [str(word) for option in options.items() for word in option if word != ""]
    command = [sys.executable, "train.py", "--run", str(folder.absolute()), "--no-report", *words]
    child = subprocess.Popen(command, cwd=Path(__file__).parents[1])
    try:
        code = child.wait()
    except KeyboardInterrupt:
        child.wait()  # at a terminal it hears the same Ctrl-C, and saves; a second one ends both
        raise
    if code and not (may_fail and code == 1):
        raise UserError(f"{folder.name}: training ended with exit code {code}; above it says why.")


def announce(seconds: float, note: str = "") -> None:
    """Print an estimate of how long a benchmark takes.

    seconds: the time on two cores with AVX2 alone, the slowest that were measured.
    """
    span = (
        f"{seconds:.0f} seconds"
        if seconds < 100
        else f"{seconds / 60:.0f} minutes"
        if seconds < 6000
        else f"{seconds / 3600:.1f} hours"
    )
    print(f"about {span} on two slow cores{'; ' if note else ''}{note}", file=sys.stderr, flush=True)


def cores() -> list[int]:
    """Return the numbers of the cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def keep_to(cores: list[int]) -> None:
    """Restrict this process to these cores, if the operating system supports it."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def convolution_peak(dtype: str, batch: int = 16, seconds: float = 1.0) -> float:
    """Return the speed of the fastest of a few large convolutions, in GFLOP/s."""
    import tensorflow as tf

    best = 0.0
    for size, channels in ((16, 128), (32, 128), (64, 64), (32, 256)):
        x, w = tf.zeros((batch, size, size, channels), dtype), tf.zeros((3, 3, channels, channels), dtype)

        @tf.function(autograph=False)
        def chain(x, w=w):
            for _ in range(8):
                x = tf.nn.conv2d(x, w, 1, "SAME")
            return x

        chain(x)
        end = time.perf_counter() + seconds / 4
        while time.perf_counter() < end:
            begun = time.perf_counter()
            chain(x)
            best = max(best, 8 * 2 * batch * size**2 * channels**2 * 9 / (time.perf_counter() - begun) / 1e9)
    return best


def executed_flops(graph) -> int:
    """Count the operations (multiplications and additions) that a function's graph executes.

    Only convolutions, depthwise ones included, and matrix products count, and of these only the
    ones that outputs or assignments depend on: TensorFlow prunes the others before it runs the
    graph.
    """
    alive, todo = (
        set(),
        [
            op
            for op in graph.get_operations()
            if op.type.startswith("Assign") or op.type == "Identity" and not op.outputs[0].consumers()
        ],
    )
    while todo:
        op = todo.pop()
        if op not in alive:
            alive.add(op)
            todo += [t.op for t in op.inputs] + list(op.control_inputs)
    total = 0
    for op in alive:
        if op.type == "MatMul":
            a, out = op.inputs[0].shape, op.outputs[0].shape
            inner = a[0] if op.get_attr("transpose_a") else a[1]
            total += 2 * out.num_elements() * inner
        elif op.type.startswith("DepthwiseConv2dNative"):
            small, kernel = (
                (op.inputs[2].shape, op.outputs[0].shape)
                if op.type.endswith("Filter")
                else (op.inputs[2].shape if op.type.endswith("Input") else op.outputs[0].shape, op.inputs[1].shape)
            )
            total += 2 * small[0] * small[1] * small[2] * kernel.num_elements()
        elif op.type in ("Conv2D", "Conv2DBackpropFilter", "Conv2DBackpropInput"):
            # Every weight of the kernel is multiplied once for each output pixel of the forward pass.
            if op.type == "Conv2D":
                small, kernel = op.outputs[0].shape, op.inputs[1].shape
            elif op.type == "Conv2DBackpropFilter":
                small, kernel = op.inputs[2].shape, op.outputs[0].shape
            else:
                small, kernel = op.inputs[2].shape, op.inputs[1].shape
            total += 2 * small[0] * small[1] * small[2] * kernel.num_elements()
    return total


def bare_step(plan, update: Callable | None = None, seconds: float = 4.0) -> dict:
    """Measure the training step in the last phase of a plan on a constant batch.

    Reading data and callbacks are left out.

    Args:
        plan: the plan of a run.
        update: update rule to use instead of the plan's.
        seconds: time to measure for.

    Returns:
        A dict: ms (median of single calls), images_per_second (many steps in one call, as in
            training), gflop of a step, parameters of both networks, policy, and how (how the
            generator's gradient is computed).
    """
    import tensorflow as tf

    from pggan_tf import schedule
    from pggan_tf.training import execution
    from pggan_tf.training import precision as precisions
    from pggan_tf.training.step import STATS, train_step

    config = plan.config
    gan = execution.build(plan, precisions.choose_policy(config.running.precision))
    gan.update = update or gan.update
    resolution, batch = plan.target_res, config.optimization.batch[plan.target_res]
    phase = schedule.Phase(0, resolution, False, 0, 10**9, batch, 1e-4, 0, config.objective.critic_steps)
    gan.begin(phase)
    size, images = config.purpose.patch or resolution, phase.images_per_step
    pixels = tf.random.uniform((images, size, size, config.images.channels), 0, 256, tf.int32)
    pixels, labels = tf.cast(pixels, tf.uint8), tf.zeros([images], tf.int64)

    @tf.function(autograph=False)
    def run(steps):
        def body(i, sums):
            stats = train_step(gan, phase, pixels, labels)
            return i + 1, {k: sums[k] + stats[k] for k in STATS}

        return tf.while_loop(lambda i, _: i < steps, body, (tf.constant(0), {k: tf.constant(0.0) for k in STATS}))[1]

    flops = executed_flops(
        tf.function(lambda: train_step(gan, phase, pixels, labels), autograph=False).get_concrete_function().graph
    )
    run(tf.constant(1))
    taken = []
    while sum(taken) < seconds or len(taken) < 3:
        begun = time.perf_counter()
        run(tf.constant(1))
        taken.append(time.perf_counter() - begun)
    steps = max(1, int(seconds / statistics.median(taken)))
    begun = time.perf_counter()
    run(tf.constant(steps))
    rate = steps * images / (time.perf_counter() - begun)
    trained = [v for n in (gan.generator, gan.discriminator) for v in n.variables_at(resolution, False)]
    return {
        "ms": 1000 * statistics.median(taken),
        "images_per_second": rate,
        "gflop": flops / 1e9,
        "parameters": sum(int(tf.size(v)) for v in trained),
        "policy": gan.generator.dtype_policy.name,
        "how": gan.describe_update(resolution),
    }

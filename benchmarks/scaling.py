"""Estimate the gain from more processes: measured with one and two, modelled for 8 to 1024 GPUs.

python -m benchmarks.scaling
python -m benchmarks.scaling --step-ms 38 --batch 16 --gbit 200  # for a GPU that you have measured yourself

In the model, every device computes its own batch in `step` seconds, and all devices sum their
gradients with a ring all-reduce. This takes 2 (n - 1) / n * bytes / bandwidth + 2 (n - 1) * latency
(Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of workstations",
section 3). Gradients are float32. Communication does not overlap with computation: training sums
the gradients of a network once all of them are computed.
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, so that Ctrl-C is handled from here on
    import sys

    from pggan_tf import entry

    sys.exit(entry.run("benchmarks.scaling:main"))

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from benchmarks import measure, page
from pggan_tf.errors import UserError
from pggan_tf.training import cluster as clusters

MESSAGES_PER_STEP = 3  # gradients of D, gradients of G, statistics for the log


def ring_seconds(devices: int, size: float, gbit: float, latency_us: float, messages: int = MESSAGES_PER_STEP) -> float:
    """Return the seconds that all all-reduces of a step take.

    Args:
        devices: number of devices in the ring.
        size: bytes that are reduced in a step.
        gbit: bandwidth of a link in Gbit/s.
        latency_us: latency of a message in microseconds.
        messages: number of all-reduces in a step.
    """
    if devices == 1:
        return 0.0
    return 2 * (devices - 1) / devices * size / (gbit * 1e9 / 8) + messages * 2 * (devices - 1) * latency_us * 1e-6


def efficiency(devices: int, step: float, size: float, gbit: float, latency_us: float) -> float:
    """Return the share of the time that the devices spend on computation, in 0..1.

    step: seconds of computation per step; for the others see `ring_seconds`.
    """
    return step / (step + ring_seconds(devices, size, gbit, latency_us))


def taken_over(step: float, size: float, gbit: float, latency_us: float) -> int | None:
    """Return the smallest number of devices for which communication takes longer than computation.

    Only powers of two up to 2^20 are tried; return None if communication takes less time for all of
    them. Arguments: see `efficiency`.
    """
    for power in range(1, 21):
        if ring_seconds(2**power, size, gbit, latency_us) > step:
            return 2**power
    return None


def _plan(resolution: int, batch: int):
    from pggan_tf.config import resolve

    return resolve({"target_res": resolution, "batch": {4: batch}})


def alone(resolution: int, batch: int, cores: list[int], seconds: float) -> dict:
    """Measure the bare step of one process on these cores."""
    measure.keep_to(cores)  # instead of fewer threads, because TensorFlow also runs several operations in parallel
    return measure.bare_step(_plan(resolution, batch), seconds=seconds)


def worker(
    addresses: list[str], index: int, resolution: int, batch: int, cores: list[list[int]], seconds: float
) -> dict:
    """Measure one of several processes that share a batch, each on cores of its own.

    Returns:
        A dict: images_per_second of the step in the last phase, reduce_ms of the all-reduces of a
            step alone.
    """
    measure.keep_to(cores[index])
    import tensorflow as tf

    from pggan_tf import schedule
    from pggan_tf.training import compiled, distribution, execution
    from pggan_tf.training import precision as precisions

    cluster = clusters.Cluster(tuple(addresses), index, 2.0)
    plan, n = _plan(resolution, batch), len(addresses)
    with distribution.join_cluster("multiworker", cluster) as strategy:
        with strategy.scope():
            gan = execution.build(plan, precisions.choose_policy("auto"))
            phase = schedule.Phase(0, resolution, False, 0, 10**9, batch, 1e-4, 0)
            gan.begin(phase)
        pixels = tf.cast(tf.random.uniform((batch // n, resolution, resolution, 3), 0, 256, tf.int32), tf.uint8)
        share = (pixels, tf.zeros([batch // n], tf.int64))
        call = compiled.CompiledSteps(gan, phase, strategy)
        iterator = iter(
            strategy.distribute_datasets_from_function(lambda _: tf.data.Dataset.from_tensors(share).repeat())
        )
        sizes = [
            sum(int(tf.size(v)) for v in n.variables_at(resolution, False)) for n in (gan.generator, gan.discriminator)
        ]

        @tf.function(autograph=False)
        def reduced(steps):
            def one():
                context = tf.distribute.get_replica_context()
                return [context.all_reduce(tf.distribute.ReduceOp.SUM, tf.ones(size)) for size in (*sizes, 9)]

            def body(i):
                strategy.run(one)
                return (i + 1,)

            return tf.while_loop(lambda i: i < steps, body, (tf.constant(0),), parallel_iterations=1)

        def per_second(function) -> float:
            function(1)
            begun = time.perf_counter()
            function(2)
            steps = max(2, round(cluster.all_gather(2 * seconds / (time.perf_counter() - begun))[0]))
            begun = time.perf_counter()
            function(steps)
            return steps / (time.perf_counter() - begun)

        rate = per_second(lambda steps: call(iterator, steps))
        reduces = per_second(lambda steps: reduced(tf.constant(steps)))
        cluster.leave()
    return {"images_per_second": rate * batch, "reduce_ms": 1000 / reduces}


def together(processes: int, **arguments) -> dict:
    """Run `worker` in several processes on this machine.

    Return the result of the first one.
    """
    import json
    import socket

    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(processes)]
    addresses = [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]
    for server in servers:
        server.close()
    code = (
        "import json, sys; from benchmarks.scaling import worker; print(json.dumps(worker(**json.loads(sys.argv[1]))))"
    )
    with tempfile.TemporaryFile("w+") as errors:
        running = [
            subprocess.Popen(
                [sys.executable, "-c", code, json.dumps({"addresses": addresses, "index": i, **arguments})],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            for i in range(processes)
        ]
        try:
            said = [process.communicate(timeout=600)[0] for process in running]
        finally:
            for process in running:
                process.kill()
        if any(process.returncode for process in running):
            errors.seek(0)
            raise RuntimeError(f"a worker failed:\n{errors.read()[-3000:]}")
    return json.loads(said[0].strip().splitlines()[-1])


@click.command()
@click.option("--resolution", default=64, show_default=True, type=click.IntRange(4))
@click.option("--batch", default=16, show_default=True, type=click.IntRange(1), help="images per step of one device")
@click.option(
    "--gbit", default=100.0, show_default=True, type=page.POSITIVE, help="bandwidth of a machine's link in Gbit/s"
)
@click.option(
    "--latency-us",
    default=10.0,
    show_default=True,
    help="latency in microseconds of a message from one device to the next",
)
@click.option("--devices", default="1,8,16,32,64,128,256,512,1024", show_default=True, type=page.Numbers())
@click.option("--step-ms", type=page.POSITIVE, help="milliseconds of a step on the modelled device  [as measured here]")
@click.option("--seconds", default=8.0, show_default=True, type=page.POSITIVE, help="seconds for every measurement")
@page.out_option
def main(
    resolution: int,
    batch: int,
    gbit: float,
    latency_us: float,
    devices: list[int],
    step_ms: float | None,
    seconds: float,
    out: Path | None,
) -> None:
    cores = measure.cores()
    if step_ms is None and len(cores) < 2:
        raise UserError("one core: two processes would show nothing. Give --step-ms.")
    if step_ms is None and not hasattr(os, "sched_setaffinity"):
        raise UserError("this system cannot keep a process to some of its cores. Give --step-ms.")
    measure.announce((1 if step_ms else 3) * (seconds + 25))
    question = "How much faster is training with more devices? Measured with two processes, and modelled for more."
    written = page.Page(out, "More devices", question)
    whole = measure.in_process(alone, cores=cores, resolution=resolution, batch=batch, seconds=seconds)
    if step_ms is None:
        _measure_two(written, cores, whole, {"resolution": resolution, "batch": batch, "seconds": seconds})
    size = 4 * whole["parameters"]
    step = (step_ms or 1000 * batch / whole["images_per_second"]) / 1000
    written.text(
        f"The model: a step of {1000 * step:.3g} ms for {batch} images on each device{'' if step_ms else ' (as measured here)'}; gradients of "
        f"{whole['parameters']:,} parameters in float32, {size / 1e6:.1f} MB in {MESSAGES_PER_STEP} all-reduces around a ring; {gbit:g} Gbit/s, "
        f"{latency_us:g} us for each of its 2 (n - 1) steps; nothing overlapped; every device as fast as the others."
    )
    rows = []
    for n in devices:
        share, waits = efficiency(n, step, size, gbit, latency_us), ring_seconds(n, size, gbit, latency_us)
        rate = f"{n * batch * share / step:,.0f}"
        rows.append((f"{n:,}", f"{n * batch:,}", f"{1000 * waits:.2f}", rate, f"{share:.0%}"))
    written.table(("devices", "images per step", "communication, ms", "images/s", "efficiency"), rows)
    over = taken_over(step, size, gbit, latency_us)
    never = f"never up to 2^20 devices; the bytes alone take at most {2000 * size / (gbit * 1e9 / 8):.2f} ms"
    written.notes(f"Communication takes longer than computing: {f'from {over:,} devices on' if over else never}.")


def _measure_two(written: page.Page, cores: list[int], whole: dict, shape: dict) -> None:
    """Add a table of one process on half of the cores, on all of them, and of two on half each.

    Args:
        written: the page.
        cores: numbers of the cores.
        whole: result of `alone` on all of them.
        shape: resolution, batch and seconds of the measurements.
    """
    n = len(cores) // 2
    half = measure.in_process(alone, cores=cores[:n], **shape)
    two = together(2, cores=[cores[:n], cores[n : 2 * n]], **shape)
    rows = []
    for processes, each, row in ((1, n, half), (1, len(cores), whole), (2, n, two)):
        rate = row["images_per_second"]
        rows.append((processes, each, f"{rate:.1f}", f"{rate / half['images_per_second']:.2f}"))
    written.table(("processes", "cores each", "images/s", "relative"), rows)
    written.notes(
        f"{shape['resolution']} px, a batch of {shape['batch']} in all, {whole['policy']}.",
        f"The all-reduces of a step alone, between two processes on the loopback: {two['reduce_ms']:.1f} ms.",
    )

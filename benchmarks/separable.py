"""Depthwise separable against standard convolutions: multiplications, parameters and the time of a training step.

python -m benchmarks.separable                     # 16, 32, 64, 128 px in float32 and the device's best precision
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys

import click

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def step(resolution: int, batch: int, conv: str, precision: str, seconds: float = 3.0) -> dict:
    """The bare step of both networks at one size, without a penalty, as the paper measured it."""
    import time

    import tensorflow as tf

    from benchmarks.step import executed_flops
    from pggan_tf import config as configs
    from pggan_tf import growth
    from pggan_tf.training import loop
    from pggan_tf.training import precision as precisions

    config = configs.complete(
        configs.Config(
            target_res=resolution,
            conv=conv,
            loss="nonsaturating",
            update="two-stage",
            batch={4: batch},
            precision=precision,
        )
    )
    gan = loop.build(config, precisions.policy(precision))
    phase = growth.Phase(0, resolution, False, 0, 10**9, batch, 1e-3, 0)
    gan.begin(phase)
    pixels = tf.cast(tf.random.uniform((batch, resolution, resolution, 3), 0, 256, tf.int32), tf.uint8)
    labels = tf.zeros([batch], tf.int64)
    single = tf.function(lambda: gan.step(phase, pixels, labels), autograph=False)
    flops = executed_flops(single.get_concrete_function().graph)
    single()
    taken = []
    while sum(taken) < seconds:
        begun = time.perf_counter()
        single()
        taken.append(time.perf_counter() - begun)
    parameters = sum(
        int(tf.size(v)) for n in (gan.generator, gan.discriminator) for v in n.variables_at(resolution, False)
    )
    return {"ms": 1000 * statistics.median(taken), "gflop": flops / 1e9, "parameters": parameters}


def in_process(**arguments) -> dict:
    code = "import json, sys; from benchmarks import separable; print(json.dumps(separable.step(**json.loads(sys.argv[1]))))"
    command = [sys.executable, "-c", code, json.dumps(arguments)]
    return json.loads(
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().splitlines()[-1]
    )


@click.command()
@click.option("--batch", default=16, show_default=True)
@click.option("--resolutions", default="16,32,64,128", show_default=True)
def main(batch: int, resolutions: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for name in (
        "px",
        "precision",
        "GFLOP a step",
        "separable",
        "parameters",
        "separable",
        "ms a step",
        "separable",
        "faster",
    ):
        table.add_column(name, justify="right")
    for resolution in map(int, resolutions.split(",")):
        for precision in ("float32", "auto"):
            pair = [
                in_process(resolution=resolution, batch=batch, conv=c, precision=precision)
                for c in ("standard", "separable")
            ]
            a, b = pair
            table.add_row(
                str(resolution), precision, f"{a['gflop']:.1f}", f"{b['gflop']:.1f}", f"{a['parameters']:,}", f"{b['parameters']:,}",
                f"{a['ms']:.1f}", f"{b['ms']:.1f}", f"{a['ms'] / b['ms']:.2f}",
            )  # fmt: skip
    console = Console(width=120, highlight=False)
    console.print(
        f"a training step of both networks, batch {batch}, fmap-base 2048, fmap-max 128, two-stage, no penalty.\n"
        "A separable 3x3 convolution to N maps has 1/N + 1/9 of the multiplications of a standard one; steps up and down by two "
        "are fused in the standard networks, which saves 5/9 of theirs; depthwise convolutions are not in the GFLOP."
    )
    console.print(table)


if __name__ == "__main__":
    main()

"""Compare depthwise separable with standard convolutions.

Multiplications, parameters and the time of a training step are measured.

python -m benchmarks.separable  # 16, 32, 64, 128 px in float32 and the device's best precision
"""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, so that Ctrl-C is handled from here on
    import sys

    from pggan_tf import entry

    sys.exit(entry.run("benchmarks.separable:main"))

import statistics
import sys

import click

from benchmarks import measure
from pggan_tf.training import precision as precisions


def step(resolution: int, batch: int, conv: str, precision: str) -> dict:
    """Measure the bare step of both networks without a penalty, as in the paper."""
    from pggan_tf.config import resolve

    settings = {"target_res": resolution, "conv": conv, "precision": precision}
    without = {"loss": "nonsaturating", "update": "two-stage"}
    return measure.bare_step(resolve({"batch": {4: batch}, **settings, **without}), seconds=3.0)


@click.command()
@click.option("--batch", default=16, show_default=True)
@click.option("--resolutions", default="16,32,64,128", show_default=True)
@click.option("--rounds", default=3, show_default=True, help="number of times that both are measured, in turn")
def main(batch: int, resolutions: str, rounds: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for name in ("px", "precision", "GFLOP a step", "separable", "parameters", "separable", "ms a step", "separable", "faster"):  # fmt: skip
        table.add_column(name, justify="right")
    sizes = [int(r) for r in resolutions.split(",")]
    kinds = ("float32", "auto") if precisions.cpu_has_bfloat16() else ("float32",)
    measure.announce(len(sizes) * len(kinds) * rounds * 2 * 25)
    for resolution in sizes:
        for precision in kinds:
            shape = {"resolution": resolution, "batch": batch, "precision": precision}
            pairs = [
                [measure.in_process(step, conv=c, **shape) for c in ("standard", "separable")] for _ in range(rounds)
            ]
            a, b = pairs[0]
            ms = [statistics.median(p[i]["ms"] for p in pairs) for i in range(2)]
            faster = statistics.median(p[0]["ms"] / p[1]["ms"] for p in pairs)
            table.add_row(
                str(resolution), a["policy"], f"{a['gflop']:.1f}", f"{b['gflop']:.1f}", f"{a['parameters']:,}", f"{b['parameters']:,}",
                f"{ms[0]:.1f}", f"{ms[1]:.1f}", f"{faster:.2f}",
            )  # fmt: skip
    console = Console(width=120, highlight=False)
    console.print(
        f"a training step of both networks, batch {batch}, fmap-base 2048, fmap-max 128, two-stage, no penalty; median of {rounds} rounds "
        "in turn.\nA separable 3x3 convolution to N maps has 1/N + 1/9 of the multiplications of a standard one; steps up and down by two "
        "are fused in the standard networks, which saves 5/9 of theirs."
    )
    console.print(table)

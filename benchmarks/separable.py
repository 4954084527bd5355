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
from pathlib import Path

import click

from benchmarks import measure, page
from pggan_tf.training import precision as precisions


def step(resolution: int, batch: int, conv: str, precision: str) -> dict:
    """Measure the bare step of both networks without a penalty, as in the paper."""
    from pggan_tf.config import resolve

    settings = {"target_res": resolution, "conv": conv, "precision": precision}
    without = {"loss": "nonsaturating", "update": "two-stage"}
    plan = resolve({"batch": {4: batch}, **settings, **measure.PLAIN, **measure.WIDTHS, **without})
    return measure.bare_step(plan, seconds=3.0)


@click.command()
@click.option("--batch", default=16, show_default=True, type=click.IntRange(1))
@click.option("--resolutions", "sizes", default="16,32,64,128", show_default=True, type=page.Numbers(4))
@click.option(
    "--rounds",
    default=3,
    show_default=True,
    type=page.AT_LEAST_ONE,
    help="number of times that both are measured, in turn",
)
@page.out_option
def main(batch: int, sizes: list[int], rounds: int, out: Path | None) -> None:
    kinds = ("float32", "auto") if precisions.cpu_has_bfloat16() else ("float32",)
    measure.announce(len(sizes) * len(kinds) * rounds * 2 * 25)
    question = "How much faster is a training step of both networks with depthwise separable convolutions than with standard ones?"
    written, rows = page.Page(out, "Separable convolutions", question), []
    for resolution, precision in ((r, p) for r in sizes for p in kinds):
        shape = {"resolution": resolution, "batch": batch, "precision": precision}
        pairs = [[measure.in_process(step, conv=c, **shape) for c in ("standard", "separable")] for _ in range(rounds)]
        ms = [statistics.median(p[i]["ms"] for p in pairs) for i in range(2)]
        faster = statistics.median(p[0]["ms"] / p[1]["ms"] for p in pairs)
        cells = [(f"{one['gflop']:.1f}", f"{one['parameters']:,}", f"{m:.1f}") for one, m in zip(pairs[0], ms)]
        rows.append((resolution, pairs[0][0]["policy"], *cells[0], *cells[1], f"{faster:.2f}"))
    each = ("GFLOP a step", "parameters", "ms a step")
    written.table(("px", "precision", *each, *(f"separable: {head}" for head in each), "times faster"), rows)
    written.notes(
        f"Batch {batch}, the generator of Karras et al. 2018, fmap-base 2048, fmap-max 128, two-stage, no penalty; median of "
        f"{rounds} rounds in turn.",
        "A separable 3x3 convolution to N maps has 1/N + 1/9 of the multiplications of a standard one; steps up and down by two are "
        "fused in the standard networks, which saves 5/9 of theirs.",
    )

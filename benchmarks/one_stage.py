"""One-stage training against our two-stage and the wasteful two-stage that tutorials write: time for an iteration.

python -m benchmarks.one_stage
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time

import click

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# Networks and losses, one for each way that one-stage takes (updates.WAYS).
FORMS = {
    "DCGAN, no normalisation in D": {"network": "dcgan", "discriminator_norm": "none", "loss": "nonsaturating"},
    "DCGAN": {"network": "dcgan", "loss": "nonsaturating"},
    "PGGAN": {"network": "progressive", "loss": "nonsaturating"},
    "PGGAN, WGAN": {"network": "progressive", "loss": "wgan"},
}


def wasteful(players, batches):
    """Two stages as tutorials write them: D's step is backpropagated into G too, G's into D's weights too, and dropped."""
    import tensorflow as tf

    from pggan_tf.training import updates

    (batch,) = batches
    o, everything = players.objective, [*players.generator_variables, *players.discriminator_variables]
    split = len(players.generator_variables)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(everything)
        fakes = players.generate(batch.latents, batch.fake_labels)
        real, fake = players.discriminate(batch.reals), players.discriminate(fakes)
        loss_d = updates._mean(o.discriminator(real, fake, batch.labels, batch.fake_labels), players)
    gradients = tape.gradient(loss_d, everything)
    with tf.control_dependencies(gradients):  # they are computed, though nobody asks for them
        players.apply_discriminator([tf.identity(g) for g in gradients[split:]], loss_d)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(everything)
        logits = players.discriminate(players.generate(batch.second_latents, batch.second_labels))
        loss_g = updates._mean(o.generator(real, logits, batch.second_labels), players)
    gradients = tape.gradient(loss_g, everything)
    with tf.control_dependencies(gradients):
        players.apply_generator([tf.identity(g) for g in gradients[:split]], loss_g)
    return updates._stats(players, loss_d, loss_g, tf.constant(0.0), real, fake)


RULES = ("one-stage", "two-stage", "tutorials' two-stage")


def iterations(form: str, rule: str, resolution: int, batch: int, precision: str, seconds: float = 4.0) -> dict:
    """ms for an iteration, and the multiplications and additions in it."""
    import tensorflow as tf

    from benchmarks.step import executed_flops
    from pggan_tf import config as configs
    from pggan_tf import growth
    from pggan_tf.training import loop, updates
    from pggan_tf.training import precision as precisions

    settings = FORMS[form]
    widths = {"fmap_base": 16 * resolution, "fmap_max": 512} if settings["network"] == "dcgan" else {}
    config = configs.complete(
        configs.Config(
            target_res=resolution, batch={4: batch}, penalty="none", update="one-stage", **settings, **widths
        )
    )
    gan = loop.build(config, precisions.policy(precision))
    gan.update = wasteful if rule == RULES[2] else updates.UPDATES[rule]
    phase = growth.Phase(0, resolution, False, 0, 10**9, batch, 1e-4, 0)
    gan.begin(phase)
    pixels = tf.cast(tf.random.uniform((batch, resolution, resolution, 3), 0, 256, tf.int32), tf.uint8)
    labels = tf.zeros([batch], tf.int64)
    step = tf.function(lambda: gan.step(phase, pixels, labels), autograph=False)
    flops = executed_flops(step.get_concrete_function().graph)
    step()
    taken = []
    while sum(taken) < seconds:
        begun = time.perf_counter()
        step()
        taken.append(time.perf_counter() - begun)
    return {"ms": 1000 * statistics.median(taken), "gflop": flops / 1e9, "how": gan.how_updated(resolution)}


def in_process(*arguments) -> dict:
    code = "import json, sys; from benchmarks import one_stage; print(json.dumps(one_stage.iterations(*json.loads(sys.argv[1]))))"
    command = [sys.executable, "-c", code, json.dumps(arguments)]
    return json.loads(
        subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().splitlines()[-1]
    )


@click.command()
@click.option("--resolutions", default="32,64", show_default=True)
@click.option("--rounds", default=3, show_default=True, help="times that every form is measured, in turn")
@click.option("--precision", default="float32", show_default=True)
def main(resolutions: str, rounds: int, precision: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for name in (
        "network",
        "px",
        *(f"{rule}, ms" for rule in RULES),
        "faster than two-stage",
        "than tutorials'",
        "by operations",
        "",
    ):
        table.add_column(name, justify="left" if name == "network" else "right")
    for resolution in map(int, resolutions.split(",")):
        for form in FORMS:
            batch = 64 if FORMS[form]["network"] == "dcgan" else 16
            rows = [[in_process(form, rule, resolution, batch, precision) for rule in RULES] for _ in range(rounds)]
            ms = [statistics.median(r[i]["ms"] for r in rows) for i in range(3)]
            work = [rows[0][i]["gflop"] for i in range(3)]
            faster = [statistics.median(r[i]["ms"] / r[0]["ms"] for r in rows) for i in (1, 2)]
            table.add_row(
                form, str(resolution), *(f"{m:.0f}" for m in ms), f"{faster[0]:.2f}", f"{faster[1]:.2f}",
                f"{work[1] / work[0]:.2f}", f"{work[2] / work[0]:.2f}",
            )  # fmt: skip
    console = Console(width=130, highlight=False)
    console.print(f"an iteration of both networks, {precision}; median of {rounds} rounds in turn")
    console.print(table)


if __name__ == "__main__":
    main()

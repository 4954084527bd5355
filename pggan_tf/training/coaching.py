"""Check at snapshots how training goes, and say what goes wrong and what to type then.

A check is a line of stats.jsonl with figures that losses do not show: what the discriminator says
of photos it was trained on, of photos it has not seen and of generated images, and how much the
generated images vary.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from pggan_tf.data import pipeline, pixels, transparency
from pggan_tf.errors import OutOfMemory, explain_out_of_memory
from pggan_tf.report import coach
from pggan_tf.runs import records
from pggan_tf.runs.folder import STATS
from pggan_tf.training.callbacks import Callback, GridWriter

MOST_IMAGES = 32  # number of photos and of generated images that are looked at
_LEAST_IMAGES = pipeline.LEAST_HELD_OUT  # nothing is said about fewer images than this
_SIDE = 4  # the variety of images is measured on their means over blocks, 4 x 4 of them


def measure_variety(images: np.ndarray) -> float:
    """Return how much images uint8 [N, H, W, C] differ: the deviation of their 4 x 4 block means."""
    n, h, w, c = images.shape
    rows, columns = min(_SIDE, h), min(_SIDE, w)
    whole = h % rows == w % columns == 0
    blocks = images.reshape(n, rows, h // rows, columns, w // columns, c).mean((2, 4)) if whole else images
    return float(np.sqrt(blocks.reshape(n, -1).var(0).mean()))


def _sum_means(terms) -> float:
    return float(sum(np.mean(term) for term in terms))


class Coach(Callback):
    """Writes a check at every snapshot, and logs each piece of advice once.

    Args:
        grids: the callback that draws the images to look at. It must come before this one.
    """

    def __init__(self, grids: GridWriter):
        self.grids = grids
        self.told: set[str] = set()

    def begin(self, run):
        """Open stats.jsonl."""
        self.file = (run.folder / STATS).open("a", buffering=1)
        self.photos: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def snapshot(self, run):
        """Write a check if a stage has faded in, then say what is wrong."""
        made = self.grids.images
        if made is not None and not run.phase.fade and run.phase.adversarial and not run.plan.task.from_images:
            try:
                with explain_out_of_memory("the training is checked", "It goes on without the check."):
                    check = self._check(run, made[:MOST_IMAGES])
            except OutOfMemory as error:
                run.log(f"no check at {run.images_seen:,} images: {error}")
                return
            head = {"images": run.images_seen, "seconds": round(run.seconds, 3), "resolution": run.phase.resolution}
            self.file.write(json.dumps(head | {"check": check}) + "\n")
        self._tell(run)

    def _read_photos(self, run) -> tuple[np.ndarray, np.ndarray]:
        """Return photos that the run is trained on and others, uint8 [N, H, W, C] each."""
        resolution, held_out = run.phase.resolution, run.config.images.held_out
        if resolution not in self.photos:
            count = run.shards.count(resolution)
            known = pipeline.train_count(count, held_out)
            seen = pipeline.sample_indices(min(MOST_IMAGES, known), known)
            unseen = np.zeros(0, np.int64)
            if count > known:
                numbers = pipeline.sample_indices(min(MOST_IMAGES, count - known), count - known)
                unseen = pipeline.holdout_indices(numbers, count, held_out)
            seen = pipeline.train_indices(seen, count, held_out)
            self.photos = {resolution: (run.shards.read(resolution, seen), run.shards.read(resolution, unseen))}
        return self.photos[resolution]

    def _check(self, run, made: np.ndarray) -> dict[str, float]:
        """Return the figures of a check by name; made: generated images uint8 [N, H, W, C]."""
        seen, unseen = self._read_photos(run)
        made = transparency.premultiply(made)  # as the photos are
        check: dict[str, Any] = {}
        judged: dict[str, np.ndarray] = {}
        if min(len(made), len(seen)) >= _LEAST_IMAGES:
            check["variety"] = measure_variety(made) / max(measure_variety(seen), 1e-6)
        threshold = run.plan.loss.decision_threshold
        if threshold is not None:
            value = np.full(1, threshold, np.float32)
            check["undecided"] = _sum_means(run.plan.loss.discriminator(value, value))
            logits = np.linspace(-50, 50, 2001, dtype=np.float32)
            check["least"] = float(sum(np.min(term) for term in run.plan.loss.discriminator(logits, logits)))
        for name, images in (("seen", seen), ("unseen", unseen), ("made", made)):
            if len(images) >= _LEAST_IMAGES:
                logits = judged[name] = self._judge(run, images)
                check[f"logit_{name}"] = float(logits.mean())
                if name == "unseen":
                    check["logit_error"] = float(logits.std() / len(logits) ** 0.5)
        if threshold is not None and {"seen", "made"} <= judged.keys():  # the loss without that of classes
            check["adversarial"] = _sum_means(run.plan.loss.discriminator(judged["seen"], judged["made"]))
        return {name: round(value, 6) for name, value in check.items()}

    def _judge(self, run, images: np.ndarray) -> np.ndarray:
        """Return the discriminator's logit of each image, [N]; images: uint8 [N, H, W, C]."""
        import tensorflow as tf

        phase, objective = run.phase, run.gan.objective_at(run.phase.resolution)
        # In batches as in training, as the logits may depend on the batch or on groups within it.
        step, group = min(len(images), phase.batch), run.gan.discriminator.batch_coupling
        step -= step % group if 1 < group < step else 0
        found = []
        for i in range(0, len(images) - step + 1, step):
            x = tf.constant(pixels.to_float(images[i : i + step]))
            logits = run.gan.discriminator(x, resolution=phase.resolution, alpha=None, training=True)
            logits = objective.real_fake_logits(logits).numpy()
            found.append(logits.reshape(len(logits), -1).mean(1))
        return np.concatenate(found)

    def _tell(self, run) -> None:
        history = records.read_history(run.folder / STATS)
        photos = pipeline.train_count(len(run.shards), run.config.images.held_out)
        figures = coach.Figures(run.plan, history.ticks, history.checks, history.measured, photos)
        for advice in coach.advise(figures):
            if advice.illness not in self.told:
                self.told.add(advice.illness)
                run.log(str(advice))

    def end(self, run):
        """Close stats.jsonl."""
        self.file.close()

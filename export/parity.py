"""An exported file against Keras: the same inputs, the same pixels?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from export import tflite
from export.signatures import Signature, output
from pggan_tf.data import pixels
from pggan_tf.errors import UserError

INPUTS = range(16, 32)  # numbers of the examples: others than those that int8's ranges are measured on
_ROUNDS, _SECONDS = 20, 1.0  # calls that are timed for each signature, at most


@dataclass(frozen=True)
class Row:
    """One signature of one file. max_difference: of levels 0..255. psnr: dB, None where nothing differs. ms: shortest
    time of an image on one thread of this CPU."""

    signature: str
    max_difference: int
    psnr: float | None
    ms: float


def compare(
    signatures: Sequence[Signature],
    run: Callable[[str, dict], np.ndarray],
    photos: Sequence[np.ndarray] = (),
    kind: str = "uint8",
) -> list[Row]:
    """run: (signature's name, inputs) -> image uint8 or float32 -1..1, by whatever runtime is to be judged. A signature of any
    size is given another one too."""
    import tensorflow as tf

    rows = []
    for s in signatures:
        keras = tf.function(partial(_run, s.function, kind), autograph=False)
        worst, squares, count = 0, 0.0, 0
        given = tflite.examples(s, INPUTS, photos)
        for inputs in given + (tflite.examples(s, INPUTS[:1], photos, s.oblong) if s.oblong else []):
            image, truth = run(s.name, inputs), keras(**{k: tf.constant(v) for k, v in inputs.items()}).numpy()
            if image.shape != truth.shape or not np.isfinite(image).all():
                raise UserError(f"{s.name}: gives {image.shape} with numbers that are none; Keras gives {truth.shape}.")
            image, truth = (x if x.dtype == np.uint8 else pixels.to_uint8(x) for x in (image, truth))
            apart = np.abs(image.astype(int) - truth)
            worst, squares, count = max(worst, int(apart.max())), squares + float((apart**2).sum()), count + apart.size
        psnr = round(float(10 * np.log10(255**2 * count / squares)), 2) if squares else None
        rows.append(Row(s.name, worst, psnr, milliseconds(partial(run, s.name, given[0]))))
    return rows


def _run(function: Callable, kind: str, **inputs):
    return output(function(**inputs), kind)


def milliseconds(call: Callable) -> float:
    """The shortest time of a call, after a first one: what else the machine does makes the others longer."""
    call()
    taken: list[float] = []
    while len(taken) < _ROUNDS and sum(taken) < _SECONDS:
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return round(1000 * min(taken), 3)


def require(rows: Sequence[Row], least: float, what: str) -> None:
    """Raises UserError where a file is further from Keras than its quantisation may be."""
    if bad := [r for r in rows if r.psnr is not None and r.psnr < least]:
        worst = min(bad, key=lambda r: r.psnr)
        raise UserError(
            f"{what}: {worst.signature} differs from Keras by up to {worst.max_difference} of 255, PSNR {worst.psnr} dB; "
            f"expected {least:.0f} dB or more. Nothing was written. Choose a finer --quantize: {', '.join(tflite.QUANTIZATIONS)}."
        )

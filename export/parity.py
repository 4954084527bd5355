"""Comparison of exported files with Keras ("parity").

A file and Keras must give nearly the same pixels for the same inputs; quantisation allows for
larger differences. A file is compared signature by signature (a signature is a named function of
the file) on examples, which are dicts with an array for each input.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from export import litert
from export.signatures import Signature, convert_output
from pggan_tf.data import pixels, transparency
from pggan_tf.errors import UserError

# Numbers of the examples, see `litert.make_examples`. None of them is in `litert.CALIBRATION`.
INPUTS = range(16, 32)
_ROUNDS, _SECONDS = 20, 1.0  # limits on the calls that time a signature, and on their total time


@dataclass(frozen=True)
class Row:
    """Result of the comparison of one signature of a file."""

    signature: str  # its name
    # Largest difference between pixel values, which are in 0..255; of colours that were multiplied
    # with alpha if there is one.
    max_difference: int
    psnr: float | None  # PSNR in dB of the file's images against those of Keras; None: the same
    ms: float | None  # shortest time of one image in milliseconds, on one thread of this CPU; None: not timed


def compare(
    signatures: Sequence[Signature],
    run: Callable[[str, dict], np.ndarray],
    photos: Sequence[np.ndarray] = (),
    kind: str = "uint8",
    timed: bool = True,
    examples: int | None = None,
) -> list[Row]:
    """Compare a file with Keras on examples, and return a `Row` for each signature.

    Signatures that take any size are also compared on a photo that is not square.

    Args:
        signatures: the signatures of the file.
        run: function that runs the file, such as `litert.Runner`: (name of a signature, dict of
            input name -> array) -> image [1, H, W, C], uint8 or float32 in -1..1.
        photos: uint8 [S, S, 3] each; needed if the signatures take photos.
        kind: dtype of the images that the file returns, uint8 or float32.
        timed: whether `run` is what will run the file elsewhere, so that its time tells something.
        examples: number of examples; None: as many as INPUTS has.

    Raises:
        UserError: if a result has another shape than that of Keras, or contains NaN or Inf.
    """
    import tensorflow as tf

    rows = []
    for s in signatures:
        keras = tf.function(partial(_run, s.function, kind), autograph=False)
        worst, squares, count = 0, 0.0, 0
        given = litert.make_examples(s, INPUTS[:examples], photos)
        for inputs in given + (litert.make_examples(s, INPUTS[:1], photos, s.oblong) if s.oblong else []):
            image, truth = run(s.name, inputs), keras(**{k: tf.constant(v) for k, v in inputs.items()}).numpy()
            if image.shape != truth.shape or not np.isfinite(image).all():
                raise UserError(f"{s.name}: gives {image.shape} with numbers that are none; Keras gives {truth.shape}.")
            image, truth = (x if x.dtype == np.uint8 else pixels.to_uint8(x) for x in (image, truth))
            # Colours of pixels that are nearly transparent may differ: nobody sees them.
            image, truth = (transparency.premultiply(x) for x in (image, truth))
            apart = np.abs(image.astype(int) - truth)
            worst, squares, count = max(worst, int(apart.max())), squares + float((apart**2).sum()), count + apart.size
        psnr = round(float(10 * np.log10(255**2 * count / squares)), 2) if squares else None
        ms = measure_milliseconds(partial(run, s.name, given[0])) if timed else None
        rows.append(Row(s.name, worst, psnr, ms))
    return rows


def _run(function: Callable, kind: str, **inputs):
    """Return the image that Keras computes for a signature, in the dtype that the file returns.

    Args:
        function: `Signature.function`.
        kind: dtype of the image, uint8 or float32.
        inputs: a tensor for each input of the signature.
    """
    return convert_output(function(**inputs), kind)


def measure_milliseconds(call: Callable) -> float:
    """Call a function repeatedly and return the shortest time of a call in milliseconds.

    The first call, which may be slow, does not count. The shortest time is used because other work
    on the machine can only make calls slower.

    call: function without arguments.
    """
    call()
    taken: list[float] = []
    while len(taken) < _ROUNDS and sum(taken) < _SECONDS:
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return round(1000 * min(taken), 3)


def require(rows: Sequence[Row], least: float, what: str, advice: str | None = None) -> None:
    """Raise UserError if the PSNR of a signature is too low.

    Args:
        rows: the rows of `compare`.
        least: lowest PSNR in dB that is accepted.
        what: name of the file, for the message.
        advice: what to type instead, for the message; None: a finer quantisation.
    """
    if bad := [r for r in rows if r.psnr is not None and r.psnr < least]:
        worst = min(bad, key=lambda r: r.psnr)
        raise UserError(
            f"{what}: {worst.signature} differs from Keras by up to {worst.max_difference} of 255, PSNR {worst.psnr} dB; "
            f"expected {least:.0f} dB or more. Nothing was written. "
            + (advice or f"Choose a finer --quantize: {', '.join(litert.QUANTIZATIONS)}.")
        )

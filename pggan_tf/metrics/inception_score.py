"""Inception Score (Salimans et al. 2016, section 4). Higher is better.

It is exp of the mean divergence between an image's class probabilities and those of all images:
mean and standard deviation over 10 splits. The probabilities are a softmax over 1008 logits without
their bias; the training images of CIFAR-10 have 11.237. The images are shuffled first, as sets
often come sorted by class.
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

from pggan_tf.metrics import Figure

SPLITS, SEED = 10, 2020


def compute_score(logits: np.ndarray, splits: int = SPLITS) -> tuple[float, float]:
    """Return mean and standard deviation over the splits of logits [N, K]."""
    scores, order = [], np.random.RandomState(SEED).permutation(len(logits))
    for i in range(splits):
        part = logits[order[i * len(logits) // splits : (i + 1) * len(logits) // splits]]
        part = log_softmax(np.asarray(part, np.float64), axis=1)
        mean = np.exp(part).mean(axis=0, keepdims=True)
        divergence = np.exp(part) * (part - np.log(np.maximum(mean, 1e-300)))
        scores.append(np.exp(divergence.sum(axis=1).mean()))
    return float(np.mean(scores)), float(np.std(scores))


def compute(real, fake) -> dict[str, Figure]:
    """Compute the score of the second of two `sets.SetStatistics`, by its logits."""
    value, spread = compute_score(fake.logits, min(SPLITS, len(fake.logits)))
    return {"is": Figure(value, spread, images=len(fake.logits))}

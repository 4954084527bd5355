"""Inception Score (Salimans et al. 2016, section 4). Higher is better.

The score is exp of the mean KL divergence between the class probabilities of an image and the mean
probabilities of all images. Its mean and standard deviation over 10 splits are reported. The
probabilities are the softmax of the 1008 logits without bias; the training images of CIFAR-10 have
a score of 11.237. The images are shuffled before they are split, because sets are often sorted by
class.
"""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

from pggan_tf.metrics import Figure

SPLITS, SEED = 10, 2020


def compute_score(logits: np.ndarray, splits: int = SPLITS) -> tuple[float, float]:
    """Return the mean and standard deviation of the score over splits of logits [N, K]."""
    scores, order = [], np.random.RandomState(SEED).permutation(len(logits))
    for i in range(splits):
        part = logits[order[i * len(logits) // splits : (i + 1) * len(logits) // splits]]
        part = log_softmax(np.asarray(part, np.float64), axis=1)
        mean = np.exp(part).mean(axis=0, keepdims=True)
        divergence = np.exp(part) * (part - np.log(np.maximum(mean, 1e-300)))
        scores.append(np.exp(divergence.sum(axis=1).mean()))
    return float(np.mean(scores)), float(np.std(scores))


def compute(real, fake) -> dict[str, Figure]:
    """Compute the score of `fake`, a `sets.SetStatistics`, as {"is": ...}. `real` is not used."""
    value, spread = compute_score(fake.logits, min(SPLITS, len(fake.logits)))
    return {"is": Figure(value, spread, images=len(fake.logits))}

"""Inception Score (Salimans et al. 2016, section 4): exp of the mean divergence between an image's class probabilities and
those of all, over splits. Higher is better. Softmax over 1008 logits without their bias; 10 splits."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

SPLITS = 10


def inception_score(logits: np.ndarray, splits: int = SPLITS) -> tuple[float, float]:
    """[N, K] -> mean and standard deviation over the splits."""
    log_p = log_softmax(np.asarray(logits, np.float64), axis=1)
    scores = []
    for i in range(splits):
        part = log_p[i * len(log_p) // splits : (i + 1) * len(log_p) // splits]
        mean = np.exp(part).mean(axis=0, keepdims=True)
        with np.errstate(divide="ignore"):
            divergence = np.exp(part) * (part - np.log(np.maximum(mean, 1e-300)))
        scores.append(np.exp(divergence.sum(axis=1).mean()))
    return float(np.mean(scores)), float(np.std(scores))

"""Probabilities as log probabilities: what meta-learners and Bayesian fusion are given."""

from __future__ import annotations

import numpy as np

from hybrid_ray.types import AnyArray

FLOOR = 1e-7
"""Probabilities are kept this far from 0, so that one sure and wrong member does not decide alone."""


def centred_logits(outputs: AnyArray) -> AnyArray:
    """Log probabilities float64 (n, C), the mean of each row taken off."""
    logs = np.log(np.maximum(np.asarray(outputs, np.float64), FLOOR))
    centred: AnyArray = logs - logs.mean(axis=1, keepdims=True)
    return centred

"""How wrong each answer was, once its label came: what versions are compared by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hybrid_ray.serving.verdict import Tally
from hybrid_ray.types import AnyArray


def row_losses(outputs: AnyArray, labels: Sequence[str | None], classes: Sequence[Any] | None) -> AnyArray:
    """Losses (m,) of the m rows whose label is known.

    Of classes the Brier score, 0 to 2: bounded, and best for who says what they know (Brier, Monthly Weather Review
    1950). Of numbers the absolute error.

    Parameters
    ----------
    outputs : ndarray (n, n_outputs)
    labels : sequence of (str or None)
        As text; one that is none of the classes, or no number, counts as not known.
    classes : sequence or None
        Labels in the order of the outputs; None for numbers.
    """
    if classes is None:
        values = np.array([_number(label) for label in labels])
        known = np.isfinite(values)
        found: AnyArray = np.abs(outputs[known, 0] - values[known])
        return found
    code_of = {str(label): code for code, label in enumerate(classes)}
    codes = np.array([code_of.get(str(label), -1) if label is not None else -1 for label in labels], np.int64)
    known = codes >= 0
    wanted = np.eye(len(classes))[codes[known]]
    losses: AnyArray = ((outputs[known] - wanted) ** 2).sum(axis=1)
    return losses


def with_losses(tally: Tally, losses: AnyArray) -> Tally:
    """A tally with the losses of labelled rows."""
    return tally._replace(labelled=len(losses), loss=float(losses.sum()), squares=float((losses**2).sum()))


def _number(label: str | None) -> float:
    try:
        return float(label) if label is not None else np.nan
    except ValueError:
        return np.nan

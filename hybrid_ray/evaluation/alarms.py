"""What the report says of anomalies: how scores of normal and of anomalous test rows lie, and what is missed."""

from __future__ import annotations

import numpy as np

from hybrid_ray.evaluation.schema import AlarmCard, ScoreBin, Stretch
from hybrid_ray.types import AnyArray

BINS = 40
STRETCHES = 240
"""Stretches of test rows at most: as many points as a chart shows."""


def alarm_card(y: AnyArray, outputs: AnyArray, borne: float, threshold: float | None) -> AlarmCard:
    """Measure scores of test rows.

    Parameters
    ----------
    y : ndarray (n,)
        0 normal, 1 anomalous.
    outputs : ndarray (n, 2)
        Column 1 is the score.
    borne : float
        False alarms that the threshold was chosen by.
    threshold : float or None
        The fused score that became 0.5.

    Returns
    -------
    AlarmCard
    """
    scores, bad = outputs[:, 1], np.asarray(y) == 1
    alarms = outputs.argmax(axis=1) == 1
    edges = np.linspace(0, 1, BINS + 1)
    counts = [np.histogram(np.clip(scores[rows], 0, 1), edges)[0] for rows in (~bad, bad)]
    share, raised = float(bad.mean()), float(alarms.mean())
    parts = np.array_split(np.arange(len(scores)), min(STRETCHES, len(scores)))
    return AlarmCard(
        borne=borne,
        threshold=threshold,
        normal=int((~bad).sum()),
        anomalous=int(bad.sum()),
        false_alarms=int((alarms & ~bad).sum()),
        missed=int((bad & ~alarms).sum()),
        all_f1=_f1(share, 1.0),
        random_f1=_f1(share, raised),
        bins=[
            ScoreBin(low=float(a), high=float(b), normal=int(n), anomalous=int(m))
            for a, b, n, m in zip(edges[:-1], edges[1:], *counts, strict=True)
        ],
        stretches=[
            Stretch(rows=len(rows), score=float(scores[rows].mean()), anomalous=float(bad[rows].mean()))
            for rows in parts
        ],
    )


def _f1(share: float, raised: float) -> float:
    """Expected F1 of alarms that know nothing: they are right as often as rows are anomalous."""
    return 2 * share * raised / (share + raised) if share else 0.0

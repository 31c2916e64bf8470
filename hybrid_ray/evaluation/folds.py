"""The best candidates of a search, compared over the folds that all of them were held out by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from hybrid_ray.evaluation.metrics import Metric
from hybrid_ray.evaluation.schema import FoldRow, FoldTests
from hybrid_ray.evaluation.significance import corrected_resampled_t, friedman, holm, repeated_anova

MOST = 10
"""Candidates that are compared: with more, no difference of ranks over a few folds is significant."""


def compare_folds(
    scores: Mapping[str, Sequence[float]], metric: Metric, n_train: float, n_test: float
) -> FoldTests | None:
    """Tests over the folds.

    Parameters
    ----------
    scores : mapping of str to sequence of float
        Score on each fold, by the candidate's label, best mean first; the first ``MOST`` are compared.
    metric : Metric
    n_train, n_test : float
        Mean numbers of training rows and held-out rows of a fold.

    Returns
    -------
    FoldTests or None
        None where fewer than three candidates have at least two folds, or a score is not defined.
    """
    table = {label: np.asarray(values, np.float64) for label, values in list(scores.items())[:MOST]}
    folds = min((len(values) for values in table.values()), default=0)
    if len(table) < 3 or folds < 2 or not all(np.isfinite(values).all() for values in table.values()):
        return None
    ranks = friedman(table, metric.direction)
    best = next(iter(table))
    sign = 1.0 if metric.direction == "maximize" else -1.0
    gains = {label: sign * (values - table[best]) for label, values in table.items()}
    others = [label for label in table if label != best]
    p_values = holm([corrected_resampled_t(gains[label], n_train, n_test).p_value for label in others])
    p_of = dict(zip(others, p_values, strict=True))
    same = set(ranks.same_as_best())
    return FoldTests(
        folds=folds,
        rows=[
            FoldRow(
                label=label, rank=rank, gain=float(gains[label].mean()), p_value=p_of.get(label), same=label in same
            )
            for label, rank in ranks.ranks.items()
        ],
        friedman_p=ranks.p_value,
        critical_difference=ranks.critical_difference,
        anova_p=repeated_anova(table).p_value,
    )

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
    scores: Mapping[str, Sequence[float]],
    metric: Metric,
    n_train: float,
    n_test: float,
    folds: int | None = None,
    note: str = "",
) -> FoldTests | None:
    """Tests over the folds, of one cut of the rows or of several.

    Ranks and the analysis of variance are of the folds that all candidates share, a t test of those that the two share.

    Parameters
    ----------
    scores : mapping of str to sequence of float
        Score on each fold, one cut after another, by the candidate's label, best first; the first ``MOST`` are
        compared. A candidate may have fewer cuts than others.
    metric : Metric
    n_train, n_test : float
        Mean numbers of training rows and held-out rows of a fold.
    folds : int, optional
        Scores of one cut; default: what all candidates have is one cut.
    note : str, optional
        What a reader must know of the cuts.

    Returns
    -------
    FoldTests or None
        None where fewer than three candidates have at least two folds, or a score is not defined.
    """
    table = {label: np.asarray(values, np.float64) for label, values in list(scores.items())[:MOST]}
    shared = min((len(values) for values in table.values()), default=0)
    if len(table) < 3 or shared < 2 or not all(np.isfinite(values).all() for values in table.values()):
        return None
    folds = folds or shared
    common = {label: values[:shared] for label, values in table.items()}
    ranks = friedman(common, metric.direction)
    best = next(iter(table))
    sign = 1.0 if metric.direction == "maximize" else -1.0
    both = {label: min(len(values), len(table[best])) for label, values in table.items()}
    gains = {label: sign * (table[label][:n] - table[best][:n]) for label, n in both.items()}
    tests = {label: corrected_resampled_t(gains[label], n_train, n_test) for label in table if label != best}
    p_of = dict(zip(tests, holm([test.p_value for test in tests.values()]), strict=True))
    same = set(ranks.same_as_best())
    return FoldTests(
        folds=folds,
        cuts=shared // folds,
        note=note,
        rows=[
            FoldRow(
                label=label,
                rank=rank,
                gain=float(gains[label].mean()),
                low=tests[label].low if label in tests else None,
                high=tests[label].high if label in tests else None,
                p_value=p_of.get(label),
                cuts=both[label] // folds,
                same=label in same,
            )
            for label, rank in ranks.ranks.items()
        ],
        friedman_p=ranks.p_value,
        critical_difference=ranks.critical_difference,
        anova_p=repeated_anova(common).p_value,
    )

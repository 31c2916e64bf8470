"""Whether differences are more than chance: two classifiers on the same rows, candidates on the same folds.

References
----------
Dietterich, "Approximate statistical tests for comparing supervised classification learning algorithms", Neural
Computation 1998.
Nadeau and Bengio, "Inference for the generalization error", Machine Learning 2003.
Demšar, "Statistical comparisons of classifiers over multiple data sets", JMLR 2006.
Obuchowski, "On the comparison of correlated proportions for clustered data", Statistics in Medicine 1998.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from hybrid_ray.evaluation.ties import Ties
from hybrid_ray.types import AnyArray, Direction

EXACT_BELOW = 25
"""Rows that only one of two gets right, below which McNemar's test is the exact binomial one."""
_EXACT_WORK = 20_000_000
"""Groups of rows times rows that only one of two gets right, up to which swaps of whole groups are counted exactly."""


class PairedTest(NamedTuple):
    """A test of one difference.

    Attributes
    ----------
    statistic : float
        NaN where nothing differs.
    p_value : float
        Two-sided.
    """

    statistic: float
    p_value: float


class ResampledT(NamedTuple):
    """Nadeau and Bengio's t test of one difference.

    Attributes
    ----------
    statistic : float
        NaN where nothing differs.
    p_value : float
        Two-sided.
    low, high : float
        Ends of the 95 % interval of the mean difference, by the same variance.
    """

    statistic: float
    p_value: float
    low: float
    high: float


class McNemar(NamedTuple):
    """Two classifiers on the same rows.

    Attributes
    ----------
    first_only, second_only : int
        Rows that only the first, or only the second, got right.
    p_value : float
    """

    first_only: int
    second_only: int
    p_value: float


class RankTest(NamedTuple):
    """Friedman's test over candidates, and what of it is owed to which pair.

    Attributes
    ----------
    ranks : dict of str to float
        Mean rank over the folds; 1 is best. Best first.
    statistic, p_value : float
        Of the hypothesis that all candidates are the same.
    critical_difference : float
        Mean ranks that differ by more differ significantly at 5 % (Nemenyi).
    """

    ranks: dict[str, float]
    statistic: float
    p_value: float
    critical_difference: float

    def same_as_best(self) -> list[str]:
        """Names that cannot be told from the one of the best mean rank."""
        best = min(self.ranks.values())
        return [name for name, rank in self.ranks.items() if rank - best <= self.critical_difference]


def mcnemar(y: AnyArray, first: AnyArray, second: AnyArray, ties: Ties | None = None) -> McNemar:
    """McNemar's test of two classifiers on the same rows.

    Where rows go together, the two are swapped in whole groups of them: if neither is better, either is as likely to be
    the one with more rows of a group. Many groups are tested by the normal law of the same sum (Obuchowski).

    Parameters
    ----------
    y : ndarray of int (n,)
        Class codes.
    first, second : ndarray (n, C)
        Probabilities; the most probable class is the answer.
    ties : Ties, optional
        Which rows go together; default: row by row.
    """
    from statsmodels.stats.contingency_tables import mcnemar as test

    right = [np.asarray(outputs).argmax(axis=1) == y for outputs in (first, second)]
    first_only, second_only = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
    if first_only + second_only == 0:
        return McNemar(0, 0, 1.0)
    if ties is not None:
        more = np.bincount(ties.codes, right[0].astype(np.float64) - right[1], ties.n).astype(np.int64)
        return McNemar(first_only, second_only, _swapped(more[more != 0]))
    table = [[0, first_only], [second_only, 0]]
    found = test(table, exact=first_only + second_only < EXACT_BELOW, correction=True)
    return McNemar(first_only, second_only, float(found.pvalue))


def _swapped(differences: AnyArray) -> float:
    """Two-sided p value of the sum of whole numbers (k,), none 0, each of which might as well have the other sign."""
    from scipy.stats import norm

    sizes, reach = np.abs(differences), int(np.abs(differences).sum())
    seen = abs(int(differences.sum()))
    if len(sizes) * reach > _EXACT_WORK:
        return float(2 * norm.sf(seen / np.sqrt(np.square(sizes).sum())))
    # Chances of the sums -reach to reach: each number goes half of the way up, half of it down.
    chances = np.zeros(2 * reach + 1)
    chances[reach] = 1.0
    for size in sizes.tolist():
        chances = (np.roll(chances, size) + np.roll(chances, -size)) / 2
    return min(1.0, float(chances[np.abs(np.arange(-reach, reach + 1)) >= seen].sum()))


def corrected_resampled_t(differences: AnyArray, n_train: float, n_test: float) -> ResampledT:
    """Nadeau and Bengio's t test of differences over folds, repeated or not.

    Folds share training rows, so that their differences are not independent; the variance is widened by
    ``n_test / n_train``. Without that a plain paired t test finds far too many differences.

    Parameters
    ----------
    differences : ndarray (k,)
        Score of one less score of the other, by fold of every cut (r cuts of the rows into folds give r times as many);
        k at least 2.
    n_train, n_test : float
        Mean numbers of training rows and held-out rows of a fold.

    Raises
    ------
    ValueError
        Fewer than two folds, or no training rows.
    """
    from scipy.stats import t

    values = np.asarray(differences, np.float64)
    k = len(values)
    if k < 2 or n_train <= 0:
        raise ValueError(f"corrected t test: must have 2 folds and training rows; got {k} folds, {n_train} rows")
    mean, variance = float(values.mean()), float(values.var(ddof=1)) * (1.0 / k + n_test / n_train)
    if variance == 0:
        return ResampledT(float("inf") if mean else float("nan"), 0.0 if mean else 1.0, mean, mean)
    statistic, reach = mean / variance**0.5, float(t.ppf(0.975, k - 1)) * variance**0.5
    return ResampledT(statistic, float(2 * t.sf(abs(statistic), k - 1)), mean - reach, mean + reach)


def holm(p_values: Sequence[float]) -> list[float]:
    """P values of several tests, each made larger so that all of them together err in 5 % of cases (Holm).

    A NaN stays one, and counts as no test.
    """
    from statsmodels.stats.multitest import multipletests

    values = np.asarray(p_values, np.float64)
    known = np.isfinite(values)
    if known.any():
        values[known] = multipletests(values[known], method="holm")[1]
    return [float(value) for value in values]


def friedman(scores: Mapping[str, AnyArray], direction: Direction) -> RankTest:
    """Friedman's test over the folds that candidates share, and Nemenyi's critical difference.

    Parameters
    ----------
    scores : mapping of str to ndarray (k,)
        Score of each candidate on each fold; three candidates at least.
    direction : {"maximize", "minimize"}

    Raises
    ------
    ValueError
        Fewer than three candidates, or than two folds.
    """
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    table = np.array([np.asarray(values, np.float64) for values in scores.values()])
    m, k = table.shape if table.ndim == 2 else (len(scores), 0)
    if m < 3 or k < 2:
        raise ValueError(f"friedman: must have 3 candidates and 2 folds; got {m} and {k}")
    losses = -table if direction == "maximize" else table
    ranks = rankdata(losses, axis=0).mean(axis=1)
    same = bool((losses == losses[:1]).all())
    found = (float("nan"), 1.0) if same else friedmanchisquare(*losses)
    quantile = float(studentized_range.ppf(0.95, m, np.inf)) / 2**0.5
    order = np.argsort(ranks, kind="stable")
    names = list(scores)
    return RankTest(
        {names[i]: float(ranks[i]) for i in order},
        float(found[0]),
        float(found[1]),
        quantile * (m * (m + 1) / (6.0 * k)) ** 0.5,
    )


def repeated_anova(scores: Mapping[str, AnyArray]) -> PairedTest:
    """Analysis of variance with repeated measures: candidates differ within the folds that they share.

    Parameters
    ----------
    scores : mapping of str to ndarray (k,)
        Score of each candidate on each fold; two candidates and two folds at least.

    Returns
    -------
    PairedTest
        The F statistic and its p value.

    Raises
    ------
    ValueError
        Fewer than two candidates, or than two folds.
    """
    import pandas as pd
    from statsmodels.stats.anova import AnovaRM

    rows = [(name, fold, float(v)) for name, values in scores.items() for fold, v in enumerate(values)]
    frame = pd.DataFrame(rows, columns=["candidate", "fold", "score"])
    m, k = frame["candidate"].nunique(), frame["fold"].nunique()
    if m < 2 or k < 2:
        raise ValueError(f"anova: must have 2 candidates and 2 folds; got {m} and {k}")
    table = frame.pivot_table(index="fold", columns="candidate", values="score").to_numpy()
    effects = table - table.mean(axis=1, keepdims=True)
    if np.allclose(effects, effects.mean(axis=0), rtol=0, atol=1e-15):  # candidates differ by a constant, or not at all
        same = bool(np.allclose(effects, 0.0, rtol=0, atol=1e-15))
        return PairedTest(float("nan") if same else float("inf"), 1.0 if same else 0.0)
    row = AnovaRM(frame, "score", "fold", within=["candidate"]).fit().anova_table.iloc[0]
    return PairedTest(float(row["F Value"]), float(row["Pr > F"]))

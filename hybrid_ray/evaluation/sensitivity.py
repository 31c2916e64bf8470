"""How much each choice of a search matters: importance of parameters, learners, blocks and fusions, from its trials.

A random forest learns the rank of a trial's score from its choices. On trials that it has not seen, one choice is
replaced by that of another trial; what the forest then loses, by twice the variance of the ranks, is the choice's
total-effect index (the variance that it accounts for alone and together with others). This is done on many random
divisions of the trials, and the interval allows for their overlap.

The space is conditional: a parameter is there where its learner was chosen. It is replaced among such trials only, and
a choice is replaced together with what hangs on it (an estimator with its parameters). Its index is given twice: of all
trials, and of those in which it was open. Optuna's evaluators (functional
ANOVA, PED-ANOVA, mean decrease of impurity) take the parameters that all trials share, and refuse those whose bounds
differ between trials, so that most of this space would be left out.

References
----------
Hutter, Hoos and Leyton-Brown, "An efficient approach for assessing hyperparameter importance", ICML 2014: importance by
a random forest over trials.
Jansen, "Analysis of variance designs for model output", Computer Physics Communications 1999: the total-effect index.
Gregorutti, Michel and Saint-Pierre, "Correlation and variable importance in random forests", Statistics and Computing
2017: it is half the permutation importance.
Nadeau and Bengio, "Inference for the generalization error", Machine Learning 2003: the interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hybrid_ray.evaluation.intervals import LEVEL
from hybrid_ray.evaluation.schema import ChoiceRow, Estimate, SensitivityCard
from hybrid_ray.types import AnyArray

LEAST_TRIALS = 20
"""Trials below which nothing is said."""
LEAST_ACTIVE = 8
"""Trials in which a choice must have been open."""
DIVISIONS = 20
HELD_OUT = 0.2
TREES = 40
MOST_TRIALS = 2000
"""Trials that are looked at, spread evenly over the search: what is told of more would be the same, and take longer."""
_DRAWS = 8


def sensitivity(
    choices: Sequence[Mapping[str, Any]],
    scores: AnyArray,
    of: Literal["candidates", "ensembles"],
    seed: int = 0,
) -> SensitivityCard:
    """The importance of every choice of a search.

    Parameters
    ----------
    choices : sequence of mapping
        What each trial chose, by dotted name. A name that is missing was not open; one that begins with another name
        and a dot hangs on it.
    scores : ndarray (n,)
        Finite; which way is better does not matter.
    of : {"candidates", "ensembles"}
    seed : int, default 0

    Returns
    -------
    SensitivityCard
        Without rows where the trials are too few, all score the same, or choices do not tell how a trial scores.
    """
    n = len(choices)
    if n < LEAST_TRIALS or np.ptp(scores) == 0:
        return SensitivityCard(of=of, trials=n)
    if n > MOST_TRIALS:
        kept = np.linspace(0, n - 1, MOST_TRIALS).round().astype(np.int64)
        choices, scores, n = [choices[i] for i in kept], scores[kept], MOST_TRIALS
    from scipy.stats import rankdata

    ranks = rankdata(scores) / n
    table = _Table.of(choices)
    names = table.names()
    rng = np.random.default_rng(seed)
    explained, effects = [], []
    n_test = max(1, round(HELD_OUT * n))
    for _ in range(DIVISIONS):
        order = rng.permutation(n)
        r2, effect = _one_division(table, names, ranks, order[n_test:], order[:n_test], rng)
        explained.append(r2)
        effects.append(effect)
    overlap = n_test / (n - n_test)
    fit = _estimate(np.array(explained), overlap)
    if fit.value is None or fit.value <= 0:
        return SensitivityCard(of=of, trials=n, explained=fit)
    found = np.array(effects)
    rows = []
    for i, name in enumerate(names):
        n_active = int(table.active(name).sum())
        told = [_estimate(each, overlap) if n_active >= LEAST_ACTIVE else None for each in found[:, :, i].T]
        rows.append(ChoiceRow(name=name, trials=n_active, importance=told[0], where_open=told[1]))
    return SensitivityCard(of=of, trials=n, explained=fit, rows=sorted(rows, key=_weight))


def _weight(row: ChoiceRow) -> tuple[bool, float, str]:
    known = row.importance is not None and row.importance.value is not None
    return not known, -float(row.importance.value or 0.0) if row.importance else 0.0, row.name


def _estimate(values: AnyArray, overlap: float) -> Estimate:
    """Mean over divisions and its interval: divisions share trials, which widens the variance (Nadeau and Bengio).

    A NaN is a division without a trial to look at.
    """
    from scipy.stats import t

    values = values[np.isfinite(values)]
    if len(values) < 2:
        return Estimate(value=None)
    k, mean = len(values), float(values.mean())
    reach = float(t.ppf((1 + LEVEL) / 2, k - 1)) * float((values.var(ddof=1) * (1 / k + overlap)) ** 0.5)
    return Estimate(value=mean, low=mean - reach, high=mean + reach)


def _one_division(
    table: _Table, names: Sequence[str], ranks: AnyArray, train: AnyArray, test: AnyArray, rng: np.random.Generator
) -> tuple[float, AnyArray]:
    """Explained share of the variance of unseen trials, and effects (2, n_choices): on all, and on those concerned."""
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(TREES, min_samples_leaf=2, random_state=int(rng.integers(2**31)), n_jobs=1)
    forest.fit(table.values[train], ranks[train])
    losses = (forest.predict(table.values[test]) - ranks[test]) ** 2
    variance = float(ranks.var())
    asked, rows = [], []
    for name in names:
        active = table.active(name)
        changed = test[active[test]]
        donors = rng.choice(np.flatnonzero(active), (_DRAWS, len(changed)))
        replaced = np.repeat(table.values[changed][None], _DRAWS, axis=0)
        columns = table.columns(name)
        replaced[:, :, columns] = table.values[donors][:, :, columns]
        rows.append(active[test])
        asked.append(replaced.reshape(-1, table.values.shape[1]))
    answers = np.split(forest.predict(np.concatenate(asked)), np.cumsum([len(part) for part in asked])[:-1])
    effects = np.full((2, len(names)), np.nan)
    for i, (held, answer) in enumerate(zip(rows, answers, strict=True)):
        lost = ((answer.reshape(_DRAWS, -1) - ranks[test][held]) ** 2 - losses[held]).mean(axis=0)
        effects[0, i] = lost.sum() / (2 * variance * len(test))
        among = float(ranks[table.active(names[i])].var())
        if held.any() and among > 0:
            effects[1, i] = lost.mean() / (2 * among)
    return 1 - float(losses.mean()) / variance, effects


@dataclass(frozen=True)
class _Table:
    """Choices as numbers: a column for each number, one for each value of what is no number.

    Attributes
    ----------
    values : ndarray of float64 (n, d)
        Where a choice was not open it has its most usual value, so that its column does not tell what it hangs on.
    columns_of : dict of str to list of int
    active_of : dict of str to ndarray of bool (n,)
        Trials in which the choice was open.
    """

    values: AnyArray
    columns_of: dict[str, list[int]]
    active_of: dict[str, AnyArray]

    @classmethod
    def of(cls, choices: Sequence[Mapping[str, Any]]) -> _Table:
        columns: list[AnyArray] = []
        columns_of: dict[str, list[int]] = {}
        active_of: dict[str, AnyArray] = {}
        for name in sorted({name for point in choices for name in point}):
            active = np.array([name in point for point in choices])
            encoded = _encoded([point[name] for point in choices if name in point])
            if encoded is None:
                continue
            columns_of[name] = list(range(len(columns), len(columns) + len(encoded)))
            active_of[name] = active
            for known, usual in encoded:
                column = np.full(len(choices), usual)
                column[active] = known
                columns.append(column)
        values = np.stack(columns, axis=1) if columns else np.zeros((len(choices), 1))
        return cls(values, columns_of, active_of)

    def names(self) -> list[str]:
        """Choices that were open, and groups of several that have no choice of their own (``blocks``)."""
        groups = [name.partition(".")[0] for name in self.columns_of]
        several = {group for group in groups if group not in self.columns_of and groups.count(group) > 1}
        return sorted({*self.columns_of, *several})

    def columns(self, name: str) -> list[int]:
        """Columns of a choice and of all that hangs on it."""
        return [i for other, held in self.columns_of.items() if _hangs(other, name) for i in held]

    def active(self, name: str) -> AnyArray:
        """Trials in which a choice was open."""
        if name in self.active_of:
            return self.active_of[name]
        below = [held for other, held in self.active_of.items() if _hangs(other, name)]
        found: AnyArray = np.any(below, axis=0)
        return found


def _hangs(name: str, on: str) -> bool:
    return name == on or name.startswith(f"{on}.")


def _encoded(values: Sequence[Any]) -> list[tuple[AnyArray, float]] | None:
    """Columns of known values, each with what stands where there is none; None where nothing varies."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        numbers = np.array(values, np.float64)
        return [(numbers, float(np.median(numbers)))] if np.ptp(numbers) > 0 else None
    texts = np.array([repr(value) for value in values])
    kinds, counts = np.unique(texts, return_counts=True)
    if len(kinds) < 2:
        return None
    usual = kinds[counts.argmax()]
    shown = kinds[1:] if len(kinds) == 2 else kinds
    return [((texts == kind).astype(np.float64), float(kind == usual)) for kind in shown]

"""The library of out-of-fold predictions: made once by the candidates, reused by every ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np

from hybrid_ray.candidate import Candidate
from hybrid_ray.evaluation.metrics import Metric
from hybrid_ray.search.data import FoldedData
from hybrid_ray.search.trials import TrialRecord
from hybrid_ray.store.ledger import Ledger
from hybrid_ray.types import AnyArray, Task

MAX_CANDIDATES = 64
"""Candidates that a library holds at most: memory is their number times the rows times the classes."""


@dataclass(frozen=True)
class OofLibrary:
    """Out-of-fold predictions of complete candidates, rows in fold order.

    Attributes
    ----------
    task : Task
    metric : Metric
    candidates : dict of str to Candidate
        By member name, best first.
    outputs : ndarray (m, n, n_outputs)
        Out-of-fold predictions of each candidate for the rows that were held out by some fold.
    y : ndarray (n,)
    bounds : tuple of int
        Part i holds the rows ``bounds[i]:bounds[i + 1]``; a part is a fold, or half of the only one.
    forward : bool
        True for time: a part may learn from earlier parts only.
    scores : ndarray (m, n_parts)
        The metric of each candidate on each part.
    groups : ndarray of int (n,) or None
        Rows of one number go together in what a combiner holds out of its own rows; None: every row is its own.
    """

    task: Task
    metric: Metric
    candidates: dict[str, Candidate]
    outputs: AnyArray
    y: AnyArray
    bounds: tuple[int, ...]
    forward: bool
    scores: AnyArray
    groups: AnyArray | None = None

    @classmethod
    def of(
        cls,
        task: Task,
        metric: Metric,
        candidates: dict[str, Candidate],
        outputs: AnyArray,
        y: AnyArray,
        bounds: Sequence[int],
        forward: bool = False,
        groups: AnyArray | None = None,
    ) -> Self:
        """A library with its scores computed."""
        if len(bounds) == 2:
            bounds = (bounds[0], (bounds[0] + bounds[1]) // 2, bounds[1])
        parts = [slice(int(a), int(b)) for a, b in pairwise(bounds)]
        scores = np.array([[metric.score(y[part], member[part]) for part in parts] for member in outputs])
        return cls(task, metric, candidates, outputs, y, tuple(int(b) for b in bounds), forward, scores, groups)

    @property
    def names(self) -> list[str]:
        """Member names, best candidate first: the order of ``outputs`` and ``scores``."""
        return list(self.candidates)

    @property
    def parts(self) -> range:
        """Numbers of the parts."""
        return range(len(self.bounds) - 1)

    @property
    def scored(self) -> range:
        """Parts that an ensemble is scored on: all, or for time all but the first, which nothing precedes."""
        return self.parts[1:] if self.forward else self.parts

    def learned_from(self, part: int) -> list[int]:
        """Parts that an ensemble scored on ``part`` may learn from."""
        return [p for p in self.parts if (p < part if self.forward else p != part)]

    def rows(self, parts: Sequence[int]) -> AnyArray:
        """Row numbers of some parts, in order."""
        return np.concatenate([np.arange(self.bounds[p], self.bounds[p + 1]) for p in parts])

    def members(self, names: Sequence[str], rows: AnyArray | slice = slice(None)) -> dict[str, AnyArray]:
        """Outputs of some candidates for some rows, by member name."""
        index = {name: i for i, name in enumerate(self.candidates)}
        return {name: self.outputs[index[name]][rows] for name in names}


def member_names(candidates: Sequence[Candidate]) -> list[str]:
    """A short name for each candidate; two that would have the same get more digits of their keys."""
    labels = [candidate.label for candidate in candidates]
    return [
        label if labels.count(label) == 1 else f"{label}{candidate.key[4:12]}"
        for label, candidate in zip(labels, candidates, strict=True)
    ]


def admitted(trials: Sequence[TrialRecord], limit: int) -> list[TrialRecord]:
    """The trials whose candidates a library holds, best first: the best of each kind before the second best of any.

    A kind is a family of learners on a set of blocks. A long search ends among candidates that hardly differ: taken by
    score alone, they would leave no room for those that an ensemble gains by.

    Parameters
    ----------
    trials : sequence of TrialRecord
        Best first.
    limit : int
    """
    turns: dict[tuple[str, tuple[str, ...]], int] = {}
    places: list[tuple[int, int]] = []
    for place, trial in enumerate(trials):
        kind = (trial.candidate.estimator, trial.candidate.blocks)
        turns[kind] = turns.get(kind, 0) + 1
        places.append((turns[kind], place))
    return [trials[place] for place in sorted(place for _, place in sorted(places)[:limit])]


def build_library(
    trials: Sequence[TrialRecord], folded: FoldedData, metric: Metric, ledger: Ledger, limit: int = MAX_CANDIDATES
) -> OofLibrary:
    """Read the out-of-fold predictions of a search's best candidates from the ledger.

    Parameters
    ----------
    trials : sequence of TrialRecord
        With all folds, best first.
    folded : FoldedData
    metric : Metric
    ledger : Ledger
    limit : int
        Candidates to keep, see ``admitted``.

    Returns
    -------
    OofLibrary
    """
    kept = admitted(trials, limit)
    names = member_names([trial.candidate for trial in kept])
    scored = folded.scored
    outputs = np.empty((len(kept), scored.stop - scored.start, folded.n_outputs), np.float64)
    bounds = [int(folded.bounds[fold]) - scored.start for fold in (*folded.folds, folded.folds.stop)]
    for member, trial in zip(outputs, kept, strict=True):
        for (start, stop), key in zip(pairwise(bounds), trial.keys, strict=True):
            member[start:stop] = ledger.oof(key)
    candidates = {name: trial.candidate for name, trial in zip(names, kept, strict=True)}
    y, groups = np.asarray(folded.y)[scored], None if folded.groups is None else folded.groups[scored]
    return OofLibrary.of(folded.task, metric, candidates, outputs, y, bounds, folded.forward, groups)

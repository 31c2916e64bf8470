"""Rows of rare classes, made between neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from hybrid_ray.estimators.base import Trial
from hybrid_ray.params import PluginParams
from hybrid_ray.preparation.balance import RATIOS, RaiseParams, balance_starts, suggest_correct
from hybrid_ray.preparation.columns import standardised
from hybrid_ray.preparation.made import MakingStep, Wanted
from hybrid_ray.registry import PREPARATIONS
from hybrid_ray.types import AnyArray, FloatArray, Task

NEIGHBOURS = (3, 5, 9)


class SmoteParams(RaiseParams):
    """Parameters of :class:`Smote`."""

    neighbours: int = Field(5, ge=1, le=100)
    """Nearest rows of the same class that a new row may lie towards; fewer in a class of fewer rows."""


@PREPARATIONS.register("smote")
class Smote(MakingStep):
    """Rows of small classes added between a row and one of its nearest neighbours of the same class.

    Neighbours are found on all blocks side by side, every column standardised. A column of two values gets the nearer
    of them: nothing is half a category. Rows that lack a block have no neighbours: they are repeated instead, and so is
    a class of a single row. A learner that holds out some of its rows to stop early finds neighbours of them among the
    others, and stops later than it should.

    References
    ----------
    Chawla et al., "SMOTE: synthetic minority over-sampling technique", JAIR 2002.
    """

    Params = SmoteParams

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """All classes alike, and half as many."""
        yield SmoteParams()
        yield SmoteParams(ratio=0.5, neighbours=2, correct=False)

    @property
    def fewest(self) -> int:
        """A row and a neighbour."""
        return 2

    def make(self, X: FloatArray, y: AnyArray, wanted: Wanted, seed: int) -> tuple[AnyArray, AnyArray]:
        """Rows between neighbours of their class."""
        from imblearn.over_sampling import SMOTE

        scaled, mean, deviation = standardised(X)
        alike: dict[int, dict[Any, int]] = {}
        for code, new in wanted.items():
            own = int((y == code).sum())
            alike.setdefault(min(self.params.neighbours, own - 1), {})[code] = own + new
        made, codes = [], []
        for neighbours, some in alike.items():
            sampler = SMOTE(sampling_strategy=some, k_neighbors=neighbours, random_state=seed % 2**32)
            both, labels = sampler.fit_resample(scaled, y)
            made.append(both[len(X) :])
            codes.append(labels[len(X) :])
        return np.concatenate(made) * deviation + mean, np.concatenate(codes)

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """Neighbours, how even classes become, and whether probabilities are put back."""
        return {
            "ratio": trial.suggest_categorical("ratio", RATIOS),
            "neighbours": trial.suggest_categorical("neighbours", NEIGHBOURS),
        } | suggest_correct(trial)

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """All classes alike, from five neighbours."""
        return [{**start, "neighbours": 5} for start in balance_starts()]

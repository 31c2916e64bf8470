"""Decision-level fusion by a weighted geometric mean of class probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field

from hybrid_ray.estimators.base import Trial
from hybrid_ray.fusion.scoring import Scoring
from hybrid_ray.fusion.weighted import WeightedFusion, without_negligible
from hybrid_ray.fusion.weights import convex_log_pool
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import CLASSIFICATION, AnyArray, Task

FLOOR = 1e-7
"""Probabilities are kept this far from 0: in a product one member that is sure and wrong would decide alone."""
MAX_SHRINKAGE = 0.5


class LogPoolParams(PluginParams):
    """Parameters of :class:`LogPool`."""

    solver: Literal["convex", "uniform"] = "convex"
    """convex: the best weights there are; uniform: the same for all."""
    regularisation: float = Field(0.0, ge=0, le=1)
    """convex only: share of the weight that is spread evenly over the members that have weight."""


@FUSIONS.register("log_pool")
class LogPool(WeightedFusion):
    """Logarithmic opinion pool: the product of the members' probabilities, each to the power of its weight.

    Where members differ, it is surer than the linear pool, which is always less sure than its members are together.

    References
    ----------
    Genest and Zidek, "Combining probability distributions: a critique and an annotated bibliography", Statistical
    Science 1986; Heskes, "Selecting weighting factors in logarithmic opinion pools", NIPS 1997.
    """

    tasks = CLASSIFICATION
    Params = LogPoolParams

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Each solver, and weights pulled together."""
        yield LogPoolParams()
        yield LogPoolParams(solver="uniform")
        yield LogPoolParams(regularisation=0.3)

    def fit(
        self, inputs: Mapping[str, AnyArray], y: AnyArray, task: Task, seed: int = 0, metric: Scoring | None = None
    ) -> Self:
        """Solve for the weights; nothing is drawn, so ``seed`` has no effect."""
        names = sorted(inputs)
        if self.params.solver == "uniform":
            self._keep(names, np.ones(len(names)))
            return self
        weights = without_negligible(convex_log_pool(np.stack([_logs(inputs[name]) for name in names]), y))
        used, share = weights > 0, self.params.regularisation
        self._keep(names, np.where(used, (1 - share) * weights / weights.sum() + share / used.sum(), 0.0))
        return self

    def combine(self, inputs: Mapping[str, AnyArray]) -> AnyArray:
        """Class probabilities float64 (n, C).

        Raises
        ------
        KeyError
            A member that has weight is not there.
        """
        from scipy.special import softmax

        used = self._used(inputs)
        if len(used) == 1:
            return np.array(inputs[next(iter(used))], np.float64)
        total = np.zeros(1)
        for name, weight in used.items():
            total = total + weight * _logs(inputs[name])
        proba: AnyArray = softmax(total, axis=1)
        return proba

    @classmethod
    def space(cls, trial: Trial, n_members: int, task: Task) -> dict[str, Any]:
        """The solver, and how far its weights are pulled together."""
        if n_members < 2:
            return {}
        point: dict[str, Any] = {"solver": trial.suggest_categorical("solver", ("convex", "uniform"))}
        if point["solver"] == "convex":
            point["regularisation"] = trial.suggest_float("regularisation", 0.0, MAX_SHRINKAGE)
        return point

    @classmethod
    def portfolio(cls, n_members: int, task: Task) -> Sequence[Mapping[str, Any]]:
        """Weights pulled together a little, then the plain geometric mean."""
        if n_members < 2:
            return [{}]
        return [{"solver": "convex", "regularisation": 0.1}, {"solver": "uniform"}]


def _logs(outputs: AnyArray) -> AnyArray:
    """Log probabilities float64 (n, C)."""
    logs: AnyArray = np.log(np.maximum(np.asarray(outputs, np.float64), FLOOR))
    return logs

"""Decision-level fusion by a weighted mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field

from hybrid_ray.estimators.base import Trial
from hybrid_ray.fusion.pool_problems import PoolProblem, pool_problem
from hybrid_ray.fusion.sampled_weights import sampled_weights
from hybrid_ray.fusion.weighted import WeightedFusion, weighted_mean, without_negligible
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import AnyArray, Task

Solver = Literal["greedy", "convex", "uniform", "tpe", "cmaes"]
SEARCHED: tuple[Solver, ...] = ("greedy", "convex", "uniform")
"""Solvers that a search tries: the samplers cost a hundred times more and reach no better weights."""
MAX_SHRINKAGE = 0.5


class LinearPoolParams(PluginParams):
    """Parameters of :class:`LinearPool`."""

    solver: Solver = "greedy"
    """greedy: selection with replacement; convex: the best weights there are; uniform: the same for all; tpe, cmaes:
    the best of what Optuna's sampler asks for."""
    regularisation: float = Field(0.0, ge=0, le=1)
    """Share of the weight that is spread evenly over the members that have weight."""
    max_members: int | None = Field(None, ge=1)
    """Most members with weight; left out, as many as the solver likes."""
    steps: int = Field(60, ge=1, le=10_000)
    """greedy only: most additions."""
    evaluations: int = Field(200, ge=1, le=100_000)
    """tpe and cmaes only: weights that the sampler asks for."""
    bags: int = Field(1, ge=1, le=1000)
    """Above 1: the weights are the mean of those of so many bootstrap samples of the rows."""


@FUSIONS.register("linear_pool")
class LinearPool(WeightedFusion):
    """Weighted mean of members; the weights minimise log loss, or squared error for numbers.

    References
    ----------
    Caruana et al., "Ensemble selection from libraries of models", ICML 2004.
    """

    pool = True
    Params = LinearPoolParams

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Each solver, with and without its limits."""
        yield LinearPoolParams()
        yield LinearPoolParams(solver="convex")
        yield LinearPoolParams(solver="uniform")
        yield LinearPoolParams(solver="convex", regularisation=0.2, max_members=2)
        yield LinearPoolParams(max_members=1)
        yield LinearPoolParams(bags=5, max_members=3)
        yield LinearPoolParams(solver="tpe", evaluations=20)
        yield LinearPoolParams(solver="cmaes", evaluations=40)

    def fit(self, inputs: Mapping[str, AnyArray], y: AnyArray, task: Task, seed: int = 0) -> Self:
        """Solve for the weights; ``seed`` draws bags and what a sampler asks for."""
        names = sorted(inputs)
        weights = self._solve(pool_problem(inputs, names, y, task), seed)
        used = weights > 0
        share = self.params.regularisation
        self._keep(names, np.where(used, (1 - share) * weights + share / used.sum(), 0.0))
        return self

    def _solve(self, problem: PoolProblem, seed: int) -> AnyArray:
        """Weights (m,), with at most ``max_members`` above 0."""
        m = problem.n_members
        most = min(self.params.max_members or m, m)
        weights = without_negligible(self._bagged(problem, most, seed))
        if np.count_nonzero(weights) <= most:
            return weights / weights.sum()
        ranks = np.argsort(problem.alone() if self.params.solver == "uniform" else -weights, kind="stable")
        kept = np.sort(ranks[:most])
        weights = np.zeros(m)
        weights[kept] = self._bagged(problem.of(kept), most, seed)
        return weights

    def _bagged(self, problem: PoolProblem, most: int, seed: int) -> AnyArray:
        """Weights (m,) of all rows, or the mean over bootstrap samples of them."""
        if self.params.bags == 1:
            return self._weigh(problem, most, seed)
        rng = np.random.default_rng(seed)
        n = problem.n_rows
        total = np.zeros(problem.n_members)
        for _ in range(self.params.bags):
            total += self._weigh(problem.drawn(rng.integers(n, size=n)), most, seed)
        return total / self.params.bags

    def _weigh(self, problem: PoolProblem, most: int, seed: int) -> AnyArray:
        """Weights (m,) by the solver; greedy keeps to ``most`` members by itself."""
        solver: Solver = self.params.solver
        if solver == "greedy":
            return problem.greedy(self.params.steps, most)
        if solver == "convex":
            return problem.convex()
        if solver == "uniform":
            return np.full(problem.n_members, 1.0 / problem.n_members)
        return sampled_weights(problem.loss, problem.n_members, solver, self.params.evaluations, seed)

    def combine(self, inputs: Mapping[str, AnyArray]) -> AnyArray:
        """Weighted mean float64 (n, C) or (n, 1) of the members that have weight.

        Raises
        ------
        KeyError
            A member that has weight is not there.
        """
        return weighted_mean(inputs, self._used(inputs))

    @classmethod
    def space(cls, trial: Trial, n_members: int, task: Task) -> dict[str, Any]:
        """The solver, and how far its weights are pulled together."""
        if n_members < 2:
            return {}
        point: dict[str, Any] = {"solver": trial.suggest_categorical("solver", SEARCHED)}
        if point["solver"] != "uniform":
            point["regularisation"] = trial.suggest_float("regularisation", 0.0, MAX_SHRINKAGE)
        return point

    @classmethod
    def portfolio(cls, n_members: int, task: Task) -> Sequence[Mapping[str, Any]]:
        """Greedy first: on held-out rows it is rarely beaten."""
        if n_members < 2:
            return [{}]
        return [
            {"solver": "greedy", "regularisation": 0.0},
            {"solver": "convex", "regularisation": 0.1},
            {"solver": "uniform"},
        ]

"""Decision-level fusion by a weighted mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field

from hybrid_ray.estimators.base import Trial
from hybrid_ray.fusion.pool_problems import PoolProblem, pool_problem
from hybrid_ray.fusion.sampled_weights import sampled_weights
from hybrid_ray.fusion.scoring import Scoring
from hybrid_ray.fusion.weighted import WeightedFusion, weighted_mean, without_negligible
from hybrid_ray.fusion.weights import greedy
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import BOTH, CLUSTERING, FORECASTING, AnyArray, Task

Solver = Literal["greedy", "convex", "uniform", "tpe", "cmaes"]
Objective = Literal["loss", "metric"]
SOLVERS: tuple[Solver, ...] = ("greedy", "convex", "uniform", "cmaes", "tpe")
EVALUATIONS: Mapping[Solver, tuple[int, int]] = {"cmaes": (100, 1000), "tpe": (50, 100)}
"""Weights that a search has a sampler ask for: one costs TPE a hundred times what it costs the others."""
BAGS = (1, 10)
AIMED: tuple[Solver, ...] = ("greedy", "tpe", "cmaes")
"""Solvers that can minimise any loss."""
MAX_SHRINKAGE = 0.5


class LinearPoolParams(PluginParams):
    """Parameters of :class:`LinearPool`."""

    solver: Solver = "greedy"
    """greedy: selection with replacement; convex: the best weights there are; uniform: the same for all; tpe, cmaes:
    the best of what Optuna's sampler, or the package that Optuna's sampler is made of, asks for."""
    objective: Objective = "loss"
    """What the weights minimise; loss: log loss, or squared error for numbers; metric: the metric of the search (convex
    can do that for log_loss, brier_score_loss, root_mean_squared_error and r2, and keeps to the loss for others)."""
    regularisation: float = Field(0.0, ge=0, le=1)
    """Share of the weight that is spread evenly over the members that have weight."""
    max_members: int | None = Field(None, ge=1)
    """Most members with weight; left out, as many as the solver likes."""
    steps: int = Field(60, ge=1, le=10_000)
    """greedy only: most additions."""
    evaluations: int = Field(200, ge=1, le=100_000)
    """tpe and cmaes only: most weights that the sampler asks for."""
    bags: int = Field(1, ge=1, le=1000)
    """Above 1: the weights are the mean of those of so many samples of the rows."""
    bagging: Literal["bootstrap", "folds"] = "bootstrap"
    """What a sample is: rows drawn with replacement, or all rows but one of ``bags`` folds."""


@FUSIONS.register("linear_pool")
class LinearPool(WeightedFusion):
    """Weighted mean of members; the weights minimise log loss, squared error for numbers, MASE, or the search's metric.

    For clustering of one member only, as clusters of two do not correspond.

    References
    ----------
    Caruana et al., "Ensemble selection from libraries of models", ICML 2004; Breiman, "Bagging predictors", Machine
    Learning 1996.
    """

    pool = True
    tasks = BOTH | CLUSTERING | FORECASTING
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
        yield LinearPoolParams(bags=3, bagging="folds", objective="metric")
        yield LinearPoolParams(solver="tpe", evaluations=20)
        yield LinearPoolParams(solver="cmaes", evaluations=40)

    @classmethod
    def effort(cls, params: PluginParams) -> float:
        """A solve for each bag."""
        own: Any = params
        return float(own.bags)

    def fit(
        self, inputs: Mapping[str, AnyArray], y: AnyArray, task: Task, seed: int = 0, metric: Scoring | None = None
    ) -> Self:
        """Solve for the weights; ``seed`` draws bags and what a sampler asks for."""
        names = sorted(inputs)
        aim = metric if self.params.objective == "metric" else None
        # A sole member needs no solving, whatever its outputs are.
        weights = self._solve(pool_problem(inputs, names, y, task, aim), seed) if len(names) > 1 else np.ones(1)
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
        """Weights (m,) of all rows, or the mean over samples of them."""
        if self.params.bags == 1:
            return self._weigh(problem, most, seed)
        samples = list(_samples(problem.n_rows, self.params.bags, self.params.bagging, seed))
        total = np.zeros(problem.n_members)
        for rows in samples:
            total += self._weigh(problem.drawn(rows), most, seed)
        return total / len(samples)

    def _weigh(self, problem: PoolProblem, most: int, seed: int) -> AnyArray:
        """Weights (m,) by the solver; greedy keeps to ``most`` members by itself."""
        solver: Solver = self.params.solver
        if solver == "greedy":
            return greedy(problem.mean(), problem.n_members, self.params.steps, most)
        if solver == "convex":
            return problem.convex()
        if solver == "uniform":
            return np.full(problem.n_members, 1.0 / problem.n_members)
        return sampled_weights(problem.losses, problem.n_members, solver, self.params.evaluations, seed)

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
        """The solver, what it minimises, on how many samples, and how far its weights are pulled together."""
        if n_members < 2:
            return {}
        point: dict[str, Any] = {"solver": trial.suggest_categorical("solver", SOLVERS)}
        if point["solver"] in AIMED:
            point["objective"] = trial.suggest_categorical("objective", ("loss", "metric"))
        if point["solver"] == "greedy":
            point["bags"] = trial.suggest_categorical("bags", BAGS)
        if point["solver"] in EVALUATIONS:
            point["evaluations"] = trial.suggest_int("evaluations", *EVALUATIONS[point["solver"]], log=True)
        if point["solver"] != "uniform":
            point["regularisation"] = trial.suggest_float("regularisation", 0.0, MAX_SHRINKAGE)
        return point

    @classmethod
    def portfolio(cls, n_members: int, task: Task) -> Sequence[Mapping[str, Any]]:
        """Shrunk half-way to equal weights first: on few rows the best of each family are best trusted alike."""
        if n_members < 2:
            return [{}]
        return [
            {"solver": "convex", "regularisation": 0.5},
            {"solver": "greedy", "objective": "loss", "bags": 1, "regularisation": 0.0},
            {"solver": "convex", "regularisation": 0.1},
            {"solver": "uniform"},
            {"solver": "greedy", "objective": "metric", "bags": 1, "regularisation": 0.0},
            {"solver": "cmaes", "objective": "metric", "evaluations": 400, "regularisation": 0.1},
            {"solver": "greedy", "objective": "loss", "bags": 10, "regularisation": 0.0},
            {"solver": "tpe", "objective": "metric", "evaluations": 60, "regularisation": 0.1},
        ]


def _samples(n: int, bags: int, bagging: Literal["bootstrap", "folds"], seed: int) -> Iterator[AnyArray]:
    """Row numbers of each sample of n rows."""
    rng = np.random.default_rng(seed)
    if bagging == "bootstrap":
        yield from (rng.integers(n, size=n) for _ in range(bags))
    else:
        folds = rng.permutation(np.arange(n) % bags)
        yield from (np.flatnonzero(folds != fold) if n > 1 else np.arange(n) for fold in range(min(bags, n)))

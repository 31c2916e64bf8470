"""Decision-level fusion by a weighted mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field

from hybrid_ray.errors import ArtifactError, NotFittedError
from hybrid_ray.estimators.base import Trial
from hybrid_ray.fusion.base import DecisionFusion
from hybrid_ray.fusion.weights import (
    LogLossMean,
    SquaredErrorMean,
    convex_log_loss,
    convex_squared_error,
    greedy,
    true_class,
)
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import AnyArray, State, Task

Solver = Literal["greedy", "convex", "uniform"]
SOLVERS: tuple[Solver, ...] = ("greedy", "convex", "uniform")
MAX_SHRINKAGE = 0.5
_NEGLIGIBLE = 1e-3


class LinearPoolParams(PluginParams):
    """Parameters of :class:`LinearPool`."""

    solver: Solver = "greedy"
    """greedy: selection with replacement; convex: the best weights there are; uniform: the same for all."""
    regularisation: float = Field(0.0, ge=0, le=1)
    """Share of the weight that is spread evenly over the members that have weight."""
    max_members: int | None = Field(None, ge=1)
    """Most members with weight; left out, as many as the solver likes."""
    steps: int = Field(60, ge=1, le=10_000)
    """greedy only: most additions."""


@FUSIONS.register("linear_pool")
class LinearPool(DecisionFusion):
    """Weighted mean of members; the weights minimise log loss, or squared error for numbers.

    References
    ----------
    Caruana et al., "Ensemble selection from libraries of models", ICML 2004.
    """

    pool = True
    Params = LinearPoolParams

    def __init__(self, params: PluginParams) -> None:
        super().__init__(params)
        self._weights: dict[str, float] = {}

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Each solver, with and without its limits."""
        yield LinearPoolParams()
        yield LinearPoolParams(solver="convex")
        yield LinearPoolParams(solver="uniform")
        yield LinearPoolParams(solver="convex", regularisation=0.2, max_members=2)
        yield LinearPoolParams(max_members=1)

    def fit(self, inputs: Mapping[str, AnyArray], y: AnyArray, task: Task, seed: int = 0) -> Self:
        """Solve for the weights; nothing is drawn, so ``seed`` has no effect."""
        names = sorted(inputs)
        if task == "regression":
            errors = np.stack([np.asarray(inputs[name], np.float64)[:, 0] - y for name in names])
            weights = self._solve(_SquaredError(errors @ errors.T / len(y)))
        else:
            weights = self._solve(_LogLoss(np.stack([true_class(inputs[name], y) for name in names])))
        used = weights > 0
        share = self.params.regularisation
        weights = np.where(used, (1 - share) * weights + share / used.sum(), 0.0)
        # Dividing makes the weight of a sole member exactly 1.
        self._weights = dict(zip(names, (weights / weights.sum()).tolist(), strict=True))
        return self

    def _solve(self, problem: _Problem) -> AnyArray:
        """Weights (m,), with at most ``max_members`` above 0."""
        m = problem.n_members
        most = min(self.params.max_members or m, m)
        if self.params.solver == "greedy":
            return problem.greedy(self.params.steps, most)
        weights = problem.convex() if self.params.solver == "convex" else np.full(m, 1.0 / m)
        ranks = np.argsort(-weights if self.params.solver == "convex" else problem.alone(), kind="stable")
        kept = np.sort(ranks[:most])
        kept = kept[weights[kept] > _NEGLIGIBLE / m]
        part = problem.of(kept).convex() if self.params.solver == "convex" else np.ones(len(kept))
        weights = np.zeros(m)
        weights[kept] = part / part.sum()
        return weights

    def combine(self, inputs: Mapping[str, AnyArray]) -> AnyArray:
        """Weighted mean float64 (n, C) or (n, 1) of the members that have weight.

        Raises
        ------
        KeyError
            A member that has weight is not there.
        """
        used = {name: weight for name, weight in self._weights.items() if weight > 0}
        if not used:
            raise NotFittedError("linear_pool: fit must come before combine")
        missing = sorted(set(used) - set(inputs))
        if missing:
            raise KeyError(f"linear_pool: the members {sorted(used)} must be there; missing {missing}")
        names = sorted(used)
        total = np.asarray(inputs[names[0]], np.float64) * used[names[0]]
        for name in names[1:]:
            total += np.asarray(inputs[name], np.float64) * used[name]
        return total

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each member; they sum to 1."""
        return dict(self._weights)

    @classmethod
    def space(cls, trial: Trial, n_members: int, task: Task) -> dict[str, Any]:
        """The solver, and how far its weights are pulled together."""
        if n_members < 2:
            return {}
        point: dict[str, Any] = {"solver": trial.suggest_categorical("solver", SOLVERS)}
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

    def get_state(self) -> State:
        """The weights."""
        return State({"weights": dict(self._weights)})

    @classmethod
    def from_state(cls, params: PluginParams, state: State) -> Self:
        """The fitted pool back."""
        weights = state.meta.get("weights")
        if not isinstance(weights, dict) or not all(isinstance(w, int | float) and w >= 0 for w in weights.values()):
            raise ArtifactError(f"linear_pool: a saved pool must hold weights, none negative; got {weights!r}")
        fusion = cls(params)
        fusion._weights = {str(name): float(weight) for name, weight in weights.items()}
        return fusion


class _LogLoss:
    """Weights for classes: the true-class probabilities (m, n) of the members."""

    def __init__(self, P: AnyArray) -> None:
        self._P = P
        self.n_members = len(P)

    def greedy(self, steps: int, most: int) -> AnyArray:
        return greedy(LogLossMean(self._P), self.n_members, steps, most)

    def convex(self) -> AnyArray:
        return convex_log_loss(self._P)

    def alone(self) -> AnyArray:
        """Loss of each member."""
        losses: AnyArray = -np.log(self._P).mean(axis=1)
        return losses

    def of(self, members: AnyArray) -> _LogLoss:
        return _LogLoss(self._P[members])


class _SquaredError:
    """Weights for numbers: the mean products (m, m) of the members' errors."""

    def __init__(self, gram: AnyArray) -> None:
        self._gram = gram
        self.n_members = len(gram)

    def greedy(self, steps: int, most: int) -> AnyArray:
        return greedy(SquaredErrorMean(self._gram), self.n_members, steps, most)

    def convex(self) -> AnyArray:
        return convex_squared_error(self._gram)

    def alone(self) -> AnyArray:
        """Loss of each member."""
        return np.diag(self._gram)

    def of(self, members: AnyArray) -> _SquaredError:
        return _SquaredError(self._gram[np.ix_(members, members)])


_Problem = _LogLoss | _SquaredError

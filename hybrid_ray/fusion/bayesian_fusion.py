"""Decision-level fusion by Bayes' theorem, from a normal model of what members say given the truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from pydantic import Field

from hybrid_ray.errors import NotFittedError
from hybrid_ray.estimators.base import Trial
from hybrid_ray.fusion.coefficients import CoefficientFusion
from hybrid_ray.fusion.logits import centred_logits
from hybrid_ray.fusion.predictive import NormalMixture
from hybrid_ray.fusion.scoring import Scoring
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import AnyArray, State, Task

MAX_COLUMNS = 2048
"""Members x classes above which members are taken to be independent: the covariance costs the square of it, and its
inverse the cube."""
_RIDGE = 1e-3


class BayesianFusionParams(PluginParams):
    """Parameters of :class:`BayesianFusion`."""

    dependence: float = Field(0.8, ge=0, le=1)
    """How much of the covariance between members is believed: 1: what was measured; 0: members are taken to be
    independent given the truth, so that each adds evidence of its own."""


@FUSIONS.register("bayesian_fusion")
class BayesianFusion(CoefficientFusion):
    """The posterior of the truth, given what all members say.

    For classes the members' centred log probabilities are normal around a mean for each class, with one covariance; for
    numbers the members' errors are normal, and the prior of the number is flat. Members that err together count for
    less than their number.

    References
    ----------
    Winkler, "Combining probability distributions from dependent information sources", Management Science 1981, for
    numbers; Lindley, "Reconciliation of discrete probability distributions", Bayesian Statistics 2, 1985, for classes.
    """

    Params = BayesianFusionParams

    def __init__(self, params: PluginParams) -> None:
        super().__init__(params)
        self._deviation: float | None = None

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Independent members, and dependent ones."""
        yield BayesianFusionParams()
        yield BayesianFusionParams(dependence=0.0)
        yield BayesianFusionParams(dependence=1.0)

    def fit(
        self, inputs: Mapping[str, AnyArray], y: AnyArray, task: Task, seed: int = 0, metric: Scoring | None = None
    ) -> Self:
        """Fit the normal model, O(rows * (members * classes)^2); nothing is drawn, so ``seed`` has no effect."""
        self._names = sorted(inputs)
        self._classes = task != "regression"
        if self._classes:
            said = np.stack([centred_logits(inputs[name]) for name in self._names], axis=1)
            self._coefficients, self._offsets = _posterior_of_classes(said, y, self.params.dependence)
        else:
            values = np.stack([np.asarray(inputs[name], np.float64)[:, 0] for name in self._names], axis=1)
            self._coefficients, self._offsets = _posterior_of_numbers(values, y, self.params.dependence)
        self._deviation = None if self._classes else self._own_deviation(inputs, y)
        return self

    def _own_deviation(self, inputs: Mapping[str, AnyArray], y: AnyArray) -> float:
        """Deviation of the posterior: with the measured covariance it is that of the answer's own errors, here with the
        degrees of freedom that the weights took taken off.
        """
        squares = np.square(self.combine(inputs)[:, 0] - y).sum()
        return max(float(np.sqrt(squares / max(len(y) - len(self._names), 1))), np.finfo(np.float64).tiny)

    def predictive(self, inputs: Mapping[str, AnyArray]) -> NormalMixture | None:
        """For numbers the normal posterior, as wide for every row."""
        if self._deviation is None:
            return None
        return NormalMixture(np.ones(1), self.combine(inputs), np.array([self._deviation]))

    def get_state(self) -> State:
        """Names, coefficients, offsets and, for numbers, the posterior's deviation."""
        state = super().get_state()
        return State(state.meta | {"deviation": self._deviation}, state.tensors)

    @classmethod
    def from_state(cls, params: PluginParams, state: State) -> Self:
        """The fitted fusion back."""
        fusion = super().from_state(params, state)
        deviation = state.meta.get("deviation")
        fusion._deviation = None if deviation is None else float(deviation)
        return fusion

    def combine(self, inputs: Mapping[str, AnyArray]) -> AnyArray:
        """Class probabilities float64 (n, C), or values (n, 1).

        Raises
        ------
        KeyError
            A member is not there.
        """
        from scipy.special import softmax

        if not self._names:
            raise NotFittedError("bayesian_fusion: fit must come before combine")
        self._check_there(self._names, inputs)
        total: AnyArray = np.zeros((1, len(self._offsets))) + self._offsets
        for name, matrix in zip(self._names, self._coefficients, strict=True):
            said = centred_logits(inputs[name]) if self._classes else np.asarray(inputs[name], np.float64)
            total = total + said @ matrix
        if not self._classes:
            return total
        proba: AnyArray = softmax(total, axis=1)
        return proba

    @classmethod
    def space(cls, trial: Trial, n_members: int, task: Task) -> dict[str, Any]:
        """How far members are taken to depend on each other."""
        return {} if n_members < 2 else {"dependence": trial.suggest_float("dependence", 0.0, 1.0)}

    @classmethod
    def portfolio(cls, n_members: int, task: Task) -> Sequence[Mapping[str, Any]]:
        """Dependent first: members of one search err together."""
        return [{}] if n_members < 2 else [{"dependence": share} for share in (0.8, 1.0)]

    def _fault(self) -> str:
        wanted = (len(self._names), len(self._offsets), len(self._offsets))
        found = self._coefficients.shape
        return f"coefficients must be of shape {wanted}; got {found}" if found != wanted else ""


def _posterior_of_classes(said: AnyArray, y: AnyArray, dependence: float) -> tuple[AnyArray, AnyArray]:
    """Coefficients (m, C, C) and offsets (C,) of the posterior's log odds, from logits (n, m, C) and codes (n,)."""
    n, m, n_classes = said.shape
    flat = said.reshape(n, -1)
    counts = np.bincount(y, minlength=n_classes)
    shown = np.zeros((n_classes, flat.shape[1]))
    np.add.at(shown, y, flat)
    # One row of the overall mean in every class: a class that no row shows looks like all rows together.
    centres = (shown + flat.mean(axis=0)) / (counts + 1.0)[:, None]
    solved = _solve(flat - centres[y], centres.T, n_classes, dependence)
    prior = np.log((counts + 1.0) / (n + n_classes))
    offsets: AnyArray = prior - 0.5 * np.einsum("cd,dc->c", centres, solved)
    return np.ascontiguousarray(solved.reshape(m, n_classes, n_classes)), offsets


def _posterior_of_numbers(values: AnyArray, y: AnyArray, dependence: float) -> tuple[AnyArray, AnyArray]:
    """Coefficients (m, 1, 1) and offset (1,) of the posterior mean, from values (n, m) and the truth (n,)."""
    errors = values - y[:, None]
    bias = errors.mean(axis=0)
    spread = max(float(errors.std()), np.finfo(np.float64).tiny)
    solved = _solve((errors - bias) / spread, np.ones((len(bias), 1)), 1, dependence)[:, 0]
    weights = solved / solved.sum()
    return weights[:, None, None].copy(), np.array([-float(weights @ bias)])


def _solve(residuals: AnyArray, right: AnyArray, width: int, dependence: float) -> AnyArray:
    """Inverse covariance of residuals (n, m * width) times ``right`` (m * width, k), members ``width`` columns each."""
    n, columns = residuals.shape
    ridge = _RIDGE * max(float(np.square(residuals).mean()), np.finfo(np.float64).tiny)
    if dependence > 0 and columns <= MAX_COLUMNS:
        covariance = residuals.T @ residuals / n
        member = np.arange(columns) // width
        covariance *= np.where(member[:, None] == member, 1.0, dependence)
        covariance[np.diag_indices(columns)] += ridge
        solved: AnyArray = np.linalg.solve(covariance, right)
        return solved
    parts = []
    for start in range(0, columns, width):
        own = residuals[:, start : start + width]
        covariance = own.T @ own / n + ridge * np.eye(width)
        parts.append(np.linalg.solve(covariance, right[start : start + width]))
    return np.concatenate(parts)

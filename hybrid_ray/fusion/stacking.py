"""Decision-level fusion by a meta-learner on the members' predictions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from pydantic import Field

from hybrid_ray.errors import NotFittedError
from hybrid_ray.estimators.base import Trial
from hybrid_ray.fusion.coefficients import CoefficientFusion
from hybrid_ray.fusion.logits import centred_logits
from hybrid_ray.fusion.scoring import Scoring
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import AnyArray, Task

_OFFSET_RIDGE = 1e-6


class StackingParams(PluginParams):
    """Parameters of :class:`Stacking`."""

    regularisation: float = Field(0.01, gt=0, le=1e4)
    """Strength of the penalty on weights that differ from the plain mean's."""
    non_negative: bool = True
    """True: no member counts against what it says."""
    per_class: bool = False
    """Classes only: True: a member has a weight for each class; False: one weight."""


@FUSIONS.register("stacking")
class Stacking(CoefficientFusion):
    """Logistic regression on the members' log probabilities; ridge regression on their values for numbers.

    The penalty pulls weights to the plain mean of the members, not to 0: with few rows or a strong penalty the answer
    is the geometric mean of the probabilities, or the mean of the values.

    References
    ----------
    Wolpert, "Stacked generalization", Neural Networks 1992; Breiman, "Stacked regressions", Machine Learning 1996.
    """

    Params = StackingParams

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Weights of either sign, of one sign, and for each class."""
        yield StackingParams()
        yield StackingParams(non_negative=False)
        yield StackingParams(per_class=True, regularisation=0.1)

    def fit(
        self, inputs: Mapping[str, AnyArray], y: AnyArray, task: Task, seed: int = 0, metric: Scoring | None = None
    ) -> Self:
        """Fit the meta-learner; nothing is drawn, so ``seed`` has no effect."""
        self._names = sorted(inputs)
        self._classes = task != "regression"
        if self._classes:
            logits = np.stack([centred_logits(inputs[name]) for name in self._names])
            self._coefficients, self._offsets = _fit_logistic(
                logits, y, self.params.regularisation, self.params.non_negative, self.params.per_class
            )
        else:
            values = np.stack([np.asarray(inputs[name], np.float64)[:, 0] for name in self._names])
            self._coefficients, self._offsets = _fit_ridge(
                values, np.asarray(y, np.float64), self.params.regularisation, self.params.non_negative
            )
        return self

    def combine(self, inputs: Mapping[str, AnyArray]) -> AnyArray:
        """Class probabilities float64 (n, C), or values (n, 1).

        Raises
        ------
        KeyError
            A member that has weight is not there.
        """
        from scipy.special import softmax

        if not self._names:
            raise NotFittedError("stacking: fit must come before combine")
        used = [(name, row) for name, row in zip(self._names, self._coefficients, strict=True) if row.any()]
        self._check_there((name for name, _ in used), inputs)
        if not used:
            return self._constant(inputs)
        total: AnyArray = np.zeros((1, len(self._offsets))) + self._offsets
        for name, row in used:
            said = centred_logits(inputs[name]) if self._classes else np.asarray(inputs[name], np.float64)
            total = total + row * said
        if not self._classes:
            return total
        proba: AnyArray = softmax(total, axis=1)
        return proba

    def _constant(self, inputs: Mapping[str, AnyArray]) -> AnyArray:
        """The answer when no member has weight: the same for every row."""
        from scipy.special import softmax

        row = softmax(self._offsets) if self._classes else self._offsets
        n = len(next(iter(inputs.values()))) if inputs else 0
        return np.tile(row, (n, 1))

    @classmethod
    def space(cls, trial: Trial, n_members: int, task: Task) -> dict[str, Any]:
        """The penalty, and what weights may be."""
        point: dict[str, Any] = {
            "regularisation": trial.suggest_float("regularisation", 1e-4, 10.0, log=True),
            "non_negative": trial.suggest_categorical("non_negative", (True, False)),
        }
        if task == "multiclass":
            point["per_class"] = trial.suggest_categorical("per_class", (False, True))
        return point

    @classmethod
    def portfolio(cls, n_members: int, task: Task) -> Sequence[Mapping[str, Any]]:
        """Careful first."""
        one = {"per_class": False} if task == "multiclass" else {}
        points = [
            {"regularisation": 0.01, "non_negative": True, **one},
            {"regularisation": 0.3, "non_negative": False, **one},
        ]
        if task == "multiclass":
            points.append({"regularisation": 0.03, "non_negative": True, "per_class": True})
        return points

    def _fault(self) -> str:
        members, rows = len(self._names), len(self._coefficients)
        return f"each of {members} members must have coefficients; got {rows}" if rows != members else ""


def _fit_logistic(
    logits: AnyArray, y: AnyArray, strength: float, non_negative: bool, per_class: bool
) -> tuple[AnyArray, AnyArray]:
    """Coefficients (m, C), or (m, 1) for one a member, and offsets (C,), from logits (m, n, C) and codes (n,)."""
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    m, n, n_classes = logits.shape
    columns = n_classes if per_class else 1
    flat = logits.reshape(m, n * n_classes)
    rows = np.arange(n)

    def loss(point: AnyArray) -> tuple[float, AnyArray]:
        coefficients = point[: m * columns].reshape(m, columns)
        offsets = point[m * columns :]
        mixed = (
            np.einsum("mc,mnc->nc", coefficients, logits) if per_class else (coefficients[:, 0] @ flat).reshape(n, -1)
        )
        logs = log_softmax(mixed + offsets, axis=1)
        slack = np.exp(logs)
        slack[rows, y] -= 1.0
        slack /= n
        pulled = coefficients - 1.0 / m
        by_coefficient = np.einsum("nc,mnc->mc", slack, logits) if per_class else (flat @ slack.reshape(-1))[:, None]
        gradient = by_coefficient + 2 * strength / columns * pulled
        value = -float(logs[rows, y].mean()) + strength / columns * float(np.square(pulled).sum())
        value += _OFFSET_RIDGE * float(offsets @ offsets)
        return value, np.concatenate([gradient.ravel(), slack.sum(axis=0) + 2 * _OFFSET_RIDGE * offsets])

    start = np.concatenate([np.full(m * columns, 1.0 / m), np.zeros(n_classes)])
    bounds = [(0.0 if non_negative else None, None)] * (m * columns) + [(None, None)] * n_classes
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 300, "ftol": 1e-10})
    return found.x[: m * columns].reshape(m, columns).copy(), found.x[m * columns :].copy()


def _fit_ridge(values: AnyArray, y: AnyArray, strength: float, non_negative: bool) -> tuple[AnyArray, AnyArray]:
    """Coefficients (m, 1) and offset (1,), from values (m, n) and targets (n,)."""
    from scipy.linalg import solve_triangular
    from scipy.optimize import nnls

    m = len(values)
    centres = values.mean(axis=1)
    spread = max(float(y.std()), 1e-30)
    centred = (values - centres[:, None]) / spread
    target = (y - y.mean()) / spread
    system = centred @ centred.T / len(y) + strength * np.eye(m)
    wanted = centred @ target / len(y) + strength / m
    if non_negative:
        root = np.linalg.cholesky(system)
        coefficients, _ = nnls(root.T, solve_triangular(root, wanted, lower=True))
    else:
        coefficients = np.linalg.solve(system, wanted)
    return coefficients[:, None], np.array([y.mean() - coefficients @ centres])

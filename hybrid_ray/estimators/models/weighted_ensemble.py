"""Weighted ensembles: members of several families on the same rows, weighed on inner folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np

from hybrid_ray.estimators.base import Model
from hybrid_ray.estimators.models.base import OwnClassifier, OwnRegressor
from hybrid_ray.estimators.models.composite import Composite
from hybrid_ray.estimators.models.resample import inner_folds
from hybrid_ray.fusion.linear_pool import LinearPool, LinearPoolParams
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import AnyArray, FloatArray, Task

Solver = Literal["greedy", "convex", "uniform"]


class Ensemble(Composite):
    """What both ensembles share: how members are weighed and fitted.

    Attributes
    ----------
    families_ : list of str
        Those that have weight.
    weights_ : ndarray (m,)
        Their weights, which sum to 1.
    models_ : list of Model
        Fitted on all training rows.

    References
    ----------
    Caruana et al., "Ensemble selection from libraries of models", ICML 2004; van der Laan, Polley and Hubbard, "Super
    learner", Statistical Applications in Genetics and Molecular Biology 2007.
    """

    members: Sequence[str]
    member_params: Mapping[str, Mapping[str, Any]] | None
    n_folds: int
    solver: Solver
    regularisation: float
    random_state: int

    def _weigh(self, X: FloatArray, y: AnyArray, codes: AnyArray, task: Task, groups: AnyArray | None) -> None:
        """Fit members on all folds but one in turn, solve for their weights, and fit those that have any on all rows.

        Parameters
        ----------
        X : ndarray float32 (n, d)
        y : ndarray (n,)
            Codes, or values.
        codes : ndarray of int (n,)
            Classes that are spread evenly over the folds; zeros for numbers.
        task : Task
        groups : ndarray of int (n,) or None
            Rows of one group are copies of one row.
        """
        load_plugins()
        names = self._feasible(len(y))
        folds = inner_folds(codes, self.n_folds, self.random_state, groups)
        scored = np.flatnonzero(folds >= 0)
        n_outputs = 1 if task == "regression" else int(y.max()) + 1
        said = {name: np.zeros((len(y), n_outputs)) for name in names}
        for fold in np.unique(folds[scored]) if len(names) > 1 else ():
            held, training = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
            copies = None if groups is None else groups[training]
            for name in names:
                model = self._member(name, X[training], y[training], task, copies)
                said[name][held] = _outputs(model, X[held], task)
        solver = self.solver if len(scored) else "uniform"
        pool = LinearPool(LinearPoolParams(solver=solver, regularisation=self.regularisation))
        weights = pool.fit(
            {name: each[scored] for name, each in said.items()}, y[scored], task, self.random_state
        ).weights
        self.families_ = [name for name in names if weights[name] > 0]
        self.weights_ = np.array([weights[name] for name in self.families_])
        self.models_ = [self._member(name, X, y, task, groups) for name in self.families_]

    def _feasible(self, n_rows: int) -> list[str]:
        """Members that take so many rows; the first where none does."""
        tags = {name: ESTIMATORS.get(name).tags for name in self.members}
        kept = [name for name in self.members if n_rows <= (tags[name].max_rows or n_rows)]
        return kept or list(self.members[:1])

    def _member(self, name: str, X: FloatArray, y: AnyArray, task: Task, groups: AnyArray | None) -> Model:
        return self._fitted(name, (self.member_params or {}).get(name), X, y, task, groups, self.random_state)

    def _mixed(self, matrix: FloatArray, task: Task) -> AnyArray:
        """Weighted mean float64 (n, n_outputs) of the members."""
        total: AnyArray = np.zeros(1)
        for weight, model in zip(self.weights_, self.models_, strict=True):
            total = total + weight * _outputs(model, matrix, task)
        return total


def _outputs(model: Any, X: FloatArray, task: Task) -> AnyArray:
    """Outputs float64 (n, n_outputs) of a member: class probabilities, or values."""
    if task == "regression":
        return np.asarray(model.predict(X), np.float64).reshape(-1, 1)
    proba: AnyArray = model.predict_proba(X)
    return proba


class EnsembleClassifier(Ensemble, OwnClassifier):
    """Weighted mean of the class probabilities of several families.

    Parameters
    ----------
    members : sequence of str, default=("logistic", "hist_gradient_boosting", "random_forest")
        Registered estimators; one that does not take so many rows is left out.
    member_params : mapping of str to mapping or None, default=None
        Their parameters by name; the best start of each where there are none.
    n_folds : int, default=5
        Inner folds that weights are solved on.
    solver : {"greedy", "convex", "uniform"}, default="greedy"
        How weights are found; they minimise log loss.
    regularisation : float, default=0.0
        Share of the weight that is spread evenly over the members that have weight.
    n_jobs : int, default=1
        Threads of a member's ``fit``.
    random_state : int, default=0
        Seed of the inner folds and of the members.
    """

    kept = ("classes_", "weights_")

    def __init__(
        self,
        *,
        members: Sequence[str] = ("logistic", "hist_gradient_boosting", "random_forest"),
        member_params: Mapping[str, Mapping[str, Any]] | None = None,
        n_folds: int = 5,
        solver: Solver = "greedy",
        regularisation: float = 0.0,
        n_jobs: int = 1,
        random_state: int = 0,
    ) -> None:
        self.members = members
        self.member_params = member_params
        self.n_folds = n_folds
        self.solver = solver
        self.regularisation = regularisation
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: AnyArray | None = None) -> Self:
        """Fit on rows (n, d) and labels (n,); rows of one group (n,) are copies of one row."""
        matrix, codes = self._training(X, y)
        self._weigh(matrix, codes, codes, self._task(), groups)
        return self

    def _task(self) -> Task:
        return "binary" if len(self.classes_) == 2 else "multiclass"

    def predict_proba(self, X: Any) -> AnyArray:
        """Class probabilities float64 (n, C)."""
        matrix = self._matrix(X)
        return self._mixed(matrix, self._task())


class EnsembleRegressor(Ensemble, OwnRegressor):
    """Weighted mean of the values of several families; parameters as for :class:`EnsembleClassifier`.

    The default members are ridge, hist_gradient_boosting and random_forest, and weights minimise squared error.
    """

    kept = ("weights_",)

    def __init__(
        self,
        *,
        members: Sequence[str] = ("ridge", "hist_gradient_boosting", "random_forest"),
        member_params: Mapping[str, Mapping[str, Any]] | None = None,
        n_folds: int = 5,
        solver: Solver = "greedy",
        regularisation: float = 0.0,
        n_jobs: int = 1,
        random_state: int = 0,
    ) -> None:
        self.members = members
        self.member_params = member_params
        self.n_folds = n_folds
        self.solver = solver
        self.regularisation = regularisation
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: AnyArray | None = None) -> Self:
        """Fit on rows (n, d) and values (n,); rows of one group (n,) are copies of one row."""
        matrix, values = self._training(X, y)
        self._weigh(matrix, values, np.zeros(len(values), np.int64), "regression", groups)
        return self

    def predict(self, X: Any) -> AnyArray:
        """Values float64 (n,)."""
        matrix = self._matrix(X)
        return self._mixed(matrix, "regression")[:, 0]

"""Bags of any registered estimator, as scikit-learn estimators that are saved without pickle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

import numpy as np

from hybrid_ray.estimators.models.base import OwnClassifier, OwnRegressor
from hybrid_ray.estimators.models.composite import Composite
from hybrid_ray.estimators.models.resample import stratified_sample
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import AnyArray, FloatArray, Task

Samples = Literal["bootstrap", "folds"]


class Bag(Composite):
    """What both bags share: how samples are drawn and copies fitted.

    References
    ----------
    Breiman, "Bagging predictors", Machine Learning 1996.
    """

    learner: str
    learner_params: Mapping[str, Any] | None
    n_bags: int
    samples: Samples
    random_state: int

    def _fill(self, X: FloatArray, y: AnyArray, codes: AnyArray, task: Task, groups: AnyArray | None) -> None:
        """Fit the copies, each on no more rows of its sample than its family takes.

        Parameters
        ----------
        X : ndarray float32 (n, d)
        y : ndarray (n,)
            Codes, or values.
        codes : ndarray of int (n,)
            Classes that samples are drawn within, so that none is lost to a copy; zeros for numbers.
        task : Task
        groups : ndarray of int (n,) or None
            Rows of one group are copies of one row.
        """
        load_plugins()
        most = ESTIMATORS.get(self.learner).tags.max_rows
        # A bootstrap sample repeats rows, which the learner must not take for others where it holds some out.
        own = np.arange(len(y)) if groups is None else groups
        self.models_ = []
        for number, rows in enumerate(self._drawn(codes)):
            seed = self.random_state + number
            if most is not None and len(rows) > most:
                rows = rows[stratified_sample(codes[rows], most, seed)]
            self.models_.append(
                self._fitted(self.learner, self.learner_params, X[rows], y[rows], task, own[rows], seed)
            )
        self.families_ = [self.learner] * len(self.models_)

    def _drawn(self, codes: AnyArray) -> Iterator[AnyArray]:
        """Rows of each sample, sorted."""
        rng = np.random.default_rng(self.random_state)
        members = [np.flatnonzero(codes == code) for code in np.unique(codes)]
        if self.samples == "bootstrap":
            for _ in range(self.n_bags):
                yield np.sort(np.concatenate([rng.choice(rows, len(rows)) for rows in members]))
            return
        fold = np.full(len(codes), -1)
        for rows in members:
            # The only row of a class is in every sample.
            if len(rows) > 1:
                fold[rng.permutation(rows)] = (np.arange(len(rows)) + rng.integers(self.n_bags)) % self.n_bags
        for number in range(self.n_bags):
            yield np.flatnonzero(fold != number)


class BagClassifier(Bag, OwnClassifier):
    """Mean of the class probabilities of copies of one estimator.

    Parameters
    ----------
    learner : str, default="decision_tree"
        Registered estimator.
    learner_params : mapping or None, default=None
        Its parameters; its best start where there are none.
    n_bags : int, default=10
        Copies.
    samples : {"bootstrap", "folds"}, default="bootstrap"
        Rows drawn with replacement, or all rows but one of ``n_bags`` folds; class by class.
    n_jobs : int, default=1
        Threads of a copy's ``fit``.
    random_state : int, default=0
        Seed of the samples and of the first copy.
    """

    kept = ("classes_",)

    def __init__(
        self,
        *,
        learner: str = "decision_tree",
        learner_params: Mapping[str, Any] | None = None,
        n_bags: int = 10,
        samples: Samples = "bootstrap",
        n_jobs: int = 1,
        random_state: int = 0,
    ) -> None:
        self.learner = learner
        self.learner_params = learner_params
        self.n_bags = n_bags
        self.samples = samples
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: AnyArray | None = None) -> Self:
        """Fit on rows (n, d) and labels (n,); rows of one group (n,) are copies of one row."""
        matrix, codes = self._training(X, y)
        self._fill(matrix, codes, codes, "binary" if len(self.classes_) == 2 else "multiclass", groups)
        return self

    def predict_proba(self, X: Any) -> AnyArray:
        """Class probabilities float64 (n, C)."""
        matrix = self._matrix(X)
        mean: AnyArray = np.mean(
            [np.asarray(model.predict_proba(matrix), np.float64) for model in self.models_], axis=0
        )
        return mean


class BagRegressor(Bag, OwnRegressor):
    """Mean of the values of copies of one estimator; parameters as for :class:`BagClassifier`."""

    def __init__(
        self,
        *,
        learner: str = "decision_tree",
        learner_params: Mapping[str, Any] | None = None,
        n_bags: int = 10,
        samples: Samples = "bootstrap",
        n_jobs: int = 1,
        random_state: int = 0,
    ) -> None:
        self.learner = learner
        self.learner_params = learner_params
        self.n_bags = n_bags
        self.samples = samples
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: AnyArray | None = None) -> Self:
        """Fit on rows (n, d) and values (n,); rows of one group (n,) are copies of one row."""
        matrix, values = self._training(X, y)
        self._fill(matrix, values, np.zeros(len(values), np.int64), "regression", groups)
        return self

    def predict(self, X: Any) -> AnyArray:
        """Values float64 (n,)."""
        matrix = self._matrix(X)
        mean: AnyArray = np.mean(
            [np.asarray(model.predict(matrix), np.float64).reshape(-1) for model in self.models_], axis=0
        )
        return mean

"""What our scikit-learn estimators share: checked inputs, class codes, and a state without pickle."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from hybrid_ray.errors import ArtifactError
from hybrid_ray.types import AnyArray, FloatArray, State

ClassWeight = str | dict[Any, float] | None
"""``"balanced"``: every class counts the same; a mapping: weight by class label."""


class OwnEstimator(BaseEstimator):
    """A scikit-learn estimator on float32 matrices that is saved as arrays.

    Attributes
    ----------
    kept : tuple of str
        Fitted attributes, all arrays, that prediction needs.
    """

    kept: ClassVar[tuple[str, ...]] = ()

    def _matrix(self, X: Any) -> FloatArray:
        """Rows to predict, float32 (n, d), finite and as wide as the training rows."""
        if type(X) is np.ndarray and X.dtype == np.float32 and X.ndim == 2 and len(X) and self._fits(X):
            return X
        check_is_fitted(self)
        checked: FloatArray = validate_data(self, X, dtype=np.float32, reset=False)
        return checked

    def _fits(self, X: FloatArray) -> bool:
        """What the graph gives always does: scikit-learn's own checks cost more than a small prediction."""
        return X.shape[1] == vars(self).get("n_features_in_") and bool(np.isfinite(X.sum(dtype=np.float64)))

    def pack(self) -> State:
        """What ``unpack`` needs to predict bit-equal, without pickle."""
        check_is_fitted(self)
        meta = {
            "model": type(self).__name__,
            "params": self.get_params(deep=False),
            "n_features": int(self.n_features_in_),
        }
        return State(meta=meta, tensors={name: np.ascontiguousarray(getattr(self, name)) for name in self.kept})

    @classmethod
    def unpack(cls, state: State) -> Self:
        """The fitted estimator back, set to predict on one thread."""
        model = cls().set_params(**state.meta["params"])
        if "n_jobs" in state.meta["params"]:
            model.set_params(n_jobs=1)
        missing = sorted(set(cls.kept) - set(state.tensors))
        if missing:
            raise ArtifactError(f"{cls.__name__}: a saved model must hold {sorted(cls.kept)}; missing {missing}")
        for name in cls.kept:
            setattr(model, name, state.tensors[name])
        model.n_features_in_ = int(state.meta["n_features"])
        return model


class OwnClassifier(ClassifierMixin, OwnEstimator):
    """A classifier: subclasses write ``fit`` and ``predict_proba``."""

    def _training(self, X: Any, y: Any) -> tuple[FloatArray, AnyArray]:
        """Checked training rows, float32 (n, d), and codes into ``classes_``, int64 (n,)."""
        matrix, labels = validate_data(self, X, y, dtype=np.float32, ensure_min_samples=2)
        check_classification_targets(labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"{type(self).__name__}: y must hold at least two classes; got one class")
        return matrix, codes.astype(np.int64)

    def _emphasis(self, codes: AnyArray, class_weight: ClassWeight) -> AnyArray | None:
        """Weight of each training row, float64 (n,); None when all rows count the same."""
        if class_weight is None:
            return None
        weights: AnyArray = compute_sample_weight(class_weight, self.classes_[codes])
        return weights

    def predict_proba(self, X: Any) -> AnyArray:
        """Class probabilities float64 (n, C), in the order of ``classes_``."""
        raise NotImplementedError

    def predict(self, X: Any) -> AnyArray:
        """The most probable class of each row, (n,)."""
        proba = self.predict_proba(X)
        labels: AnyArray = self.classes_[proba.argmax(axis=1)]
        return labels


class OwnRegressor(RegressorMixin, OwnEstimator):
    """A regressor: subclasses write ``fit`` and ``predict``."""

    def _training(self, X: Any, y: Any) -> tuple[FloatArray, AnyArray]:
        """Checked training rows, float32 (n, d), and values, float64 (n,)."""
        matrix, values = validate_data(self, X, y, dtype=np.float32, y_numeric=True, ensure_min_samples=2)
        return matrix, np.asarray(values, np.float64)

    def _standardise(self, y: AnyArray) -> AnyArray:
        """Values with mean 0 and deviation 1, so that no parameter depends on their unit; keeps ``target_``."""
        deviation = float(y.std())
        self.target_ = np.array([y.mean(), deviation if deviation > 0 else 1.0])
        scaled: AnyArray = (y - self.target_[0]) / self.target_[1]
        return scaled

    def _restore(self, values: AnyArray) -> AnyArray:
        """Undo ``_standardise``: float64 (n,)."""
        restored: AnyArray = np.asarray(values, np.float64).reshape(-1) * self.target_[1] + self.target_[0]
        return restored

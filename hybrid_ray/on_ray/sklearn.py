"""The scikit-learn face: a run as ``fit``, its graph as ``predict``."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from hybrid_ray.console import make_progress
from hybrid_ray.data.columns import coerce, to_table
from hybrid_ray.data.target import encode_known
from hybrid_ray.errors import BadInputError, NotFittedError
from hybrid_ray.on_ray.cluster import connect
from hybrid_ray.on_ray.run import run_spec
from hybrid_ray.spec import Spec, load_spec
from hybrid_ray.store import inputs
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import AnyArray, Task

LABEL = "target"


def _labels(y: AnyArray) -> AnyArray:
    """The distinct labels, sorted; those that are missing left out."""
    given = y[[value is not None and value == value for value in y.tolist()]]
    return np.unique(given)


class _Hybrid(BaseEstimator):
    """Parameters and fitting that the classifier and the regressor share."""

    _tasks: tuple[Task, ...]

    def __init__(
        self,
        spec: Spec | Mapping[str, Any] | str | Path | None = None,
        *,
        name: str = "notebook",
        store: str | None = None,
        address: str | None = None,
        trials: int | None = None,
        time_limit: float | None = None,
        seed: int = 0,
        quiet: bool = True,
    ) -> None:
        self.spec = spec
        self.name = name
        self.store = store
        self.address = address
        self.trials = trials
        self.time_limit = time_limit
        self.seed = seed
        self.quiet = quiet

    def fit(self, X: Any, y: Any) -> Self:
        """Run the spec on a table.

        Parameters
        ----------
        X : table of n rows
            pandas or polars frame, pyarrow table, dict of arrays, or list of dicts.
        y : array-like (n,)
            Labels.

        Returns
        -------
        self

        Raises
        ------
        BadInputError
            The table and the labels differ in length, or the spec does not fit the table.
        """
        table = to_table(X)
        labels = pa.array(np.asarray(y).tolist())
        if len(labels) != len(table):
            raise BadInputError(f"y: must hold one label a row; got {len(labels)} labels for {len(table)} rows")
        if LABEL in table.column_names:
            raise BadInputError(f"X: the name {LABEL!r} is kept for the labels; got a column of that name. Rename it")
        root = StoreRoot(self.store or os.environ.get("HYBRID_RAY_STORE", "./hybrid_ray_store"))
        request = self._request(inputs.keep(root, table.append_column(LABEL, labels)), np.asarray(y))
        with make_progress(self.quiet, sys.stderr) as progress:
            answer = run_spec(
                request, root.uri, cluster=lambda: connect(self.address, quiet=self.quiet), progress=progress
            )
        self.report_ = answer
        self.graph_ = ModelStore(root).load(f"{answer['model']}:{answer['version']}")
        self.graph_.setup("cpu")
        self.n_features_in_ = table.num_columns
        self.feature_names_in_ = np.asarray(table.column_names, object)
        self._keep_labels(np.asarray(y))
        return self

    def _keep_labels(self, y: AnyArray) -> None:
        """Note what the caller's own labels are."""

    def _auto_task(self, y: AnyArray) -> Task:
        """The task where the spec leaves it open."""
        raise TypeError(f"{type(self).__name__}: a subclass says its task")

    def _request(self, path: str, y: AnyArray) -> Spec:
        overrides: dict[str, Any] = {"data.path": path, "data.label": LABEL, "seed": self.seed}
        overrides |= {"search.trials": self.trials} if self.trials is not None else {}
        overrides |= {"time_limit_s": self.time_limit} if self.time_limit is not None else {}
        given: Any = self.spec
        if given is None:
            given = {"name": self.name, "data": {"path": path, "label": LABEL}}
        elif isinstance(given, Spec):
            given = given.model_dump(mode="json", exclude_unset=True)
        elif isinstance(given, Mapping):
            given = {"name": self.name, **given, "data": {"path": path, "label": LABEL, **given.get("data", {})}}
        request = load_spec(given, overrides)
        if request.task != "auto" and request.task not in self._tasks:
            raise BadInputError(
                f"spec.task: must be one of {list(self._tasks)} for {type(self).__name__}; got {request.task}"
            )
        return request if request.task != "auto" else request.model_copy(update={"task": self._auto_task(y)})

    def _outputs(self, X: Any) -> AnyArray:
        if not hasattr(self, "graph_"):
            raise NotFittedError(f"{type(self).__name__}: must be fitted before it predicts. Call fit first")
        return self.graph_.outputs(coerce(to_table(X), self.graph_.columns).batch)


class HybridClassifier(ClassifierMixin, _Hybrid):
    """A hybrid_ray run with scikit-learn's classifier methods.

    Parameters
    ----------
    spec : Spec, mapping, path or None, default None
        What to do; its data path and label are set by ``fit``. None: inferred from the table.
    name : str, default "notebook"
        Name of the model in the store.
    store : str or None, default None
        Store; None: ``$HYBRID_RAY_STORE``, else ``./hybrid_ray_store``.
    address : str or None, default None
        Ray cluster; None: a local one for the fit.
    trials : int or None, default None
    time_limit : float or None, default None
        Seconds for the whole fit.
    seed : int, default 0
    quiet : bool, default True

    Attributes
    ----------
    graph_ : Graph
    classes_ : ndarray
        The labels given to ``fit``, sorted, of the type that they were given in.
    report_ : dict
        What ``hybrid-ray run --json`` prints.
    """

    _tasks = ("binary", "multiclass")

    def _auto_task(self, y: AnyArray) -> Task:
        return "binary" if len(_labels(y)) <= 2 else "multiclass"

    def _keep_labels(self, y: AnyArray) -> None:
        """A run reads labels as a table's: text that is all numbers are numbers to it, in their own order."""
        self.classes_ = _labels(y)
        known = encode_known(pa.array(self.classes_.tolist()), self.graph_.task, self.graph_.classes)
        self._columns = known.y

    def predict_proba(self, X: Any) -> AnyArray:
        """Probabilities (n, n_classes), columns as in ``classes_``."""
        outputs = self._outputs(X)
        return outputs[:, self._columns]

    def predict(self, X: Any) -> AnyArray:
        """Class labels (n,), of the type given to ``fit``."""
        best = self.predict_proba(X).argmax(axis=1)
        labels: AnyArray = self.classes_[best]
        return labels


class HybridRegressor(RegressorMixin, _Hybrid):
    """A hybrid_ray run with scikit-learn's regressor methods; parameters as in :class:`HybridClassifier`."""

    _tasks = ("regression",)

    def _auto_task(self, y: AnyArray) -> Task:
        return "regression"

    def predict(self, X: Any) -> AnyArray:
        """Values (n,)."""
        return self._outputs(X)[:, 0]

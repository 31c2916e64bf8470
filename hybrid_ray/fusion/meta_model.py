"""A registered estimator that learns from what members predict: what stacking by any learner is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np

from hybrid_ray.errors import ArtifactError
from hybrid_ray.estimators.base import EstimatorFamily, Model
from hybrid_ray.estimators.models.resample import fit_grouped
from hybrid_ray.fusion.logits import centred_logits
from hybrid_ray.fusion.nested import nest, part
from hybrid_ray.fusion.weighted import NEGLIGIBLE, without_negligible
from hybrid_ray.fusion.weights import true_class
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import ESTIMATORS, nearest
from hybrid_ray.types import AnyArray, FloatArray, State, Task

View = Literal["logits", "probabilities"]
VIEWS: tuple[View, ...] = ("logits", "probabilities")
IMPORTANCE_ROWS = 2000
"""Rows that the importance of members is measured on at most."""


@dataclass(frozen=True)
class MetaSettings:
    """What is fitted, and on what.

    Attributes
    ----------
    learner : str
        Registered name of an estimator family.
    params : mapping
        Fields of its ``Params``.
    view : {"logits", "probabilities"}
        Classes only: what of a probability the learner sees.
    residual : bool
        Numbers only: True: it learns what the plain mean of the members leaves over.
    """

    learner: str
    params: Mapping[str, Any]
    view: View = "logits"
    residual: bool = False


def check_learner(name: str, params: Mapping[str, Any]) -> None:
    """Refuse what names no estimator family, or parameters that it does not have.

    Raises
    ------
    ValueError
        No such family, or its parameters are not valid.
    """
    load_plugins()
    known = ESTIMATORS.names()
    if name not in known:
        raise ValueError(f"unknown estimator {name!r}; expected one of {known}.{nearest(name, known)}")
    ESTIMATORS.get(name).Params.model_validate(dict(params))


def learner_tasks(name: str) -> frozenset[Task]:
    """Tasks that an estimator family does."""
    load_plugins()
    family: type[EstimatorFamily] = ESTIMATORS.get(name)
    return family.tags.tasks


class MetaModel:
    """One estimator, fitted on predictions of members.

    Parameters
    ----------
    settings : MetaSettings
    names : sequence of str
        Members, in the order of the learner's columns.
    model : Model
        Fitted.
    codes : tuple of int
        Class codes that the learner has seen, sorted; empty for numbers.
    n_outputs : int
    scaling : ndarray (2, d)
        Mean and deviation of each column on the rows that were learned from.
    """

    def __init__(
        self,
        settings: MetaSettings,
        names: Sequence[str],
        model: Model,
        codes: tuple[int, ...],
        n_outputs: int,
        scaling: AnyArray,
    ) -> None:
        self.settings = settings
        self.names = list(names)
        self._model = model
        self._codes = codes
        self._n_outputs = n_outputs
        self._scaling = scaling

    @classmethod
    def fit(
        cls,
        settings: MetaSettings,
        inputs: Mapping[str, AnyArray],
        y: AnyArray,
        task: Task,
        seed: int = 0,
        groups: AnyArray | None = None,
    ) -> Self:
        """Fit on out-of-fold predictions of all ``inputs``; of more rows than the family takes, a sample.

        Rows of one group (n,) go together wherever the learner holds some out; None: every row is its own.
        """
        names = sorted(inputs)
        family: type[EstimatorFamily] = ESTIMATORS.get(settings.learner)
        most = family.tags.max_rows or len(y)
        if len(y) > most:
            kept = np.sort(np.random.default_rng(seed).choice(len(y), most, replace=False))
            inputs, y = {name: inputs[name][kept] for name in names}, y[kept]
            groups = None if groups is None else groups[kept]
        columns = _columns(inputs, names, settings.view)
        deviations = columns.std(axis=0)
        scaling = np.stack([columns.mean(axis=0), np.where(deviations > 0, deviations, 1.0)])
        model = family.build(family.Params.model_validate(dict(settings.params)), task, seed)
        codes: tuple[int, ...] = ()
        if task == "regression":
            target = y - _mean(inputs, names) if settings.residual else y
        else:
            present, target = np.unique(y, return_inverse=True)
            codes = tuple(int(code) for code in present)
        fit_grouped(model, _scaled(columns, scaling), target, groups)
        return cls(settings, names, model, codes, np.shape(inputs[names[0]])[1], scaling)

    def predict(self, inputs: Mapping[str, AnyArray]) -> AnyArray:
        """Outputs float64 (n, n_outputs): class probabilities, or values."""
        n = len(inputs[self.names[0]])
        outputs = np.zeros((n, self._n_outputs))
        if not n:
            return outputs
        X = _scaled(_columns(inputs, self.names, self.settings.view), self._scaling)
        if self._codes:
            proba: AnyArray = self._model.predict_proba(X)  # type: ignore[attr-defined]
            outputs[:, list(self._codes)] = proba
            return outputs
        outputs[:, 0] = self._model.predict(X)
        if self.settings.residual:
            outputs[:, 0] += _mean(inputs, self.names)
        return outputs

    def importance(self, inputs: Mapping[str, AnyArray], y: AnyArray, seed: int = 0) -> AnyArray:
        """How much the loss grows (m,), never below 0, when a member's predictions are shuffled among the rows.

        References
        ----------
        Breiman, "Random forests", Machine Learning 2001, section 10.
        """
        rng = np.random.default_rng(seed)
        rows = rng.permutation(len(y))[:IMPORTANCE_ROWS]
        said, truth = {name: inputs[name][rows] for name in self.names}, y[rows]
        base = self._loss(said, truth)
        shuffled = rng.permutation(len(rows))
        grown = [self._loss(said | {name: said[name][shuffled]}, truth) - base for name in self.names]
        return np.maximum(np.array(grown), 0.0)

    def _loss(self, inputs: Mapping[str, AnyArray], y: AnyArray) -> float:
        outputs = self.predict(inputs)
        if self._codes:
            return -float(np.log(true_class(outputs, y)).mean())
        return float(np.square(outputs[:, 0] - y).mean())

    def get_state(self) -> State:
        """The learner's state, and what its columns are made of."""
        meta = {
            "learner": self.settings.learner,
            "params": dict(self.settings.params),
            "view": self.settings.view,
            "residual": self.settings.residual,
            "names": self.names,
            "codes": list(self._codes),
            "n_outputs": self._n_outputs,
        }
        family: type[EstimatorFamily] = ESTIMATORS.get(self.settings.learner)
        return nest({"own": State({}, {"scaling": self._scaling}), "model": family.dump(self._model)}, meta)

    @classmethod
    def from_state(cls, state: State) -> Self:
        """The fitted learner back.

        Raises
        ------
        ArtifactError
            A part is missing.
        """
        load_plugins()
        try:
            meta = state.meta
            settings = MetaSettings(meta["learner"], dict(meta["params"]), meta["view"], bool(meta["residual"]))
            family: type[EstimatorFamily] = ESTIMATORS.get(settings.learner)
            return cls(
                settings,
                [str(name) for name in meta["names"]],
                family.load(part(state, "model")),
                tuple(int(code) for code in meta["codes"]),
                int(meta["n_outputs"]),
                part(state, "own").tensors["scaling"],
            )
        except KeyError as error:
            raise ArtifactError(f"meta-learner: a saved one must hold all its parts; missing {error}") from error


def fit_pruned(
    settings: MetaSettings,
    inputs: Mapping[str, AnyArray],
    y: AnyArray,
    task: Task,
    seed: int = 0,
    groups: AnyArray | None = None,
) -> tuple[MetaModel, dict[str, float]]:
    """A learner, and the share of each member in its importance; members that change next to nothing are left out.

    Where some are left out, it is fitted once more without them: they are not needed at prediction then. Every member
    that is needed has a share above 0; where no member has any importance, all are kept and have the same share.
    """
    names = sorted(inputs)
    model = MetaModel.fit(settings, inputs, y, task, seed, groups)
    grown = model.importance(inputs, y, seed)
    shares = without_negligible(grown / grown.sum()) if grown.any() else np.ones(len(names))
    kept = [name for name, share in zip(names, shares, strict=True) if share > 0]
    if len(kept) < len(names):
        model = MetaModel.fit(settings, {name: inputs[name] for name in kept}, y, task, seed, groups)
        grown = model.importance(inputs, y, seed)
    found = grown / grown.sum() if grown.any() else np.ones(len(kept))
    found = np.maximum(found, NEGLIGIBLE / len(kept))
    return model, {**dict.fromkeys(names, 0.0), **dict(zip(kept, (found / found.sum()).tolist(), strict=True))}


def _columns(inputs: Mapping[str, AnyArray], names: Sequence[str], view: View) -> AnyArray:
    """What a learner sees, float64 (n, d): a column for each member, with more than two classes one for each class."""
    return np.hstack([_said(np.asarray(inputs[name], np.float64), view) for name in names])


def _said(outputs: AnyArray, view: View) -> AnyArray:
    n_outputs = outputs.shape[1]
    if n_outputs == 1:
        return outputs
    seen = centred_logits(outputs) if view == "logits" else outputs
    # Of two classes the second says all.
    return seen[:, 1:] if n_outputs == 2 else seen


def _scaled(columns: AnyArray, scaling: AnyArray) -> FloatArray:
    scaled: FloatArray = ((columns - scaling[0]) / scaling[1]).astype(np.float32)
    return scaled


def _mean(inputs: Mapping[str, AnyArray], names: Sequence[str]) -> AnyArray:
    """Plain mean (n,) of the members' values."""
    mean: AnyArray = np.mean([np.asarray(inputs[name], np.float64)[:, 0] for name in names], axis=0)
    return mean

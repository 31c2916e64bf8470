"""Decision-level fusion with calibration around it: of each member, and of the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from hybrid_ray.errors import ArtifactError, NotFittedError
from hybrid_ray.estimators.base import Trial
from hybrid_ray.estimators.models.resample import answering_folds
from hybrid_ray.fusion.base import DecisionFusion
from hybrid_ray.fusion.calibrators import Calibrator, Identity, Method, fit_calibrator, load_calibrator
from hybrid_ray.fusion.inner import check_combiner, combiner_effort, combiner_tasks, fit_combiner, make_combiner
from hybrid_ray.fusion.nested import nest, part
from hybrid_ray.fusion.scoring import Scoring
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import CLASSIFICATION, AnyArray, State, Task

COMBINERS = ("linear_pool", "log_pool", "stacking")
"""Combiners that a search puts calibration around, each with its defaults."""
METHODS: tuple[Method, ...] = ("none", "temperature", "isotonic")
INNER_FOLDS = 3


class CalibratedParams(PluginParams):
    """Parameters of :class:`Calibrated`."""

    combiner: str = "linear_pool"
    """Decision-level fusion inside."""
    combiner_params: dict[str, Any] = Field(default_factory=dict)
    """Parameters of the fusion inside; left out, its defaults."""
    members: Method = "none"
    """What is done to each member before it is combined."""
    result: Method = "temperature"
    """What is done to the answer."""

    @model_validator(mode="after")
    def _inner_is_valid(self) -> Self:
        check_combiner(self.combiner, self.combiner_params, without=Calibrated.name)
        return self


@FUSIONS.register("calibrated")
class Calibrated(DecisionFusion):
    """Another fusion whose members, whose answer, or both are calibrated.

    Members speak out of fold already. What the combiner is fitted on is each member calibrated by other rows: a map
    that has seen a row's label makes a member look better there than it is, a step function most of all. The answer is
    calibrated on rows that the combiner was not fitted on. The same inner folds serve both; for prediction the maps and
    the combiner are fitted on all rows.
    """

    tasks = CLASSIFICATION
    Params = CalibratedParams

    def __init__(self, params: PluginParams) -> None:
        super().__init__(params)
        self._inner = make_combiner(self.params.combiner, self.params.combiner_params)
        self._members: dict[str, Calibrator] = {}
        self._result: Calibrator | None = None

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Each method at each place."""
        yield CalibratedParams()
        yield CalibratedParams(combiner="log_pool", members="temperature", result="none")
        yield CalibratedParams(combiner="stacking", members="isotonic", result="isotonic")

    @classmethod
    def tasks_of(cls, params: PluginParams) -> frozenset[Task]:
        """Classes, where the combiner inside does them."""
        own: Any = params
        return cls.tasks & combiner_tasks(own.combiner, own.combiner_params)

    @classmethod
    def effort(cls, params: PluginParams) -> float:
        """That of the combiner inside, once more for each inner fold where the answer is calibrated."""
        own: Any = params
        fits = 1 if own.result == "none" else 1 + INNER_FOLDS
        return fits * combiner_effort(own.combiner, own.combiner_params)

    def fit(
        self,
        inputs: Mapping[str, AnyArray],
        y: AnyArray,
        task: Task,
        seed: int = 0,
        metric: Scoring | None = None,
        groups: AnyArray | None = None,
    ) -> Self:
        """Fit calibration and combiner; ``seed`` draws the inner folds, of whole groups."""
        folds = _folds(y, seed, groups)
        parts = [_parts(folds, fold) for fold in np.unique(folds)]
        said = {name: self._calibrated_apart(inputs[name], y, parts) for name in sorted(inputs)}

        def combiner(rows: AnyArray | slice) -> DecisionFusion:
            inner = make_combiner(self.params.combiner, self.params.combiner_params)
            given = {name: each[rows] for name, each in said.items()}
            return fit_combiner(inner, given, y[rows], task, seed, metric, None if groups is None else groups[rows])

        self._result = Identity()
        if self.params.result != "none":
            answers = np.empty(np.shape(said[min(said)]))
            for training, held in parts:
                answers[held] = combiner(training).combine({name: each[held] for name, each in said.items()})
            self._result = fit_calibrator(self.params.result, answers, y)
        self._members = {name: fit_calibrator(self.params.members, inputs[name], y) for name in sorted(inputs)}
        self._inner = combiner(slice(None))
        return self

    def _calibrated_apart(self, P: AnyArray, y: AnyArray, parts: Sequence[tuple[AnyArray, AnyArray]]) -> AnyArray:
        """A member's probabilities (n, C), each row's by the map that was fitted on the other folds."""
        said = np.empty(np.shape(P))
        for training, held in parts:
            said[held] = fit_calibrator(self.params.members, P[training], y[training])(P[held])
        return said

    def combine(self, inputs: Mapping[str, AnyArray]) -> AnyArray:
        """Class probabilities float64 (n, C).

        Raises
        ------
        KeyError
            A member that has weight is not there.
        """
        if self._result is None:
            raise NotFittedError("calibrated: fit must come before combine")
        return self._result(self._inner.combine(_calibrated(inputs, self._members)))

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the fusion inside."""
        return self._inner.weights

    @classmethod
    def space(cls, trial: Trial, n_members: int, task: Task) -> dict[str, Any]:
        """What is calibrated, how, and around which combiner."""
        return {
            "combiner": trial.suggest_categorical("combiner", COMBINERS),
            "members": trial.suggest_categorical("members", METHODS),
            "result": trial.suggest_categorical("result", METHODS),
        }

    @classmethod
    def portfolio(cls, n_members: int, task: Task) -> Sequence[Mapping[str, Any]]:
        """The answer by temperature first: it cannot be overfitted."""
        return [
            {"combiner": "linear_pool", "members": "none", "result": "temperature"},
            {"combiner": "log_pool", "members": "temperature", "result": "none"},
            {"combiner": "linear_pool", "members": "none", "result": "isotonic"},
        ]

    def get_state(self) -> State:
        """State of the combiner inside and of every calibration."""
        if self._result is None:
            raise NotFittedError("calibrated: fit must come before it is saved")
        parts = {"inner": self._inner.get_state(), "result": self._result.get_state()}
        parts |= {f"member.{i}": calibrate.get_state() for i, calibrate in enumerate(self._members.values())}
        return nest(parts, {"names": list(self._members)})

    @classmethod
    def from_state(cls, params: PluginParams, state: State) -> Self:
        """The fitted fusion back."""
        fusion = cls(params)
        try:
            names = [str(name) for name in state.meta["names"]]
            inner: type[DecisionFusion] = FUSIONS.get(fusion.params.combiner)
            fusion._inner = inner.from_state(fusion._inner.params, part(state, "inner"))
            fusion._result = load_calibrator(fusion.params.result, part(state, "result"))
            fusion._members = {
                name: load_calibrator(fusion.params.members, part(state, f"member.{i}")) for i, name in enumerate(names)
            }
        except KeyError as error:
            raise ArtifactError(f"calibrated: a saved fusion must hold all its parts; missing {error}") from error
        return fusion


def _folds(y: AnyArray, seed: int, groups: AnyArray | None) -> AnyArray:
    """Inner fold of each row, int64 (n,); with groups -1 for the row of a class that has no other."""
    if groups is None:
        return np.random.default_rng(seed).permutation(np.arange(len(y)) % INNER_FOLDS)
    return answering_folds(np.asarray(y, np.int64), INNER_FOLDS, seed, groups)


def _parts(folds: AnyArray, fold: int) -> tuple[AnyArray, AnyArray]:
    """Rows to fit on and rows that are held out; a single row is both, and so is the only row of a class."""
    held = np.flatnonzero(folds == fold)
    training = np.flatnonzero(folds != fold) if fold >= 0 else np.arange(len(folds))
    return (training if len(training) else held), held


def _calibrated(inputs: Mapping[str, AnyArray], members: Mapping[str, Calibrator]) -> dict[str, AnyArray]:
    """What members say once calibrated, of those that are there."""
    return {name: calibrate(inputs[name]) for name, calibrate in members.items() if name in inputs}

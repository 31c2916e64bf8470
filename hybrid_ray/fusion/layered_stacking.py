"""Decision-level fusion in layers: several learners on the members' predictions, and a fusion of what they say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from hybrid_ray.errors import ArtifactError, NotFittedError
from hybrid_ray.estimators.base import Trial
from hybrid_ray.estimators.models.resample import answering_folds
from hybrid_ray.fusion.base import DecisionFusion
from hybrid_ray.fusion.inner import check_combiner, combiner_tasks, fit_combiner, make_combiner
from hybrid_ray.fusion.meta_model import MetaModel, MetaSettings, View, check_learner, fit_pruned, learner_tasks
from hybrid_ray.fusion.meta_stacking import best_start
from hybrid_ray.fusion.nested import nest, part
from hybrid_ray.fusion.scoring import Scoring
from hybrid_ray.params import PluginParams
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import AnyArray, State, Task

MIXES: Mapping[bool, tuple[str, ...]] = {
    True: ("ridge+lightgbm", "ridge+gaussian_process", "ridge+lightgbm+gaussian_process"),
    False: ("logistic+lightgbm", "logistic+gaussian_process", "logistic+lightgbm+gaussian_process"),
}
"""First layers that a search tries, for numbers (True) and for classes; the first is the default."""
COMBINERS = ("linear_pool", "stacking")
"""Second layers that a search tries, each with its defaults."""
_LEARNER, _MEMBER = "learner:", "member:"


class LayeredStackingParams(PluginParams):
    """Parameters of :class:`LayeredStacking`."""

    learners: tuple[str, ...] | None = None
    """Registered estimators of the first layer, as a list or joined by ``+``; left out, a linear one and lightgbm."""
    learner_params: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Their parameters by name; left out, the best start of each."""
    combiner: str = "linear_pool"
    """Decision-level fusion of what the learners say; ``layered_stacking`` adds a layer."""
    combiner_params: dict[str, Any] = Field(default_factory=dict)
    """Its parameters; left out, its defaults."""
    passthrough: bool = False
    """True: the members themselves stand beside the learners in the second layer."""
    folds: int = Field(5, ge=2, le=20)
    """Inner folds: the second layer learns from what the first says of rows that it was not fitted on."""
    view: View = "logits"
    """Classes only: whether the learners see log probabilities or probabilities."""
    residual: bool = True
    """Numbers only; True: the learners learn what the plain mean of the members leaves over, False: the number."""

    @field_validator("learners", mode="before")
    @classmethod
    def _joined(cls, value: Any) -> Any:
        return tuple(value.split("+")) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _parts_are_valid(self) -> Self:
        if self.learners is not None:
            if len(self.learners) != len(set(self.learners)) or not self.learners:
                raise ValueError(f"learners: must be names, each once; got {list(self.learners)}")
            strangers = sorted(set(self.learner_params) - set(self.learners))
            if strangers:
                raise ValueError(f"learner_params: must be of learners {list(self.learners)}; got {strangers}")
            for name in self.learners:
                check_learner(name, self.learner_params.get(name, {}))
        elif self.learner_params:
            raise ValueError("learner_params: learners must be named when their parameters are; got none")
        check_combiner(self.combiner, self.combiner_params)
        return self


@FUSIONS.register("layered_stacking")
class LayeredStacking(DecisionFusion):
    """Stacking in two layers or more.

    Each learner of the first layer is fitted on inner folds, and says of every row what it learned from the others;
    from that the second layer learns. Then the learners are fitted on all rows. A member's weight is its share in what
    the second layer takes of each learner, by the learner's permutation importance.

    References
    ----------
    Wolpert, "Stacked generalization", Neural Networks 1992; van der Laan, Polley and Hubbard, "Super learner",
    Statistical Applications in Genetics and Molecular Biology 2007.
    """

    resamples: ClassVar[int] = 10
    Params = LayeredStackingParams

    def __init__(self, params: PluginParams) -> None:
        super().__init__(params)
        self._inner = make_combiner(self.params.combiner, self.params.combiner_params)
        self._models: dict[str, MetaModel] = {}
        self._passed: list[str] = []
        self._weights: dict[str, float] = {}

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Two layers by a pool, with members beside the learners, and three layers."""
        quick = {
            "decision_tree": {"max_depth": 3},
            "knn": {"n_neighbors": 20, "metric": "euclidean"},
        }
        yield LayeredStackingParams(learners=("decision_tree", "knn"), learner_params=quick, folds=3)
        yield LayeredStackingParams(
            learners=("knn",),
            learner_params={"knn": quick["knn"]},
            folds=2,
            combiner="stacking",
            passthrough=True,
            residual=False,
        )
        yield LayeredStackingParams(
            learners=("decision_tree", "knn"),
            learner_params=quick,
            folds=2,
            combiner="layered_stacking",
            combiner_params={"learners": ["knn"], "folds": 2, "learner_params": {"knn": quick["knn"]}},
        )

    @classmethod
    def tasks_of(cls, params: PluginParams) -> frozenset[Task]:
        """Tasks that every learner and the second layer do."""
        own: Any = params
        served = [learner_tasks(name) for name in own.learners or ()]
        return cls.tasks.intersection(combiner_tasks(own.combiner, own.combiner_params), *served)

    @classmethod
    def effort(cls, params: PluginParams) -> float:
        """It trains learners."""
        return math.inf

    def fit(
        self,
        inputs: Mapping[str, AnyArray],
        y: AnyArray,
        task: Task,
        seed: int = 0,
        metric: Scoring | None = None,
        groups: AnyArray | None = None,
    ) -> Self:
        """Fit both layers; ``seed`` draws the inner folds, of whole groups, and is the learners' own."""
        settings = self._settings(task)
        folds = _folds(y, task, self.params.folds, seed, groups)
        scored = np.flatnonzero(folds >= 0)
        said = {
            _LEARNER + name: _held_out(each, inputs, y, task, folds, seed, groups)[scored]
            for name, each in settings.items()
        }
        if self.params.passthrough:
            said |= {_MEMBER + name: np.asarray(array, np.float64)[scored] for name, array in inputs.items()}
        self._inner = make_combiner(self.params.combiner, self.params.combiner_params)
        fit_combiner(self._inner, said, y[scored], task, seed, metric, None if groups is None else groups[scored])
        taken = self._inner.weights
        if not any(taken.values()):  # an answer that is the same for every row still needs to know how many there are
            taken = dict.fromkeys(taken, 1.0)
        total = sum(abs(weight) for weight in taken.values())
        self._models, self._weights = {}, dict.fromkeys(sorted(inputs), 0.0)
        for name, each in settings.items():
            if taken[_LEARNER + name] == 0:
                continue
            self._models[name], shares = fit_pruned(each, inputs, y, task, seed, groups)
            for member, share in shares.items():
                self._weights[member] += abs(taken[_LEARNER + name]) / total * share
        self._passed = [name for name in sorted(inputs) if taken.get(_MEMBER + name, 0.0) != 0]
        for member in self._passed:
            self._weights[member] += abs(taken[_MEMBER + member]) / total
        return self

    def _settings(self, task: Task) -> dict[str, MetaSettings]:
        """What each learner of the first layer is."""
        load_plugins()
        names = self.params.learners or tuple(MIXES[task == "regression"][0].split("+"))
        given = self.params.learner_params
        return {
            name: MetaSettings(name, given.get(name) or best_start(name, task), self.params.view, self.params.residual)
            for name in names
        }

    def combine(self, inputs: Mapping[str, AnyArray]) -> AnyArray:
        """Class probabilities float64 (n, C), or values (n, 1).

        Raises
        ------
        KeyError
            A member that has weight is not there.
        """
        if not self._models and not self._passed:
            raise NotFittedError("layered_stacking: fit must come before combine")
        self._check_there((name for name, weight in self._weights.items() if weight > 0), inputs)
        said = {_LEARNER + name: model.predict(inputs) for name, model in self._models.items()}
        said |= {_MEMBER + name: np.asarray(inputs[name], np.float64) for name in self._passed}
        return self._inner.combine(said)

    @property
    def weights(self) -> dict[str, float]:
        """Share of each member in the learners, by what the second layer takes of each; they sum to 1."""
        return dict(self._weights)

    @classmethod
    def space(cls, trial: Trial, n_members: int, task: Task) -> dict[str, Any]:
        """The first layer, what it sees, and the second."""
        regression = task == "regression"
        point: dict[str, Any] = {
            "learners": trial.suggest_categorical("learners", MIXES[regression]),
            "combiner": trial.suggest_categorical("combiner", COMBINERS),
            "passthrough": trial.suggest_categorical("passthrough", (False, True)),
        }
        if regression:
            point["residual"] = trial.suggest_categorical("residual", (True, False))
        return point

    @classmethod
    def portfolio(cls, n_members: int, task: Task) -> Sequence[Mapping[str, Any]]:
        """The smallest first layer, without and with the members beside it."""
        regression = task == "regression"
        more = {"residual": True} if regression else {}
        return [
            {"learners": MIXES[regression][0], "combiner": "linear_pool", "passthrough": passed, **more}
            for passed in (False, True)
        ]

    def get_state(self) -> State:
        """State of every learner and of the second layer."""
        if not self._models and not self._passed:
            raise NotFittedError("layered_stacking: fit must come before it is saved")
        parts = {f"learner.{i}": model.get_state() for i, model in enumerate(self._models.values())}
        meta = {"learners": list(self._models), "passed": self._passed, "weights": self._weights}
        return nest(parts | {"inner": self._inner.get_state()}, meta)

    @classmethod
    def from_state(cls, params: PluginParams, state: State) -> Self:
        """The fitted fusion back."""
        fusion = cls(params)
        try:
            names = [str(name) for name in state.meta["learners"]]
            fusion._models = {name: MetaModel.from_state(part(state, f"learner.{i}")) for i, name in enumerate(names)}
            fusion._passed = [str(name) for name in state.meta["passed"]]
            fusion._weights = {str(name): float(weight) for name, weight in state.meta["weights"].items()}
            inner: type[DecisionFusion] = FUSIONS.get(fusion.params.combiner)
            fusion._inner = inner.from_state(fusion._inner.params, part(state, "inner"))
        except KeyError as error:
            raise ArtifactError(f"layered_stacking: a saved fusion must hold all its parts; missing {error}") from error
        return fusion


def _folds(y: AnyArray, task: Task, n_folds: int, seed: int, groups: AnyArray | None) -> AnyArray:
    """Inner fold of each row, int64 (n,); -1 for the row of a class that has no other."""
    if task == "regression" and groups is None:
        return np.random.default_rng(seed).permutation(np.arange(len(y)) % n_folds)
    codes = np.zeros(len(y), np.int64) if task == "regression" else np.asarray(y, np.int64)
    return answering_folds(codes, n_folds, seed, groups)


def _held_out(
    settings: MetaSettings,
    inputs: Mapping[str, AnyArray],
    y: AnyArray,
    task: Task,
    folds: AnyArray,
    seed: int,
    groups: AnyArray | None,
) -> AnyArray:
    """Outputs (n, n_outputs) of a learner, each row's by one that was fitted on the other folds; 0 for fold -1."""
    answers = np.zeros(np.shape(next(iter(inputs.values()))))
    for fold in np.unique(folds[folds >= 0]):
        held, training = folds == fold, folds != fold
        others = {name: each[training] for name, each in inputs.items()}
        kept = None if groups is None else groups[training]
        model = MetaModel.fit(settings, others, y[training], task, seed, kept)
        answers[held] = model.predict({name: each[held] for name, each in inputs.items()})
    return answers

"""Decision-level fusion by any registered estimator on the members' predictions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from hybrid_ray.errors import ArtifactError, NotFittedError
from hybrid_ray.estimators.base import EstimatorFamily, Trial
from hybrid_ray.estimators.prefixed import PrefixedTrial
from hybrid_ray.fusion.base import DecisionFusion
from hybrid_ray.fusion.meta_model import VIEWS, MetaModel, MetaSettings, View, check_learner, fit_pruned, learner_tasks
from hybrid_ray.fusion.nested import nest, part
from hybrid_ray.fusion.scoring import Scoring
from hybrid_ray.params import PluginParams
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import ESTIMATORS, FUSIONS
from hybrid_ray.types import AnyArray, State, Task

_NON_LINEAR = ("lightgbm", "hist_gradient_boosting", "gaussian_process", "neural_head")
LEARNERS: Mapping[bool, tuple[str, ...]] = {True: ("ridge", *_NON_LINEAR), False: ("logistic", *_NON_LINEAR)}
"""Meta-learners that a search tries, for numbers (True) and for classes; the first is the default."""
STARTS = ("lightgbm", "gaussian_process")
"""Meta-learners, beside the default, that are tried first."""


class MetaStackingParams(PluginParams):
    """Parameters of :class:`MetaStacking`."""

    learner: str | None = None
    """Registered estimator that learns from the predictions; left out, logistic for classes and ridge for numbers."""
    learner_params: dict[str, Any] = Field(default_factory=dict)
    """Its parameters; left out, its best start."""
    view: View = "logits"
    """Classes only: whether it sees log probabilities or probabilities."""
    residual: bool = True
    """Numbers only; True: it learns what the plain mean of the members leaves over, False: the number itself."""

    @model_validator(mode="after")
    def _learner_is_valid(self) -> Self:
        if self.learner is not None:
            check_learner(self.learner, self.learner_params)
        elif self.learner_params:
            raise ValueError("learner_params: learner must be named when its parameters are; got none")
        return self


@FUSIONS.register("meta_stacking")
class MetaStacking(DecisionFusion):
    """Stacking with a registered estimator as meta-learner.

    It sees nothing but what the members predict. A member's weight is its share in the permutation importance: how much
    the loss on the rows that were learned from grows when the member's predictions are shuffled. Members without a
    share worth naming are left out, and the learner is fitted again.

    References
    ----------
    Wolpert, "Stacked generalization", Neural Networks 1992; Ting and Witten, "Issues in stacked generalization", JAIR
    1999: probabilities, not labels, are to be learned from.
    """

    resamples: ClassVar[int] = 10
    Params = MetaStackingParams

    def __init__(self, params: PluginParams) -> None:
        super().__init__(params)
        self._model: MetaModel | None = None
        self._weights: dict[str, float] = {}

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Boosted trees on probabilities, and neighbours on the number itself."""
        yield MetaStackingParams(
            learner="lightgbm",
            learner_params={"n_estimators": 20, "num_leaves": 4, "learning_rate": 0.2},
            view="probabilities",
        )
        yield MetaStackingParams(
            learner="knn", learner_params={"n_neighbors": 20, "metric": "euclidean"}, residual=False
        )

    @classmethod
    def tasks_of(cls, params: PluginParams) -> frozenset[Task]:
        """Tasks that the learner does."""
        own: Any = params
        return cls.tasks & learner_tasks(own.learner) if own.learner else cls.tasks

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
        """Fit the meta-learner; ``seed`` is its own, and shuffles the predictions."""
        self._model, self._weights = fit_pruned(self._settings(task), inputs, y, task, seed, groups)
        return self

    def _settings(self, task: Task) -> MetaSettings:
        load_plugins()
        learner = self.params.learner or LEARNERS[task == "regression"][0]
        params = self.params.learner_params or best_start(learner, task)
        return MetaSettings(learner, params, self.params.view, self.params.residual)

    def combine(self, inputs: Mapping[str, AnyArray]) -> AnyArray:
        """Class probabilities float64 (n, C), or values (n, 1).

        Raises
        ------
        KeyError
            A member that has weight is not there.
        """
        if self._model is None:
            raise NotFittedError("meta_stacking: fit must come before combine")
        self._check_there(self._model.names, inputs)
        return self._model.predict(inputs)

    @property
    def weights(self) -> dict[str, float]:
        """Share of each member in the permutation importance; they sum to 1."""
        return dict(self._weights)

    @classmethod
    def space(cls, trial: Trial, n_members: int, task: Task) -> dict[str, Any]:
        """The learner, its parameters, and what it sees."""
        load_plugins()
        regression = task == "regression"
        point: dict[str, Any] = {"learner": trial.suggest_categorical("learner", LEARNERS[regression])}
        family: type[EstimatorFamily] = ESTIMATORS.get(point["learner"])
        params = family.space(PrefixedTrial(trial, f"learner_params.{point['learner']}.", {}), task)
        if params:
            point["learner_params"] = params
        if regression:
            point["residual"] = trial.suggest_categorical("residual", (True, False))
        else:
            point["view"] = trial.suggest_categorical("view", VIEWS)
        return point

    @classmethod
    def portfolio(cls, n_members: int, task: Task) -> Sequence[Mapping[str, Any]]:
        """The linear learner first: it cannot be overfitted as easily."""
        load_plugins()
        regression = task == "regression"
        seen = {"residual": True} if regression else {"view": "logits"}
        return [
            {"learner": learner, **seen}
            | {f"learner_params.{learner}.{name}": value for name, value in best_start(learner, task).items()}
            for learner in (LEARNERS[regression][0], *STARTS)
        ]

    def get_state(self) -> State:
        """The meta-learner and the weights."""
        if self._model is None:
            raise NotFittedError("meta_stacking: fit must come before it is saved")
        return nest({"model": self._model.get_state()}, {"weights": self._weights})

    @classmethod
    def from_state(cls, params: PluginParams, state: State) -> Self:
        """The fitted fusion back."""
        fusion = cls(params)
        try:
            fusion._weights = {str(name): float(weight) for name, weight in state.meta["weights"].items()}
            fusion._model = MetaModel.from_state(part(state, "model"))
        except KeyError as error:
            raise ArtifactError(f"meta_stacking: a saved fusion must hold all its parts; missing {error}") from error
        return fusion


def best_start(learner: str, task: Task) -> dict[str, Any]:
    """Parameters that a family does well with."""
    family: type[EstimatorFamily] = ESTIMATORS.get(learner)
    return dict(family.portfolio(task)[0])

"""Weighted ensembles of several families."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from hybrid_ray.estimators.base import Effort, EstimatorTags, Model, Trial
from hybrid_ray.estimators.common import OwnFamily, is_regression, typed
from hybrid_ray.params import PluginParams
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import ESTIMATORS, nearest
from hybrid_ray.types import BOTH, Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.base import OwnEstimator

NAME = "weighted_ensemble"
_TREES = ("hist_gradient_boosting+random_forest", "lightgbm+extra_trees", "lightgbm+knn", "lightgbm+extra_trees+mlp")
MIXES: Mapping[bool, tuple[str, ...]] = {
    True: tuple(f"ridge+{others}" for others in _TREES),
    False: tuple(f"logistic+{others}" for others in _TREES),
}
"""Members that a search tries, for numbers (True) and for classes; the first are the default."""


class WeightedEnsembleParams(PluginParams):
    """Parameters of :class:`WeightedEnsemble`."""

    members: tuple[str, ...] | None = None
    """Registered estimators, as a list or joined by ``+``; left out, a linear one, boosted trees and a forest."""
    member_params: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Their parameters by name; left out, the best start of each."""
    n_folds: int = Field(5, ge=2, le=20)
    """Inner folds: weights are solved on what members say of rows that they were not fitted on."""
    solver: Literal["greedy", "convex", "uniform"] = "greedy"
    """greedy: selection with replacement; convex: the best weights there are; uniform: the same for all."""
    regularisation: float = Field(0.0, ge=0, le=1)
    """Share of the weight that is spread evenly over the members that have weight."""

    @field_validator("members", mode="before")
    @classmethod
    def _joined(cls, value: Any) -> Any:
        return tuple(value.split("+")) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _members_are_valid(self) -> Self:
        if self.members is None:
            if self.member_params:
                raise ValueError("member_params: members must be named when their parameters are; got none")
            return self
        load_plugins()
        known = [name for name in ESTIMATORS.names() if name != NAME]
        for name in self.members:
            if name not in known:
                raise ValueError(
                    f"members: unknown estimator {name!r}; expected some of {known}.{nearest(name, known)}"
                )
        if not self.members or len(set(self.members)) < len(self.members):
            raise ValueError(f"members: must be names, each once; got {list(self.members)}")
        strangers = sorted(set(self.member_params) - set(self.members))
        if strangers:
            raise ValueError(f"member_params: must be of members {list(self.members)}; got {strangers}")
        for name, params in self.member_params.items():
            ESTIMATORS.get(name).Params.model_validate(params)
        return self


@ESTIMATORS.register(NAME)
class WeightedEnsemble(OwnFamily):
    """Several families on the same features, averaged by weights that are solved on inner folds."""

    tags = EstimatorTags(tasks=BOTH, scaled=True, copies=4.0, max_rows=200_000, effort=Effort(2, 2))
    Params = WeightedEnsembleParams

    @classmethod
    def models(cls) -> tuple[type[OwnEstimator], ...]:
        """For classes, for numbers."""
        from hybrid_ray.estimators.models.weighted_ensemble import EnsembleClassifier, EnsembleRegressor

        return (EnsembleClassifier, EnsembleRegressor)

    @classmethod
    def examples(cls, task: Task) -> Iterator[PluginParams]:
        """Two quick members with solved weights, and a sole one."""
        linear, params = ("ridge", {"alpha": 0.1}) if task == "regression" else ("logistic", {"C": 10.0})
        quick: dict[str, dict[str, Any]] = {linear: params, "knn": {"n_neighbors": 5, "metric": "euclidean"}}
        yield WeightedEnsembleParams(
            members=(linear, "knn"), member_params=quick, n_folds=3, solver="convex", regularisation=0.2
        )
        yield WeightedEnsembleParams(members=(linear,), member_params={linear: params}, n_folds=2)

    @classmethod
    def build(cls, params: PluginParams, task: Task, seed: int, threads: int = 1) -> Model:
        """An unfitted ensemble; ``seed`` draws the inner folds and is the members' own."""
        from hybrid_ray.estimators.models.weighted_ensemble import EnsembleClassifier, EnsembleRegressor

        own = typed(params, WeightedEnsembleParams)
        regression = is_regression(cls.name, cls.tags, task)
        model = EnsembleRegressor if regression else EnsembleClassifier
        return model(
            members=own.members or tuple(MIXES[regression][0].split("+")),
            member_params=own.member_params or None,
            n_folds=own.n_folds,
            solver=own.solver,
            regularisation=own.regularisation,
            n_jobs=threads,
            random_state=seed,
        )

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """The members, and how they are weighed."""
        return {
            "members": trial.suggest_categorical("members", MIXES[task == "regression"]),
            "solver": trial.suggest_categorical("solver", ("greedy", "convex", "uniform")),
            "regularisation": trial.suggest_float("regularisation", 0.0, 0.5),
        }

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """The first mixes, with weights pulled together a little."""
        mixes = MIXES[task == "regression"]
        return [{"members": mix, "solver": "greedy", "regularisation": 0.1} for mix in mixes[:2]]

"""Estimators made of other registered estimators: how these are built, fitted and saved without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from hybrid_ray.errors import ArtifactError
from hybrid_ray.estimators.base import EstimatorFamily, Model
from hybrid_ray.estimators.models.base import OwnEstimator
from hybrid_ray.estimators.models.resample import fit_grouped
from hybrid_ray.fusion.nested import nest, part
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import AnyArray, FloatArray, State, Task


class Composite(OwnEstimator):
    """An estimator of several fitted models.

    Attributes
    ----------
    families_ : list of str
        Registered name of each model's family.
    models_ : list of Model
    """

    families_: list[str]
    models_: list[Any]
    n_jobs: int

    def _fitted(
        self,
        name: str,
        params: Mapping[str, Any] | None,
        X: FloatArray,
        y: AnyArray,
        task: Task,
        groups: AnyArray | None,
        seed: int,
    ) -> Model:
        """A model of a family, fitted; without ``params`` by the family's best start. ``groups`` as in ``fit``."""
        family: type[EstimatorFamily] = ESTIMATORS.get(name)
        chosen = family.Params.model_validate(dict(params or family.portfolio(task)[0]))
        model = family.build(chosen, task, seed, self.n_jobs)
        fit_grouped(model, X, y, groups)
        return model

    def pack(self) -> State:
        """What ``unpack`` needs to predict bit-equal, without pickle."""
        own = super().pack()
        saved = {
            f"model.{i}": ESTIMATORS.get(name).dump(model)
            for i, (name, model) in enumerate(zip(self.families_, self.models_, strict=True))
        }
        nested = nest(saved, own.meta | {"families": list(self.families_)})
        return State(nested.meta, nested.tensors | own.tensors, nested.blobs)

    @classmethod
    def unpack(cls, state: State) -> Self:
        """The fitted estimator back, set to predict on one thread."""
        load_plugins()
        model = super().unpack(state)
        try:
            model.families_ = [str(name) for name in state.meta["families"]]
            model.models_ = [
                ESTIMATORS.get(name).load(part(state, f"model.{i}")) for i, name in enumerate(model.families_)
            ]
        except KeyError as error:
            raise ArtifactError(f"{cls.__name__}: a saved one must hold all its models; missing {error}") from error
        return model

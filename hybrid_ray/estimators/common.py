"""What the built-in families share: their tasks, typed parameters, and saving our own models."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from hybrid_ray.errors import ArtifactError, BadInputError
from hybrid_ray.estimators.base import EstimatorFamily, EstimatorTags, Model, Trial
from hybrid_ray.params import PluginParams
from hybrid_ray.types import State, Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.base import OwnEstimator

P = TypeVar("P", bound=PluginParams)

ClassWeight = Literal["balanced"]
CLASS_WEIGHTS: tuple[ClassWeight | None, ...] = (None, "balanced")

GRAM_ROWS = 12_000
"""Up to this many training rows the kernel matrix is made once, by BLAS, and every inner fit takes its part of it."""


class OwnFamily(EstimatorFamily):
    """A family whose models are our own scikit-learn estimators, which know how to save themselves."""

    @classmethod
    @abstractmethod
    def models(cls) -> tuple[type[OwnEstimator], ...]:
        """The classes that ``build`` builds; imported here, so that naming a family imports no scikit-learn."""

    @classmethod
    def dump(cls, model: Model) -> State:
        """The fitted model without pickle."""
        if not isinstance(model, cls.models()):
            raise TypeError(f"{cls.name}: a model to save must be one that the family built; got {type(model)}")
        return model.pack()

    @classmethod
    def load(cls, state: State) -> Model:
        """The fitted model back, bit-equal in its predictions, set to one thread."""
        known = {model.__name__: model for model in cls.models()}
        name = state.meta.get("model")
        if name not in known:
            raise ArtifactError(f"{cls.name}: a saved model must be one of {sorted(known)}; got {name!r}")
        loaded: Any = known[name].unpack(state)
        return loaded


def typed(params: PluginParams, kind: type[P]) -> P:
    """``params``, known to be the family's own."""
    if not isinstance(params, kind):
        raise TypeError(f"params must be a {kind.__qualname__}; got {type(params).__qualname__}")
    return params


def is_regression(name: str, tags: EstimatorTags, task: Task) -> bool:
    """Whether a task asks for numbers.

    Raises
    ------
    BadInputError
        The family does not do the task.
    """
    check_task(name, tags, task)
    return task == "regression"


def check_task(name: str, tags: EstimatorTags, task: Task) -> None:
    """Refuse a task that a family does not do.

    Raises
    ------
    BadInputError
        It does not.
    """
    if task not in tags.tasks:
        raise BadInputError(f"estimator {name}: task must be one of {sorted(tags.tasks)}; got {task!r}")


def suggest_class_weight(trial: Trial, task: Task) -> dict[str, Any]:
    """The field ``class_weight`` for classes, nothing for numbers."""
    if task == "regression":
        return {}
    return {"class_weight": trial.suggest_categorical("class_weight", CLASS_WEIGHTS)}

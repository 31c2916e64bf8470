"""Ridge regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from hybrid_ray.estimators.base import Effort, EstimatorTags, Model, Trial
from hybrid_ray.estimators.common import OwnFamily, is_regression, typed
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import REGRESSION, Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.base import OwnEstimator


PENALTIES: tuple[float | None, ...] = (None, 1e-3, 0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)
"""What the search tries for alpha."""


class RidgeParams(PluginParams):
    """Parameters of :class:`RidgeRegression`."""

    alpha: float | None = Field(None, gt=0, le=1e9)
    """Strength of the L2 penalty, relative to the total variance of the features; left out, it is chosen by leaving out
    each training row."""


@ESTIMATORS.register("ridge")
class RidgeRegression(OwnFamily):
    """Linear regression with an L2 penalty."""

    tags = EstimatorTags(tasks=REGRESSION, scaled=True, copies=3.0, effort=Effort(0.005, 0.003))
    Params = RidgeParams

    @classmethod
    def models(cls) -> tuple[type[OwnEstimator], ...]:
        """The one model."""
        from hybrid_ray.estimators.models.linear import LinearRegressor

        return (LinearRegressor,)

    @classmethod
    def build(cls, params: PluginParams, task: Task, seed: int, threads: int = 1) -> Model:
        """An unfitted regressor; the fit draws nothing, so ``seed`` has no effect."""
        from hybrid_ray.estimators.models.linear import LinearRegressor

        is_regression(cls.name, cls.tags, task)
        return LinearRegressor(alpha=typed(params, RidgeParams).alpha)

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """The penalty."""
        return {"alpha": trial.suggest_categorical("alpha", PENALTIES)}

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """The penalty that left-out rows choose, a strong one for noisy features, a weak one for clean relations."""
        return [{"alpha": alpha} for alpha in (None, 10.0, 0.1)]

"""Gaussian processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from hybrid_ray.estimators.base import Effort, EstimatorTags, Model, Trial
from hybrid_ray.estimators.common import OwnFamily, is_regression, typed
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import BOTH, Task

if TYPE_CHECKING:
    from hybrid_ray.estimators.models.base import OwnEstimator

MAX_ROWS = 2000


class GaussianProcessParams(PluginParams):
    """Parameters of :class:`GaussianProcess`."""

    gamma: float = Field(1.0, gt=0, le=1e4)
    """Width of the rbf kernel, relative to 1 / (total variance of the columns); for numbers, where the search for it
    starts."""
    scale: float = Field(3.0, gt=0, le=100)
    """Classes only: prior deviation of the log odds."""
    noise: float = Field(0.3, gt=0, le=10)
    """Regression only: share of the target's variance that is noise, where the search for it starts."""
    n_folds: int = Field(3, ge=2, le=10)
    """Classes only: inner folds on which probabilities are calibrated."""
    max_iter: int = Field(20, ge=0, le=1000)
    """Regression only: steps towards the largest marginal likelihood; 0: none."""


@ESTIMATORS.register("gaussian_process")
class GaussianProcess(OwnFamily):
    """Gaussian process with an rbf kernel, for few rows: a fit costs the cube of their number."""

    tags = EstimatorTags(
        tasks=BOTH, scaled=True, copies=4.0, pairs=2 * MAX_ROWS, max_rows=MAX_ROWS, effort=Effort(0.05, 0.6)
    )
    Params = GaussianProcessParams

    @classmethod
    def models(cls) -> tuple[type[OwnEstimator], ...]:
        """For classes, for numbers."""
        from hybrid_ray.estimators.models.gaussian_process import ProcessClassifier, ProcessRegressor

        return (ProcessClassifier, ProcessRegressor)

    @classmethod
    def examples(cls, task: Task) -> Iterator[PluginParams]:
        """The default, and one whose parameters stay where they are."""
        yield GaussianProcessParams()
        yield GaussianProcessParams(gamma=0.3, noise=0.1, max_iter=0)

    @classmethod
    def build(cls, params: PluginParams, task: Task, seed: int, threads: int = 1) -> Model:
        """An unfitted process; ``seed`` draws the inner folds."""
        from hybrid_ray.estimators.models.gaussian_process import ProcessClassifier, ProcessRegressor

        own = typed(params, GaussianProcessParams)
        if is_regression(cls.name, cls.tags, task):
            return ProcessRegressor(gamma=own.gamma, noise=own.noise, max_iter=own.max_iter)
        return ProcessClassifier(gamma=own.gamma, scale=own.scale, n_folds=own.n_folds, random_state=seed)

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """Width of the kernel, and the prior."""
        point = {"gamma": trial.suggest_float("gamma", 1e-2, 1e1, log=True)}
        if task == "regression":
            return point | {"noise": trial.suggest_float("noise", 0.01, 1.0, log=True)}
        return point | {"scale": trial.suggest_float("scale", 0.5, 20.0, log=True)}

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """A middling kernel, then a wide one."""
        more = {"noise": 0.3} if task == "regression" else {"scale": 3.0}
        return [{"gamma": gamma} | more for gamma in (0.3, 0.05)]

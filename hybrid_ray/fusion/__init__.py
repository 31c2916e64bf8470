"""Built-in fusion, registered by import."""

from hybrid_ray.fusion import (
    bayesian_averaging,
    bayesian_fusion,
    calibrated,
    concat,
    linear_pool,
    log_pool,
    stacking,
    voting,
)

__all__ = [
    "bayesian_averaging",
    "bayesian_fusion",
    "calibrated",
    "concat",
    "linear_pool",
    "log_pool",
    "stacking",
    "voting",
]

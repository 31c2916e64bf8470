"""Built-in fusion, registered by import."""

from hybrid_ray.fusion import (
    bayesian_averaging,
    bayesian_fusion,
    bilinear,
    calibrated,
    canonical,
    concat,
    linear_pool,
    log_pool,
    networks,
    selected,
    stacking,
    voting,
)

__all__ = [
    "bayesian_averaging",
    "bayesian_fusion",
    "bilinear",
    "calibrated",
    "canonical",
    "concat",
    "linear_pool",
    "log_pool",
    "networks",
    "selected",
    "stacking",
    "voting",
]

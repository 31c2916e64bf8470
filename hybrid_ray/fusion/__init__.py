"""Built-in fusion, registered by import."""

from hybrid_ray.fusion import (
    bayesian_averaging,
    bayesian_fusion,
    bilinear,
    calibrated,
    canonical,
    channels,
    concat,
    joined,
    linear_pool,
    log_pool,
    selected,
    serialised,
    stacking,
    tiled,
    voting,
)

__all__ = [
    "bayesian_averaging",
    "bayesian_fusion",
    "bilinear",
    "calibrated",
    "canonical",
    "channels",
    "concat",
    "joined",
    "linear_pool",
    "log_pool",
    "selected",
    "serialised",
    "stacking",
    "tiled",
    "voting",
]

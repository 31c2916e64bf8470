"""Built-in fusion, registered by import."""

from hybrid_ray.fusion import concat, linear_pool, stacking

__all__ = ["concat", "linear_pool", "stacking"]

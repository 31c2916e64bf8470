"""Extractors whose features of a row are a forecast of its series; registered by import."""

from hybrid_ray.extractors.forecasters import arima, autoregression, ets, hybrid, naive, recurrent, theta

__all__ = ["arima", "autoregression", "ets", "hybrid", "naive", "recurrent", "theta"]

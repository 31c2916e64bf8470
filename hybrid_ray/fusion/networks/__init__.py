"""Fusion networks: trained on the labels of the training rows, applied as plain arrays; registered by import."""

from hybrid_ray.fusion.networks import adaptive, attention, gated

__all__ = ["adaptive", "attention", "gated"]

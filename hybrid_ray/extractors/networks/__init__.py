"""Extractors that are networks of our own, trained on the training rows; registered by import."""

from hybrid_ray.extractors.networks import text_cnn, text_rnn

__all__ = ["text_cnn", "text_rnn"]

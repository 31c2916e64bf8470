"""Extractors that are networks of our own, trained on the training rows; registered by import."""

from hybrid_ray.extractors.networks import (
    autoencoder,
    dbn,
    series_autoencoder,
    series_cnn,
    series_rnn,
    series_transformer,
    tabular_autoencoder,
    tabular_network,
    text_cnn,
    text_rnn,
    text_transformer,
)

__all__ = [
    "autoencoder",
    "dbn",
    "series_autoencoder",
    "series_cnn",
    "series_rnn",
    "series_transformer",
    "tabular_autoencoder",
    "tabular_network",
    "text_cnn",
    "text_rnn",
    "text_transformer",
]

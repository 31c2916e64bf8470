"""Built-in extractors, registered by import."""

from hybrid_ray.extractors import (
    _cnn,
    _log_mel,
    _pixels,
    _series_stats,
    _tabular,
    _tfidf,
    _torchvision,
    _transformers,
    _tuned_torchvision,
    _tuned_transformers,
    forecasters,
    graphs,
    networks,
)

__all__ = [
    "_cnn",
    "_log_mel",
    "_pixels",
    "_series_stats",
    "_tabular",
    "_tfidf",
    "_torchvision",
    "_transformers",
    "_tuned_torchvision",
    "_tuned_transformers",
    "forecasters",
    "graphs",
    "networks",
]

"""Built-in preparation of training rows, registered by import."""

from hybrid_ray.preparation import (
    clip,
    drop_outliers,
    filter_labels,
    gan_augmentation,
    oversample,
    smote,
    undersample,
    unskew,
    weigh_classes,
)

__all__ = [
    "clip",
    "drop_outliers",
    "filter_labels",
    "gan_augmentation",
    "oversample",
    "smote",
    "undersample",
    "unskew",
    "weigh_classes",
]

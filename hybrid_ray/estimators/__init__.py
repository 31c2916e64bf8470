"""Built-in estimators, registered by import."""

from hybrid_ray.estimators import (
    extra_trees,
    hist_gradient_boosting,
    knn,
    lightgbm,
    logistic,
    mlp,
    naive_bayes,
    random_forest,
    ridge,
    svm,
    xgboost,
)

__all__ = [
    "extra_trees",
    "hist_gradient_boosting",
    "knn",
    "lightgbm",
    "logistic",
    "mlp",
    "naive_bayes",
    "random_forest",
    "ridge",
    "svm",
    "xgboost",
]

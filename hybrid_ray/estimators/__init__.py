"""Built-in estimators, registered by import."""

from hybrid_ray.estimators import (
    adaboost,
    decision_tree,
    extra_trees,
    gaussian_process,
    hist_gradient_boosting,
    knn,
    lightgbm,
    logistic,
    mlp,
    naive_bayes,
    nystroem_svm,
    random_forest,
    ridge,
    svm,
    xgboost,
)

__all__ = [
    "adaboost",
    "decision_tree",
    "extra_trees",
    "gaussian_process",
    "hist_gradient_boosting",
    "knn",
    "lightgbm",
    "logistic",
    "mlp",
    "naive_bayes",
    "nystroem_svm",
    "random_forest",
    "ridge",
    "svm",
    "xgboost",
]

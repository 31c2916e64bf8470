"""scikit-learn's own checks of our estimators: many, and rarely one that fails; hence in the slow tier."""

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from hybrid_ray.estimators.models.adaboost import BoostedClassifier, BoostedRegressor
from hybrid_ray.estimators.models.bags import BagClassifier, BagRegressor
from hybrid_ray.estimators.models.bayes import BayesClassifier
from hybrid_ray.estimators.models.boosted_network import BoostedNetworkClassifier, BoostedNetworkRegressor
from hybrid_ray.estimators.models.forest import ForestClassifier, ForestRegressor
from hybrid_ray.estimators.models.gaussian_process import ProcessClassifier, ProcessRegressor
from hybrid_ray.estimators.models.head import HeadClassifier, HeadRegressor
from hybrid_ray.estimators.models.hist import HistClassifier, HistRegressor
from hybrid_ray.estimators.models.kernel import KernelClassifier, KernelRegressor
from hybrid_ray.estimators.models.lgbm import LightGBMClassifier, LightGBMRegressor
from hybrid_ray.estimators.models.linear import LinearClassifier, LinearRegressor
from hybrid_ray.estimators.models.neighbours import NeighbourClassifier, NeighbourRegressor
from hybrid_ray.estimators.models.network import NetworkClassifier, NetworkRegressor
from hybrid_ray.estimators.models.nystroem import LandmarkClassifier, LandmarkRegressor
from hybrid_ray.estimators.models.tree import TreeClassifier, TreeRegressor
from hybrid_ray.estimators.models.weighted_ensemble import EnsembleClassifier, EnsembleRegressor
from hybrid_ray.estimators.models.xgb import XGBoostClassifier, XGBoostRegressor

OURS = [
    BagClassifier(learner="logistic", n_bags=3),
    BagRegressor(n_bags=5),
    BayesClassifier(),
    BoostedClassifier(n_estimators=20),
    BoostedRegressor(n_estimators=20),
    BoostedNetworkClassifier(n_estimators=5, shrinkage=0.5),
    BoostedNetworkRegressor(n_estimators=5, shrinkage=0.5),
    EnsembleClassifier(members=("logistic", "decision_tree"), n_folds=3),
    EnsembleRegressor(members=("ridge", "decision_tree"), n_folds=3),
    ForestClassifier(n_estimators=10),
    ForestRegressor(n_estimators=10, extra=True),
    HeadClassifier(hidden=16, learning_rate=0.02, max_epochs=20),
    HeadRegressor(hidden=16, learning_rate=0.05, max_epochs=40),
    HistClassifier(n_estimators=10, min_samples_leaf=5, learning_rate=0.3),
    HistRegressor(n_estimators=10, min_samples_leaf=5, learning_rate=0.3),
    KernelClassifier(),
    KernelRegressor(),
    LandmarkClassifier(n_landmarks=40),
    LandmarkRegressor(n_landmarks=40),
    LightGBMClassifier(n_estimators=10, min_child_samples=5, learning_rate=0.3),
    LightGBMRegressor(n_estimators=20, min_child_samples=5, learning_rate=0.3),
    LinearClassifier(),
    LinearRegressor(),
    NeighbourClassifier(),
    NeighbourRegressor(),
    NetworkClassifier(hidden=16, learning_rate=0.02, max_epochs=40),
    NetworkRegressor(hidden=16, learning_rate=0.02, max_epochs=40),
    ProcessClassifier(),
    ProcessRegressor(),
    TreeClassifier(),
    TreeRegressor(),
    XGBoostClassifier(n_estimators=10, learning_rate=0.3),
    XGBoostRegressor(n_estimators=20, learning_rate=0.3),
]


def checks(estimator):
    """scikit-learn's checks, but the one that is skipped unless an environment variable asks for other array types."""
    for copy, check in estimator_checks_generator(estimator):
        name = check.func.__name__
        if name != "check_array_api_input":
            yield pytest.param(copy, check, id=f"{type(estimator).__name__}-{name}")


@pytest.mark.slow
@pytest.mark.parametrize(("estimator", "check"), [case for estimator in OURS for case in checks(estimator)])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)

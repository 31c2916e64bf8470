import json

import numpy as np
import pytest
import xgboost

from hybrid_ray.errors import ArtifactError
from hybrid_ray.estimators.models import boosting
from hybrid_ray.estimators.models.boosting import FEW_BINS, FEW_ROUNDS, MANY_BINS, MOST_TREES, WIDE
from hybrid_ray.estimators.models.hist import HistClassifier, HistRegressor
from hybrid_ray.estimators.models.lgbm import LightGBMClassifier, LightGBMRegressor
from hybrid_ray.estimators.models.xgb import BLOB, XGBoostClassifier, XGBoostRegressor, halfway
from hybrid_ray.types import State

CLASSIFIERS = [HistClassifier, LightGBMClassifier, XGBoostClassifier]
REGRESSORS = [HistRegressor, LightGBMRegressor, XGBoostRegressor]


@pytest.fixture(scope="module")
def noisy():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 5)).astype(np.float32)
    return X, (X[:, 0] + rng.normal(size=500) > 0).astype(int), X[:, 0] + rng.normal(size=500)


@pytest.mark.parametrize("model", CLASSIFIERS)
def test_growing_stops_where_held_out_rows_get_no_better(noisy, model):
    X, y, _ = noisy
    stopped = model(learning_rate=0.3, patience=10, refit_rows=0).fit(X, y)
    assert 1 <= stopped.rounds_[0] < 60
    loss = -np.log(stopped.predict_proba(X)[np.arange(len(y)), y]).mean()
    assert 0.2 < loss < 0.65  # neither the prior nor learned by heart


@pytest.mark.parametrize("model", REGRESSORS)
def test_a_last_fit_uses_all_rows_with_the_rounds_found(noisy, model):
    X, _, y = noisy
    without = model(learning_rate=0.2, patience=10, refit_rows=0).fit(X, y)
    with_all = model(learning_rate=0.2, patience=10, refit_rows=500).fit(X, y)
    np.testing.assert_array_equal(without.rounds_, with_all.rounds_)
    assert np.abs(without.predict(X) - with_all.predict(X)).max() > 1e-3


@pytest.mark.parametrize("model", REGRESSORS)
def test_the_unit_of_the_target_changes_nothing(noisy, model):
    X, _, y = noisy
    plain = model(n_estimators=20, patience=10).fit(X, y).predict(X)
    scaled = model(n_estimators=20, patience=10).fit(X, 1e7 + 1e5 * y).predict(X)
    np.testing.assert_allclose((scaled - 1e7) / 1e5, plain, atol=1e-3)


@pytest.mark.parametrize("model", CLASSIFIERS)
def test_few_rows_are_all_used_for_a_fixed_number_of_rounds(noisy, model):
    X, y, _ = noisy
    assert model().fit(X[:40], y[:40]).rounds_[0] == FEW_ROUNDS


@pytest.mark.parametrize("model", [LightGBMClassifier, XGBoostClassifier])
def test_many_classes_end_after_a_bounded_number_of_trees(model):
    rng = np.random.default_rng(0)
    y = np.arange(1200) % 24
    X = (np.eye(24)[y] * 0.5 + rng.normal(size=(1200, 24))).astype(np.float32)
    small = {"max_depth": 1} if model is XGBoostClassifier else {"num_leaves": 2}
    fitted = model(learning_rate=0.02, refit_rows=0, **small).fit(X, y)
    assert fitted.rounds_[0] <= max(FEW_ROUNDS, MOST_TREES // 24)


@pytest.mark.parametrize(("n_features", "expected"), [(WIDE, MANY_BINS), (WIDE + 1, FEW_BINS)])
def test_wide_features_get_few_bins(n_features, expected):
    X = np.random.default_rng(0).normal(size=(90, n_features)).astype(np.float32)
    y = (X[:, 0] > 0).astype(int)
    assert HistClassifier(n_estimators=2).fit(X, y).booster_.max_bins == expected
    config = json.loads(XGBoostClassifier(n_estimators=2).fit(X, y).booster_.save_config())
    assert config["learner"]["gradient_booster"]["tree_train_param"]["max_bin"] == str(expected)
    text = LightGBMClassifier(n_estimators=2).fit(X, y).pack().blobs["model.txt"].decode()
    assert f"[max_bin: {expected}]" in text


@pytest.mark.parametrize("model", REGRESSORS)
def test_large_training_data_is_fitted_once(noisy, model, monkeypatch):
    X, _, y = noisy
    once = model(n_estimators=20, refit_rows=0).fit(X, y).predict(X)
    monkeypatch.setattr(boosting, "REFIT_CELLS", X.size - 1)
    np.testing.assert_array_equal(model(n_estimators=20, refit_rows=10**6).fit(X, y).predict(X), once)
    monkeypatch.setattr(boosting, "REFIT_CELLS", X.size)
    assert not np.array_equal(model(n_estimators=20, refit_rows=10**6).fit(X, y).predict(X), once)


def test_an_xgboost_model_of_a_gpu_answers_on_the_cpu(noisy):
    X, y, _ = noisy
    model = XGBoostClassifier(n_estimators=10).fit(X, y)
    expected = model.predict_proba(X)
    model.booster_.set_param({"device": "cuda"})
    state = model.pack()
    state.meta["params"] = {**state.meta["params"], "device": "cuda", "n_jobs": 16}
    loaded = XGBoostClassifier.unpack(state)
    generic = json.loads(loaded.booster_.save_config())["learner"]["generic_param"]
    assert generic["device"] == "cpu"
    assert generic["nthread"] == "1"
    assert (loaded.device, loaded.n_jobs) == ("cpu", 1)
    np.testing.assert_array_equal(loaded.predict_proba(X), expected)


@pytest.mark.parametrize("model", [LightGBMClassifier, XGBoostClassifier])
def test_a_damaged_booster_is_refused(noisy, model):
    X, y, _ = noisy
    state = model(n_estimators=5).fit(X, y).pack()
    for blobs in ({}, {next(iter(state.blobs)): b"\x00garbage"}):
        with pytest.raises(ArtifactError, match="must be a booster"):
            model.unpack(State(state.meta, state.tensors, blobs))


def test_xgboost_keeps_ubj(noisy):
    X, y, _ = noisy
    assert XGBoostClassifier(n_estimators=5).fit(X, y).pack().blobs[BLOB].startswith(b"{L")


def test_lightgbm_keeps_text(noisy):
    X, y, _ = noisy
    assert LightGBMClassifier(n_estimators=5).fit(X, y).pack().blobs["model.txt"].startswith(b"tree\n")


@pytest.mark.parametrize("model", [HistRegressor, LightGBMRegressor, XGBoostRegressor])
@pytest.mark.parametrize("refit_rows", [0, 500])
def test_rounding_moves_no_training_row_to_the_other_side_of_a_threshold(noisy, model, refit_rows):
    X, _, y = noisy
    grown = model(n_estimators=50, learning_rate=0.3, refit_rows=refit_rows).fit(X, y)
    for sign in (-1, 1):
        near = X * np.float32(1 + sign * 1e-6)
        assert (np.abs(grown.predict(near) - grown.predict(X)) < 1e-6).all()


def test_thresholds_half_way_part_training_rows_as_before(noisy):
    X, y, _ = noisy
    X = np.round(X, 1)  # rows share values
    settings = {"objective": "binary:logistic", "device": "cpu", "nthread": 1, "tree_method": "hist", "max_depth": 4}
    plain = xgboost.train(settings, xgboost.QuantileDMatrix(X, y), 20)
    before, trees = plain.inplace_predict(X), plain.trees_to_dataframe()
    moved = halfway(plain, X, settings)
    np.testing.assert_array_equal(moved.inplace_predict(X), before)
    after = moved.trees_to_dataframe()
    inner = after["Feature"] != "Leaf"
    assert (after.loc[~inner, "Gain"] == trees.loc[~inner, "Gain"]).all()
    for feature, old, new in zip(after["Feature"][inner], trees["Split"][inner], after["Split"][inner], strict=True):
        values = np.unique(X[:, int(feature[1:])])
        low, high = values[values < old].max(), values[values >= old].min()
        assert new == pytest.approx((low + high) / 2)


def test_a_threshold_between_neighbouring_floats_still_parts_them():
    one = np.float32(1.0)
    X = np.array([[one], [np.nextafter(one, np.float32(2))]] * 20, np.float32)
    y = np.tile([0.0, 1.0], 20)
    said = XGBoostRegressor(min_child_weight=0.0, subsample=1.0, held_share=0.0, learning_rate=0.5).fit(X, y).predict(X)
    np.testing.assert_allclose(said, y, atol=0.01)

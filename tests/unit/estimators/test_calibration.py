import numpy as np
import pytest
from scipy.special import expit, softmax

from hybrid_ray.estimators.models.calibration import calibrated, fit_calibration


def log_loss(proba, codes):
    return -np.log(proba[np.arange(len(codes)), codes]).mean()


def test_two_classes_give_back_the_slope_that_made_the_labels():
    rng = np.random.default_rng(0)
    decision = rng.normal(size=20_000) * 2
    codes = (rng.random(20_000) < expit(1.5 * decision + 0.4)).astype(int)
    found = fit_calibration(np.column_stack([-decision, decision]), codes)
    np.testing.assert_allclose(found[0].sum(), 1.5, atol=0.06)
    np.testing.assert_allclose(found[1, 1] - found[1, 0], 0.4, atol=0.06)


def test_overconfident_scores_are_pulled_back():
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(6000, 4))
    codes = np.array([rng.choice(4, p=p) for p in softmax(logits, axis=1)])
    found = fit_calibration(10 * logits, codes)
    np.testing.assert_allclose(found[0], 0.1, atol=0.01)
    assert log_loss(calibrated(10 * logits, found), codes) < log_loss(softmax(10 * logits, axis=1), codes) - 0.5


def test_slopes_are_never_negative():
    rng = np.random.default_rng(2)
    decision = rng.normal(size=500)
    codes = (rng.random(500) < expit(-2 * decision)).astype(int)
    found = fit_calibration(np.column_stack([-decision, decision]), codes)
    assert (found[0] >= 0).all()
    np.testing.assert_allclose(calibrated(np.array([[-1.0, 1.0]]), found)[0], np.bincount(codes) / 500, atol=0.02)


@pytest.mark.parametrize("scores", [np.zeros((30, 3)), np.full((30, 3), 7.0)], ids=["zeros", "constant"])
def test_scores_that_say_nothing_give_the_class_shares(scores):
    codes = np.repeat([0, 1, 2], [15, 10, 5])
    proba = calibrated(scores, fit_calibration(scores, codes))
    np.testing.assert_allclose(proba[0], [0.5, 1 / 3, 1 / 6], atol=0.03)


def test_perfect_scores_stay_off_0_and_1():
    codes = np.repeat([0, 1], 20)
    decision = np.where(codes == 1, 5.0, -5.0)
    scores = np.column_stack([-decision, decision])
    proba = calibrated(scores, fit_calibration(scores, codes))
    assert 0.95 < proba[0, 0] < 1 - 1e-6


def test_a_class_without_rows_keeps_a_small_share():
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(60, 3))
    proba = calibrated(scores, fit_calibration(scores, rng.integers(2, size=60)))
    assert (proba[:, 2] < 0.1).all()


def test_weights_move_the_offsets():
    codes = np.repeat([0, 1], [90, 10])
    scores = np.zeros((100, 2))
    weights = np.where(codes == 0, 100 / 180, 100 / 20)
    np.testing.assert_allclose(calibrated(scores, fit_calibration(scores, codes, weights))[0], 0.5, atol=0.02)

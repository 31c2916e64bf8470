"""Labels that are likely to be wrong are found by predictions that did not see them."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

from hybrid_ray.evaluation.label_errors import confident_joint, label_errors


def test_wrong_labels_are_found_in_real_rows():
    X, truth = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    wrong = rng.choice(len(truth), 90, replace=False)
    y = truth.copy()
    y[wrong] = (y[wrong] + rng.integers(1, 10, size=90)) % 10
    found = label_errors(
        y, cross_val_predict(LogisticRegression(max_iter=200), X / 16, y, cv=5, method="predict_proba")
    )
    assert 60 <= len(found.rows) <= 150
    right = np.isin(found.rows, wrong)
    assert right[:50].mean() > 0.95
    assert np.isin(wrong, found.rows).mean() > 0.75
    assert (found.likely[right] == truth[found.rows[right]]).mean() > 0.9


def test_the_joint_has_the_counts_of_the_labels():
    rng = np.random.default_rng(1)
    y = rng.integers(3, size=300)
    joint = confident_joint(y, rng.dirichlet(np.ones(3), size=300))
    assert joint.sum(axis=1) == pytest.approx(np.bincount(y))


def test_rows_that_are_predicted_as_they_are_labelled_are_none():
    y = np.array([0, 1, 2] * 20)
    found = label_errors(y, np.eye(3)[y] * 0.7 + 0.1)
    assert not len(found.rows)
    assert found.joint == pytest.approx(np.diag([20.0, 20.0, 20.0]))


def test_a_class_without_rows_takes_none():
    y = np.array([0, 0, 1, 1] * 10)
    found = label_errors(y, np.tile([0.2, 0.2, 0.6], (40, 1)))
    assert not np.isin(2, found.likely)

"""Losses are those of the rows whose label is known."""

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from hybrid_ray.monitoring.losses import row_losses, with_losses
from hybrid_ray.serving.verdict import Tally


def test_classes_are_scored_by_brier():
    rng = np.random.default_rng(0)
    outputs = rng.dirichlet([1, 1], 50)
    codes = rng.integers(0, 2, 50)
    labels = ["yes" if code else "no" for code in codes]
    assert row_losses(outputs, labels, ["no", "yes"]).mean() == pytest.approx(
        2 * brier_score_loss(codes, outputs[:, 1])
    )


def test_what_is_not_known_does_not_count():
    outputs = np.array([[0.5, 0.5], [1.0, 0.0], [0.0, 1.0]])
    assert row_losses(outputs, [None, "1", "9"], [1, 2]).tolist() == [0.0]
    assert row_losses(np.array([[1.0], [2.0], [3.0]]), ["1.5", "x", None], None).tolist() == [0.5]
    assert len(row_losses(outputs, [None] * 3, [1, 2])) == 0


def test_a_tally_holds_their_sums():
    assert with_losses(Tally(9), np.array([1.0, 2.0])) == Tally(9, 0, 0, 2, 3.0, 5.0)

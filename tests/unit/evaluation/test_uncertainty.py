import numpy as np
import pytest

from hybrid_ray.evaluation.uncertainty import entropy_parts, measure_uncertainty, row_uncertainty, spread
from hybrid_ray.fusion.predictive import NormalMixture

HALF = np.array([0.5, 0.5])


def test_members_that_agree_leave_nothing_between_them_and_sure_ones_that_differ_everything():
    agree = np.full((2, 1, 2), 0.5)
    differ = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    total, aleatoric, epistemic = entropy_parts(np.concatenate([agree, differ], axis=1), HALF)
    np.testing.assert_allclose(total, np.log(2))
    np.testing.assert_allclose(aleatoric, [np.log(2), 0.0], atol=1e-15)
    np.testing.assert_allclose(epistemic, [0.0, np.log(2)], atol=1e-15)


def test_the_epistemic_part_is_the_mutual_information():
    rng = np.random.default_rng(0)
    outputs, weights = rng.dirichlet(np.ones(4), size=(3, 20)), rng.dirichlet(np.ones(3))
    joint = weights[:, None, None] * outputs
    expected = (joint * np.log(joint / (weights[:, None, None] * joint.sum(axis=0)))).sum(axis=(0, 2))
    parts = entropy_parts(outputs, weights)
    np.testing.assert_allclose(parts.epistemic, expected, rtol=1e-9)
    np.testing.assert_allclose(parts.total, parts.aleatoric + parts.epistemic, rtol=1e-12)


def test_spread_is_the_weighted_deviation():
    np.testing.assert_allclose(spread(np.array([[1.0, 5.0], [3.0, 5.0]]), HALF), [1.0, 0.0])
    np.testing.assert_allclose(spread(np.array([[0.0], [4.0]]), np.array([0.75, 0.25])), [np.sqrt(3.0)])


def test_members_without_weight_are_left_aside_and_signs_do_not_matter():
    members = {"a": np.array([[1.0]]), "b": np.array([[3.0]]), "c": np.array([[99.0]])}
    assert row_uncertainty(members, {"a": 0.4, "b": -0.4, "c": 0.0})["spread"] == pytest.approx([1.0])
    assert row_uncertainty(members, {}) == {}
    assert measure_uncertainty(np.zeros(1), members["a"], members, {}) is None


def test_an_ensemble_that_knows_where_it_is_wrong_is_told_from_one_that_does_not():
    rng = np.random.default_rng(1)
    n = 400
    y = rng.integers(2, size=n)
    hard = rng.random(n) < 0.4
    knowing, blind = {}, {}
    for name in ("a", "b", "c"):
        guess = np.where(hard, rng.integers(2, size=n), y)
        sure = np.where(hard, 0.6, 0.95)
        knowing[name] = np.where(np.eye(2)[guess] == 1, sure[:, None], 1 - sure[:, None])
        blind[name] = np.where(np.eye(2)[guess] == 1, 0.9, 0.1)
    weights = dict.fromkeys(knowing, 1 / 3)
    found = {}
    for kind, members in (("knowing", knowing), ("blind", {"a": blind["a"]})):
        answer = np.mean([members[name] for name in members], axis=0)
        card = measure_uncertainty(y, answer, members, {name: weights[name] for name in members})
        found[kind] = {row.name: row for row in card.measures}
        assert card.unit == "nats"
    assert found["knowing"]["total"].finds.low > 0.75
    assert found["knowing"]["total"].wrong > found["knowing"]["total"].right
    assert found["blind"]["total"].finds.value == pytest.approx(0.5)
    assert found["blind"]["epistemic"].mean == pytest.approx(0.0, abs=1e-12)


def test_intervals_of_the_right_width_hold_what_they_promise_and_narrow_ones_less():
    rng = np.random.default_rng(2)
    y = rng.normal(size=2000)
    answer = np.zeros((2000, 1))
    cards = [
        measure_uncertainty(
            y,
            answer,
            {"a": answer, "b": answer + 0.1},
            {"a": 1.0, "b": 0.0},
            predictive=NormalMixture(np.ones(1), answer, np.array([deviation])),
            margins={0.9: 1.645},
        )
        for deviation in (1.0, 0.5)
    ]
    right, narrow = ({(row.of, row.level): row for row in card.coverage} for card in cards)
    for level in (0.5, 0.8, 0.9, 0.95):
        row = right["predictive distribution", level]
        assert row.covered.low < level < row.covered.high
    assert narrow["predictive distribution", 0.9].covered.high < 0.7
    assert right["held-out errors", 0.9].covered.low < 0.9 < right["held-out errors", 0.9].covered.high
    assert right["held-out errors", 0.9].width == pytest.approx(2 * 1.645)
    assert [row.name for row in cards[0].measures] == ["spread", "deviation"]
    assert cards[0].members == 1


def test_without_a_wrong_row_nothing_is_found():
    sure = np.eye(2)[[0, 1]] * 0.8 + 0.1
    card = measure_uncertainty(np.array([0, 1]), sure, {"a": sure}, {"a": 1.0})
    assert card.measures[0].wrong is None
    assert card.measures[0].finds.value is None

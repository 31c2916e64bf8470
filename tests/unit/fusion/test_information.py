import numpy as np
import pytest

from hybrid_ray.fusion.information import column_parts, information, label_codes, mutual_information, spread_rows


def told(X, y, known=None):
    return information(column_parts(np.asarray(X, float), 4), label_codes(np.asarray(y)), known)


def test_what_is_known_already_tells_no_more():
    rng = np.random.default_rng(0)
    y = rng.integers(4, size=4000)
    half, other, noise = y // 2, y % 2, rng.normal(size=4000)
    X = np.column_stack([half, other, noise])
    np.testing.assert_allclose(told(X, y), [np.log(2), np.log(2), 0.0], atol=0.01)
    np.testing.assert_allclose(told(X, y, half), [0.0, np.log(2), 0.0], atol=0.01)


def test_what_tells_only_beside_another():
    rng = np.random.default_rng(0)
    a, b = rng.integers(2, size=(2, 4000))
    y = a ^ b
    assert told(b[:, None], y)[0] == pytest.approx(0.0, abs=0.01)
    assert told(b[:, None], y, a)[0] == pytest.approx(np.log(2), abs=0.01)


def test_chance_is_taken_off_in_every_group():
    rng = np.random.default_rng(0)
    X, y, known = rng.normal(size=(600, 200)), rng.integers(5, size=600), rng.integers(6, size=600)
    assert abs(told(X, y, known).mean()) < 0.02


def test_one_group_is_nothing_known():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 5)), rng.integers(3, size=300)
    np.testing.assert_array_equal(told(X, y, np.zeros(300, np.int64)), told(X, y))
    np.testing.assert_array_equal(mutual_information(X, y, bins=4), told(X, y))
    assert mutual_information(X[:0], y[:0]).tolist() == [0.0] * 5


def test_many_rows_are_counted_at_a_distance():
    rows = np.arange(50_000)[spread_rows(50_000)]
    assert len(rows) <= 20_000
    assert (np.diff(rows) == 3).all()
    assert len(np.arange(20_000)[spread_rows(20_000)]) == 20_000


@pytest.mark.parametrize("share", [0.5, 0.06, 0.02])
@pytest.mark.parametrize("bins", [8, 16])
def test_a_rare_value_is_told_apart(share, bins):
    """Most counts of words, and most flags of rare values, are 0."""
    rng = np.random.default_rng(0)
    y = (rng.random(4000) < share).astype(np.int64)
    counts = np.where(y, rng.integers(1, 9, 4000), 0)
    told = mutual_information(np.column_stack([y, 1 - y, counts, rng.normal(size=4000)]), y, bins)
    entropy = -sum(p * np.log(p) for p in (y.mean(), 1 - y.mean()))
    np.testing.assert_allclose(told, [entropy, entropy, entropy, 0.0], atol=0.01)

"""Two-sample tests keep their level where nothing differs, see what does, and agree with brute force."""

import itertools

import numpy as np
import pytest

from hybrid_ray.monitoring.two_sample import (
    NOTHING,
    chi_squared,
    kolmogorov_smirnov,
    maximum_mean_discrepancy,
    stability_index,
    stability_of_categories,
)


def vectors(rng, n, d=4, shift=0.0):
    return (rng.normal(size=(n, d)) + shift).astype(np.float32)


def words(rng, n, p):
    return rng.choice([f"c{i}" for i in range(len(p))], n, p=p).tolist()


def test_what_is_too_few_tells_nothing():
    assert kolmogorov_smirnov(np.zeros(1), np.zeros(100)) == NOTHING
    assert chi_squared([], ["a"]) == NOTHING
    assert chi_squared(["a"] * 50, ["a"] * 50) == NOTHING
    rng = np.random.default_rng(0)
    assert maximum_mean_discrepancy(vectors(rng, 1), vectors(rng, 9), seed=0) == NOTHING
    assert maximum_mean_discrepancy(vectors(rng, 9, 0), vectors(rng, 9, 0), seed=0) == NOTHING


@pytest.mark.parametrize("level", [0.05, 0.2])
def test_the_level_is_kept_where_nothing_differs(level):
    rng = np.random.default_rng(1)
    share = [0.5, 0.3, 0.1, 0.06, 0.03, 0.01]
    found = {
        "ks": [kolmogorov_smirnov(rng.normal(size=200), rng.normal(size=80)).p_value for _ in range(600)],
        "chi": [chi_squared(words(rng, 200, share), words(rng, 80, share)).p_value for _ in range(600)],
        "mmd": [
            maximum_mean_discrepancy(vectors(rng, 40), vectors(rng, 25), seed=i, level=0.01).p_value for i in range(600)
        ],
    }
    for name, p_values in found.items():  # four standard deviations above the level
        assert np.mean(np.array(p_values) <= level) < level + 4 * np.sqrt(level * (1 - level) / 600), name


def test_a_shift_is_seen():
    rng = np.random.default_rng(2)
    assert kolmogorov_smirnov(rng.normal(size=300), rng.normal(0.8, size=150)).p_value < 1e-5
    assert chi_squared(words(rng, 300, [0.6, 0.3, 0.1]), words(rng, 150, [0.3, 0.3, 0.4])).p_value < 1e-5
    assert maximum_mean_discrepancy(vectors(rng, 200), vectors(rng, 120, shift=0.4), seed=0).p_value < 0.001


def test_a_shape_that_no_mean_tells_is_seen_in_vectors():
    rng = np.random.default_rng(3)
    ring = rng.normal(size=(400, 2))
    ring /= np.linalg.norm(ring, axis=1, keepdims=True) / np.sqrt(2)
    assert maximum_mean_discrepancy(vectors(rng, 400, 2), ring.astype(np.float32), seed=0).p_value < 0.001


def test_a_category_that_is_new_is_seen_and_a_rare_one_alone_is_not():
    before = ["a"] * 200 + ["b"] * 100
    assert chi_squared(before, ["a"] * 60 + ["b"] * 30 + ["new"] * 30).p_value < 1e-6
    assert chi_squared(before, ["a"] * 66 + ["b"] * 33 + ["new"]).p_value > 0.05


def test_the_discrepancy_is_the_unbiased_estimate_of_its_source():
    rng = np.random.default_rng(4)
    before, now = vectors(rng, 7, 3), vectors(rng, 5, 3, shift=1.0)
    both = np.concatenate([before, now]).astype(np.float64)
    both = (both - both.mean(axis=0)) / both.std(axis=0)
    pairs = list(itertools.combinations(range(12), 2))
    width = np.median([((both[i] - both[j]) ** 2).sum() for i, j in pairs])

    def kernel(i, j):
        return np.exp(-((both[i] - both[j]) ** 2).sum() / width)

    first, second = range(7), range(7, 12)
    expected = (
        sum(kernel(i, j) for i in first for j in first if i != j) / (7 * 6)
        + sum(kernel(i, j) for i in second for j in second if i != j) / (5 * 4)
        - 2 * sum(kernel(i, j) for i in first for j in second) / 35
    )
    assert maximum_mean_discrepancy(before, now, seed=0).statistic == pytest.approx(expected, abs=1e-9)


def test_a_level_can_be_told_from_nothing():
    rng = np.random.default_rng(5)
    for level in (0.01, 0.0005):
        assert (
            maximum_mean_discrepancy(vectors(rng, 60), vectors(rng, 60, shift=3), seed=0, level=level).p_value <= level
        )


def test_a_constant_vector_is_no_difference():
    same = np.ones((30, 3), np.float32)
    assert maximum_mean_discrepancy(same, same[:20], seed=0).p_value == 1.0


def test_the_same_seed_tells_the_same():
    rng = np.random.default_rng(6)
    before, now = vectors(rng, 800), vectors(rng, 700, shift=0.05)
    assert maximum_mean_discrepancy(before, now, seed=3) == maximum_mean_discrepancy(before, now, seed=3)


def test_the_stability_index_is_that_of_credit_scoring():
    before = np.repeat(np.arange(10.0), 100)
    now = np.repeat(np.arange(10.0), np.array([50, 150, 100, 100, 100, 100, 100, 100, 100, 100]))
    expected = (0.05 - 0.1) * np.log(0.05 / 0.1) + (0.15 - 0.1) * np.log(0.15 / 0.1)
    assert stability_index(before, now) == pytest.approx(expected)
    assert stability_of_categories([str(v) for v in before], [str(v) for v in now]) == pytest.approx(expected)
    assert stability_index(before, before) == 0
    assert np.isfinite(stability_index(before, now + 100))


def test_rare_categories_do_not_make_the_index():
    before = ["a"] * 500 + [f"rare{i}" for i in range(20)]
    now = ["a"] * 500 + [f"other{i}" for i in range(20)]
    assert stability_of_categories(before, now) == pytest.approx(0)

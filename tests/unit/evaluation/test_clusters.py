"""What rows say of clusters, and the metrics that are functions of it."""

import numpy as np
import pytest
from sklearn import metrics as reference
from sklearn.datasets import make_blobs

from hybrid_ray.errors import BadInputError
from hybrid_ray.evaluation.cluster_card import NEAREST, cluster_card
from hybrid_ray.evaluation.clusters import WIDTH, Evidence, assigned, gather, shuffled
from hybrid_ray.evaluation.intervals import bootstrap
from hybrid_ray.evaluation.metrics import METRICS, get_metric, metrics_of, score_all
from hybrid_ray.testing.estimators import toy_rows


def clustered(n=400, noise=0.2, seed=0):
    """Rows in four clusters, and two assignments that are partly wrong."""
    X, y = make_blobs(n, centers=4, random_state=seed, cluster_std=1.3, n_features=3)
    rng = np.random.default_rng(seed)
    first = np.where(rng.random(n) < noise, rng.integers(0, 4, n), y)
    second = (np.where(rng.random(n) < noise, rng.integers(0, 4, n), y) + 1) % 4
    return X.astype(np.float32), y, first, second


@pytest.fixture
def judged():
    X, y, first, second = clustered()
    return X, y, first, second, gather(X, first, second).table


def test_the_columns_come_back_from_their_table(judged):
    table = judged[-1]
    assert table.shape == (400, WIDTH)
    np.testing.assert_array_equal(Evidence.of(table).table, table)
    alone = Evidence.of(table[:, :1])
    np.testing.assert_array_equal(alone.cluster, table[:, 0])
    assert not alone.silhouette.any()


def test_scores_are_those_of_scikit_learn(judged):
    X, y, first, second, table = judged
    expected = {
        "silhouette": reference.silhouette_score(X, first),
        "calinski_harabasz": reference.calinski_harabasz_score(X, first),
        "davies_bouldin": reference.davies_bouldin_score(X, first),
        "stability": reference.adjusted_rand_score(first, second),
        "ari": reference.adjusted_rand_score(y, first),
        "nmi": reference.normalized_mutual_info_score(y, first),
        "purity": reference.cluster.contingency_matrix(first, y).max(axis=1).sum() / len(y),
    }
    found = score_all(y, table, "clustering")
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-5), name
    known = Evidence.of(table)
    np.testing.assert_allclose(known.silhouette, reference.silhouette_samples(X, first), atol=1e-6)


def test_a_comparison_with_labels_needs_the_clusters_only(judged):
    _, y, first, _, table = judged
    shares = np.eye(4)[first] * 0.9 + 0.025
    for name in ("nmi", "ari", "purity"):
        assert METRICS[name].score(y, assigned(shares)) == pytest.approx(METRICS[name].score(y, table))


def test_rows_without_a_label_are_left_out_of_the_comparison(judged):
    _, y, first, _, table = judged
    some = np.where(np.arange(len(y)) % 3 == 0, -1, y)
    known = some >= 0
    assert METRICS["ari"].score(some, table) == pytest.approx(reference.adjusted_rand_score(y[known], first[known]))
    nothing = score_all(np.full(len(y), -1), table, "clustering")
    assert all(np.isnan(nothing[name]) for name in ("nmi", "ari", "purity", "aic", "bic"))
    assert np.isfinite([nothing[name] for name in ("silhouette", "stability", "stable_silhouette")]).all()


@pytest.mark.parametrize("name", metrics_of("clustering"))
def test_a_row_of_weight_two_is_two_rows(judged, name):
    X, y, first, second, _ = judged
    table = gather(X, first, second, likelihood=-np.abs(X).sum(axis=1), parameters=27).table
    weights = np.random.default_rng(1).integers(0, 3, len(y))
    twice = np.repeat(np.arange(len(y)), weights)
    scorer = METRICS[name].scorer(y, table)
    assert scorer(weights[None].astype(float))[0] == pytest.approx(METRICS[name].score(y[twice], table[twice]))


def test_one_cluster_has_no_score(judged):
    X = judged[0]
    table = gather(X, np.zeros(len(X), int), np.zeros(len(X), int)).table
    found = score_all(np.full(len(X), -1), table, "clustering")
    assert all(np.isnan(value) for value in found.values())


def test_a_sample_tells_silhouettes_of_many_rows(monkeypatch):
    X, _, first, second = clustered(n=900)
    whole = Evidence.of(gather(X, first, second).table).silhouette
    monkeypatch.setattr("hybrid_ray.evaluation.clusters.SAMPLE", 300)
    sampled = Evidence.of(gather(X, first, second).table).silhouette
    assert sampled.shape == whole.shape
    assert np.abs(sampled - whole).max() > 0
    assert abs(sampled.mean() - whole.mean()) < 0.03


def test_chance_is_beaten_by_clusters_that_are_there():
    X, codes = toy_rows("clustering")
    known = gather(X, codes, codes)
    assert METRICS["stable_silhouette"].score(codes, known.table) > 0.3
    assert 0 < known.chance[0] < known.silhouette.mean()
    naive = shuffled(X, codes).table
    assert np.bincount(naive[:, 0].astype(int)).tolist() == np.bincount(codes).tolist(), "clusters of the same sizes"
    for name in ("stability", "silhouette", "stable_silhouette", "ari", "nmi"):
        assert METRICS[name].score(codes, naive) < 0.05, name


def test_columns_of_another_scale_have_the_same_score(judged):
    X, y, first, second, table = judged
    again = gather(1000 * X, first, second).table
    for name in ("stable_silhouette", "silhouette", "davies_bouldin", "calinski_harabasz"):
        assert METRICS[name].score(y, again) == pytest.approx(METRICS[name].score(y, table), rel=1e-4)


def test_intervals_hold_the_score(judged):
    _, y, _, _, table = judged
    for name, metric in metrics_of("clustering").items():
        low, high = bootstrap(y, table, metric, n=200)
        assert np.isnan(low) if name in ("aic", "bic") else low <= metric.score(y, table) <= high, name


def test_no_search_goes_by_labels():
    with pytest.raises(BadInputError, match="got 'nmi', which is only reported: it compares clusters with a label"):
        get_metric("nmi", "clustering")
    assert get_metric("auto", "clustering").name == "stable_silhouette"


def test_the_card_names_the_rows_nearest_to_each_centre(judged):
    X, y, first, _, table = judged
    numbers = np.arange(len(y)) + 1000
    card = cluster_card(y, table, numbers, ["a", "b", "c", "d"])
    assert [row.rows for row in card.rows] == np.bincount(first).tolist()
    assert sum(row.share for row in card.rows) == pytest.approx(1)
    own = np.flatnonzero(first == 2)
    far = np.square(X[own] - X[own].mean(axis=0)).sum(axis=1)
    assert card.rows[2].nearest == numbers[own[np.argsort(far)[:NEAREST]]].tolist()
    assert np.array([row.labels for row in card.rows]).sum(axis=0).tolist() == np.bincount(y).tolist()
    assert len(card.points) == len(y)
    assert all(values == sorted(values, reverse=True) for values in card.silhouettes)
    plain = cluster_card(np.full(len(y), -1), table, numbers, None)
    assert plain.labels == []
    assert plain.rows[0].labels == []

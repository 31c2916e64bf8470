"""Clusters from rows without a label to answers: run, predicted, and scored with a label and without."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hybrid_ray.on_ray.evaluate import evaluate_file
from hybrid_ray.on_ray.predict import predict_file
from hybrid_ray.testing.estimators import agreement

NAMES = [f"x{i}" for i in range(6)]


def clustered(n, seed=0):
    """Rows of three clusters that every column tells something of, and which they are."""
    rng = np.random.default_rng(seed)
    codes = np.arange(n) % 3
    return 5.0 * np.repeat(np.eye(3), 2, axis=1)[codes] + rng.normal(size=(n, 6)), codes


@pytest.fixture(scope="module")
def found(run, tmp_path_factory):
    """A run on rows of three clusters, and which they are."""
    folder = tmp_path_factory.mktemp("clusters")
    X, codes = clustered(150)
    pd.DataFrame(X, columns=NAMES).to_csv(folder / "rows.csv", index=False)
    spec = {
        "name": "groups",
        "task": "clustering",
        "data": {"path": str(folder / "rows.csv")},
        "search": {
            "trials": 3,
            "folds": 2,
            "batch": 2,
            "estimators": [{"name": name, "params": {"n_clusters": 3}} for name in ("kmeans", "agglomerative")],
        },
    }
    return run(spec, folder / "store"), codes, folder


def test_the_answer_tells_what_rows_say_and_what_chance_reaches(found):
    answer, _, _ = found
    assert (answer["task"], answer["metric"]) == ("clustering", "stable_silhouette")
    test, naive = answer["test"], answer["baselines"]["naive"]
    for name in ("stable_silhouette", "stability", "silhouette", "calinski_harabasz"):
        assert test[name] > naive[name], name
    assert test["nmi"] is None, "there is no label"
    assert [member["weight"] for member in answer["members"]] == [1.0]
    page = Path(answer["report"]).read_text()
    assert "Each cluster" in page
    assert "no label" in page


def test_rows_are_answered_their_cluster_and_memberships(found, cluster):
    answer, codes, folder = found
    store, out = str(folder / "store"), folder / "answers.csv"
    predict_file(cluster, answer["model"], store, str(folder / "rows.csv"), str(out))
    said = pd.read_csv(out)
    shares = said.filter(like="proba_").to_numpy()
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-9)
    np.testing.assert_array_equal(said["prediction"], shares.argmax(axis=1))
    assert agreement(said["prediction"].to_numpy(), codes) > 0.95


def test_clusters_are_scored_on_other_rows(found, cluster):
    answer, _, folder = found
    X, _ = clustered(90, seed=1)
    pd.DataFrame(X, columns=NAMES).to_csv(folder / "others.csv", index=False)
    scores = evaluate_file(cluster, answer["model"], str(folder / "store"), str(folder / "others.csv"))
    assert (scores["rows"], scores["unlabelled"]) == (90, 90)
    assert scores["test"]["stability"] > 0.9
    assert scores["test"]["ari"] is None

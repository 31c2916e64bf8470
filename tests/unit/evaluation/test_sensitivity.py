"""Importance of choices: known functions are told apart, the space is conditional, and few trials say nothing."""

import numpy as np
import pytest

from hybrid_ray.evaluation import sensitivity as module
from hybrid_ray.evaluation.sensitivity import LEAST_ACTIVE, LEAST_TRIALS, sensitivity


def trials(n, seed=0, noise=0.1):
    """A conditional space: the estimator matters most, then a block, then one parameter of one estimator."""
    rng = np.random.default_rng(seed)
    choices, scores = [], []
    for _ in range(n):
        estimator = str(rng.choice(["svm", "tree", "logistic"]))
        point = {
            "estimator": estimator,
            "blocks.text": bool(rng.integers(2)),
            "blocks.image": bool(rng.integers(2)),
            "fusion": str(rng.choice(["concat", "bilinear"])),
            "fixed": "always",
        }
        score = {"svm": 0.0, "tree": 1.0, "logistic": 0.2}[estimator] + 0.4 * point["blocks.text"]
        if estimator == "svm":
            point |= {"estimator.svm.C": float(10 ** rng.uniform(-3, 3)), "estimator.svm.gamma": float(rng.uniform())}
            score += 0.25 * np.log10(point["estimator.svm.C"])
        if estimator == "tree":
            point |= {"estimator.tree.depth": int(rng.integers(1, 9))}
        choices.append(point)
        scores.append(score + noise * rng.normal())
    return choices, np.array(scores)


@pytest.fixture
def quick(monkeypatch):
    """A smaller forest and fewer divisions, where numbers themselves do not matter."""
    monkeypatch.setattr(module, "TREES", 12)
    monkeypatch.setattr(module, "DIVISIONS", 8)


@pytest.fixture(scope="module")
def found():
    return sensitivity(*trials(90), "candidates")


def test_what_matters_is_told_from_what_does_not(found):
    rows = {row.name: row.importance for row in found.rows}
    assert found.rows[0].name == "estimator"
    assert found.explained.value > 0.7
    for name in ("estimator", "blocks", "blocks.text", "estimator.svm.C"):
        assert rows[name].low > 0, name
    for name in ("blocks.image", "fusion", "estimator.svm.gamma", "estimator.tree.depth"):
        assert rows[name].low <= 0.005, name
        assert abs(rows[name].value) < 0.03, name
    assert "fixed" not in rows


def test_importance_is_the_total_effect_index(found):
    """Against the definition: half the mean squared change of the rank when a choice alone is drawn anew."""
    choices, scores = trials(6000, noise=0.0)
    reference = np.sort(scores)
    ranks = np.searchsorted(reference, scores) / len(scores)
    flipped = scores + 0.4 * (1 - 2 * np.array([point["blocks.text"] for point in choices]))
    change = np.searchsorted(reference, flipped) / len(scores) - ranks
    expected = 0.5 * (change**2).mean() / (2 * ranks.var())  # half of the draws change nothing
    row = next(row for row in found.rows if row.name == "blocks.text")
    assert row.importance.low < expected < row.importance.high


def test_a_parameter_counts_where_it_was_open_only(found):
    rows = {row.name: row for row in found.rows}
    svm = sum(point["estimator"] == "svm" for point in trials(90)[0])
    assert rows["estimator.svm.C"].trials == svm
    assert rows["estimator"].trials == 90
    assert rows["estimator.svm.C"].where_open.low > 3 * rows["estimator.svm.C"].importance.value
    assert rows["estimator.svm.gamma"].where_open.low <= 0.01
    assert rows["estimator"].where_open.value == pytest.approx(rows["estimator"].importance.value)


@pytest.mark.usefixtures("quick")
def test_a_parameter_that_was_seldom_open_has_no_importance():
    choices, scores = trials(40, seed=2)
    for i, point in enumerate(choices):
        if i < LEAST_ACTIVE - 1:
            point["steps.smote.k"] = i
    row = next(row for row in sensitivity(choices, scores, "candidates").rows if row.name == "steps.smote.k")
    assert (row.trials, row.importance) == (LEAST_ACTIVE - 1, None)


@pytest.mark.usefixtures("quick")
def test_noise_has_no_important_choice():
    choices, _ = trials(60)
    for seed in range(2):
        scores = np.random.default_rng(seed).normal(size=60)
        assert all(row.importance.low <= 0 for row in sensitivity(choices, scores, "ensembles", seed).rows)


@pytest.mark.parametrize("n", [0, LEAST_TRIALS - 1])
def test_too_few_trials_say_nothing(n):
    card = sensitivity(*trials(n), "candidates")
    assert (card.trials, card.explained, card.rows) == (n, None, [])


def test_trials_that_all_score_the_same_say_nothing():
    choices, _ = trials(40)
    assert sensitivity(choices, np.ones(40), "candidates").rows == []


@pytest.mark.usefixtures("quick")
def test_scores_count_by_their_rank():
    choices, scores = trials(40, seed=2)
    disaster = scores.copy()
    disaster[scores.argmax()] = 1e6
    assert sensitivity(choices, disaster, "candidates") == sensitivity(choices, scores, "candidates")


@pytest.mark.usefixtures("quick")
def test_of_many_trials_some_are_looked_at_from_first_to_last(monkeypatch):
    choices, scores = trials(90, seed=3)
    monkeypatch.setattr(module, "MOST_TRIALS", 45)
    kept = np.linspace(0, 89, 45).round().astype(int)
    assert (kept[0], kept[-1], len(set(kept))) == (0, 89, 45)
    some = sensitivity([choices[i] for i in kept], scores[kept], "candidates")
    assert sensitivity(choices, scores, "candidates") == some
    assert some.trials == 45

"""Trials as rows of choices: names, what hangs on what, and scores of candidates that saw other folds."""

from types import SimpleNamespace

import numpy as np
import pytest

from hybrid_ray.candidate import Candidate
from hybrid_ray.search.choices import candidate_choices, candidate_scores, ensemble_scores
from hybrid_ray.search.ensembler import EnsembleTrial
from hybrid_ray.search.recipes import Recipe
from hybrid_ray.search.trials import TrialRecord

SVM = Candidate(("cnn",), "concat", "svm", {"scale": {"cnn": True}}, {"C": 2.0})
TREE = Candidate(("cnn", "tfidf"), "concat", "tree", {}, {"depth": 3})


def test_choices_of_candidates():
    first, second = candidate_choices([SVM, TREE])
    assert first == {
        "blocks.cnn": True,
        "blocks.tfidf": False,
        "fusion": "concat",
        "fusion.concat.scale.cnn": True,
        "estimator": "svm",
        "estimator.svm.C": 2.0,
    }
    assert (second["blocks.tfidf"], second["estimator.tree.depth"]) == (True, 3)


def test_steps_of_preparation_are_choices_that_every_candidate_made():
    form = {**SVM.to_json(), "steps": [{"name": "smote", "params": {"k": 5}}]}
    with_steps = SimpleNamespace(to_json=lambda: form)
    first, second = candidate_choices([with_steps, TREE])
    assert (first["steps.smote"], first["steps.smote.k"]) == (True, 5)
    assert second["steps.smote"] is False
    assert "steps.smote.k" not in second


def trial(number, candidate, scores, **fields):
    score = float(np.mean(scores)) if scores else 1e30
    return TrialRecord(number, candidate, score, len(scores), scores=tuple(scores), **fields)


def test_a_candidate_that_was_stopped_is_compared_on_its_own_folds():
    other = Candidate(("tfidf",), "concat", "svm")
    tried = [
        trial(0, SVM, [0.1, 0.9]),
        trial(1, TREE, [0.3, 1.1]),
        trial(2, other, [0.15], pruned=True),
        trial(3, SVM, [0.1, 0.9], repeats=0),
        trial(4, Candidate(("cnn",), "concat", "tree"), [], failed=True),
    ]
    choices, scores = candidate_scores(tried)
    assert len(choices) == 3
    assert scores == pytest.approx([-0.1, 0.1, -0.05])
    assert candidate_scores(tried[2:3])[0] == []


def test_ensembles_count_once_and_failures_never():
    pool = Recipe("pool", 4, "linear_pool", {"solver": "greedy"})
    stack = Recipe("best", 2, "stacking")
    tried = [
        EnsembleTrial(0, pool, 0.4, 1.0),
        EnsembleTrial(1, stack, 0.5, 1.0),
        EnsembleTrial(2, pool, 0.4, 0.0),
        EnsembleTrial(3, Recipe("best", 3, "stacking"), 1e30, 1.0, "singular"),
    ]
    choices, scores = ensemble_scores(tried)
    assert scores.tolist() == [0.4, 0.5]
    assert choices[0] == {
        "members": 4,
        "strategy": "pool",
        "combiner": "linear_pool",
        "combiner.linear_pool.solver": "greedy",
    }

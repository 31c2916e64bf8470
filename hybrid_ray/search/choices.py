"""Trials as rows of choices and scores: what the sensitivity of a search is computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hybrid_ray.candidate import Candidate
from hybrid_ray.search.ensembler import EnsembleTrial
from hybrid_ray.search.recipes import Recipe
from hybrid_ray.search.trials import TrialRecord
from hybrid_ray.types import AnyArray

Choices = dict[str, Any]
"""What one trial chose, by dotted name; a name that begins with another one hangs on it."""


def candidate_choices(candidates: Sequence[Candidate]) -> list[Choices]:
    """What each candidate chose.

    ``blocks.<id>`` and ``steps.<name>`` are true or false; ``fusion``, ``estimator`` and their parameters
    (``estimator.svm.C``) are there where they were open.
    """
    forms = [candidate.to_json() for candidate in candidates]
    blocks = sorted({block for form in forms for block in form["blocks"]})
    steps = sorted({step["name"] for form in forms for step in form.get("steps", ())})
    return [_of_candidate(form, blocks, steps) for form in forms]


def _of_candidate(form: Mapping[str, Any], blocks: Sequence[str], steps: Sequence[str]) -> Choices:
    taken = {step["name"]: step["params"] for step in form.get("steps", ())}
    found: Choices = {f"blocks.{block}": block in form["blocks"] for block in blocks}
    found |= {f"steps.{name}": name in taken for name in steps}
    for name, params in taken.items():
        found |= _below(f"steps.{name}", params)
    found["fusion"], found["estimator"] = form["fusion"], form["estimator"]
    found |= _below(f"fusion.{form['fusion']}", form["fusion_params"])
    return found | _below(f"estimator.{form['estimator']}", form["params"])


def recipe_choices(recipes: Sequence[Recipe]) -> list[Choices]:
    """What each ensemble chose: ``members`` (how many at most), ``strategy``, ``combiner`` and its parameters."""
    return [
        {"members": recipe.n_members, "strategy": recipe.strategy, "combiner": recipe.combiner}
        | _below(f"combiner.{recipe.combiner}", recipe.params)
        for recipe in recipes
    ]


def _below(prefix: str, values: Mapping[str, Any]) -> Choices:
    found: Choices = {}
    for name, value in values.items():
        here = f"{prefix}.{name}"
        found |= _below(here, value) if isinstance(value, Mapping) else {here: value}
    return found


def candidate_scores(trials: Sequence[TrialRecord]) -> tuple[list[Choices], AnyArray]:
    """Choices and scores of the candidates of a search, each once; failed ones are left out.

    A candidate that was stopped early has fewer folds, and folds differ: its score is its mean distance from what
    complete candidates reach on the same folds.

    Returns
    -------
    list of dict
    ndarray of float64 (n,)
    """
    kept = [trial for trial in trials if not trial.failed and trial.repeats is None and trial.scores]
    whole = [trial.scores for trial in kept if trial.complete]
    if not whole:
        return [], np.zeros(0)
    usual = np.array(whole, np.float64).mean(axis=0)
    scores = [float((np.array(trial.scores) - usual[: len(trial.scores)]).mean()) for trial in kept]
    return candidate_choices([trial.candidate for trial in kept]), np.array(scores, np.float64)


def ensemble_scores(tried: Sequence[EnsembleTrial]) -> tuple[list[Choices], AnyArray]:
    """Choices and scores of the ensembles of a search, each once; failed ones are left out."""
    kept: list[EnsembleTrial] = []
    for trial in tried:
        if not trial.error and all(trial.recipe != other.recipe for other in kept):
            kept.append(trial)
    return recipe_choices([trial.recipe for trial in kept]), np.array([trial.score for trial in kept], np.float64)

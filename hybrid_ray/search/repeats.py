"""Repeated folds: the best candidates of a search on other cuts of the same rows, so that tests rest on more scores.

A cut into k folds gives k scores a candidate; with ``search.repeats`` the rows are cut again, and the candidates that
are compared are fitted on these folds too. Only the comparison sees those scores: what is chosen was chosen before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from hybrid_ray.evaluation.folds import MOST
from hybrid_ray.search.fits import Outcome
from hybrid_ray.search.trials import TrialRecord


@dataclass(frozen=True)
class Repeats:
    """What the best candidates scored on other cuts.

    Attributes
    ----------
    scores : mapping of str to tuple of float
        By candidate key: the metric on each fold of the other cuts, one cut after another. A candidate that has none is
        left out.
    note : str
        Why there are fewer than were asked for; empty where there are not.
    """

    scores: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    note: str = ""


def finalists(ranked: Sequence[TrialRecord], bound: Collection[str]) -> list[TrialRecord]:
    """Of the candidates that are compared, those that can be fitted on another cut.

    Parameters
    ----------
    ranked : sequence of TrialRecord
        With all folds, best first.
    bound : collection of str
        Blocks whose features the folds of the search trained, too costly to be trained again.

    Returns
    -------
    list of TrialRecord
        Empty where there are fewer than two.
    """
    able = [trial for trial in ranked[:MOST] if not set(bound) & set(trial.candidate.blocks)]
    return able if len(able) > 1 else []


def gather(
    ranked: Sequence[TrialRecord],
    able: Sequence[TrialRecord],
    outcomes: Mapping[tuple[int, str], Outcome],
    n_cuts: int,
    asked: int,
) -> Repeats:
    """Put the scores of other cuts together.

    A cut that was begun and not ended counts for none; a candidate that fails on one stays with those before it.

    Parameters
    ----------
    ranked : sequence of TrialRecord
        With all folds, best first.
    able : sequence of TrialRecord
        Of these, the ``finalists``.
    outcomes : mapping of (int, str) to Outcome
        By position of the cut and candidate key; one is missing where there was no time for it.
    n_cuts : int
        Other cuts that there are.
    asked : int
        Cuts that were asked for, the search's own included.
    """
    keys = [trial.candidate.key for trial in able]
    done = 0
    while done < n_cuts and all((done, key) in outcomes and not outcomes[done, key].cut for key in keys):
        done += 1
    scores: dict[str, tuple[float, ...]] = {}
    failed: list[str] = []
    for trial in able:
        each = [outcomes[cut, trial.candidate.key] for cut in range(done)]
        wrong = next((number for number, outcome in enumerate(each) if outcome.error), done)
        if wrong < done:
            failed.append(f"{trial.candidate.label} could not be fitted on cut {wrong + 2}: {each[wrong].error}.")
        if wrong:
            scores[trial.candidate.key] = tuple(score for outcome in each[:wrong] for score in outcome.scores)
    bound = [trial.candidate.label for trial in ranked[:MOST] if trial not in able]
    notes = []
    if bound:
        notes.append(f"With one cut only, for what their folds trained: {', '.join(bound)}.")
    if able and n_cuts < asked - 1:
        notes.append(f"The rows allow {1 + n_cuts} of the {asked} cuts asked for.")
    if able and done < n_cuts:
        notes.append(f"There was time for {1 + done} of {1 + n_cuts} cuts.")
    return Repeats(scores, " ".join([*notes, *failed]))

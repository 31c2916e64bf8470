"""Whether the frozen or the tuned features were taken, and why: what a report says of a pretrained extractor's twin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hybrid_ray.candidate import Candidate
from hybrid_ray.search.plan import SearchPlan
from hybrid_ray.search.trials import TrialRecord


def twin_notes(
    plan: SearchPlan,
    ranked: Sequence[TrialRecord],
    members: Mapping[str, Candidate],
    weights: Mapping[str, float],
) -> list[str]:
    """One sentence for each pretrained extractor that stood beside its tuned twin.

    Parameters
    ----------
    plan : SearchPlan
    ranked : sequence of TrialRecord
        Trials with all folds, best first.
    members : mapping of str to Candidate
        Members of the ensemble that was taken.
    weights : mapping of str to float
        Their weights, where the combiner has some.
    """
    return [_note(plan, ranked, members, weights, frozen, tuned) for frozen, tuned in plan.twins]


def _note(
    plan: SearchPlan,
    ranked: Sequence[TrialRecord],
    members: Mapping[str, Candidate],
    weights: Mapping[str, float],
    frozen: str,
    tuned: str,
) -> str:
    taken = [name for name in (tuned, frozen) if any(name in c.blocks for c in members.values())]
    reads = " and ".join(f"{name} ({_share(name, members, weights)})" for name in taken) or "neither"
    scores = [_best(plan, ranked, own, other) for own, other in ((tuned, frozen), (frozen, tuned))]
    return (
        f"Frozen or tuned: of {frozen} and {tuned}, the model reads {reads}. Out of fold, {plan.metric} of the best "
        f"candidate with {tuned} and without {frozen} is {scores[0]}, the other way round {scores[1]}."
    )


def _share(block: str, members: Mapping[str, Candidate], weights: Mapping[str, float]) -> str:
    """Members that read a block, and what they weigh together."""
    readers = [name for name, candidate in members.items() if block in candidate.blocks]
    weight = f", weight {sum(weights.get(name, 0.0) for name in readers):.2f}" if weights else ""
    return f"{len(readers)} of {len(members)} members{weight}"


def _best(plan: SearchPlan, ranked: Sequence[TrialRecord], own: str, other: str) -> str:
    found = next((t for t in ranked if own in t.candidate.blocks and other not in t.candidate.blocks), None)
    return "not known" if found is None else f"{found.score:.4g} ({found.candidate.label})"

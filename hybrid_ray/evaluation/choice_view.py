"""What the page shows of the importance of choices, ready to be laid out."""

from __future__ import annotations

from dataclasses import dataclass

from hybrid_ray.evaluation.axis import Axis, Strip, interval_text
from hybrid_ray.evaluation.formatting import DASH, number
from hybrid_ray.evaluation.schema import ChoiceRow, Estimate, SensitivityCard


@dataclass(frozen=True)
class ChoiceLine:
    """One choice of the search."""

    name: str
    trials: int
    importance: str
    interval: str
    where_open: str
    """Importance among the trials in which it was open; empty where these are all."""
    open_interval: str
    strip: Strip | None
    certain: bool
    """True where its interval lies above zero."""


@dataclass(frozen=True)
class Sensitivity:
    """One layer of the search."""

    title: str
    said: str
    """What the numbers rest on, or why there are none."""
    ticks: list[tuple[float, str]]
    lines: list[ChoiceLine]


_LAYERS = {"candidates": "Candidates", "ensembles": "Ensembles"}


def sensitivity(card: SensitivityCard) -> Sensitivity:
    """The choices of one layer of the search on a common axis that begins at zero."""
    axis = Axis([Estimate(value=0.0), *(row.importance for row in card.rows if row.importance)])
    return Sensitivity(
        title=_LAYERS[card.of],
        said=_explained(card),
        ticks=axis.ticks(4),
        lines=[_choice_line(row, axis, row.trials == card.trials) for row in card.rows],
    )


def _explained(card: SensitivityCard) -> str:
    trials = f"{card.trials:,} different trials"
    if card.explained is None or card.explained.value is None:
        return f"{trials}: too few, or too much alike, to say what mattered."
    known = f"{number(card.explained.value, 2)} ({interval_text(card.explained, 2)})"
    if not card.rows:
        return f"{trials}: their choices do not foretell how another trial scores (explained share {known})."
    return f"{trials}; their choices explain a share of {known} of how unseen trials rank."


def _choice_line(row: ChoiceRow, axis: Axis, always: bool) -> ChoiceLine:
    found = row.importance
    known = found is not None and found.low is not None
    rounded = _rounded(found) if found else None
    among = _rounded(row.where_open) if row.where_open and not always else None
    return ChoiceLine(
        name=row.name,
        trials=row.trials,
        importance=number(rounded.value, 2) if rounded else DASH,
        interval=interval_text(rounded, 2),
        where_open=number(among.value, 2) if among else "",
        open_interval=interval_text(among, 2),
        strip=axis.strip(found) if found else None,
        certain=bool(known and found and found.low and found.low > 0),
    )


def _rounded(estimate: Estimate) -> Estimate:
    """To two decimals: what is smaller is nothing."""
    low, value, high = (None if v is None else round(v, 2) for v in (estimate.low, estimate.value, estimate.high))
    return Estimate(value=value, low=low, high=high)

"""What became of the requests while something was done to a served model, and whether that may be: pure arithmetic."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from load import Record
from scipy import stats

OUTAGE_S = 10.0
"""Longest outage of a front door that was killed."""


@dataclass(frozen=True)
class Event:
    """Something that was done under load.

    Attributes
    ----------
    what : str
    at, until : float
        Seconds since the epoch: when it began, and when what did it came back.
    answers : str or None
        Version that must answer before the next event; None where none becomes new.
    never : tuple of str
        Versions that must not answer at all until the next event.
    recovered_s : float or None
        Seconds until another process had taken the place of one that was killed, or a change was told to be over.
    """

    what: str
    at: float
    until: float
    answers: str | None = None
    never: tuple[str, ...] = ()
    recovered_s: float | None = None


def upper_bound(events: int, trials: int, level: float = 0.95) -> float:
    """Rate that is exceeded with at most ``1 - level``, by Clopper and Pearson; about 3/n for no events."""
    if trials <= 0 or events >= trials:
        return 1.0
    return float(stats.beta.ppf(level, events + 1, trials - events))


def event_times(seconds: float, events: int, gap_s: float) -> list[float]:
    """Seconds from the start at which something is done: evenly spread, once at least, with as much after the last."""
    count = max(min(events, int(seconds // gap_s) - 1), 1)
    return [seconds * (number + 1) / (count + 1) for number in range(count)]


def judged(rule: str, records: Sequence[Record], events: Sequence[Event], started: float) -> dict[str, Any]:
    """What happened to the requests of a cell, event by event, and whether that may be.

    Parameters
    ----------
    rule : str
    records : sequence of Record
        By the time that they were meant for.
    events : sequence of Event
        In order.
    started : float
        Second since the epoch that the times of records count from.
    """
    ends = [event.at - started for event in events[1:]] + [math.inf]
    told = []
    for event, end in zip(events, ends, strict=True):
        at = event.at - started
        told.append(one_event(event, at, [each for each in records if at <= each.done < end]))
    first = sum(bool(each.first) for each in records)
    lost = sum(bool(each.lost) for each in records)
    wrong = sum(each.fault == "wrong" for each in records)
    mixed = sum(each.fault == "mixed" for each in records)
    faults = [f"{count} answers {name}" for name, count in (("wrong", wrong), ("mixed", mixed)) if count]
    faults += [f"{each['what']}: {fault}" for each in told for fault in broken(rule, each)]
    if not events:
        faults.append("nothing was done")
    if rule == "planned" and first:
        faults.append(f"{first} lost")
    if rule == "replica" and lost:
        faults.append(f"{lost} lost in spite of a retry")
    if first > sum(each["lost_first"] for each in told):
        faults.append("some were lost while nothing was done")
    return {
        "requests": len(records),
        "lost_first": first,
        "lost_kinds": dict(Counter(each.first for each in records if each.first)),
        "lost": lost,
        "lost_statuses": dict(Counter(str(each.status) for each in records if each.lost)),
        "lost_rate_below": upper_bound(first, len(records)),
        "lost_after_retry_below": upper_bound(lost, len(records)),
        "wrong": wrong,
        "mixed": mixed,
        "outage_s": max((each["outage_s"] for each in told), default=0.0),
        "events": told,
        "faults": faults,
        "holds": not faults,
    }


def one_event(event: Event, at: float, mine: Sequence[Record]) -> dict[str, Any]:
    """Losses and answers of one event; ``mine`` are the requests that were over after it began and before the next."""
    until = at + event.until - event.at
    gone = [each for each in mine if each.first]
    effect = [each.done - at for each in mine if each.sent >= at and not each.lost and each.version == event.answers]
    return asdict(event) | {
        "at": round(at, 3),
        "until": round(until, 3),
        "in_flight": sum(each.sent <= until for each in mine),
        "lost_first": len(gone),
        "lost": sum(bool(each.lost) for each in gone),
        "later_first": sum(each.sent > until for each in gone),
        "later": sum(each.sent > until and bool(each.lost) for each in gone),
        "refused": sum(each.first == "refused" for each in gone),
        "outage_s": round(max((each.done for each in gone), default=at) - at, 3),
        "slowest_s": round(max((each.done - each.intended for each in mine if not each.lost), default=0.0), 3),
        "effect_s": round(min(effect), 3) if effect else None,
        "strange": sum(each.sent > at and each.version in event.never for each in mine),
    }


def broken(rule: str, told: Mapping[str, Any]) -> list[str]:
    """What does not hold of one event."""
    faults = []
    if told["answers"] is not None and told["effect_s"] is None:
        faults.append(f"version {told['answers']} must answer after it; it did not")
    if told["strange"]:
        faults.append(f"{told['strange']} answers of {' or '.join(told['never'])}")
    later = {"replica": told["later_first"], "failover": told["later"]}.get(rule, 0)
    if later:
        faults.append(f"{later} lost that were not in flight")
    if rule == "proxy" and told["outage_s"] > OUTAGE_S:
        faults.append(f"{told['outage_s']:g} s of outage, at most {OUTAGE_S:g} may be")
    if rule != "planned" and told["recovered_s"] is None:
        faults.append("nothing took its place")
    return faults


def table(cells: Sequence[Mapping[str, Any]]) -> str:
    """The cells as a table in Markdown."""
    head = (
        "event",
        "times",
        "requests",
        "a second",
        "lost",
        "95 % below",
        "after a retry",
        "wrong",
        "outage",
        "p50 / p99",
        "",
    )
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for each in cells:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(each["lost_kinds"].items()))
        said = (
            each["what"],
            len(each["events"]),
            each["requests"],
            f"{each['rate_per_s']:g} of {each['capacity_per_s']:g}",
            f"{each['lost_first']}" + (f" ({kinds})" if kinds else ""),
            f"{each['lost_rate_below']:.1e}",
            each["lost"] if each["retries"] else "",
            each["wrong"] + each["mixed"],
            f"{each['outage_s']:.1f} s" if each["lost_first"] else "",
            f"{each['ms'].get('p50', math.nan):.1f} / {each['ms'].get('p99', math.nan):.0f} ms",
            "holds" if each["holds"] else "does not hold",
        )
        lines.append("| " + " | ".join(str(value) for value in said) + " |")
    return "\n".join(lines)

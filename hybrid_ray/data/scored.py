"""Rows of a file for a model that has learned already: what of its spec says how they are labelled, and which count."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from hybrid_ray.data.windows import Window, Windows, scored_origins
from hybrid_ray.errors import DataError
from hybrid_ray.spec import DataSpec

ANNOTATORS, CONSENSUS, SPLIT_COLUMN = "annotators", "consensus", "split_column"
"""Where a graph's facts hold whose labels its own was made of, how, and which column told its test rows."""


def scoring_facts(data: DataSpec) -> dict[str, Any]:
    """What of a spec other rows of its kind are scored by, JSON-able: what a graph keeps of it; nothing by default."""
    found: dict[str, Any] = {}
    if data.annotators:
        found |= {ANNOTATORS: list(data.annotators), CONSENSUS: data.consensus}
    if data.series is not None and data.split.column is not None:
        found[SPLIT_COLUMN] = data.split.column
    return found


def known_annotators(facts: Mapping[str, Any], label: str, columns: Collection[str]) -> tuple[str, ...]:
    """Columns of a file whose consensus is its label: none where the label is a column, or was one in training.

    Raises
    ------
    DataError
        The label was made of annotators' columns, and the file has neither it nor one of these.
    """
    asked = facts.get(ANNOTATORS, [])
    if not asked or label in columns:
        return ()
    found = tuple(name for name in asked if name in columns)
    if not found:
        raise DataError(
            f"data.label: must be a column, or made of one or more of the annotators' {asked}; got {label!r}, which is "
            f"not there, nor are these. Columns: {list(columns)[:40]}"
        )
    return found


class ScoredWindows(Windows):
    """The rows of the final score of a long table, without a row to learn from.

    A column of train and test says which points are to be forecast, those before them are history; where it names no
    test points, or there is none, these are the last ``horizon`` of each series.
    """

    def _cut(self) -> list[str]:
        asked, horizon = self._asked, self._asked.horizon
        told = any(series.tested for series in self.series)
        short = untested = unscored = 0
        for number, series in enumerate(self.series):
            n_steps = len(series.values)
            stops = scored_origins(n_steps, series.n_known if told else n_steps - horizon, asked)
            self.rows += [Window(number, stop, -1) for stop in stops]
            unscored += told and not series.tested
            untested += 0 < series.tested < horizon
            short += not stops and (not told or series.tested >= horizon)
        if not self.rows:
            raise DataError(
                f"data.series: some series must hold {asked.shortest} steps, and {horizon} more that are compared with "
                f"forecasts; got {len(self.series)} series of up to "
                f"{max(len(series.values) for series in self.series)} steps. Give points before those to forecast too"
            )
        counts = (
            (short, f"series have fewer than {asked.shortest} steps before those to forecast: they are not scored"),
            (untested, f"series have fewer than {horizon} test points: they are not scored"),
            (unscored, "series have no test points, where a column says which they are: they are not scored"),
        )
        notes = [f"{count} of {len(self.series)} {what}." for count, what in counts if count]
        if self._told and not told:
            notes.append(f"No point is named a test point: the last {horizon} of each series are scored.")
        return notes

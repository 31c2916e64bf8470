"""Which rows of a file go together, as far as a model and the file tell."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hybrid_ray.data.source import Source
from hybrid_ray.on_ray.evaluate import known_groups
from hybrid_ray.on_ray.model import open_rows

WINDOWS = {"id": "m", "time": "t", "channels": ["a"], "length": 3, "step": 1}


def opened(folder: Path, graph: Any, **columns: list[Any]) -> Source:
    pq.write_table(pa.table(columns), folder / "rows.parquet")
    return open_rows(graph, str(folder / "rows.parquet"), training=True)


def learned_from(**facts: Any) -> Any:
    """What of a graph is looked at."""
    return SimpleNamespace(label="y", info=facts)


def test_rows_of_one_value_go_together(tmp_path: Path) -> None:
    graph = learned_from(together="patient")
    source = opened(tmp_path, graph, y=[0, 1] * 15, patient=[*"abcdefghijklmn", None] * 2)
    groups, note = known_groups(graph, source, np.arange(1, 30))
    assert groups is not None
    assert len(set(groups.tolist())) == 16, "a row without a value is a group of its own"
    assert (groups[13], groups[0]) == (groups.max() - 1, groups[15])
    assert note == ""
    _, note = known_groups(graph, source, np.array([0, 1, 15, 16]))
    assert note.startswith("The 4 test rows are of 2 groups")


@pytest.mark.parametrize(("facts", "told"), [({}, False), ({"together": "ward"}, True)])
def test_rows_go_one_by_one_where_nothing_tells(tmp_path: Path, facts: dict[str, str], told: bool) -> None:
    graph = learned_from(**facts)
    groups, note = known_groups(graph, opened(tmp_path, graph, y=[0, 1], patient=["a", "a"]), np.arange(2))
    assert groups is None
    assert note.startswith("There is no column 'ward'") == told == bool(note)


def test_windows_of_few_series_go_together_by_stretches(tmp_path: Path) -> None:
    graph = learned_from(windows=WINDOWS)
    points = {"t": list(range(60)) * 2, "m": ["x"] * 60 + ["y"] * 60, "a": [0.0] * 120, "y": [0, 1] * 60}
    groups, note = known_groups(graph, opened(tmp_path, graph, **points), np.arange(116))
    assert groups is not None
    assert (len(set(groups.tolist())), note) == (20, "")
    rows = {"window": [[[0.0]] * 3] * 6, "m": [*"xxxyyy"], "y": [0, 1] * 3}
    groups, note = known_groups(graph, opened(tmp_path, graph, **rows), np.arange(6))
    assert groups is not None
    assert len(set(groups.tolist())) == 2, "when each was is not known"
    assert "are of 2 groups" in note
    lone = learned_from(windows={**WINDOWS, "id": None})
    _, note = known_groups(lone, opened(tmp_path, lone, **rows), np.arange(6))
    assert note.startswith("All 6 test rows go together")

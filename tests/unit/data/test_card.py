"""The data card and the rejects: counts and reasons, never a value."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hybrid_ray.data.card import count_missing, data_card
from hybrid_ray.data.rejects import rejects_lines
from hybrid_ray.data.rows import read_rows
from hybrid_ray.data.source import open_source
from hybrid_ray.evaluation.schema import DataCard
from hybrid_ray.spec import DataSpec, TargetSpec

KINDS = {"age": "numeric", "note": "text", "photo": "image", "born": "date"}
N = 90


def rows():
    every = np.arange(N)
    return pa.table(
        {
            "age": [None if i % 9 == 0 else "x" if i % 10 == 1 else str(i) for i in every],
            "note": [" " if i % 5 == 0 else f"note {i}" for i in every],
            "photo": pa.array([None if i % 3 == 0 else b"png" for i in every], pa.binary()),
            "born": ["2020-01-01" if i % 2 else "" for i in every],
            "secret": [f"secret {i}" for i in every],
            "label": [None if i < 4 else i % 2 for i in every],
        }
    )


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "rows.parquet"
    pq.write_table(rows(), path, row_group_size=20)
    data = DataSpec(
        path=str(path), label="label", columns=KINDS, drop=("secret",), redact=("note",), licence="CC0", shard_rows=10
    )
    return open_source(data)


def test_missing_values_are_counted(source):
    bad = sum(i % 9 == 0 or i % 10 == 1 for i in range(N))
    assert count_missing(source, KINDS) == {"age": bad, "note": 18, "photo": 30, "born": 45}


def test_images_are_counted_without_statistics_too(source, tmp_path):
    path = tmp_path / "plain.parquet"
    pq.write_table(rows(), path, write_statistics=False)
    assert count_missing(open_source(source.data.model_copy(update={"path": str(path)})), KINDS)["photo"] == 30
    limited = open_source(source.data, limit=30)
    assert count_missing(limited, KINDS)["photo"] == 10


def test_the_card_tells_where_from_what_and_each_step(source):
    read = read_rows(source.data, TargetSpec(), source, "binary", 3, 0)
    card = data_card(
        source.data,
        source,
        read,
        reasons={"data.columns.age": "numbers"},
        rejected_rows=9,
        reject_counts={("age", "not a number"): 9, ("photo", "broken"): 0},
        rejects_path="runs/x/rejects.jsonl",
        folds=3,
    )
    text = json.dumps(card)
    checked = DataCard.model_validate(json.loads(text))
    assert (checked.rows, checked.licence, checked.label) == (N, "CC0", "label")
    assert [(c.name, c.kind, c.note) for c in checked.columns[:2]] == [
        ("age", "numeric", "numbers"),
        ("note", "text", "redacted"),
    ]
    assert [(step.step, step.count) for step in checked.preparation] == [
        ("rows read", 90),
        ("columns dropped", 1),
        ("columns redacted", 1),
        ("rows without a label left out", 4),
        ("labels coded", 86),
        ("unreadable values set aside", 9),
        ("test rows set aside", 17),
        ("training rows in folds", 69),
    ]
    assert (checked.split.train, checked.split.test, checked.split.folds) == (69, 17, 3)
    assert [(r.column, r.reason, r.rows) for r in checked.rejects.reasons] == [("age", "not a number", 9)]
    assert "secret" not in text
    assert "note 1" not in text


def test_rejects_are_lines_sorted_by_row():
    lines = rejects_lines([(np.int64(5), "b", "broken"), (2, "a", "not a number"), (5, "b", "broken")]).splitlines()
    assert [json.loads(line) for line in lines] == [
        {"row": 2, "column": "a", "reason": "not a number"},
        {"row": 5, "column": "b", "reason": "broken"},
    ]
    assert rejects_lines([]) == b""


def test_rejects_show_nothing_of_redacted_columns():
    data = rejects_lines([(1, "front+secret", "bad secret"), (1, "secret", "x"), (2, "front", "y")], ["secret"])
    assert b"secret" not in data
    assert [json.loads(line)["row"] for line in data.splitlines()] == [1, 2]


def test_rejects_are_bounded():
    lines = rejects_lines([(i, "a", "b") for i in range(50)], limit=10).splitlines()
    assert len(lines) == 11
    assert json.loads(lines[-1]) == {"more": 40}

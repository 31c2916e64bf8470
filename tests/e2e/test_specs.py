"""Every ready spec runs in its smoke form, from rows to a model that answers."""

import json
from pathlib import Path

import pytest

from hybrid_ray.data.columns import coerce
from hybrid_ray.data.source import open_source, read_piece
from hybrid_ray.evaluation.schema import Report
from hybrid_ray.spec import load_spec, smoke_form
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot

SPECS = sorted((Path(__file__).parents[2] / "specs").glob("*.yaml"))
FIRST = {"digits", "multimodal"}
"""In the fast tier: between them they have a trained extractor, images, text, a table and missing modalities."""


def test_there_are_specs():
    assert len(SPECS) >= 7
    assert any(load_spec(path).data.groups for path in SPECS)


def marks(path: Path) -> list[pytest.MarkDecorator]:
    """Slow but for the first; each by itself, so that two processes end at the same time."""
    return [pytest.mark.xdist_group(path.stem), *([] if path.stem in FIRST else [pytest.mark.slow])]


@pytest.mark.parametrize("path", [pytest.param(p, id=p.stem, marks=marks(p)) for p in SPECS])
def test_smoke_form(path, run, tmp_path):
    spec = smoke_form(load_spec(path))
    assert spec.data.limit is None or spec.data.limit <= 200
    answer = run(spec, tmp_path)
    assert answer["rows"]["train"] + answer["rows"]["test"] == answer["rows"]["total"] <= 200
    assert set(answer["test"]) == set(answer["baselines"]["naive"])
    assert answer["modalities"]
    assert sum(member["weight"] for member in answer["members"]) == pytest.approx(1, abs=1e-6)

    report = Report.model_validate(json.loads(Path(answer["report"]).with_suffix(".json").read_text()))
    assert report.run_id == answer["run_id"]
    assert [card.column for card in report.evaluation.groups] == list(spec.data.groups)
    for card in report.evaluation.groups:
        assert sum(row.rows for row in card.rows) == answer["rows"]["test"]
        scored = [row for row in card.rows if row.scores]
        assert len(scored) >= 2
        for estimate in (*(score for row in scored for score in row.scores.values()), *(gap.gap for gap in card.gaps)):
            assert estimate.low <= estimate.value <= estimate.high
        assert {gap.measure for gap in card.gaps} >= {"log_loss", "accuracy", "selection_rate"}
        assert all(gap.gap.value >= 0 and 0 <= gap.p_value <= 1 for gap in card.gaps)
    assert "<script src" not in Path(answer["report"]).read_text()

    graph = ModelStore(StoreRoot(str(tmp_path))).load(answer["model"])
    graph.setup("cpu")
    source = open_source(spec.data)
    table = next(read_piece(source, source.pieces[0], list(graph.columns), 16))
    outputs = graph.outputs(coerce(table, graph.columns, source.base).batch)
    assert outputs.shape == (min(16, source.n_rows), graph.n_outputs)
    if graph.classes is not None:
        assert outputs.sum(axis=1) == pytest.approx(1)

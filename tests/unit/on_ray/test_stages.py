"""Where a trained extractor's fits run, and what its rows and seconds are in the record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hybrid_ray.on_ray.record import extraction_rows
from hybrid_ray.on_ray.resources import ClusterView
from hybrid_ray.on_ray.stages import Features, Job, search_order
from hybrid_ray.on_ray.train import FoldFit, Place
from hybrid_ray.on_ray.train_stage import Trained, _fit_place, _slots
from hybrid_ray.plugins import load_plugins
from hybrid_ray.search.plan import SearchPlan
from hybrid_ray.spec import load_spec
from hybrid_ray.spec.schema import EstimatorSpec, ExtractorSpec
from hybrid_ray.store.root import StoreRoot


def job(view: ClusterView) -> Any:
    """What of a job is looked at here; a cluster with a GPU cannot be had for a test."""
    return SimpleNamespace(cluster=SimpleNamespace(view=lambda: view), task_cpus=1.0)


def cnn(**resources: float) -> ExtractorSpec:
    load_plugins()
    return ExtractorSpec.model_validate({"name": "cnn", "id": "cnn", "resources": resources})


@pytest.mark.parametrize(
    ("gpus", "resources", "place"),
    [
        (0, {}, Place(1.0)),
        (0, {"num_cpus": 3}, Place(3.0, threads=3)),
        (1, {"num_gpus": 0.5}, Place(1.0, 0.5, "cuda")),
    ],
    ids=["a plain task", "the CPUs asked for", "the GPU asked for"],
)
def test_a_fit_gets_what_its_spec_asks_for(gpus: int, resources: dict[str, float], place: Place) -> None:
    assert _fit_place(job(ClusterView.single(4, gpus)), cnn(**resources)) == place


def test_seconds_of_extractors_trained_side_by_side_add_up_to_the_stage() -> None:
    def trainer(root: object) -> Any:
        return SimpleNamespace(root=root, order=np.arange(30))

    fits = {fold: FoldFit(None, None, f"{fold}", cached=fold == 0) for fold in range(3)}
    trained = Trained(
        {"cnn": trainer("store"), "table": trainer(None), "other": trainer("store")},
        {"cnn": fits, "table": fits, "other": fits},
        seconds=8.0,
    )
    features = Features(decided={}, frozen={}, raw={}, rejects=(), bad_rows=0)
    rows = extraction_rows(job(ClusterView.single(2)), features, trained)
    assert {row["extractor"]: row["seconds"] for row in rows} == {"cnn": 4.0, "other": 4.0}
    assert all((row["rows"], row["cached"], row["computed"]) == (90, 30, 60) for row in rows)


def test_what_the_test_rows_will_take_is_told_by_the_fits_that_were_done() -> None:
    def fit(fold: int, seconds: float, cached: bool = False) -> FoldFit:
        return FoldFit(None, None, f"{fold}", cached, seconds)

    def trainer(shared_s: float) -> Any:
        return SimpleNamespace(order=np.arange(100), shared_s=shared_s)

    fits = {0: fit(0, 2.0), 1: fit(1, 4.0), 2: fit(2, 0.0, cached=True), 3: fit(3, 3.0)}
    trained = Trained({"tuned": trainer(10.0)}, {"tuned": fits})
    # A fifth of the rows: the frozen blocks once, then four copies of 3 s on two CPUs, or one copy.
    assert trained.extract_s(20, slots=2, every_copy=True) == pytest.approx((10 + 3 * 4 / 2) / 5)
    assert trained.extract_s(20, slots=2, every_copy=False) == pytest.approx((10 + 3) / 5)
    assert trained.extract_s(20, slots=64, every_copy=True) == pytest.approx((10 + 3) / 5)
    stored = Trained({"tuned": trainer(0.0)}, {"tuned": {0: fit(0, 0.0, cached=True)}})
    assert stored.extract_s(20, slots=2, every_copy=True) == 0


def test_a_job_goes_on_without_what_was_given_up() -> None:
    load_plugins()
    document = {
        "name": "toy",
        "data": {"path": "a.csv", "label": "y", "columns": {"text": "text"}},
        "extractors": [{"name": "tfidf", "id": "words"}, {"name": "cnn", "id": "net", "optional": True}],
    }
    nothing: Any = None
    whole = Job(load_spec(document), nothing, "run", nothing, nothing, nothing, nothing)
    assert set(whole.modality_of()) == {"words", "net"}
    less = replace(whole, given_up=frozenset({"net"}))
    assert less.modality_of() == {"words": "text"}
    assert less.spec == whole.spec, "the record says what was asked for"
    features = Features({"words": nothing, "net": nothing}, {}, {"words": nothing, "net": nothing}, (), 0)
    assert set(features.without({"net"}).raw) == set(features.without({"net"}).decided) == {"words"}


def test_where_the_search_sees_a_sample_the_graph_is_what_the_spec_says_of_it() -> None:
    load_plugins()
    graph = {"members": "bag", "sampled": "refit"}
    document = {"name": "toy", "data": {"path": "a.csv", "label": "y", "columns": {"t": "text"}}, "graph": graph}
    nothing: Any = None
    whole = Job(load_spec(document), nothing, "run", nothing, nothing, nothing, nothing)
    assert (whole.spec.graph.members, whole.on_sample().spec.graph.members) == ("bag", "refit")
    plan = SearchPlan.of(resolved_of(whole.on_sample().spec), {"t": "text"}, "binary", 2)
    assert plan.keep_chains is None


def resolved_of(spec: Any) -> Any:
    search = spec.search.model_copy(update={"estimators": (EstimatorSpec(name="knn"),)})
    return spec.model_copy(update={"search": search})


def test_a_run_that_goes_on_sees_the_rows_that_it_began_with(tmp_path: Path) -> None:
    root, y = StoreRoot(str(tmp_path)), np.arange(400) % 2

    def order(run_id: str, store: int) -> tuple[int, str]:
        one: Any = SimpleNamespace(
            root=root,
            run_id=run_id,
            cluster=SimpleNamespace(view=lambda: ClusterView.single(2, object_store=store)),
            rows=SimpleNamespace(
                split=SimpleNamespace(fold=np.arange(400) // 100, forward=False, groups=None),
                target=SimpleNamespace(y=y, task="binary"),
                learned=y,
            ),
            spec=SimpleNamespace(search=SimpleNamespace(max_matrix=0.5), seed=0),
        )
        frozen: Any = {"a": SimpleNamespace(n_features=10)}
        seen, note = search_order(one, Features({}, frozen, {}, (), 0))
        return len(seen.rows), note

    row = 2 * 4 * 10
    assert order("whole", 500 * row) == (400, "")
    assert order("whole", 200 * row) == (400, "")
    assert order("sample", 200 * row)[0] == 200
    assert order("sample", 500 * row)[0] == 200
    assert "200 of 400 training rows" in order("sample", 50 * row)[1]


def test_slots_are_what_the_cluster_holds_of_a_place() -> None:
    assert _slots(ClusterView.single(4), Place(1.5)) == 2
    assert _slots(ClusterView.single(4, 1), Place(1.0, 0.25, "cuda")) == 4
    assert _slots(ClusterView.single(0.5), Place(1.0)) == 1
    assert _slots(ClusterView.single(8), Place(1.0, workers=4)) == 1, "teams train one after the other"

"""Where a trained extractor's fits run, and what its rows and seconds are in the record."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hybrid_ray.on_ray.record import extraction_rows
from hybrid_ray.on_ray.resources import ClusterView
from hybrid_ray.on_ray.stages import Features, Trained, _fit_place
from hybrid_ray.on_ray.train import FoldFit, Place
from hybrid_ray.plugins import load_plugins
from hybrid_ray.spec.schema import ExtractorSpec


def job(view: ClusterView, **progress: float) -> Any:
    """What of a job is looked at here; a cluster with a GPU cannot be had for a test."""
    return SimpleNamespace(
        cluster=SimpleNamespace(view=lambda: view), task_cpus=1.0, progress=SimpleNamespace(seconds=progress)
    )


def cnn(**resources: float) -> ExtractorSpec:
    load_plugins()
    return ExtractorSpec.model_validate({"name": "cnn", "id": "cnn", "resources": resources})


@pytest.mark.parametrize(
    ("gpus", "resources", "place"),
    [
        (0, {}, Place(1.0)),
        (0, {"num_cpus": 3}, Place(3.0)),
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
    )
    features = Features(decided={}, frozen={}, raw={}, rejects=(), bad_rows=0)
    rows = extraction_rows(job(ClusterView.single(2), train=8.0), features, trained)
    assert {row["extractor"]: row["seconds"] for row in rows} == {"cnn": 4.0, "other": 4.0}
    assert all((row["rows"], row["cached"], row["computed"]) == (90, 30, 60) for row in rows)

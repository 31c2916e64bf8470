"""Score a registered model on labelled rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from hybrid_ray.data.rows import read_columns
from hybrid_ray.data.source import open_source
from hybrid_ray.data.target import encode_known
from hybrid_ray.errors import DataError
from hybrid_ray.evaluation.intervals import bootstrap
from hybrid_ray.evaluation.metrics import metrics_of, score_all
from hybrid_ray.on_ray.cluster import Cluster
from hybrid_ray.on_ray.predict import predict_outputs
from hybrid_ray.results import defined
from hybrid_ray.spec import DataSpec
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot


def evaluate_file(cluster: Cluster, model: str, store: str, data: str) -> dict[str, Any]:
    """Predict labelled rows with a model on Ray Data, and score the answers.

    Parameters
    ----------
    cluster : Cluster
    model : str
        ``name``, ``name@champion``, ``name:version`` or a folder.
    store : str
    data : str
        Rows with the model's label column.

    Returns
    -------
    dict
        ``model``, ``version``, ``rows``, ``unlabelled``, ``metric``, ``test`` and ``ci95`` by metric.

    Raises
    ------
    DataError
        The label column is missing, or no row has a label that the model knows.
    """
    held = ModelStore(StoreRoot(store))
    version = held.resolve(model)
    graph = held.load(version.ref)
    source = open_source(DataSpec(path=data, label=graph.label))
    target = encode_known(read_columns(source, [graph.label])[graph.label], graph.task, graph.classes)
    labelled = np.flatnonzero(~target.missing)
    if not len(labelled):
        raise DataError(f"{data}: the column {graph.label!r} must hold labels that the model knows; got none")
    outputs = predict_outputs(cluster, graph, version.ref, store, source)[labelled]
    y = target.y[labelled]
    return {
        "model": version.name,
        "version": version.version,
        "rows": len(labelled),
        "unlabelled": int(target.missing.sum()),
        "metric": graph.info.get("metric"),
        "test": defined(score_all(y, outputs, graph.task)),
        "ci95": {
            name: list(defined(bootstrap(y, outputs, metric)._asdict()).values())
            for name, metric in metrics_of(graph.task).items()
        },
    }

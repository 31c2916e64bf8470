"""A graph of shipped plugins that can be saved, another for each seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from hybrid_ray.candidate import Candidate
from hybrid_ray.data.coerce import coerce
from hybrid_ray.extractors.base import FitContext, build_extractor
from hybrid_ray.graph import Graph, Member, fit_chain
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import FUSIONS
from hybrid_ray.testing.graphs import TOY_COLUMNS, toy_rows

_READ = {"pixels": ["photo"], "tfidf": ["title"], "tabular": ["price", "brand", "listed"]}


def forest_graph(seed: int) -> Graph:
    """One forest on all columns of the toy rows, named ``toy``."""
    load_plugins()
    rows = list(toy_rows(80, seed=seed))
    y = np.array([row["label"] for row in rows])
    batch = coerce(pa.Table.from_pylist(rows), TOY_COLUMNS).batch
    made: dict[str, Any] = {"task": "multiclass", "n_outputs": 3, "seed": seed}
    extractors = {}
    for name, columns in _READ.items():
        extractor = build_extractor(name, {}, {column: TOY_COLUMNS[column] for column in columns})
        if extractor.tags.trained:
            extractor.fit(extractor.prepare(batch), y, FitContext(**made))
        extractors[name] = extractor
    blocks = {key: extractor.transform(batch) for key, extractor in extractors.items()}
    candidate = Candidate(tuple(blocks), "concat", "random_forest", {}, {"n_estimators": 20})
    member = Member("forest", candidate, [fit_chain(candidate, blocks, y, **made)])
    pool = FUSIONS.get("linear_pool")
    decision = pool(pool.Params()).fit({"forest": member.predict(blocks)}, y, "multiclass")
    classes = ["red", "green", "blue"]
    return Graph("toy", "multiclass", "label", dict(TOY_COLUMNS), classes, extractors, [member], decision)

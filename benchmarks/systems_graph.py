"""The system of nodes, on Cora; only ``systems_set.py`` imports this."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from systems_base import SPEC, Row, System, at_least, only

_CORA = "cora/cora.npz"


def cora_rows(data: Path) -> pd.DataFrame:
    """Nodes of Cora with a label: the fixed split's training and test part; those for validation are left out."""
    held = np.load(data / _CORA)
    table = pd.DataFrame({"node": np.arange(len(held["label"])), "label": held["label"], "split": held["split"]})
    return table[table["split"].isin(["train", "test"])].astype({"node": str}).reset_index(drop=True)


def cora_new_rows(data: Path) -> pd.DataFrame:
    """The same with test nodes that the graph lacks: what they have for features, and their neighbours in the graph."""
    held, table = np.load(data / _CORA), cora_rows(data)
    width, absent = int(held["x_shape"][1]), held["split"] == "test"
    edges = np.concatenate([held["edges"], held["edges"][:, ::-1]])
    for row in table.index[table["split"] == "test"]:
        own = int(table.loc[row, "node"])
        near = edges[edges[:, 0] == own, 1]
        part = slice(held["x_indptr"][own], held["x_indptr"][own + 1])
        features = np.zeros(width)
        features[held["x_indices"][part]] = held["x_data"][part]
        node = {"features": features.tolist(), "neighbours": [str(other) for other in near[~absent[near]]]}
        table.loc[row, "node"] = json.dumps(node)
    return table


def cora_without_test(data: Path) -> bytes:
    """The graph without the test nodes and their edges, as an .npz file."""
    held = np.load(data / _CORA)
    kept = np.flatnonzero(held["split"] != "test")
    x = csr_array((held["x_data"], held["x_indices"], held["x_indptr"]), shape=tuple(held["x_shape"]))[kept]
    edges = held["edges"][np.isin(held["edges"], kept).all(axis=1)]
    stream = io.BytesIO()
    parts = {"x_data": x.data, "x_indices": x.indices, "x_indptr": x.indptr, "x_shape": np.array(x.shape)}
    np.savez_compressed(stream, **parts, ids=kept, edges=np.searchsorted(kept, edges))
    return stream.getvalue()


def _nodes(name: str, **params: Any) -> dict[str, Any]:
    """One extractor of nodes alone, read by logistic regression."""
    entry = {"name": name, "params": {"graph": "cora.npz"} | params}
    return {"extractors": [entry]} | only("logistic")


SYSTEMS = (
    System(
        name="graph",
        fuses="graph networks (GraphSAGE, APPNP), random walks, classical classifiers",
        use="rows that are nodes: papers, users, accounts",
        reference="Kipf and Welling 2017: 0.815 on Cora with the fixed split; Velickovic et al. 2018: 0.830",
        metric="accuracy",
        rows={
            SPEC: Row("two networks and random walks", cora_rows),
            "features": Row("words of a paper alone", cora_rows, _nodes("propagated", hops=0)),
            "gcn": Row("graph convolutions alone", cora_rows, _nodes("gcn", features="hidden")),
            "node2vec": Row("random walks alone", cora_rows, _nodes("node2vec")),
            "inductive": Row(
                "GraphSAGE, test nodes unknown to the graph",
                cora_new_rows,
                _nodes("sage", features="hidden"),
                files={"extractors.0.params.graph": cora_without_test},
            ),
        },
        must="accuracy of 0.815 at least, as in Kipf and Welling 2017; nodes that the graph lacks told better than by "
        "their words alone",
        holds=lambda m: at_least("accuracy", 0.815)(m) and m["inductive"]["accuracy"] > m["features"]["accuracy"],
    ),
)

"""How a model gets to the workers: they are told where it lies, and each loads the parts that it needs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hybrid_ray.data.scored import ANNOTATORS, CONSENSUS, SPLIT_COLUMN, known_annotators
from hybrid_ray.data.sliding import WINDOWS
from hybrid_ray.data.source import Source, open_source
from hybrid_ray.errors import DataError
from hybrid_ray.forecasts import SERIES
from hybrid_ray.graph import Graph
from hybrid_ray.on_ray.serve.contract import Probe
from hybrid_ray.spec import DataSpec
from hybrid_ray.store.golden import to_batch
from hybrid_ray.store.models import ModelStore, ModelVersion
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import HISTORY, WINDOW


@dataclass(frozen=True)
class StoredModel:
    """One version of a model in a store. Calling it loads the graph, or parts of it; every file read is verified.

    Attributes
    ----------
    store : StoreRoot
    found : ModelVersion
        A fixed version, never an alias: all workers load the same.
    """

    store: StoreRoot
    found: ModelVersion

    @classmethod
    def find(cls, store: str, ref: str) -> StoredModel:
        """The version that ``ref`` means now.

        Parameters
        ----------
        store : str
            URI of the store.
        ref : str
            ``name``, ``name@champion``, ``name:version`` or a folder.
        """
        root = StoreRoot(store)
        return cls(root, ModelStore(root).resolve(ref))

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.found.name

    @property
    def version(self) -> int | str:
        """Number of the version, or the folder of an artifact outside the registry."""
        return self.found.version or self.found.uri

    def __call__(self, keys: Collection[str] | None = None, members: bool = True) -> Graph:
        """The graph, not set up; see :class:`hybrid_ray.on_ray.serve.contract.Loader`."""
        artifact = ModelStore(self.store).open(self.found)
        if keys is None and members:
            return artifact.graph()
        manifest = artifact.manifest
        return Graph(
            name=manifest.name,
            task=manifest.task,
            label=manifest.label,
            columns=dict(manifest.columns),
            classes=list(manifest.classes) if manifest.classes is not None else None,
            extractors={e.key: artifact.extractor(e.key) for e in manifest.extractors if keys is None or e.key in keys},
            members=artifact.members() if members else [],
            decision=artifact.decision(),
            info=dict(manifest.info),
            reserves=artifact.reserves() if members else [],
        )

    def checked(self) -> Graph:
        """The whole graph, set up on the CPU, after it answered its golden rows as when it was saved."""
        return ModelStore(self.store).load(self.found.ref)

    def probe(self) -> Probe | None:
        """The golden rows and their outputs; None where the artifact keeps none."""
        artifact = ModelStore(self.store).open(self.found)
        golden = artifact.golden()
        if golden is None:
            return None
        expected = np.asarray(golden.outputs, np.float64).reshape(len(golden.rows), -1)
        return Probe(to_batch(golden.rows, artifact.manifest.columns), expected, golden.tolerance)


def open_rows(graph: Graph, data: str, *, training: bool) -> Source:
    """Rows for a model: as they lie in a table or, for a model that learned from points of series, cut from these.

    Parameters
    ----------
    graph : Graph
    data : str
        File, folder, glob or URL. A table that has a column ``history``, or ``window``, holds rows already.
    training : bool
        False for rows to predict: they may lack the label; series are forecast from their last points. True for rows to
        score: all of them, whatever a column says that once divided others; of points to forecast those that come after
        others of their series. Where annotators' labels were learned, they are what ``Source.data`` names, unless
        the label is a column.

    Raises
    ------
    DataError
        The rows cannot be read, or lack a label that they must have.
    """
    spec = DataSpec(path=data, label=graph.label)
    for part, column in ((SERIES, HISTORY), (WINDOWS, WINDOW)):
        asked = graph.info.get(part)
        if asked is None:
            continue
        columns = open_source(spec, training=False).schema.names
        if column in columns:
            continue
        cut: dict[str, Any] = {"path": data, "label": graph.label, part: asked}
        if part == SERIES:
            told = graph.info.get(SPLIT_COLUMN)
            if training and told in columns:
                cut["split"] = {"column": told}
            return open_source(DataSpec.model_validate(cut), training=training, only_scored=training)
        # All windows: none is held out from a model that has learned.
        source = open_source(DataSpec.model_validate(cut), training=False)
        if training and graph.label not in source.schema.names:
            raise DataError(f"data.label: must be a column of the points; got {graph.label!r}, which is not there")
        return source
    if not training or not graph.info.get(ANNOTATORS):
        return open_source(spec, training=training)
    return _annotated(graph, open_source(spec, training=False))


def _annotated(graph: Graph, rows: Source) -> Source:
    """Rows that are scored by the consensus of annotators, as the model was taught, or by a column of the label."""
    names, how = known_annotators(graph.info, graph.label, rows.schema.names), graph.info[CONSENSUS]
    if not names:
        return rows
    notes = [*rows.about.get("notes", []), f"The label is the consensus ({how}) of {', '.join(map(repr, names))}."]
    data = rows.data.model_copy(update={"annotators": names, "consensus": how})
    return replace(rows, data=data, about=rows.about | {"notes": notes})

"""What extractors of nodes have in common: the graph that they are given, and how cells are found in it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np

from hybrid_ray.data.generate import GENERATED, generated_node_graph
from hybrid_ray.data.node_graph import EDGES_FILE, NODES_FILE, NodeGraph, read_node_graph
from hybrid_ray.data.nodes import NewNode, node_cell
from hybrid_ray.digests import digest_arrays
from hybrid_ray.errors import BadInputError, DataError
from hybrid_ray.extractors.base import Extractor
from hybrid_ray.extractors.items import ItemExtractor, Items
from hybrid_ray.extractors.signals import objects
from hybrid_ray.extractors.weights import WEIGHTS_VARIABLE, file_digest, files_digest, find_file
from hybrid_ray.params import PluginParams
from hybrid_ray.types import AnyArray, FloatArray, Kind, State

NODE, FEATURES, NEIGHBOURS = "node", "features", "neighbours"
"""Arrays of cells: the row in the graph, -1 for a new node; features and neighbours' rows, empty but for new nodes."""
NEW = -1
BLOB = "node_graph.safetensors"
"""File of a state that holds the graph: the same bytes in all copies of an extractor, which a store keeps once."""
_ELSEWHERE = frozenset({"graph"})


class NodeParams(PluginParams):
    """Parameters of whatever reads nodes."""

    graph: str = ""
    """The graph: an ``.npz`` file or a folder of two Parquet files (docs/graphs.md), also found by name under
    $HYBRID_RAY_WEIGHTS. A saved model holds it, and needs no file."""


@dataclass(frozen=True)
class Attached:
    """New nodes beside a graph: each hears its neighbours, which are as they are without it.

    Attributes
    ----------
    features : ndarray of float32 (k, width)
    source : ndarray of int64 (e,)
        Rows in the graph of neighbours.
    owner : ndarray of int64 (e,)
        Which of the k each is a neighbour of, ascending.
    """

    features: FloatArray
    source: AnyArray
    owner: AnyArray

    @classmethod
    def of(cls, items: Mapping[str, AnyArray], width: int) -> Attached:
        """Those of some cells."""
        new = np.flatnonzero(items[NODE] == NEW)
        features = np.stack([items[FEATURES][i] for i in new]) if len(new) else np.zeros((0, width), np.float32)
        lists = [items[NEIGHBOURS][i] for i in new]
        source = np.concatenate([np.zeros(0, np.int64), *lists])
        return cls(features, source, np.repeat(np.arange(len(new)), [len(own) for own in lists]))

    def __len__(self) -> int:
        return len(self.features)

    @property
    def degrees(self) -> AnyArray:
        """Neighbours of each, int64 (k,)."""
        return np.bincount(self.owner, minlength=len(self))


class NodeExtractor(ItemExtractor):
    """Vectors of nodes of a graph, and of new ones by what their neighbours are.

    The graph is read where the extractor runs, and held by the state. A new node is attached to it for its own answer
    only: it hears its neighbours, but they do not hear it. So no row's answer depends on another row, and what is known
    of the graph's own nodes is computed once.
    """

    def __init__(self, params: PluginParams, columns: Mapping[str, Kind]) -> None:
        super().__init__(params, columns)
        self._held: NodeGraph | None = None
        self._digest = ""

    @property
    def graph(self) -> NodeGraph:
        """The graph of the state, else that of the parameters.

        Raises
        ------
        BadInputError
            The parameters name none, or one that cannot be read.
        """
        if self._held is None:
            self._held = _named(self.name, self.params.graph)
        return self._held

    def weights_digest(self) -> str:
        """Digest of the graph."""
        self._digest = self._digest or _digest(self.name, self.params.graph)
        return self._digest

    def identity(self) -> dict[str, Any]:
        """The parameters without where the graph lies."""
        return {name: value for name, value in super().identity().items() if name not in _ELSEWHERE}

    def check(self) -> None:
        """Refuse a graph that cannot be read."""
        self.read([])

    def read(self, cells: Sequence[Any]) -> Items:
        """Find cells in the graph; errors are ids that it does not have, and new nodes that do not fit it."""
        graph = self.graph
        nodes, features, neighbours = [], [], []
        errors: dict[int, str] = {}
        for place, cell in enumerate(cells):
            try:
                row, own, near = _found(graph, node_cell(cell))
            except ValueError as error:
                errors[place] = str(error)
                continue
            nodes.append(row)
            features.append(own)
            neighbours.append(near)
        arrays = {NODE: np.array(nodes, np.int64), FEATURES: objects(features), NEIGHBOURS: objects(neighbours)}
        return Items(arrays, errors)

    # ------------------------------------------------------------------ state

    def graph_state(self) -> State:
        """The graph, and its digest."""
        return State({"graph": self.weights_digest()}, blobs={BLOB: _packed(self.graph)})

    def take_graph(self, state: State) -> Self:
        """Use the graph of a state, or that of the parameters where it has none.

        Raises
        ------
        BadInputError
            The graph that the parameters name is not that of the state.
        """
        if BLOB in state.blobs:
            self._held, self._digest = _unpacked(state.blobs[BLOB]), str(state.meta["graph"])
        elif self.weights_digest() != state.meta["graph"]:
            raise BadInputError(
                f"{self.name}.graph: must be the graph that it was fitted on ({state.meta['graph']}); got "
                f"{self.weights_digest()}. Put the first one back, or fit again"
            )
        return self

    def adopt(self, copy: Extractor) -> None:
        """Share the graph of a copy."""
        assert isinstance(copy, NodeExtractor)
        if copy.weights_digest() == self.weights_digest():
            self._held = copy._held


class KnownNodes(NodeExtractor):
    """Vectors of the graph's nodes that are made once, by ``setup``, from the graph alone.

    A subclass says what they are (``made``) and what a new node's is (``attached``).
    """

    def __init__(self, params: PluginParams, columns: Mapping[str, Kind]) -> None:
        super().__init__(params, columns)
        self._made: dict[str, AnyArray] | None = None

    @abstractmethod
    def made(self) -> dict[str, AnyArray]:
        """Arrays of the graph's n nodes, ``vectors`` float32 (n, item_features) among them."""

    @abstractmethod
    def attached(self, made: Mapping[str, AnyArray], new: Attached) -> FloatArray:
        """Vectors float32 (k, item_features) of k > 0 new nodes."""

    def setup(self, device: str = "cpu") -> None:
        """Make the vectors, unless a state held them."""
        if self._made is None:
            self._made = self.made()

    def encode(self, items: Mapping[str, AnyArray]) -> FloatArray:
        """Vectors of cells."""
        assert self._made is not None, "setup must be called first"
        vectors: FloatArray = self._made["vectors"][items[NODE]]
        new = Attached.of(items, self.graph.width)
        if len(new):
            vectors[items[NODE] == NEW] = self.attached(self._made, new)
        return vectors

    def adopt(self, copy: Extractor) -> None:
        """Share what was made, too."""
        super().adopt(copy)
        if isinstance(copy, KnownNodes) and copy.fingerprint() == self.fingerprint():
            self._made = copy._made

    def get_state(self) -> State:
        """The graph, and what was made."""
        self.setup()
        assert self._made is not None
        return replace(self.graph_state(), tensors=dict(self._made))

    @classmethod
    def from_state(cls, params: PluginParams, columns: Mapping[str, Kind], state: State) -> Self:
        """The extractor with the vectors of the state."""
        extractor = cls(params, columns).take_graph(state)
        extractor._made = dict(state.tensors)
        return extractor


def _found(graph: NodeGraph, cell: str | NewNode) -> tuple[int, FloatArray, AnyArray]:
    """Row of a cell, and the features and neighbours' rows of a new one.

    Raises
    ------
    ValueError
        It does not fit the graph; the message holds nothing of the cell.
    """
    if isinstance(cell, str):
        if cell not in graph.places:
            raise ValueError("not the id of a node of the graph")
        return graph.places[cell], np.zeros(0, np.float32), np.zeros(0, np.int64)
    if len(cell.features) != graph.width:
        raise ValueError(f"a new node must have {graph.width} features; got {len(cell.features)}")
    rows = [graph.places.get(neighbour, NEW) for neighbour in cell.neighbours]
    if NEW in rows:
        raise ValueError(f"neighbours must be ids of nodes of the graph; {rows.count(NEW)} of {len(rows)} are not")
    return NEW, cell.features, np.array(rows, np.int64)


def _place(where: str, name: str) -> Path:
    """The file or folder of a graph."""
    if not name:
        raise BadInputError(f"{where}.graph: must name an .npz file or a folder of Parquet files; got none. Name one")
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    file, inside = find_file(name), find_file(f"{name}/{NODES_FILE}")
    if file is None and inside is None:
        raise BadInputError(
            f"{where}.graph: must be a file or folder that is there, or lies under ${WEIGHTS_VARIABLE}; got {name!r}"
        )
    return file if file is not None else inside.parent  # type: ignore[union-attr]


def _digest(where: str, name: str) -> str:
    if name.startswith(GENERATED):
        return digest_arrays(generated_node_graph().to_arrays())
    path = _place(where, name)
    if path.is_file():
        return file_digest(path)
    files = [path / NODES_FILE, path / EDGES_FILE]
    lacks = [file.name for file in files if not file.is_file()]
    if lacks:
        raise BadInputError(f"{where}.graph: must be a folder of {NODES_FILE} and {EDGES_FILE}; {name!r} lacks {lacks}")
    return files_digest(files)


def _named(where: str, name: str) -> NodeGraph:
    """The graph that parameters name; read once a process as long as it does not change."""
    if name.startswith(GENERATED):
        return generated_node_graph()
    try:
        return _read(str(_place(where, name)), _digest(where, name))
    except DataError as error:
        raise BadInputError(f"{where}.graph: {error}") from error


@lru_cache(maxsize=2)
def _read(path: str, digest: str) -> NodeGraph:
    return read_node_graph(Path(path))


def _packed(graph: NodeGraph) -> bytes:
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(array) for name, array in graph.to_arrays().items()})


@lru_cache(maxsize=2)
def _unpacked(data: bytes) -> NodeGraph:
    from safetensors.numpy import load

    return NodeGraph.from_arrays(load(data))

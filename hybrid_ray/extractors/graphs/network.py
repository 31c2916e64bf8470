"""The base of networks over a graph, trained on the labels of the training rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from hybrid_ray.dealing import parts_of_groups
from hybrid_ray.errors import BadInputError, NotFittedError
from hybrid_ray.extractors.base import Extractor, ExtractorTags, FitContext
from hybrid_ray.extractors.graphs.nodes import NODE, Attached, NodeExtractor, NodeParams
from hybrid_ray.extractors.graphs.smoothing import Mix, edge_weights, first_inputs, first_inputs_new
from hybrid_ray.extractors.networks.base import NetworkExtractor, NetworkParams
from hybrid_ray.extractors.trained import Training
from hybrid_ray.params import PluginParams
from hybrid_ray.training.settings import Optimizer, Schedule
from hybrid_ray.types import AnyArray, Block, FloatArray, Kind, Prepared, State

if TYPE_CHECKING:
    from torch import nn

    from hybrid_ray.extractors.graphs.nets import GraphTrunk, Hop, Resident
    from hybrid_ray.training.items import ItemFeed, ItemNet
    from hybrid_ray.training.loop import Learner

TAGS = ExtractorTags(
    modality="graph",
    kinds=frozenset({"node"}),
    context="graph",
    trained=True,
    supervised=True,
    gpu=True,
    spreads=True,
)


class GraphNetworkParams(NodeParams, NetworkParams):
    """Parameters of a network over a graph."""

    features: Literal["outputs", "hidden"] = "outputs"
    """What a row's vector is. outputs: what the network says of the row, a number a class, centred; those of training
    rows come from networks that were not fitted on them. hidden: what the last hop gives."""
    parts: int = Field(4, ge=2, le=20)
    """Parts of the training rows, each of which gets its outputs from a network that was fitted on the others."""
    epochs: int = Field(50, ge=1, le=1000)
    """Most passes over the training rows; each step goes through the whole graph."""
    patience: int = Field(8, ge=1)
    """Passes without a better hold-out loss after which training stops."""
    lr: float = Field(1e-2, gt=0, le=1)
    """Largest learning rate."""
    weight_decay: float = Field(5e-4, ge=0, le=1)
    """Decay of the weights."""
    optimizer: Optimizer = "adam"
    """How gradients become steps; see docs/trained-extractors.md."""
    schedule: Schedule = "constant"
    """How the learning rate goes; see docs/trained-extractors.md."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of a class label that is spread over all classes."""
    mixed: Literal[False] = False
    """Graph networks are trained in fp32: products with sparse matrices have no other format."""


class GraphNetworkExtractor(NodeExtractor, NetworkExtractor):
    """Vectors of nodes by a network that sees the whole graph, and the labels of its training rows only.

    Features and edges of other nodes are part of what it is trained on (transductive); a node that comes later is
    attached to the graph (inductive, see ``NodeExtractor``).

    A subclass says what the network is made of (``hops``) and what it is told of the graph (``mix``, ``loops``).
    """

    mix: ClassVar[Mix] = "none"
    """What the first layer reads of neighbours."""
    loops: ClassVar[bool] = True
    """Whether a node hears itself, as one of its neighbours."""

    def __init__(self, params: PluginParams, columns: Mapping[str, Kind]) -> None:
        super().__init__(params, columns)
        self._learned: dict[str, AnyArray] | None = None
        self._net: ItemNet | None = None
        self._n_outputs = 0
        self._resident: Resident | None = None

    # ------------------------------------------------------------------ what a subclass says

    @abstractmethod
    def hops(self) -> list[Hop]:
        """What comes after the first layer."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Width of the first layer."""

    @property
    def active(self) -> nn.Module:
        """Activation of the first layer."""
        from torch import nn

        return nn.ReLU()

    @property
    def item_features(self) -> int:
        """Width of what the last hop gives; default: that of the first layer."""
        return self.width

    @property
    def n_features(self) -> int:
        """A number an output, or a vector a column."""
        return self._n_outputs if self.params.features == "outputs" else super().n_features

    @property
    def most_features(self) -> int:
        """What the last hop gives, which is more than there are outputs, as a rule."""
        return max(self._n_outputs, len(self.columns) * self.item_features)

    # ------------------------------------------------------------------ the graph, as the network takes it

    def check(self) -> None:
        """Refuse a graph that cannot be read, and a missing package."""
        super().check()
        if find_spec("torch_geometric") is None:
            raise BadInputError(
                f"{self.name}: needs the package torch_geometric, which is not installed. pip install hybrid-ray[graph]"
            )

    def resident(self) -> Resident:
        """The graph's own nodes, on the device."""
        from hybrid_ray.extractors.graphs.nets import Resident

        if self._resident is None or self._resident.device != self._device:
            graph = self.graph
            rows = np.arange(len(graph))
            every = Attached(np.zeros((len(graph), 0), np.float32), graph.neighbours, np.repeat(rows, graph.degrees))
            edges, weights = self._links(every, graph.neighbours, rows)
            self._resident = Resident(first_inputs(graph, self.mix), edges, weights, self._device)
        return self._resident

    def _links(self, new: Attached, heard: AnyArray, own: AnyArray) -> tuple[AnyArray, AnyArray]:
        """Edges (2, e) and weights (e,) of nodes whose numbers are ``own`` to those that they hear, and themselves."""
        theirs, mine = edge_weights(self.graph, new)
        edges = np.stack([heard, own[new.owner]]).astype(np.int64)
        if not self.loops:
            return edges, theirs
        return np.hstack([edges, np.stack([own, own])]), np.concatenate([theirs, mine])

    def collate(self, items: Mapping[str, AnyArray], device: str) -> tuple[Any, ...]:
        """Rows of cells in the graph, and what new nodes are and hear."""
        import torch

        from hybrid_ray.extractors.graphs.nets import Links

        new = Attached.of(items, self.graph.width)
        e = len(new.source)
        edges, weights = self._links(new, np.arange(e), np.arange(e, e + len(new)))
        arrays = (items[NODE], first_inputs_new(self.graph, self.mix, new), new.source, edges, weights)
        nodes, fresh, source, heard, weighed = (torch.from_numpy(np.array(array)).to(device) for array in arrays)
        return nodes, fresh, source, Links(heard, weighed, e + len(new))

    # ------------------------------------------------------------------ fit

    def trunk(self) -> GraphTrunk:
        """A fresh network."""
        from hybrid_ray.extractors.graphs.nets import GraphTrunk

        return GraphTrunk(self.resident(), self.width, self.hops(), self.active, self.params.dropout)

    def net(self, n_outputs: int) -> ItemNet:
        """A fresh network under a head."""
        from hybrid_ray.training.items import ItemNet

        return ItemNet(self.trunk(), len(self.columns), self.item_features, n_outputs, self.params.dropout)

    def feed(self, arrays: Mapping[str, AnyArray], filled: AnyArray) -> ItemFeed:
        """What gives rows to the network."""
        from hybrid_ray.training.items import ItemFeed

        device = self._device
        return ItemFeed(arrays, filled, lambda cells: self.collate(cells, device), device)

    def learner(self, training: Training) -> Learner:
        """A fresh network, and the rows of a training."""
        from hybrid_ray.extractors.graphs.learner import NodeLearner

        return NodeLearner(self, training, self._device)

    def seen(self) -> dict[str, Any]:
        """How many outputs there are."""
        return {"outputs": self._n_outputs}

    def see(self, seen: Mapping[str, Any]) -> None:
        """Know how many there are."""
        self._n_outputs = int(seen["outputs"])

    def setup(self, device: str = "cpu") -> None:
        """Move to the device; ``fit`` trains there."""
        moved = device != self._device
        super().setup(device)
        if self._net is not None and moved:
            self._net.to(device)
            self._place(self.resident())
        elif self._learned is not None:
            self._network()

    def fit(self, prepared: Prepared, y: AnyArray | None, context: FitContext) -> Self:
        """Train on the present rows, see ``NetworkExtractor.fit``."""
        self._n_outputs = context.n_outputs
        return super().fit(prepared, y, context)

    def cross_fitted(self, prepared: Prepared, y: AnyArray | None, context: FitContext) -> Block | None:
        """Outputs of each part of the rows by a network that was fitted on the others; None for what is hidden."""
        n, parts = len(prepared.present), self.params.parts
        if self.params.features == "hidden" or y is None or prepared.present.sum() < 2 * parts:
            return None
        part = parts_of_groups(context.groups, parts, context.seed)
        if part is None:
            part = np.random.default_rng(context.seed).permutation(n) % parts
        values = np.zeros((n, self.n_features), np.float32)
        for number in range(parts):
            own, others = np.flatnonzero(part == number), np.flatnonzero(part != number)
            inner = self.blank()
            inner.adopt(self)
            inner.setup(self._device)
            further = context.further(f"part-{number}", others, context.seed + 1 + number)
            inner.fit(prepared.take(others), y[others], further)
            values[own] = inner.block(prepared.take(own)).values
        return Block(values, prepared.present)

    def _know(self, learned: Mapping[str, AnyArray]) -> None:
        """Become the fitted extractor; the network is made when it is asked for: copies first share their graph."""
        self._learned, self._net = dict(learned), None

    def _network(self) -> ItemNet:
        """The fitted network, on the device."""
        import torch

        if self._net is None:
            learned = self._fitted_tensors()
            net = self.net(self._n_outputs)
            net.load_state_dict({name: torch.from_numpy(np.array(values)) for name, values in learned.items()})
            self._net = net.eval().requires_grad_(False).to(self._device)
        return self._net

    def _fitted_tensors(self) -> dict[str, AnyArray]:
        if self._learned is None:
            raise NotFittedError(f"{self.name}: must be fitted before it is used; got an unfitted one. Call fit")
        return self._learned

    def _fitted(self) -> nn.Module:
        return self._network().trunk

    # ------------------------------------------------------------------ rows

    def extract(self, arrays: Mapping[str, AnyArray]) -> FloatArray:
        """What the network says of the present rows, or what it hides."""
        import torch

        net = self._network()
        if self.params.features == "hidden":
            return super().extract(arrays)
        encoded, filled = self.encoded_rows(arrays)
        feed = self.feed(encoded, filled)
        found = np.zeros((len(filled), self._n_outputs), np.float32)
        with torch.inference_mode():
            for rows in self.passes(encoded):
                found[rows] = net(feed(rows)).cpu().numpy()
        return found - found.mean(axis=1, keepdims=True) if self._n_outputs > 1 else found

    def adopt(self, copy: Extractor) -> None:
        """Share the graph of a copy, also on the device."""
        super().adopt(copy)
        if isinstance(copy, GraphNetworkExtractor) and copy.weights_digest() == self.weights_digest():
            self._resident = copy._resident
            if self._net is not None and copy._resident is not None and copy._device == self._device:
                self._place(copy._resident)

    def _place(self, resident: Resident) -> None:
        """Let the network read a graph that lies on its device."""
        from hybrid_ray.extractors.graphs.nets import GraphTrunk

        assert self._net is not None
        assert isinstance(self._net.trunk, GraphTrunk)
        self._net.trunk.resident = resident
        self._net.trunk.forget()

    # ------------------------------------------------------------------ state

    def learned(self) -> State:
        """Network and head, and which graph they are of."""
        return State(self.seen() | {"graph": self.weights_digest()}, dict(self._fitted_tensors()))

    def get_state(self) -> State:
        """The same, and the graph."""
        return replace(self.learned(), blobs=self.graph_state().blobs)

    @classmethod
    def from_state(cls, params: PluginParams, columns: Mapping[str, Kind], state: State) -> Self:
        """The trained extractor, with the graph of the state, or that of the parameters."""
        extractor = cls(params, columns).take_graph(state)
        extractor.see(state.meta)
        extractor._know(state.tensors)
        return extractor

"""Networks over the nodes of a graph, all of them at once. Imports torch and torch_geometric."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from hybrid_ray.training.loop import Dropout
from hybrid_ray.types import AnyArray

with warnings.catch_warnings():
    # What torch says of torch.jit, which torch_geometric asks for, and, once, of how young sparse matrices are.
    warnings.simplefilter("ignore")
    torch.eye(1).to_sparse_coo().to_sparse_csr()
    from torch_geometric.nn import GATConv, GCNConv, SAGEConv, SimpleConv

__all__ = ["GATConv", "GCNConv", "GraphTrunk", "Hop", "Links", "Resident", "SAGEConv", "SimpleConv"]

_SPARSE = 0.3
"""Share of numbers that are not 0 up to which a matrix is kept as a sparse one."""


class Links:
    """Who hears whom.

    Parameters
    ----------
    edges : Tensor of int64 (2, e)
        Whom, and who.
    weights : Tensor of float32 (e,)
    n : int
        How many nodes there are.
    """

    def __init__(self, edges: torch.Tensor, weights: torch.Tensor, n: int) -> None:
        self.edges, self._weights, self._n = edges, weights, n

    @cached_property
    def matrix(self) -> torch.Tensor:
        """The weights as a sparse matrix (n, n) whose rows hear its columns: products are quicker than by edges."""
        cells = torch.sparse_coo_tensor(self.edges.flip(0), self._weights, (self._n, self._n), check_invariants=False)
        return cells.coalesce().to_sparse_csr()


class Resident:
    """What a network is told of the graph's own nodes, on a device.

    Parameters
    ----------
    matrix : scipy.sparse.csr_array (n, width)
        What the first layer reads.
    edges : ndarray of int64 (2, e)
    weights : ndarray of float32 (e,)
    device : str
    """

    def __init__(self, matrix: Any, edges: AnyArray, weights: AnyArray, device: str) -> None:
        self.device = device
        self.width = int(matrix.shape[1])
        self._shape = tuple(matrix.shape)
        self.links = Links(torch.from_numpy(edges).to(device), torch.from_numpy(weights).to(device), self._shape[0])
        self._sparse = matrix.nnz <= _SPARSE * matrix.shape[0] * matrix.shape[1]
        values = matrix.data if self._sparse else matrix.toarray()
        self.values = torch.from_numpy(np.array(values, np.float32)).to(device)
        self._columns = torch.from_numpy(matrix.indices.astype(np.int64)).to(device)
        self._starts = torch.from_numpy(matrix.indptr.astype(np.int64)).to(device)

    def times(self, values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """The matrix with other values of its own, times a weight (width, d)."""
        if not self._sparse:
            return values @ weight
        matrix = torch.sparse_csr_tensor(self._starts, self._columns, values, self._shape, check_invariants=False)
        product: torch.Tensor = torch.sparse.mm(matrix, weight)
        return product


class NodeDropout(Dropout):
    """Dropout over all nodes alike: whoever takes which rows of a step, each worker goes through the whole graph."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """What stays of x, scaled by what is left out."""
        if self.step is None or not self.share:
            return x
        drawn = self.step.rng(self.stream).random(x.shape, np.float32)
        stays = (drawn >= self.share) / np.float32(1 - self.share)
        return x * torch.from_numpy(stays).to(x.device, x.dtype)


class Hop(nn.Module):
    """What nodes make of what they hear.

    Parameters
    ----------
    conv : Module
        A convolution of torch_geometric.
    weighted : bool, default False
        True: it takes the weights of links.
    active : Module, optional
        Its activation.
    dropout : float, default 0
        Share of what goes in that is left out in a step.
    teleport : float, default 0
        Part of what comes out that is what nodes were before the first hop.
    """

    def __init__(
        self,
        conv: nn.Module,
        weighted: bool = False,
        active: nn.Module | None = None,
        dropout: float = 0.0,
        teleport: float = 0.0,
    ) -> None:
        super().__init__()
        self.conv, self.weighted, self.teleport = conv, weighted, teleport
        self.active = active if active is not None else nn.Identity()
        self.dropout = NodeDropout(dropout)

    def forward(self, x: torch.Tensor, links: Links, first: torch.Tensor, whole: bool = True) -> torch.Tensor:
        """States (n, d) of nodes after the hop, from those before it, and before the first.

        ``whole`` says that these are the graph's own nodes: only of what goes into these is anything left out, since
        how many others there are depends on a worker's rows.
        """
        x = self.dropout(x) if whole else x
        heard = self.conv(x, links.matrix if self.weighted else links.edges)
        if self.teleport:
            heard = (1 - self.teleport) * heard + self.teleport * first
        found: torch.Tensor = self.active(heard)
        return found


class GraphTrunk(nn.Module):
    """A layer on each node by itself, then hops.

    Every training step goes through the whole graph. What its own nodes are is kept outside of training: answers cost
    one look, and those of new nodes what they hear of their neighbours.

    Parameters
    ----------
    resident : Resident
    hidden : int
        Width of the first layer.
    hops : sequence of Hop
    active : Module
        Activation of the first layer.
    dropout : float
        Share of what goes into the first layer, and comes out of it, that is left out in a step.
    """

    def __init__(self, resident: Resident, hidden: int, hops: Sequence[Hop], active: nn.Module, dropout: float) -> None:
        super().__init__()
        self.resident = resident
        self.first = nn.Linear(resident.width, hidden)
        nn.init.xavier_uniform_(self.first.weight)
        nn.init.zeros_(self.first.bias)
        self.hops = nn.ModuleList(hops)
        self.active = active
        self.before, self.after = NodeDropout(dropout), NodeDropout(dropout)
        self._known: list[torch.Tensor] | None = None

    def forget(self) -> None:
        """Weights, or the device, are no longer what they were."""
        self._known = None

    def states(self) -> list[torch.Tensor]:
        """States of the graph's own nodes before each hop, and after the last."""
        if torch.is_grad_enabled():
            self.forget()
            return self._states()
        if self._known is None:
            self._known = self._states()
        return self._known

    def _states(self) -> list[torch.Tensor]:
        own = self.resident
        linear = own.times(self.before(own.values), self.first.weight.t()) + self.first.bias
        found = [self.after(self.active(linear))]
        for hop in self.hops:
            found.append(hop(found[-1], own.links, found[0]))
        return found

    def forward(self, nodes: torch.Tensor, fresh: torch.Tensor, source: torch.Tensor, links: Links) -> torch.Tensor:
        """Vectors of some nodes.

        Parameters
        ----------
        nodes : Tensor of int64 (k,)
            Rows of the graph, -1 for new ones.
        fresh : Tensor of float32 (f, width)
            What the first layer reads of the new ones.
        source : Tensor of int64 (e,)
            Their neighbours.
        links : Links
            Among these e and the f.
        """
        states = self.states()
        vectors = states[-1][nodes.clamp(min=0)]
        if not len(fresh):
            return vectors
        x = first = self.active(self.first(fresh))
        for state, hop in zip(states[:-1], self.hops, strict=True):
            both, firsts = torch.cat([state[source], x]), torch.cat([states[0][source], first])
            x = hop(both, links, firsts, whole=False)[len(source) :]
        return vectors.index_copy(0, torch.nonzero(nodes < 0)[:, 0], x)

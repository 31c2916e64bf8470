"""Which pixels of an image, or tokens of a text, an answer comes from: integrated gradients behind a linear surrogate.

The estimators of a graph are often no functions with gradients. So the change of the answer, from where an extractor
sees nothing to where it sees the row, is laid on its features first (:func:`linear_surrogate`, exactly), and what these
weights make of the features is followed through the network. What pieces add then adds up, over all columns of an
extractor, to the answer minus the answer where it sees nothing, up to ``gap``: what the sum over places of the way
leaves of the integral.

References
----------
Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", ICML 2017.
Sturmfels, Lundberg and Lee, "Visualizing the impact of feature attribution baselines", Distill 2020: what nothing is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hybrid_ray.errors import BadInputError
from hybrid_ray.explain.surrogate import linear_surrogate
from hybrid_ray.extractors.sight import Pieces, Sight
from hybrid_ray.graph import Graph
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray, Batch, Block

TOLERANCE = 0.01
"""What may be missing of the sum, as a share of what the answer changes by."""
_SMALL = 0.01
"""Share of the answer below which it is taken not to change: no more exact a sum is looked for."""
_FIRST, _MOST = 16, 432
"""Places of the way that are asked at first and at most: three times as many, until the sum is near enough."""
_ROWS = 1024
"""Rows that the graph is given at once."""


@dataclass(frozen=True)
class PieceMap:
    """What each piece of one cell adds to an answer.

    Attributes
    ----------
    extractor, column : str
        Who reads what; columns that a data-level fusion puts together are one, their names joined by ``+``.
    output : str
        What is explained: the label whose probability it is, or ``prediction``.
    answer, nothing : float
        What the graph answers, and what it would where the extractor sees nothing in any of its columns.
    values : ndarray of float64 (height, width) or (tokens,)
    gap : float
        What ``values`` lacks to be what the column adds: over the extractor's columns, sums and gaps are
        ``answer - nothing``.
    tokens : tuple of str
        Of a text; empty for an image.
    picture : ndarray of uint8 (height, width, channels) or None
        The image as the network is given it.
    """

    extractor: str
    column: str
    output: str
    answer: float
    nothing: float
    values: AnyArray
    gap: float
    tokens: tuple[str, ...] = ()
    picture: AnyArray | None = None


class PieceExplainer:
    """Shows rows of one graph by the pieces that its extractors see.

    Beside some hundred rows of the graph's estimators, a row costs 16 to 432 passes through each network, forth and
    back.

    Parameters
    ----------
    graph : Graph
        Set up, on the CPU.
    background : Batch
        m >= 0 rows of the kind that is usual: their mean image is nothing.
    pieces : {"pixels", "tokens"}
    pairs : int, default 256
        See :func:`linear_surrogate`.
    seed : int, default 0

    Raises
    ------
    BadInputError
        No extractor of the graph has gradients by such pieces.
    """

    def __init__(self, graph: Graph, background: Batch, pieces: Pieces, *, pairs: int = 256, seed: int = 0) -> None:
        self._graph = graph
        self._groups = seeing(graph, pieces)
        self._usual = {group: graph.prepare(group, background).arrays for group in self._groups}
        self._pairs = pairs
        self._seed = seed

    def explain(self, batch: Batch, output: int | None = None) -> Iterator[list[PieceMap]]:
        """Of each row of a batch, a map of each cell that an extractor sees; none where all are empty.

        Parameters
        ----------
        batch : Batch
        output : int, optional
            Code of the label to explain; default: the one that is predicted, of each row.
        """
        for row in range(len(next(iter(batch.values())))):
            only = {column: values[row : row + 1] for column, values in batch.items()}
            blocks = self._graph.extract(only)
            code = output
            if code is None:
                code = int(self._graph.combine(blocks)[0].argmax()) if self._graph.classes is not None else 0
            yield [each for group in self._groups for each in self._maps(group, only, blocks, code)]

    def _maps(self, group: str, row: Batch, blocks: Mapping[str, Block], code: int) -> Iterator[PieceMap]:
        graph, keys = self._graph, self._graph.groups()[group]
        prepared = graph.prepare(group, row)
        if not prepared.present[0]:
            return
        seen = [graph.extractors[key].sights(prepared.arrays, self._usual[group]) for key in keys]
        spread = _Spread(seen)
        answers = _Answers(graph, blocks, keys, code)
        nothing, itself = spread.features(0.0), spread.features(1.0)
        weights = linear_surrogate(answers, nothing, itself, pairs=self._pairs, seed=self._seed)
        without, answer = (float(value) for value in answers(np.stack([nothing, itself])))
        near = TOLERANCE * max(abs(answer - without), _SMALL * abs(answer)) / spread.n_cells
        names = list(graph.extractors[keys[0]].columns)
        for position, cells in enumerate(zip(*seen, strict=True)):
            if cells[0] is None:
                continue
            added, values = 0.0, np.zeros(1)
            for copy, sight in enumerate(cells):
                assert sight is not None, "copies of an extractor see the same cells"
                own = spread.of(copy, position)
                wanted = float(weights[own] @ (itself[own].astype(np.float64) - nothing[own]))
                values = values + integrated(sight, weights[own], wanted, near)
                added += wanted
            yield PieceMap(
                extractor=group,
                column=names[position] if len(names) == len(seen[0]) else "+".join(names),
                output="prediction" if graph.classes is None else str(graph.classes[code]),
                answer=answer,
                nothing=without,
                values=values,
                gap=added - float(values.sum()),
                tokens=cells[0].tokens,
                picture=cells[0].picture,
            )


def seeing(graph: Graph, pieces: Pieces) -> list[str]:
    """Ids of the graph's extractors whose features have gradients by such pieces.

    Raises
    ------
    BadInputError
        There are none.
    """
    groups = graph.groups()
    found = [group for group, keys in groups.items() if graph.extractors[keys[0]].tags.pieces == pieces]
    if not found:
        known = sorted(name for name, plugin in EXTRACTORS.items() if plugin.tags.pieces == pieces)
        raise BadInputError(
            f"--{pieces}: the model must have an extractor that is one of {known}; got "
            f"{sorted({graph.extractors[keys[0]].name for keys in groups.values()})}. Leave it out"
        )
    return found


def integrated(sight: Sight, weights: AnyArray, wanted: float, near: float) -> AnyArray:
    """What each piece adds to a weighted sum of features: the integral of its slopes from nothing to the cell.

    A sum over the middles of equal parts of the way, of three times as many until its total is near enough: what was
    asked before is part of each further sum.

    Parameters
    ----------
    sight : Sight
    weights : ndarray (d,)
    wanted : float
        What all add up to: how far the sum of features is from that of nothing.
    near : float
        How far from it will do; after ``_MOST`` places any distance does.

    Returns
    -------
    ndarray of float64 (height, width) or (tokens,)
    """
    n = _FIRST
    total = sight.slopes([(i + 0.5) / n for i in range(n)], weights)
    while n < _MOST and abs(float(total.sum()) / n - wanted) > near:
        n *= 3
        total = total + sight.slopes([(i + 0.5) / n for i in range(n) if i % 3 != 1], weights)
    return total / n


class _Spread:
    """Features of a row's cells, those of all copies of an extractor side by side: an empty cell has zeros."""

    def __init__(self, seen: Sequence[Sequence[Sight | None]]) -> None:
        self._seen = seen
        self._width = len(next(sight for sight in seen[0] if sight is not None).features(1.0))

    @property
    def n_cells(self) -> int:
        """Cells that hold something, of all copies."""
        return sum(sight is not None for sights in self._seen for sight in sights)

    def features(self, share: float) -> AnyArray:
        """Float32 (d,) at a place of the way from nothing to the cells."""
        empty = np.zeros(self._width, np.float32)
        return np.concatenate(
            [empty if sight is None else sight.features(share) for sights in self._seen for sight in sights]
        )

    def of(self, copy: int, position: int) -> slice:
        """Where the features of a copy's cell are."""
        at = (copy * len(self._seen[0]) + position) * self._width
        return slice(at, at + self._width)


class _Answers:
    """What a graph answers to a row some of whose features are others.

    Parameters
    ----------
    graph : Graph
    blocks : mapping of str to Block
        Of the row.
    keys : sequence of str
        Extractors whose features are given.
    code : int
        The output.
    """

    def __init__(self, graph: Graph, blocks: Mapping[str, Block], keys: Sequence[str], code: int) -> None:
        self._graph = graph
        self._blocks = blocks
        self._keys = keys
        self._code = code

    def __call__(self, features: AnyArray) -> AnyArray:
        """Answers float64 (k,) to features (k, d), those of all keys side by side."""
        found = []
        for start in range(0, len(features), _ROWS):
            part = features[start : start + _ROWS]
            blocks = {key: block.take(np.zeros(len(part), np.intp)) for key, block in self._blocks.items()}
            for key, values in zip(self._keys, np.split(part, len(self._keys), axis=1), strict=True):
                blocks[key] = Block(np.ascontiguousarray(values, np.float32), blocks[key].present)
            found.append(self._graph.combine(blocks)[:, self._code])
        return np.concatenate(found)

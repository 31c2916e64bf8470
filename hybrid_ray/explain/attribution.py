"""Why a graph answers a row as it does: what each column, modality, extractor and member adds to the answer.

Each level is a game (Lundberg and Lee, "A unified approach to interpreting model predictions", NeurIPS 2017): what is
not in a coalition is as in rows of the background, one after the other, and the coalition is worth the mean answer.
Shares of a level and its base add up to the answer, whatever stands between: fusion, estimators, stacked decisions.
Columns may be told by LIME instead, of the same game: cheaper where they are many, and only near the answer.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hybrid_ray.explain.lime import coalitions_asked, lime_line
from hybrid_ray.explain.shapley import Game, Shares, coalitions_of, is_exact, owen_values, shapley_values
from hybrid_ray.fusion.base import DecisionFusion
from hybrid_ray.graph import Graph, Member
from hybrid_ray.types import MODALITY_OF, AnyArray, Batch, Block, BoolArray

Method = Literal["shapley", "lime"]
"""How columns are told."""
ROWS = 4096
"""Rows that the graph is given at once."""


@dataclass(frozen=True)
class Level:
    """Shares of one level; with ``base`` they add up to the answer.

    Attributes
    ----------
    base : float
        The mean answer to the background.
    shares : dict of str to float
        The largest, whatever its sign, first.
    errors : dict of str to float
        Standard errors of the shares; 0 where all coalitions were asked.
    """

    base: float
    shares: dict[str, float]
    errors: dict[str, float]


@dataclass(frozen=True)
class LineLevel(Level):
    """Weights of a line that LIME lays near the answer: with ``base``, what the line says of the row.

    Attributes
    ----------
    r2 : float
        Share of the variance of what is asked that the line tells, near the row.
    """

    r2: float


@dataclass(frozen=True)
class Attribution:
    """Why one row is answered as it is.

    Attributes
    ----------
    output : str
        What is explained: the label whose probability it is, or ``prediction``.
    answer : float
        Probability of that label, or the number; of a forecast the mean of its steps.
    extractors, members : Level
        Extractors are what their features add, members what their own answers add.
    columns, modalities : Level or None
        A modality is its columns together. None where there was no time for them; by LIME, of class ``LineLevel``.
    """

    output: str
    answer: float
    extractors: Level
    members: Level
    columns: Level | None
    modalities: Level | None


class Explainer:
    """Explains rows of one graph against one background.

    The cost of a row is (coalitions × background) rows of the graph, 2 ^ columns coalitions for few columns; an
    extractor is given no rows that differ in nothing it reads.

    Parameters
    ----------
    graph : Graph
        Set up.
    background : Batch
        m rows of the kind that is usual: what a column that is not known might be.
    orders : int, default 32
        Orders that are drawn where players are many.
    seed : int, default 0
    method : {"shapley", "lime"}, default "shapley"
        How columns and modalities are told.
    """

    def __init__(
        self, graph: Graph, background: Batch, *, orders: int = 32, seed: int = 0, method: Method = "shapley"
    ) -> None:
        self._graph = graph
        self._background = background
        self._orders = orders
        self._seed = seed
        self._method = method
        self._m = len(next(iter(background.values())))
        start = time.perf_counter()
        self._usual = graph.extract(background)
        graph.combine(self._usual)
        self._pass_s = time.perf_counter() - start
        self._unions = _by_modality(graph)

    def explain(self, batch: Batch, output: int | None = None, seconds: float | None = None) -> Iterator[Attribution]:
        """Why the graph answers each row of a batch as it does.

        Parameters
        ----------
        batch : Batch
        output : int, optional
            Code of the label to explain; default: the one that is predicted, of each row.
        seconds : float, optional
            What a row may take, roughly: columns are told by fewer orders then, or not at all.
        """
        outputs = self._graph.outputs(batch)
        for row in range(len(outputs)):
            only = {c: values[row : row + 1] for c, values in batch.items()}
            yield self._explained(only, outputs[row], output, seconds)

    def _orders_within(self, seconds: float | None) -> int:
        """Orders of columns that there is time for, by how long the background takes."""
        players = len(self._graph.columns)
        unions = list(self._unions.values())
        if seconds is None or is_exact(unions):
            cost = self._pass_s * coalitions_of(unions)
            return self._orders if seconds is None or cost <= seconds else 0
        return min(self._orders, int(seconds / (2 * players * self._pass_s)))

    def _explained(self, row: Batch, outputs: AnyArray, output: int | None, seconds: float | None) -> Attribution:
        classes = self._graph.classes
        code = None if classes is None else int(outputs.argmax()) if output is None else output
        blocks = self._graph.extract(row)
        columns, modalities = self._told(self._columns(row, blocks, code), seconds)
        groups = list(self._graph.groups())
        extractors = shapley_values(self._extractors(blocks, code), len(groups), orders=self._orders, seed=self._seed)
        return Attribution(
            output="prediction" if code is None or classes is None else str(classes[code]),
            answer=float(self._scalar(outputs[None], code)[0]),
            columns=columns,
            modalities=modalities,
            extractors=_level(extractors, [[i] for i in range(len(groups))], groups),
            members=self._members(blocks, code),
        )

    def _told(self, game: Game, seconds: float | None) -> tuple[Level | None, Level | None]:
        """What columns add, and modalities."""
        names, unions = list(self._graph.columns), list(self._unions.values())
        single = [[i] for i in range(len(names))]
        if self._method == "lime":
            if seconds is not None and self._pass_s * coalitions_asked(len(names)) > seconds:
                return None, None
            line = lime_line(game, len(names), seed=self._seed)
            levels = (_level(line.shares, single, names), _level(line.shares, unions, list(self._unions)))
            columns, modalities = (LineLevel(each.base, each.shares, each.errors, line.r2) for each in levels)
            return columns, modalities
        orders = self._orders_within(seconds)
        if not orders:
            return None, None
        found = owen_values(game, unions, orders=orders, seed=self._seed)
        return _level(found, single, names), _level(found, unions, list(self._unions))

    def _scalar(self, outputs: AnyArray, code: int | None) -> AnyArray:
        """What is explained of outputs (n, n_outputs): (n,)."""
        if self._graph.outlook is not None:
            return outputs[:, : self._graph.outlook.horizon].mean(axis=1)
        return outputs[:, code or 0]

    def _worth(self, blocks: Mapping[str, Block], code: int | None) -> AnyArray:
        """Mean answer (k,) over the background, of blocks of k · m rows."""
        return self._scalar(self._graph.combine(blocks), code).reshape(-1, self._m).mean(axis=1)

    def _columns(self, row: Batch, own: Mapping[str, Block], code: int | None) -> Game:
        names = list(self._graph.columns)

        def game(masks: BoolArray) -> AnyArray:
            worth = []
            for part in _pieces(masks, self._m):
                blocks: dict[str, Block] = {}
                for group, keys in self._graph.groups().items():
                    read = [names.index(column) for column in self._graph.extractors[keys[0]].columns]
                    blocks |= self._mixed(group, row, own, part[:, read])
                worth.append(self._worth(blocks, code))
            return np.concatenate(worth)

        return game

    def _mixed(self, group: str, row: Batch, own: Mapping[str, Block], masks: BoolArray) -> dict[str, Block]:
        """Blocks of k · m rows: columns bool (k, columns of the group) as in a row, the others as in the background.

        Where all columns are the row's, or none is, features are known: ``own`` are the row's.
        """
        distinct, which = np.unique(masks, axis=0, return_inverse=True)
        mixed = np.flatnonzero(distinct.any(axis=1) & ~distinct.all(axis=1))
        keys = self._graph.groups()[group]
        whole: list[bool] = [all(kept) for kept in distinct.tolist()]
        found = {key: [_repeated(own[key], self._m) if kept else self._usual[key] for kept in whole] for key in keys}
        if len(mixed):
            batch = {}
            for position, column in enumerate(self._graph.extractors[keys[0]].columns):
                values = np.tile(self._background[column], len(mixed))
                kept = np.repeat(distinct[mixed, position], self._m)
                values[kept] = np.repeat(row[column], kept.sum())
                batch[column] = values
            for key, block in self._graph.blocks(group, self._graph.prepare(group, batch)).items():
                for part, at in enumerate(mixed):
                    found[key][at] = block.take(slice(part * self._m, (part + 1) * self._m))
        return {key: _joined([parts[at] for at in which.ravel()]) for key, parts in found.items()}

    def _extractors(self, blocks: Mapping[str, Block], code: int | None) -> Game:
        groups = self._graph.groups()

        def game(masks: BoolArray) -> AnyArray:
            worth = []
            for part in _pieces(masks, self._m):
                mixed: dict[str, Block] = {}
                for position, keys in enumerate(groups.values()):
                    kept = np.repeat(part[:, position], self._m)
                    mixed |= {key: _either(blocks[key], self._usual[key], kept) for key in keys}
                worth.append(self._worth(mixed, code))
            return np.concatenate(worth)

        return game

    def _members(self, blocks: Mapping[str, Block], code: int | None) -> Level:
        """What each member's answer adds: of the ensemble, or of the reserve that answers the row."""
        members, decision = self._answering(blocks)
        ours = {member.name: member.predict(blocks) for member in members}
        usual = {member.name: member.predict(self._usual) for member in members}
        names = list(ours)

        def game(masks: BoolArray) -> AnyArray:
            worth = []
            for part in _pieces(masks, self._m):
                mixed = {}
                for position, name in enumerate(names):
                    kept = np.repeat(part[:, position], self._m)[:, None]
                    mixed[name] = np.where(kept, ours[name], np.tile(usual[name], (len(part), 1)))
                answers = self._scalar(decision.combine(mixed), code)
                worth.append(answers.reshape(-1, self._m).mean(axis=1))
            return np.concatenate(worth)

        found = shapley_values(game, len(names), orders=self._orders, seed=self._seed)
        return _level(found, [[i] for i in range(len(names))], names)

    def _answering(self, blocks: Mapping[str, Block]) -> tuple[Sequence[Member], DecisionFusion]:
        for reserve, _ in self._graph.reserved(blocks):
            return reserve.members, reserve.decision
        return self._graph.members, self._graph.decision


def _by_modality(graph: Graph) -> dict[str, list[int]]:
    """Positions of columns by their modality."""
    unions: dict[str, list[int]] = {}
    for position, kind in enumerate(graph.columns.values()):
        unions.setdefault(MODALITY_OF[kind], []).append(position)
    return unions


def _pieces(masks: BoolArray, m: int) -> Iterator[BoolArray]:
    """Coalitions, so many at a time that they make ``ROWS`` rows."""
    most = max(ROWS // m, 1)
    for start in range(0, len(masks), most):
        yield masks[start : start + most]


def _repeated(block: Block, times: int) -> Block:
    return Block(np.repeat(block.values, times, axis=0), np.repeat(block.present, times))


def _joined(parts: Sequence[Block]) -> Block:
    return Block(np.concatenate([part.values for part in parts]), np.concatenate([part.present for part in parts]))


def _either(row: Block, usual: Block, kept: BoolArray) -> Block:
    """Rows of one or the other: the single row where ``kept`` (k · m,), else the background's, over and over."""
    times = len(kept) // len(usual.present)
    values = np.where(kept[:, None], row.values, np.tile(usual.values, (times, 1)))
    return Block(values, np.where(kept, row.present, np.tile(usual.present, times)))


def _level(found: Shares, unions: Sequence[Sequence[int]], names: Sequence[str]) -> Level:
    """Shares by name, those of a union together: their errors are added as if they went one way."""
    shares = {name: float(found.values[union].sum()) for name, union in zip(names, unions, strict=True)}
    errors = {name: float(found.errors[union].sum()) for name, union in zip(names, unions, strict=True)}
    order = sorted(names, key=lambda name: (-abs(shares[name]), name))
    return Level(found.none, {name: shares[name] for name in order}, {name: errors[name] for name in order})

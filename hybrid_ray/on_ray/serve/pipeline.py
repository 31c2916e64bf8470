"""The graph behind the ingress: stages that run here or in other deployments, fanned out and put together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from threading import Lock
from typing import Any

import numpy as np

from hybrid_ray.data.encoded import DecodeError
from hybrid_ray.data.images import decode
from hybrid_ray.data.sounds import check_sound
from hybrid_ray.graph import Graph
from hybrid_ray.monitoring.reference import embeddings_of, projection
from hybrid_ray.on_ray.serve.batching import Arrays, RowBatcher, cut, merge, n_rows
from hybrid_ray.on_ray.serve.contract import Outcome, RequestError, Served, unavailable, unprocessable
from hybrid_ray.types import ENCODED, AnyArray, Batch, Block, Kind

_LOG = logging.getLogger(__name__)
_OUTPUTS = "outputs"
_EMBEDDING = "embedding:"
WRONG = "wrong answer"
"""What ``ready`` begins with when waiting will not help."""

Stage = Callable[[Arrays], Awaitable[Arrays]]
"""From arrays of n rows to arrays of n rows."""


def pack(blocks: Mapping[str, Block]) -> dict[str, AnyArray]:
    """Blocks as plain arrays: ``<extractor key>/values`` and ``<extractor key>/present``."""
    packed: dict[str, AnyArray] = {}
    for key, block in blocks.items():
        packed[f"{key}/values"], packed[f"{key}/present"] = block.values, block.present
    return packed


def unpack(arrays: Arrays) -> dict[str, Block]:
    """Blocks from plain arrays; other arrays are left out."""
    keys = [name.removesuffix("/values") for name in arrays if name.endswith("/values")]
    return {key: Block(arrays[f"{key}/values"], arrays[f"{key}/present"]) for key in keys}


class Extraction:
    """Runs some extractors of a graph on a batch: decoding side by side, the device one batch at a time.

    Parameters
    ----------
    graph : Graph
        Set up.
    groups : sequence of str
        Extractor ids.
    """

    def __init__(self, graph: Graph, groups: Sequence[str]) -> None:
        self._graph = graph
        self._groups = tuple(groups)
        self._device: AbstractContextManager[Any] = Lock()

    def __call__(self, batch: Arrays) -> Arrays:
        """Packed blocks, and ``<id>/error``: object (n,), the reason or None."""
        answer: dict[str, AnyArray] = {}
        for group in self._groups:
            prepared = self._graph.prepare(group, batch)
            with self._device:
                answer |= pack(self._graph.blocks(group, prepared))
            errors = np.full(n_rows(batch), None, object)
            for row, reason in prepared.errors.items():
                errors[row] = reason
            answer[f"{group}/error"] = errors
        return answer


def combination(graph: Graph) -> Callable[[Arrays], Arrays]:
    """The classical stages: from packed blocks to ``outputs``."""

    def run(arrays: Arrays) -> Arrays:
        return {_OUTPUTS: graph.combine(unpack(arrays))}

    return run


def whole(graph: Graph, embeddings: bool = False) -> Callable[[Arrays], Arrays]:
    """Everything in one call: from raw columns to ``outputs`` and errors, with embeddings where they are asked for."""
    extraction = Extraction(graph, list(graph.groups()))

    def run(batch: Arrays) -> Arrays:
        found = extraction(batch)
        errors = {name: array for name, array in found.items() if name.endswith("/error")}
        blocks = unpack(found)
        seen = embeddings_of(graph, blocks) if embeddings else {}
        return (
            errors
            | pack({f"{_EMBEDDING}{name}": block for name, block in seen.items()})
            | {_OUTPUTS: graph.combine(blocks)}
        )

    return run


class Pipeline:
    """The backend of the ingress.

    Parameters
    ----------
    served : Served
    extraction : mapping of str to Stage
        Extraction stages, run in parallel; named by what they run: extractor ids joined by ``+``. A stage that gives
        ``outputs`` is the whole graph.
    combine : Stage, optional
        The classical stages; none when an extraction stage is the whole graph.
    batchers : sequence of RowBatcher, default ()
        Those of its stages that end with it.
    """

    def __init__(
        self,
        served: Served,
        extraction: Mapping[str, Stage],
        combine: Stage | None = None,
        batchers: Sequence[RowBatcher] = (),
    ) -> None:
        self._served = served
        self._batchers = tuple(batchers)
        self._extraction = extraction
        self._combine = combine
        self._reads = {
            name: sorted({column for group in name.split("+") for column in served.extractors[group].columns})
            for name in extraction
        }
        self._warming: asyncio.Task[str] | None = None
        self._absent: dict[str, Arrays] = {}

    async def predict(self, batch: Batch) -> Outcome:
        """Outputs of a batch; see :class:`Backend`."""
        if n_rows(batch) == 0:
            return Outcome(np.zeros((0, self._served.n_outputs), np.float64))
        try:
            return await self._predict(batch)
        except (ValueError, TypeError, ArithmeticError) as error:
            # The probe row went through the same code: what fails now fails for the values of these rows.
            _LOG.exception("the graph could not take the rows of a request")
            raise unprocessable(
                f"the model cannot take these values ({type(error).__name__})", "rows", type_="rejected"
            ) from error

    async def ready(self) -> str:
        """Empty once the probe row was answered; see :class:`Backend`."""
        if self._warming is None:
            self._warming = asyncio.create_task(self._warm())
        if not self._warming.done():
            return "warming up"
        problem = self._warming.result()
        if problem:
            self._warming = None
        return problem

    async def close(self) -> None:
        """End its batchers."""
        for batcher in self._batchers:
            await batcher.close()

    async def _warm(self) -> str:
        try:
            if self._served.limits.partial_s is not None and len(self._extraction) > 1:
                nothing = {name: _nothing(values) for name, values in self._served.probe.batch.items()}
                self._absent = {name: await self._asked(name, nothing) for name in self._extraction}
            outcome = await self._predict(self._served.probe.batch)
        except Exception as error:  # told to whoever asks, and tried again
            _LOG.exception("the probe rows could not be predicted")
            return f"the probe rows failed: {type(error).__name__}"
        fault = self._served.probe.fault(outcome.outputs)
        if not fault and outcome.without:
            return f"no answer yet of {', '.join(outcome.without)}"
        return f"{WRONG}: {fault}" if fault else ""

    async def _predict(self, batch: Batch) -> Outcome:
        found, without = await self._extract(batch)
        errors = await self._errors(batch, found)
        if _OUTPUTS in found:
            return Outcome(found[_OUTPUTS], errors, self._embeddings(found))
        if self._combine is None:
            raise RuntimeError("a pipeline without classical stages must hold the whole graph")
        blocks = {name: array for name, array in found.items() if not name.endswith("/error")}
        return Outcome((await self._combine(blocks))[_OUTPUTS], errors, self._embeddings(found), without)

    def _embeddings(self, found: Arrays) -> dict[str, Block]:
        """What the log keeps of extractors' features: as a stage gave it, else of the first copy of each."""
        told = unpack({name: array for name, array in found.items() if name.startswith(_EMBEDDING)})
        if told or self._served.outlook is not None or not self._served.limits.log.share:
            return {name.removeprefix(_EMBEDDING): block for name, block in told.items()}
        firsts = {group: reads.keys[0] for group, reads in self._served.extractors.items()}
        return {
            group: Block(projection(found[f"{key}/values"], group), found[f"{key}/present"])
            for group, key in firsts.items()
            if f"{key}/values" in found
        }

    async def _extract(self, batch: Batch) -> tuple[dict[str, AnyArray], tuple[str, ...]]:
        """What the stages give, and the extractors that gave nothing in time."""
        asked = self._in_time if self._absent else self._asked
        parts = await asyncio.gather(*(asked(name, batch) for name in self._extraction))
        missing = [name for name, part in zip(self._extraction, parts, strict=True) if part is None]
        if len(missing) == len(parts):
            raise unavailable("no part of the model answers in time")
        rows = n_rows(batch)
        told = [
            part if part is not None else {key: np.repeat(array, rows, 0) for key, array in self._absent[name].items()}
            for name, part in zip(self._extraction, parts, strict=True)
        ]
        found = {name: array for part in told for name, array in part.items()}
        return found, tuple(group for name in missing for group in name.split("+"))

    async def _asked(self, name: str, batch: Batch) -> Arrays:
        """What a stage gives."""
        return await self._extraction[name]({column: batch[column] for column in self._reads[name]})

    async def _in_time(self, name: str, batch: Batch) -> Arrays | None:
        """What a stage gives; None where it takes too long, or is away."""
        try:
            async with asyncio.timeout(self._served.limits.partial_s):
                return await self._asked(name, batch)
        except TimeoutError:
            _LOG.warning("%s took more than %g s", name, self._served.limits.partial_s)
        except RequestError as error:
            if error.status != 503:
                raise
            _LOG.warning("%s is away: %s", name, error)
        return None

    async def _errors(self, batch: Batch, found: Arrays) -> dict[int, tuple[str, str]]:
        """Undecodable rows: which column, and why."""
        errors: dict[int, tuple[str, str]] = {}
        for group, reads in self._served.extractors.items():
            encoded = {c: kind for c, kind in reads.columns.items() if kind in ENCODED}
            for row in np.flatnonzero([reason is not None for reason in found[f"{group}/error"]]):
                reason = str(found[f"{group}/error"][row])
                # Most extractors say which column it is; to find it for the others takes decoding once more.
                told = next((c for c in reads.columns if reason.startswith(f"{c}: ")), None)
                if told is None:
                    told = await asyncio.to_thread(_culprit, batch, encoded or reads.columns, int(row))
                errors[int(row)] = (told, reason)
        return errors


_DECODE: dict[Kind, Callable[[Any], Any]] = {"image": decode, "audio": check_sound}


def _culprit(batch: Batch, columns: Mapping[str, Kind], row: int) -> str:
    """The column of images or sounds of a row that cannot be decoded."""
    *others, last = columns
    for column in others:
        try:
            if batch[column][row] is not None and columns[column] in _DECODE:
                _DECODE[columns[column]](batch[column][row])
        except DecodeError:
            return column
    return last


def _nothing(values: AnyArray) -> AnyArray:
    """One cell of a column that is missing."""
    return np.full(1, None if values.dtype == object else np.nan if values.dtype.kind == "f" else "NaT", values.dtype)


def chunked(stage: Stage, rows: int) -> Stage:
    """A stage that is given at most ``rows`` rows at a time, all pieces at once: replicas share a large request."""

    async def run(arrays: Arrays) -> Arrays:
        pieces = cut(arrays, rows)
        if len(pieces) == 1:
            return await stage(pieces[0])
        return merge(list(await asyncio.gather(*(stage(piece) for piece in pieces))))

    return run

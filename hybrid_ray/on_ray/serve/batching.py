"""Dynamic batching by rows: requests that arrive together are run together.

Serve's own ``@serve.batch`` counts requests, refuses one that is larger than a batch, waits out its timeout even when
nobody else comes, and lets one bad request fail its neighbours; here rows are counted, and none of that happens.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from hybrid_ray.types import AnyArray

Arrays = Mapping[str, AnyArray]
"""Arrays of the same first dimension, the rows, by name."""


def n_rows(arrays: Arrays) -> int:
    """First dimension of the arrays; 0 for none."""
    return len(next(iter(arrays.values()))) if arrays else 0


def merge(parts: list[Arrays]) -> Arrays:
    """The rows of several, one after another."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def cut(arrays: Arrays, rows: int) -> list[Arrays]:
    """Pieces of at most ``rows`` rows, in order; one piece for no rows."""
    starts = range(0, max(n_rows(arrays), 1), rows)
    return [{name: array[i : i + rows] for name, array in arrays.items()} for i in starts]


@dataclass
class _Waiting:
    arrays: Arrays
    answer: asyncio.Future[Arrays]
    arrived: float

    @property
    def rows(self) -> int:
        return n_rows(self.arrays)


class RowBatcher:
    """Runs a function on the rows of several requests at once, in threads of its own.

    A batch leaves when it is full or when its first request has waited ``wait_s``; a lone request does not wait:
    waiting starts only once requests were seen to share a batch. When a shared batch fails, its requests are run one by
    one, so that each gets its own answer or its own exception. A cancelled request is dropped.

    Parameters
    ----------
    run : callable
        From arrays of n rows to arrays of n rows; called in a thread.
    max_rows : int
        Rows of a batch; a larger request is cut into passes of that size.
    wait_s : float
        Longest wait for a batch to fill, seconds.
    slots : int, default 1
        Batches at the same time.
    """

    def __init__(self, run: Callable[[Arrays], Arrays], max_rows: int, wait_s: float, slots: int = 1) -> None:
        self._run = run
        self._max_rows = max_rows
        self._wait_s = wait_s
        self._slots = slots
        self._threads = ThreadPoolExecutor(slots, "batch")
        self._queue: deque[_Waiting] = deque()
        self._arrival = asyncio.Event()
        self._workers: list[asyncio.Task[None]] = []
        self._shared = False
        self.batches = 0

    async def submit(self, arrays: Arrays) -> Arrays:
        """The answer for these rows; raises what ``run`` raises for them."""
        if not self._workers:
            self._workers = [asyncio.create_task(self._serve()) for _ in range(self._slots)]
        waiting = _Waiting(arrays, asyncio.get_running_loop().create_future(), time.monotonic())
        self._queue.append(waiting)
        self._arrival.set()
        return await waiting.answer

    async def close(self) -> None:
        """Stop; requests that still wait are cancelled."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for waiting in self._queue:
            waiting.answer.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _serve(self) -> None:
        while True:
            batch = await self._collect()
            if batch:
                self.batches += 1
                await self._answer(batch)

    async def _collect(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        rows = 0
        patience = self._wait_s if self._shared else 0.0
        while True:
            while self._queue and (not batch or rows + self._queue[0].rows <= self._max_rows):
                waiting = self._queue.popleft()
                if not waiting.answer.done():
                    batch.append(waiting)
                    rows += waiting.rows
            if self._queue or rows >= self._max_rows:
                break
            self._arrival.clear()
            left = batch[0].arrived + patience - time.monotonic() if batch else None
            if left is not None and left <= 0:
                break
            try:
                await asyncio.wait_for(self._arrival.wait(), left)
            except TimeoutError:
                break
        self._shared = len(batch) > 1 or bool(self._queue)
        return batch

    async def _answer(self, batch: list[_Waiting]) -> None:
        try:
            answer = await self._passes(merge([waiting.arrays for waiting in batch]))
        except (Exception, SystemExit) as error:  # relayed to the one who asked
            if len(batch) == 1:
                _fail(batch[0], error if isinstance(error, Exception) else RuntimeError("the worker tried to exit"))
            else:
                for waiting in batch:
                    await self._answer([waiting])
            return
        start = 0
        for waiting in batch:
            stop = start + waiting.rows
            if not waiting.answer.done():
                waiting.answer.set_result({name: array[start:stop] for name, array in answer.items()})
            start = stop

    async def _passes(self, arrays: Arrays) -> Arrays:
        loop = asyncio.get_running_loop()
        pieces = cut(arrays, self._max_rows)
        return merge([await loop.run_in_executor(self._threads, self._run, piece) for piece in pieces])


def _fail(waiting: _Waiting, error: Exception) -> None:
    if not waiting.answer.done():
        waiting.answer.set_exception(error)

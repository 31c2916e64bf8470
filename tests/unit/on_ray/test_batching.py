"""Dynamic batching by rows, without Ray."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest

from hybrid_ray.on_ray.serve.batching import Arrays, RowBatcher, cut, merge


class Recorder:
    """Doubles ``x``; remembers the sizes of its calls; refuses negative values."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.sizes: list[int] = []
        self.threads: set[int] = set()
        self.seconds = seconds

    def __call__(self, arrays: Arrays) -> Arrays:
        self.sizes.append(len(arrays["x"]))
        self.threads.add(threading.get_ident())
        time.sleep(self.seconds)
        if (arrays["x"] < 0).any():
            raise ValueError("negative")
        return {"y": arrays["x"] * 2}


def rows(*values: float) -> Arrays:
    return {"x": np.array(values)}


def test_each_request_gets_its_own_rows() -> None:
    run = Recorder(0.01)

    async def go() -> list[Arrays]:
        batcher = RowBatcher(run, max_rows=8, wait_s=0.01)
        answers = await asyncio.gather(*(batcher.submit(rows(*range(i, i + i % 3 + 1))) for i in range(12)))
        await batcher.close()
        return answers

    answers = asyncio.run(go())
    for i, answer in enumerate(answers):
        assert answer["y"].tolist() == [2 * v for v in range(i, i + i % 3 + 1)]
    assert max(run.sizes) <= 8
    assert len(run.sizes) < 12
    assert threading.get_ident() not in run.threads


def test_a_lone_request_does_not_wait_and_shared_ones_do() -> None:
    run = Recorder()

    async def go() -> int:
        patient = RowBatcher(run, max_rows=64, wait_s=3600)
        await asyncio.wait_for(patient.submit(rows(1)), 60)
        await patient.close()
        batcher = RowBatcher(run, max_rows=64, wait_s=0.4)
        await batcher.submit(rows(1))
        await asyncio.gather(batcher.submit(rows(1)), batcher.submit(rows(2)))
        before = len(run.sizes)
        late = asyncio.create_task(batcher.submit(rows(3)))
        await asyncio.sleep(0.05)
        await asyncio.gather(late, batcher.submit(rows(4)))
        await batcher.close()
        return len(run.sizes) - before

    assert asyncio.run(go()) == 1


def test_a_large_request_is_cut_into_passes() -> None:
    run = Recorder()

    async def go() -> Arrays:
        batcher = RowBatcher(run, max_rows=4, wait_s=0.0)
        answer = await batcher.submit(rows(*range(11)))
        await batcher.close()
        return answer

    assert asyncio.run(go())["y"].tolist() == [2 * v for v in range(11)]
    assert run.sizes == [4, 4, 3]


@pytest.mark.parametrize("bad", [0, 1, 2])
def test_a_bad_request_does_not_fail_its_neighbours(bad: int) -> None:
    run = Recorder(0.02)

    async def go() -> list[Arrays | BaseException]:
        batcher = RowBatcher(run, max_rows=8, wait_s=0.05)
        first = asyncio.create_task(batcher.submit(rows(9)))
        await asyncio.sleep(0.005)
        tasks = [batcher.submit(rows(-1.0 if i == bad else i)) for i in range(3)]
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        await first
        await batcher.close()
        return answers

    for i, answer in enumerate(asyncio.run(go())):
        if i == bad:
            assert isinstance(answer, ValueError)
        else:
            assert answer["y"].tolist() == [2 * i]  # type: ignore[index, call-overload]


def test_it_goes_on_after_exits_and_cancellations() -> None:
    def run(arrays: Arrays) -> Arrays:
        time.sleep(0.02)
        if arrays["x"][0] == 7:
            raise SystemExit(3)
        return {"y": arrays["x"]}

    async def go() -> list[float]:
        batcher = RowBatcher(run, max_rows=1, wait_s=0.0)
        with pytest.raises(RuntimeError, match="tried to exit"):
            await batcher.submit(rows(7))
        running, waiting = (asyncio.create_task(batcher.submit(rows(i))) for i in (1, 2))
        await asyncio.sleep(0.005)
        running.cancel()
        waiting.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
        answer = await asyncio.wait_for(batcher.submit(rows(3)), 2)
        await batcher.close()
        return answer["y"].tolist()

    assert asyncio.run(go()) == [3]


def test_slots_run_side_by_side() -> None:
    barrier = threading.Barrier(2, timeout=5)

    def run(arrays: Arrays) -> Arrays:
        barrier.wait()
        return arrays

    async def go() -> None:
        batcher = RowBatcher(run, max_rows=1, wait_s=0.0, slots=2)
        await asyncio.gather(batcher.submit(rows(1)), batcher.submit(rows(2)))
        await batcher.close()

    asyncio.run(go())


@pytest.mark.parametrize(("n", "size", "pieces"), [(0, 4, [0]), (3, 4, [3]), (8, 4, [4, 4]), (9, 4, [4, 4, 1])])
def test_cut_and_merge_are_inverse(n: int, size: int, pieces: list[int]) -> None:
    arrays = {"x": np.arange(n), "o": np.array([None] * n, object)}
    parts = cut(arrays, size)
    assert [len(part["x"]) for part in parts] == pieces
    merged = merge(parts)
    assert merged["x"].tolist() == list(range(n))
    assert merged["o"].dtype == object

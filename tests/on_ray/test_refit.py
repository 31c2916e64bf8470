"""A fit by workers that stream the store's shards is the fit on the matrix, and outlives a kill."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray

from hybrid_ray.candidate import Candidate
from hybrid_ray.estimators.streaming import Team
from hybrid_ray.estimators.xgboost import XGBoost
from hybrid_ray.graph import Chain, fit_chain
from hybrid_ray.on_ray import refit
from hybrid_ray.on_ray.compose import Fitting, Material
from hybrid_ray.on_ray.feature_set import ExtractionStats, FeatureSet
from hybrid_ray.on_ray.refit import fit_on_stream, refit_on_all
from hybrid_ray.on_ray.resources import RefitResources
from hybrid_ray.on_ray.stream import ShardStream, TrainingRows
from hybrid_ray.search.refit import Refit
from hybrid_ray.store.chain import read_chain, write_chain
from hybrid_ray.store.features import FeatureCache
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import Block

N, SHARD = 3000, 100


def put_features(root: StoreRoot, name: str, values: np.ndarray, present: np.ndarray) -> FeatureSet:
    cache = FeatureCache(root, name.encode().hex().ljust(32, "0"))
    shards = []
    for start in range(0, len(values), SHARD):
        rows = slice(start, start + SHARD)
        digests = np.zeros((len(values[rows]), 16), np.uint8)
        digests[:, :8] = np.arange(start, start + len(digests), dtype=np.uint64).view(np.uint8).reshape(-1, 8)
        key = cache.shard_key(digests)
        cache.write_shard(key, digests, Block(values[rows], present[rows]))
        shards.append((key, len(digests)))
    stats = ExtractionStats(len(values), 0, len(values), 0, 0, 0.0)
    return FeatureSet(name, cache.fingerprint, tuple(shards), values.shape[1], stats, ())


@pytest.fixture(scope="module")
def made(cluster, tmp_path_factory):
    rng = np.random.default_rng(0)
    root = StoreRoot(str(tmp_path_factory.mktemp("refit") / "store"))
    a = rng.normal(size=(N, 4)).astype(np.float32)
    b = rng.normal(size=(N, 3)).astype(np.float32)
    there = rng.random(N) < 0.8
    b[~there] = 0.0
    y = (a[:, 0] + b[:, 0] + rng.normal(0, 0.5, N) > 0).astype(np.int64)
    blocks = {"a": Block(a, np.ones(N, bool)), "b": Block(b, there)}
    sets = {name: put_features(root, name, block.values, block.present) for name, block in blocks.items()}
    training = rng.random(N) < 0.8
    training[:250] = False  # shards without a training row
    rows = TrainingRows.of(root, sets, ray.put(y), ray.put(training), "binary", 2)
    return root, blocks, y, training, rows


@pytest.fixture
def no_block_here(monkeypatch) -> Callable[[], AbstractContextManager[None]]:
    """While it holds, a block that is read, or that comes out of the object store, in the driver's process fails."""
    driver, make = os.getpid(), Block.__new__

    def refuse(cls: type[Block], *args: np.ndarray) -> Block:
        if os.getpid() == driver:
            raise AssertionError("a matrix block in the driver's process")
        return make(cls, *args)

    @contextmanager
    def guard() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(Block, "__new__", staticmethod(refuse))
            yield

    return guard


@pytest.mark.slow
def test_the_guard_of_the_driver_tells_it_from_workers(made, no_block_here):
    _, blocks, _, _, rows = made
    stored = ray.put(blocks["a"])
    width = ray.remote(lambda rows, block: (rows.blocks(["a"], np.arange(3))["a"].values.shape, block.values.shape))
    with no_block_here():
        assert ray.get(width.remote(rows, stored)) == ((3, 4), (N, 4))
        with pytest.raises(AssertionError, match="a matrix block in the driver's process"):
            rows.blocks(["a"], np.arange(3))
        with pytest.raises(ray.exceptions.RaySystemError, match="a matrix block in the driver's process"):
            ray.get(stored)
    assert ray.get(stored).values.shape == (N, 4)


def on(rows: np.ndarray, family: str, blocks: dict[str, Block], y: np.ndarray) -> tuple[Candidate, Chain]:
    params = {"n_estimators": 30, "learning_rate": 0.2, "refit_rows": 10_000}
    candidate = Candidate(("a", "b"), "concat", family, params=params)
    taken = {name: block.take(rows) for name, block in blocks.items()}
    return candidate, fit_chain(candidate, taken, y[rows], task="binary", n_outputs=2, seed=0)


def log_loss(chain: Chain, blocks: dict[str, Block], y: np.ndarray, rows: np.ndarray) -> float:
    outputs = chain.predict({name: block.take(rows) for name, block in blocks.items()})
    return float(-np.log(outputs[np.arange(len(rows)), y[rows]]).mean())


@pytest.mark.slow
@pytest.mark.parametrize("family", ["xgboost", "lightgbm"])
def test_two_workers_fit_what_one_process_fits(made, family, all_free, no_block_here):
    root, blocks, y, training, rows = made
    known, held = np.flatnonzero(training), np.flatnonzero(~training)
    candidate, small = on(known[::12], family, blocks, y)
    end = f"runs/r/chains/{family}"
    write_chain(root, f"{end}-sample", small)
    with no_block_here():
        course = fit_on_stream(rows, candidate, f"{end}-sample", end, RefitResources(2, 1.0, 1, 0))
    assert len(course.batches) >= 2
    assert course.counts == tuple(np.bincount(y[known]))
    grown = read_chain(root, end)
    assert grown.model.rounds_ == small.model.rounds_
    _, whole = on(known, family, blocks, y)
    ours, theirs, sample = (log_loss(chain, blocks, y, held) for chain in (grown, whole, small))
    assert ours < sample - 0.01  # all rows know more than a twelfth of them
    assert abs(ours - theirs) < 0.04
    assert all_free()


@pytest.mark.slow
def test_a_killed_fit_is_done_again_alike_and_a_finished_one_is_not(
    made, all_free, no_block_here, monkeypatch, tmp_path
):
    root, blocks, y, training, rows = made
    known, held = np.flatnonzero(training), np.flatnonzero(~training)
    candidate, small = on(known[::12], "mortal_xgboost", blocks, y)
    end = f"runs/k/chains/{candidate.key}"
    write_chain(root, f"{end}-sample", small)
    course = fit_on_stream(rows, candidate, f"{end}-sample", end, RefitResources(1, 1.0, 1, 0))
    left = Path(root.read("killed").decode())
    assert left.name.startswith("hybrid_ray_refit_")
    assert not left.exists()

    stream = ShardStream(rows, small, course.batches, course.codes)
    model = XGBoost.fit_stream(small.model, stream, Team(np.asarray(course.counts), tmp_path))
    some = {name: block.take(held) for name, block in blocks.items()}
    expected = replace(small, model=model, codes=course.codes).predict(some)
    np.testing.assert_allclose(read_chain(root, end).predict(some), expected, rtol=0, atol=1e-6)
    assert np.abs(small.predict(some) - expected).max() > 0.01

    # A run that goes on finds the chain, and fits neither on the stream nor on the sample.
    monkeypatch.delattr(refit, "fit_on_stream")
    monkeypatch.delattr(refit, "_keep_chain")
    parts = in_parts(some)
    with no_block_here():
        found = refit_on_all(
            {"k": candidate},
            {"k": Refit(candidate.label, "stream", 0)},
            rows,
            Material(None, {}, parts),
            Fitting(0, 1, "none", 1.0),
            RefitResources(1, 1.0, 1, 0),
            "runs/k/chains",
            None,
        )
        np.testing.assert_allclose(ray.get(found["k"][1]), expected, rtol=0, atol=1e-6)
    assert all_free()


def in_parts(blocks):
    """Test rows in two parts of different sizes, as refs."""
    n = len(next(iter(blocks.values())).values)
    return [
        {name: ray.put(block.take(rows)) for name, block in blocks.items()} for rows in (np.arange(7), np.arange(7, n))
    ]


@pytest.mark.slow
def test_in_the_memory_of_one_task_it_is_fitted_there(made, no_block_here, all_free):
    _, blocks, y, training, rows = made
    held = np.flatnonzero(~training)
    candidate = Candidate(("a", "b"), "concat", "logistic")
    some = in_parts({name: block.take(held) for name, block in blocks.items()})
    with no_block_here():
        found = refit_on_all(
            {"m": candidate},
            {"m": Refit(candidate.label, "memory", 0)},
            rows,
            Material(None, {}, some),
            Fitting(0, 1, "none", 1.0),
            RefitResources(1, 1.0, 1, 0),
            "runs/m/chains",
            None,
        )
        outputs = ray.get(found["m"][1])
    assert (outputs.argmax(axis=1) == y[held]).mean() > 0.8
    assert all_free()

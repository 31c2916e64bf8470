"""Trainings of tuned extractors on Ray: several workers, one killed, nothing done twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from hybrid_ray.data.source import open_source
from hybrid_ray.errors import BadInputError, TooSlowError
from hybrid_ray.extractors.base import FitContext
from hybrid_ray.on_ray.cluster import Cluster
from hybrid_ray.on_ray.optional import fit_in_time
from hybrid_ray.on_ray.train import Entry, FoldTrainer, Place, RawRows, prepare_rows, settle
from hybrid_ray.spec import DataSpec
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.trained import AREA
from hybrid_ray.testing.encoders import tiny_encoder
from hybrid_ray.testing.rows import toy_batch, toy_labels
from hybrid_ray.types import Prepared

ROWS, EPOCHS, STEPS = 72, 4, 6
"""48 rows of a fold's training, a tenth of them held out, eight a step."""
CONTEXT = FitContext("multiclass", 3, seed=5)
TRAINING = [slice(24, ROWS)]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.fixture(scope="module")
def fold(
    cluster: Cluster, tmp_path_factory: pytest.TempPathFactory, encoder: Path
) -> Callable[..., tuple[FoldTrainer, Path]]:
    """Trainers of one fold, each with a name and a log of its own."""
    folder = tmp_path_factory.mktemp("fold")
    table = {"text": [str(text) for text in toy_batch({"text": "text"}, ROWS, missing=False)["text"]]}
    pq.write_table(pa.table(table | {"label": toy_labels(ROWS)}), folder / "rows.parquet")
    source = open_source(DataSpec(path=str(folder / "rows.parquet"), label="label"), training=True)

    def trainer(
        name: str, workers: int = 1, dies_after: int = 0, plugin: str = "mortal", refuses: bool = False
    ) -> tuple[FoldTrainer, Path]:
        log = folder / name / "log"
        log.mkdir(parents=True)
        params: dict[str, Any] = {"model": str(encoder), "max_length": 16, "blocks": 1, "rank": 2, "epochs": EPOCHS}
        params |= {"patience": EPOCHS, "batch_size": 8, "lr": 3e-4}
        if plugin == "mortal":
            params |= {"log": str(log), "dies_after": dies_after, "refuses": refuses}
        raw = prepare_rows(source, Entry("text", plugin, params, {"text": "text"}), ROWS, "stat")
        root = StoreRoot(str(folder / name / "store"))
        order = np.arange(ROWS)
        place = Place(1.0, workers=workers)
        return FoldTrainer(raw, order, toy_labels(ROWS), CONTEXT, root, place, 2**26), log

    return trainer


def learned(trainer: FoldTrainer) -> dict[str, np.ndarray]:
    fit = settle({0: trainer.fit(0, TRAINING)})[0]
    assert not fit.cached
    tensors: dict[str, np.ndarray] = ray.get(fit.state).tensors
    return tensors


@pytest.fixture(scope="module")
def whole(fold: Callable[..., tuple[FoldTrainer, Path]]) -> dict[str, np.ndarray]:
    """What one worker learns that nothing befalls."""
    trainer, log = fold("whole")
    expected = learned(trainer)
    assert len(list(log.iterdir())) == EPOCHS * STEPS
    return expected


def assert_no_checkpoint(trainer: FoldTrainer) -> None:
    assert trainer.root is not None
    assert not [path for path in trainer.root.list(AREA) if "/checkpoint/" in path]


def test_rows_are_taken_from_their_pieces_in_the_order_asked_for(cluster: Cluster) -> None:
    # Every third row is missing: it has no entry in the arrays.
    whole = Prepared({"x": np.arange(10)[np.arange(10) % 3 > 0]}, np.arange(10) % 3 > 0, {4: "bad"})
    bounds = [(0, 4), (4, 5), (5, 10)]
    parts = tuple(ray.put(whole.take(np.arange(*pair))) for pair in bounds)
    entry = Entry("text", "mortal", {}, {"text": "text"})
    raw = RawRows(entry, parts, np.zeros((10, 16), np.uint8), (), tuple(stop - start for start, stop in bounds))
    for rows in ([7, 4, 0, 9, 1], [0, 1, 2, 3], list(range(10)), [5, 5, 2], []):
        found, expected = ray.get(raw.take(np.array(rows, np.int64))), whole.take(np.array(rows, np.int64))
        np.testing.assert_array_equal(found.arrays["x"], expected.arrays["x"])
        np.testing.assert_array_equal(found.present, expected.present)
        assert found.errors == expected.errors


@pytest.mark.slow
def test_a_killed_fit_goes_on_from_its_checkpoint(
    fold: Callable[..., tuple[FoldTrainer, Path]], whole: dict[str, np.ndarray]
) -> None:
    # Killed in the third pass. The first is always kept; the second is not where keeping it would take too long.
    broken, log = fold("broken", dies_after=2 * STEPS + 2)
    found = learned(broken)
    assert (log.parent / "killed").exists()
    assert len(list(log.iterdir())) in (EPOCHS * STEPS + 2, (EPOCHS + 1) * STEPS + 2)
    for name, values in whole.items():
        np.testing.assert_array_equal(found[name], values)
    assert_no_checkpoint(broken)


@pytest.mark.slow
def test_two_workers_learn_what_one_learns_and_outlive_a_kill(
    fold: Callable[..., tuple[FoldTrainer, Path]], whole: dict[str, np.ndarray]
) -> None:
    team, log = fold("team", workers=2, dies_after=2 * 2 * STEPS + 4)
    found = learned(team)
    assert (log.parent / "killed").exists()
    # Both workers note each step; some of the third pass were done twice, and none of the first.
    assert 2 * EPOCHS * STEPS < len(list(log.iterdir())) <= 2 * (EPOCHS + 2) * STEPS
    for name, values in whole.items():
        distance = np.linalg.norm(found[name] - values) / np.linalg.norm(values)
        assert distance < 1e-3, (name, distance)
    assert_no_checkpoint(team)


@pytest.mark.slow
def test_what_is_wrong_with_a_training_ends_its_team_at_once(fold: Callable[..., tuple[FoldTrainer, Path]]) -> None:
    team, log = fold("refused", workers=2, refuses=True)
    with pytest.raises(BadInputError, match=r"mortal\.lr: must be smaller"):
        settle({0: team.fit(0, TRAINING)})
    assert len(list(log.iterdir())) == 2, "each worker began once"


def test_a_fit_is_in_use_before_it_begins(fold: Callable[..., tuple[FoldTrainer, Path]]) -> None:
    trainer, log = fold("noted")
    noted: list[tuple[str, int]] = []
    trainer.note = lambda key: noted.append((key, len(list(log.iterdir()))))
    fit = trainer.fit(0, TRAINING)
    assert noted == [(fit.digest, 0)]
    settle({0: fit})


def test_a_training_that_is_too_slow_is_given_up_and_goes_on_where_there_is_time(
    fold: Callable[..., tuple[FoldTrainer, Path]],
) -> None:
    trainer, log = fold("slow")
    with pytest.raises(TooSlowError, match="passes so far: 1 in"):
        settle({0: trainer.fit(0, TRAINING, allowed_s=1e-6)})
    assert len(list(log.iterdir())) == STEPS
    with pytest.raises(TooSlowError, match="must end in its share of time_limit_s"):
        fit_in_time(trainer, {0: TRAINING}, slots=1, until=time.time())
    found = fit_in_time(trainer, {0: TRAINING}, slots=1, until=time.time() + 3600)
    assert not found[0].cached
    assert found[0].extract_s > 0
    assert len(list(log.iterdir())) == EPOCHS * STEPS, "the first pass is not done again"
    assert_no_checkpoint(trainer)
    assert fit_in_time(trainer, {0: TRAINING}, slots=1, until=time.time() + 3600)[0].cached


def test_folds_share_the_frozen_blocks_and_a_fit_is_done_once(fold: Callable[..., tuple[FoldTrainer, Path]]) -> None:
    trainer, _ = fold("shared", plugin="tuned_transformers")
    fits = settle({k: trainer.fit(k, [s]) for k, s in enumerate([slice(24, ROWS), slice(0, 48)])})
    assert set(ray.get(trainer.rows()).arrays) == {"activations", "filled"}
    blocks = ray.get([fit.block for fit in fits.values()])
    assert all(block.values.shape == (ROWS, 32) for block in blocks)
    rows = np.arange(10)
    test = trainer.extract({f"text@{k}": fit for k, fit in fits.items()}, rows)
    for block, ref in zip(blocks, test.values(), strict=True):
        np.testing.assert_allclose(ray.get(ref).values, block.values[rows], atol=1e-5)
    again, _ = fold("again", plugin="tuned_transformers")
    again.root = trainer.root
    assert settle({0: again.fit(0, TRAINING)})[0].cached
    assert again._shared is None, "what is in the store needs no activations"


def test_other_rows_are_extracted_where_the_copies_were_trained(
    fold: Callable[..., tuple[FoldTrainer, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, _ = fold("placed", plugin="tuned_transformers")
    fits = {f"text@{k}": trainer.fit(k, TRAINING) for k in (0, 1)}
    trainer.place = Place(0.5, 0.25, "cuda")
    asked: list[tuple[str, dict[str, float], Place]] = []

    class Asked:
        def __init__(self, name: str) -> None:
            self.name = name

        def options(self, **options: float) -> Asked:
            self.wanted = options
            return self

        def remote(self, *arguments: Any) -> tuple[str, float]:
            asked.append((self.name, self.wanted, arguments[-1]))
            return self.name, 0.0

    for name in ("_before_fits", "_extract"):
        monkeypatch.setattr(f"hybrid_ray.on_ray.train.{name}", Asked(name))
    trainer.extract(fits, np.arange(4))
    gpu = {"num_cpus": 0.5, "num_gpus": 0.25}
    assert asked == [(name, gpu, trainer.place) for name in ("_before_fits", "_extract", "_extract")]
    settle(dict(enumerate(fits.values())))

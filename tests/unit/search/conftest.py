"""Small searches: rows that some blocks explain, plans over quick families, a ledger in a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from hybrid_ray.plugins import load_plugins
from hybrid_ray.search.data import FoldedData
from hybrid_ray.search.plan import Choice, SearchPlan
from hybrid_ray.store.ledger import Ledger
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import Block

N_CLASSES = 3


def block(values: np.ndarray) -> Block:
    return Block(np.ascontiguousarray(values, np.float32), np.ones(len(values), bool))


@pytest.fixture
def make_folded() -> Callable[..., FoldedData]:
    """Rows of three classes; ``image`` tells them well, ``text`` less so."""

    def make(n: int = 180, folds: int = 3, *, signal: float = 1.5, forward: bool = False, seed: int = 0) -> FoldedData:
        draw = np.random.default_rng(seed)
        y = draw.integers(0, N_CLASSES, n)
        centres = np.eye(N_CLASSES)[y]
        image = np.hstack([signal * centres + draw.normal(size=(n, 3)), draw.normal(size=(n, 2))])
        text = 0.6 * signal * centres + draw.normal(size=(n, 3))
        return FoldedData(
            task="multiclass",
            n_outputs=N_CLASSES,
            y=y.astype(np.int64),
            bounds=np.linspace(0, n, folds + 1).astype(np.int64),
            forward=forward,
            frozen={"image": block(image), "text": block(text)},
            trained={},
            digests={"image": f"image-{seed}", "text": f"text-{seed}"},
        )

    return make


@pytest.fixture
def make_plan() -> Callable[..., SearchPlan]:
    """A plan over quick families."""
    load_plugins()

    def make(**changes: object) -> SearchPlan:
        plan = SearchPlan(
            task="multiclass",
            n_outputs=N_CLASSES,
            metric="log_loss",
            blocks=("image", "text"),
            modalities={"image": "image", "text": "text"},
            estimators=tuple(Choice(name, name) for name in ("logistic", "naive_bayes", "knn")),
            fusions=(Choice("concat", "concat"),),
            combiners=(Choice("linear_pool", "linear_pool"), Choice("stacking", "stacking")),
        )
        return replace(plan, **changes)

    return make


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    return Ledger(StoreRoot(str(tmp_path / "store")), "run1")

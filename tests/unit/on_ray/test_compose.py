"""Members as Ray's tasks make them, run in this process."""

from __future__ import annotations

import numpy as np
import pytest

from hybrid_ray.candidate import Candidate
from hybrid_ray.on_ray import compose
from hybrid_ray.on_ray.compose import Fitting
from hybrid_ray.on_ray.parts import PART_BYTES, n_parts
from hybrid_ray.plugins import load_plugins
from hybrid_ray.search.data import FoldedData
from hybrid_ray.search.fits import Evaluator
from hybrid_ray.search.plan import Choice, SearchPlan
from hybrid_ray.store.ledger import Ledger
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.types import Block

CANDIDATE = Candidate(("img", "txt"), "concat", "logistic")
FITTING = Fitting(seed=0, threads=1, transform="none", cpus=1)


@pytest.fixture
def folded() -> FoldedData:
    """Frozen photos, and texts that each of two folds has features of its own for."""
    y = np.arange(40) % 2

    def block(seed: int) -> Block:
        values = np.random.default_rng(seed).normal(size=(40, 2)) + y[:, None]
        return Block(values.astype(np.float32), np.ones(40, bool))

    own = (block(1), block(2))
    return FoldedData(
        "binary", 2, y, np.array([0, 20, 40]), False, {"img": block(0)}, {"txt": own}, {"img": "a", "txt": "b"}
    )


@pytest.mark.parametrize("kept", [0.0, None])
def test_folds_whose_chains_were_not_kept_or_are_lost_are_fitted_again(folded, tmp_path, kept, monkeypatch):
    load_plugins()
    monkeypatch.setattr(compose, "ray", type("Ray", (), {"get": staticmethod(lambda ref: ref)}))
    root = StoreRoot(str(tmp_path))
    plan = SearchPlan(
        task="binary",
        n_outputs=2,
        metric="log_loss",
        blocks=("img", "txt"),
        modalities={"img": "image", "txt": "text"},
        estimators=(Choice("logistic", "logistic"),),
        fusions=(Choice("concat", "concat"),),
        combiners=(Choice("linear_pool", "linear_pool"),),
        keep_chains=kept,
    )
    chains = Evaluator(plan, folded, Ledger(root, "run1"))(CANDIDATE, (None, None)).chains
    assert all(chains) == (kept is not None)
    whole = {"img": folded.frozen["img"], "txt@0": folded.trained["txt"][0], "txt@1": folded.trained["txt"][1]}
    # Rows come in parts that are predicted one after the other.
    n = len(folded.y)
    test = [{name: block.take(rows) for name, block in whole.items()} for rows in (np.arange(7), np.arange(7, n))]

    def bag():
        return compose._bag._function("m", CANDIDATE, folded, FITTING, root, chains, test)

    member, answers = bag()
    assert [chain.inputs["txt"] for chain in member.chains] == ["txt@0", "txt@1"]
    if kept is not None:
        root.delete_many(root.list(chains[1]))
    _, again = bag()
    np.testing.assert_allclose(again, answers, rtol=1e-12)


@pytest.mark.parametrize(("rows", "width", "expected"), [(0, 8, 1), (1000, 8, 1), (2**26, 1, 1), (2**20, 768, 13)])
def test_no_part_of_the_test_rows_takes_more_than_its_bytes(rows, width, expected):
    assert n_parts(rows, {"a": width, "b": 1}) == expected
    assert 4 * width * -(-rows // expected) <= PART_BYTES

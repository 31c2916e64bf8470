"""Which cuts and which candidates are begun at all: no cluster."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hybrid_ray.candidate import Candidate
from hybrid_ray.data.split import Split
from hybrid_ray.on_ray import repeats_stage as module
from hybrid_ray.on_ray.matrices import FoldOrder
from hybrid_ray.on_ray.repeats import fit_cuts
from hybrid_ray.on_ray.resources import SearchResources
from hybrid_ray.on_ray.train_stage import Trained
from hybrid_ray.progress import SilentProgress
from hybrid_ray.search.budget import END_S
from hybrid_ray.search.plan import Choice, SearchPlan
from hybrid_ray.search.repeats import Repeats
from hybrid_ray.search.trials import TrialRecord

N = 60
NOTHING: Any = None


def trial(number: int, *blocks: str) -> TrialRecord:
    return TrialRecord(number, Candidate(blocks, "concat", f"family{number}"), 0.5, 3, scores=(0.4, 0.5, 0.6))


RANKED = [trial(0, "image"), trial(1, "image", "table"), trial(2, "net"), trial(3, "table")]


def job(repeats: int, until: float | None = None) -> Any:
    """What of a job is looked at here: its other cuts, and the time."""
    fold = np.tile([0, 1, 2, -1], N // 4).astype(np.int16)
    others = tuple(np.where(fold < 0, -1, (fold + i) % 3).astype(np.int16) for i in (1, 2))
    split = Split("stratified", fold < 0, fold, False, "", others[: repeats - 1])
    spec = SimpleNamespace(search=SimpleNamespace(repeats=repeats))
    rows = SimpleNamespace(split=split)
    return SimpleNamespace(
        spec=spec, rows=rows, root=NOTHING, run_id="r", cluster=NOTHING, progress=NOTHING, until=until
    )


def trainer(root: object) -> Any:
    """Fits nothing; says which rows it was asked to fit on."""
    return SimpleNamespace(root=root, fit=lambda fold, training: (fold, training[0].tolist()))


def found(ranked: list[TrialRecord]) -> Any:
    return SimpleNamespace(plan=NOTHING, candidates=SimpleNamespace(ranked_trials=lambda: ranked))


TRAINED = Trained({"table": trainer(None), "net": trainer("store")}, {"table": {}, "net": {}})


@pytest.fixture
def begun(monkeypatch) -> dict[str, Any]:
    """What the stage would fit, in place of fitting it."""
    seen: dict[str, Any] = {}

    def note(plan, folded, cuts, train, trials, ledger, progress, resources, until):
        seen.update(cuts=cuts, trained=train(cuts[0]), trials=trials, until=until)
        return {}

    monkeypatch.setattr(module, "candidate_resources", lambda *asked: asked)
    monkeypatch.setattr(module, "fit_cuts", note)
    return seen


def test_what_is_quick_to_fit_is_fitted_on_the_new_folds(begun):
    asked = job(3, until=1000.0)
    order = FoldOrder.of(asked.rows.split)
    answer = module.repeats_stage(asked, TRAINED, order, NOTHING, found(RANKED))
    assert [each.number for each in begun["trials"]] == [0, 1, 3]
    assert begun["until"] == 1000.0 - END_S
    assert len(begun["cuts"]) == 2
    for cut, other in zip(begun["cuts"], asked.rows.split.others, strict=True):
        np.testing.assert_array_equal(cut, other[order.rows])
    cut = begun["cuts"][0]
    assert begun["trained"] == {"table": {f: (f, np.flatnonzero(cut != f).tolist()) for f in range(3)}}
    assert answer.note == (
        f"With one cut only, for what their folds trained: {RANKED[2].candidate.label}. There was time for 1 of 3 cuts."
    )


def test_a_sample_that_leaves_a_fold_empty_leaves_the_cut_out(begun):
    asked = job(3)
    order = FoldOrder.of(asked.rows.split)
    kept = np.flatnonzero(asked.rows.split.others[0][order.rows] != 1)
    sampled = FoldOrder(order.rows[kept], np.array([0, 20, 40, len(kept)]), False)
    asked.rows.split.others[1][asked.rows.split.others[1] == 2] = 1
    answer = module.repeats_stage(asked, TRAINED, sampled, NOTHING, found(RANKED))
    assert (begun, answer.scores) == ({}, {})
    assert "The rows allow 1 of the 3 cuts asked for." in answer.note


def test_one_cut_asks_for_nothing(begun):
    assert module.repeats_stage(job(1), TRAINED, NOTHING, NOTHING, found(RANKED)) == Repeats()
    assert begun == {}


def test_where_every_candidate_is_bound_nothing_is_fitted(begun):
    asked = job(2)
    bound = [trial(n, "net") for n in range(3)]
    answer = module.repeats_stage(asked, TRAINED, FoldOrder.of(asked.rows.split), NOTHING, found(bound))
    assert (begun, answer.scores) == ({}, {})
    assert answer.note.startswith("With one cut only, for what their folds trained: family0(net)")


def test_when_the_time_is_up_nothing_is_begun():
    plan = SearchPlan("binary", 2, "log_loss", ("image",), {"image": "image"}, (Choice("svm", "svm"),), (), ())

    def train(cut):
        raise AssertionError("nothing may be trained")

    asked = (plan, NOTHING, [np.arange(9) % 3], train, RANKED[:1], NOTHING, SilentProgress())
    assert fit_cuts(*asked, SearchResources(2, 1.0, 1, 0, 0.0), until=1.0) == {}

"""The training loop: what it learns, that it is the same cut off or spread, and how the rate goes."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from hybrid_ray.errors import BadInputError
from hybrid_ray.extractors.base import FitContext, build_extractor
from hybrid_ray.plugins import load_plugins
from hybrid_ray.seeding import reproducible
from hybrid_ray.testing.checkpoints import MemoryCheckpoints
from hybrid_ray.training import loop
from hybrid_ray.training.items import ItemFeed, ItemLearner, ItemNet
from hybrid_ray.training.loop import OPTIMIZERS, Step, Team, train
from hybrid_ray.training.rows import hold_out
from hybrid_ray.training.settings import Settings, rate

PLAIN = Settings(epochs=4, patience=4, batch_size=16, lr=0.01, weight_decay=0.0)
SCHEDULES = ("constant", "exponential", "cosine", "step", "plateau", "warm_cosine")


def problem(n=90, seed=0):
    """Rows of two cells of three numbers, some of them empty; the label is the sign of one number's sum."""
    rng = np.random.default_rng(seed)
    filled = rng.random((n, 2)) < 0.9
    filled[:, 0] |= ~filled.any(axis=1)
    cells = rng.normal(size=(n, 2, 3)).astype(np.float32) * filled[:, :, None]
    return cells, filled, (cells[:, :, 0].sum(axis=1) > 0).astype(np.int64)


class Doubled:
    """Changes cells by a draw for the whole batch, and remembers how many cells it was given."""

    def __init__(self):
        self.seen = []

    def __call__(self, cells, rng):
        self.seen.append(len(cells["x"]))
        return {"x": cells["x"] * (1 + rng.integers(0, 2, (len(cells["x"]), 1))).astype(np.float32)}


def learner(augment=None, dropout=0.3, target=None, n=90, kind=ItemLearner):
    cells, filled, y = problem(n)

    def collate(items):
        return (torch.from_numpy(items["x"]),)

    trunk = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
    feed = ItemFeed({"x": cells}, filled, collate, "cpu", augment)
    return kind(ItemNet(trunk, 2, 4, 2 if target is None else 1, dropout), feed, y if target is None else target, 0.1)


def run(settings=PLAIN, checkpoints=None, team=None, seed=0, **options):
    with reproducible(seed, 1):
        return train(learner(**options), settings, seed, team or Team(), checkpoints)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_training_goes_on_as_if_it_had_never_been_cut_off(optimizer, schedule):
    settings = Settings(5, 2, 16, 0.03, 0.01, optimizer=optimizer, schedule=schedule)
    expected = run(settings, whole := MemoryCheckpoints(), augment=Doubled())
    cut_off = MemoryCheckpoints(dies_at=2)
    with pytest.raises(KeyboardInterrupt):
        run(settings, cut_off, augment=Doubled())
    cut_off.dies_at = None
    found = run(settings, cut_off, augment=Doubled())
    assert [s.meta for s in cut_off.states] == [s.meta for s in whole.states]
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)


def test_it_learns():
    features = run(Settings(30, 30, 16, 0.03, 0.0), n=300)
    same = learner(n=300)
    same.net.load_state_dict({name: torch.from_numpy(values) for name, values in features.items()})
    assert float(same.measured(np.arange(300)).detach().mean()) < 0.25


def test_the_best_pass_is_kept():
    found = run(Settings(40, 3, 16, 0.5, 0.0), states := MemoryCheckpoints())
    last = states.states[-1]
    assert last.meta["worse"] == 3 or last.meta["done"] == 40
    best = states.states[-1 - last.meta["worse"]]
    for name, values in found.items():
        np.testing.assert_array_equal(
            values, best.tensors[f"{'constants' if name in ('shift', 'scale') else 'learning'}/{name}"]
        )


def test_numbers_are_learned_too():
    cells, filled, _ = problem(200)
    target = (cells[:, :, 1] * filled).sum(axis=1).astype(np.float32)
    states = MemoryCheckpoints()
    run(Settings(30, 30, 16, 0.03, 0.0), states, target=target, n=200, dropout=0.0)
    assert states.states[-1].meta["best"] < 0.1 * float(np.square(target).mean() / 2)


class Half(Team):
    """One of two workers that share nothing but what a test adds up."""

    size = 2

    def __init__(self, rank):
        self.rank = rank


def test_the_shares_of_workers_add_up_to_the_whole_batch():
    rows, seeds = np.arange(11), (0, 1, 2)

    def losses(own):
        augment = Doubled()
        one = learner(augment)
        step = Step(rows, own, seeds)
        one.net.dropout.step, one.net.dropout.stream = step, 2
        return one.losses(one.net, step).detach(), augment.seen

    with reproducible(0, 1):
        whole, seen = losses(slice(None))
    parts = []
    for rank in (0, 1):
        with reproducible(0, 1):
            part, of_part = losses(slice(rank, None, 2))
        parts.append(part)
        assert of_part == seen, "what is drawn is drawn for the whole batch"
    np.testing.assert_allclose(torch.stack([whole[0::2].sum(), whole[1::2].sum()]), [p.sum() for p in parts], rtol=1e-5)
    for rank, part in enumerate(parts):
        np.testing.assert_allclose(part, whole[rank::2], rtol=1e-5)


def test_what_is_changed_keeps_its_own_type():
    """Bytes that noise is added to are numbers, which bytes would cut."""
    cells, filled = np.full((40, 2, 3), 200, np.uint8), np.arange(80).reshape(40, 2) % 5 > 0
    shown = []

    def augment(items, rng):
        return {"x": (items["x"] / 255 + 0.001 * rng.normal(size=items["x"].shape)).astype(np.float32)}

    def collate(items):
        shown.append(items["x"])
        return (torch.from_numpy(items["x"]),)

    feed = ItemFeed({"x": cells}, filled, collate, "cpu", augment)
    inputs = feed(np.arange(40), Step(np.arange(40), slice(0, 20), (0, 0, 0)))
    assert shown[0].dtype == np.float32
    np.testing.assert_allclose(shown[0], 200 / 255, atol=0.01)
    np.testing.assert_array_equal(inputs.places, np.flatnonzero(filled[:20]))


def test_a_worker_without_a_row_takes_part_all_the_same():
    found = run(Settings(1, 1, 1, 0.01, 0.0), team=Half(1))
    assert all(np.isfinite(values).all() for values in found.values())


def test_dropout_does_nothing_outside_a_step():
    one = learner(dropout=0.9)
    first, again = (one.measured(np.arange(20)) for _ in range(2))
    assert torch.equal(first, again)


class Exploding(ItemLearner):
    """Ends in weights that are no numbers from some pass on."""

    first = 1

    def losses(self, whole, step):
        loss = super().losses(whole, step)
        return loss * float("nan") if step.seeds[1] >= self.first else loss


@pytest.mark.parametrize("n", [90, 20])
def test_a_pass_that_ends_in_no_numbers_is_never_kept(n):
    steady = replace(PLAIN, schedule="constant")
    first = run(replace(steady, epochs=1), n=n)
    found = run(steady, n=n, kind=Exploding)
    for name, weights in first.items():
        np.testing.assert_array_equal(found[name], weights)


def test_a_training_without_any_sound_pass_is_refused(monkeypatch):
    monkeypatch.setattr(Exploding, "first", 0)
    with pytest.raises(BadInputError, match=r"lr: must be so small .* got 0.01, with which no pass of 4 did"):
        run(kind=Exploding)


def test_few_rows_hold_out_nothing_and_the_last_pass_counts():
    found = run(PLAIN, states := MemoryCheckpoints(), n=20)
    assert [s.meta["best"] for s in states.states] == [None] * 4
    np.testing.assert_array_equal(found["head.bias"], states.states[-1].tensors["learning/head.bias"])


def test_schedules_fall_from_the_rate_that_was_asked_for():
    done = np.linspace(0, 0.999, 100)
    for schedule in SCHEDULES:
        rates = [rate(Settings(9, 9, 16, 0.5, 0.0, schedule=schedule), float(at), 0) for at in done]
        assert max(rates) <= 0.5
        falling = rates if schedule != "warm_cosine" else rates[10:]
        assert all(later <= earlier for earlier, later in pairwise(falling)), schedule
        assert max(rates) > 0.49
    step = [rate(Settings(9, 9, 16, 1.0, 0.0, schedule="step"), at, 0) for at in (0.1, 0.4, 0.9)]
    np.testing.assert_allclose(step, [1, 0.3, 0.09])


def test_a_plateau_cuts_the_rate():
    settings = Settings(9, 6, 16, 1.0, 0.0, schedule="plateau")
    assert settings.wait == 2
    np.testing.assert_allclose([rate(settings, 0.5, cuts) for cuts in (0, 1, 2)], [1, 0.3, 0.09])
    states = MemoryCheckpoints()
    run(Settings(60, 6, 16, 1.0, 0.0, schedule="plateau"), states)
    assert states.states[-1].meta["cuts"] >= 3, "six passes without a better loss are three times two"


@pytest.mark.parametrize("codes", [None, np.arange(200) % 2])
def test_hold_outs_are_a_tenth(codes):
    kept, held = hold_out(codes, 200, 0)
    assert len(held) == 20
    assert set(kept) | set(held) == set(range(200))


@pytest.mark.parametrize("codes", [None, np.arange(200) % 2])
def test_rows_that_go_together_are_held_out_together(codes):
    groups = np.random.default_rng(0).permutation(200) % 40 * 3
    kept, held = hold_out(codes, 200, 0, groups)
    assert len(held) == 20
    assert not set(groups[kept]) & set(groups[held])


def test_a_training_holds_out_what_goes_together(monkeypatch):
    told = []
    monkeypatch.setattr(loop, "hold_out", lambda *given: told.append(given[-1]) or hold_out(*given))
    load_plugins()
    groups = np.arange(60) // 6
    extractor = build_extractor("tabular_network", {"epochs": 1}, {"x": "numeric"})
    prepared = extractor.prepare({"x": np.r_[np.full(5, np.nan), np.arange(55.0)]})
    y = np.arange(60) % 2
    extractor.fit(prepared, y, FitContext("binary", 2, groups=groups))
    np.testing.assert_array_equal(told[0], groups[prepared.present])
    extractor.fit(prepared, y, FitContext("binary", 2))
    assert told[1] is None

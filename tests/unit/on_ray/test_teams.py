"""A team of workers begins when nothing else is under way that holds, or waits for, places that it needs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hybrid_ray.extractors.base import FitContext
from hybrid_ray.on_ray import parts, train, train_stage
from hybrid_ray.on_ray.matrices import FoldOrder
from hybrid_ray.on_ray.resources import ClusterView
from hybrid_ray.on_ray.train import FoldTrainer, Place
from hybrid_ray.on_ray.train_stage import Trained
from hybrid_ray.progress import SilentProgress

PLACES = {"large": Place(1.0, workers=2), "small": Place(1.0), "wide": Place(1.0, workers=3), "tiny": Place(1.0)}
ROWS = 6


class Trainer:
    """Stands for a trainer: it writes down which fits are begun."""

    def __init__(self, name: str, told: list[str], place: Place) -> None:
        self.name, self.told, self.place, self.order = name, told, place, np.arange(ROWS)

    def fit(self, fold: int, training: Any) -> Any:
        self.told.append(f"{self.name}{fold} begins")
        return SimpleNamespace(cached=f"{self.name}{fold} is done")


def job(members: str = "refit") -> Any:
    y = np.arange(ROWS) % 2
    return SimpleNamespace(
        rows=SimpleNamespace(learned=y, target=SimpleNamespace(task="binary", y=y)),
        cluster=SimpleNamespace(view=lambda: ClusterView.single(4)),
        progress=SilentProgress(),
        until=None,
        spec=SimpleNamespace(graph=SimpleNamespace(members=members)),
    )


def in_turn(folds: tuple[int, ...]) -> list[str]:
    """Fits of one worker together, then one team after the other."""
    groups = (("small", "tiny"), ("large",), ("wide",))
    ends = ("begins", "is done")
    return [f"{name}{fold} {end}" for group in groups for end in ends for name in group for fold in folds]


def test_folds_are_fitted_by_one_worker_each_and_then_by_one_team_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def settle(fits: dict[int, Any], _: Any) -> dict[int, Any]:
        told.extend(fit.cached for fit in fits.values())
        return fits

    monkeypatch.setattr(train_stage, "settle", settle)
    monkeypatch.setattr(train_stage, "_fit_place", lambda _, decided: PLACES[decided.id])
    monkeypatch.setattr(train_stage, "_trainer", lambda _, features, name, *rest: Trainer(name, told, PLACES[name]))
    decided = {name: SimpleNamespace(id=name, optional=False) for name in PLACES}
    features: Any = SimpleNamespace(raw=dict.fromkeys(PLACES), decided=decided)
    order = FoldOrder(np.arange(ROWS), np.array([0, 3, ROWS]), forward=False)
    trained = train_stage.train_stage(job(), features, order)
    assert told == in_turn((0, 1))
    assert set(trained.folds) == set(trained.trainers) == set(PLACES)


def test_teams_are_done_before_anything_else_is_made_of_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(parts, "ray", SimpleNamespace(get=told.append))

    def copies(names: tuple[str, ...], members: str = "refit") -> dict[str, dict[str, Any]]:
        trainers: Any = {name: Trainer(name, told, PLACES[name]) for name in names}
        folds: Any = {name: {0: "fit 0", 1: "fit 1"} for name in names}
        return parts._copies(job(members), Trained(trainers, folds))

    found = copies(tuple(PLACES))
    assert {name: set(keyed) for name, keyed in found.items()} == {name: {name} for name in PLACES}
    assert told == in_turn((3,))
    told.clear()
    copies(("small", "tiny"))
    assert told == ["small3 begins", "tiny3 begins"], "what comes next goes on beside fits of one worker"
    assert copies(("large",), "bag") == {"large": {"large@0": "fit 0", "large@1": "fit 1"}}


def test_a_team_waits_for_the_fit_that_the_team_before_it_learned_for(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[tuple[str, Any]] = []

    class Task:
        """Stands for one of ray's tasks: it writes down what it waits for."""

        def __init__(self, name: str, waits_for: int) -> None:
            self.name, self.waits_for = name, waits_for

        def options(self, **_: float) -> Task:
            return self

        def remote(self, *arguments: Any) -> Any:
            begun.append((self.name, arguments[self.waits_for]))
            number = len(begun)
            return f"team {number}" if self.name == "learn" else ("state", "block", f"fit {number}")

    monkeypatch.setattr(train, "_learn", Task("learn", -1))
    monkeypatch.setattr(train, "_fit", Task("fit", -2))
    monkeypatch.setattr(train, "ray", SimpleNamespace(put=lambda value: value))
    extractor = SimpleNamespace(fingerprint=lambda: "toy")
    entry = SimpleNamespace(build=lambda: extractor, shares=False)
    raw: Any = SimpleNamespace(entry=entry, digests=np.zeros((ROWS, 16), np.uint8), take=lambda rows: rows)
    order = np.arange(ROWS)
    trainer = FoldTrainer(raw, order, order % 2, FitContext("binary", 2), None, Place(1.0, workers=2))
    for fold in (0, 1):
        trainer.fit(fold, [slice(0, 3)])
    assert begun == [("learn", None), ("fit", "team 1"), ("learn", "fit 2"), ("fit", "team 3")]

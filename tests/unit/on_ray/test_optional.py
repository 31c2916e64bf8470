"""An optional training gets its part of the time, and is stopped as a whole when one fold would not keep to it."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import RayTaskError

from hybrid_ray.errors import TooSlowError
from hybrid_ray.on_ray import optional, train_stage
from hybrid_ray.on_ray.train_stage import Trained

FOLDS: dict[int, list[slice]] = {fold: [slice(0, 10)] for fold in range(5)}


class Cluster:
    """Stands for ray: tasks are what they answer; an error is raised, and what is None is never done."""

    def wait(self, tasks: list[Any], timeout: float, fetch_local: bool) -> tuple[list[Any], list[Any]]:
        done = [task for task in tasks if task is not None][:1]
        left = list(tasks)
        for task in done:
            left.remove(task)
        return done, left

    def get(self, tasks: list[Any]) -> None:
        for task in tasks:
            if isinstance(task, Exception):
                raise task


class Trainer:
    """Stands for a trainer whose fits answer as they are told."""

    def __init__(self, answers: dict[int, Any], stored: tuple[int, ...] = (), shared: Any = "rows") -> None:
        self.answers, self.stored, self.shared = answers, stored, shared
        self.allowed: list[float | None] = []
        self.stopped = False

    def known(self, fold: int, training: Any) -> bool:
        return fold in self.stored

    def rows(self) -> Any:
        return self.shared

    def fit(self, fold: int, training: Any, allowed_s: float | None = None) -> Any:
        self.allowed.append(allowed_s)
        return SimpleNamespace(cached=self.answers.get(fold, "done"))

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optional, "ray", Cluster())
    monkeypatch.setattr(optional, "settle", dict)


def fit(trainer: Any, seconds: float | None, slots: int = 2) -> dict[int, Any]:
    until = None if seconds is None else time.time() + seconds
    found: dict[int, Any] = optional.fit_in_time(trainer, FOLDS, slots, until)
    return found


def failed(cause: Exception) -> RayTaskError:
    return RayTaskError("fit", "", cause)


def test_each_fold_gets_its_round_of_the_time() -> None:
    trainer = Trainer({})
    assert set(fit(trainer, 300.0)) == set(FOLDS)
    assert trainer.allowed == pytest.approx([100.0] * 5, rel=0.1)
    some = Trainer({}, stored=(0, 1, 2))
    fit(some, 300.0)
    assert some.allowed == pytest.approx([300.0] * 5, rel=0.1), "what is in the store takes none"
    assert set(fit(Trainer({}, stored=tuple(FOLDS), shared=None), 300.0)) == set(FOLDS), "nor are its rows waited for"
    endless = Trainer({})
    fit(endless, None)
    assert endless.allowed == [None] * 5


@pytest.mark.parametrize(
    ("trainer", "why"),
    [
        (Trainer({3: failed(TooSlowError("training must end within 9 s"))}), "^training must end within 9 s$"),
        (Trainer({3: None}), "it has not, 1 fits are left"),
        (Trainer({}, shared=None), "training must end in its share"),
    ],
    ids=["a fold says so", "a fold does not end", "the frozen blocks do not end"],
)
def test_one_fold_that_is_too_slow_ends_all(trainer: Trainer, why: str) -> None:
    with pytest.raises(TooSlowError, match=why):
        fit(trainer, 300.0)
    assert trainer.stopped


def test_another_failure_is_none_of_its_business() -> None:
    trainer = Trainer({3: failed(ValueError("broken"))})
    with pytest.raises(RayTaskError):
        fit(trainer, 300.0)
    assert not trainer.stopped


def test_several_optional_trainings_share_what_there_is() -> None:
    until = time.time() + 90
    assert optional.end_of(until, 3) == pytest.approx(time.time() + 30, abs=5)
    assert optional.end_of(until, 1) == pytest.approx(until)
    late = optional.end_of(time.time() - 50, 2)
    assert late == pytest.approx(time.time(), abs=5), "there is no time before now"
    assert optional.end_of(None, 2) is None


def test_what_is_given_up_takes_nothing_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    stage: Any = SimpleNamespace(note=notes.append, advance=lambda n, note: notes.append(note))
    before = Trained({}, {}, seconds=5.0)

    def tried(trainer: Any) -> Trained:
        return train_stage._tried(before, "net", trainer, FOLDS, 2, time.time() + 300, stage)

    less = tried(Trainer({0: None}))
    assert (less.trainers, less.folds, less.seconds) == ({}, {}, 5.0)
    assert less.given_up["net"].startswith("net: given up, as it is optional: training must end")
    kept = Trainer({})
    more = tried(kept)
    assert (more.trainers, set(more.folds["net"]), more.given_up) == ({"net": kept}, set(FOLDS), {})
    assert more.seconds >= 5.0
    assert notes == [less.given_up["net"], "net"]

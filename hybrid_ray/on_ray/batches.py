"""Batches of proposals: when the sampler is asked, what is handed out together, when the sampler is told."""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from hybrid_ray.quiet import quiet_optuna
from hybrid_ray.search.families import FamilyChooser
from hybrid_ray.search.halving import PENALTY
from hybrid_ray.search.samplers import make_sampler
from hybrid_ray.search.trials import Told
from hybrid_ray.types import SamplerName

GAIN = "gain"
"""Name of the metric that Tune and Optuna see; higher is better."""
PACK_S = 0.5
"""Seconds of work that are handed out together: many times the 15 ms that it costs the driver to hand something out."""
IN_TURN = 2
"""Parts of a batch: while the last trials of one run, the lanes that are free take from the next."""
ASKS = 16
"""How often the sampler is asked for a trial that there was not yet, before a repetition is taken."""
MOST_REPEATED = 4
"""Repetitions taken one after the other after which nothing new is looked for: the space has no more, or nearly so."""


class Book(Protocol):
    """Who knows what a trial is: the driver's side of a search."""

    def repeats(self, values: Mapping[str, Any]) -> bool:
        """Whether a trial of these values is one that there is already."""

    def begin(self, number: int, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """The work of a trial, or None when there is nothing to do for it."""

    def ready(self, number: int) -> bool:
        """Whether the outcome of a trial is there."""

    def finish(self, number: int, answer: Mapping[str, Any] | None) -> None:
        """Take a worker's answer; None when it died."""

    def told(self, number: int) -> Told:
        """What the sampler learns of a trial."""

    def turn(self, numbers: Sequence[int]) -> None:
        """A half batch was told."""

    def cut(self, number: int) -> None:
        """Note that there is no time for a trial."""

    def cost(self, number: int) -> float:
        """Seconds that a trial will take; infinite when nothing is known."""

    def step(self, number: int) -> float:
        """Seconds until a trial can be stopped, as far as is known; 0 when nothing is."""

    def note(self) -> str:
        """The best so far, for people."""


class BatchSearch(Searcher):
    """OptunaSearch whose proposals and answers meet at the ends of half batches only.

    With ``deterministic`` a batch is open at a time, in two halves that take turns: a half is told when all its trials
    are over and the other half is proposed, in the order of trial numbers; then the next half is proposed. Who finished
    first has no part in it, so that the same seed gives the same trials on any number of workers; and workers wait for
    the last trial of a half, or for the sampler, only when the other half is done too. Within a half the longest trials
    are handed out first. Without ``deterministic``, a trial is told when it ends and one more is proposed. Short trials
    are handed out several at a time: to hand one out costs more than some take.

    What was proposed before brings nothing. The sampler is told that it failed, so that one that learns from order
    turns to something else, and is asked again, without a number. Where it has nothing else, the repetition is taken as
    a trial, which costs no work; after some of them in a row the search ends.

    Parameters
    ----------
    optuna_search : OptunaSearch
    book : Book
    trials : int
        Proposals in all.
    batch : int
        Trials that are proposed and not told, at most; only the first half may be larger.
    first : int
        Trials of the first half at least.
    deterministic : bool
    points : int
        First proposals that are enqueued in ``optuna_search``, each for a trial of its own.
    until : callable
        Gives the end of the search as ``time.time()``, by what is known now, or None. What would not end by then is
        not handed out, and a worker is told of it.
    sure : callable
        Whether a trial, by its number, is done whole in any case.
    effort : callable, optional
        Of a trial, by its number: within a half, those of less effort are handed out before those of more. Default:
        all are alike.
    lanes : int
        Trials at the same time.
    on_done : callable
        Called with how many more trials have an outcome.
    """

    def __init__(
        self,
        optuna_search: OptunaSearch,
        book: Book,
        *,
        trials: int,
        batch: int,
        first: int,
        deterministic: bool,
        points: int,
        until: Callable[[], float | None],
        sure: Callable[[int], bool],
        lanes: int,
        on_done: Callable[[int], None],
        effort: Callable[[int], float] = lambda number: 0.0,
    ) -> None:
        super().__init__(metric=GAIN, mode="max")
        self._inner = optuna_search
        self._book = book
        self._trials = trials
        self._sizes = [len(range(part, batch, IN_TURN)) or 1 for part in range(IN_TURN)] if deterministic else [1]
        self._in_turn = min(IN_TURN, batch)
        self._first = first if deterministic else 1
        self._deterministic = deterministic
        self._points = points
        self._until = until
        self._sure = sure
        self._effort = effort
        self._lanes = lanes
        self._on_done = on_done
        self._proposed = 0
        self._asked: dict[int, str] = {}
        self._n_repeated = 0
        self._lacking = 0
        self._size = 0
        self._n_begun = 0
        self._ended = False
        self._items: dict[int, dict[str, Any]] = {}
        self._waiting: list[int] = []
        self._running: dict[str, list[int]] = {}
        self._alone: set[int] = set()
        self._n_cut = 0
        self._open: list[list[int]] = []
        self._counted: set[int] = set()

    def advance(self) -> bool:
        """Propose until there is work to hand out or nothing more to propose; whether there is work."""
        while not self._waiting and self._may_propose():
            self._propose()
            while self._lacking:
                self._propose()
            self._settle()
        return bool(self._waiting)

    def look_ahead(self) -> None:
        """Propose one trial that will be needed later, if that is allowed by now: the workers are busy meanwhile."""
        if self._deterministic and self._may_propose():
            self._propose()
            self._settle()

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Work for a trial of Tune; None while answers are awaited; ``FINISHED`` at the end."""
        while self.advance():
            until = self._until()
            if self._cut(until):
                continue
            numbers = self._packed()
            self._running[trial_id] = numbers
            return {"items": json.dumps([self._item(number, until) for number in numbers])}
        return None if self._running else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tune says that a trial is over."""
        numbers = self._running.pop(trial_id)
        if result and not error:
            for number, answer in zip(numbers, json.loads(result["answers"]), strict=True):
                self._book.finish(number, answer)
        elif len(numbers) == 1:
            self._book.finish(numbers[0], None)
        else:
            # Which of them it was is not known: each is tried once more, by itself.
            self._alone.update(numbers)
            self._waiting[:0] = numbers
        self._settle()

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """An answer that will come again with the end of its trial."""

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Accept what Tune hands over: the space is OptunaSearch's own."""
        return True

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its searcher for a restore that never happens, and a live display cannot be pickled."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the ledger is the one source of truth."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a search is resumed by replaying it."""

    def _may_propose(self) -> bool:
        if self._lacking:
            return True
        if self._ended or (self._deterministic and len(self._open) == self._in_turn):
            return False
        if not self._proposed:
            return True
        until = self._until()
        # A half of which most was cut says that there is time for little more than looking for something short.
        if (until is not None and time.time() >= until) or 2 * self._n_cut > self._size:
            # For good, even should there be time again: a replay would not know what was told between.
            self._ended = True
            self._settle()
        return not self._ended

    def _cut(self, until: float | None) -> bool:
        """Whether there is no time for the next trial, which is then noted and not handed out."""
        number = self._waiting[0]
        if until is None or self._sure(number) or time.time() + self._book.step(number) < until:
            return False
        self._waiting.pop(0)
        self._n_cut += 1
        self._book.cut(number)
        self._settle()
        return True

    def _packed(self) -> list[int]:
        """The next trial and short ones that go with it, no more than are there for every lane that its half has."""
        lanes = max(1, self._lanes // len(self._open))
        most = max(math.ceil(len(numbers) / lanes) for numbers in self._open)
        numbers = [self._waiting.pop(0)]
        spent = self._book.cost(numbers[0])
        while self._waiting and len(numbers) < most and not {numbers[0], self._waiting[0]} & self._alone:
            spent += self._book.cost(self._waiting[0])
            if spent > PACK_S:
                break
            numbers.append(self._waiting.pop(0))
        return numbers

    def _item(self, number: int, until: float | None) -> dict[str, Any]:
        limited = until is not None and not self._sure(number)
        return self._items[number] | ({"until": until, "fold_s": self._book.step(number)} if limited else {})

    def _propose(self) -> None:
        """Propose one trial, of a half that is begun or of a new one."""
        number = self._proposed
        if not self._lacking:
            size = self._sizes[self._n_begun % len(self._sizes)]
            self._size = self._lacking = min(size if number else max(size, self._first), self._trials - number)
            self._n_begun += 1
            self._n_cut = 0
            self._open.append([])
        values = self._ask(number)
        self._proposed = number + 1
        self._lacking -= 1
        self._ended = self._ended or self._proposed == self._trials or self._n_repeated >= MOST_REPEATED
        self._open[-1].append(number)
        item = self._book.begin(number, values)
        if item is not None:
            self._items[number] = item
            self._queue(number)

    def _ask(self, number: int) -> dict[str, Any]:
        """The values of a trial, new ones if the sampler has any."""
        for attempt in range(ASKS):
            self._asked[number] = f"{number}.{attempt}"
            values: dict[str, Any] = self._inner.suggest(self._asked[number])
            if number < self._points or not self._book.repeats(values):
                self._n_repeated = 0
                return values
            if attempt < ASKS - 1:
                self._inner.on_trial_complete(self._asked[number], {GAIN: PENALTY})
        self._n_repeated += 1
        return values

    def _queue(self, number: int) -> None:
        """Put a trial in line: behind the half before its own, and in that by effort, behind longer ones."""
        self._waiting.append(number)
        start = self._open[-1][0]
        own = [n for n in self._waiting if n >= start]
        self._waiting = [n for n in self._waiting if n < start]
        self._waiting += sorted(own, key=lambda n: (self._effort(n), -self._book.cost(n), n))

    def _settle(self) -> None:
        """Tell what may be told."""
        fresh = [n for numbers in self._open for n in numbers if n not in self._counted and self._book.ready(n)]
        self._counted.update(fresh)
        if fresh:
            self._on_done(len(fresh))
        for numbers in self._over():
            for number in numbers:
                told, asked = self._book.told(number), self._asked.pop(number)
                for step, mean in enumerate(told.steps, start=1):
                    self._inner.on_trial_result(asked, {GAIN: mean, "training_iteration": step})
                self._inner.on_trial_complete(asked, None if told.value is None else {GAIN: told.value})
                self._items.pop(number, None)
            self._open.remove(numbers)
            self._book.turn(numbers)

    def _over(self) -> list[list[int]]:
        """Halves that are to be told now, in order."""
        if not self._deterministic:
            return [numbers for numbers in self._open if self._counted.issuperset(numbers)]
        # However fast the machine, a half is told after the next one was proposed and before the one after that.
        most = len(self._open) if self._ended else len(self._open) - self._in_turn + 1
        whole = itertools.takewhile(self._counted.issuperset, self._open)
        return list(itertools.islice(whole, 0 if self._lacking else max(most, 0)))


def make_optuna(
    space: Callable[[Any], dict[str, Any]],
    points: list[dict[str, Any]],
    sampler: SamplerName,
    seed: int,
    families: FamilyChooser | None = None,
) -> OptunaSearch:
    """A seeded OptunaSearch over a define-by-run space, its good starts enqueued."""
    with quiet_optuna():
        return OptunaSearch(
            space, metric=GAIN, mode="max", points_to_evaluate=points, sampler=make_sampler(sampler, seed, families)
        )

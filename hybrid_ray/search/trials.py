"""The book of a candidate search: what each trial is, what was found, what Optuna is told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hybrid_ray.candidate import Candidate
from hybrid_ray.search.fits import Outcome, Setting, recall
from hybrid_ray.search.halving import PENALTY, Halving, Thresholds, gain, running_means
from hybrid_ray.search.plan import SearchPlan
from hybrid_ray.search.space import n_comparisons
from hybrid_ray.store.ledger import FitRecord
from hybrid_ray.types import Direction

LOST = "its worker died, and died again when the trial was repeated"


@dataclass(frozen=True)
class TrialRecord:
    """One trial of a candidate search.

    Attributes
    ----------
    number : int
        Place in the order of proposals.
    candidate : Candidate
    score : float
        Mean of the metric over the folds done; for a failed trial 1e30 in the bad direction.
    folds_done : int
    pruned, failed : bool
        Stopped between folds; could not be fitted.
    seconds : float
        Time of its fits, those that were in the ledger already included.
    resumed : int
        Fits that were in the ledger already.
    error : str
        Why it failed.
    scores : tuple of float
        The metric on each fold done.
    keys, chains : tuple of str
        Ledger keys of its fits; prefixes of its fitted chains, where they are kept.
    repeats : int or None
        The earlier trial that proposed the same candidate, whose outcome this one has.
    """

    number: int
    candidate: Candidate
    score: float
    folds_done: int
    pruned: bool = False
    failed: bool = False
    seconds: float = 0.0
    resumed: int = 0
    error: str = ""
    scores: tuple[float, ...] = ()
    keys: tuple[str, ...] = ()
    chains: tuple[str, ...] = ()
    repeats: int | None = None

    @property
    def complete(self) -> bool:
        """All folds done: only such a trial may win or join an ensemble."""
        return not self.pruned and not self.failed


@dataclass(frozen=True)
class CandidateSearch:
    """The answer of a candidate search.

    Attributes
    ----------
    trials : tuple of TrialRecord
        By number.
    direction : {"maximize", "minimize"}
    seconds : float
        Wall time.
    resumed, started : int
        Fits found in the ledger, and fits done now.
    """

    trials: tuple[TrialRecord, ...]
    direction: Direction
    seconds: float
    resumed: int
    started: int

    def ranked_trials(self) -> list[TrialRecord]:
        """Trials with all folds, best first, each candidate once."""
        best = sorted((t for t in self.trials if t.complete), key=lambda t: (-gain(t.score, self.direction), t.number))
        return list({t.candidate.key: t for t in reversed(best)}.values())[::-1]

    def ranked(self) -> list[Candidate]:
        """Candidates with all folds, best out-of-fold score first."""
        return [trial.candidate for trial in self.ranked_trials()]

    @property
    def chains(self) -> dict[str, tuple[str, ...]]:
        """Prefixes of the fitted fold chains in the store, by candidate key, where they were kept."""
        return {trial.candidate.key: trial.chains for trial in self.ranked_trials()}


@dataclass(frozen=True)
class Told:
    """What the sampler is told of a finished trial.

    Attributes
    ----------
    value : float or None
        Its gain; None when it was pruned.
    steps : tuple of float
        Running means of a pruned trial: the sampler ranks it by how far it came, and how well.
    """

    value: float | None
    steps: tuple[float, ...] = ()


@dataclass
class CandidateBook:
    """Keeps the trials of a candidate search on the driver.

    The searcher calls ``begin`` when it proposes a trial, ``finish`` when a worker has answered, ``told`` when the
    sampler is to learn of it, and ``turn`` after the last trial of a batch was told.

    Parameters
    ----------
    plan : SearchPlan
    setting : Setting
    known : mapping of str to FitRecord
        The ledger as it was when the search began.
    """

    plan: SearchPlan
    setting: Setting
    known: Mapping[str, FitRecord]
    trials: dict[int, TrialRecord] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._direction = self.plan.scorer.direction
        self._halving = Halving(len(self.setting.folds), self.plan.min_folds, self.plan.reduction)
        self._thresholds = self._halving.thresholds()
        self._free: Thresholds = (None,) * len(self.setting.folds)
        self._n_free = n_comparisons(self.plan)
        self._candidates: dict[int, Candidate] = {}
        self._first: dict[str, int] = {}

    def begin(self, number: int, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """The work of a trial, JSON-able; None when its outcome is known, or will be with that of an earlier trial."""
        candidate = Candidate(**values["candidate"])
        self._candidates[number] = candidate
        if self._first.setdefault(candidate.key, number) != number:
            return None
        thresholds = self._free if number < self._n_free else self._thresholds
        outcome = recall(candidate, self.setting, thresholds, self.known)
        if outcome is not None:
            self.trials[number] = self._record(number, outcome)
            return None
        return {"candidate": candidate.to_json(), "thresholds": list(thresholds)}

    def ready(self, number: int) -> bool:
        """Whether the outcome of a trial is there."""
        return number in self.trials or self._first[self._candidates[number].key] in self.trials

    def finish(self, number: int, answer: Mapping[str, Any] | None) -> None:
        """Take a worker's answer; None when the worker died on it, again and again."""
        outcome = Outcome(error=LOST) if answer is None else Outcome.from_json(answer)
        self.trials[number] = self._record(number, outcome)

    def told(self, number: int) -> Told:
        """What the sampler learns of a trial whose batch is over."""
        trial = self._settled(number)
        if trial.failed:
            return Told(PENALTY)
        means = self._means(trial)
        return Told(None, means) if trial.pruned else Told(means[-1])

    def turn(self, numbers: Sequence[int]) -> None:
        """A batch is over: its trials move the bars for the next."""
        for number in numbers:
            trial = self.trials[number]
            if not trial.failed and trial.repeats is None:
                self._halving.add(self._means(trial))
        self._thresholds = self._halving.thresholds()

    def cost(self, number: int) -> float:
        """Seconds that a trial will take, from earlier trials of its family; infinite when there were none."""
        family = self._candidates[number].estimator
        spent = [
            t.seconds / t.folds_done for t in self.trials.values() if t.candidate.estimator == family and t.folds_done
        ]
        return sum(spent) / len(spent) if spent else float("inf")

    def note(self) -> str:
        """The best so far, for people."""
        whole = [t for t in self.trials.values() if t.complete]
        if not whole:
            return ""
        best = max(whole, key=lambda t: (gain(t.score, self._direction), -t.number))
        return f"best {self.plan.metric} {best.score:.4g}: {best.candidate.label}"

    def answer(self, seconds: float) -> CandidateSearch:
        """The search's answer."""
        trials = tuple(self.trials[number] for number in sorted(self.trials))
        resumed = sum(t.resumed for t in trials)
        fits = sum(t.folds_done for t in trials if t.repeats is None)
        return CandidateSearch(trials, self._direction, seconds, resumed, fits - resumed)

    def _settled(self, number: int) -> TrialRecord:
        """The record of a trial; one that repeats an earlier trial takes that one's outcome, at no cost."""
        if number not in self.trials:
            first = self.trials[self._first[self._candidates[number].key]]
            self.trials[number] = replace(first, number=number, seconds=0.0, resumed=0, repeats=first.number)
        return self.trials[number]

    def _record(self, number: int, outcome: Outcome) -> TrialRecord:
        failed = bool(outcome.error)
        done = len(outcome.scores)
        return TrialRecord(
            number=number,
            candidate=self._candidates[number],
            score=gain(PENALTY, self._direction) if failed else math.fsum(outcome.scores) / done,
            folds_done=done,
            pruned=outcome.pruned,
            failed=failed,
            seconds=outcome.seconds,
            resumed=outcome.found,
            error=outcome.error,
            scores=outcome.scores,
            keys=outcome.keys,
            chains=outcome.chains,
        )

    def _means(self, trial: TrialRecord) -> tuple[float, ...]:
        return running_means([gain(score, self._direction) for score in trial.scores])

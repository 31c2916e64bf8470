"""The book of a candidate search: what each trial is, what was found, what Optuna is told."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from hybrid_ray.candidate import Candidate
from hybrid_ray.search.fits import Outcome, Setting, recall
from hybrid_ray.search.halving import PENALTY, Halving, Thresholds, gain, running_means
from hybrid_ray.search.plan import MOST_TRIALS, SearchPlan
from hybrid_ray.search.proposals import Proposal
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
    pruned, failed, cut : bool
        Stopped between folds; could not be fitted; not done to its end because the search's time was up.
    seconds : float
        Time of its fits, those that were in the ledger already included.
    resumed : int
        Fits that were in the ledger already.
    error : str
        Why it failed.
    scores : tuple of float
        The metric on each fold done.
    keys, chains : tuple of str
        Ledger keys of its fits; prefixes of its fitted chains, empty where they were not kept.
    repeats : int or None
        The earlier trial that proposed the same candidate, whose outcome this one has.
    proposal : Proposal
        What the sampler proposed.
    cost : mapping of str to float
        Of a prediction by one of its chains, where the plan asks for costs; fields of ``Cost``.
    """

    number: int
    candidate: Candidate
    score: float
    folds_done: int
    pruned: bool = False
    failed: bool = False
    cut: bool = False
    seconds: float = 0.0
    resumed: int = 0
    error: str = ""
    scores: tuple[float, ...] = ()
    keys: tuple[str, ...] = ()
    chains: tuple[str, ...] = ()
    repeats: int | None = None
    proposal: Proposal = field(default_factory=Proposal)
    cost: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(
        cls, number: int, candidate: Candidate, outcome: Outcome, worst: float, proposal: Proposal | None = None
    ) -> Self:
        """The record of an outcome; ``worst`` is the score of one that failed, or that did no fold."""
        done = len(outcome.scores)
        return cls(
            number=number,
            candidate=candidate,
            score=math.fsum(outcome.scores) / done if done and not outcome.error else worst,
            folds_done=done,
            pruned=outcome.pruned,
            failed=bool(outcome.error),
            cut=outcome.cut,
            seconds=outcome.seconds,
            resumed=outcome.found,
            error=outcome.error,
            scores=outcome.scores,
            keys=outcome.keys,
            chains=outcome.chains,
            proposal=proposal or Proposal(),
            cost=outcome.cost,
        )

    @property
    def complete(self) -> bool:
        """All folds done: only such a trial may win or join an ensemble."""
        return not self.pruned and not self.failed and not self.cut


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
        """Prefixes of the fitted fold chains in the store, by candidate key; empty where they were not kept."""
        return {trial.candidate.key: trial.chains for trial in self.ranked_trials()}


def trial_beside(number: int, candidate: Candidate, outcome: Outcome) -> TrialRecord | None:
    """What was fitted on the folds beside a search, as its trials are recorded; None where it could not be fitted."""
    trial = TrialRecord.of(MOST_TRIALS + number, candidate, outcome, math.nan)
    return trial if trial.complete and trial.scores else None


@dataclass(frozen=True)
class Told:
    """What the sampler is told of a finished trial.

    Attributes
    ----------
    value : float or None
        Its gain; None when it was pruned.
    steps : tuple of float
        Of a pruned trial: what the mean over all folds would be, as told after one fold, two folds, and so on.
    """

    value: float | None
    steps: tuple[float, ...] = ()


@dataclass
class CandidateBook:
    """Keeps the trials of a candidate search on the driver.

    The searcher calls ``repeats`` before it proposes a trial, ``begin`` when it does, ``finish`` when a worker has
    answered, ``told`` when the sampler is to learn of it, and ``turn`` after the last trial of a batch was told.

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
        self._halving: dict[str, Halving] = {}
        self._thresholds: dict[str, Thresholds] = {}
        self._free: Thresholds = (None,) * len(self.setting.folds)
        self._n_free = n_comparisons(self.plan)
        self._candidates: dict[int, Candidate] = {}
        self._proposals: dict[int, Proposal] = {}
        self._first: dict[str, int] = {}
        self._pace: dict[str, tuple[float, int]] = {}
        self._ahead = [0.0] * len(self.setting.folds)
        self._n_whole = 0

    def repeats(self, values: Mapping[str, Any]) -> bool:
        """Whether a trial of these values would repeat an earlier one."""
        return Candidate(**values["candidate"]).key in self._first

    def begin(self, number: int, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """The work of a trial, JSON-able; None when its outcome is known, or will be with that of an earlier trial."""
        candidate = Candidate(**values["candidate"])
        self._candidates[number] = candidate
        self._proposals[number] = Proposal(**values.get("proposal", {}))
        if self._first.setdefault(candidate.key, number) != number:
            return None
        if number in self.plan.cut:
            self.cut(number)
            return None
        moved = self._thresholds.get(candidate.estimator, self._free)
        thresholds = self._free if number < self._n_free else moved
        outcome = recall(candidate, self.setting, thresholds, self.known)
        if outcome is not None:
            self._keep(number, outcome)
            return None
        return {"candidate": candidate.to_json(), "thresholds": list(thresholds)}

    def ready(self, number: int) -> bool:
        """Whether the outcome of a trial is there."""
        return number in self.trials or self._first[self._candidates[number].key] in self.trials

    def finish(self, number: int, answer: Mapping[str, Any] | None) -> None:
        """Take a worker's answer; None when the worker died on it, again and again."""
        outcome = Outcome(error=LOST) if answer is None else Outcome.from_json(answer)
        self._keep(number, outcome)

    def cut(self, number: int) -> None:
        """There is no time for a trial."""
        self._keep(number, Outcome(cut=True))

    def told(self, number: int) -> Told:
        """What the sampler learns of a trial whose batch is over.

        Of one that was cut only that it was: how far it came depends on the machine, and shall not decide what comes
        next when the search is replayed.
        """
        trial = self._settled(number)
        if trial.cut:
            return Told(None)
        if trial.failed:
            return Told(PENALTY)
        means = self._means(trial)
        if not trial.pruned:
            return Told(means[-1])
        return Told(None, tuple(mean + self._offset(n) for n, mean in enumerate(means, start=1)))

    def turn(self, numbers: Sequence[int]) -> None:
        """A batch is over: its trials move the bars for the next."""
        for number in numbers:
            trial = self.trials[number]
            if not trial.failed and not trial.cut and trial.repeats is None:
                means = self._means(trial)
                self._pool(trial.candidate.estimator).add(means)
                if trial.complete:
                    self._ahead = [ahead + means[-1] - mean for ahead, mean in zip(self._ahead, means, strict=True)]
                    self._n_whole += 1
        self._thresholds = {family: halving.thresholds() for family, halving in self._halving.items()}

    def _offset(self, folds: int) -> float:
        """What whole trials ended with above their mean over the first few folds: folds are not equally hard."""
        return self._ahead[folds - 1] / max(self._n_whole, 1)

    def _pool(self, family: str) -> Halving:
        """What the candidates of a family reached: the best of each is what an ensemble is made of."""
        if family not in self._halving:
            self._halving[family] = Halving(len(self.setting.folds), self.plan.min_folds, self.plan.reduction)
        return self._halving[family]

    def cost(self, number: int) -> float:
        """Seconds that a trial will take, from earlier trials of its family; infinite when there were none."""
        return self._fold_s(number) * len(self.setting.folds)

    def step(self, number: int) -> float:
        """Seconds until a trial can be stopped: a fold's, from earlier trials of its family; 0 when there were none."""
        fold_s = self._fold_s(number)
        return fold_s if math.isfinite(fold_s) else 0.0

    def _fold_s(self, number: int) -> float:
        spent, n = self._pace.get(self._candidates[number].estimator, (0.0, 0))
        return spent / n if n else float("inf")

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

    def ranked(self) -> list[TrialRecord]:
        """Trials with all folds so far, best first, each candidate once."""
        return self.answer(0.0).ranked_trials()

    def _settled(self, number: int) -> TrialRecord:
        """The record of a trial; one that repeats an earlier trial takes that one's outcome, at no cost."""
        if number not in self.trials:
            first = self.trials[self._first[self._candidates[number].key]]
            again = replace(first, number=number, seconds=0.0, resumed=0, repeats=first.number)
            self.trials[number] = replace(again, proposal=self._proposals[number])
        return self.trials[number]

    def _keep(self, number: int, outcome: Outcome) -> None:
        self.trials[number] = self._record(number, outcome)
        if outcome.scores:
            family = self._candidates[number].estimator
            spent, n = self._pace.get(family, (0.0, 0))
            self._pace[family] = (spent + outcome.seconds / len(outcome.scores), n + 1)

    def _record(self, number: int, outcome: Outcome) -> TrialRecord:
        worst = gain(PENALTY, self._direction)
        return TrialRecord.of(number, self._candidates[number], outcome, worst, self._proposals[number])

    def _means(self, trial: TrialRecord) -> tuple[float, ...]:
        return running_means([gain(score, self._direction) for score in trial.scores])

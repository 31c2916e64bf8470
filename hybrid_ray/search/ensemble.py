"""The ensemble search's book, and its answer: the best recipe, fitted on all out-of-fold predictions."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hybrid_ray.candidate import Candidate
from hybrid_ray.errors import RunFailedError
from hybrid_ray.evaluation.label_errors import LabelErrors, label_errors
from hybrid_ray.forecasts import Outlook
from hybrid_ray.fusion.base import DecisionFusion
from hybrid_ray.registry import FUSIONS
from hybrid_ray.search.costs import Cost
from hybrid_ray.search.ensembler import TIME_UP, Ensembler, EnsembleTrial
from hybrid_ray.search.halving import PENALTY, gain
from hybrid_ray.search.oof import OofLibrary
from hybrid_ray.search.proposals import Proposal
from hybrid_ray.search.recipes import POOL, Recipe
from hybrid_ray.search.tradeoff import Option, Wish, first_of_equals, front, preferred
from hybrid_ray.search.trials import LOST, Told
from hybrid_ray.types import CLASSIFICATION, AnyArray, Direction

MAX_THRIFTY = 4
"""Costs up to which an ensemble of cheap candidates is tried."""
BEST_SCORE = Wish()
MOST_SURE = 8.0
"""Effort of a fit, in solves of weights, up to which one ensemble is tried even when the time is up."""
GRACE_S = 1.0
"""Seconds that the bootstrap of the weights has in any case."""
ALONE = Recipe("best", 1, POOL)
"""The best candidate alone: an answer that takes no time."""


@dataclass(frozen=True)
class Offer:
    """One candidate or ensemble with its score and its cost.

    Attributes
    ----------
    label : str
    members : int
        Candidates in it.
    score : float
    cost : Cost
    front : bool
        Nothing beats it in the metric and in every cost asked for.
    chosen : bool
    """

    label: str
    members: int
    score: float
    cost: Cost
    front: bool
    chosen: bool


@dataclass(frozen=True)
class EnsembleSearch:
    """The answer of an ensemble search.

    Attributes
    ----------
    recipe : Recipe
        The best one.
    fusion : DecisionFusion
        Fitted on all out-of-fold predictions of the members.
    members : dict of str to Candidate
        By member name, heaviest first; members without weight are left out.
    weights : dict of str to float
    intervals : dict of str to (float, float)
        Middle 95 % of each member's weight when the combiner is fitted on bootstrap samples of the rows; empty where
        some sample could not be fitted.
    score : float
        Of the ensemble, on parts that it had not seen.
    oof : dict of str to float
        Mean score of each member over the same parts.
    tried : tuple of EnsembleTrial
        By number.
    seconds : float
        Wall time.
    margins : dict of float to float
        Numbers only: how far from the truth the ensemble stays with each probability, on parts that it had not seen.
    unseen : tuple of ndarray (n, h) and ndarray (n, 3 h + 2), or None
        Forecasting only: what the ensemble says of rows that it had not seen, and their labels.
    tradeoff : tuple of Offer
        Where costs count: what may be had for what, cheapest first.
    samples : int or None
        Bootstrap samples that there was time for; None: for all.
    note : str
        What a reader must know of the candidates that it could choose from.
    suspects : LabelErrors or None
        Classes only: rows whose label is likely wrong, by the mean of the members' out-of-fold predictions; as places
        among the rows that were held out by some fold, in the order of folds.
    """

    recipe: Recipe
    fusion: DecisionFusion
    members: dict[str, Candidate]
    weights: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    score: float
    oof: dict[str, float]
    tried: tuple[EnsembleTrial, ...]
    seconds: float
    margins: dict[float, float] = field(default_factory=dict)
    unseen: tuple[AnyArray, AnyArray] | None = None
    tradeoff: tuple[Offer, ...] = ()
    samples: int | None = None
    note: str = ""
    suspects: LabelErrors | None = None

    def outlook(self, levels: Sequence[float]) -> Outlook | None:
        """How far forecasts reach and how sure they are; None for any other task."""
        return None if self.unseen is None else Outlook.learned(*self.unseen, levels)

    @property
    def trials(self) -> int:
        """How many ensembles were tried."""
        return len(self.tried)


def thrifty_trials(
    tried: Sequence[EnsembleTrial], ensembler: Ensembler, until: float | None = None
) -> list[EnsembleTrial]:
    """Ensembles that save: of candidates up to the cost of one on the front of candidates, and that one alone.

    They are tried after the search, so that what was measured has no say in what a sampler proposes; once it is
    ``until``, candidates alone only.
    """
    library, prices = ensembler.library, ensembler.prices
    if prices is None:
        return []
    sign = gain(1.0, library.metric.direction)
    costs = {name: prices.of([candidate]) for name, candidate in library.candidates.items()}
    scored = library.scores[:, list(library.scored)] * sign
    alone = [Option(name, tuple(row.tolist()), costs[name]) for name, row in zip(library.names, scored, strict=True)]
    most = max(trial.recipe.n_members for trial in tried)
    together = _together(tried, library.metric.direction)
    trials: list[EnsembleTrial] = []
    for option in front(alone, ("latency", "size"))[:MAX_THRIFTY]:
        cheap = [name for name in library.names if costs[name].latency_ms <= costs[option.choice].latency_ms]
        for names in ([option.choice], cheap):
            if len(names) > 1 and until is not None and time.time() >= until:
                continue
            n_members = min(most, len(names))
            recipe = replace(together, n_members=n_members) if n_members > 1 else ALONE
            trial = ensembler.only(names).try_recipe(len(tried) + len(trials), recipe)
            trials.append(replace(trial, within=tuple(names)))
    return trials


def _together(tried: Sequence[EnsembleTrial], direction: Direction) -> Recipe:
    """How cheap candidates are put together: by the plain pool, unless the search was to do without it.

    Then the best that was tried says how, but for its number of members.
    """
    several = [trial for trial in tried if trial.recipe.n_members > 1]
    if not several or any(trial.recipe.combiner == POOL for trial in several):
        return Recipe("pool", 1, POOL)
    best = max(several, key=lambda trial: (not trial.error, gain(trial.score, direction), -trial.number))
    return replace(best.recipe, strategy="pool")


def finish_ensemble(
    tried: Sequence[EnsembleTrial],
    ensembler: Ensembler,
    seconds: float = 0.0,
    wish: Wish = BEST_SCORE,
    until: float | None = None,
) -> EnsembleSearch:
    """Fit the best recipe on all parts; where costs count, the one that the wish takes.

    With ``until``, as ``time.time()``, the bootstrap of its weights ends by then, or after a second; and where there
    was no time for any recipe, the best candidate alone is the answer.

    Raises
    ------
    RunFailedError
        Every trial failed.
    BadInputError
        No ensemble keeps to the limits of the wish.
    """
    library = ensembler.library
    if all(trial.error for trial in tried) and any(trial.error == TIME_UP for trial in tried):
        tried = [*tried, ensembler.try_recipe(len(tried), ALONE)]
    tried = [*tried, *(thrifty_trials(tried, ensembler, until) if wish.costs else ())]
    whole = [trial for trial in tried if not trial.error]
    if not whole:
        raise RunFailedError(
            f"search.ensemble: some ensemble must be fitted; all {len(tried)} failed: {tried[0].error}"
        )
    direction = library.metric.direction
    options = [Option(t, tuple(gain(s, direction) for s in t.scores), Cost(**t.cost)) for t in whole]
    if wish.frugal:
        ranked = preferred(options, wish)
    else:
        # Candidates that are named after they were scored look better than they are: none wins by its score.
        ranked = first_of_equals([option for option in options if not option.choice.within])
    for best in (option.choice for option in ranked):
        chooser = ensembler.only(best.within) if best.within else ensembler
        fusion = chooser.fit(best.recipe, library.parts)
        weights = {name: weight for name, weight in fusion.weights.items() if weight != 0}
        if weights:  # a combiner may end with an answer that is the same for every row
            break
    ordered = sorted(weights, key=lambda name: (-abs(weights[name]), library.names.index(name)))
    margins = chooser.margins(best.recipe) if library.task == "regression" else {}
    unseen = chooser.unseen(best.recipe) if library.task == "forecasting" else None
    until = None if until is None else max(until, time.time() + GRACE_S)
    intervals, samples = ensembler.weight_intervals(best.recipe, list(fusion.weights), until, best.fit_s)
    means = dict(zip(library.names, library.scores[:, list(library.scored)].mean(axis=1).tolist(), strict=True))
    return EnsembleSearch(
        recipe=best.recipe,
        fusion=fusion,
        members={name: library.candidates[name] for name in ordered},
        weights={name: weights[name] for name in ordered},
        intervals={name: intervals[name] for name in ordered if name in intervals},
        score=best.score,
        oof={name: means[name] for name in ordered},
        tried=tuple(tried),
        seconds=seconds,
        margins=margins,
        unseen=unseen,
        tradeoff=_offers(options, best, wish) if wish.costs else (),
        samples=samples,
        suspects=_suspects(library, ordered),
    )


def _suspects(library: OofLibrary, names: Sequence[str]) -> LabelErrors | None:
    """Likely label errors by the plain mean of some members: weights were fitted on these labels."""
    # Of anomalies, some rows are counterexamples, and no one's labels.
    if library.task not in CLASSIFICATION:
        return None
    outputs = list(library.members(names).values())
    return label_errors(library.y, np.mean(outputs, axis=0))


def _offers(options: Sequence[Option[EnsembleTrial]], best: EnsembleTrial, wish: Wish) -> tuple[Offer, ...]:
    """What was found, without what costs and scores the same as something before it."""
    best_of = front(options, wish.costs)
    distinct = list({(option.gain, option.cost): option for option in reversed(options)}.values())
    offers = [
        Offer(
            label=f"{option.choice.recipe.combiner} of {option.choice.recipe.n_members}",
            members=option.choice.recipe.n_members,
            score=option.choice.score,
            cost=option.cost,
            front=option in best_of,
            chosen=option.choice.number == best.number,
        )
        for option in distinct
    ]
    return tuple(sorted(offers, key=lambda offer: (offer.cost.latency_ms, offer.score)))


@dataclass
class EnsembleBook:
    """Keeps the trials of an ensemble search on the driver; called as ``CandidateBook`` is.

    Parameters
    ----------
    direction : {"maximize", "minimize"}
    margins : bool, default False
        Whether the answer's errors on unseen parts are measured: that takes as long as its trial did.
    """

    direction: Direction
    margins: bool = False
    trials: dict[int, EnsembleTrial] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._recipes: dict[int, Recipe] = {}
        self._efforts: dict[int, float] = {}
        self._proposals: dict[int, Proposal] = {}

    def repeats(self, values: Mapping[str, Any]) -> bool:
        """Whether a trial of these values would repeat an earlier one."""
        return Recipe(**values["recipe"]) in self._recipes.values()

    def begin(self, number: int, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """The work of a trial, JSON-able; None for a recipe that was tried already."""
        self._recipes[number] = Recipe(**values["recipe"])
        self._efforts[number] = self._recipes[number].effort
        self._proposals[number] = Proposal(**values.get("proposal", {}))
        if self._first(number) != number:
            return None
        return {"number": number, "recipe": values["recipe"]}

    def ready(self, number: int) -> bool:
        """Whether the outcome of a trial is there."""
        return self._first(number) in self.trials

    def finish(self, number: int, answer: Mapping[str, Any] | None) -> None:
        """Take a worker's answer; None when the worker died on it, again and again."""
        lost = {"score": gain(PENALTY, self.direction), "seconds": 0.0, "error": LOST}
        trial = EnsembleTrial(number=number, recipe=self._recipes[number], **(answer or lost))
        self.trials[number] = replace(trial, proposal=self._proposals[number])

    def cut(self, number: int) -> None:
        """There is no time for a trial."""
        self.finish(number, {"score": gain(PENALTY, self.direction), "seconds": 0.0, "error": TIME_UP})

    def told(self, number: int) -> Told:
        """What the sampler learns of a trial."""
        if number not in self.trials:
            first = self.trials[self._first(number)]
            self.trials[number] = replace(first, number=number, seconds=0.0, proposal=self._proposals[number])
        return Told(gain(self.trials[number].score, self.direction))

    def turn(self, numbers: Sequence[int]) -> None:
        """A batch is over: nothing changes for the next."""

    def cost(self, number: int) -> float:
        """Seconds that a trial will take, like those of its combiner before it; infinite when there were none."""
        spent = [trial.seconds for trial in self._like(number)]
        return sum(spent) / len(spent) if spent else math.inf

    def step(self, number: int) -> float:
        """Seconds until a trial can be stopped and could be the answer, as far as is known; 0 when nothing is."""
        spent = [trial.seconds + self._answer_s(trial) for trial in self._like(number)]
        return sum(spent) / len(spent) if spent else 0.0

    def effort(self, number: int) -> float:
        """What a fit of a trial's recipe takes, see ``DecisionFusion.effort``."""
        return self._efforts[number]

    def sure(self, number: int) -> bool:
        """Whether a trial is done whole in any case: the first of those that take least, where that is little."""
        effort, first = min((effort, n) for n, effort in self._efforts.items())
        return first == number and effort <= MOST_SURE

    def closing_s(self, most_s: float) -> float:
        """Seconds that the answer will take, bootstrap included: whichever of the trials so far it is.

        Parameters
        ----------
        most_s : float
            What the bootstrap may take; it is kept for as many samples as the best so far asks for.
        """
        whole = [trial for trial in self.trials.values() if not trial.error]
        if not whole:
            return 0.0
        best = max(whole, key=lambda t: (gain(t.score, self.direction), -t.number))
        samples_s = FUSIONS.get(best.recipe.combiner).resamples * best.fit_s
        return max(self._answer_s(trial) for trial in whole) + min(samples_s, most_s)

    def _like(self, number: int) -> list[EnsembleTrial]:
        """Trials of the same combiner that took time."""
        combiner = self._recipes[number].combiner
        return [trial for trial in self.trials.values() if trial.seconds > 0 and trial.recipe.combiner == combiner]

    def _answer_s(self, trial: EnsembleTrial) -> float:
        """Seconds from a trial to its recipe as the answer."""
        return trial.fit_s + (trial.seconds if self.margins else 0.0)

    def note(self) -> str:
        """The best so far, for people."""
        whole = [t for t in self.trials.values() if not t.error]
        best = max(whole, key=lambda t: (gain(t.score, self.direction), -t.number), default=None)
        return f"best {best.score:.4g}: {best.recipe.combiner} of {best.recipe.n_members}" if best else ""

    def _first(self, number: int) -> int:
        return next(n for n, recipe in self._recipes.items() if recipe == self._recipes[number])

"""One trial of the ensemble search: which members, put together how; weights are solved, not sampled.

An ensemble is a procedure: it chooses members and fits a combiner on some rows. It is scored on rows that neither saw,
part by part, so that neither the choice nor the weights can be fitted to what they are scored on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from hybrid_ray.candidate import Candidate
from hybrid_ray.errors import RunFailedError
from hybrid_ray.estimators.base import Trial
from hybrid_ray.estimators.prefixed import PrefixedTrial
from hybrid_ray.evaluation.uncertainty import LEVELS
from hybrid_ray.fusion.base import DecisionFusion
from hybrid_ray.registry import FUSIONS
from hybrid_ray.search.costs import Cost, Prices
from hybrid_ray.search.fits import reason
from hybrid_ray.search.halving import PENALTY, gain
from hybrid_ray.search.oof import OofLibrary
from hybrid_ray.search.plan import Choice, SearchPlan
from hybrid_ray.search.proposals import Proposal
from hybrid_ray.search.space import Point
from hybrid_ray.search.tradeoff import Option, Wish, front, preferred
from hybrid_ray.search.trials import LOST, Told
from hybrid_ray.types import AnyArray, Direction

Strategy = Literal["best", "families", "blocks", "pool"]
STRATEGIES: tuple[Strategy, ...] = ("pool", "best", "families", "blocks")
"""How members are ranked before the first k are taken.

pool: by weight in a linear pool of the whole library; best: by score; families, blocks: the best of each estimator
family, or of each set of extractors, before the second best of any.
"""

POOL = "linear_pool"
MAX_THRIFTY = 4
"""Costs up to which an ensemble of cheap candidates is tried."""
BEST_SCORE = Wish()
TIME_UP = "there was no time for it"


@dataclass(frozen=True)
class Recipe:
    """One ensemble, before it has seen rows.

    Attributes
    ----------
    strategy : Strategy
    n_members : int
        Members at most.
    combiner : str
        Registered name of a decision-level fusion.
    params : mapping
        Fields of its ``Params``.
    """

    strategy: Strategy
    n_members: int
    combiner: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able form; ``Recipe(**form)`` gives it back."""
        return asdict(self)


@dataclass(frozen=True)
class EnsembleTrial:
    """One trial of the ensemble search.

    Attributes
    ----------
    number : int
    recipe : Recipe
    score : float
        Mean of the metric over parts that the ensemble had not seen; 1e30 in the bad direction where it failed.
    seconds : float
    error : str
        Why it failed; empty when it did not.
    proposal : Proposal
        What the sampler proposed.
    scores : tuple of float
        On each part.
    cost : mapping of str to float
        Of a prediction by its members, where costs are known; fields of ``Cost``.
    within : tuple of str
        Names of the candidates that it chose from, where that were not all of the library.
    """

    number: int
    recipe: Recipe
    score: float
    seconds: float
    error: str = ""
    proposal: Proposal = field(default_factory=Proposal)
    scores: tuple[float, ...] = ()
    cost: Mapping[str, float] = field(default_factory=dict)
    within: tuple[str, ...] = ()


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
    tradeoff : tuple of Offer
        Where costs count: what may be had for what, cheapest first.
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
    tradeoff: tuple[Offer, ...] = ()

    @property
    def trials(self) -> int:
        """How many ensembles were tried."""
        return len(self.tried)


def propose_ensemble(trial: Trial, plan: SearchPlan, n_candidates: int) -> Recipe:
    """The ensemble that a trial stands for, from a library of ``n_candidates``."""
    most = min(plan.max_members, n_candidates)
    n_members = trial.suggest_int("members", 1, most) if most > 1 else 1
    strategy: Strategy = trial.suggest_categorical("strategy", list(STRATEGIES)) if n_members > 1 else "best"
    keys = [choice.key for choice in plan.combiners]
    key = trial.suggest_categorical("combiner", keys) if len(keys) > 1 else keys[0]
    combiner = next(choice for choice in plan.combiners if choice.key == key)
    tried = PrefixedTrial(trial, f"combiner.{key}.", combiner.fixed)
    params = FUSIONS.get(combiner.name).space(tried, n_members, plan.task) if combiner.search else {}
    return Recipe(strategy, n_members, combiner.name, {**params, **combiner.fixed})


def ensemble_portfolio(plan: SearchPlan, n_candidates: int) -> list[Point]:
    """Good starts as points of ``propose_ensemble``: the best candidate alone, then each combiner on each ranking.

    The best candidate alone comes first, so that no search answers with an ensemble that scores below it.
    """
    most = min(plan.max_members, n_candidates)
    alone = next((choice for choice in plan.combiners if choice.name == POOL), plan.combiners[0])
    points = [_point(plan, alone, 1, most, "best", 0)]
    if most > 1:
        points += [
            _point(plan, combiner, most, most, strategy, 0) for strategy in STRATEGIES for combiner in plan.combiners
        ]
        points += [
            _point(plan, combiner, most, most, "pool", rank)
            for combiner in plan.combiners
            for rank in range(1, len(_starts(plan, combiner, most)))
        ]
    return points


def _starts(plan: SearchPlan, combiner: Choice, n_members: int) -> list[Point]:
    fusion: type[DecisionFusion] = FUSIONS.get(combiner.name)
    starts = fusion.portfolio(n_members, plan.task) if combiner.search else ()
    return [dict(start) for start in starts] or [{}]


def _point(plan: SearchPlan, combiner: Choice, n_members: int, most: int, strategy: Strategy, rank: int) -> Point:
    point: Point = {"members": n_members} if most > 1 else {}
    if n_members > 1:
        point["strategy"] = strategy
    if len(plan.combiners) > 1:
        point["combiner"] = combiner.key
    start = _starts(plan, combiner, n_members)[rank]
    return point | {f"combiner.{combiner.key}.{name}": v for name, v in start.items() if name not in combiner.fixed}


class Ensembler:
    """Fits and scores ensembles over one library.

    Parameters
    ----------
    library : OofLibrary
    seed : int
    prices : Prices, optional
        With it each trial tells what its members cost.
    """

    def __init__(self, library: OofLibrary, seed: int, prices: Prices | None = None) -> None:
        self.library = library
        self.prices = prices
        self._seed = seed
        self._pooled: dict[tuple[int, ...], list[str]] = {}

    def choose(self, recipe: Recipe, parts: Sequence[int]) -> list[str]:
        """Names of the members that a recipe takes, looking at some parts only."""
        library = self.library
        if recipe.strategy == "pool" and len(library.names) > recipe.n_members:
            return self._by_pool_weight(tuple(parts))[: recipe.n_members]
        means = library.scores[:, list(parts)].mean(axis=1)
        gains = [gain(float(mean), library.metric.direction) for mean in means]
        ranked = [library.names[i] for i in sorted(range(len(gains)), key=lambda i: -gains[i])]
        if recipe.strategy in ("families", "blocks"):
            ranked = _one_of_each(ranked, recipe.strategy, library.candidates)
        return ranked[: recipe.n_members]

    def fit(self, recipe: Recipe, parts: Sequence[int]) -> DecisionFusion:
        """Choose members and fit the combiner on some parts of the library."""
        return self._fitted(_combiner(recipe), self.choose(recipe, parts), self.library.rows(parts))

    def weight_intervals(self, recipe: Recipe, names: Sequence[str]) -> dict[str, tuple[float, float]]:
        """Middle 95 % of the weights of members, over combiners fitted on bootstrap samples of all rows."""
        rows = self.library.rows(self.library.parts)
        rng = np.random.default_rng(self._seed)
        drawn = []
        try:
            for _ in range(FUSIONS.get(recipe.combiner).resamples):
                sample = rows[rng.integers(len(rows), size=len(rows))]
                weights = self._fitted(_combiner(recipe), names, sample).weights
                drawn.append([weights.get(name, 0.0) for name in names])
        except Exception:  # a plugin may raise anything on an odd sample: then nothing is said of its weights
            return {}
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        return {name: (float(low[i]), float(high[i])) for i, name in enumerate(names)}

    def score(self, recipe: Recipe) -> tuple[float, ...]:
        """Score of a recipe on each part, fitted on the other parts (for time: on the earlier ones)."""
        return tuple(self.library.metric.score(y, outputs) for y, outputs in self._unseen(recipe))

    def margins(self, recipe: Recipe) -> dict[float, float]:
        """How far from the truth a recipe for numbers stays on parts that it had not seen, by probability.

        References
        ----------
        Vovk, "Cross-conformal predictors", Annals of Mathematics and Artificial Intelligence 2015.
        """
        errors = np.sort(np.concatenate([np.abs(outputs[:, 0] - y) for y, outputs in self._unseen(recipe)]))
        ranks = {level: math.ceil(level * (len(errors) + 1)) for level in LEVELS}
        return {level: float(errors[rank - 1]) for level, rank in ranks.items() if rank <= len(errors)}

    def _unseen(self, recipe: Recipe) -> Iterator[tuple[AnyArray, AnyArray]]:
        """Labels and outputs of each part, by the recipe fitted on the other parts (for time: on the earlier ones)."""
        library = self.library
        for part in library.scored:
            combiner = self.fit(recipe, library.learned_from(part))
            rows = slice(library.bounds[part], library.bounds[part + 1])
            yield library.y[rows], combiner.combine(library.members(library.names, rows))

    def try_recipe(self, number: int, recipe: Recipe) -> EnsembleTrial:
        """One trial; a combiner that fails is a failed trial, not the end of the search."""
        started = time.perf_counter()
        metric = self.library.metric
        cost: Mapping[str, float] = {}
        try:
            scores = self.score(recipe)
            score = math.fsum(scores) / len(scores)
            error = "" if math.isfinite(score) else f"{metric.name} must be a finite number; got {score}"
            if self.prices is not None:
                cost = self._cost(recipe, self.prices).to_json()
        except Exception as failure:  # a plugin may raise anything at all: one bad ensemble must not end a search
            error = reason(failure)
        if error:
            return replace(self.failed(number, recipe, error), seconds=time.perf_counter() - started)
        return EnsembleTrial(number, recipe, score, time.perf_counter() - started, scores=scores, cost=cost)

    def only(self, names: Sequence[str]) -> Ensembler:
        """The same over some candidates of the library."""
        kept = [i for i, name in enumerate(self.library.names) if name in names]
        library = replace(
            self.library,
            candidates={name: c for name, c in self.library.candidates.items() if name in names},
            outputs=self.library.outputs[kept],
            scores=self.library.scores[kept],
        )
        return Ensembler(library, self._seed, self.prices)

    def _cost(self, recipe: Recipe, prices: Prices) -> Cost:
        """What the members that get weight on all rows cost."""
        weights = self.fit(recipe, self.library.parts).weights
        return prices.of([self.library.candidates[name] for name, weight in weights.items() if weight != 0])

    def failed(self, number: int, recipe: Recipe, error: str) -> EnsembleTrial:
        """A trial without a score."""
        return EnsembleTrial(number, recipe, gain(PENALTY, self.library.metric.direction), 0.0, error)

    def _by_pool_weight(self, parts: tuple[int, ...]) -> list[str]:
        if parts not in self._pooled:
            fusion: type[DecisionFusion] = FUSIONS.get(POOL)
            weights = self._fitted(fusion(fusion.Params()), self.library.names, self.library.rows(parts)).weights
            heavy = [name for name in self.library.names if weights.get(name, 0.0) > 0]
            self._pooled[parts] = sorted(heavy, key=lambda name: -weights[name]) or self.library.names
        return self._pooled[parts]

    def _fitted(self, combiner: DecisionFusion, names: Sequence[str], rows: AnyArray) -> DecisionFusion:
        inputs = self.library.members(names, rows)
        return combiner.fit(inputs, self.library.y[rows], self.library.task, self._seed, self.library.metric)


def _combiner(recipe: Recipe) -> DecisionFusion:
    fusion: type[DecisionFusion] = FUSIONS.get(recipe.combiner)
    return fusion(fusion.Params.model_validate(dict(recipe.params)))


def _one_of_each(ranked: Sequence[str], strategy: Strategy, candidates: Mapping[str, Candidate]) -> list[str]:
    """Ranked names, the first of each group before the second of any."""
    seen: dict[Any, int] = {}
    turns: list[int] = []
    for name in ranked:
        candidate = candidates[name]
        group = candidate.estimator if strategy == "families" else candidate.blocks
        seen[group] = seen.get(group, 0) + 1
        turns.append(seen[group])
    return [name for _, name in sorted(zip(turns, ranked, strict=True), key=lambda pair: pair[0])]


def thrifty_trials(tried: Sequence[EnsembleTrial], ensembler: Ensembler) -> list[EnsembleTrial]:
    """Ensembles that save: of candidates up to the cost of one on the front of candidates, and that one alone.

    They are tried after the search, so that what was measured has no say in what a sampler proposes.
    """
    library, prices = ensembler.library, ensembler.prices
    if prices is None:
        return []
    sign = gain(1.0, library.metric.direction)
    costs = {name: prices.of([candidate]) for name, candidate in library.candidates.items()}
    scored = library.scores[:, list(library.scored)] * sign
    alone = [Option(name, tuple(row.tolist()), costs[name]) for name, row in zip(library.names, scored, strict=True)]
    most = max(trial.recipe.n_members for trial in tried)
    trials: list[EnsembleTrial] = []
    for option in front(alone, ("latency", "size"))[:MAX_THRIFTY]:
        cheap = [name for name in library.names if costs[name].latency_ms <= costs[option.choice].latency_ms]
        for names in ([option.choice], cheap):
            recipe = Recipe("pool" if len(names) > 1 else "best", min(most, len(names)), POOL)
            trial = ensembler.only(names).try_recipe(len(tried) + len(trials), recipe)
            trials.append(replace(trial, within=tuple(names)))
    return trials


def finish_ensemble(
    tried: Sequence[EnsembleTrial], ensembler: Ensembler, seconds: float = 0.0, wish: Wish = BEST_SCORE
) -> EnsembleSearch:
    """Fit the best recipe on all parts; where costs count, the one that the wish takes.

    Raises
    ------
    RunFailedError
        Every trial failed.
    BadInputError
        No ensemble keeps to the limits of the wish.
    """
    library = ensembler.library
    tried = [*tried, *(thrifty_trials(tried, ensembler) if wish.costs else ())]
    whole = [trial for trial in tried if not trial.error]
    if not whole:
        raise RunFailedError(
            f"search.ensemble: some ensemble must be fitted; all {len(tried)} failed: {tried[0].error}"
        )
    direction = library.metric.direction
    ranked = sorted(whole, key=lambda t: (-gain(t.score, direction), t.number))
    options = [Option(t, tuple(gain(s, direction) for s in t.scores), Cost(**t.cost)) for t in ranked]
    if wish.frugal:
        ranked = [option.choice for option in preferred(options, wish)]
    else:
        # Candidates that are named after they were scored look better than they are: none wins by its score.
        ranked = [trial for trial in ranked if not trial.within]
    for best in ranked:
        chooser = ensembler.only(best.within) if best.within else ensembler
        fusion = chooser.fit(best.recipe, library.parts)
        weights = {name: weight for name, weight in fusion.weights.items() if weight != 0}
        if weights:  # a combiner may end with an answer that is the same for every row
            break
    ordered = sorted(weights, key=lambda name: (-abs(weights[name]), library.names.index(name)))
    intervals = ensembler.weight_intervals(best.recipe, list(fusion.weights))
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
        margins=chooser.margins(best.recipe) if library.task == "regression" else {},
        tradeoff=_offers(options, best, wish) if wish.costs else (),
    )


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
    """

    direction: Direction
    trials: dict[int, EnsembleTrial] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._recipes: dict[int, Recipe] = {}
        self._proposals: dict[int, Proposal] = {}

    def begin(self, number: int, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """The work of a trial, JSON-able; None for a recipe that was tried already."""
        self._recipes[number] = Recipe(**values["recipe"])
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
        """Seconds that a trial will take, like those before it; infinite when there were none."""
        spent = [trial.seconds for trial in self.trials.values() if trial.seconds > 0]
        return sum(spent) / len(spent) if spent else math.inf

    def step(self, number: int) -> float:
        """Seconds until a trial can be stopped: all that it takes, as far as is known."""
        cost = self.cost(number)
        return cost if math.isfinite(cost) else 0.0

    def note(self) -> str:
        """The best so far, for people."""
        whole = [t for t in self.trials.values() if not t.error]
        best = max(whole, key=lambda t: (gain(t.score, self.direction), -t.number), default=None)
        return f"best {best.score:.4g}: {best.recipe.combiner} of {best.recipe.n_members}" if best else ""

    def _first(self, number: int) -> int:
        return next(n for n, recipe in self._recipes.items() if recipe == self._recipes[number])

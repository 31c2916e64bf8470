"""One trial of the ensemble search: a recipe is fitted on some rows and scored on others.

An ensemble is a procedure: it chooses members and fits a combiner on some rows. It is scored on rows that neither saw,
part by part, so that neither the choice nor the weights can be fitted to what they are scored on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from hybrid_ray.candidate import Candidate
from hybrid_ray.evaluation.ties import Ties
from hybrid_ray.evaluation.uncertainty import LEVELS
from hybrid_ray.fusion.base import DecisionFusion
from hybrid_ray.fusion.inner import fit_combiner
from hybrid_ray.registry import FUSIONS
from hybrid_ray.search.clock import TimeUpError, call_until
from hybrid_ray.search.costs import Cost, Prices
from hybrid_ray.search.fits import reason
from hybrid_ray.search.halving import PENALTY, gain
from hybrid_ray.search.oof import OofLibrary
from hybrid_ray.search.proposals import Proposal
from hybrid_ray.search.recipes import POOL, Recipe, Strategy
from hybrid_ray.types import NUMBERS, AnyArray, learned_as

TIME_UP = "there was no time for it"
MIN_SAMPLES = 5
"""Bootstrap samples below which nothing is said of weights."""


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
    fit_s : float
        Seconds that a fit on all rows will take, about.
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
    fit_s: float = 0.0


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
        learned = sum(len(library.rows(library.learned_from(part))) for part in library.scored)
        self._whole = len(library.rows(library.parts)) / max(learned, 1)

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

    def weight_intervals(
        self, recipe: Recipe, names: Sequence[str], until: float | None = None, fit_s: float = 0.0
    ) -> tuple[dict[str, tuple[float, float]], int | None]:
        """Middle 95 % of the weights of members, over combiners fitted on bootstrap samples of all rows.

        Rows that go together are drawn together.

        Parameters
        ----------
        recipe : Recipe
        names : sequence of str
        until : float, optional
            As ``time.time()``: no sample is drawn that would not be fitted by then.
        fit_s : float, default 0
            What a fit takes, as far as is known.

        Returns
        -------
        intervals : dict of str to (float, float)
            Empty where a sample could not be fitted, or where there was time for too few.
        samples : int or None
            How many there was time for; None: for all.
        """
        rows = self.library.rows(self.library.parts)
        rng, ties = np.random.default_rng(self._seed), Ties.of(self.library.groups)
        drawn: list[list[float]] = []
        cut = None
        try:
            for _ in range(FUSIONS.get(recipe.combiner).resamples):
                began = time.time()
                if until is not None and began + fit_s >= until:
                    cut = len(drawn)
                    break
                sample = rows[rng.integers(len(rows), size=len(rows)) if ties is None else ties.draw(rng)]
                weights = self._fitted(_combiner(recipe), names, sample).weights
                drawn.append([weights.get(name, 0.0) for name in names])
                fit_s = time.time() - began
        except Exception:  # a plugin may raise anything on an odd sample: then nothing is said of its weights
            return {}, None
        if cut is not None and cut < MIN_SAMPLES:
            return {}, cut
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        return {name: (float(low[i]), float(high[i])) for i, name in enumerate(names)}, cut

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

    def unseen(self, recipe: Recipe) -> tuple[AnyArray, AnyArray]:
        """Outputs of the parts that a recipe had not seen, and their labels, row for row."""
        labels, outputs = zip(*self._unseen(recipe), strict=True)
        return np.concatenate(outputs), np.concatenate(labels)

    def _unseen(self, recipe: Recipe) -> Iterator[tuple[AnyArray, AnyArray]]:
        """Labels and outputs of each part, by the recipe fitted on the other parts (for time: on the earlier ones)."""
        library = self.library
        for part in library.scored:
            combiner = self.fit(recipe, library.learned_from(part))
            rows = slice(library.bounds[part], library.bounds[part + 1])
            yield library.y[rows], combiner.combine(library.members(library.names, rows))

    def try_until(self, number: int, recipe: Recipe, until: float | None) -> EnsembleTrial:
        """One trial that ends early enough for its recipe to be fitted on all rows by ``until``, or one that was cut.

        A long trial that ends at the last moment could not be the answer in time.
        """
        if until is not None:
            now = time.time()
            until = now + (until - now) / (1.0 + self._whole + (self.library.task in NUMBERS))
        try:
            return call_until(lambda: self.try_recipe(number, recipe), until)
        except TimeUpError:
            return self.failed(number, recipe, TIME_UP)

    def try_recipe(self, number: int, recipe: Recipe) -> EnsembleTrial:
        """One trial; a combiner that fails is a failed trial, not the end of the search."""
        started = time.perf_counter()
        metric = self.library.metric
        cost: Mapping[str, float] = {}
        try:
            scores = self.score(recipe)
            fit_s = self._whole * (time.perf_counter() - started)
            score = math.fsum(scores) / len(scores)
            error = "" if math.isfinite(score) else f"{metric.name} must be a finite number; got {score}"
            if self.prices is not None:
                cost = self._cost(recipe, self.prices).to_json()
        except Exception as failure:  # a plugin may raise anything at all: one bad ensemble must not end a search
            error = reason(failure)
        if error:
            return replace(self.failed(number, recipe, error), seconds=time.perf_counter() - started)
        seconds = time.perf_counter() - started
        return EnsembleTrial(number, recipe, score, seconds, scores=scores, cost=cost, fit_s=fit_s)

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
        library, task = self.library, learned_as(self.library.task)
        groups = None if library.groups is None else library.groups[rows]
        return fit_combiner(combiner, inputs, library.y[rows], task, self._seed, library.metric, groups)


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

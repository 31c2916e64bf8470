"""Who proposes the next trial: Optuna's samplers, seeded, and a way to use those that need one fixed space.

CMA-ES and Gaussian processes want the same parameters in every trial. A space of candidates is conditional: a trial has
the parameters of one family of learners, one fusion, some blocks. What such a sampler can learn from are the groups of
parameters that are always there together; :class:`GroupSampler` gives each group a study of its own. TPE gets the same:
Optuna's own TPE for groups draws for all of them in every trial, those that the trial does not have included; with a
dozen families that takes five times as long.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from hybrid_ray.search.families import FAMILY, FamilyChooser
from hybrid_ray.search.halving import PENALTY
from hybrid_ray.types import SamplerName

TPE_STARTUP = 3
"""Trials of a group before TPE models it: the portfolio has begun with good ones."""
GP_STARTUP = 5
"""Trials of a group before a Gaussian process is fitted to it."""

Group = frozenset[str]
"""Names of parameters that are always there together."""
Point = dict[str, Any]


def make_sampler(name: SamplerName, seed: int, families: FamilyChooser | None = None) -> BaseSampler:
    """A seeded sampler.

    Parameters
    ----------
    name : {"tpe", "cmaes", "gp", "random", "grid"}
        tpe: multivariate within groups of parameters that are there together; cmaes: CMA-ES for the numbers of each
        group, TPE for choices between names; gp: a Gaussian process over each group, choices included; random:
        uniform; grid: all its points are enqueued, see ``grid_points``, so that the sampler itself draws nothing.
    seed : int
    families : FamilyChooser, optional
        Who chooses the family of learners; random and grid do without. Default: a choice like any other.
    """
    if name in ("random", "grid"):
        return RandomSampler(seed=seed)
    if name == "cmaes":
        return GroupSampler(_cma_es, seed, choices=False, families=families)
    if name == "gp":
        return GroupSampler(_gaussian_process, seed, choices=True, families=families)
    return GroupSampler(_tpe, seed, choices=True, ranks=True, families=families)


def _tpe(seed: int, best: Point | None) -> BaseSampler:
    return TPESampler(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=TPE_STARTUP)


def _cma_es(seed: int, best: Point | None) -> BaseSampler:
    """CMA-ES from the best point known; a single number, for which it is not made, is left to TPE."""
    others = TPESampler(seed=seed, constant_liar=True)
    with warnings.catch_warnings():
        # Optuna would have its next major version start from a random point only.
        warnings.simplefilter("ignore", FutureWarning)
        return CmaEsSampler(x0=best, seed=seed, independent_sampler=others, warn_independent_sampling=False)


def _gaussian_process(seed: int, best: Point | None) -> BaseSampler:
    return GPSampler(
        seed=seed,
        independent_sampler=TPESampler(seed=seed, constant_liar=True),
        n_startup_trials=GP_STARTUP,
        deterministic_objective=True,
    )


class GroupSampler(BaseSampler):
    """Samples each group of parameters that are always there together from a study of its own.

    Groups are told from finished trials: two parameters are in one group when no trial has one without the other. A
    parameter that no finished trial has, and choices between names where ``choices`` is false, are sampled by TPE. The
    family of learners, and what is given of its point, comes from ``families`` where there is one. A trial that was
    stopped counts with the last mean that it was told with; one that failed counts only for a sampler that looks at the
    order of values.

    Parameters
    ----------
    make : callable
        ``(seed, best point of the group or None) -> sampler`` for the study of one group.
    seed : int
    choices : bool
        Whether categorical parameters belong to the groups.
    ranks : bool, default False
        Whether the samplers look at the order of values only, so that the penalty of a failed trial does no harm.
    families : FamilyChooser, optional
    """

    def __init__(
        self,
        make: Callable[[int, Point | None], BaseSampler],
        seed: int,
        *,
        choices: bool,
        ranks: bool = False,
        families: FamilyChooser | None = None,
    ) -> None:
        self._make = make
        self._seed = seed
        self._choices = choices
        self._ranks = ranks
        self._families = families
        self._others = TPESampler(seed=seed, constant_liar=True)
        self._groups: list[Group] = []
        self._studies: dict[Group, _GroupStudy] = {}
        self._values: dict[int, dict[Group, _Asked]] = {}
        self._given: dict[int, Mapping[str, Any]] = {}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Nothing is sampled before it is known which parameters the trial has."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing: see ``infer_relative_search_space``."""
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The value of a parameter; the first of a group that is asked for decides the whole group."""
        if self._families is not None and param_name == FAMILY:
            family, self._given[trial.number] = self._families.draw()
            return family
        given = self._given.get(trial.number, {})
        if param_name in given:
            return given[param_name]
        group = next((group for group in self._groups if param_name in group), None)
        if group is not None:
            asked = self._values.setdefault(trial.number, {})
            if group not in asked:
                asked[group] = self._study(study, group).ask()
            if asked[group].distributions[param_name] == param_distribution:
                return asked[group].trial.params[param_name]
        return self._others.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Learn from a finished trial."""
        asked = self._values.pop(trial.number, {})
        self._given.pop(trial.number, None)
        value = self._value(trial, values)
        if self._families is not None and FAMILY in trial.params:
            whole = values[0] if values and values[0] > PENALTY else None
            self._families.tell(trial.params[FAMILY], whole, None if values else len(trial.intermediate_values))
        searched = {name: d for name, d in trial.distributions.items() if self._searches(name, d)}
        for group, known in self._studies.items():
            if group <= searched.keys():
                known.tell(asked.get(group), trial, value)
            elif group in asked:
                known.tell(asked[group], None, None)
        if state != TrialState.FAIL:
            self._groups = refined(self._groups, frozenset(searched))
            self._studies = {group: self._studies[group] for group in self._groups if group in self._studies}

    def reseed_rng(self) -> None:
        """Nothing: a study here is asked by one process only."""

    def _searches(self, name: str, distribution: BaseDistribution) -> bool:
        if distribution.single() or (name == FAMILY and self._families is not None):
            return False
        return self._choices or not isinstance(distribution, CategoricalDistribution)

    def _study(self, study: optuna.Study, group: Group) -> _GroupStudy:
        if group not in self._studies:
            trials = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished() and group <= t.params.keys()]
            known = [(trial, self._value(trial, trial.values)) for trial in trials]
            self._studies[group] = _GroupStudy(group, known, self._make, self._seed)
        return self._studies[group]

    def _value(self, trial: FrozenTrial, values: Sequence[float] | None) -> float | None:
        """The gain of a finished trial, the last mean of one that was stopped, None for one that does not count."""
        last = next(iter(sorted(trial.intermediate_values.items(), reverse=True)), (0, None))[1]
        value = values[0] if values else last
        return None if value is None or (value <= PENALTY and not self._ranks) else value


class _Asked:
    """What a group's study proposed."""

    def __init__(self, trial: optuna.Trial, distributions: Mapping[str, BaseDistribution]) -> None:
        self.trial = trial
        self.distributions = distributions


class _GroupStudy:
    """A study over the parameters of one group, with the trials that had them."""

    def __init__(
        self,
        group: Group,
        past: Sequence[tuple[FrozenTrial, float | None]],
        make: Callable[[int, Point | None], BaseSampler],
        seed: int,
    ) -> None:
        self._names = sorted(group)
        newest = past[-1][0].distributions
        self._distributions = {name: newest[name] for name in self._names}
        known = [(trial, value) for trial, value in past if value is not None and self._fits(trial)]
        best = max(known, key=lambda pair: (pair[1], -pair[0].number), default=None)
        start = {name: best[0].params[name] for name in self._names} if best else None
        self._study = optuna.create_study(direction="maximize", sampler=make(seed, start))
        for trial, value in known:
            self._add(trial, value)

    def ask(self) -> _Asked:
        """Propose a point."""
        return _Asked(self._study.ask(self._distributions), self._distributions)

    def tell(self, asked: _Asked | None, trial: FrozenTrial | None, value: float | None) -> None:
        """Learn the value of what was asked, or of a trial whose point came from elsewhere."""
        mine = (
            asked is not None
            and trial is not None
            and all(trial.params[name] == asked.trial.params[name] for name in self._names)
        )
        if asked is not None and mine and value is not None:
            self._study.tell(asked.trial, value)
            return
        if asked is not None:
            self._study.tell(asked.trial, state=TrialState.FAIL)
        if trial is not None and not mine and value is not None and self._fits(trial):
            self._add(trial, value)

    def _fits(self, trial: FrozenTrial) -> bool:
        return all(trial.distributions[name] == self._distributions[name] for name in self._names)

    def _add(self, trial: FrozenTrial, value: float) -> None:
        params = {name: trial.params[name] for name in self._names}
        self._study.add_trial(create_trial(params=params, distributions=dict(self._distributions), value=value))


def refined(groups: Sequence[Group], names: Group) -> list[Group]:
    """Groups after a trial with these parameters: what it has is told apart from what it has not."""
    parts = [part for group in groups for part in (group & names, group - names)]
    new = names.difference(*groups)
    return [part for part in (*parts, new) if part]

"""Whether a window of rows is like those that a version was scored on.

Every trait is tested, and p values are corrected for their number (Holm 1979): a window without drift is said to
have drifted with a chance of ``level`` at most, however many traits there are. A difference must also be large
enough to matter: with many rows, any is surely there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hybrid_ray.evaluation.significance import holm
from hybrid_ray.monitoring.traits import Form, Source, Trait, Traits
from hybrid_ray.monitoring.two_sample import (
    TwoSample,
    chi_squared,
    kolmogorov_smirnov,
    maximum_mean_discrepancy,
    stability_index,
    stability_of_categories,
)
from hybrid_ray.types import AnyArray

TESTS: Mapping[Form, str] = {"number": "Kolmogorov-Smirnov", "category": "chi-squared", "vector": "MMD"}
"""Which test a form of trait is put to."""


class Rule(NamedTuple):
    """When a window counts as drifted.

    Attributes
    ----------
    level : float
        Chance of an alarm for a window that has not drifted.
    min_psi : float
        Population stability index below which a difference of numbers or categories does not matter, however sure.
    """

    level: float = 0.001
    min_psi: float = 0.1


@dataclass(frozen=True)
class Difference:
    """One trait of a window, beside the reference.

    Attributes
    ----------
    trait : str
    source : {"input", "embedding", "prediction"}
    test : str
    statistic : float
        Largest distance of shares, Cramér's V, or squared mean discrepancy.
    psi : float or None
        Population stability index; None for vectors.
    p_value : float
        Of the test by itself.
    corrected : float
        Corrected for all traits of the window.
    rows : int
        Rows of the window that have the trait.
    drifted : bool
    """

    trait: str
    source: Source
    test: str
    statistic: float
    psi: float | None
    p_value: float
    corrected: float
    rows: int
    drifted: bool


def differences(reference: Traits, window: Traits, rule: Rule = Rule(), *, seed: int = 0) -> list[Difference]:
    """Every trait of a window beside the reference: what drifted first, then by corrected p value.

    A trait of which either holds nothing is not tested: ``:given`` tells of those.

    Parameters
    ----------
    reference, window : dict of str to Trait
        Of the same model.
    rule : Rule
    seed : int, default 0
        Of the permutations.
    """
    shared = [name for name in reference if name in window]
    names = [name for name in shared if len(reference[name].values) and len(window[name].values)]
    if not names:
        return []
    tested = [_tested(reference[name], window[name], rule.level / len(names), seed) for name in names]
    corrected = holm([found.p_value for found in tested])
    told = [
        _difference(name, reference[name], window[name], found, p_value, rule)
        for name, found, p_value in zip(names, tested, corrected, strict=True)
    ]
    return sorted(told, key=lambda each: (not each.drifted, each.corrected, each.p_value, each.trait))


def _tested(before: Trait, now: Trait, level: float, seed: int) -> TwoSample:
    if before.form == "number":
        return kolmogorov_smirnov(before.values, now.values)
    if before.form == "category":
        return chi_squared(before.values.tolist(), now.values.tolist())
    return maximum_mean_discrepancy(before.values, now.values, seed=seed, level=level)


def _difference(name: str, before: Trait, now: Trait, found: TwoSample, corrected: float, rule: Rule) -> Difference:
    psi = _stability(before, now)
    return Difference(
        trait=name,
        source=before.source,
        test=TESTS[before.form],
        statistic=found.statistic,
        psi=psi,
        p_value=found.p_value,
        corrected=corrected,
        rows=len(now.values),
        drifted=corrected <= rule.level and (psi is None or psi >= rule.min_psi),
    )


def _stability(before: Trait, now: Trait) -> float | None:
    if before.form == "number":
        return stability_index(before.values, now.values)
    if before.form == "category":
        return stability_of_categories(before.values.tolist(), now.values.tolist())
    return None


def joined(parts: Sequence[Traits]) -> Traits:
    """Traits of several batches as those of one; a trait that one lacks is left out of all."""
    first, *others = parts
    shared = [name for name in first if all(name in part for part in others)]
    return {
        name: Trait(first[name].source, first[name].form, np.concatenate([part[name].values for part in parts]))
        for name in shared
    }


class Accumulated:
    """Rows of a version, gathered until they make a window.

    Not per request: a test of one row tells nothing. Windows do not overlap, so that one alarm is not told twice.

    Parameters
    ----------
    rows : int
        Rows of a window.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._parts: list[tuple[Traits, int]] = []
        self._held = 0

    @property
    def held(self) -> int:
        """Rows that wait for the next window."""
        return self._held

    def add(self, traits: Traits, rows: int) -> Traits | None:
        """Take the traits of some rows: the whole window when they fill it, else None."""
        self._parts.append((traits, rows))
        self._held += rows
        if self._held < self._rows:
            return None
        window = joined([traits for traits, _ in self._parts])
        self._parts, self._held = [], 0
        return window


def thinned(traits: Traits, most: int, seed: int) -> Traits:
    """At most ``most`` values of each trait, chosen at random: what is kept with a version."""
    return {name: trait.take(_some(len(trait.values), most, [seed, *name.encode()])) for name, trait in traits.items()}


def _some(n: int, most: int, seed: Sequence[int]) -> AnyArray:
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))

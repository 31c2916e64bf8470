"""Test rows that go together: of one patient, one machine, one stretch of a series.

They are alike, and tell less than as many rows that have nothing to do with each other. Taken one by one they make
intervals too narrow and p values too small; so whole groups of them are drawn, with replacement, and groups are what is
counted. A bootstrap of few groups is too narrow all the same: their spread is taken as that of a sample of so many, and
its ends as those of Student's t.

References
----------
Field and Welsh, "Bootstrapping clustered data", Journal of the Royal Statistical Society B 69, 2007: the cluster
bootstrap.
Cameron, Gelbach and Miller, "Bootstrap-based improvements for inference with clustered errors", The Review of Economics
and Statistics 90, 2008: what few clusters do to it.
Hesterberg, "What teachers should know about the bootstrap", The American Statistician 69, 2015: percentile intervals
widened for small samples.
Korn and Graubard, "Confidence intervals for proportions with small expected number of positive counts estimated from
survey data", Survey Methodology 24, 1998: as how many rows grouped ones count for a share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hybrid_ray.types import AnyArray

FEW = 10
"""Groups below which a reader is told that intervals rest on few."""
_Z = 1.959963984540054


@dataclass(frozen=True)
class Ties:
    """Which rows go together; there are two groups or more, and fewer than rows.

    Attributes
    ----------
    codes : ndarray of int (n,)
        Group of each row, from 0.
    n : int
        Groups.
    """

    codes: AnyArray
    n: int

    @classmethod
    def of(cls, groups: AnyArray | None) -> Ties | None:
        """The groups of rows, by any numbers (n,).

        None where rows are taken one by one: there are no groups, each row is one of its own, or all rows are of one,
        which says nothing of how groups differ; see :func:`tie_note`.
        """
        if groups is None:
            return None
        found, codes = np.unique(groups, return_inverse=True)
        return cls(codes, len(found)) if 1 < len(found) < len(codes) else None

    def take(self, rows: AnyArray) -> Ties | None:
        """The groups of some rows alone."""
        return Ties.of(self.codes[rows])

    def draw(self, rng: np.random.Generator) -> AnyArray:
        """Rows of as many groups as there are, drawn with replacement; in random order."""
        counts = np.bincount(rng.integers(self.n, size=self.n), minlength=self.n)
        return rng.permutation(np.repeat(np.arange(len(self.codes)), counts[self.codes]))

    @property
    def widening(self) -> float:
        """How much wider an interval is than the middle of as many resampled groups; nearly 1 where they are many."""
        return float(np.sqrt(self.n / (self.n - 1))) * _student(self.n) / _Z

    def half_width(self, values: AnyArray) -> float:
        """Half the 95 % interval of the mean of values (n,), by the spread of their sums over groups."""
        sums = np.bincount(self.codes, values - values.mean(), self.n)
        return _student(self.n) * float(np.sqrt(self.n / (self.n - 1) * np.square(sums).sum())) / len(values)


def rows_for_share(hits: AnyArray, ties: Ties | None) -> float:
    """As how many rows that are drawn one by one these count for the interval of a share.

    A share of none or of all shows no difference between groups: each then counts as one row.

    Parameters
    ----------
    hits : ndarray of bool (n,)
    ties : Ties or None
        None: as many as there are.

    Returns
    -------
    float
        At most n.
    """
    rows = float(len(hits))
    if ties is None:
        return rows
    share = float(np.mean(hits))
    sums = np.bincount(ties.codes, hits - share, ties.n)
    variance = ties.n / (ties.n - 1) * float(np.square(sums).sum()) / rows**2
    if share in (0.0, 1.0):
        rows = float(ties.n)
    elif variance > 0:
        rows = min(rows, share * (1 - share) / variance)
    return rows * (_Z / _student(ties.n)) ** 2


def tie_note(groups: AnyArray | None) -> str:
    """What a reader must know of intervals where groups are few; empty where they are many, or rows go alone.

    Parameters
    ----------
    groups : ndarray of int (n,) or None
        Rows of one number go together.
    """
    if groups is None or len(groups) < 2:
        return ""
    found = len(np.unique(groups))
    if found == 1:
        return (
            f"All {len(groups):,} test rows go together: intervals and p values take them one by one, and tell nothing "
            "of rows of other groups, for which they are too narrow."
        )
    if found >= FEW or found == len(groups):
        return ""
    return (
        f"The {len(groups):,} test rows are of {found} groups of rows that go together: intervals and p values rest on "
        "so few, and are rough."
    )


def _student(n: int) -> float:
    """Student's 97.5 % quantile for a sample of n."""
    from scipy.stats import t

    return float(t.ppf(0.975, n - 1))

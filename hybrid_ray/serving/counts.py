"""Requests counted over replicas that come and go."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hybrid_ray.serving.verdict import Tally

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, math.inf)
"""Ends of the bins in which answers' times are counted."""


@dataclass(frozen=True)
class Counts:
    """What was counted of one version.

    Attributes
    ----------
    requests, errors, slow, dropped : int
        Answered; failed; slower than the rule says; rows that the log could not keep.
    seconds : float
        All answers together.
    bins : tuple of int
        Answers by how long they took, see ``SECONDS``.
    """

    requests: int = 0
    errors: int = 0
    slow: int = 0
    dropped: int = 0
    seconds: float = 0.0
    bins: tuple[int, ...] = (0,) * len(SECONDS)

    def __add__(self, other: Counts) -> Counts:
        return self._with(other, 1)

    def __sub__(self, other: Counts) -> Counts:
        return self._with(other, -1)

    def _with(self, other: Counts, sign: int) -> Counts:
        return Counts(
            self.requests + sign * other.requests,
            self.errors + sign * other.errors,
            self.slow + sign * other.slow,
            self.dropped + sign * other.dropped,
            self.seconds + sign * other.seconds,
            tuple(mine + sign * theirs for mine, theirs in zip(self.bins, other.bins, strict=True)),
        )

    def tally(self) -> Tally:
        """What a canary is judged by, without labels."""
        return Tally(self.requests, self.errors, self.slow)

    def quantile(self, share: float) -> float:
        """Seconds that a share of the answers took at most: the end of their bin; NaN where there are none."""
        if not self.requests:
            return math.nan
        below = 0
        for end, count in zip(SECONDS, self.bins, strict=True):
            below += count
            if below >= share * self.requests:
                return end
        return math.inf


class Counter:
    """What one replica counts of one version; on its event loop only."""

    def __init__(self) -> None:
        self._requests = self._errors = self._slow = 0
        self._seconds = 0.0
        self._bins = [0] * len(SECONDS)

    def add(self, seconds: float, *, failed: bool, slow_ms: float | None = None) -> None:
        """Count one request; it was slow if it took more than ``slow_ms``, where that is said."""
        self._requests += 1
        self._errors += failed
        self._slow += slow_ms is not None and seconds * 1000 > slow_ms
        self._seconds += seconds
        self._bins[bisect_left(SECONDS, seconds)] += 1

    def counts(self, dropped: int = 0) -> Counts:
        """All that was counted until now."""
        return Counts(self._requests, self._errors, self._slow, dropped, self._seconds, tuple(self._bins))


class Totals:
    """Counts of all replicas together. What a replica counted stays when it goes, or begins anew."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, int], Counts] = {}
        self._gone: dict[int, Counts] = {}

    def report(self, replica: str, counts: Mapping[int, Counts]) -> None:
        """Take all that a replica has counted since it began, by version."""
        for version, now in counts.items():
            before = self._last.get((replica, version))
            if before is not None and now.requests < before.requests:
                self._gone[version] = self._gone.get(version, Counts()) + before
            self._last[replica, version] = now

    def forget(self, living: Iterable[str]) -> None:
        """Replicas that are no more are not held by name any longer."""
        kept = set(living)
        for replica, version in [key for key in self._last if key[0] not in kept]:
            self._gone[version] = self._gone.get(version, Counts()) + self._last.pop((replica, version))

    def now(self) -> dict[int, Counts]:
        """By version."""
        found = dict(self._gone)
        for (_, version), counts in self._last.items():
            found[version] = found.get(version, Counts()) + counts
        return found

"""How often somebody may ask."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

MOST = 10_000
"""Askers that are remembered: of more, those that asked least lately are forgotten, which gives them a full bucket."""


class RateLimit:
    """A bucket of requests for each asker, that fills evenly and holds one second's worth, a request at least.

    Parameters
    ----------
    clock : callable, default time.monotonic
        Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, asker: str, per_second: float) -> int:
        """Take a request from an asker's bucket: 0, or the whole seconds after which there is one again.

        Parameters
        ----------
        asker : str
        per_second : float
            Requests in the long run, above 0.
        """
        now, most = self._clock(), max(per_second, 1.0)
        left, since = self._held.pop(asker, (most, now))
        left = min(most, left + (now - since) * per_second)
        wait = 0 if left >= 1 else math.ceil((1 - left) / per_second)
        self._held[asker] = (left if wait else left - 1, now)
        if len(self._held) > MOST:
            self._held.popitem(last=False)
        return wait

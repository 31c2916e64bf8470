"""What long work tells the person who waits for it.

A room that works for long takes a :class:`Progress` and opens a stage; what becomes of it (a live display, plain
lines, nothing) is the business of whoever made it. This module is pure, so that every room may import it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, Self


def duration(seconds: float) -> str:
    """Seconds for people: ``0.42 s``, ``12.3 s``, ``3 min 05 s``, ``2 h 04 min``."""
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


class Stage(Protocol):
    """One stage of a run while it is open."""

    def advance(self, n: int = 1, note: str = "") -> None:
        """``n`` more units (rows, candidates) are done; a non-empty ``note`` replaces the one that is shown."""

    def note(self, text: str) -> None:
        """Show a short text beside the stage: what is being done, the best score so far."""


class Progress(Protocol):
    """Where stages are reported. Used as a context manager: leaving it ends every display.

    Attributes
    ----------
    seconds : dict of str to float
        Wall time of each stage that ended, failed ones included, in the order of their first end; a stage that was
        opened several times has the sum.
    """

    seconds: dict[str, float]

    def stage(self, name: str, total: int | None = None) -> AbstractContextManager[Stage]:
        """Open a stage; ``total`` is the number of units when it is known. Stages may stand within each other."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...


class Timings:
    """Keeps the seconds of each stage: what every implementation of :class:`Progress` starts from.

    Parameters
    ----------
    clock : callable, default time.monotonic
        Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds: dict[str, float] = {}
        self.clock = clock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    @contextmanager
    def timed(self, name: str) -> Iterator[float]:
        """Add the time spent inside to ``seconds[name]``, however it ends; gives the time of the start."""
        start = self.clock()
        try:
            yield start
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self.clock() - start


class _SilentStage:
    def advance(self, n: int = 1, note: str = "") -> None:
        pass

    def note(self, text: str) -> None:
        pass


class SilentProgress(Timings):
    """Says nothing, and still records the seconds of each stage."""

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Stage]:
        """A stage that nobody sees."""
        with self.timed(name):
            yield _SilentStage()

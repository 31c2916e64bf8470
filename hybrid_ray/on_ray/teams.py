"""Teams of Ray Train: how they are started, how quietly, and what is said of one that fails."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from hybrid_ray.errors import HybridRayError, RunFailedError

STARTS = 4
"""Times that Ray Train waits again for workers that do not start, a minute each; as it comes, it waits for ever."""
_LONGEST = 500


class LostWorkersError(RunFailedError):
    """Workers ended, or could not reach each other: the next attempt may do better."""


def worker_fault(error: BaseException, what: str) -> HybridRayError:
    """What a worker raised on purpose, else what failed and how.

    Parameters
    ----------
    error : BaseException
        What came out of the trainer: ``worker_failures`` has the workers' own errors, each around the original.
    what : str
        That the team did: start of the message.
    """
    failures = [*getattr(error, "worker_failures", {}).values()]
    causes = [getattr(failure, "_base_exc", failure) for failure in failures] or [error]
    ours = next((cause for cause in causes if isinstance(cause, HybridRayError)), None)
    if ours is not None:
        return ours
    line = (str(causes[0]).strip().splitlines() or [""])[-1]
    return LostWorkersError(f"{what}: its workers must not fail; got {type(causes[0]).__name__}: {line[:_LONGEST]}")


@contextmanager
def quietly() -> Iterator[None]:
    """Keep Ray Train's log off the terminal, and leave Ctrl-C to whoever had it: its trainer takes it for good."""
    logger = logging.getLogger("ray.train")
    level = logger.level
    logger.setLevel(logging.ERROR)
    ours = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if ours else None
    try:
        yield
    finally:
        logger.setLevel(level)
        if ours:
            signal.signal(signal.SIGINT, handler)

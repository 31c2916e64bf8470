"""A call that must end by a moment on the wall clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from hybrid_ray.errors import HybridRayError

Result = TypeVar("Result")


class TimeUpError(HybridRayError, RuntimeError):
    """A fit would not end, or did not end, before the search's time was up."""


def call_until(call: Callable[[], Result], until: float | None, expected_s: float = 0.0) -> Result:
    """What a call returns, if it returns in time.

    A call that is late goes on in its thread, unseen, until its process ends: nothing in Python can stop it.

    Parameters
    ----------
    call : callable
    until : float or None
        As ``time.time()``; None: there is time for everything.
    expected_s : float, default 0
        What it will take, as far as is known.

    Raises
    ------
    TimeUpError
        It would not end in time and was not begun, or it did not end in time.
    """
    if until is None:
        return call()
    left = until - time.time()
    if left <= expected_s:
        raise TimeUpError(f"a fit must end in {max(left, 0.0):.1f} s; it would take {expected_s:.1f} s")
    answers: list[Result] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            answers.append(call())
        except Exception as error:  # it belongs to whoever waits
            errors.append(error)

    thread = threading.Thread(target=work, name="fit", daemon=True)
    thread.start()
    thread.join(left)
    if errors:
        raise errors[0]
    if not answers:
        raise TimeUpError(f"a fit must end in {left:.1f} s; it did not")
    return answers[0]

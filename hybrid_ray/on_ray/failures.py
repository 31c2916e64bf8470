"""What a Ray Data worker raised, as an error of ours: Ray gives its own exception and a printed traceback."""

from __future__ import annotations

import re

from hybrid_ray import errors
from hybrid_ray.errors import BadInputError, HybridRayError, RunFailedError

_CHAINED = "The above exception was the direct cause of the following exception:"
_OURS = re.compile(r"hybrid_ray\.errors\.(?P<name>\w+): (?P<said>.*)")
_LONGEST = 500


def worker_error(error: BaseException, where: str) -> HybridRayError:
    """The error that the worker's code raised.

    Ray Data wraps it in exceptions of its own, whose ``__cause__`` does not survive the way to the driver; its last
    line does, in the printed traceback.

    Parameters
    ----------
    error : BaseException
        What came out of the dataset.
    where : str
        Start of the message.

    Returns
    -------
    HybridRayError
        A BadInputError with the same message when the worker raised one of these; else a RunFailedError.
    """
    said = _last_words(str(error)) or type(error).__name__
    match = _OURS.fullmatch(said)
    kind = getattr(errors, match["name"], None) if match else None
    if match and isinstance(kind, type) and issubclass(kind, HybridRayError):
        return BadInputError(match["said"]) if issubclass(kind, BadInputError) else RunFailedError(match["said"])
    return RunFailedError(f"{where}: its workers must not fail; got {said[:_LONGEST]}")


def _last_words(text: str) -> str:
    """The line of the exception that Ray's own was raised from; else the first line there is."""
    before, chained, _ = text.rpartition(_CHAINED)
    lines = [line.strip() for line in (before if chained else text).splitlines() if line.strip()]
    if not lines:
        return ""
    return lines[-1] if chained else lines[0]

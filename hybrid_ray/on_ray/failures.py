"""When a dataset of Ray Data fails: its workers let go, and what they raised as an error of ours."""

from __future__ import annotations

import gc
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from hybrid_ray import errors
from hybrid_ray.errors import BadInputError, HybridRayError, RunFailedError

_CHAINED = "The above exception was the direct cause of the following exception:"
_OURS = re.compile(r"hybrid_ray\.errors\.(?P<name>\w+): (?P<said>.*)")
_LONGEST = 500


@contextmanager
def letting_go() -> Iterator[None]:
    """Around the execution of a dataset: when it fails, its actors give their CPUs back.

    Ray Data ends its actors by dropping what refers to them. But the frames of a traceback refer to the executor, for
    as long as somebody keeps the exception, and both lie in cycles, which are not collected while the driver waits for
    one of these CPUs.
    """
    try:
        yield
    except BaseException as error:
        chain: list[BaseException] = [error]
        for one in chain:
            for frame, _ in traceback.walk_tb(one.__traceback__):
                _clear(frame)
            chain += [other for other in (one.__cause__, one.__context__) if other is not None and other not in chain]
        gc.collect()
        raise


def _clear(frame: FrameType | None) -> None:
    """Drop the local variables of a frame and of its callers, up to one that still runs."""
    with suppress(RuntimeError):
        while frame is not None:
            frame.clear()
            frame = frame.f_back


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

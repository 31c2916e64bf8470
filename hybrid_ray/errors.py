"""The errors of hybrid_ray: one root, and the exit code that each kind deserves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class HybridRayError(Exception):
    """Root of every error that hybrid_ray raises on purpose.

    Messages read ``<where>: <what must hold>; got <value>. <what to do>``.
    """

    exit_code: ClassVar[int] = 1


class BadInputError(HybridRayError, ValueError):
    """The user asked for something that cannot be: the command line exits with 2."""

    exit_code: ClassVar[int] = 2


class SpecError(BadInputError):
    """A spec is not valid.

    Parameters
    ----------
    faults : sequence of str
        Every fault found, one line each, as ``<yaml path>: <what must hold>; got <value>``.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(self.faults))


class DataError(BadInputError):
    """The rows cannot be read, or cannot serve the task."""


class BadRowsError(DataError):
    """More rows hold something unreadable than ``data.max_bad_fraction`` allows.

    Parameters
    ----------
    message : str
    rejects : sequence of (int, str, str)
        Row number, column and reason of those that are known.
    """

    def __init__(self, message: str, rejects: Sequence[tuple[int, str, str]]) -> None:
        self.rejects = tuple(rejects)
        super().__init__(message)


class HubError(BadInputError):
    """Weights have to come from a hub that does not answer."""


class ResourceError(BadInputError):
    """The plan asks for more than the cluster has."""


class StoreError(BadInputError):
    """The store cannot be reached, read or written."""


class ArtifactError(BadInputError):
    """A saved graph is damaged, unsafe, or newer than this code."""


class NotFittedError(HybridRayError, RuntimeError):
    """A fitted object was needed."""


class RunFailedError(HybridRayError, RuntimeError):
    """A run stopped for a reason that is not the user's; what was done is kept."""


class TooSlowError(HybridRayError, RuntimeError):
    """A training that a run can go without would take more than its share of the run's time."""

"""What a sampler proposed, as a record can hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class Proposal:
    """A point of a search space and the ranges that it was drawn from.

    Attributes
    ----------
    params : mapping of str to value
        By parameter name.
    ranges : mapping of str to str
        Optuna's distribution of each parameter, as JSON.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    ranges: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, trial: Any) -> Self:
        """What an Optuna trial was asked for so far."""
        from optuna.distributions import distribution_to_json

        ranges = {name: distribution_to_json(found) for name, found in trial.distributions.items()}
        return cls(dict(trial.params), ranges)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able form; ``Proposal(**form)`` gives it back."""
        return {"params": dict(self.params), "ranges": dict(self.ranges)}

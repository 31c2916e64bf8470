"""A candidate: one point of the search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from hybrid_ray.digests import digest_json


@dataclass(frozen=True)
class Candidate:
    """Extractors, preparation, a feature fusion, an estimator, and their parameters.

    Attributes
    ----------
    blocks : tuple of str
        Ids of the extractors whose features it uses, sorted.
    fusion, estimator : str
        Registered names.
    fusion_params, params : mapping
        Parameters, as fields of the plugins' ``Params``; fields left out have their defaults.
    steps : tuple of mapping
        Preparation of the training rows, in order: ``{"name": registered name, "params": fields of its Params}``.
    """

    blocks: tuple[str, ...]
    fusion: str
    estimator: str
    fusion_params: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", tuple(sorted(self.blocks)))
        object.__setattr__(self, "steps", tuple(self.steps))

    def to_json(self) -> dict[str, Any]:
        """A JSON-able form; ``Candidate(**form)`` gives the candidate back. No steps are no entry."""
        form: dict[str, Any] = {
            "blocks": list(self.blocks),
            "fusion": self.fusion,
            "estimator": self.estimator,
            "fusion_params": dict(self.fusion_params),
            "params": dict(self.params),
        }
        if self.steps:
            form["steps"] = [{"name": step["name"], "params": dict(step["params"])} for step in self.steps]
        return form

    @cached_property
    def key(self) -> str:
        """Digest of all that it is."""
        return digest_json(self.to_json())

    @property
    def label(self) -> str:
        """Short name for people: ``logistic(cnn+pixels)#1f3a``."""
        return f"{self.estimator}({'+'.join(self.blocks)})#{self.key[:4]}"

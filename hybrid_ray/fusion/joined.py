"""Data-level fusion: several texts of a row as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from hybrid_ray.fusion.base import DataFusion, Fused
from hybrid_ray.fusion.wording import readable, within
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import Batch, Kind


class JoinedParams(PluginParams):
    """Parameters of :class:`Joined`."""

    markers: bool = True
    """True: each text follows the name of its column: ``title: …``."""
    separator: str = Field("\n", max_length=64)
    """What stands between two texts."""
    missing: str = Field("missing", max_length=64)
    """What stands in place of a missing text; empty: the text is left out."""
    max_characters: int = Field(1000, ge=16, le=1_000_000)
    """Length of the whole; where it would be longer, the longest texts are cut. 1000 is about what an encoder of 256
    tokens reads; raise it for an extractor that reads everything."""


@FUSIONS.register("joined")
class Joined(DataFusion):
    """Texts one after another, as they are, in the order of their columns' names."""

    takes: ClassVar[frozenset[Kind]] = frozenset({"text"})
    gives: ClassVar[Kind] = "text"
    Params = JoinedParams

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """With markers and missing texts stated, and bare."""
        yield JoinedParams()
        yield JoinedParams(markers=False, separator=" ", missing="", max_characters=300)

    def combine(self, inputs: Batch, kinds: Mapping[str, Kind]) -> Fused:
        """Texts (n,).

        Raises
        ------
        KeyError
            A column is not there.
        """
        self._check_there(kinds, inputs)
        names = sorted(kinds)
        rows = list(zip(*(inputs[name] for name in names), strict=True))
        values = np.empty(len(rows), object)
        values[:] = [self._text(names, row) for row in rows]
        return Fused(values, {})

    def _text(self, names: Sequence[str], texts: Sequence[str | None]) -> str | None:
        if all(text is None for text in texts):
            return None
        p = self.params
        there = [(name, text or p.missing) for name, text in zip(names, texts, strict=True) if text or p.missing]
        heads = [f"{readable(name)}: " if p.markers else "" for name, _ in there]

        def build(parts: Sequence[str]) -> str:
            return str(p.separator.join(head + part for head, part in zip(heads, parts, strict=True)))

        return within([text for _, text in there], p.max_characters, build)

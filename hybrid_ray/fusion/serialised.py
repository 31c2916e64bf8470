"""Data-level fusion: the cells of a row, of any kind but images, as one text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from hybrid_ray.fusion.base import DataFusion, Fused
from hybrid_ray.fusion.wording import readable, within, words
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import Batch, Kind


class SerialisedParams(PluginParams):
    """Parameters of :class:`Serialised`."""

    template: Literal["pairs", "sentences"] = "pairs"
    """pairs: ``brand: nike; price: 12.5``; sentences: ``The brand is nike. The price is 12.5.``."""
    digits: int = Field(4, ge=1, le=17)
    """Significant digits of numbers that are not whole; whole numbers are written as they are."""
    missing: str = Field("missing", max_length=64)
    """What stands in place of a missing part; empty: the part is left out."""
    max_characters: int = Field(1000, ge=16, le=1_000_000)
    """Length of the text; where it would be longer, the longest parts are cut. 1000 is about what an encoder of 256
    tokens reads."""


@FUSIONS.register("serialised")
class Serialised(DataFusion):
    """Names and values of columns as a text: any extractor of texts then reads a table, or a table and its texts.

    Whole numbers stand as they are, others rounded; ``true`` and ``false`` are yes and no; dates are ISO, with the time
    where it is not midnight. Texts come after the other columns, each group in the order of names.

    References
    ----------
    Hegselmann et al., "TabLLM: few-shot classification of tabular data with large language models", AISTATS 2023
    (templates). Dinh et al., "LIFT: language-interfaced fine-tuning for non-language machine learning tasks",
    NeurIPS 2022.
    """

    takes: ClassVar[frozenset[Kind]] = frozenset({"numeric", "categorical", "date", "text"})
    gives: ClassVar[Kind] = "text"
    Params = SerialisedParams

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Both templates, missing parts stated and left out."""
        yield SerialisedParams()
        yield SerialisedParams(template="sentences", digits=3)
        yield SerialisedParams(missing="", max_characters=500)

    def combine(self, inputs: Batch, kinds: Mapping[str, Kind]) -> Fused:
        """Texts (n,).

        Raises
        ------
        KeyError
            A column is not there.
        """
        self._check_there(kinds, inputs)
        names = sorted(kinds, key=lambda name: (kinds[name] == "text", name))
        columns = [words(inputs[name], kinds[name], self.params.digits) for name in names]
        heads = [readable(name) for name in names]
        rows = list(zip(*columns, strict=True))
        values = np.empty(len(rows), object)
        values[:] = [self._text(heads, row) for row in rows]
        return Fused(values, {})

    def _text(self, heads: Sequence[str], cells: Sequence[str | None]) -> str | None:
        if all(cell is None for cell in cells):
            return None
        p = self.params
        there = [(head, cell or p.missing) for head, cell in zip(heads, cells, strict=True) if cell or p.missing]
        names = [head for head, _ in there]

        def build(parts: Sequence[str]) -> str:
            if p.template == "pairs":
                return "; ".join(f"{name}: {part}" for name, part in zip(names, parts, strict=True))
            return " ".join(f"The {name} is {part}." for name, part in zip(names, parts, strict=True))

        return within([part for _, part in there], p.max_characters, build)

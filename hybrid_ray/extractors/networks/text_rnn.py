"""Features of a recurrent network with attention over words, trained on the training rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.networks.text import TAGS, TextExtractor, TextParams
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import Kind

if TYPE_CHECKING:
    from torch import nn


class TextRnnParams(TextParams):
    """Parameters of ``text_rnn``."""

    cell: Literal["lstm", "gru"] = "lstm"
    """What is recurrent."""
    hidden: int = Field(128, ge=1, le=2048)
    """Length of its state, in each direction."""
    layers: int = Field(1, ge=1, le=8)
    """How many lie on each other."""


@EXTRACTORS.register("text_rnn")
class TextRnnExtractor(TextExtractor):
    """States of a network that reads a text forwards and backwards, weighted by what it has learned to look at.

    References
    ----------
    Zhou et al., "Attention-based bidirectional long short-term memory networks for relation classification", ACL 2016;
    the weights are those of Yang et al., "Hierarchical attention networks for document classification", NAACL 2016,
    equations 5 to 7.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = replace(TAGS, version=2)
    Params: ClassVar[type[PluginParams]] = TextRnnParams

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """A tiny LSTM on one column, a GRU of two layers on two."""
        few = {"embedding": 4, "hidden": 3, "epochs": 2, "min_count": 1}
        yield TextRnnParams(**few), {"text": "text"}
        yield TextRnnParams(**few, cell="gru", layers=2, schedule="plateau"), {"title": "text", "body": "text"}

    @property
    def item_features(self) -> int:
        """The state of both directions."""
        return int(2 * self.params.hidden)

    def trunk(self) -> nn.Module:
        """The recurrent network and its attention."""
        from hybrid_ray.extractors.networks.text_nets import RecurrentText

        p = self.params
        return RecurrentText(len(self.vocabulary), p.embedding, p.hidden, p.layers, p.cell)

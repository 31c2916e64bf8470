"""Features of a small transformer over words, trained on the training rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.networks.text import STEPS, TAGS, TextExtractor, TextParams, lengths_of
from hybrid_ray.extractors.networks.transformer import TransformerParams, by_attention
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray, Kind

if TYPE_CHECKING:
    from torch import nn


class TextTransformerParams(TransformerParams, TextParams):
    """Parameters of ``text_transformer``."""


@EXTRACTORS.register("text_transformer")
class TextTransformerExtractor(TextExtractor):
    """The mean of what layers of attention make of the words of a text and of their order.

    Time grows with the square of a text's length, of which ``max_tokens`` is the bound; longer texts go through the
    network fewer at a time.

    References
    ----------
    Vaswani et al., "Attention is all you need", NeurIPS 2017; normalised before each layer, as Xiong et al., "On layer
    normalization in the transformer architecture", ICML 2020, have it; places are those of Su et al., "RoFormer:
    enhanced transformer with rotary position embedding", Neurocomputing 2024.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = TAGS
    Params: ClassVar[type[PluginParams]] = TextTransformerParams

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """A tiny network on one column, one of a single head on two."""
        few = {"embedding": 4, "epochs": 2, "min_count": 1}
        yield TextTransformerParams(**few, width=6, heads=2), {"text": "text"}
        yield (
            TextTransformerParams(**few, width=5, heads=1, layers=1, max_tokens=4, schedule="plateau"),
            {"title": "text", "body": "text"},
        )

    @property
    def item_features(self) -> int:
        """The width of the layers."""
        return int(self.params.width)

    def trunk(self) -> nn.Module:
        """The layers over the words' vectors."""
        from hybrid_ray.extractors.networks.text_nets import TransformerText

        p = self.params
        return TransformerText(len(self.vocabulary), p.embedding, p.width, p.heads, p.layers, p.inner_dropout)

    def passes(self, items: Mapping[str, AnyArray]) -> list[AnyArray]:
        """Texts of about the same length together, of long ones fewer."""
        return by_attention(lengths_of(items), STEPS)

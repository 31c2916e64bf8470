"""Features of a convolutional network over words, trained on the training rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.networks.text import TAGS, TextExtractor, TextParams
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import Kind

if TYPE_CHECKING:
    from torch import nn


class TextCnnParams(TextParams):
    """Parameters of ``text_cnn``."""

    filters: int = Field(100, ge=1, le=2048)
    """Patterns of each width; each is one feature."""
    widths: tuple[Annotated[int, Field(ge=1, le=32)], ...] = Field((3, 4, 5), min_length=1)
    """Words in a row that a pattern looks at."""


@EXTRACTORS.register("text_cnn")
class TextCnnExtractor(TextExtractor):
    """How well each of some learned patterns of words fits where it fits best in a text.

    References
    ----------
    Kim, "Convolutional neural networks for sentence classification", EMNLP 2014 (CNN-rand).
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = TAGS
    Params: ClassVar[type[PluginParams]] = TextCnnParams

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """A tiny network on one column, and on two."""
        few = {"embedding": 4, "filters": 3, "epochs": 2, "min_count": 1}
        yield TextCnnParams(**few), {"text": "text"}
        yield TextCnnParams(**few, widths=(1, 2), optimizer="sgd", schedule="step"), {"title": "text", "body": "text"}

    @property
    def item_features(self) -> int:
        """Patterns of all widths."""
        return int(self.params.filters * len(self.params.widths))

    def trunk(self) -> nn.Module:
        """The patterns over the words' vectors."""
        from hybrid_ray.extractors.networks.text_nets import ConvolutionalText

        p = self.params
        return ConvolutionalText(len(self.vocabulary), p.embedding, p.filters, p.widths)

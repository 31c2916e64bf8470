"""Features of a small transformer over series, trained on the training rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.networks.series import LENGTHS, PASS, TAGS, SeriesExtractor, SeriesParams
from hybrid_ray.extractors.networks.transformer import TransformerParams, by_attention
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray, Kind

if TYPE_CHECKING:
    from torch import nn


class SeriesTransformerParams(TransformerParams, SeriesParams):
    """Parameters of ``series_transformer``."""

    max_steps: int = Field(512, ge=4, le=8192)
    """Steps that are read; of longer series neighbours are put together by their means."""
    patch: int = Field(8, ge=1, le=1024)
    """Steps that are one token together; each begins in the middle of the one before it."""

    @property
    def stride(self) -> int:
        """Steps from the beginning of a token to that of the next one."""
        return max(self.patch // 2, 1)


@EXTRACTORS.register("series_transformer")
class SeriesTransformerExtractor(SeriesExtractor):
    """The mean of what layers of attention make of short stretches of a series and of their order.

    Time grows with the square of a series' stretches, of which ``max_steps`` and ``patch`` are the bound; longer series
    go through the network fewer at a time.

    References
    ----------
    Vaswani et al., "Attention is all you need", NeurIPS 2017; normalised before each layer, as Xiong et al., "On layer
    normalization in the transformer architecture", ICML 2020, have it; places are those of Su et al., "RoFormer:
    enhanced transformer with rotary position embedding", Neurocomputing 2024; stretches of steps as tokens are those of
    Nie et al., "A time series is worth 64 words: long-term forecasting with transformers", ICLR 2023.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = TAGS
    Params: ClassVar[type[PluginParams]] = SeriesTransformerParams

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """A tiny network on one column, one that takes each step by itself on two."""
        few = {"channels": 2, "epochs": 2}
        yield SeriesTransformerParams(**few, width=6, heads=2, patch=3), {"signal": "series"}
        yield (
            SeriesTransformerParams(**few, width=5, heads=1, layers=1, patch=1, max_steps=8, lags=(1, 3), difference=1),
            {"left": "series", "right": "series"},
        )

    @property
    def item_features(self) -> int:
        """The width of the layers."""
        return int(self.params.width)

    def trunk(self) -> nn.Module:
        """The layers over stretches of steps."""
        from hybrid_ray.extractors.networks.series_nets import TransformerSeries

        p = self.params
        return TransformerSeries(2 * self.n_read, p.patch, p.stride, p.width, p.heads, p.layers, p.inner_dropout)

    def passes(self, items: Mapping[str, AnyArray]) -> list[AnyArray]:
        """Series of about the same length together, of long ones fewer."""
        stride = self.params.stride
        return by_attention(-(-items[LENGTHS] // stride), max(PASS // stride, 1))

"""Features of a temporal convolution network, trained on the training rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.networks.series import TAGS, SeriesExtractor, SeriesParams
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import Kind

if TYPE_CHECKING:
    from torch import nn


class SeriesCnnParams(SeriesParams):
    """Parameters of ``series_cnn``."""

    filters: int = Field(64, ge=1, le=2048)
    """Patterns of each block; each gives two features, its mean and its largest answer."""
    blocks: int = Field(4, ge=1, le=12)
    """Residual blocks; each looks twice as far as the one before."""
    half_width: int = Field(2, ge=1, le=16)
    """Steps to either side that a pattern of the first block looks at."""


@EXTRACTORS.register("series_cnn")
class SeriesCnnExtractor(SeriesExtractor):
    """How strongly some learned patterns of steps answer to a series, in the mean and where they answer most.

    References
    ----------
    Bai, Kolter and Koltun, "An empirical evaluation of generic convolutional and recurrent networks for sequence
    modeling", 2018 (arXiv 1803.01271): dilated residual blocks, here looking both ways; Wang, Yan and Oates, "Time
    series classification from scratch with deep neural networks", IJCNN 2017: pooling over all steps.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = TAGS
    Params: ClassVar[type[PluginParams]] = SeriesCnnParams

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """A tiny network on one column, and on two."""
        few = {"channels": 2, "filters": 4, "blocks": 2, "epochs": 2}
        yield SeriesCnnParams(**few), {"signal": "series"}
        yield SeriesCnnParams(**few, max_steps=8, jitter=0), {"left": "series", "right": "series"}

    @property
    def item_features(self) -> int:
        """Two of each pattern of the last block."""
        return int(2 * self.params.filters)

    def trunk(self) -> nn.Module:
        """The blocks."""
        from hybrid_ray.extractors.networks.series_nets import ConvolutionalSeries

        p = self.params
        return ConvolutionalSeries(2 * self.n_read, p.filters, p.blocks, 2 * p.half_width + 1)

"""Features of a recurrent network with attention over series, trained on the training rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.networks.series import TAGS, SeriesExtractor, SeriesParams
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import Kind

if TYPE_CHECKING:
    from torch import nn


class SeriesRnnParams(SeriesParams):
    """Parameters of ``series_rnn``."""

    cell: Literal["lstm", "gru"] = "lstm"
    """What is recurrent."""
    hidden: int = Field(64, ge=1, le=2048)
    """Length of its state, in each direction."""
    layers: int = Field(1, ge=1, le=8)
    """How many lie on each other."""


@EXTRACTORS.register("series_rnn")
class SeriesRnnExtractor(SeriesExtractor):
    """States of a network that reads a series forwards and backwards, weighted by what it has learned to look at.

    References
    ----------
    Zhou et al., "Attention-based bidirectional long short-term memory networks for relation classification", ACL 2016.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = replace(TAGS, version=2)
    Params: ClassVar[type[PluginParams]] = SeriesRnnParams

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """A tiny LSTM on one column, a GRU on two."""
        few = {"channels": 2, "hidden": 3, "epochs": 2}
        yield SeriesRnnParams(**few), {"signal": "series"}
        yield (
            SeriesRnnParams(**few, cell="gru", max_steps=8, lags=(1, 3), difference=1),
            {"left": "series", "right": "series"},
        )

    @property
    def item_features(self) -> int:
        """The state of both directions."""
        return int(2 * self.params.hidden)

    def trunk(self) -> nn.Module:
        """The recurrent network and its attention."""
        from hybrid_ray.extractors.networks.recurrent import AttentiveRecurrent

        p = self.params
        return AttentiveRecurrent(2 * self.n_read, p.hidden, p.layers, p.cell)

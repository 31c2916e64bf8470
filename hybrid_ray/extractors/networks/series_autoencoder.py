"""Features of a network that learns to draw series again from a few numbers; labels are not looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.networks.redrawing import RedrawingExtractor
from hybrid_ray.extractors.networks.series import STEPS, SeriesExtractor, SeriesReading
from hybrid_ray.extractors.trained import Training
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray, Kind

if TYPE_CHECKING:
    import torch
    from torch import nn

    from hybrid_ray.training.loop import Learner

CHANGED = "changed"


class SeriesAutoencoderParams(SeriesReading):
    """Parameters of ``series_autoencoder``."""

    layers: Literal["recurrent", "convolutional"] = "convolutional"
    """What the network is made of. recurrent: an LSTM that reads a series and another that draws it; convolutional:
    convolutions that halve its length twice, and others that double it."""
    width: int = Field(32, ge=1, le=1024)
    """Length of the state of an LSTM, or filters of a convolution."""
    features: int = Field(8, ge=1, le=1024)
    """Numbers from which a series is drawn again, of a convolutional network at every fourth step: its vector holds
    them, there their means."""
    errors: bool = True
    """True: the vector also holds how badly each channel is drawn again, in deviations of the channel."""


@EXTRACTORS.register("series_autoencoder")
class SeriesAutoencoderExtractor(RedrawingExtractor, SeriesExtractor):
    """The few numbers from which a network draws a series again, and how far off it is in each channel.

    It learns to take away the noise that ``jitter`` adds. Where it is trained on normal rows, errors tell how unlike
    them a row is.

    References
    ----------
    Malhotra et al., "LSTM-based encoder-decoder for multi-sensor anomaly detection", 2016 (arXiv 1607.00148);
    Katser and Kozitsin, "Skoltech anomaly benchmark (SKAB)", 2020: the convolutional one.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = ExtractorTags(
        modality="series", kinds=frozenset({"series"}), trained=True, gpu=True, spreads=True
    )
    Params: ClassVar[type[PluginParams]] = SeriesAutoencoderParams

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """Tiny networks: convolutions on one column, LSTMs on two."""
        few = {"channels": 2, "width": 4, "features": 3, "epochs": 2}
        yield SeriesAutoencoderParams(**few), {"signal": "series"}
        more = {**few, "layers": "recurrent", "max_steps": 8, "jitter": 0}
        yield SeriesAutoencoderParams(**more), {"left": "series", "right": "series"}

    @property
    def n_errors(self) -> int:
        """One of each number of a step, where they are asked for."""
        return self.n_read if self.params.errors else 0

    @property
    def item_features(self) -> int:
        """The numbers that a series is drawn from, and the errors."""
        return int(self.params.features) + self.n_errors

    def trunk(self) -> nn.Module:
        """Both halves: what makes numbers of a series, and what draws it again to see how well that goes."""
        from hybrid_ray.extractors.networks.series_redrawing import SeriesAutoencoder

        p = self.params
        return SeriesAutoencoder(p.layers, self.n_read, p.width, p.features, p.errors)

    def learner(self, training: Training) -> Learner:
        """The network, and the rows of a training."""
        from hybrid_ray.extractors.networks.redrawing_learner import RedrawerLearner

        arrays, filled = self.encoded_rows(training.arrays)
        return RedrawerLearner(self, arrays | {CHANGED: arrays[STEPS]}, filled, self._device)

    def collate(self, items: Mapping[str, AnyArray], device: str) -> tuple[torch.Tensor, ...]:
        """As of any series network; of training the series with noise, and again without."""
        if CHANGED not in items:
            return super().collate(items, device)
        clean, lengths = super().collate(items, device)
        noisy, _ = super().collate({**items, STEPS: items[CHANGED]}, device)
        return noisy, lengths, clean

    def augment(self, items: Mapping[str, AnyArray], rng: np.random.Generator) -> dict[str, AnyArray]:
        """Series with noise, to be drawn without it."""
        return {CHANGED: super().augment(items, rng)[STEPS]}

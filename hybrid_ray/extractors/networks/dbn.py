"""Features of a deep belief network: layers that first learn what images look like, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.imaging import PIXELS, Stretch, read_images
from hybrid_ray.extractors.items import Items
from hybrid_ray.extractors.networks.base import NetworkExtractor, NetworkParams
from hybrid_ray.extractors.trained import Training
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray, Kind

if TYPE_CHECKING:
    import torch
    from torch import nn

    from hybrid_ray.training.loop import Learner


class DbnParams(NetworkParams):
    """Parameters of ``dbn``."""

    size: int = Field(16, ge=2, le=64)
    """Side of the square that images are brought to."""
    mode: Literal["grey", "rgb"] = "grey"
    """grey: one number a pixel; rgb: three."""
    layers: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field((256, 64), min_length=1, max_length=8)
    """Units of each layer; the last one's are the features."""
    pretrain_epochs: int = Field(100, ge=0, le=1000)
    """Passes in which each layer learns what its inputs look like; 0: the same network from random weights."""
    pretrain_lr: float = Field(0.1, gt=0, le=1)
    """Learning rate of these passes."""


@EXTRACTORS.register("dbn")
class DbnExtractor(NetworkExtractor):
    """Boltzmann machines on each other, each trained on what the one below makes of images, then all on the labels.

    References
    ----------
    Hinton, Osindero and Teh, "A fast learning algorithm for deep belief nets", Neural Computation 18, 2006; each
    machine by persistent contrastive divergence (Tieleman, ICML 2008) as scikit-learn has it.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = ExtractorTags(
        modality="image", kinds=frozenset({"image"}), trained=True, supervised=True, gpu=True, spreads=True
    )
    Params: ClassVar[type[PluginParams]] = DbnParams

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """Two tiny layers on one column, one without a beginning on two."""
        few = {"size": 4, "epochs": 2, "pretrain_epochs": 2}
        yield DbnParams(**few, layers=(6, 3)), {"image": "image"}
        yield DbnParams(**{**few, "pretrain_epochs": 0}, layers=(3,)), {"front": "image", "back": "image"}

    @property
    def item_features(self) -> int:
        """Units of the last layer."""
        return int(self.params.layers[-1])

    @property
    def _n_pixels(self) -> int:
        return int(self.params.size**2 * (3 if self.params.mode == "rgb" else 1))

    def read(self, cells: Sequence[Any]) -> Items:
        """Decode and resize: uint8 (k, size, size, channels)."""
        return read_images(cells, Stretch(self.params.size), "RGB" if self.params.mode == "rgb" else "L")

    def trunk(self) -> nn.Module:
        """The layers, from random weights."""
        from torch import nn

        sizes = [self._n_pixels, *self.params.layers]
        linear = [nn.Linear(inner, outer) for inner, outer in pairwise(sizes)]
        return nn.Sequential(*(step for layer in linear for step in (layer, nn.Sigmoid())))

    def learner(self, training: Training) -> Learner:
        """The layers, which begin as the machines leave them, and the rows of a training."""
        from hybrid_ray.extractors.networks.dbn_learner import DbnLearner

        arrays, filled = self.encoded_rows(training.arrays)
        return DbnLearner(self, arrays, filled, training, self._device)

    def machines(self, inputs: AnyArray, seed: int) -> list[tuple[AnyArray, AnyArray]]:
        """Weights and biases of each layer, from images (k, pixels) in 0 to 1 up; none where layers begin at random."""
        from sklearn.neural_network import BernoulliRBM

        found: list[tuple[AnyArray, AnyArray]] = []
        for number, units in enumerate(self.params.layers if self.params.pretrain_epochs else ()):
            machine = BernoulliRBM(
                n_components=units,
                learning_rate=self.params.pretrain_lr,
                n_iter=self.params.pretrain_epochs,
                random_state=seed + number,
            )
            inputs = machine.fit_transform(inputs)
            found.append((machine.components_.astype(np.float32), machine.intercept_hidden_.astype(np.float32)))
        return found

    def collate(self, items: Mapping[str, AnyArray], device: str) -> tuple[torch.Tensor, ...]:
        """Images float32 (k, pixels) from black, 0, to white, 1."""
        import torch

        return (torch.from_numpy(scaled(items[PIXELS])).to(device),)


def scaled(pixels: AnyArray) -> AnyArray:
    """Images (k, ...) of bytes as vectors float32 (k, pixels), from black, 0, to white, 1."""
    return pixels.reshape(len(pixels), -1).astype(np.float32) / np.float32(255)

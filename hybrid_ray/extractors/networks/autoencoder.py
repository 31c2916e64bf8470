"""Features of a network that learns to draw images again from a few numbers; labels are not looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from hybrid_ray.data.augment import ImageAugmentation, posed
from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.imaging import PIXELS, Stretch, read_images
from hybrid_ray.extractors.items import Items
from hybrid_ray.extractors.networks.base import NetworkExtractor, UnsupervisedParams
from hybrid_ray.extractors.networks.redrawing import RedrawingExtractor
from hybrid_ray.extractors.trained import Training
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray, Kind

if TYPE_CHECKING:
    import torch
    from torch import nn

    from hybrid_ray.extractors.networks.autoencoder_nets import Autoencoder
    from hybrid_ray.training.loop import Learner

CHANGED = "changed"


class AutoencoderParams(UnsupervisedParams):
    """Parameters of ``autoencoder``."""

    layers: Literal["convolutional", "dense"] = "convolutional"
    """What the network is made of."""
    size: int = Field(32, ge=4, le=256)
    """Side of the square that images are brought to."""
    mode: Literal["grey", "rgb"] = "rgb"
    """grey: one channel; rgb: three."""
    width: int = Field(16, ge=2, le=512)
    """Channels of the first convolution, which double where the side halves; or a sixteenth of a dense layer."""
    features: int = Field(32, ge=1, le=2048)
    """Numbers from which an image is drawn again: its vector."""
    noise: float = Field(0.1, ge=0, le=1)
    """Noise that is added to training images, which are to be drawn without it; white is 1."""
    mask: float = Field(0.0, ge=0, lt=1)
    """Share of the pixels of training images that are black, and to be drawn as they were."""
    flip: bool = False
    """True: training images may be mirrored, and are to be drawn so: more images to learn from."""
    shift: float = Field(0.0, ge=0, le=0.5)
    """Largest shift of a training image, as a share of its side."""
    rotate: float = Field(0.0, ge=0, le=180)
    """Largest turn of a training image, in degrees."""
    crop: float = Field(0.0, ge=0, le=0.9)
    """Largest share of a training image's sides that is cut away."""
    colour: float = Field(0.0, ge=0, le=1)
    """Largest relative change of a training image's brightness, contrast and saturation."""
    errors: bool = False
    """True: the vector also holds how badly the image is drawn again, in the mean and where it is worst."""
    pose: float = Field(0.0, ge=0, le=0.5)
    """How far training images are moved, turned, sheared and stretched, to be drawn as they were: the largest entry of
    an affine map, moves as a share of the side. Images that differ by such a map then have like numbers."""

    later: ClassVar[frozenset[str]] = frozenset({"flip", "shift", "rotate", "crop", "colour", "errors", "pose"})


@EXTRACTORS.register("autoencoder")
class AutoencoderExtractor(RedrawingExtractor, NetworkExtractor):
    """The few numbers from which a network draws an image again; denoising where ``noise`` or ``mask`` is above 0.

    References
    ----------
    Vincent et al., "Stacked denoising autoencoders: learning useful representations in a deep network with a local
    denoising criterion", JMLR 11, 2010.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = ExtractorTags(
        modality="image", kinds=frozenset({"image"}), trained=True, gpu=True, spreads=True, version=2
    )
    Params: ClassVar[type[PluginParams]] = AutoencoderParams

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """Tiny networks, convolutions on one column, dense layers on two."""
        few = {"size": 8, "width": 2, "features": 3, "epochs": 2}
        yield AutoencoderParams(**few), {"image": "image"}
        more = {**few, "layers": "dense", "mode": "grey", "noise": 0.0, "mask": 0.3, "flip": True, "rotate": 20}
        yield AutoencoderParams(**more, errors=True, pose=0.1), {"front": "image", "back": "image"}

    @property
    def channels(self) -> int:
        """Numbers of a pixel."""
        return 3 if self.params.mode == "rgb" else 1

    @property
    def n_errors(self) -> int:
        """Two, where they are asked for."""
        return 2 if self.params.errors else 0

    @property
    def item_features(self) -> int:
        """The numbers that an image is drawn from, and the errors."""
        return int(self.params.features) + self.n_errors

    def read(self, cells: Sequence[Any]) -> Items:
        """Decode and resize: uint8 (k, size, size, channels)."""
        return read_images(cells, Stretch(self.params.size), "RGB" if self.params.mode == "rgb" else "L")

    def trunk(self) -> nn.Module:
        """What makes numbers of an image; to tell errors, with what draws it again."""
        from hybrid_ray.extractors.networks.autoencoder_nets import Measured

        return Measured(self.halves()) if self.params.errors else self.halves().trunk

    def halves(self) -> Autoencoder:
        """What makes numbers of an image, and what draws it again."""
        from hybrid_ray.extractors.networks.autoencoder_nets import Autoencoder, decoder, encoder

        p = self.params
        shape = (p.layers, self.channels, p.size, p.width, p.features)
        drawing = decoder(*shape)  # first: a seed gives the networks that it always gave
        return Autoencoder(encoder(*shape), drawing)

    def learner(self, training: Training) -> Learner:
        """Both halves, and the images of a training."""
        from hybrid_ray.extractors.networks.autoencoder_nets import ImagesLearner

        arrays, filled = self.encoded_rows(training.arrays)
        return ImagesLearner(self, arrays | {CHANGED: arrays[PIXELS]}, filled, self._device)

    def collate(self, items: Mapping[str, AnyArray], device: str) -> tuple[torch.Tensor, ...]:
        """Images float32 (k, channels, size, size) from black, 0, to white, 1; of training, also as they were."""
        import torch

        def scaled(pixels: AnyArray) -> torch.Tensor:
            numbers = torch.from_numpy(np.ascontiguousarray(pixels)).to(device).float()
            return (numbers / 255 if pixels.dtype == np.uint8 else numbers).permute(0, 3, 1, 2)

        if CHANGED in items:
            return scaled(items[CHANGED]), scaled(items[PIXELS])
        return (scaled(items[PIXELS]),)

    @property
    def augmented(self) -> bool:
        """True when images are changed, or made worse than they are to be drawn."""
        return (
            bool(self.params.noise or self.params.mask or self.params.pose)
            or self._augmentation() != ImageAugmentation()
        )

    def _augmentation(self) -> ImageAugmentation:
        p = self.params
        return ImageAugmentation(p.flip, p.shift, p.colour, rotate=p.rotate, crop=p.crop)

    def augment(self, items: Mapping[str, AnyArray], rng: np.random.Generator) -> dict[str, AnyArray]:
        """Images that are changed, to be drawn so; and the same in another pose, with noise, and with black pixels."""
        pixels = self._augmentation()(items[PIXELS], rng)
        shown = posed(pixels, rng, self.params.pose) if self.params.pose else pixels
        noise = np.float32(self.params.noise) * rng.standard_normal(pixels.shape, np.float32)
        seen = rng.random((*pixels.shape[:3], 1), np.float32) >= self.params.mask
        return {PIXELS: pixels, CHANGED: (shown.astype(np.float32) / 255 + noise) * seen}

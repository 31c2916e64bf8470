"""Features of torchvision's networks whose last blocks are tuned on the training rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from hybrid_ray.data.augment import ImageAugmentation
from hybrid_ray.errors import BadInputError
from hybrid_ray.extractors import _torchvision_net as nets
from hybrid_ray.extractors._torchvision import NetworkParams, TorchvisionExtractor
from hybrid_ray.extractors._tuned import TunedExtractor, TuningParams
from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.imaging import PIXELS
from hybrid_ray.extractors.pretrained import PretrainedExtractor
from hybrid_ray.extractors.sight import Sight
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray, Kind

if TYPE_CHECKING:
    import torch

    from hybrid_ray.extractors._tuned_net import Split


class TunedTorchvisionParams(TuningParams, NetworkParams):
    """Parameters of ``tuned_torchvision``: those of ``torchvision``, and of the tuning."""

    precision: Literal["fp32"] = "fp32"
    """Number format of the network: gradients need it whole."""
    flip: bool = False
    """True: training images may be mirrored; wrong for digits and letters."""
    shift: float = Field(0.0, ge=0, le=0.5)
    """Largest shift of a training image, as a share of its side. Any change of training images makes the frozen blocks
    run anew in each pass: several times the work."""
    colour: float = Field(0.0, ge=0, le=1)
    """Largest relative change of a training image's brightness, contrast and saturation."""
    erase: float = Field(0.0, ge=0, le=1)
    """Largest share of a training image that is wiped out, in half of them."""
    rotate: float = Field(0.0, ge=0, le=180)
    """Largest turn of a training image, in degrees."""
    crop: float = Field(0.0, ge=0, le=0.9)
    """Largest share of a training image's sides that is cut away."""

    later: ClassVar[frozenset[str]] = frozenset({"rotate", "crop"})


@EXTRACTORS.register("tuned_torchvision")
class TunedTorchvisionExtractor(TunedExtractor):
    """What ``torchvision`` gives, after its last blocks were tuned on the training rows' labels."""

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = ExtractorTags(
        modality="image",
        kinds=frozenset({"image"}),
        trained=True,
        supervised=True,
        gpu=True,
        spreads=True,
        pieces="pixels",
    )
    Params: ClassVar[type[PluginParams]] = TunedTorchvisionParams
    Base: ClassVar[type[PretrainedExtractor]] = TorchvisionExtractor

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """A small random network: its last block on one column, on two with changed images."""
        params = TunedTorchvisionParams(
            model="squeezenet1_1", weights="none", image_size=32, blocks=1, rank=2, epochs=1
        )
        yield params, {"image": "image"}
        yield params.model_copy(update={"flip": True, "activations": "fp16"}), {"front": "image", "back": "image"}

    def cut(self, base: PretrainedExtractor) -> Split:
        """The network before its last blocks, and these."""
        from hybrid_ray.extractors._torchvision_split import TorchvisionSplit, block_names

        assert isinstance(base, TorchvisionExtractor)
        self._check_blocks()
        return TorchvisionSplit(
            base.network,
            block_names(self.params.model),
            self.params.blocks,
            base.normalised,
            base.side,
            base.item_features,
            base.device,
        )

    def sight(self, cell: Mapping[str, AnyArray], usual: Mapping[str, AnyArray]) -> Sight:
        """An image as ``torchvision`` sees it."""
        from hybrid_ray.extractors._sight_net import NetworkSight
        from hybrid_ray.extractors._torchvision_split import TorchvisionSplit

        base, split, top = self._base, self.split(), self.tuned()
        assert isinstance(base, TorchvisionExtractor)
        assert isinstance(split, TorchvisionSplit)

        def run(images: torch.Tensor) -> torch.Tensor:
            return split.through(top, base.scaled(images))

        return NetworkSight.of_image(cell[PIXELS], usual[PIXELS], base.device, run)

    def check(self) -> None:
        """Refuse what ``torchvision`` would refuse, and more blocks than there are."""
        super().check()
        self._check_blocks()

    def _check_blocks(self) -> None:
        from hybrid_ray.extractors._torchvision_split import block_names

        n = len(block_names(self.params.model))
        if self.params.blocks > n:
            raise BadInputError(
                f"tuned_torchvision.blocks: must be at most the {n} blocks of {self.params.model}; got "
                f"{self.params.blocks}"
            )

    @property
    def most_features(self) -> int:
        """The width of the model's last hidden layer, for each column."""
        return len(self.columns) * nets.n_features(self.params.model)

    def _augmentation(self) -> ImageAugmentation:
        p = self.params
        return ImageAugmentation(p.flip, p.shift, p.colour, p.erase, p.rotate, p.crop)

    @property
    def augmented(self) -> bool:
        """True when some change is asked for."""
        return self._augmentation() != ImageAugmentation()

    def augment(self, items: Mapping[str, AnyArray], rng: np.random.Generator) -> dict[str, AnyArray]:
        """Images changed as the parameters say."""
        return {PIXELS: self._augmentation()(items[PIXELS], rng)}

"""Features of a small residual network that is trained on the training rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from hybrid_ray.data.augment import ImageAugmentation
from hybrid_ray.errors import BadInputError, NotFittedError
from hybrid_ray.extractors.base import ExtractorTags, FitContext
from hybrid_ray.extractors.imaging import PIXELS, Stretch, read_images
from hybrid_ray.extractors.items import FILLED, ItemExtractor, Items
from hybrid_ray.extractors.sight import Sight
from hybrid_ray.extractors.tensors import to_features, to_tensor
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.training.rows import normal_scores
from hybrid_ray.types import AnyArray, FloatArray, Kind, Prepared, State

if TYPE_CHECKING:
    from hybrid_ray.extractors._cnn_net import ResidualNet

_CHUNK = 256
"""Images in one pass."""
_TRAINING = ("epochs", "patience", "batch_size", "lr", "weight_decay", "label_smoothing")


class CnnParams(PluginParams):
    """Parameters of ``cnn``."""

    size: int = Field(32, ge=4, le=256)
    """Side of the square that images are brought to."""
    mode: Literal["grey", "rgb"] = "rgb"
    """grey: one channel; rgb: three."""
    width: int = Field(16, ge=2, le=256)
    """Channels of the first stage; they double where the side halves."""
    depth: int = Field(1, ge=1, le=8)
    """Residual blocks of a stage."""
    features: int = Field(64, ge=2, le=2048)
    """Length of an image's vector."""
    epochs: int = Field(30, ge=1, le=1000)
    """Most passes over the training rows."""
    patience: int = Field(10, ge=1)
    """Passes without a better hold-out loss after which training stops."""
    batch_size: int = Field(64, ge=8, le=4096)
    """Rows of a step; fewer where there are few rows."""
    lr: float = Field(3e-3, gt=0, le=1)
    """Largest learning rate of the one-cycle schedule."""
    weight_decay: float = Field(1e-2, ge=0, le=1)
    """Decay of AdamW."""
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    """Share of a class label that is spread over all classes."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Share of the last features that are left out while training."""
    shift: float = Field(0.1, ge=0, le=0.5)
    """Largest shift of a training image, as a share of its side."""
    rotate: float = Field(12.0, ge=0, le=180)
    """Largest turn of a training image, in degrees."""
    scale: float = Field(0.1, ge=0, le=0.5)
    """Largest change of a training image's scale."""
    flip: bool = False
    """True: training images may be mirrored; wrong for digits and letters."""
    colour: float = Field(0.0, ge=0, le=1)
    """Largest relative change of a training image's brightness, contrast and saturation."""
    erase: float = Field(0.0, ge=0, le=0.9)
    """Largest share of a training image that is wiped out, in half of them."""


@EXTRACTORS.register("cnn")
class CnnExtractor(ItemExtractor):
    """Penultimate activations of a residual network trained on the training rows' labels.

    Training images are augmented anew in every epoch; list the extractor twice with other augmentation and the search
    chooses. A tenth of the training rows is held out to choose the epoch, and never augmented; AdamW on a one-cycle
    schedule; on a CPU the same seed gives the same features. The images of a row share the trunk, a head over all of
    them is trained with it.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = ExtractorTags(
        modality="image", kinds=frozenset({"image"}), trained=True, supervised=True, gpu=True, pieces="pixels"
    )
    Params: ClassVar[type[PluginParams]] = CnnParams

    def __init__(self, params: PluginParams, columns: Mapping[str, Kind]) -> None:
        super().__init__(params, columns)
        self._net: ResidualNet | None = None
        self._device = "cpu"

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """A tiny network, grey on one column, colour on two."""
        yield CnnParams(size=8, mode="grey", width=4, features=8, epochs=2), {"image": "image"}
        more = CnnParams(size=8, width=2, features=4, epochs=1, flip=True, colour=0.2, erase=0.2)
        yield more, {"front": "image", "back": "image"}

    def read(self, cells: Sequence[Any]) -> Items:
        """Decode and resize: uint8 (k, size, size, channels)."""
        return read_images(cells, Stretch(self.params.size), "RGB" if self.params.mode == "rgb" else "L")

    def _build(self, n_outputs: int) -> ResidualNet:
        from hybrid_ray.extractors._cnn_net import ResidualNet

        p = self.params
        return ResidualNet(
            3 if p.mode == "rgb" else 1,
            p.size,
            len(self.columns),
            n_outputs,
            width=p.width,
            depth=p.depth,
            n_features=p.features,
            dropout=p.dropout,
            jitter=(p.shift, p.rotate, p.scale),
            flip=p.flip,
        )

    @property
    def most_features(self) -> int:
        """The parameter ``features``."""
        most: int = self.params.features
        return most

    def fit(self, prepared: Prepared, y: AnyArray | None, context: FitContext) -> Self:
        """Train on the present rows.

        Raises
        ------
        BadInputError
            There are no labels, or fewer than two rows hold an image.
        """
        from hybrid_ray.extractors._cnn_net import train
        from hybrid_ray.seeding import reproducible

        rows = int(prepared.present.sum())
        if y is None or rows < 2:
            raise BadInputError(f"cnn: needs labels and at least two rows with an image; got {rows} rows. Leave it out")
        present = y[prepared.present]
        target = normal_scores(present) if context.task == "regression" else present.astype(np.int64)
        with reproducible(context.seed, context.threads):
            net = self._build(context.n_outputs)
            settings = {name: getattr(self.params, name) for name in _TRAINING}
            pixels, filled = prepared.arrays[PIXELS], prepared.arrays[FILLED]
            augment = ImageAugmentation(colour=self.params.colour, erase=self.params.erase)
            groups = None if context.groups is None else context.groups[prepared.present]
            train(net, pixels, filled, target, settings, self._device, context.seed, augment, groups)
        self._net = net
        return self

    def setup(self, device: str = "cpu") -> None:
        """Move to the device; ``fit`` trains there."""
        self._device = device
        if self._net is not None:
            self._net.to(device)

    @property
    def item_features(self) -> int:
        """As the parameters say."""
        return int(self.params.features)

    def _fitted(self) -> ResidualNet:
        if self._net is None:
            raise NotFittedError("cnn: must be fitted before it is used; got an unfitted one. Call fit")
        return self._net

    def encode(self, items: Mapping[str, AnyArray]) -> FloatArray:
        """Vectors of images."""
        import torch

        net = self._fitted()
        pixels = items[PIXELS]
        parts = []
        with torch.inference_mode():
            for start in range(0, len(pixels), _CHUNK):
                images = to_tensor(pixels[start : start + _CHUNK], self._device)
                parts.append(to_features(net.features(images)))
        return np.concatenate(parts)

    def sight(self, cell: Mapping[str, AnyArray], usual: Mapping[str, AnyArray]) -> Sight:
        """An image as it was resized."""
        from hybrid_ray.extractors._sight_net import NetworkSight

        return NetworkSight.of_image(cell[PIXELS], usual[PIXELS], self._device, self._fitted().features)

    def get_state(self) -> State:
        """The network's tensors."""
        net = self._fitted()
        tensors = {name: tensor.detach().cpu().numpy() for name, tensor in net.state_dict().items()}
        return State(meta={"n_outputs": int(tensors["head.1.bias"].shape[0])}, tensors=tensors)

    @classmethod
    def from_state(cls, params: PluginParams, columns: Mapping[str, Kind], state: State) -> Self:
        """The trained extractor."""
        import torch

        extractor = cls(params, columns)
        net = extractor._build(int(state.meta["n_outputs"]))
        net.load_state_dict({name: torch.from_numpy(np.array(values)) for name, values in state.tensors.items()})
        extractor._net = net.eval().requires_grad_(False)
        return extractor

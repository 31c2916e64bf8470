"""Features of torchvision's pretrained classification networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from hybrid_ray.errors import BadInputError
from hybrid_ray.extractors import _torchvision_net as nets
from hybrid_ray.extractors import _torchvision_weights as origins
from hybrid_ray.extractors._torchvision_names import KNOWN_MODELS
from hybrid_ray.extractors.base import ExtractorTags
from hybrid_ray.extractors.compression import CompressibleParams
from hybrid_ray.extractors.imaging import PIXELS, Interpolation, ShortSide, read_images
from hybrid_ray.extractors.items import Items
from hybrid_ray.extractors.precision import Precision
from hybrid_ray.extractors.pretrained import PretrainedExtractor
from hybrid_ray.extractors.sight import Sight
from hybrid_ray.extractors.tensors import to_features, to_tensor, torch_dtype
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.spec.compression import Compression
from hybrid_ray.types import AnyArray, FloatArray, Kind, State

if TYPE_CHECKING:
    import torch
    from torch import nn

_PASS: Mapping[str, int] = {"cpu": 4 * 224**2, "cuda": 256 * 224**2}
"""Pixels in one pass: on a CPU what keeps a network's activations in cache, on a GPU what fills it."""
_FIXED_IMAGES: Mapping[str, int] = {"cpu": 1, "cuda": 64}
"""Images of every pass in a reduced format, see ``passes``: one shape, whatever else there is."""


class NetworkParams(PluginParams):
    """Which network sees images, and how."""

    model: str = Field("mobilenet_v2", pattern=r"^[a-z][a-z0-9_]{0,63}$")
    """Any classification model of torchvision.models."""
    weights: str = Field("DEFAULT", min_length=1)
    """Member of the model's weights enum (``DEFAULT``, ``IMAGENET1K_V1``), a local file (safetensors, or a state dict
    of tensors; also found by name under $HYBRID_RAY_WEIGHTS), or ``none``: random, from ``seed``."""
    image_size: int | None = Field(None, ge=16, le=2048)
    """Side of the square that the network sees; left out, what the weights were made for."""
    resize: int | None = Field(None, ge=16, le=4096)
    """Length of the image's shorter side before the centre is cropped; left out, the weights' share of image_size."""
    interpolation: Interpolation | None = None
    """How an image is resized; left out, as the weights were made."""
    padding: Literal["auto", "torch", "same"] = "auto"
    """Padding of strided convolutions. same: TensorFlow's, at the bottom and right; auto: same when the weights' file
    says so (metadata ``padding: same``, or ``tf`` in its name) or shows it (folded batch norm), else torch."""
    precision: Precision = "auto"
    """Number format. auto: bf16 or fp16 where the hardware computes it and the features stay within a cosine of 0.999
    of fp32 on the first rows, else fp32."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Seed of random weights."""

    @field_validator("model")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in KNOWN_MODELS:  # only an unknown name, or one of a newer torchvision, pays for the import
            nets.require_model(value)
        return value

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if self.image_size is not None and self.resize is not None and self.resize < self.image_size:
            raise ValueError(f"resize must be at least image_size ({self.image_size}); got {self.resize}")
        return self


class TorchvisionParams(CompressibleParams, NetworkParams):
    """Parameters of ``torchvision``."""

    layers: tuple[str, ...] = Field((), max_length=16)
    """Modules of the network, as torchvision names them (``features.14``), whose outputs are features too, each channel
    averaged over the image: what the middle of a network sees helps where images are unlike those of its training."""

    later: ClassVar[frozenset[str]] = frozenset({"layers"})


@EXTRACTORS.register("torchvision")
class TorchvisionExtractor(PretrainedExtractor):
    """Pooled penultimate features of an image network: what its last layer would have seen; before them, ``layers``.

    Images are decoded, resized and cropped to uint8 by ``prepare``; they are normalised on the device.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags] = ExtractorTags(
        modality="image", kinds=frozenset({"image"}), gpu=True, pieces="pixels", version=2
    )
    Params: ClassVar[type[PluginParams]] = TorchvisionParams

    def __init__(self, params: PluginParams, columns: Mapping[str, Kind]) -> None:
        super().__init__(params, columns)
        self._net: nn.Module | None = None
        self._item_features = 0
        self._read_view: nets.View | None = None

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """A small random network, on one column and on two, and made smaller."""
        params = TorchvisionParams(model="resnet18", weights="none", image_size=32, precision="fp32")
        yield params, {"image": "image"}
        yield params, {"front": "image", "back": "image"}
        yield params.compressed(Compression(int8="dynamic", prune=0.1)), {"image": "image"}

    # ------------------------------------------------------------------ weights and preprocessing

    def _origin(self) -> origins.Origin:
        if self._state is not None:
            return origins.StateOrigin(self._state)
        return origins.find_origin(self.params.model, self.params.weights, self.params.seed)

    def _view(self) -> nets.View:
        """The weights' preprocessing, with what the parameters say in its place."""
        p = self.params
        if self._state is not None:
            return nets.View.from_json(self._state.meta["view"])
        origin = self._origin()
        own = nets.View.of(p.model, origin.member if isinstance(origin, origins.HubOrigin) else "DEFAULT")
        crop = p.image_size or min(own.crop, p.resize or own.crop)
        resize = p.resize or max(round(own.resize * crop / own.crop), crop)
        return nets.View(resize, crop, p.interpolation or own.interpolation, own.mean, own.std)

    def _same_padding(self) -> bool:
        if self.params.padding != "auto":
            return bool(self.params.padding == "same")
        return self._origin().same_padding(self.params.model)

    def weights_digest(self) -> str:
        """Digest of the weights' content."""
        return self._origin().digest()

    def identity(self) -> dict[str, Any]:
        """The parameters without where the weights lie."""
        return {name: value for name, value in super().identity().items() if name not in ("weights", "seed")}

    def check(self) -> None:
        """Refuse an unknown model, weights that are not to be had, and weights of another architecture."""
        origin = self._origin()
        if isinstance(origin, origins.HubOrigin):
            origin.require()
        shapes = origin.shapes()
        if shapes is not None:
            origins.check_shapes(self.params.model, shapes, self.params.weights)
        nets.check_layers(self.params.model, self.params.layers)
        self._view()

    def settle(self) -> PluginParams:
        """Parameters with the preprocessing and the padding written out: ``prepare`` then needs no torchvision."""
        view = self._view()
        return self.params.model_copy(
            update={
                "image_size": view.crop,
                "resize": view.resize,
                "interpolation": view.interpolation,
                "padding": "same" if self._same_padding() else "torch",
            }
        )

    # ------------------------------------------------------------------ rows

    def read(self, cells: Sequence[Any]) -> Items:
        """Decode, resize and crop: uint8 (k, side, side, 3)."""
        p = self.params
        if p.image_size and p.resize and p.interpolation:
            return read_images(cells, ShortSide(p.resize, p.image_size, p.interpolation), "RGB")
        if self._read_view is None:
            self._read_view = self._view()
        view = self._read_view
        return read_images(cells, ShortSide(view.resize, view.crop, view.interpolation), "RGB")

    def setup(self, device: str = "cpu") -> None:
        """Load the network, fold its batch norm, and put it on the device in its number format."""
        if self._net is not None and self._device == device:
            return
        import torch

        net, run = self._whole()
        dtype = torch_dtype(self.format_on(device))
        self._net = self.smaller(net, run).to(memory_format=torch.channels_last).to(device, dtype)
        self._device, self._dtype = device, dtype
        view = self._view()
        self._shift = torch.tensor(view.mean, device=device).mul(255.0).view(1, 3, 1, 1)
        self._scale = torch.tensor(view.std, device=device).mul(255.0).reciprocal().view(1, 3, 1, 1)
        with self._suiting(view.crop):
            blank = np.zeros((1, view.crop, view.crop, 3), np.uint8)
            self._item_features = self.encode({PIXELS: blank}).shape[1]

    def _whole(self) -> tuple[nn.Module, Callable[[], object]]:
        """The network as its weights are, and what takes a blank image through it.

        Out of a saved graph that holds it smaller, its numbers are any.
        """
        import torch

        p, side = self.params, self._view().crop
        tensors = None if self.saved_smaller else self._origin().tensors()
        if tensors is None:
            net = nets.random(p.model, p.seed, pretrained=p.weights != "none")[0]
        else:
            tensors = origins.modern_keys(tensors)
            shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
            origins.check_shapes(p.model, shapes, p.weights)
            net = nets.load(p.model, tensors)[0]
        if p.layers:
            net = nets.tapped(net, p.model, p.layers)
        net = nets.fuse_batch_norm(net)
        if self._same_padding():
            net = nets.pad_same(net)

        def run() -> object:
            with self._suiting(side):
                return net(torch.zeros(1, 3, side, side))

        return net, run

    @contextmanager
    def _suiting(self, side: int) -> Iterator[None]:
        """A block in which images go through the network: it may not be made for their size."""
        try:
            yield
        except (RuntimeError, AssertionError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise BadInputError(
                f"torchvision.image_size: must suit {self.params.model}; got {side} ({reason}). Leave it out"
            ) from error

    @property
    def item_features(self) -> int:
        """Channels of ``layers``, and the width of the network's last hidden layer."""
        return self._item_features

    def encode(self, items: Mapping[str, AnyArray]) -> FloatArray:
        """Features of images, a few at a time."""
        import torch

        assert self._net is not None
        pixels = items[PIXELS]
        n = len(pixels)
        if not self.fixed_shapes:
            chunk = max(_PASS[self._device] // (pixels.shape[1] * pixels.shape[2]), 1)
        else:
            chunk = _FIXED_IMAGES[self._device]
            blanks = -n % chunk
            pixels = np.pad(pixels, ((0, blanks), (0, 0), (0, 0), (0, 0))) if blanks else pixels
        outputs = []
        with torch.inference_mode():
            for start in range(0, len(pixels), chunk):
                outputs.append(nets.pooled(self._net(self.normalised(pixels[start : start + chunk]))))
            return to_features(torch.cat(outputs)[:n])

    @property
    def network(self) -> nn.Module:
        """The network without its last layer, as it runs; ``setup`` loaded it."""
        assert self._net is not None, "setup must be called first"
        return self._net

    @property
    def device(self) -> str:
        """Where the network is; empty before ``setup``."""
        return self._device

    @property
    def side(self) -> int:
        """Side of the square that the network sees."""
        return self._view().crop

    def normalised(self, pixels: AnyArray) -> torch.Tensor:
        """uint8 (k, side, side, 3) as the network wants it: (k, 3, side, side), channels last in memory."""
        import torch

        images = to_tensor(pixels, self._device).permute(0, 3, 1, 2)
        return images.to(torch.float32).sub_(self._shift).mul_(self._scale).to(self._dtype)

    def scaled(self, images: torch.Tensor) -> torch.Tensor:
        """The same of floats (k, side, side, 3), levels from 0 to 255, which gradients are asked by."""
        return ((images.permute(0, 3, 1, 2) - self._shift) * self._scale).to(self._dtype)

    def sight(self, cell: Mapping[str, AnyArray], usual: Mapping[str, AnyArray]) -> Sight:
        """An image as it was resized and cropped."""
        from hybrid_ray.extractors._sight_net import NetworkSight

        exact = self.with_gradients()

        def run(images: torch.Tensor) -> torch.Tensor:
            return nets.pooled(exact.network(exact.scaled(images)))

        return NetworkSight.of_image(cell[PIXELS], usual[PIXELS], self._device, run)

    # ------------------------------------------------------------------ state

    def get_state(self) -> State:
        """The body's weights in the format they came in, the preprocessing, and the padding."""
        import safetensors.torch

        if self._state is not None and self.compression.asked:
            return self._state
        origin = self._origin()
        meta = {"weights": origin.digest(), "view": self._view().to_json(), "same_padding": self._same_padding()}
        if self.compression.asked:
            return State(meta=meta, blobs=self.packed(*self._whole()))
        body, _ = nets.body_shapes(self.params.model)
        tensors = origin.tensors()
        if tensors is None:
            tensors = dict(nets.random(self.params.model, self.params.seed)[0].state_dict())
        kept = {name: t.contiguous() for name, t in origins.modern_keys(tensors).items() if name in body}
        return State(meta=meta, blobs={origins.BLOB: safetensors.torch.save(kept)})

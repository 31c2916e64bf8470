"""Networks of fewer and smaller numbers: weights near zero set to zero, weights in 8 bits, products of integers.

Integers are summed exactly, and inputs are scaled place by place (a token, a pixel), never over a batch: what a place
gives depends on that place alone.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cache
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn
from torch.nn.utils import prune

LEVELS = 127
"""Integers on each side of zero."""
WIDE = 96
"""Channels from which a convolution over single pixels is quicker in integers: below, scaling pixels takes longer than
what it saves (measured on one core that multiplies int8, AVX512-VNNI, with MobileNetV2 and ResNet-50)."""
_FEW = 16
"""Rows up to which CUDA has no product of integers; the sides of its matrices must be multiples of 8."""
_SCALE = ".scale_of_int8"
"""Ending of the name of scales beside their integers."""


@dataclass(frozen=True)
class Packed:
    """The numbers of a network that was made smaller.

    Attributes
    ----------
    tensors : dict of str to Tensor
        By the names of the network's state: floats as they are; integers int8 (n, ...), and beside them the scale (n,)
        that each of the n stands for. What two names share is there once.
    layers : tuple of str
        Modules that multiply integers.
    """

    tensors: dict[str, torch.Tensor]
    layers: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, net: nn.Module, int8: bool, layers: Collection[str] = ()) -> Packed:
        """The numbers of a network, in 8 bits where they are matrices."""
        tensors: dict[str, torch.Tensor] = {}
        for name, tensor in _distinct(net).items():
            if not int8 or not tensor.is_floating_point() or tensor.ndim < 2 or not tensor.numel():
                tensors[name] = tensor
                continue
            flat = tensor.flatten(1)
            scale = _scale(flat)
            tensors[name] = torch.round(flat / scale).to(torch.int8).view(tensor.shape)
            tensors[f"{name}{_SCALE}"] = scale.squeeze(1)
        return cls(tensors, tuple(sorted(layers)))

    def to_bytes(self) -> bytes:
        """As deflated safetensors: zeros take next to nothing."""
        kept = {name: tensor.contiguous() for name, tensor in self.tensors.items()}
        return zlib.compress(save(kept, {"layers": json.dumps(self.layers)}), 1)

    @classmethod
    def from_bytes(cls, data: bytes, net: nn.Module) -> Packed:
        """What ``to_bytes`` gave, for a network of the structure that it was made of.

        Raises
        ------
        ValueError
            It is of another network, or damaged.
        """
        own = _distinct(net)
        # The network's numbers, scales and a header: no more is ever inflated.
        most = 2 * sum(tensor.nbytes for tensor in own.values()) + 2**20
        try:
            raw = zlib.decompressobj().decompress(data, most)
            tensors = load(raw)
            size = int.from_bytes(raw[:8], "little")
            layers = json.loads(json.loads(raw[8 : 8 + size])["__metadata__"]["layers"])
        except (zlib.error, SafetensorError, KeyError, ValueError) as error:
            raise ValueError(f"the numbers of a compressed network must be as they were saved; got {error}") from error
        shapes = {name: tensor.shape for name, tensor in tensors.items() if not name.endswith(_SCALE)}
        if shapes != {name: tensor.shape for name, tensor in own.items()}:
            raise ValueError("the numbers of a compressed network must have the network's own names and shapes")
        return cls(tensors, tuple(layers))

    def put_into(self, net: nn.Module, products: bool) -> nn.Module:
        """Give a network these numbers, in place; with ``products`` its ``layers`` multiply integers."""
        floats = {}
        for name, tensor in self.tensors.items():
            if not name.endswith(_SCALE):
                scale = self.tensors.get(f"{name}{_SCALE}")
                floats[name] = tensor if scale is None else tensor * scale.view(-1, *[1] * (tensor.ndim - 1))
        net.load_state_dict(floats, strict=False)
        if products:
            made: dict[nn.Module, nn.Module] = {}
            first = {module: name for name, module in reversed(list(net.named_modules()))}
            for name in self.layers:
                module = net.get_submodule(name)
                if module not in made:  # one that stands in two places stays one
                    weight = f"{first[module]}.weight"
                    made[module] = _in_integers(module, self.tensors[weight], self.tensors[f"{weight}{_SCALE}"])
                net.set_submodule(name, made[module])
        return net.requires_grad_(False)


def packed(net: nn.Module, share: float, int8: bool, run: Callable[[], object] | None = None) -> Packed:
    """Prune a network, in place, and give its numbers in 8 bits.

    Parameters
    ----------
    net : Module
        In fp32, in evaluation mode.
    share : float
        Of the weights of each layer that mixes all channels: the smallest are set to zero.
    int8 : bool
        True: every matrix of numbers is given in 8 bits.
    run : callable, optional
        Takes some input through the network, for layers that are to multiply integers: linear ones, and wide
        convolutions over single pixels. Only those that a pass calls can: others are read by their parents.
    """
    if share:
        net.to(memory_format=torch.contiguous_format)  # as torch's pruning wants weights
        for module in net.modules():
            # Depthwise convolutions have few weights, and miss each of them.
            if isinstance(module, nn.Linear | nn.Conv2d) and getattr(module, "groups", 1) == 1:
                prune.l1_unstructured(module, "weight", share)
                prune.remove(module, "weight")
    called = _called(net, run) if run is not None else frozenset[nn.Module]()
    names = [name for name, module in net.named_modules(remove_duplicate=False) if module in called]
    return Packed.of(net, int8, names)


def _called(net: nn.Module, run: Callable[[], object]) -> Collection[nn.Module]:
    """Layers that can multiply integers, and that a pass through the network calls."""
    seen: set[nn.Module] = set()
    layers = {module for module in net.modules() if _multiplies(module)}
    hooks = [layer.register_forward_hook(lambda module, *_: seen.add(module)) for layer in layers]
    try:
        with torch.inference_mode():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _multiplies(module: nn.Module) -> bool:
    if type(module) is nn.Linear:
        return True
    if not isinstance(module, nn.Conv2d) or module.kernel_size != (1, 1) or module.groups > 1:
        return False
    return module.in_channels >= WIDE and module.padding in ((0, 0), "valid")


def _distinct(net: nn.Module) -> dict[str, torch.Tensor]:
    """The state without names whose numbers another name has too."""
    held = net.state_dict()
    first: dict[Any, str] = {}
    for name, tensor in held.items():
        first.setdefault((tensor.data_ptr(), tensor.shape) if tensor.numel() else name, name)
    return {name: held[name] for name in first.values()}


def _scale(rows: torch.Tensor) -> torch.Tensor:
    """What one integer stands for in each row (k, 1): the largest number of a row becomes ``LEVELS``."""
    return rows.abs().amax(dim=1, keepdim=True).div_(LEVELS).clamp_min_(torch.finfo(rows.dtype).tiny)


@cache
def exact() -> bool:
    """Whether this processor sums products of 8-bit integers without loss: older ones stop at 16 bits."""
    most = torch.full((32, 64), LEVELS, dtype=torch.int8)
    return bool((torch._int_mm(most, most.T) == 64 * LEVELS**2).all())


class IntegerProduct(nn.Module):
    """A layer that multiplies integers: inputs are brought to 8 bits, each row (k, d) by a scale of its own.

    Parameters
    ----------
    weight : Tensor of int8 (n, d)
    scale : Tensor (n,)
        What one integer of each output stands for.
    bias : Tensor (n,) or None
    """

    weight: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight", weight.flatten(1))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if bias is None else bias.detach())

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs (k, n) of inputs (k, d)."""
        own = _scale(x)
        integers = torch.round(x / own)
        n, d = self.weight.shape
        can = len(x) > _FEW and not n % 8 and not d % 8 if x.is_cuda else exact()
        if can:
            summed = torch._int_mm(integers.to(torch.int8), self.weight.T).to(x.dtype)
        else:  # the same numbers as floats
            summed = integers @ self.weight.T.to(x.dtype)
        y = summed.mul_(own).mul_(self.scale)
        return y if self.bias is None else y.add_(self.bias)


class IntegerLinear(IntegerProduct):
    """A linear layer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.product(x.reshape(-1, x.shape[-1])).view(*x.shape[:-1], len(self.scale))


class IntegerPixels(IntegerProduct):
    """A convolution over single pixels, of some ``stride``."""

    stride: tuple[int, int] = (1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, columns = self.stride
        pixels = x[:, :, ::rows, ::columns].permute(0, 2, 3, 1)
        y = self.product(pixels.reshape(-1, pixels.shape[3]))
        return y.view(*pixels.shape[:3], len(self.scale)).permute(0, 3, 1, 2)


def _in_integers(layer: nn.Module, weight: torch.Tensor, scale: torch.Tensor) -> IntegerProduct:
    bias = cast(torch.Tensor | None, layer.bias)
    if isinstance(layer, nn.Linear):
        return IntegerLinear(weight, scale, bias)
    made = IntegerPixels(weight, scale, bias)
    made.stride = cast(tuple[int, int], layer.stride)
    return made

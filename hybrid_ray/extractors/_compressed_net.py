"""Networks of fewer and smaller numbers: weights near zero set to zero, weights and inputs of layers in 8 bits.

What a row gives depends on that row alone: inputs are scaled place by place (a token, a pixel), never over a batch, and
integers are summed exactly.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune

LEVELS = 127
"""Integers on each side of zero."""
WIDE = 96
"""Channels from which a convolution over single pixels is quicker in integers: below, scaling pixels takes longer than
what it saves (measured on one core that multiplies int8, AVX512-VNNI, with MobileNetV2 and ResNet-50)."""
_FEW = 16
"""Rows up to which CUDA has no product of integers; the sides of its matrices must be multiples of 8."""


def shrink(net: nn.Module, share: float, int8: bool, run: Callable[[], object]) -> nn.Module:
    """Prune a network, then quantise it, in place.

    Only layers that the network calls are quantised: some are read by their parents, who want floats.

    Parameters
    ----------
    net : Module
        In fp32, in evaluation mode.
    share : float
        Of the weights of each layer that mixes all channels: the smallest are set to zero.
    int8 : bool
        True: linear layers and wide convolutions over single pixels multiply 8-bit weights with 8-bit inputs;
        embeddings and other convolutions keep their weights in 8 bits and compute in floats.
    run : callable
        Takes some input through the network.
    """
    if share:
        net.to(memory_format=torch.contiguous_format)  # as torch's pruning wants weights
        for module in net.modules():
            # Depthwise convolutions have few weights, and miss each of them.
            if isinstance(module, nn.Linear | nn.Conv2d) and getattr(module, "groups", 1) == 1:
                prune.l1_unstructured(module, "weight", share)
                prune.remove(module, "weight")
    if int8:
        made: dict[nn.Module, nn.Module] = {}
        called = _called(net, run)
        for name, module in list(net.named_modules(remove_duplicate=False)):
            if module in called:
                if module not in made:  # one that stands in two places stays one
                    made[module] = _quantised(module)
                net.set_submodule(name, made[module])
    return net.requires_grad_(False)


def pack(net: nn.Module) -> bytes:
    """The numbers of a network as safetensors, deflated: zeros take next to nothing."""
    return zlib.compress(save({name: tensor.cpu().contiguous() for name, tensor in _distinct(net).items()}), 1)


def unpack(net: nn.Module, data: bytes) -> None:
    """Put what ``pack`` gave into a network of the same structure, in place.

    Raises
    ------
    ValueError
        It is of another network, or damaged.
    """
    own = _distinct(net)
    inflating = zlib.decompressobj()
    # The network's numbers and a header: no more is ever inflated.
    most = 2 * sum(tensor.nbytes for tensor in own.values()) + 2**20
    try:
        kept = load(inflating.decompress(data, most))
    except (zlib.error, SafetensorError) as error:
        raise ValueError(f"the numbers of a compressed network must be as they were saved; got {error}") from error
    if _shapes(kept) != _shapes(own):
        raise ValueError("the numbers of a compressed network must have the network's own names and shapes")
    net.load_state_dict(kept, strict=False)


def _called(net: nn.Module, run: Callable[[], object]) -> Collection[nn.Module]:
    """Layers of the kinds that are quantised which a pass through the network calls."""
    seen: set[nn.Module] = set()
    layers = {module for module in net.modules() if type(module) in (nn.Linear, nn.Embedding, nn.Conv2d)}
    hooks = [layer.register_forward_hook(lambda module, *_: seen.add(module)) for layer in layers]
    try:
        with torch.inference_mode():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _distinct(net: nn.Module) -> dict[str, torch.Tensor]:
    """The state dict without names whose numbers another name has too."""
    held = net.state_dict()
    first: dict[Any, str] = {}
    for name, tensor in held.items():
        first.setdefault((tensor.data_ptr(), tensor.shape) if tensor.numel() else name, name)
    return {name: held[name] for name in first.values()}


def _shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


class Quantised(nn.Module):
    """A layer whose weights are integers: ``weight * scale``, with a scale for each output, or each entry.

    Parameters
    ----------
    layer : Linear, Embedding or Conv2d
        Weights (n, ...).
    """

    weight: torch.Tensor
    scale: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, layer: Any) -> None:
        super().__init__()
        floats = layer.weight.detach()
        flat = floats.flatten(1)
        scale = _scale(flat)
        self.register_buffer("weight", torch.round(flat / scale).to(torch.int8).view_as(floats))
        self.register_buffer("scale", scale.squeeze(1))
        bias = getattr(layer, "bias", None)
        self.register_buffer("bias", None if bias is None else bias.detach())

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs (k, n) of inputs (k, d): integers times integers."""
        weight, own = self.weight.flatten(1), _scale(x)
        integers = torch.round(x / own)
        if x.is_cuda and (len(x) <= _FEW or weight.shape[0] % 8 or weight.shape[1] % 8):
            summed = integers @ weight.T.to(x.dtype)
        else:
            summed = torch._int_mm(integers.to(torch.int8), weight.T).to(x.dtype)
        y = summed.mul_(own).mul_(self.scale)
        return y if self.bias is None else y.add_(self.bias)


def _scale(rows: torch.Tensor) -> torch.Tensor:
    """What one integer stands for in each row (k, 1): the largest number of a row becomes ``LEVELS``."""
    return rows.abs().amax(dim=1, keepdim=True).div_(LEVELS).clamp_min_(torch.finfo(rows.dtype).tiny)


class QuantisedLinear(Quantised):
    """A linear layer in integers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.product(x.reshape(-1, x.shape[-1])).view(*x.shape[:-1], len(self.scale))


class QuantisedPixels(Quantised):
    """A convolution over single pixels in integers."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__(layer)
        self.stride = cast(tuple[int, int], layer.stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, columns = self.stride
        pixels = x[:, :, ::rows, ::columns].permute(0, 2, 3, 1)
        y = self.product(pixels.reshape(-1, pixels.shape[3]))
        return y.view(*pixels.shape[:3], len(self.scale)).permute(0, 3, 1, 2)


class QuantisedEmbedding(Quantised):
    """An embedding that is kept in integers."""

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.weight[ids] * self.scale[ids].unsqueeze(-1)


class QuantisedConvolution(Quantised):
    """A convolution that is kept in integers, and computes in floats."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__(layer)
        self.use = {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "groups")}
        self._floats: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self._floats is None:  # made from what was loaded, once
            floats = self.weight * self.scale.view(-1, 1, 1, 1)
            self._floats = floats.contiguous(memory_format=torch.channels_last)
        return F.conv2d(x, self._floats, self.bias, **self.use)


def _quantised(layer: nn.Module) -> Quantised:
    if isinstance(layer, nn.Linear):
        return QuantisedLinear(layer)
    if isinstance(layer, nn.Embedding):
        return QuantisedEmbedding(layer)
    assert isinstance(layer, nn.Conv2d)
    single = layer.kernel_size == (1, 1) and layer.groups == 1 and layer.padding in ((0, 0), "valid")
    return QuantisedPixels(layer) if single and layer.in_channels >= WIDE else QuantisedConvolution(layer)

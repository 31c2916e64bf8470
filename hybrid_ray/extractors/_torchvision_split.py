"""torchvision's networks cut in two. Imports torch: only ``tuned_torchvision`` imports this, inside its methods."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.fx.proxy import TraceError

from hybrid_ray.errors import BadInputError
from hybrid_ray.extractors._torchvision_net import build
from hybrid_ray.extractors._tuned_net import Split, in_format, tunable
from hybrid_ray.extractors.imaging import PIXELS
from hybrid_ray.extractors.tensors import to_tensor
from hybrid_ray.types import AnyArray

_PASS: Mapping[str, int] = {"cpu": 16, "cuda": 256}
"""Images in one pass of the upper part."""
_WEIGHTS = (nn.Linear, nn.Conv2d)
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class TorchvisionSplit(Split):
    """An image network in two, where a single tensor passes from its lower blocks to the last ones.

    Parameters
    ----------
    net : Module
        Without its last layer, as ``torchvision`` runs it: batch norm folded, padding as the weights want it.
    blocks : tuple of str
        Names of its blocks, see :func:`block_names`.
    n_tuned : int
        Last blocks that the upper part begins with, at the latest: where more than one tensor passes, it begins
        earlier.
    normalise : callable
        uint8 images (k, side, side, 3) as the network takes them.
    side, width : int
    device : str
    """

    def __init__(
        self,
        net: nn.Module,
        blocks: tuple[str, ...],
        n_tuned: int,
        normalise: Callable[[AnyArray], torch.Tensor],
        side: int,
        width: int,
        device: str,
    ) -> None:
        self._normalise, self.width, self.device = normalise, width, device
        self._bottom, upper = cut(net, blocks[-n_tuned])
        self.top = _Pooled(upper)
        self.targets = tunable(self.top)
        if not self.targets:
            raise BadInputError(
                f"tuned_torchvision.blocks: the tuned blocks must hold a layer that low rank can be asked of; the last "
                f"{n_tuned} hold none. Ask for more"
            )
        blank = self.lower({PIXELS: np.zeros((1, side, side, 3), np.uint8)}, np.float32)
        self._shape = blank.shape[1:]

    def lower(self, items: Mapping[str, AnyArray], dtype: type[np.floating[Any]]) -> AnyArray:
        """Feature maps (k, channels, height, width)."""
        pixels = items[PIXELS]
        size = _PASS[self.device]
        with torch.inference_mode():
            maps = [
                self._bottom(self._normalise(pixels[start : start + size])).cpu().numpy()
                for start in range(0, len(pixels), size)
            ]
        return in_format(np.concatenate(maps), dtype)

    def through(self, top: nn.Module, images: torch.Tensor) -> torch.Tensor:
        """Vectors (k, width) of normalised images (k, 3, side, side), by ``top`` or a tuned copy of it."""
        vectors: torch.Tensor = top(self._bottom(images))
        return vectors

    def nothing(self, dtype: type[np.floating[Any]]) -> AnyArray:
        """(0, channels, height, width)."""
        return np.zeros((0, *self._shape), dtype)

    def collate(self, activations: AnyArray) -> tuple[torch.Tensor, ...]:
        """Feature maps, channels last in memory."""
        maps = to_tensor(activations, self.device).float()
        return (maps.contiguous(memory_format=torch.channels_last) if maps.ndim == 4 else maps,)

    def passes(self, activations: AnyArray) -> Iterator[AnyArray]:
        """A few images at a time."""
        size = _PASS[self.device]
        for start in range(0, len(activations), size):
            yield np.arange(start, min(start + size, len(activations)))


class _Pooled(nn.Module):
    """A network whose answer is one vector an image."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.net(maps)
        return output.flatten(1) if output.ndim == 2 else output.mean(dim=(2, 3))


class _Tracer(fx.Tracer):
    """Does not look into modules of our own: what they compute from sizes cannot be traced."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return type(m).__module__.startswith("hybrid_ray") or super().is_leaf_module(m, module_qualified_name)


def cut(net: nn.Module, block: str) -> tuple[fx.GraphModule, fx.GraphModule]:
    """A network in two at the last place, not after the start of a block, where a single tensor passes.

    Both parts keep the names of their layers.

    Raises
    ------
    BadInputError
        The network cannot be traced.
    """
    try:
        traced = net if isinstance(net, fx.GraphModule) else fx.GraphModule(net, _Tracer().trace(net))
    except TraceError as error:
        raise BadInputError(f"tuned_torchvision.model: must be a network that torch.fx can trace ({error})") from error
    nodes = [node for node in traced.graph.nodes if node.op != "output"]
    start = next(i for i, n in enumerate(nodes) if f"{n.target}.".startswith(f"{block}.") and n.op != "call_function")
    place = {node: i for i, node in enumerate(nodes)}
    last = {node: max((place.get(user, len(nodes)) for user in node.users), default=-1) for node in nodes}
    passing = [sum(last[n] > i for n in nodes[: i + 1] if n.op != "get_attr") for i in range(start)]
    at = next(i for i in reversed(range(start)) if passing[i] == 1 and last[nodes[i]] > i and _is_tensor(nodes[i]))
    bottom, upper = fx.Graph(), fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    for node in nodes[: at + 1]:
        copied[node] = bottom.node_copy(node, copied.__getitem__)
    bottom.output(copied[nodes[at]])
    copied = {nodes[at]: upper.placeholder("maps")}
    for node in nodes[at + 1 :]:
        copied[node] = upper.node_copy(node, copied.__getitem__)
    answer = next(node for node in traced.graph.nodes if node.op == "output").args[0]
    upper.output(copied[answer])
    return fx.GraphModule(traced, bottom).eval(), fx.GraphModule(traced, upper).eval()


def _is_tensor(node: fx.Node) -> bool:
    """False for several tensors in one, as ``chunk`` gives them."""
    return not any(user.target is operator.getitem for user in node.users)


@cache
def block_names(model: str) -> tuple[str, ...]:
    """Names of a model's blocks in order: its outermost modules of a kind that is repeated and holds several layers.

    A model without any (VGG, AlexNet) is taken layer by layer.
    """
    net, _, _ = build(model, empty=True)
    kinds = Counter(type(module) for module in net.modules() if _is_block(module))
    names: list[str] = []
    for name, module in net.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in names)
        if not inside and _is_block(module) and kinds[type(module)] > 1:
            names.append(name)
    return tuple(names) or tuple(name for name, module in net.named_modules() if isinstance(module, _WEIGHTS))


def _is_block(module: nn.Module) -> bool:
    if isinstance(module, _CONTAINERS) or type(module).__module__.startswith("torch."):
        return False
    return sum(isinstance(layer, _WEIGHTS) for layer in module.modules()) > 1

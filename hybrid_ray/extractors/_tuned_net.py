"""Networks cut in two, and low-rank matrices in the upper part. Imports torch: only methods import this."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from hybrid_ray.types import AnyArray, FloatArray

_Net = TypeVar("_Net", bound=nn.Module)


class Split(ABC):
    """A pretrained network in two: what stays as it is, and what is tuned.

    Attributes
    ----------
    top : Module
        The upper part as it was pretrained: vectors float32 (k, width) from what ``collate`` gives.
    targets : tuple of str
        Names of the layers in ``top`` that get low-rank matrices.
    width : int
    device : str
    """

    top: nn.Module
    targets: tuple[str, ...]
    width: int
    device: str

    @abstractmethod
    def lower(self, items: Mapping[str, AnyArray], dtype: type[np.floating[Any]]) -> AnyArray:
        """Activations (k, ...) of k > 0 items: what the upper part needs of them."""

    @abstractmethod
    def nothing(self, dtype: type[np.floating[Any]]) -> AnyArray:
        """Activations of no item."""

    def of_cells(self, items: Mapping[str, AnyArray], dtype: type[np.floating[Any]]) -> AnyArray:
        """Activations of items, if there are any."""
        return self.lower(items, dtype) if len(next(iter(items.values()))) else self.nothing(dtype)

    @abstractmethod
    def collate(self, activations: AnyArray) -> tuple[torch.Tensor, ...]:
        """Activations of some items, on the device, as the upper part takes them."""

    @abstractmethod
    def passes(self, activations: AnyArray) -> Iterator[AnyArray]:
        """Positions of items that go through the upper part together, each item once."""

    def upper(self, top: nn.Module, activations: AnyArray) -> FloatArray:
        """Vectors float32 (k, width) of k > 0 items, by ``top`` or a tuned copy of it."""
        vectors = np.empty((len(activations), self.width), np.float32)
        with torch.inference_mode():
            for items in self.passes(activations):
                vectors[items] = top(*self.collate(activations[items])).cpu().numpy()
        return vectors


def in_format(values: AnyArray, dtype: type[np.floating[Any]]) -> AnyArray:
    """A copy of values in a number format, those beyond it held at its bounds."""
    bound = np.finfo(dtype).max
    return values.clip(-bound, bound).astype(dtype)


def twin(net: _Net) -> _Net:
    """A copy of a network's structure around the same tensors: changing one's layers leaves the other's."""
    shared: dict[int, Any] = {id(tensor): tensor for tensor in chain(net.parameters(), net.buffers())}
    return copy.deepcopy(net, shared)


def tunable(net: nn.Module, within: str = "") -> tuple[str, ...]:
    """Names of linear layers and of convolutions that mix all channels, in order, of which low rank can be asked.

    Those inside torch's own attention are left out: it reads their weights past their layers.
    """
    inside = tuple(f"{name}." for name, module in net.named_modules() if isinstance(module, nn.MultiheadAttention))
    return tuple(
        name
        for name, module in net.named_modules()
        if name.startswith(within)
        and not (inside and name.startswith(inside))
        and (isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1))
    )


def with_adapters(top: nn.Module, targets: Sequence[str], rank: int, alpha: float) -> nn.Module:
    """A twin of ``top`` with fresh low-rank matrices beside the target layers, the only weights that learn.

    B is zero at first, so that the twin gives what ``top`` gives; A is drawn by torch's generator.
    """
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=list(targets))
    return inject_adapter_in_model(config, twin(top)).eval()


def adapters(net: nn.Module, targets: Sequence[str]) -> dict[str, nn.Parameter]:
    """The low-rank matrices of ``with_adapters``'s answer, by layer name with ``.A`` or ``.B``."""
    found: dict[str, nn.Parameter] = {}
    for name in targets:
        layer: Any = net.get_submodule(name)
        found |= {f"{name}.A": layer.lora_A["default"].weight, f"{name}.B": layer.lora_B["default"].weight}
    return found


def with_learned(top: nn.Module, learned: Mapping[str, AnyArray], scale: float) -> nn.Module:
    """A twin of ``top`` with ``scale`` B A added to the weights of the layers that ``learned`` names."""
    tuned = twin(top)
    for name in dict.fromkeys(key.rpartition(".")[0] for key in learned):
        layer: Any = tuned.get_submodule(name)
        weight: torch.Tensor = layer.weight
        a, b = (torch.from_numpy(np.array(learned[f"{name}.{side}"])).to(weight.device) for side in "AB")
        # A convolution of k x k learns an A of k x k and a B of 1 x 1: their product is one kernel again.
        delta = (b.flatten(1) @ a.flatten(1)).view(weight.shape) * scale
        layer.weight = nn.Parameter(weight + delta.to(weight.dtype), requires_grad=False)
    return tuned.eval()

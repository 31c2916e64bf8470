"""Transformers' encoders cut in two. Imports torch: only ``tuned_transformers`` imports this, inside its methods.

The model's own code runs both parts, so that masks, positions and norms are as it makes them. A hook before the first
tuned layer ends the lower part with what that layer would have got, and begins the upper part, a twin without the lower
layers, with what the hook is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from torch import nn

from hybrid_ray.errors import BadInputError
from hybrid_ray.extractors._transformers import IDS, LENGTHS, TransformersExtractor
from hybrid_ray.extractors._transformers_files import Encoder
from hybrid_ray.extractors._transformers_net import mask_of, pool
from hybrid_ray.extractors._tuned_net import Split, in_format, tunable, twin
from hybrid_ray.extractors.passes import packed_passes
from hybrid_ray.extractors.tensors import to_tensor
from hybrid_ray.types import AnyArray

_TOKENS: Mapping[str, int] = {"cpu": 512, "cuda": 65536}
"""Tokens, padding included, in one pass of the upper part."""
_GIVEN: ContextVar[torch.Tensor | None] = ContextVar("given", default=None)
"""Token vectors that the first tuned layer shall get; of each thread its own."""
_NEAR = 1e-4


class _Reached(Exception):
    """The first tuned layer was reached with these token vectors."""

    def __init__(self, hidden: torch.Tensor) -> None:
        super().__init__()
        self.hidden = hidden


def _at_the_cut(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    given = _GIVEN.get()
    if given is None:
        raise _Reached(args[0] if args else kwargs["hidden_states"])
    return ((given, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": given})


class TransformersSplit(Split):
    """An encoder in two, between two of its layers.

    Parameters
    ----------
    base : TransformersExtractor
        Set up in fp32.
    net : Module
        Its network.
    own : Encoder
        How it is used.
    n_tuned : int
        Last layers that are tuned.
    device : str

    Raises
    ------
    BadInputError
        The encoder's layers are not a list that can be cut.
    """

    def __init__(self, base: TransformersExtractor, net: nn.Module, own: Encoder, n_tuned: int, device: str) -> None:
        self._base, self.device = base, device
        name, layers = _layers(net)
        at = len(layers) - n_tuned
        if at < 0:
            raise BadInputError(
                f"tuned_transformers.blocks: must be at most the encoder's {len(layers)} layers; got {n_tuned}"
            )
        self._net = twin(net)
        lower = list(_list_at(self._net, name))
        lower[at].register_forward_pre_hook(_at_the_cut, with_kwargs=True)
        self.top = _Upper(self._net, name, at, own)
        self.targets = tunable(self.top, within=f"net.{name}.")
        self.width = base.item_features
        self._check(net, own)

    def _check(self, net: nn.Module, own: Encoder) -> None:
        """Refuse an encoder whose two parts together are not the whole."""
        sample = {IDS: np.arange(8, dtype=np.int32).reshape(2, 4), LENGTHS: np.array([4, 3], np.int32)}
        try:
            halves = self.upper(self.top, self.lower(sample, np.float32))
        except (KeyError, IndexError, AttributeError, TypeError, ValueError, RuntimeError) as error:
            raise _cannot(own, f"{type(error).__name__}: {error}") from error
        if not np.allclose(halves, self._base.encode(sample), rtol=_NEAR, atol=_NEAR):
            raise _cannot(own, "its last layers need more than the vectors of those below")

    def lower(self, items: Mapping[str, AnyArray], dtype: type[np.floating[Any]]) -> AnyArray:
        """Token vectors of each text, object (k,) of arrays (length, d): no padding is kept."""
        found = np.empty(len(items[LENGTHS]), object)
        with torch.inference_mode():
            for texts, tokens, sizes in self._base.passes(items):
                hidden = self._lower(tokens, sizes).float().cpu().numpy()
                for row, text in enumerate(texts):
                    found[text] = in_format(hidden[row, : int(sizes[row])], dtype)
        return found

    def _lower(self, tokens: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
        try:
            self._net(input_ids=tokens, attention_mask=mask_of(tokens, sizes))
        except _Reached as reached:
            return reached.hidden
        raise AssertionError("the encoder must run its last layers")

    @property
    def words(self) -> nn.Module:
        """The layer of the lower part that gives vectors of tokens."""
        encoder: Any = self._net
        layer: nn.Module = encoder.get_input_embeddings()
        return layer

    def through(self, top: nn.Module, tokens: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
        """Vectors (k, width) of tokens (k, longest) and lengths, by ``top`` or a tuned copy of it."""
        vectors: torch.Tensor = top(self._lower(tokens, sizes), sizes)
        return vectors

    def nothing(self, dtype: type[np.floating[Any]]) -> AnyArray:
        """An empty array of objects."""
        return np.empty(0, object)

    def collate(self, activations: AnyArray) -> tuple[torch.Tensor, ...]:
        """Token vectors padded to the longest text, and the texts' lengths."""
        sizes = np.array([len(text) for text in activations], np.int64)
        padded = np.zeros((len(sizes), sizes.max(initial=1), activations[0].shape[1]), np.float32)
        for row, text in enumerate(activations):
            padded[row, : len(text)] = text
        return to_tensor(padded, self.device), to_tensor(sizes, self.device)

    def passes(self, activations: AnyArray) -> Iterator[AnyArray]:
        """Texts of like length: what is padded to the longest of all would take much memory."""
        lengths = np.array([len(text) for text in activations], np.int64)
        for texts, _, _ in packed_passes(lengths, _TOKENS[self.device]):
            yield texts


class _Upper(nn.Module):
    """The layers from the cut on, behind which token vectors are pooled."""

    def __init__(self, net: nn.Module, name: str, at: int, own: Encoder) -> None:
        super().__init__()
        self.net = twin(net)
        self.net.set_submodule(name, nn.ModuleList(list(_list_at(self.net, name))[at:]))
        self._own = own

    def forward(self, hidden: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
        # A batch of a training holds texts of any length: those of like length go through together, without padding.
        passes = list(packed_passes(sizes.cpu().numpy(), _TOKENS[hidden.device.type]))
        vectors = [
            self._pass(hidden[torch.from_numpy(texts).to(hidden.device), :width], sizes[texts])
            for texts, _, width in passes
        ]
        order = np.argsort(np.concatenate([texts for texts, _, _ in passes]))
        return torch.cat(vectors)[torch.from_numpy(order).to(hidden.device)]

    def _pass(self, hidden: torch.Tensor, sizes: torch.Tensor) -> torch.Tensor:
        token = _GIVEN.set(hidden)
        try:
            words = torch.zeros(hidden.shape[:2], dtype=torch.int64, device=hidden.device)
            output = self.net(input_ids=words, attention_mask=mask_of(hidden, sizes)).last_hidden_state
        finally:
            _GIVEN.reset(token)
        return pool(output, sizes, self._own.pooling, self._own.normalize)


def _layers(net: nn.Module) -> tuple[str, nn.ModuleList]:
    """The longest list of modules of one kind, and its name."""
    lists = [
        (name, module)
        for name, module in net.named_modules()
        if isinstance(module, nn.ModuleList) and len({type(layer) for layer in module}) == 1
    ]
    if not lists:
        raise BadInputError("tuned_transformers.model: must be an encoder of a list of layers; got one without")
    return max(lists, key=lambda entry: len(entry[1]))


def _list_at(net: nn.Module, name: str) -> nn.ModuleList:
    found = net.get_submodule(name)
    assert isinstance(found, nn.ModuleList)
    return found


def _cannot(own: Encoder, reason: str) -> BadInputError:
    return BadInputError(f"tuned_transformers.model: must be an encoder that can be cut between its layers; {reason}")

"""Gradients of features by pixels and by the vectors of tokens. Imports torch: only methods import this."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from hybrid_ray.extractors.sight import Sight
from hybrid_ray.extractors.tensors import to_features, to_tensor
from hybrid_ray.types import AnyArray, FloatArray

_PIXELS = 4 * 224**2
"""Pixels of one pass: what keeps the activations that gradients need small, and in a processor's cache."""
_TOKENS = 1024
"""Tokens of one pass."""


class NetworkSight(Sight):
    """A cell as numbers that a network has gradients by.

    Parameters
    ----------
    itself, nothing : Tensor (height, width, channels) or (tokens, d)
        Float32, on the network's device.
    run : callable
        Vectors (k, n_features) of k such tensors (k, ...).
    most : int
        Places of the way that go through the network together.
    """

    def __init__(
        self,
        itself: torch.Tensor,
        nothing: torch.Tensor,
        run: Callable[[torch.Tensor], torch.Tensor],
        most: int,
    ) -> None:
        self._nothing, self._way = nothing, itself - nothing
        self._run = run
        self._most = max(most, 1)

    @classmethod
    def of_image(
        cls, pixels: AnyArray, usual: AnyArray, device: str, run: Callable[[torch.Tensor], torch.Tensor]
    ) -> NetworkSight:
        """An image; nothing is the mean of usual ones, pixel by pixel, so that what all have alike counts for nothing.

        Parameters
        ----------
        pixels : ndarray of uint8 (height, width, channels)
        usual : ndarray of uint8 (m, height, width, channels)
            Without any, nothing is a black image.
        device : str
        run : callable
            Vectors of float images (k, height, width, channels), levels from 0 to 255.
        """
        itself = to_tensor(pixels, device).float()
        nothing = to_tensor(usual, device).float().mean(dim=0) if len(usual) else torch.zeros_like(itself)
        sight = cls(itself, nothing, run, _PIXELS // (pixels.shape[0] * pixels.shape[1]))
        sight.picture = pixels
        return sight

    @classmethod
    def of_text(
        cls,
        words: nn.Module,
        numbers: torch.Tensor,
        blank: torch.Tensor,
        tokens: Sequence[str],
        run: Callable[[int], torch.Tensor],
    ) -> NetworkSight:
        """A text; nothing is as many tokens that say nothing.

        Parameters
        ----------
        words : Module
            The network's layer that gives vectors of tokens.
        numbers, blank : Tensor of int64 (tokens,)
            The text, and what stands for nothing.
        tokens : sequence of str
        run : callable
            Vectors (k, n_features) of k copies of the text, whose tokens ``words`` is asked for once.
        """

        def run_on(vectors: torch.Tensor) -> torch.Tensor:
            with _given(words, vectors):
                return run(len(vectors))

        with torch.no_grad():
            itself, nothing = words(numbers).float(), words(blank).float()
        sight = cls(itself, nothing, run_on, _TOKENS // len(numbers))
        sight.tokens = tuple(tokens)
        return sight

    def features(self, share: float) -> FloatArray:
        """The cell's vector at a place of the way."""
        with torch.no_grad():
            vector: FloatArray = to_features(self._run(self._at([share])))[0]
        return vector

    def slopes(self, shares: Sequence[float], weights: AnyArray) -> AnyArray:
        """How fast a weighted sum of features grows along the way, by piece."""
        asked = torch.as_tensor(weights, dtype=torch.float32, device=self._way.device)
        total = torch.zeros_like(self._way, dtype=torch.float64)
        for start in range(0, len(shares), self._most):
            with torch.enable_grad():
                inputs = self._at(shares[start : start + self._most]).requires_grad_()
                (gradient,) = torch.autograd.grad((self._run(inputs).float() @ asked).sum(), inputs)
            total += gradient.double().sum(dim=0)
        grown: AnyArray = (total * self._way).sum(dim=-1).cpu().numpy()
        return grown

    def _at(self, shares: Sequence[float]) -> torch.Tensor:
        places = torch.tensor(shares, dtype=torch.float32, device=self._way.device)
        return self._nothing + places.view(-1, *[1] * self._way.ndim) * self._way


@contextmanager
def _given(words: nn.Module, vectors: torch.Tensor) -> Iterator[None]:
    """A block in which a layer answers vectors, whatever it is asked."""
    # The layer is replaced by what it would give, as few encoders take vectors in place of tokens in the same way.
    hook = words.register_forward_hook(lambda *_: vectors)
    try:
        yield
    finally:
        hook.remove()

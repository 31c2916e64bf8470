"""The base of extractors that run a pretrained network."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

from hybrid_ray.errors import ArtifactError
from hybrid_ray.extractors.compression import CompressibleParams
from hybrid_ray.extractors.items import ItemExtractor
from hybrid_ray.extractors.precision import (
    SAMPLE_ROWS,
    Format,
    close_enough,
    company_free,
    effective,
    native_formats,
    one_by_one,
)
from hybrid_ray.params import PluginParams
from hybrid_ray.spec.compression import Compression
from hybrid_ray.types import Batch, FloatArray, Kind, Prepared, State

if TYPE_CHECKING:
    from torch import nn

    from hybrid_ray.extractors._compressed_net import Packed

COMPRESSED = "compressed.safetensors.z"
"""File of the numbers of a network that was made smaller."""


class PretrainedExtractor(ItemExtractor):
    """An item extractor with frozen weights and a parameter ``precision``."""

    def __init__(self, params: PluginParams, columns: Mapping[str, Kind]) -> None:
        super().__init__(params, columns)
        self._state: State | None = None
        self._emulate = False
        self._exact: Self | None = None
        self._device = ""

    @classmethod
    def from_state(cls, params: PluginParams, columns: Mapping[str, Kind], state: State) -> Self:
        """The extractor with the weights of a state, which are loaded by ``setup``."""
        extractor = cls(params, columns)
        extractor._state = state
        return extractor

    @abstractmethod
    def settle(self) -> PluginParams:
        """Parameters with everything written out that the weights decide, ``precision`` left as it is."""

    @property
    def undecided(self) -> bool:
        """True while ``precision`` is left to the machine."""
        return bool(self.params.precision == "auto")

    def identity(self) -> dict[str, Any]:
        """The parameters, with the number format that is computed in: a choice never made is fp32."""
        return super().identity() | {"precision": effective(self.params.precision)}

    def format_on(self, device: str) -> Format:
        """The number format that is computed in on a device.

        As the parameters say, even where it has to be emulated: cached features are of one format. Only an extractor
        out of a saved graph, which fills no cache, computes in fp32 where its own format is not native: it was chosen
        for its speed on another machine, and fp32 is nearer to what both of them mean.
        """
        name = effective(self.params.precision)
        emulated = name != "fp32" and name not in native_formats(device)
        return "fp32" if self._state is not None and emulated and not self._emulate else name

    def counterpart(self, device: str = "cpu") -> Self | None:
        """For a reduced format: fp32 where this extractor computes in its format, its format where it does not.

        For products of integers: the same weights, whose inputs are not rounded.
        """
        name = effective(self.params.precision)
        if self.compression.dynamic:
            # Where a sum is off by a rounding, inputs are other integers: as far from these as from no rounding at all.
            floats = Compression(int8="weights", prune=self.compression.prune)
            return self._with(self.params.compressed(floats), "fp32", device)
        if name == "fp32":
            return None
        return self._with(self.params, "fp32" if self.format_on(device) == name else name, device)

    def with_gradients(self) -> Self:
        """Give this extractor, or, where it rounds what it computes, the same weights in fp32, set up likewise."""
        if not self.fixed_shapes:
            return self
        if self._exact is None:
            self._exact = self.counterpart(self._device)
        assert self._exact is not None, "what rounds has a counterpart that does not"
        return self._exact

    # ------------------------------------------------------------------ smaller networks

    @property
    def compression(self) -> Compression:
        """How the network is made smaller."""
        return self.params.compress if isinstance(self.params, CompressibleParams) else Compression()

    @property
    def saved_smaller(self) -> bool:
        """True out of a saved graph that holds the network as it was made smaller, and not its weights."""
        return self._state is not None and self.compression.asked

    @property
    def fixed_shapes(self) -> bool:
        """True where a row's features would depend on its company but for passes of fixed shapes.

        A sum that is off by a rounding, as it is in another shape, may round an input to another integer.
        """
        return self.format_on(self._device) != "fp32" or self.compression.dynamic

    def smaller(self, net: nn.Module, run: Callable[[], object]) -> nn.Module:
        """The network as ``compress`` asks for it: made smaller, or, out of a saved graph, as it was saved.

        Parameters
        ----------
        net : Module
            In fp32; out of a saved graph one of the same structure, with any numbers. It is changed in place.
        run : callable
            Takes some input through it.

        Raises
        ------
        ArtifactError
            What was saved is of another network: another version of its library builds it otherwise.
        """
        if not self.compression.asked:
            return net
        from hybrid_ray.extractors._compressed_net import Packed

        if self._state is None:
            return self._pack(net, run).put_into(net, self.compression.dynamic)
        try:
            packed = Packed.from_bytes(self._state.blobs[COMPRESSED], net)
        except ValueError as error:
            raise ArtifactError(
                f"{self.name}: {error}. Load the model with the versions of torch, torchvision and transformers that "
                "made it"
            ) from error
        return packed.put_into(net, self.compression.dynamic)

    def packed(self, net: nn.Module, run: Callable[[], object]) -> dict[str, bytes]:
        """The file of a network that is made smaller, for ``get_state``; takes what ``smaller`` takes."""
        return {COMPRESSED: self._pack(net, run).to_bytes()}

    def _pack(self, net: nn.Module, run: Callable[[], object]) -> Packed:
        from hybrid_ray.extractors._compressed_net import packed

        asked = self.compression
        return packed(net, asked.prune, asked.int8 != "none", run if asked.dynamic else None)

    def resolve(self, batch: Batch, device: str = "cpu") -> PluginParams:
        """The weights' own choices written out, and the number format chosen on the first rows of ``batch``."""
        settled = self.settle()
        if self.params.precision != "auto":
            return settled
        formats = () if self.compression.dynamic else native_formats(device)
        if formats:
            prepared = self.prepare({column: batch[column][:SAMPLE_ROWS] for column in self.columns})
            reference = self._with(settled, "fp32", device).extract(prepared.arrays)
            for name in formats:
                if _stands(self._with(settled, name, device), prepared, reference):
                    return settled.model_copy(update={"precision": name})
        return settled.model_copy(update={"precision": "fp32"})

    def _with(self, params: PluginParams, precision: Format, device: str) -> Self:
        """Give this extractor in another format, set up, emulated if need be."""
        other = type(self)(params.model_copy(update={"precision": precision}), self.columns)
        other._state, other._emulate = self._state, True
        other.setup(device)
        return other


def _stands(extractor: PretrainedExtractor, prepared: Prepared, reference: FloatArray) -> bool:
    """True when an extractor in a reduced format is near to fp32, and a row by itself is what it is in company."""
    together = extractor.extract(prepared.arrays)
    if not close_enough(reference, together):
        return False
    return company_free(together, one_by_one(extractor.extract, prepared.arrays))

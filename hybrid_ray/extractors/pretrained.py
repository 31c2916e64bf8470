"""The base of extractors that run a pretrained network."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Self

from hybrid_ray.extractors.items import ItemExtractor
from hybrid_ray.extractors.precision import SAMPLE_ROWS, Format, close_enough, effective, native_formats
from hybrid_ray.params import PluginParams
from hybrid_ray.types import Batch, Kind, State


class PretrainedExtractor(ItemExtractor):
    """An item extractor with frozen weights and a parameter ``precision``."""

    def __init__(self, params: PluginParams, columns: Mapping[str, Kind]) -> None:
        super().__init__(params, columns)
        self._state: State | None = None

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
        return "fp32" if self._state is not None and emulated else name

    def resolve(self, batch: Batch, device: str = "cpu") -> PluginParams:
        """The weights' own choices written out, and the number format chosen on the first rows of ``batch``."""
        settled = self.settle()
        if self.params.precision != "auto":
            return settled
        formats = native_formats(device)
        if formats:
            prepared = self.prepare({column: batch[column][:SAMPLE_ROWS] for column in self.columns})
            reference = self._with(settled, "fp32", device).extract(prepared.arrays)
            for name in formats:
                if close_enough(reference, self._with(settled, name, device).extract(prepared.arrays)):
                    return settled.model_copy(update={"precision": name})
        return settled.model_copy(update={"precision": "fp32"})

    def _with(self, params: PluginParams, precision: str, device: str) -> Self:
        other = type(self)(params.model_copy(update={"precision": precision}), self.columns)
        other._state = self._state
        other.setup(device)
        return other

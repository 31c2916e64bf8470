"""Data-level fusion in front of an extractor: several columns become one, and that is what the extractor reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from pydantic import ValidationError

from hybrid_ray.digests import digest_json
from hybrid_ray.errors import SpecError
from hybrid_ray.extractors.base import Extractor, FitContext, build_extractor
from hybrid_ray.extractors.sight import Sight
from hybrid_ray.fusion.base import DataFusion
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import AnyArray, Batch, Block, FloatArray, Kind, Prepared, State

FUSED = "fused"
"""Name of the one column that the extractor behind a fusion reads."""
_ROWS = 256
"""Rows whose fused column lies in memory at once: an image that is not compressed is large."""


@dataclass(frozen=True)
class FusionEntry:
    """A data-level fusion by name, as tasks and artifacts need it.

    Attributes
    ----------
    name : str
        Registered name of the plugin.
    params : dict
    """

    name: str
    params: dict[str, Any] = field(default_factory=dict)

    def build(self) -> DataFusion:
        """The fusion.

        Raises
        ------
        BadInputError
            No such plugin.
        SpecError
            It is not a data-level fusion, or a parameter does not fit it.
        """
        plugin = FUSIONS.get(self.name)
        if not issubclass(plugin, DataFusion):
            raise SpecError([f"fusion: must be of data level; got {self.name!r}, of {plugin.level} level"])
        try:
            return plugin(plugin.Params.model_validate(self.params))
        except ValidationError as error:
            raise SpecError(
                [
                    f"fusion {self.name}.params.{'.'.join(map(str, e['loc']))}: {e['msg']}; got {e['input']!r}"
                    for e in error.errors()
                ]
            ) from None

    def behind(self) -> dict[str, Kind]:
        """The columns of the extractor behind the fusion."""
        return {FUSED: FUSIONS.get(self.name).gives}


def build_fused(
    name: str, params: PluginParams | Mapping[str, Any], columns: Mapping[str, Kind], fusion: FusionEntry
) -> FusedExtractor:
    """An extractor behind a data-level fusion, not yet set up.

    Parameters
    ----------
    name : str
        Registered name of the extractor.
    params : Params or mapping
        The extractor's own.
    columns : mapping of str to Kind
        What the fusion puts together.
    fusion : FusionEntry

    Raises
    ------
    BadInputError
        No such plugin.
    SpecError
        Parameters or columns do not fit the extractor or the fusion.
    """
    made = fusion.build()
    wrong = [c for c, kind in columns.items() if kind not in made.takes]
    if wrong or not columns:
        raise SpecError(
            [f"{name}.columns: {fusion.name} must be given columns of kind {sorted(made.takes)}; got {wrong or 'none'}"]
        )
    return FusedExtractor(build_extractor(name, params, fusion.behind()), made, columns)


class FusedExtractor(Extractor):
    """An extractor that reads what a data-level fusion makes of its columns.

    It stands for the extractor behind it everywhere: same parameters, same tags, same state. Only ``prepare`` differs,
    so that training, batch prediction and serving put columns together alike.

    Parameters
    ----------
    inner : Extractor
        Reads one column, ``FUSED``, of the kind that the fusion gives.
    fusion : DataFusion
    columns : mapping of str to Kind
        What the fusion puts together; kept in the order of their names.
    """

    def __init__(self, inner: Extractor, fusion: DataFusion, columns: Mapping[str, Kind]) -> None:
        super().__init__(inner.params, dict(sorted(columns.items())))
        self.inner = inner
        self.fusion = fusion
        self.name = inner.name  # type: ignore[misc]
        self.tags = inner.tags  # type: ignore[misc]
        self.Params = inner.Params  # type: ignore[misc]

    @property
    def entry(self) -> FusionEntry:
        """The fusion as an artifact keeps it."""
        return FusionEntry(self.fusion.name, self.fusion.params.model_dump(mode="json"))

    def prepare(self, batch: Batch) -> Prepared:
        """Put columns together, some rows at a time, and let the extractor decode what comes out."""
        n = len(batch[next(iter(self.columns))])
        return Prepared.concat(list(self._parts(batch, n)))

    def _parts(self, batch: Batch, n: int) -> Iterator[Prepared]:
        for start in range(0, max(n, 1), _ROWS):
            fused = self.fusion.combine({c: batch[c][start : start + _ROWS] for c in self.columns}, self.columns)
            part = self.inner.prepare({FUSED: fused.values})
            errors = dict(fused.errors)
            for row, why in part.errors.items():
                errors[row] = "; ".join(filter(None, [errors.get(row), why]))
            yield replace(part, errors=errors)

    def setup(self, device: str = "cpu") -> None:
        """Load what the extractor needs."""
        self.inner.setup(device)

    def extract(self, arrays: Mapping[str, AnyArray]) -> FloatArray:
        """Features of the extractor."""
        return self.inner.extract(arrays)

    @property
    def n_features(self) -> int:
        """Those of the extractor."""
        return self.inner.n_features

    @property
    def most_features(self) -> int | None:
        """Those of the extractor."""
        return self.inner.most_features

    def fit(self, prepared: Prepared, y: AnyArray | None, context: FitContext) -> Self:
        """Fit the extractor."""
        self.inner.fit(prepared, y, context)
        return self

    def before_fits(self, prepared: Prepared, most_bytes: int | None = None) -> Prepared:
        """What the fits of the extractor have in common."""
        return self.inner.before_fits(prepared, most_bytes)

    def shared(self, prepared: Prepared) -> Prepared:
        """What the fitted copies of the extractor have in common."""
        return self.inner.shared(prepared)

    def adopt(self, copy: Extractor) -> None:
        """Use what the extractor of a copy has in common with this one's."""
        self.inner.adopt(copy.inner if isinstance(copy, FusedExtractor) else copy)

    def cross_fitted(self, prepared: Prepared, y: AnyArray | None, context: FitContext) -> Block | None:
        """Those of the extractor."""
        return self.inner.cross_fitted(prepared, y, context)

    def sights(self, arrays: Mapping[str, AnyArray], usual: Mapping[str, AnyArray]) -> Sequence[Sight | None]:
        """What the extractor sees of what was put together."""
        return self.inner.sights(arrays, usual)

    def learned(self) -> State:
        """What the extractor learned."""
        return self.inner.learned()

    def get_state(self) -> State:
        """The extractor's: a fusion learns nothing."""
        return self.inner.get_state()

    @classmethod
    def from_state(cls, params: PluginParams, columns: Mapping[str, Kind], state: State) -> Self:
        """Refused: parameters and state do not tell which extractor it is."""
        raise TypeError("FusedExtractor: must be built by its parts; call with_state on one")

    def with_state(self, state: State) -> Extractor:
        """The same fusion before the extractor with that state."""
        return FusedExtractor(self.inner.with_state(state), self.fusion, self.columns)

    def check(self) -> None:
        """What the fusion or the extractor refuses."""
        self.fusion.check()
        self.inner.check()

    @property
    def undecided(self) -> bool:
        """Whether the extractor is."""
        return self.inner.undecided

    @property
    def decided_by_rows(self) -> bool:
        """Whether the extractor is."""
        return self.inner.decided_by_rows

    def resolve(self, batch: Batch, device: str = "cpu") -> PluginParams:
        """The extractor's parameters, decided on rows that were put together."""
        first = {c: batch[c][:_ROWS] for c in self.columns}
        return self.inner.resolve({FUSED: self.fusion.combine(first, self.columns).values}, device)

    def counterpart(self, device: str = "cpu") -> Extractor | None:
        """The extractor's, behind the same fusion."""
        other = self.inner.counterpart(device)
        return FusedExtractor(other, self.fusion, self.columns) if other is not None else None

    def weights_digest(self) -> str:
        """The extractor's."""
        return self.inner.weights_digest()

    def identity(self) -> dict[str, Any]:
        """The extractor's: those that are its own parameters."""
        return self.inner.identity()

    def fingerprint(self) -> str:
        """Digest of the extractor's, the fusion, and the columns that it reads."""
        return digest_json(
            {
                "behind": self.inner.fingerprint(),
                "fusion": self.fusion.name,
                "version": self.fusion.version,
                "params": self.fusion.params.identity(),
                "columns": list(self.columns.items()),
            }
        )

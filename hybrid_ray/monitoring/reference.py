"""What a version's rows were like when it was scored: what later windows are compared with.

It is made of the test rows. On training rows a model is surer than it will ever be again, and every window would seem
to have drifted.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from hybrid_ray.errors import ArtifactError
from hybrid_ray.graph import Graph
from hybrid_ray.monitoring.drift import thinned
from hybrid_ray.monitoring.traits import Trait, Traits, input_traits, prediction_traits
from hybrid_ray.types import AnyArray, Batch, Block, FloatArray, State

ROWS = 1000
"""Values of each trait that a reference holds at most."""
WIDTH = 32
"""Numbers of an embedding that are looked at: a longer one is projected."""
_FORMAT = 1


@dataclass(frozen=True)
class Reference:
    """Traits of the rows that a version was scored on.

    Attributes
    ----------
    traits : dict of str to Trait
    rows : int
        From how many rows.
    metric : str
    score : float or None
        What the version reached, out of fold.
    """

    traits: Traits
    rows: int
    metric: str
    score: float | None

    @classmethod
    def of(cls, traits: Traits, rows: int, metric: str, score: float | None, *, seed: int = 0) -> Self:
        """A reference that holds ``ROWS`` values of each trait at most."""
        return cls(thinned(traits, ROWS, seed), rows, metric, score)

    def state(self) -> State:
        """As files without pickle: numbers and vectors as tensors, categories as codes of names."""
        told: dict[str, Any] = {}
        tensors: dict[str, AnyArray] = {}
        for name, trait in self.traits.items():
            told[name] = {"source": trait.source, "form": trait.form}
            if trait.form == "category":
                names, codes = np.unique(trait.values.astype(str), return_inverse=True)
                told[name]["names"] = names.tolist()
                tensors[name] = codes.astype(np.int32)
            else:
                tensors[name] = trait.values
        meta = {"format": _FORMAT, "traits": told, "rows": self.rows, "metric": self.metric, "score": self.score}
        return State(meta=meta, tensors=tensors)

    @classmethod
    def from_state(cls, state: State, where: str) -> Self:
        """What ``state`` gave.

        Raises
        ------
        ArtifactError
            It is not the state of a reference, or of a newer one.
        """
        meta = state.meta
        if meta.get("format") != _FORMAT:
            raise ArtifactError(f"{where}: must be a reference of format {_FORMAT}; got {meta.get('format')!r}")
        try:
            traits = {name: _trait(told, state.tensors[name]) for name, told in meta["traits"].items()}
            return cls(traits, int(meta["rows"]), str(meta["metric"]), meta["score"])
        except (KeyError, TypeError, IndexError) as error:
            raise ArtifactError(f"{where}: must hold every trait that it names; {error}") from error


def _trait(told: Mapping[str, Any], values: AnyArray) -> Trait:
    if told["form"] == "category":
        values = np.array(told["names"], object)[values]
    return Trait(told["source"], told["form"], values)


def traits_of(graph: Graph, batch: Batch, embeddings: Mapping[str, Block], outputs: AnyArray) -> Traits:
    """All that is watched of n rows: of the inputs, of what :func:`embeddings_of` made of them, and of the answers."""
    seen = {
        f"embedding:{name}": Trait("embedding", "vector", block.values[block.present])
        for name, block in embeddings.items()
    }
    return input_traits(batch, graph.columns) | seen | prediction_traits(graph, outputs, batch)


def embeddings_of(graph: Graph, blocks: Mapping[str, Block]) -> dict[str, Block]:
    """What extractors made of rows, by their id, on few directions: of copies of one, the first's.

    None of forecasters: what these give is told by the forecast.
    """
    if graph.outlook is not None:
        return {}
    firsts = {group: blocks[keys[0]] for group, keys in graph.groups().items()}
    return {group: Block(projection(block.values, group), block.present) for group, block in firsts.items()}


def projection(vectors: FloatArray, name: str) -> FloatArray:
    """Vectors (n, d) on ``WIDTH`` directions that are the same for one name and d; as they are where d is no larger.

    Distances are kept, nearly (Johnson and Lindenstrauss 1984): what lay apart lies apart.
    """
    d = vectors.shape[1]
    if d <= WIDTH:
        return vectors
    rng = np.random.default_rng([d, zlib.crc32(name.encode())])
    directions = (rng.choice([-1.0, 1.0], (d, WIDTH)) / np.sqrt(WIDTH)).astype(np.float32)
    projected: FloatArray = vectors @ directions
    return projected

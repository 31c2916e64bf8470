"""A toy graph: image, text and table extractors and quick learners, in memory, for tests of what carries a graph.

The classes are registered under names that begin with ``toy_``; importing this module registers them.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, cast

import numpy as np
from pydantic import Field

from hybrid_ray.candidate import Candidate
from hybrid_ray.data.encoded import DecodeError
from hybrid_ray.data.images import decode
from hybrid_ray.estimators.base import EstimatorFamily, EstimatorTags, Model, Trial
from hybrid_ray.extractors.base import Extractor, ExtractorTags
from hybrid_ray.fusion.base import DecisionFusion, FeatureFusion
from hybrid_ray.fusion.scoring import Scoring
from hybrid_ray.graph import Graph, Member, fit_chain
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import ESTIMATORS, EXTRACTORS, FUSIONS
from hybrid_ray.types import AnyArray, Batch, Block, FloatArray, Kind, Prepared, State, Task

TOY_COLUMNS: dict[str, Kind] = {
    "photo": "image",
    "title": "text",
    "price": "numeric",
    "brand": "categorical",
    "listed": "date",
}


def _bucket(text: str, width: int) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) % width


class _Stateless(Extractor):
    """An extractor without weights."""

    def get_state(self) -> State:
        return State()

    @classmethod
    def from_state(cls, params: PluginParams, columns: Mapping[str, Kind], state: State) -> Self:
        return cls(params, columns)

    def extract(self, arrays: Mapping[str, AnyArray]) -> FloatArray:
        return np.asarray(arrays["x"], np.float32).reshape(-1, self.n_features)


@EXTRACTORS.register("toy_image")
class ToyImage(_Stateless):
    """Grey levels of a thumbnail."""

    tags: ClassVar[ExtractorTags] = ExtractorTags(modality="image", kinds=frozenset({"image"}))

    class Params(PluginParams):
        """Parameters of ``toy_image``."""

        size: int = Field(4, ge=1, le=64, description="Side of the thumbnail, pixels.")

    @property
    def n_features(self) -> int:
        """Pixels of the thumbnail."""
        return int(self.params.size) ** 2

    def prepare(self, batch: Batch) -> Prepared:
        """Decode and shrink; the mean over the columns that hold an image."""
        n = len(batch[next(iter(self.columns))])
        rows: list[AnyArray] = []
        present = np.zeros(n, bool)
        errors: dict[int, str] = {}
        for row in range(n):
            pictures: list[AnyArray] = []
            for column in self.columns:
                try:
                    pictures += [self._thumbnail(batch[column][row])] if batch[column][row] is not None else []
                except DecodeError as error:
                    errors[row] = f"{column}: {error}"
            if pictures:
                present[row] = True
                rows.append(np.mean(pictures, axis=0))
        x = np.stack(rows) if rows else np.zeros((0, self.n_features))
        return Prepared({"x": x.astype(np.float32)}, present, errors)

    def _thumbnail(self, value: bytes | str) -> AnyArray:
        size = (self.params.size, self.params.size)
        return np.asarray(decode(value, "L").resize(size), np.float64).ravel() / 255.0


@EXTRACTORS.register("toy_text")
class ToyText(_Stateless):
    """Words counted in hashed bins."""

    tags: ClassVar[ExtractorTags] = ExtractorTags(modality="text", kinds=frozenset({"text"}), costly=False)

    class Params(PluginParams):
        """Parameters of ``toy_text``."""

        width: int = Field(16, ge=1, le=4096, description="Number of bins.")

    @property
    def n_features(self) -> int:
        """Number of bins."""
        return int(self.params.width)

    def prepare(self, batch: Batch) -> Prepared:
        """Count words."""
        columns = [batch[c] for c in self.columns]
        texts = [" ".join(str(v) for v in values if v is not None) for values in zip(*columns, strict=True)]
        present = np.array([any(v is not None for v in values) for values in zip(*columns, strict=True)], bool)
        counts = np.zeros((int(present.sum()), self.n_features), np.float32)
        for i, row in enumerate(np.flatnonzero(present)):
            for word in texts[row].split()[:1000]:
                counts[i, _bucket(word, self.n_features)] += 1
        return Prepared({"x": np.log1p(counts)}, present)


@EXTRACTORS.register("toy_table")
class ToyTable(_Stateless):
    """Squashed numbers, years, and hashed categories."""

    tags: ClassVar[ExtractorTags] = ExtractorTags(
        modality="tabular", kinds=frozenset({"numeric", "categorical", "date"}), costly=False
    )

    class Params(PluginParams):
        """Parameters of ``toy_table``."""

        width: int = Field(8, ge=1, le=4096, description="Number of bins of a category.")

    @property
    def n_features(self) -> int:
        """Two for a number or a date, ``width`` for a category."""
        return sum(int(self.params.width) if kind == "categorical" else 2 for kind in self.columns.values())

    def prepare(self, batch: Batch) -> Prepared:
        """Encode every column; a row is present when any of them is."""
        parts, there = zip(*(self._encode(batch[name], kind) for name, kind in self.columns.items()), strict=True)
        present = np.any(there, axis=0)
        return Prepared({"x": np.concatenate(parts, axis=1)[present].astype(np.float32)}, present)

    def _encode(self, values: AnyArray, kind: Kind) -> tuple[AnyArray, AnyArray]:
        if kind == "categorical":
            there = np.array([v is not None for v in values], bool)
            hot = np.zeros((len(values), int(self.params.width)))
            for row in np.flatnonzero(there):
                hot[row, _bucket(values[row], hot.shape[1])] = 1
            return hot, there
        if kind == "date":
            there = ~np.isnat(values)
            numbers = np.where(there, values, np.datetime64(0, "ms")).astype("datetime64[D]").astype(np.float64) / 3652
        else:
            there = ~np.isnan(values)
            numbers = np.where(there, values, 0.0)
        return np.stack([np.arctan(numbers), there], axis=1), there


@FUSIONS.register("toy_concat")
class ToyConcat(FeatureFusion):
    """Blocks side by side, sorted by name."""

    class Params(PluginParams):
        """No parameters."""

    def __init__(self, params: PluginParams, names: Sequence[str] = ()) -> None:
        super().__init__(params)
        self.names = tuple(names)

    def fit(self, inputs: Mapping[str, Block], y: AnyArray | None, task: Task, seed: int = 0) -> Self:
        """Remember the names."""
        self.names = tuple(sorted(inputs))
        return self

    def combine(self, inputs: Mapping[str, Block]) -> FloatArray:
        """Values of each block, zeros where it is not present, and whether it is."""
        parts = [
            np.c_[np.where(inputs[n].present[:, None], inputs[n].values, 0), inputs[n].present] for n in self.names
        ]
        return np.concatenate(parts, axis=1).astype(np.float32)

    @classmethod
    def space(cls, trial: Trial, dims: Mapping[str, int]) -> dict[str, Any]:
        """Nothing to search."""
        return {}

    @classmethod
    def portfolio(cls, dims: Mapping[str, int]) -> Sequence[Mapping[str, Any]]:
        """The one point."""
        return [{}]

    def get_state(self) -> State:
        """The names."""
        return State(meta={"names": list(self.names)})

    @classmethod
    def from_state(cls, params: PluginParams, state: State) -> Self:
        """Build it again."""
        return cls(params, state.meta["names"])


@FUSIONS.register("toy_mean")
class ToyMean(DecisionFusion):
    """The mean of the members."""

    class Params(PluginParams):
        """No parameters."""

    def __init__(self, params: PluginParams, names: Sequence[str] = ()) -> None:
        super().__init__(params)
        self.names = tuple(names)

    def fit(
        self, inputs: Mapping[str, AnyArray], y: AnyArray, task: Task, seed: int = 0, metric: Scoring | None = None
    ) -> Self:
        """Remember the names."""
        self.names = tuple(sorted(inputs))
        return self

    def combine(self, inputs: Mapping[str, AnyArray]) -> AnyArray:
        """Mean over members."""
        return cast(AnyArray, np.mean([inputs[name] for name in self.names], axis=0))

    @property
    def weights(self) -> dict[str, float]:
        """Equal weights."""
        return {name: 1 / len(self.names) for name in self.names}

    @classmethod
    def space(cls, trial: Trial, n_members: int, task: Task) -> dict[str, Any]:
        """Nothing to search."""
        return {}

    @classmethod
    def portfolio(cls, n_members: int, task: Task) -> Sequence[Mapping[str, Any]]:
        """The one point."""
        return [{}]

    def get_state(self) -> State:
        """The names."""
        return State(meta={"names": list(self.names)})

    @classmethod
    def from_state(cls, params: PluginParams, state: State) -> Self:
        """Build it again."""
        return cls(params, state.meta["names"])


class LeastSquares:
    """Ridge regression on one-hot codes (softmax of its scores) or on values."""

    def __init__(self, alpha: float, proba: bool, weights: AnyArray | None = None) -> None:
        self.alpha, self.proba, self.weights = alpha, proba, weights

    def fit(self, X: AnyArray, y: AnyArray) -> LeastSquares:
        """Solve the normal equations."""
        A = np.c_[X, np.ones(len(X))].astype(np.float64)
        targets = np.eye(int(y.max()) + 1)[y] if self.proba else np.asarray(y, np.float64)[:, None]
        self.weights = np.linalg.solve(A.T @ A + self.alpha * np.eye(A.shape[1]), A.T @ targets)
        return self

    @property
    def classes_(self) -> AnyArray:
        """Class codes, sorted."""
        return np.arange(cast(AnyArray, self.weights).shape[1])

    def predict(self, X: AnyArray) -> AnyArray:
        """Values (n,), or codes (n,)."""
        scores = self._scores(X)
        return cast(AnyArray, scores.argmax(axis=1) if self.proba else scores[:, 0])

    def predict_proba(self, X: AnyArray) -> AnyArray:
        """Probabilities (n, C)."""
        scores = 4 * self._scores(X)
        grown = np.exp(scores - scores.max(axis=1, keepdims=True))
        return cast(AnyArray, grown / grown.sum(axis=1, keepdims=True))

    def _scores(self, X: AnyArray) -> AnyArray:
        return cast(AnyArray, np.c_[X, np.ones(len(X))].astype(np.float64) @ self.weights)


@ESTIMATORS.register("toy_linear")
class ToyLinear(EstimatorFamily):
    """``LeastSquares`` as a family."""

    tags: ClassVar[EstimatorTags] = EstimatorTags(tasks=frozenset({"binary", "multiclass", "regression"}))

    class Params(PluginParams):
        """Parameters of ``toy_linear``."""

        alpha: float = Field(1.0, gt=0, description="Penalty on the weights.")

    @classmethod
    def build(cls, params: PluginParams, task: Task, seed: int, threads: int = 1) -> Model:
        """An unfitted learner."""
        return LeastSquares(cast(ToyLinear.Params, params).alpha, task != "regression")

    @classmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """The penalty."""
        return {"alpha": trial.suggest_float("alpha", 1e-3, 1e3, log=True)}

    @classmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """Two penalties."""
        return [{"alpha": 1.0}, {"alpha": 10.0}]

    @classmethod
    def dump(cls, model: Model) -> State:
        """Weights as a tensor."""
        held = cast(LeastSquares, model)
        return State(meta={"alpha": held.alpha, "proba": held.proba}, tensors={"weights": cast(AnyArray, held.weights)})

    @classmethod
    def load(cls, state: State) -> Model:
        """The learner back."""
        return LeastSquares(state.meta["alpha"], state.meta["proba"], state.tensors["weights"])


def png(pixels: AnyArray) -> bytes:
    """An array uint8 (h, w) or (h, w, 3) as a PNG file."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def toy_rows(n: int, seed: int = 0, missing: float = 0.1) -> Iterator[dict[str, Any]]:
    """Rows of ``TOY_COLUMNS`` and a ``label`` (0, 1, 2) that every column tells something of.

    Parameters
    ----------
    n : int
    seed : int, default 0
    missing : float, default 0.1
        Share of cells that are None.
    """
    random = np.random.default_rng(seed)
    for _ in range(n):
        label = int(random.integers(3))
        noise = random.integers(0, 90, (8, 8))
        row: dict[str, Any] = {
            "photo": png(noise + 60 * label),
            "title": " ".join([f"word{label}", *(f"filler{random.integers(20)}" for _ in range(3))]),
            "price": float(random.normal(label, 0.5)),
            "brand": f"brand{(label + int(random.integers(2))) % 3}",
            "listed": f"20{10 + 5 * label + int(random.integers(5)):02d}-0{1 + int(random.integers(9))}-11",
        }
        gone = random.random(len(row)) < missing
        yield {c: None if gone[i] else v for i, (c, v) in enumerate(row.items())} | {"label": label}


def toy_batch(rows: Sequence[Mapping[str, Any]]) -> Batch:
    """A batch of ``TOY_COLUMNS`` from rows as ``toy_rows`` makes them."""
    columns: dict[str, AnyArray] = {}
    for name, kind in TOY_COLUMNS.items():
        values = [row.get(name) for row in rows]
        if kind == "numeric":
            columns[name] = np.array([np.nan if v is None else v for v in values], np.float64)
        elif kind == "date":
            columns[name] = np.array(["NaT" if v is None else v for v in values], "datetime64[ms]")
        else:
            columns[name] = np.empty(len(rows), object)
            columns[name][:] = values
    return columns


def toy_graph(task: Literal["multiclass", "regression"] = "multiclass", n: int = 90, seed: int = 0) -> Graph:
    """A fitted graph over ``TOY_COLUMNS``: three extractors, a member on each and one on all, their mean.

    Parameters
    ----------
    task : {"multiclass", "regression"}, default "multiclass"
    n : int, default 90
        Training rows.
    seed : int, default 0

    Returns
    -------
    Graph
        Named ``toy``; classes ``red``, ``green``, ``blue``.
    """
    rows = list(toy_rows(n, seed))
    y = np.array([row["label"] for row in rows])
    kinds = {"picture": {"image"}, "words": {"text"}, "table": {"numeric", "categorical", "date"}}
    classes: dict[str, type[Extractor]] = {"picture": ToyImage, "words": ToyText, "table": ToyTable}
    extractors: dict[str, Extractor] = {}
    for key, cls in classes.items():
        columns = {c: k for c, k in TOY_COLUMNS.items() if k in kinds[key]}
        extractors[key] = cls(cls.Params(), columns)
    blocks = {key: extractor.transform(toy_batch(rows)) for key, extractor in extractors.items()}
    members = []
    for used in [(key,) for key in extractors] + [tuple(extractors)]:
        candidate = Candidate(used, "toy_concat", "toy_linear")
        chain = fit_chain(candidate, blocks, y, task=task, n_outputs=3 if task == "multiclass" else 1, seed=seed)
        members.append(Member("+".join(used), candidate, [chain]))
    decision = ToyMean(ToyMean.Params()).fit({m.name: m.predict(blocks) for m in members}, y, task)
    labels = ["red", "green", "blue"] if task == "multiclass" else None
    return Graph("toy", task, "label", dict(TOY_COLUMNS), labels, extractors, members, decision)


@dataclass(frozen=True)
class ToyModel:
    """Gives ``toy_graph`` or parts of it, as a model in a store does."""

    task: Literal["multiclass", "regression"] = "multiclass"
    seed: int = 0

    def __call__(self, keys: Collection[str] | None = None, members: bool = True) -> Graph:
        """The graph with some extractors (default: all), and with its members or without."""
        graph = toy_graph(self.task, seed=self.seed)
        if keys is not None:
            graph.extractors = {key: graph.extractors[key] for key in keys}
        if not members:
            graph.members = []
        return graph

"""The base of pretrained extractors whose last blocks are tuned on the training rows, by low-rank adaptation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from hybrid_ray.errors import BadInputError, NotFittedError
from hybrid_ray.extractors.base import Extractor, FitContext
from hybrid_ray.extractors.items import FILLED, ItemExtractor, Items
from hybrid_ray.extractors.pretrained import PretrainedExtractor
from hybrid_ray.extractors.trained import Training, teach
from hybrid_ray.params import PluginParams
from hybrid_ray.training.settings import Settings
from hybrid_ray.types import AnyArray, FloatArray, Kind, Prepared, State

if TYPE_CHECKING:
    from torch import nn

    from hybrid_ray.extractors._tuned_net import Split
    from hybrid_ray.training.loop import Learner

ACTIVATIONS = "activations"
"""Name of the array (m, n_columns, ...) of what the frozen blocks give, in place of pixels or tokens."""
_CHUNK = 256
"""Rows whose activations are held at the same time where they are not kept."""
_TRIED = 32
"""Rows from which the size of all activations is told."""
_ELSEWHERE = frozenset({"cache_mb"})
"""Parameters that change nothing about the features."""


class TuningParams(PluginParams):
    """Parameters of a tuning, whatever the network."""

    blocks: int = Field(2, ge=1, le=64)
    """Last blocks (layers of a transformer, residual blocks of an image network) that are tuned; those below are
    computed once a row."""
    rank: int = Field(8, ge=1, le=256)
    """Rank of what is added to each weight matrix."""
    alpha: float = Field(16.0, gt=0, le=1024)
    """What is added is scaled by alpha / rank."""
    epochs: int = Field(8, ge=1, le=1000)
    """Most passes over the training rows."""
    patience: int = Field(2, ge=1)
    """Passes without a better hold-out loss after which training stops."""
    batch_size: int = Field(32, ge=1, le=4096)
    """Rows of a step, over all workers; fewer where there are few rows."""
    lr: float = Field(1e-3, gt=0, le=1)
    """Largest learning rate: it rises over the first tenth of the steps, then falls along a cosine."""
    weight_decay: float = Field(1e-2, ge=0, le=1)
    """Decay of AdamW."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of the features that the head goes without in a step."""
    label_smoothing: float = Field(0.05, ge=0, lt=1)
    """Share of a class label that is spread over all classes."""
    activations: Literal["fp32", "fp16"] = "fp32"
    """Number format in which activations of training rows are kept. fp16 takes half the memory, but each fold computes
    them for itself: features are made in fp32."""
    cache_mb: int = Field(2048, ge=0)
    """Mebibytes that the activations of all training rows may take; beyond, they are computed anew in each pass."""


class TunedExtractor(ItemExtractor):
    """A pretrained extractor of which the training rows' labels tune the last blocks.

    Each weight matrix W of those blocks becomes W + (alpha / rank) B A with two thin matrices that are learned; all
    else stays as it was. A head over the features of all columns is fitted to the labels first, then trained with
    them. A tenth of the training rows says when to stop. The frozen blocks below are computed once a row: fold copies
    share them, in training and in prediction. The state holds the thin matrices and, in a saved graph, the pretrained
    weights; the weights it was fitted with are named by the parameters.

    A subclass says which extractor it tunes (``Base``) and where its network is cut (``cut``).

    References
    ----------
    Hu et al., "LoRA: low-rank adaptation of large language models", ICLR 2022.
    Kumar et al., "Fine-tuning can distort pretrained features and underperform out-of-distribution", ICLR 2022: the
    head is fitted first.
    """

    Base: ClassVar[type[PretrainedExtractor]]

    def __init__(self, params: PluginParams, columns: Mapping[str, Kind]) -> None:
        super().__init__(params, columns)
        self._base = self._frozen()
        self._learned: dict[str, AnyArray] | None = None
        self._split: Split | None = None
        self._top: nn.Module | None = None
        self._device = ""

    def _frozen(self, state: State | None = None) -> PretrainedExtractor:
        own = type(self.params).model_fields
        fields = {name: getattr(self.params, name) for name in self.Base.Params.model_fields if name in own}
        params = self.Base.Params(**fields)
        return self.Base(params, self.columns) if state is None else self.Base.from_state(params, self.columns, state)

    @abstractmethod
    def cut(self, base: PretrainedExtractor) -> Split:
        """The network of an extractor that is set up, in two."""

    @property
    def augmented(self) -> bool:
        """True when training rows are changed anew in each pass: their activations cannot be kept."""
        return False

    def augment(self, items: Mapping[str, AnyArray], rng: np.random.Generator) -> dict[str, AnyArray]:
        """Training items, each changed a little; called when ``augmented``."""
        return dict(items)

    # ------------------------------------------------------------------ what the pretrained extractor knows

    def weights_digest(self) -> str:
        """Digest of the pretrained weights."""
        return self._base.weights_digest()

    def identity(self) -> dict[str, Any]:
        """The parameters without where the weights lie and what changes nothing."""
        own = set(self.params.model_dump()) - set(self.Base.Params.model_fields) - _ELSEWHERE
        return {name: value for name, value in super().identity().items() if name in own} | self._base.identity()

    def check(self) -> None:
        """Refuse what the pretrained extractor would refuse."""
        self._base.check()

    def read(self, cells: Sequence[Any]) -> Items:
        """As the pretrained extractor reads them."""
        return self._base.read(cells)

    # ------------------------------------------------------------------ setup and fit

    def setup(self, device: str = "cpu") -> None:
        """Load the pretrained network, cut it, and add what was learned."""
        if self._split is None or self._device != device:
            self._base.setup(device)
            self._split, self._device, self._top = self.cut(self._base), device, None
        if self._learned is not None and self._top is None:
            from hybrid_ray.extractors._tuned_net import with_learned

            self._top = with_learned(self._split.top, self._learned, self.params.alpha / self.params.rank)

    def adopt(self, copy: Extractor) -> None:
        """Share the pretrained network of a copy that is set up."""
        assert isinstance(copy, TunedExtractor)
        if copy._split is not None and copy.fingerprint() == self.fingerprint():
            self._base, self._split, self._device, self._top = copy._base, copy._split, copy._device, None

    def fit(self, prepared: Prepared, y: AnyArray | None, context: FitContext) -> Self:
        """Tune on the present rows.

        Raises
        ------
        BadInputError
            There are no labels, or fewer than two rows hold anything.
        """
        self._learned = teach(self, prepared, y, context, self._device or "cpu")
        self._top = None
        self.setup(self._device or "cpu")
        return self

    @property
    def settings(self) -> Settings:
        """How the matrices are trained."""
        p = self.params
        return Settings(p.epochs, p.patience, p.batch_size, p.lr, p.weight_decay)

    def learner(self, training: Training) -> Learner:
        """The upper part with fresh matrices, and the rows of a training."""
        from hybrid_ray.extractors._tuned_learner import TunedLearner

        return TunedLearner(self, training)

    def blank(self) -> Self:
        """The same without a network."""
        return type(self)(self.params, self.columns)

    # ------------------------------------------------------------------ rows

    def split(self) -> Split:
        """The network in two; ``setup`` made it."""
        assert self._split is not None, "setup must be called first"
        return self._split

    def tuned(self) -> nn.Module:
        """The upper part with what was learned; ``setup`` made it."""
        assert self._top is not None, "setup must be called first"
        return self._top

    def before_fits(self, prepared: Prepared, most_bytes: int | None = None) -> Prepared:
        """Activations in place of pixels or tokens, unless they cannot be kept, or in a number format of less."""
        return prepared if self.params.activations == "fp16" else self.kept(prepared, most_bytes)

    def kept(self, prepared: Prepared, most_bytes: int | None = None) -> Prepared:
        """Activations of training rows, unless these are augmented or ``cache_mb`` would not hold them."""
        own: int = self.params.cache_mb * 2**20
        most = own if most_bytes is None else min(own, most_bytes)
        tried = prepared.arrays
        if self.augmented or ACTIVATIONS in tried or not len(tried[FILLED]):
            return prepared
        dtype = np.float16 if self.params.activations == "fp16" else np.float32
        some = np.unique(np.linspace(0, len(tried[FILLED]) - 1, _TRIED).astype(np.int64))
        sample = self.activations({name: array[some] for name, array in tried.items()}, dtype)[ACTIVATIONS]
        if n_bytes(sample) / len(some) * len(tried[FILLED]) > most:
            return prepared
        return Prepared(self.activations(tried, dtype), prepared.present, prepared.errors)

    def shared(self, prepared: Prepared) -> Prepared:
        """Activations in place of pixels or tokens: what all copies have in common."""
        return Prepared(self.activations(prepared.arrays), prepared.present, prepared.errors)

    def activations(
        self, arrays: Mapping[str, AnyArray], dtype: type[np.floating[Any]] = np.float32
    ) -> dict[str, AnyArray]:
        """Activations (m, n_columns, ...) of the cells of m present rows, and which are filled."""
        if ACTIVATIONS in arrays:
            return dict(arrays)
        filled = arrays[FILLED]
        split = self.split()
        cells = np.flatnonzero(filled)
        flat = {name: a.reshape(filled.size, *a.shape[2:])[cells] for name, a in arrays.items() if name != FILLED}
        found = split.of_cells(flat, dtype)
        if len(found) == filled.size:
            return {ACTIVATIONS: found.reshape(*filled.shape, *found.shape[1:]), FILLED: filled}
        placed = np.zeros((filled.size, *found.shape[1:]), found.dtype)
        placed[cells] = found
        return {ACTIVATIONS: placed.reshape(*filled.shape, *found.shape[1:]), FILLED: filled}

    def extract(self, arrays: Mapping[str, AnyArray]) -> FloatArray:
        """Vectors of the present rows, some rows at a time."""
        if self._learned is None:
            raise NotFittedError(f"{self.name}: must be fitted before it is used; got an unfitted one. Call fit")
        m = len(arrays[FILLED])
        parts = [np.zeros((0, self.n_features), np.float32)]
        for start in range(0, m, _CHUNK):
            rows = {name: array[start : start + _CHUNK] for name, array in arrays.items()}
            parts.append(super().extract(self.activations(rows)))
        return np.concatenate(parts)

    def encode(self, items: Mapping[str, AnyArray]) -> FloatArray:
        """Vectors of cells from their activations."""
        return self.split().upper(self.tuned(), items[ACTIVATIONS])

    @property
    def item_features(self) -> int:
        """Width of the network's last hidden layer."""
        if self._split is None:
            raise NotFittedError(f"{self.name}: must be set up before its width is known. Call setup")
        return self._split.width

    # ------------------------------------------------------------------ state

    def learned(self) -> State:
        """The low-rank matrices, and the digest of the weights that they belong to."""
        if self._learned is None:
            raise NotFittedError(f"{self.name}: must be fitted before it has a state; got an unfitted one. Call fit")
        return State(meta={"weights": self.weights_digest()}, tensors=dict(self._learned))

    def get_state(self) -> State:
        """The low-rank matrices, and the pretrained weights as the frozen extractor keeps them."""
        state, base = self.learned(), self._base.get_state()
        return State(state.meta | {"base": base.meta}, state.tensors, base.blobs, base.folder)

    @classmethod
    def from_state(cls, params: PluginParams, columns: Mapping[str, Kind], state: State) -> Self:
        """The tuned extractor, with the weights of the state, or those that the parameters name where it has none.

        Raises
        ------
        BadInputError
            The weights that the parameters name are not those that were tuned.
        """
        extractor = cls(params, columns)
        if "base" in state.meta:
            extractor._base = extractor._frozen(State(state.meta["base"], {}, state.blobs, state.folder))
        elif extractor.weights_digest() != state.meta["weights"]:
            raise BadInputError(
                f"{cls.name}: the pretrained weights must be those that were tuned ({state.meta['weights']}); got "
                f"{extractor.weights_digest()}. Put the first ones back, or train again"
            )
        extractor._learned = dict(state.tensors)
        return extractor


def n_bytes(activations: AnyArray) -> int:
    """Bytes of activations, which for texts are arrays of their own inside an array of objects."""
    if activations.dtype != object:
        return activations.nbytes
    return sum(cell.nbytes for cell in activations.ravel() if isinstance(cell, np.ndarray))

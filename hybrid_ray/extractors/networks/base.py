"""The bases of extractors that are networks trained from nothing on the training rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import Field

from hybrid_ray.errors import NotFittedError
from hybrid_ray.extractors.base import FitContext
from hybrid_ray.extractors.items import FILLED, ItemExtractor, OfItems
from hybrid_ray.extractors.trained import Training, teach
from hybrid_ray.params import PluginParams
from hybrid_ray.training.settings import Optimizer, Schedule, Settings
from hybrid_ray.types import AnyArray, FloatArray, Kind, Prepared, State

if TYPE_CHECKING:
    import torch
    from torch import nn

    from hybrid_ray.training.loop import Learner


class UnsupervisedParams(PluginParams):
    """Parameters of a training, whatever the network."""

    epochs: int = Field(20, ge=1, le=1000)
    """Most passes over the training rows."""
    patience: int = Field(3, ge=1)
    """Passes without a better hold-out loss after which training stops."""
    batch_size: int = Field(64, ge=1, le=4096)
    """Rows of a step, over all workers; fewer where there are few rows."""
    lr: float = Field(1e-3, gt=0, le=1)
    """Largest learning rate."""
    weight_decay: float = Field(1e-2, ge=0, le=1)
    """Decay of the weights; AdamW takes it apart from the gradients."""
    optimizer: Optimizer = "adamw"
    """How gradients become steps; sgd: Nesterov's, with a momentum of 0.9."""
    schedule: Schedule = "warm_cosine"
    """How the learning rate goes. warm_cosine: it rises over the first tenth of the steps, then falls along a cosine;
    plateau: it is cut to 0.3 where the hold-out loss gets no better; step: the same after each third of the passes."""
    mixed: bool = True
    """True: where it is trained on a GPU, matrix products are made in bfloat16. Features are always made in fp32."""

    @property
    def settings(self) -> Settings:
        """How the training loop takes them."""
        return Settings(
            epochs=self.epochs,
            patience=self.patience,
            batch_size=self.batch_size,
            lr=self.lr,
            weight_decay=self.weight_decay,
            optimizer=self.optimizer,
            schedule=self.schedule,
            mixed=self.mixed,
        )


class NetworkParams(UnsupervisedParams):
    """Parameters of a training by labels."""

    dropout: float = Field(0.5, ge=0, lt=1)
    """Share of the features that the head goes without in a step."""
    label_smoothing: float = Field(0.05, ge=0, lt=1)
    """Share of a class label that is spread over all classes."""


class TrainedNetwork(OfItems):
    """The vector of each item is what a trunk gives, trained with a head over those of all items of a row.

    A tenth of the training rows says when to stop. Trainings can be cut off and taken up again, and spread over several
    workers: what is random is drawn for whole batches, so that the number of workers changes the rounding only.

    A subclass says what the items are (``prepare``), what is to be known of the training items before there is a
    network (``look``), what the trunk is (``trunk``) and how it takes items (``collate``).
    """

    def __init__(self, params: PluginParams, columns: Mapping[str, Kind]) -> None:
        super().__init__(params, columns)
        self._trunk: nn.Module | None = None
        self._device = "cpu"

    # ------------------------------------------------------------------ what a subclass says

    def look(self, items: Mapping[str, AnyArray]) -> None:
        """Learn from the training cells (k, ...) what ``trunk`` and ``encoded`` need."""

    def seen(self) -> dict[str, Any]:
        """What ``look`` learned, JSON-able."""
        return {}

    def see(self, seen: Mapping[str, Any]) -> None:
        """Know what another's ``look`` learned."""

    @abstractmethod
    def trunk(self) -> nn.Module:
        """A fresh network that gives vectors (k, item_features) of what ``collate`` gives."""

    def encoded(self, items: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Cells as numbers, done once before a training; default: as they were read."""
        return dict(items)

    @abstractmethod
    def collate(self, items: Mapping[str, AnyArray], device: str) -> tuple[torch.Tensor, ...]:
        """Encoded cells (k, ...), k >= 0, as the trunk takes them."""

    @property
    def augmented(self) -> bool:
        """True when training cells are changed anew in each pass."""
        return False

    def augment(self, items: Mapping[str, AnyArray], rng: np.random.Generator) -> dict[str, AnyArray]:
        """Encoded training cells, each changed a little; called when ``augmented``."""
        return {}

    # ------------------------------------------------------------------ fit

    @property
    def settings(self) -> Settings:
        """How it is trained."""
        own: UnsupervisedParams = self.params
        return own.settings

    @property
    def most_features(self) -> int:
        """As the parameters say."""
        return self.n_features

    def setup(self, device: str = "cpu") -> None:
        """Move to the device; ``fit`` trains there."""
        self._device = device
        if self._trunk is not None:
            self._trunk.to(device)

    def fit(self, prepared: Prepared, y: AnyArray | None, context: FitContext) -> Self:
        """Train on the present rows.

        Raises
        ------
        BadInputError
            There are no labels, or fewer than two rows hold anything.
        """
        arrays, filled = _parted(prepared.arrays)
        self.look({name: array[filled] for name, array in arrays.items()})
        self._know(teach(self, prepared, y, context, self._device))
        return self

    def learner(self, training: Training) -> Learner:
        """A fresh network, and the rows of a training."""
        from hybrid_ray.extractors.networks.learner import NetworkLearner

        arrays, filled = self.encoded_rows(training.arrays)
        return NetworkLearner(self, arrays, filled, training, self._device)

    def encoded_rows(self, arrays: Mapping[str, AnyArray]) -> tuple[dict[str, AnyArray], AnyArray]:
        """Encoded cells (m, n_columns, ...) of rows, and which of them are filled (m, n_columns)."""
        raw, filled = _parted(arrays)
        flat = self.encoded({name: array.reshape(filled.size, *array.shape[2:]) for name, array in raw.items()})
        return {name: array.reshape(*filled.shape, *array.shape[1:]) for name, array in flat.items()}, filled

    def blank(self) -> Self:
        """The same without a network, with what ``look`` learned."""
        extractor = type(self)(self.params, self.columns)
        extractor.see(self.seen())
        return extractor

    def _know(self, learned: Mapping[str, AnyArray]) -> None:
        """Become the fitted extractor."""
        import torch

        trunk = self.trunk()
        trunk.load_state_dict({name: torch.from_numpy(np.array(values)) for name, values in learned.items()})
        self._trunk = trunk.eval().requires_grad_(False).to(self._device)

    # ------------------------------------------------------------------ rows

    def _fitted(self) -> nn.Module:
        if self._trunk is None:
            raise NotFittedError(f"{self.name}: must be fitted before it is used; got an unfitted one. Call fit")
        return self._trunk

    def passes(self, items: Mapping[str, AnyArray]) -> list[AnyArray]:
        """Positions of encoded cells that go through the trunk together, each cell once; default: 256 at a time."""
        k = len(next(iter(items.values())))
        return [np.arange(start, min(start + _CHUNK, k)) for start in range(0, k, _CHUNK)]

    def encode(self, items: Mapping[str, AnyArray]) -> FloatArray:
        """Vectors of cells."""
        import torch

        trunk, encoded = self._fitted(), self.encoded(items)
        vectors = np.zeros((len(next(iter(encoded.values()))), self.item_features), np.float32)
        with torch.inference_mode():
            for cells in self.passes(encoded):
                part = {name: array[cells] for name, array in encoded.items()}
                vectors[cells] = trunk(*self.collate(part, self._device)).cpu().numpy()
        return vectors

    def get_state(self) -> State:
        """The trunk's tensors, and what ``look`` learned."""
        tensors = {name: tensor.detach().cpu().numpy() for name, tensor in self._fitted().state_dict().items()}
        return State(meta=self.seen(), tensors=tensors)

    @classmethod
    def from_state(cls, params: PluginParams, columns: Mapping[str, Kind], state: State) -> Self:
        """The trained extractor."""
        extractor = cls(params, columns)
        extractor.see(state.meta)
        extractor._know(state.tensors)
        return extractor


class NetworkExtractor(ItemExtractor, TrainedNetwork):
    """A network over single cells: a subclass says how they are read (``read``) in place of what the items are."""


_CHUNK = 256
"""Cells of a pass."""


def _parted(arrays: Mapping[str, AnyArray]) -> tuple[dict[str, AnyArray], AnyArray]:
    """What the cells hold, and which of them are filled."""
    return {name: array for name, array in arrays.items() if name != FILLED}, arrays[FILLED]

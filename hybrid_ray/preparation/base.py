"""The contract of a preparation: what is done to features and rows before a candidate learns from them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

from hybrid_ray.estimators.base import Trial
from hybrid_ray.params import PluginParams
from hybrid_ray.types import BOTH, AnyArray, Block, State, Task

Blocks = Mapping[str, Block]
"""Features by extractor id."""


class Rows(NamedTuple):
    """Rows to learn from.

    Attributes
    ----------
    blocks : mapping of str to Block
        Features.
    y : ndarray (n,)
        Class codes, or floats.
    origin : ndarray of int (n,) or None
        Position, among the rows that the step was given, of the row that each is; -1 for one that was made. Whoever
        holds rows out later keeps copies of one row together. None: the rows that were given, in their order.
    """

    blocks: Blocks
    y: AnyArray
    origin: AnyArray | None = None


class Preparation(ABC):
    """One step before the feature-level fusion, fitted on the training rows of a fold only.

    ``fit`` learns from training rows; ``transform`` is then applied to them and to every row that is predicted;
    ``resample`` and ``class_weights`` change which training rows are learned from, and with what weight, and play no
    part in a prediction. A step overrides what it needs; the rest leaves rows as they are. Names, widths and
    ``present`` of blocks stay as they came, and nothing is written into the arrays that come.

    Attributes
    ----------
    tasks : frozenset of Task
        Tasks that it can be used for.
    """

    name: ClassVar[str]
    tasks: ClassVar[frozenset[Task]] = BOTH
    Params: ClassVar[type[PluginParams]]

    def __init__(self, params: PluginParams) -> None:
        self.params: Any = params

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Tiny instances for the contract checks."""
        yield cls.Params()

    @property
    def corrects(self) -> bool:
        """Whether the share of classes that this step changes is put back in what is predicted."""
        return False

    @property
    def growth(self) -> float:
        """Rows that ``resample`` gives at most, for each one that it gets: the memory budget counts them."""
        return 1.0

    def fit(self, blocks: Blocks, y: AnyArray, task: Task, seed: int = 0) -> Self:
        """Learn from training rows: ``blocks[name].values`` is (n, d_name), ``y`` is (n,)."""
        return self

    def transform(self, blocks: Blocks) -> dict[str, Block]:
        """The same rows with other values. Blocks that ``fit`` did not see are left out of what is changed."""
        return dict(blocks)

    def resample(self, blocks: Blocks, y: AnyArray, task: Task, seed: int = 0) -> Rows:
        """Other training rows: some left out, repeated or made, each with its ``origin``. Every class keeps a row.

        A step that holds rows out of these has a parameter ``groups`` too, None by default: rows of one number (n,) go
        together, or are copies of one row.
        """
        return Rows(blocks, y)

    def class_weights(self, y: AnyArray, task: Task) -> dict[int, float]:
        """Weight of the rows of each class code; empty: all rows count the same."""
        return {}

    def get_state(self) -> State:
        """What ``from_state`` needs to transform again; a step that only changes training rows has none."""
        return State()

    @classmethod
    def from_state(cls, params: PluginParams, state: State) -> Self:
        """Build the fitted step from ``get_state``'s answer."""
        return cls(params)

    @classmethod
    @abstractmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """Parameters proposed by a trial; names as in ``EstimatorFamily.space``."""

    @classmethod
    @abstractmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """Good starts, best first: complete points of ``space``."""

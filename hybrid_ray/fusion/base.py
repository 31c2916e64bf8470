"""The contracts of fusion: several things become one, at data level, at feature level or at decision level."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Self

from hybrid_ray.estimators.base import Trial
from hybrid_ray.fusion.predictive import NormalMixture
from hybrid_ray.fusion.scoring import Scoring
from hybrid_ray.params import PluginParams
from hybrid_ray.types import BOTH, AnyArray, Batch, Block, FloatArray, Kind, State, Task


class Fusion(ABC):
    """What all levels share: a name, parameters, and a state without pickle."""

    name: ClassVar[str]
    level: ClassVar[Literal["data", "feature", "decision"]]
    Params: ClassVar[type[PluginParams]]

    def __init__(self, params: PluginParams) -> None:
        self.params: Any = params

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Tiny instances for the contract checks."""
        yield cls.Params()

    def _check_there(self, needed: Iterable[str], inputs: Mapping[str, Any]) -> None:
        """Refuse inputs that lack what ``fit`` saw and ``combine`` needs.

        Raises
        ------
        KeyError
            A name is not there.
        """
        names = sorted(needed)
        missing = [name for name in names if name not in inputs]
        if missing:
            what = {"data": "columns", "feature": "blocks", "decision": "members"}[self.level]
            raise KeyError(f"{self.name}: the {what} {names} must be there; missing {missing}")

    @abstractmethod
    def get_state(self) -> State:
        """What ``from_state`` needs to build this fusion again."""

    @classmethod
    @abstractmethod
    def from_state(cls, params: PluginParams, state: State) -> Self:
        """Build the fitted fusion from ``get_state``'s answer."""


class Fused(NamedTuple):
    """Several columns as one.

    Attributes
    ----------
    values : ndarray of object (n,)
        A column of the kind that the fusion gives, None where nothing was there.
    errors : dict of int to str
        Rows (0..n-1) that hold something undecodable, with the reason; nothing of the value is in it.
    """

    values: AnyArray
    errors: dict[int, str]


class DataFusion(Fusion):
    """Columns of a row become one column before an extractor reads them. Nothing is learned.

    Names, not positions, decide: parts stand in the order of their columns' names. A part that is missing is stated as
    the class declares; a row without any part is missing.

    Attributes
    ----------
    takes : frozenset of Kind
        Kinds of column that it puts together.
    gives : Kind
        Kind of the one column that comes out: ``text``, ``image`` or ``series``.
    version : int
        Raised when the code changes what comes out: part of the fingerprint of features.
    """

    level: ClassVar[Literal["data", "feature", "decision"]] = "data"
    takes: ClassVar[frozenset[Kind]]
    gives: ClassVar[Kind]
    version: ClassVar[int] = 1

    def check(self) -> None:
        """Refuse before a run what would fail in its workers: something that is not installed, say.

        Raises
        ------
        BadInputError
            One clear line.
        """

    @abstractmethod
    def combine(self, inputs: Batch, kinds: Mapping[str, Kind]) -> Fused:
        """One column of the columns named in ``kinds``, each row by itself; never raises for what a row holds.

        Raises
        ------
        KeyError
            A column is not there.
        """

    def get_state(self) -> State:
        """Nothing: the parameters say all."""
        return State()

    @classmethod
    def from_state(cls, params: PluginParams, state: State) -> Self:
        """The same fusion."""
        return cls(params)


class FeatureFusion(Fusion):
    """Blocks of features become one matrix. Fitted on the training rows of a fold only.

    Names, not positions, decide: the order of the mapping has no effect. A row whose block is not present is
    handled as the class declares.
    """

    level: ClassVar[Literal["data", "feature", "decision"]] = "feature"

    @abstractmethod
    def fit(self, inputs: Mapping[str, Block], y: AnyArray | None, task: Task, seed: int = 0) -> Self:
        """Learn from training rows: ``inputs[name].values`` is (n, d_name), ``y`` (n,) holds class codes or floats."""

    def fit_combine(
        self,
        inputs: Mapping[str, Block],
        y: AnyArray | None,
        task: Task,
        seed: int = 0,
        groups: AnyArray | None = None,
    ) -> FloatArray:
        """Learn from training rows, and give the matrix float32 (n, d) of them that an estimator may be fitted on.

        A fusion that learns from ``y`` in a way that its own training rows show gives them as they look to one that was
        not fitted on them; for all others this is ``fit`` and ``combine``. Rows of one group (n,) are copies of one
        row, which a step repeated: what is not to see a row must not see its copies. None: there are no copies.
        """
        return self.fit(inputs, y, task, seed).combine(inputs)

    @abstractmethod
    def combine(self, inputs: Mapping[str, Block]) -> FloatArray:
        """One matrix float32 (n, d) from the same names that ``fit`` saw.

        Raises
        ------
        KeyError
            A name that ``fit`` saw is not there.
        """

    @classmethod
    @abstractmethod
    def space(cls, trial: Trial, dims: Mapping[str, int]) -> dict[str, Any]:
        """Parameters proposed by a trial for blocks of these widths; names as in ``EstimatorFamily.space``."""

    @classmethod
    @abstractmethod
    def portfolio(cls, dims: Mapping[str, int]) -> Sequence[Mapping[str, Any]]:
        """Good starts, best first: complete points of ``space``."""


class DecisionFusion(Fusion):
    """Predictions of members become one prediction. Fitted on out-of-fold predictions only.

    Inputs are float64 (n, C) class probabilities for classification, (n, 1) values for regression, by member name;
    member order has no effect.

    Attributes
    ----------
    pool : bool
        True when ``combine`` is a weighted mean: the weights lie on the simplex, and weight 1 on a member gives
        that member back.
    tasks : frozenset of Task
        Tasks that it can be fitted for.
    resamples : int
        Bootstrap samples of the rows that it is fitted on, to tell how sure its weights are; few where a fit is slow.
    """

    level: ClassVar[Literal["data", "feature", "decision"]] = "decision"
    pool: ClassVar[bool] = False
    tasks: ClassVar[frozenset[Task]] = BOTH
    resamples: ClassVar[int] = 50

    @classmethod
    def tasks_of(cls, params: PluginParams) -> frozenset[Task]:
        """Tasks that it can be fitted for with these parameters: those of what they name are among them."""
        return cls.tasks

    @classmethod
    def effort(cls, params: PluginParams) -> float:
        """About how many solves of weights one fit takes; infinite where it trains learners.

        Under a time limit the ensembles that take little are tried first, and what trains learners is given the time
        that there is.
        """
        return 1.0

    @abstractmethod
    def fit(
        self, inputs: Mapping[str, AnyArray], y: AnyArray, task: Task, seed: int = 0, metric: Scoring | None = None
    ) -> Self:
        """Learn from oof predictions of all members; ``y`` (n,) holds class codes or floats.

        ``metric`` is what the answer will be scored by: a fusion that can optimise it may, any other leaves it aside.
        One that holds rows out of these has a parameter ``groups`` too, None by default: rows of one number (n,) go
        together.
        """

    @abstractmethod
    def combine(self, inputs: Mapping[str, AnyArray]) -> AnyArray:
        """One prediction float64 (n, C) or (n, 1). Extra names are ignored; a missing needed one raises KeyError."""

    def predictive(self, inputs: Mapping[str, AnyArray]) -> NormalMixture | None:
        """What each row's number may be, for combiners of numbers that say so; None for all others."""
        return None

    @property
    def threshold(self) -> float | None:
        """The fused probability of the second of two classes that its answer gives as 0.5; None: none was chosen."""
        return None

    @property
    @abstractmethod
    def weights(self) -> dict[str, float]:
        """Weight of each member, for the report; members with weight 0 are not needed by ``combine``."""

    @classmethod
    @abstractmethod
    def space(cls, trial: Trial, n_members: int, task: Task) -> dict[str, Any]:
        """Parameters proposed by a trial of the ensemble search."""

    @classmethod
    @abstractmethod
    def portfolio(cls, n_members: int, task: Task) -> Sequence[Mapping[str, Any]]:
        """Good starts, best first."""

"""The contract of an estimator family: a learner, its search space and its good starts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from hybrid_ray.estimators.streaming import Library, RowStream, Team
from hybrid_ray.params import PluginParams
from hybrid_ray.types import AnyArray, State, Task


class Trial(Protocol):
    """The part of an Optuna trial that a space may use."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...  # noqa: D102
    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int: ...  # noqa: D102
    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...  # noqa: D102


class Model(Protocol):
    """A scikit-learn estimator: ``predict_proba`` for classifiers, ``predict`` for regressors.

    One that holds out rows of its own takes ``fit(X, y, groups=None)`` too: rows of a group (n,) are copies of one row.
    """

    def fit(self, X: AnyArray, y: AnyArray) -> Any: ...  # noqa: D102
    def predict(self, X: AnyArray) -> AnyArray: ...  # noqa: D102


@dataclass(frozen=True)
class Effort:
    """Seconds that a fit takes on one core, whatever a clock says, so that a seed decides what is made of it.

    Attributes
    ----------
    start : float
        However few rows.
    rows : float
        For each 1,000 training rows more; with ``EstimatorTags.pairs`` for the square of their thousands.
    """

    start: float = 0.1
    rows: float = 0.3


@dataclass(frozen=True)
class EstimatorTags:
    """What a family is.

    Attributes
    ----------
    tasks : frozenset of Task
    scaled : bool
        True when it wants standardised inputs (the feature fusion then scales).
    copies : float
        Copies of the training matrix that a fit makes: the memory budget counts them.
    pairs : int
        Up to this many training rows a fit holds two float64 matrices of rows x rows; the budget counts these too.
    columns : int
        Float64 columns that a fit adds to each training row; the budget counts these too.
    max_rows : int or None
        Above this many training rows a fit is too slow: no default search tries it, and where it is asked for it is
        fitted on a stratified sample of so many.
    effort : Effort
        What a fit takes, roughly: a search shares out its trials by it.
    streams : {"xgboost", "lightgbm"} or None
        The library in which workers that each read a stream of rows fit one model together, by ``fit_stream``; None: a
        fit needs its whole matrix.
    """

    tasks: frozenset[Task]
    scaled: bool = False
    copies: float = 1.0
    pairs: int = 0
    columns: int = 0
    max_rows: int | None = None
    streams: Library | None = None
    effort: Effort = Effort()

    def fit_s(self, n_rows: int) -> float:
        """Seconds that a fit takes, roughly: what one family costs beside another, not what a clock will say."""
        fitted = n_rows if self.max_rows is None else min(n_rows, self.max_rows)
        return self.effort.start + self.effort.rows * (fitted / 1000) ** (2 if self.pairs else 1)

    def fit_bytes(self, n_rows: int, n_features: int) -> int:
        """Memory that a fit takes beside its training matrix and the process itself, in bytes."""
        matrix = 4.0 * self.copies * n_rows * n_features
        return int(matrix) + 8 * (n_rows * self.columns + 2 * min(n_rows, self.pairs) ** 2)


class EstimatorFamily(ABC):
    """One family of learners, registered under a name.

    A family is a class that is never instantiated: it builds scikit-learn estimators from ``Params``, proposes
    parameters to a search, and saves fitted models without pickle.
    """

    name: ClassVar[str]
    tags: ClassVar[EstimatorTags]
    Params: ClassVar[type[PluginParams]]

    @classmethod
    def examples(cls, task: Task) -> Iterator[PluginParams]:
        """Small instances for the contract checks; the best start where that is quick."""
        yield cls.Params.model_validate(dict(cls.portfolio(task)[0]))

    @classmethod
    @abstractmethod
    def build(cls, params: PluginParams, task: Task, seed: int, threads: int = 1) -> Model:
        """An unfitted scikit-learn estimator. Class codes are 0..C-1 without gaps in what it will be given."""

    @classmethod
    @abstractmethod
    def space(cls, trial: Trial, task: Task) -> dict[str, Any]:
        """Parameters proposed by a trial: names are fields of ``Params``, ``suggest_*`` names are the field names.

        The caller wraps ``trial`` so that names are prefixed; a space only says ``trial.suggest_float("C", …)``.
        """

    @classmethod
    @abstractmethod
    def portfolio(cls, task: Task) -> Sequence[Mapping[str, Any]]:
        """Good starts, best first: complete points of ``space``, tried before anything is sampled."""

    @classmethod
    @abstractmethod
    def dump(cls, model: Model) -> State:
        """The fitted model without pickle."""

    @classmethod
    @abstractmethod
    def load(cls, state: State) -> Model:
        """The fitted model back, bit-equal in its predictions."""

    @classmethod
    def fit_stream(cls, model: Model, stream: RowStream, team: Team) -> Model:
        """A model like a fitted one, on rows that come as a stream: the same parameters, and the rounds that it found.

        Called on every worker of a team at once, each with its own rows; every worker gets the same model. Only for
        families whose ``tags.streams`` is set.

        Parameters
        ----------
        model : Model
            Fitted on a sample of the rows.
        stream : RowStream
        team : Team
        """
        raise TypeError(f"{cls.name}: only a family whose tags say streams can be fitted on one; fit it on a matrix")

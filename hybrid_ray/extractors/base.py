"""The contract of an extractor: one modality of a row becomes a feature vector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
from pydantic import ValidationError

from hybrid_ray.digests import digest_json
from hybrid_ray.errors import SpecError
from hybrid_ray.extractors.sight import Pieces, Sight
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.types import AnyArray, Batch, Block, FloatArray, Kind, Modality, Prepared, State, Task


@dataclass(frozen=True)
class ExtractorTags:
    """What an extractor is; chooses the checks it must pass and how it is run.

    Attributes
    ----------
    modality : Modality
    kinds : frozenset of Kind
        Kinds of column that it reads.
    context : {"row", "window", "graph"}
        What a row's features may depend on beside the row: nothing, the rows beside it, or a graph that the parameters
        name, whatever rows it is asked with.
    trained : bool
        True when ``fit`` must see training rows: its features are then made once a fold, never shared by folds.
    supervised : bool
        True when ``fit`` needs labels.
    costly : bool
        True when its features are worth keeping in the feature cache.
    gpu : bool
        True when it runs faster on a GPU.
    spreads : bool
        True when its training can be resumed, and spread over several workers: ``fit`` then calls
        ``FitContext.conduct``.
    forecasts : bool
        True when its features are a forecast, as a ``Forecaster`` gives them.
    covariates : bool
        True for a forecaster that reads covariates beside the history; others are given the history alone.
    pieces : {"pixels", "tokens"} or None
        What its features have gradients by, see ``Extractor.sights``; None: nothing.
    version : int
        Raised when the code changes what comes out: part of the fingerprint.
    """

    modality: Modality
    kinds: frozenset[Kind]
    context: Literal["row", "window", "graph"] = "row"
    trained: bool = False
    supervised: bool = False
    costly: bool = True
    gpu: bool = False
    spreads: bool = False
    forecasts: bool = False
    covariates: bool = False
    pieces: Pieces | None = None
    version: int = 1


class Conductor(Protocol):
    """Carries out a training, on one worker or several, and gives what was learned."""

    def __call__(self, training: Any) -> dict[str, AnyArray]:
        """Arrays by name; ``training`` is the extractor's own description of what is to be done."""


@dataclass(frozen=True)
class FitContext:
    """What ``fit`` may know beside its rows.

    Attributes
    ----------
    task : Task
    n_outputs : int
        Number of classes, or 1 for regression.
    seed : int
    threads : int
        CPU threads it may use.
    conduct : Conductor or None
        Where a training that can be spread or resumed is carried out; None: here, from the start.
    groups : ndarray of int (n,) or None
        Rows of one number go together wherever rows of the fit are held out; None: every row is its own.
    conductors : callable or None
        The same of further trainings that one fit has, by a name for each: letters, digits and hyphens.
    """

    task: Task
    n_outputs: int
    seed: int = 0
    threads: int = 1
    conduct: Conductor | None = None
    groups: AnyArray | None = None
    conductors: Callable[[str], Conductor] | None = None

    def on(self, rows: AnyArray, seed: int) -> FitContext:
        """The context of a fit on some of the rows (their numbers), by another seed."""
        return replace(self, seed=seed, groups=None if self.groups is None else self.groups[rows])

    def further(self, name: str, rows: AnyArray, seed: int) -> FitContext:
        """The context of a further training of the same fit, on some of its rows and by another seed."""
        conduct = None if self.conductors is None else self.conductors(name)
        return replace(self.on(rows, seed), conduct=conduct, conductors=None)


class Extractor(ABC):
    """Turns columns of a row into a float32 vector.

    ``prepare`` runs on CPU tasks (decode, resize), ``setup`` once in each worker, ``extract`` on the worker's
    device. A trained extractor is also given ``fit`` before ``extract``. All are retry-safe and pure: the same
    batch gives the same features, whatever batch it stands in.

    Parameters
    ----------
    params : Params
        An instance of the class's own ``Params``.
    columns : mapping of str to Kind
        The columns it reads, in order.
    """

    name: ClassVar[str]
    tags: ClassVar[ExtractorTags]
    Params: ClassVar[type[PluginParams]]

    def __init__(self, params: PluginParams, columns: Mapping[str, Kind]) -> None:
        self.params: Any = params
        self.columns = dict(columns)

    @classmethod
    def examples(cls) -> Iterator[tuple[PluginParams, dict[str, Kind]]]:
        """Tiny instances for the contract checks: (params, columns) that need no network."""
        yield cls.Params(), {kind: kind for kind in sorted(cls.tags.kinds)}

    @abstractmethod
    def prepare(self, batch: Batch) -> Prepared:
        """Decode the rows of a batch on a CPU. Never raises for what a row holds: it goes to ``errors``."""

    def setup(self, device: str = "cpu") -> None:  # noqa: B027 - an optional hook
        """Load what ``extract`` needs, once a worker. ``device`` is ``"cpu"`` or ``"cuda"``; idempotent.

        A trained extractor is set up before ``fit`` too, on the device that it is to train on.
        """

    @abstractmethod
    def extract(self, arrays: Mapping[str, AnyArray]) -> FloatArray:
        """Features float32 (m, d), finite, of the m present rows that ``prepare`` gave; (0, d) for none."""

    @property
    @abstractmethod
    def n_features(self) -> int:
        """d; known after ``setup`` (frozen) or ``fit`` (trained)."""

    @property
    def most_features(self) -> int | None:
        """What ``n_features`` may be at most once it is fitted, as far as its parameters tell; None: they do not."""
        return None

    def fit(self, prepared: Prepared, y: AnyArray | None, context: FitContext) -> Self:
        """Learn from training rows: ``y`` is (n,), class codes or floats, one a row, missing rows included."""
        raise TypeError(f"{self.name}: only a trained extractor has fit; this one is frozen")

    def before_fits(self, prepared: Prepared, most_bytes: int | None = None) -> Prepared:
        """What the fits of several folds on these rows have in common, done once for all; default: nothing.

        Called after ``setup``; ``fit`` and ``extract`` take the answer as they take what ``prepare`` gave. An answer of
        more than ``most_bytes`` bytes is not given: the rows come back as they were.
        """
        return prepared

    def shared(self, prepared: Prepared) -> Prepared:
        """What the fitted copies of one extractor have in common, done once a batch for all; default: nothing."""
        return prepared

    def adopt(self, copy: Extractor) -> None:  # noqa: B027 - an optional hook
        """Use, in place of one's own, what a copy that is set up already has in common with this one."""

    def learned(self) -> State:
        """What ``fit`` learned, for a place where the weights that ``params`` names are at hand; default: all."""
        return self.get_state()

    def cross_fitted(self, prepared: Prepared, y: AnyArray | None, context: FitContext) -> Block | None:
        """Features of the rows that ``fit`` saw, as learners are to see them; None: ``block`` gives them.

        For an extractor whose features of a row tell more of its label when the row was fitted on: each row's features
        are to come from a fit without that row. Called after ``fit``, with the same arguments; never for other rows.
        """
        return None

    @abstractmethod
    def get_state(self) -> State:
        """What ``from_state`` needs to build this extractor again, weights included."""

    @classmethod
    @abstractmethod
    def from_state(cls, params: PluginParams, columns: Mapping[str, Kind], state: State) -> Self:
        """Build the extractor from ``get_state``'s answer; ``setup`` must still be called."""

    def with_state(self, state: State) -> Extractor:
        """Give this extractor with what another of its kind has learned; ``setup`` must still be called."""
        return type(self).from_state(self.params, self.columns, state)

    def check(self) -> None:  # noqa: B027 - an optional hook
        """Refuse before a run what would fail in its workers: weights of another architecture, say.

        Raises
        ------
        BadInputError
            The parameters ask for something that cannot be; one clear line.
        """

    @property
    def undecided(self) -> bool:
        """True when ``resolve`` would change the parameters."""
        return False

    @property
    def decided_by_rows(self) -> bool:
        """True when ``resolve`` chooses by what the rows hold, not by the machine: its answer is never remembered."""
        return False

    def resolve(self, batch: Batch, device: str = "cpu") -> PluginParams:
        """Parameters with every choice made that is left to the machine (``precision: auto``), made on some rows.

        Called once, on the kind of worker that will extract, before anything is hashed; the extractor that is built
        from the answer is the one whose ``fingerprint`` names cached features, whose ``params`` are written into the
        run's spec and whose state goes into the graph. An extractor that was never resolved makes the portable choice
        (fp32) and its fingerprint says so: features of two precisions never share a fingerprint.
        """
        return self.params

    def counterpart(self, device: str = "cpu") -> Extractor | None:
        """Give this extractor in the number format that another machine may compute it in, set up; None: no other.

        What tells, when a graph is saved, how far its answers may be off elsewhere.
        """
        return None

    def weights_digest(self) -> str:
        """Digest of weights that are not in ``params`` (a file, a hub revision); empty when there are none."""
        return ""

    def identity(self) -> dict[str, Any]:
        """The parameters as the fingerprint has them; a plugin leaves out where its weights lie."""
        fields: dict[str, Any] = self.params.identity()
        return fields

    def fingerprint(self) -> str:
        """Digest of all that decides the features of a row: type, version, parameters, columns, weights."""
        return digest_json(
            {
                "extractor": self.name,
                "version": self.tags.version,
                "params": self.identity(),
                "columns": list(self.columns.items()),
                "weights": self.weights_digest(),
            }
        )

    def block(self, prepared: Prepared) -> Block:
        """Features of every row of ``prepared``, the missing vector (zeros) where a row is not present."""
        features = self.extract(prepared.arrays)
        if prepared.present.all():
            return Block(features, prepared.present)
        values = np.zeros((len(prepared.present), features.shape[1]), np.float32)
        values[prepared.present] = features
        return Block(values, prepared.present)

    def sights(self, arrays: Mapping[str, AnyArray], usual: Mapping[str, AnyArray]) -> Sequence[Sight | None]:
        """What the network sees of each cell of a row, in the order of their vectors; None where a cell is empty.

        Called after ``setup``, by explanations, and only where ``tags.pieces`` says of what.

        Parameters
        ----------
        arrays : mapping of str to ndarray (1, ...)
            What ``prepare`` gave of one row that is present.
        usual : mapping of str to ndarray (m, ...)
            The same of m >= 0 rows of the kind that is usual.
        """
        raise TypeError(f"{self.name}: its features have no gradients by what a row holds; got a row to show them of")

    def transform(self, batch: Batch) -> Block:
        """``prepare`` and ``block`` in one: what in-process prediction calls."""
        return self.block(self.prepare(batch))


def build_extractor(name: str, params: PluginParams | Mapping[str, Any], columns: Mapping[str, Kind]) -> Extractor:
    """An extractor by its registered name, not yet set up.

    Parameters
    ----------
    name : str
    params : Params or mapping
        The plugin's own ``Params``, or its fields.
    columns : mapping of str to Kind
        The columns it reads, in order.

    Raises
    ------
    BadInputError
        No such plugin.
    SpecError
        Every parameter or column that does not fit the plugin.
    """
    plugin: type[Extractor] = EXTRACTORS.get(name)
    faults = [] if columns else [f"{name}.columns: at least one column must be there; got none"]
    for column, kind in columns.items():
        if kind not in plugin.tags.kinds:
            faults.append(
                f"{name}.columns: must be of kind {sorted(plugin.tags.kinds)}; got {column!r} of kind {kind!r}"
            )
    checked = params
    if not isinstance(params, plugin.Params):
        fields = params.model_dump() if isinstance(params, PluginParams) else dict(params)
        try:
            checked = plugin.Params.model_validate(fields)
        except ValidationError as error:
            faults += [
                f"{name}.params.{'.'.join(map(str, e['loc']))}: {e['msg']}; got {e['input']!r}" for e in error.errors()
            ]
    if faults:
        raise SpecError(faults)
    assert isinstance(checked, plugin.Params)
    return plugin(checked, columns)

"""Tuned twins of pretrained extractors, where the time for them is there.

A twin stands beside the frozen extractor: the search's subsets of blocks decide which of the two a candidate reads.
What is decided here depends on the spec and the rows only, never on the machine: the same request is the same run
wherever it is made, and whenever it is taken up again. Where a machine is too slow for what was decided, the run itself
gives the twin up (see ``on_ray/optional.py``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hybrid_ray.extractors._tuned import TuningParams
from hybrid_ray.extractors.base import build_extractor
from hybrid_ray.extractors.defaults import SENTENCE_ENCODERS
from hybrid_ray.extractors.pace import PASSES
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.spec import ExtractorSpec
from hybrid_ray.types import Task, Tuned

TWINS: Mapping[str, str] = {"torchvision": "tuned_torchvision", "transformers": "tuned_transformers"}
"""Registered name of a frozen extractor to that of its twin."""
MIN_ROWS = 1000
"""Training rows below which a tuned network learns its rows by heart rather than what they tell."""
SHARE = 0.3
"""Part of a run's time that twins may be planned to take; a run gives them up where they would take half of what it has
left."""
CORES = 2
"""CPUs that are reckoned with, whatever the machine has: with more, twins take less than they were given."""
CHARACTERS = 120.0
"""Characters of a text, about, where nothing tells."""


class Price(NamedTuple):
    """What a cell (one column of one row) takes, in seconds of one core.

    Attributes
    ----------
    frozen : float
        Through the blocks that stay as they are.
    tuned : float
        Forth and back through those that are tuned, in one pass of the training.
    n_bytes : float
        Of what the frozen blocks give.
    """

    frozen: float
    tuned: float
    n_bytes: float

    def times(self, frozen: float, tuned: float) -> Price:
        """The price of a larger network."""
        return Price(self.frozen * frozen, self.tuned * tuned, self.n_bytes)


# CPU time with default parameters, measured on one core of a server that was busy otherwise; PASSES likewise.
MOBILENET = Price(0.06, 0.012, 31e3)
"""MobileNetV2 at its 224 pixels, from the file on: 120 photos of sign_digits."""
MINILM = Price(0.0005, 0.0008, 1536.0)
"""MiniLM (6 layers of width 384), for one token: 160 texts of mr, 120 of women_clothing."""
NETWORKS: Mapping[str, float] = {"mobilenet_v2": 1.0, "efficientnet_b0": 1.6, "resnet18": 2.0, "resnet50": 4.0}
"""What image networks take, as multiples of MobileNetV2, about: told from their operations, of which depthwise ones are
the slowest. Others are taken for the costliest of these."""
_LAYERS, _WIDTH = 6, 384
_TUNED_LAYERS: int = TuningParams.model_fields["blocks"].default
_LETTERS = 4.4
"""Characters of a token of English."""
_LONGEST = 256
"""Tokens of a text that are read, where nothing tells."""


@dataclass(frozen=True)
class Proposal:
    """Twins of some extractors.

    Attributes
    ----------
    twins : tuple of ExtractorSpec
        Without ids.
    reasons : tuple of str
        Of each twin.
    why : str
        Why there are twins, or none; empty where there is nothing to tune.
    """

    twins: tuple[ExtractorSpec, ...] = ()
    reasons: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Work:
    """The training that a twin is proposed for.

    Attributes
    ----------
    task : Task
    n_rows : int
        Training rows, about.
    folds : int
        Copies that are trained.
    limit_s : float or None
        Time that the whole run may take.
    characters : mapping of str to float
        Characters of the cells of text columns, in the mean.
    """

    task: Task
    n_rows: int
    folds: int
    limit_s: float | None
    characters: Mapping[str, float]


def propose_twins(asked: Tuned, extractors: Sequence[ExtractorSpec], defaults: bool, work: Work) -> Proposal:
    """Twins of some extractors, as ``search.tuned`` asks for them.

    Parameters
    ----------
    asked : {"auto", "always", "never"}
    extractors : sequence of ExtractorSpec
        With ids and columns.
    defaults : bool
        True where the spec named none: ``auto`` leaves those alone that a user has named.
    work : Work

    Returns
    -------
    Proposal
        In the order of the extractors. With ``auto``, those that ``SHARE`` of the run's time holds, one after the
        other, and the run may give them up.
    """
    load_plugins()
    frozen = [entry for entry in extractors if entry.name in TWINS]
    if asked == "never" or not frozen or (asked == "auto" and not defaults):
        return Proposal()
    if work.task not in ("binary", "multiclass", "regression"):
        return Proposal(why="frozen: there are no labels to tune by")
    if asked == "auto" and work.n_rows < MIN_ROWS:
        return Proposal(why=f"frozen: fewer than {MIN_ROWS} training rows would be learned by heart")
    paired = {known for known, _ in twin_pairs(extractors)}
    twins, reasons, left_out = [], [], []
    left = math.inf if asked == "always" else SHARE * (work.limit_s or 0.0)
    for entry in frozen:
        if entry.id in paired:
            continue
        seconds = seconds_of(entry, work)
        said = f"about {seconds:.0f} s on {CORES} cores"
        if seconds > left:
            left_out.append(f"tuning {entry.id} takes {said}")
            continue
        left -= seconds
        twins.append(twin_of(entry, optional=asked == "auto"))
        reasons.append(f"the last blocks of {entry.id} tuned in each fold: {said}")
    return Proposal(tuple(twins), tuple(reasons), _why(asked, len(twins), left_out, work.limit_s))


def _why(asked: Tuned, n_twins: int, left_out: Sequence[str], limit_s: float | None) -> str:
    if asked == "always":
        return ""
    parts = [f"{n_twins} tuned beside the frozen: {SHARE:g} of time_limit_s holds them"] if n_twins else []
    if left_out:
        bound = "no time_limit_s allows for that" if limit_s is None else f"more than {SHARE:g} of time_limit_s holds"
        parts.append(f"frozen: {', '.join(left_out)}, {bound}; `always` does it all the same")
    return "; ".join(parts)


def twin_of(entry: ExtractorSpec, optional: bool) -> ExtractorSpec:
    """The tuned twin of a pretrained extractor, on the same columns, without an id; no more is tuned than there is.

    How many workers the pool of the frozen one may have says nothing of the trainings, which run side by side.
    """
    fields = _shared(entry)
    if entry.name == "transformers" and (layers := _encoder(entry)[0]) < _TUNED_LAYERS:
        fields["blocks"] = layers
    return ExtractorSpec(
        name=TWINS[entry.name],
        params=fields,
        columns=entry.columns,
        fusion=entry.fusion,
        resources=entry.resources.model_copy(update={"min_workers": 1, "max_workers": None}),
        optional=optional,
    )


def twin_pairs(extractors: Sequence[ExtractorSpec]) -> list[tuple[str, str]]:
    """Ids of frozen extractors and of their tuned twins: the same weights, on the same columns."""
    return [
        (str(frozen.id), str(tuned.id))
        for frozen in extractors
        for tuned in extractors
        if TWINS.get(frozen.name) == tuned.name
        and (frozen.columns, frozen.fusion) == (tuned.columns, tuned.fusion)
        and _shared(frozen).items() <= tuned.params.model_dump().items()
    ]


def _shared(entry: ExtractorSpec) -> dict[str, Any]:
    """Parameters of a frozen extractor that its twin has too; the number format a twin decides itself."""
    own = EXTRACTORS.get(TWINS[entry.name]).Params.model_fields
    fields: dict[str, Any] = entry.params.model_dump(mode="json", exclude_unset=True)
    return {name: value for name, value in fields.items() if name in own and name != "precision"}


def seconds_of(entry: ExtractorSpec, work: Work) -> float:
    """Seconds that tuning the twin of an extractor takes on ``CORES`` cores, about.

    The frozen blocks are gone through once, in one task, or in every pass where what they give is more than the twin
    keeps; then the folds are trained side by side, and give the features of all rows.
    """
    columns = [""] if entry.fusion is not None else list(entry.columns or ())
    prices = [_price(entry, work.characters.get(column, CHARACTERS)) for column in columns]
    frozen, tuned = (work.n_rows * sum(price[part] for price in prices) for part in (0, 1))
    n_bytes = work.n_rows * sum(price.n_bytes for price in prices)
    most: int = TuningParams.model_fields["cache_mb"].default * 2**20
    passes = PASSES * (1 - 1 / work.folds)
    # Features of all rows are made once: forth only, a quarter of forth and back.
    fold = passes * tuned + tuned / 4
    rounds = math.ceil(work.folds / CORES)
    if n_bytes > most:
        return rounds * (fold + (passes + 1) * frozen)
    return frozen + rounds * fold


def _price(entry: ExtractorSpec, characters: float) -> Price:
    """What a cell takes, by the network and the length of the texts."""
    if entry.name == "torchvision":
        factor = NETWORKS.get(entry.params.model, max(NETWORKS.values()))
        return MOBILENET.times(factor, factor)
    layers, width, longest = _encoder(entry)
    tokens = min(characters / _LETTERS + 2, longest)
    tuned = min(_TUNED_LAYERS, layers)
    wider = (width / _WIDTH) ** 2
    frozen = wider * (layers - tuned) / (_LAYERS - _TUNED_LAYERS)
    price = MINILM.times(frozen * tokens, wider * tuned / _TUNED_LAYERS * tokens)
    return price._replace(n_bytes=4.0 * width * tokens)


def _encoder(entry: ExtractorSpec) -> tuple[int, int, int]:
    """Layers, width and longest text of an encoder, as its configuration tells; MiniLM's where it does not.

    The hub is not asked: what it would be asked for by default is MiniLM.
    """
    if entry.params.model == SENTENCE_ENCODERS[0]:
        return _LAYERS, _WIDTH, entry.params.max_length or _LONGEST
    extractor: Any = build_extractor(entry.name, entry.params, {"text": "text"})
    longest = entry.params.max_length or extractor.encoder.max_length
    return extractor.n_layers or _LAYERS, extractor.told_width or _WIDTH, longest

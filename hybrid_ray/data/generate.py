"""Rows made to a schema, learnable from every column: what smoke forms run on where no data may be at hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pyarrow as pa

from hybrid_ray.data.images import encode_png
from hybrid_ray.data.node_graph import NodeGraph
from hybrid_ray.data.sounds import encode_wav
from hybrid_ray.errors import DataError
from hybrid_ray.spec import DataSpec
from hybrid_ray.types import TASKS, AnyArray, Kind, Task, learned_as

GENERATED = "generated://"
POINTS = "generated://points"
MAX_ROWS = 1_000_000
IMAGE_SIZE = 16
SOUND_RATE = 8000
NOISE = 0.35
MISTAKEN = 0.1
FIRST_DAY = np.datetime64("2020-01-01", "ms")
DAY_MS = 86_400_000
NODES, NODE_NOISE = 400, 0.2
FILLER = ("the", "a", "of", "and", "with", "for", "on", "new")


def generate_rows(columns: Mapping[str, Kind], task: Task, n: int, classes: int, seed: int, label: str) -> pa.Table:
    """Synthetic rows of a schema.

    Each row has a hidden level in 0..1 that decides its label. What shows of it is blurred once a row, so that no model
    can be perfect, and once more in every column, so that each is of some use and all together are better.

    Parameters
    ----------
    columns : mapping of str to Kind
    task : {"binary", "multiclass", "regression", "anomaly", "forecasting"}
    n : int
        Rows.
    classes : int
        Number of classes; ignored for regression, 2 for binary and anomaly.
    seed : int
    label : str
        Name of the label's column: whole numbers from 0 for classes, floats for regression; empty for none.

    Returns
    -------
    pa.Table (n, columns and label)
    """
    rng = np.random.default_rng(seed)
    if task in ("regression", "forecasting"):
        level = rng.uniform(size=n)
        spread = 0.1
        y = pa.array(10 + 90 * level)
    else:
        count = 2 if learned_as(task) == "binary" else max(classes, 2)
        codes = rng.permutation(np.arange(n) % count)
        level = (codes + 0.5) / count
        spread = 0.25 / count
        y = pa.array(codes.astype(np.int64))
    shown = level + rng.normal(0, spread, n)
    made = {
        name: _MAKE[kind](np.clip(shown + rng.normal(0, NOISE / 4, n), 0, 1), rng) for name, kind in columns.items()
    }
    return pa.table({**made, label: y} if label else made)


def generated(uri: str, data: DataSpec) -> pa.Table:
    """The rows of ``generated://rows?rows=120&task=binary&classes=2&seed=0`` with the columns of a spec.

    Columns that the spec's split needs, or that it drops, redacts or groups by, are made as well, and those of
    annotators in place of the label.

    Raises
    ------
    DataError
        The URL is no such URL, or the spec names no columns.
    """
    if uri.startswith(POINTS):
        return _points(urlsplit(uri).query, data.label)
    if not data.columns:
        raise DataError("data.columns: must be given where rows are generated; got none")
    split = data.split
    column = split.column or ("split" if split.kind == "column" else None)
    others = [(name, "grouped") for name in (*data.groups, split.together) if name is not None]
    others += [(name, "id") for name in (*data.drop, *data.redact)]
    extra = [(column, split.kind), *others] if column is not None else others
    return _generated(tuple(data.columns.items()), urlsplit(uri).query, data.label, data.annotators, tuple(extra))


@lru_cache(maxsize=2)
def _points(query: str, label: str) -> pa.Table:
    """A long table of series with trend, season and noise: ``series=20&steps=60&season=4&id=name&time=t&seed=0``.

    With ``known=promo,price&observed=heat`` of these covariates too, of 0 and 1 and of numbers; values rise with them.
    """
    asked = dict(parse_qsl(query))
    try:
        n, steps, season, seed = (int(asked.get(key, "1")) for key in ("series", "steps", "season", "seed"))
    except ValueError:
        raise DataError(f"data.path: series, steps, season and seed must be whole numbers; got {query!r}") from None
    if not (1 <= n * steps <= MAX_ROWS and season >= 1):
        raise DataError(f"data.path: generated points must be 1 to {MAX_ROWS}; got {query!r}")
    rng = np.random.default_rng(seed)
    at = np.arange(steps)
    wave = 1 + 0.3 * np.sin(2 * np.pi * (at[None] / season + rng.uniform(size=(n, 1))))
    trend = 1 + rng.normal(0, 0.3, (n, 1)) * at[None] / steps
    noise = np.exp(rng.normal(0, NOISE / 4, (n, steps)))
    values = rng.uniform(10, 1000, (n, 1)) * np.maximum(trend, 0.2) * wave * noise
    covariates: dict[str, AnyArray] = {}
    for name in filter(None, asked.get("known", "").split(",")):
        covariates[name] = (rng.uniform(size=(n, steps)) < 0.2).astype(np.float64)
        values *= 1 + 0.5 * covariates[name]
    for name in filter(None, asked.get("observed", "").split(",")):
        covariates[name] = rng.normal(0, 1, (n, steps))
        values *= np.exp(0.1 * np.roll(covariates[name], 1, axis=1))
    names = np.repeat([f"series {i}" for i in range(n)], steps)
    columns = {asked.get("id", ""): pa.array(names.astype(object)), asked.get("time", "t"): pa.array(np.tile(at, n))}
    told = {name: pa.array(column.ravel()) for name, column in covariates.items()}
    shown = {name: column for name, column in columns.items() if name}
    return pa.table({**shown, **told, label: pa.array(values.ravel())})


@lru_cache(maxsize=2)
def _generated(
    columns: tuple[tuple[str, Kind], ...],
    query: str,
    label: str,
    annotators: tuple[str, ...],
    extra: tuple[tuple[str, str], ...],
) -> pa.Table:
    n, classes, seed, task = _asked(query)
    table = generate_rows(dict(columns), task, n, classes, seed, label)
    for name, kind in extra:
        if name not in table.column_names:
            table = table.append_column(name, _extra_column(kind, n, seed))
    return _annotated(table, label, annotators, seed) if annotators else table


def _annotated(table: pa.Table, label: str, annotators: Sequence[str], seed: int) -> pa.Table:
    """Labels of annotators, who are mistaken about a tenth of the rows, in place of the label."""
    rng = np.random.default_rng(seed + 2)
    y = table[label].to_numpy()
    for name in annotators:
        mistaken = rng.uniform(size=len(y)) < MISTAKEN
        table = table.append_column(name, pa.array(np.where(mistaken, rng.permutation(y), y)))
    return table.drop_columns([label])


def _asked(query: str) -> tuple[int, int, int, Task]:
    """Rows, classes, seed and task of a query."""
    asked = dict(parse_qsl(query))
    try:
        n, classes, seed = (
            int(asked.get(key, default)) for key, default in (("rows", 120), ("classes", 2), ("seed", 0))
        )
    except ValueError:
        raise DataError(f"data.path: rows, classes and seed must be whole numbers; got {query!r}") from None
    task = next((known for known in TASKS if known == asked.get("task", "binary")), None)
    if task is None or not 1 <= n <= MAX_ROWS:
        raise DataError(f"data.path: generated rows must be 1 to {MAX_ROWS}, of a task of {list(TASKS)}; got {query!r}")
    return n, classes, seed, task


def _extra_column(kind: str, n: int, seed: int) -> pa.Array:
    """A column that tells nothing of the label: the split's, by its kind, or names of the rows."""
    rng = np.random.default_rng(seed + 1)
    if kind == "id":
        return pa.array([f"row {i}" for i in range(n)])
    if kind == "grouped":
        return pa.array([f"group {i}" for i in rng.integers(0, max(n // 4, 1), n)])
    if kind == "temporal":
        return pa.array(FIRST_DAY + np.arange(n) * np.timedelta64(DAY_MS, "ms"))
    return pa.array(np.where(rng.uniform(size=n) < 0.2, "test", "train").astype(object), pa.string())


def _numeric(level: AnyArray, rng: np.random.Generator) -> pa.Array:
    return pa.array(100 * level + rng.normal(0, 100 * NOISE / 4, len(level)))


def _categorical(level: AnyArray, rng: np.random.Generator) -> pa.Array:
    shown = np.clip(level + rng.normal(0, NOISE / 3, len(level)), 0, 0.999)
    return pa.array([f"c{int(5 * v)}" for v in shown])


def _date(level: AnyArray, rng: np.random.Generator) -> pa.Array:
    days = np.rint(365 * level + rng.normal(0, 365 * NOISE / 4, len(level))).astype(np.int64)
    return pa.array(FIRST_DAY + days * np.timedelta64(DAY_MS, "ms"))


def _text(level: AnyArray, rng: np.random.Generator) -> pa.Array:
    texts = []
    for v in level:
        telling = [f"word{int(np.clip(8 * (v + rng.normal(0, NOISE / 4)), 0, 7.99))}" for _ in range(4)]
        words = [*telling, *rng.choice(FILLER, 4)]
        texts.append(" ".join(rng.permutation(words)))
    return pa.array(texts)


def _image(level: AnyArray, rng: np.random.Generator) -> pa.Array:
    """A bright bar on a dark ground, at a height and in a shade that follow the level."""
    images = []
    for v in level:
        pixels = rng.integers(0, 60, (IMAGE_SIZE, IMAGE_SIZE, 3))
        top = int(v * (IMAGE_SIZE - 4))
        pixels[top : top + 4] += (np.array([v, 0.5, 1 - v]) * 180).astype(pixels.dtype)
        images.append(encode_png(pixels.astype(np.uint8)))
    return pa.array(images, pa.binary())


def _series(level: AnyArray, rng: np.random.Generator) -> pa.Array:
    """Waves of 24 to 40 steps that swing the faster the higher the level."""
    waves = []
    for v in level:
        at = np.arange(int(rng.integers(24, 41)))
        waves.append(np.sin((0.2 + v) * at + rng.uniform(0, 6)) + rng.normal(0, NOISE / 2, len(at)))
    return pa.array(waves, pa.list_(pa.float32()))


def _audio(level: AnyArray, rng: np.random.Generator) -> pa.Array:
    """Tones of a quarter of a second, the higher the level the higher, and noise."""
    at = np.arange(SOUND_RATE // 4) / SOUND_RATE
    sounds = []
    for v in level:
        tone = 0.5 * np.sin(2 * np.pi * (400 + 1600 * v) * at + rng.uniform(0, 6))
        sounds.append(encode_wav(tone + rng.normal(0, NOISE / 4, len(at)), SOUND_RATE))
    return pa.array(sounds, pa.binary())


def _node(level: AnyArray, rng: np.random.Generator) -> pa.Array:
    """Ids of nodes of ``generated_node_graph``: the higher the level, the higher the number."""
    return pa.array([str(min(int(v * NODES), NODES - 1)) for v in level])


@lru_cache(maxsize=1)
def generated_node_graph() -> NodeGraph:
    """The graph that generated rows of kind ``node`` are nodes of: features and neighbours follow the node's number."""
    rng = np.random.default_rng(0)
    level = (np.arange(NODES) + 0.5) / NODES
    blurred = level + rng.normal(0, NODE_NOISE, NODES)
    features = np.exp(-20 * (blurred[:, None] - np.linspace(0, 1, 6)) ** 2).astype(np.float32)
    first = np.repeat(np.arange(NODES), 3)
    second = np.clip(first + rng.integers(-20, 21, len(first)), 0, NODES - 1)
    return NodeGraph.of(features, np.stack([first, second], axis=1), [str(row) for row in range(NODES)], GENERATED)


_MAKE: Mapping[Kind, Callable[[AnyArray, np.random.Generator], pa.Array]] = {
    "numeric": _numeric,
    "categorical": _categorical,
    "date": _date,
    "text": _text,
    "image": _image,
    "series": _series,
    "audio": _audio,
    "node": _node,
}

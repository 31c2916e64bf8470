"""What is watched of rows: one number, category or vector a row, of what comes in, of what extractors make of it and of
what is answered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hybrid_ray.data.encoded import DecodeError
from hybrid_ray.data.images import decode
from hybrid_ray.data.sounds import decode_sound
from hybrid_ray.graph import Graph
from hybrid_ray.types import CLUSTERING, HISTORY, AnyArray, Batch, Kind

Form = Literal["number", "category", "vector"]
Source = Literal["input", "embedding", "prediction"]

_LOOKED_AT = (64, 64)
"""Pixels of an image from which its brightness is told."""
_RATE, _SECONDS = 8000, 60.0
"""Samples a second from which a sound's loudness is told, and seconds from its start."""


@dataclass(frozen=True)
class Trait:
    """One thing that is watched, for n rows of which some have none of it.

    Attributes
    ----------
    source : {"input", "embedding", "prediction"}
    form : {"number", "category", "vector"}
    values : ndarray
        float64 (m,), object (m,) of str, or float32 (m, d): those of the m rows that have one, in row order.
    """

    source: Source
    form: Form
    values: AnyArray

    def take(self, rows: AnyArray) -> Trait:
        """Some of its values, by an index array."""
        return Trait(self.source, self.form, self.values[rows])


Traits = dict[str, Trait]
"""By name: ``age``, ``photo:brightness``, ``embedding:resnet``, ``prediction``."""


def input_traits(batch: Batch, columns: Mapping[str, Kind]) -> Traits:
    """What is watched of raw columns (n rows): a number or category each, what can be counted of any other, and gaps.

    ``<column>:given`` says for each row whether there is something. Images and sounds are decoded, small.
    """
    found: Traits = {}
    for name, kind in columns.items():
        given, measured = _MEASURES[kind](batch[name])
        found[f"{name}:given"] = Trait("input", "category", np.where(given, "yes", "no").astype(object))
        for part, values in measured.items():
            form: Form = "category" if values.dtype == object else "number"
            found[f"{name}:{part}" if part else name] = Trait("input", form, values)
    return found


def prediction_traits(graph: Graph, outputs: AnyArray, batch: Batch) -> Traits:
    """What was answered, from outputs (n, n_outputs): the class and how sure, the number, or how far a forecast goes.

    Forecasts are told in deviations of each row's history, from its mean: their mean over the steps, and their spread.
    """
    if graph.outlook is not None:
        steps = outputs[:, : graph.outlook.horizon]
        held = np.array([(_of(np.mean, row), _of(np.std, row)) for row in batch[HISTORY] if row is not None])
        told = steps[_present(batch[HISTORY])]
        middle, scale = held.reshape(-1, 2).T
        told = (told - middle[:, None]) / np.where(scale > 0, scale, 1.0)[:, None]
        return {
            "prediction:mean": Trait("prediction", "number", told.mean(axis=1)),
            "prediction:spread": Trait("prediction", "number", told.std(axis=1)),
        }
    if graph.classes is None:
        return {"prediction": Trait("prediction", "number", outputs[:, 0].astype(np.float64))}
    names = np.array([str(label) for label in graph.classes], object)
    found = {"prediction": Trait("prediction", "category", names[outputs.argmax(axis=1)])}
    if graph.task in CLUSTERING:  # how sure is known of rows that are asked, not of those that were clustered
        return found
    return found | {"prediction:confidence": Trait("prediction", "number", outputs.max(axis=1).astype(np.float64))}


Measured = tuple[AnyArray, dict[str, AnyArray]]
"""Which rows bool (n,) hold something, and what is measured of those, by part; the empty part is the column itself."""


def _numbers(values: AnyArray) -> Measured:
    given = np.isfinite(values)
    return given, {"": values[given].astype(np.float64)}


def _dates(values: AnyArray) -> Measured:
    given = ~np.isnat(values)
    return given, {"": values[given].astype("datetime64[ms]").astype(np.int64).astype(np.float64)}


def _categories(values: AnyArray) -> Measured:
    given = _present(values)
    return given, {"": values[given]}


def _texts(values: AnyArray) -> Measured:
    given = _present(values)
    return given, {"characters": np.array([len(text) for text in values[given]], np.float64)}


def _series(values: AnyArray) -> Measured:
    given = _present(values)
    told = [(len(steps), _of(np.mean, steps), _of(np.std, steps)) for steps in values[given]]
    return given, _parts(told, ("steps", "mean", "deviation"))


def _images(values: AnyArray) -> Measured:
    return _decoded(values, _seen, ("brightness", "contrast", "ratio"))


def _sounds(values: AnyArray) -> Measured:
    return _decoded(values, _heard, ("seconds", "loudness"))


def _nodes(values: AnyArray) -> Measured:
    return _present(values), {}


_MEASURES: Mapping[Kind, Callable[[AnyArray], Measured]] = {
    "numeric": _numbers,
    "date": _dates,
    "categorical": _categories,
    "text": _texts,
    "series": _series,
    "image": _images,
    "audio": _sounds,
    "node": _nodes,
}


def _present(values: AnyArray) -> AnyArray:
    return np.array([value is not None for value in values], bool)


def _of(how: Callable[[AnyArray], Any], steps: AnyArray) -> float:
    known = steps[np.isfinite(steps)]
    return float(how(known)) if len(known) else 0.0


def _decoded(values: AnyArray, look: Callable[[Any], tuple[float, ...]], parts: Sequence[str]) -> Measured:
    """What is told of encoded files; one that cannot be read counts as not given."""
    given, told = np.zeros(len(values), bool), []
    for row, value in enumerate(values):
        if value is not None:
            try:
                told.append(look(value))
            except DecodeError:
                continue
            given[row] = True
    return given, _parts(told, parts)


def _parts(told: Sequence[Sequence[float]], parts: Sequence[str]) -> dict[str, AnyArray]:
    columns = np.array(told, np.float64).reshape(len(told), len(parts)).T
    return dict(zip(parts, columns, strict=True))


def _seen(value: Any) -> tuple[float, float, float]:
    """Brightness and contrast of an image, 0 to 255, and its width for a height of 1."""
    image = decode(value, "L", enough=_LOOKED_AT)
    ratio = image.width / image.height
    image.thumbnail(_LOOKED_AT)
    grey = np.asarray(image, np.float64)
    return float(grey.mean()), float(grey.std()), ratio


def _heard(value: Any) -> tuple[float, float]:
    """Seconds of a sound, ``_SECONDS`` at most, and its root mean square, 1 for the loudest there is."""
    samples = decode_sound(value, _RATE, _SECONDS)
    return len(samples) / _RATE, float(np.sqrt(np.mean(np.square(samples))))

"""Toy rows of any columns, for the contract checks of extractors."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np

from hybrid_ray.data.generate import NODES, generated_node_graph
from hybrid_ray.data.nodes import node_text
from hybrid_ray.data.sounds import encode_wav
from hybrid_ray.types import AnyArray, Batch, Kind

N_CLASSES = 3


def toy_batch(columns: Mapping[str, Kind], n: int = 24, seed: int = 0, missing: bool = True) -> Batch:
    """Rows that tell of ``toy_labels``; with ``missing``, row 2 is empty and every fifth row lacks its first column."""
    rng = np.random.default_rng(seed)
    labels = toy_labels(n)
    batch: dict[str, AnyArray] = {}
    for place, (column, kind) in enumerate(columns.items()):
        values = _toy_column(kind, labels, rng)
        if missing:
            gone = np.arange(n) == 2
            if place == 0 and len(columns) > 1:
                gone |= np.arange(n) % 5 == 4
            values[gone] = {"numeric": np.nan, "date": np.datetime64("NaT", "ms")}.get(kind)
        batch[column] = values
    return batch


def toy_labels(n: int = 24) -> AnyArray:
    """Class codes (n,), each class in turn."""
    return np.arange(n) % N_CLASSES


def spoilt(kind: Kind, cells: AnyArray) -> dict[int, bytes | str]:
    """By row: what cannot be read in place of cells of images, sounds or nodes."""
    if kind == "node":
        new = {"features": [0.5], "neighbours": []}
        alone = {"features": [0.5] * generated_node_graph().width, "neighbours": ["nobody"]}
        return {0: "nobody", 5: node_text(new), 7: node_text(alone)}
    return {0: b"", 5: b"no image", 7: cells[7][:40], 9: "/nowhere/at/all.png"}


def _toy_column(kind: Kind, labels: AnyArray, rng: np.random.Generator) -> AnyArray:
    n = len(labels)
    if kind == "numeric":
        return np.asarray(rng.normal(size=n) + labels, np.float64)
    if kind == "date":
        days = rng.integers(0, 4000, n)
        return np.asarray(np.datetime64("2015-01-01", "ms") + (days * 86_400_000).astype("timedelta64[ms]"))
    values = np.empty(n, object)
    if kind == "categorical":
        values[:] = [f"colour {label + rng.integers(2)}" for label in labels]
    elif kind == "text":
        values[:] = [_toy_text(int(label), rng) for label in labels]
    elif kind == "audio":
        values[:] = [_toy_sound(int(label), rng) for label in labels]
    elif kind == "series":
        for row, label in enumerate(labels):
            values[row] = _toy_series(int(label), rng)
    elif kind == "node":
        values[:] = [_toy_node(int(label), rng) for label in labels]
    else:
        values[:] = [_toy_image(int(label), rng) for label in labels]
    return values


def _toy_text(label: int, rng: np.random.Generator) -> str:
    topic = ("river water fish", "engine wheel road", "flour butter oven")[label].split()
    fillers = ["the", "a", "very", "some", "good", "old", "and", "with"]
    words = [str(rng.choice(topic if rng.random() < 0.5 else fillers)) for _ in range(int(rng.integers(1, 24)))]
    return " ".join(words)


def _toy_series(label: int, rng: np.random.Generator) -> AnyArray:
    """Two channels of 1 to 40 steps, a wave of the label's pace and noise, with gaps."""
    at = np.arange(int(rng.integers(1, 41)))
    steps = np.stack([np.sin((0.3 + label) * at), rng.normal(size=len(at))], axis=1).astype(np.float32)
    steps[rng.random(steps.shape) < 0.1] = np.nan
    steps[0] = 0.0
    return steps


def _toy_sound(label: int, rng: np.random.Generator) -> bytes:
    """A noisy WAV of one channel or two, a tenth of a second or more, with a tone of the label's pitch."""
    rate = (4000, 8000)[int(rng.integers(2))]
    at = np.arange(int(rng.integers(rate // 10, rate // 4))) / rate
    tone = 0.4 * np.sin(2 * np.pi * 300 * (label + 1) * at) + 0.1 * rng.normal(size=len(at))
    return encode_wav(tone if rng.random() < 0.5 else np.column_stack([tone, 0.5 * tone]), rate)


def _toy_node(label: int, rng: np.random.Generator) -> str:
    """A node of ``generated_node_graph`` out of the label's third, or a new one like it with some of its neighbours."""
    graph = generated_node_graph()
    row = int((label + rng.random()) * NODES / N_CLASSES)
    if rng.random() < 0.6:
        return graph.ids[row]
    near = graph.neighbours[graph.bounds[row] : graph.bounds[row + 1]][: int(rng.integers(0, 4))]
    features = graph.features[[row]].toarray()[0]
    return node_text({"features": features.tolist(), "neighbours": [graph.ids[other] for other in near]})


def _toy_image(label: int, rng: np.random.Generator) -> bytes:
    """A noisy PNG or JPEG, not always square, with a bright third."""
    from PIL import Image

    height, width = int(rng.integers(10, 40)), int(rng.integers(10, 40))
    pixels = rng.integers(0, 120, (height, width, 3)).astype(np.uint8)
    third = slice(label * width // 3, (label + 1) * width // 3)
    pixels[:, third] += 120
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG" if rng.random() < 0.5 else "JPEG")
    return stream.getvalue()

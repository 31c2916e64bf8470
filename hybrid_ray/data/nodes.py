"""Nodes of a graph in cells: the id of one that is in the graph, or what is known of one that is not."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from hybrid_ray.types import AnyArray, FloatArray

MAX_NEIGHBOURS = 100_000
"""Neighbours that a new node may have."""
_FIELDS = {"features", "neighbours"}
_NO_NODE = "not a node: neither an id nor an object of `features` (numbers) and `neighbours` (ids)"
_FLOAT32_MAX = float(np.finfo(np.float32).max)


class NewNode(NamedTuple):
    """A node that the graph does not have.

    Attributes
    ----------
    features : ndarray of float32 (d,)
    neighbours : tuple of str
        Ids, each once.
    """

    features: FloatArray
    neighbours: tuple[str, ...]


def node_cell(text: str) -> str | NewNode:
    """What a cell of a batch means: an id as it stands, or a new node from its JSON text.

    Raises
    ------
    ValueError
        It is no text that ``node_text`` writes.
    """
    if not text.startswith("{"):
        return text
    try:
        found = json.loads(text)
        return NewNode(np.array(found["features"], np.float32), tuple(found["neighbours"]))
    except (ValueError, KeyError, TypeError):
        raise ValueError(_NO_NODE) from None


def node_text(value: Any) -> str:
    """The one way to write a node down: equal nodes are equal texts, however they were given.

    Parameters
    ----------
    value : str or int or mapping
        An id, or ``{"features": [...], "neighbours": [...]}``, also as JSON text.

    Raises
    ------
    ValueError
        It is no node; the message holds nothing of the value.
    """
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError(_NO_NODE) from None
    if not isinstance(value, Mapping):
        return node_id(value)
    if set(value) != _FIELDS or not all(_is_list(value[name]) for name in _FIELDS):
        raise ValueError(_NO_NODE)
    features, neighbours = value["features"], value["neighbours"]
    if not all(type(v) in (int, float) and math.isfinite(v) and abs(v) <= _FLOAT32_MAX for v in features):
        raise ValueError("not a node: `features` must be finite numbers")
    if len(neighbours) > MAX_NEIGHBOURS:
        raise ValueError(f"not a node: must have at most {MAX_NEIGHBOURS} neighbours")
    ids = sorted({node_id(neighbour) for neighbour in neighbours})
    # As float32 they are the same numbers wherever they come from.
    numbers = [float(v) for v in np.array(features, np.float32) + np.float32(0)]
    return json.dumps({"features": numbers, "neighbours": ids})


def node_id(value: Any) -> str:
    """An id as text: ``7`` and ``7.0`` are ``"7"``.

    Raises
    ------
    ValueError
        It is no id.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) not in (str, int):
        raise ValueError(_NO_NODE)
    text = str(value).strip()
    try:
        text.encode()
    except UnicodeEncodeError:
        text = ""
    if not text or text.startswith("{"):
        raise ValueError(_NO_NODE)
    return text


def parse_nodes(raw: pa.Array) -> tuple[AnyArray, dict[int, str]]:
    """Cells as texts.

    Parameters
    ----------
    raw : pa.Array
        Ids (text or whole numbers), structs of ``features`` and ``neighbours``, or either as text.

    Returns
    -------
    values : ndarray of object (n,)
        As ``node_text`` writes them; None where there is no node.
    reasons : dict of int to str
        Cells that are no node.
    """
    values = np.full(len(raw), None, object)
    reasons: dict[int, str] = {}
    for row, cell in enumerate(raw.to_pylist()):
        if cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell)):
            continue
        try:
            values[row] = node_text(cell)
        except (ValueError, OverflowError) as error:
            reasons[row] = str(error)
    return values, reasons


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)

"""States of things that hold other things: each part under its own name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hybrid_ray.types import State

_BLOB = "--"
"""Between the name of a part and that of its blob: blobs are files of one folder, and no part has it in its name."""


def nest(parts: Mapping[str, State], meta: Mapping[str, Any] | None = None) -> State:
    """One state of several, with some meta of its own."""
    return State(
        {**(meta or {}), "parts": {name: state.meta for name, state in parts.items()}},
        {f"{name}/{key}": array for name, state in parts.items() for key, array in state.tensors.items()},
        {f"{name}{_BLOB}{key}": data for name, state in parts.items() for key, data in state.blobs.items()},
    )


def part(state: State, name: str) -> State:
    """One part of a nested state.

    Raises
    ------
    KeyError
        It is not there.
    """
    meta = dict(state.meta["parts"][name])
    return State(meta, _under(state.tensors, f"{name}/"), _under(state.blobs, f"{name}{_BLOB}"))


def _under(named: Mapping[str, Any], mark: str) -> dict[str, Any]:
    return {key.removeprefix(mark): value for key, value in named.items() if key.startswith(mark)}

"""States of things that hold other things: each part under its own name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hybrid_ray.types import State


def nest(parts: Mapping[str, State], meta: Mapping[str, Any] | None = None) -> State:
    """One state of several, with some meta of its own; no part may hold blobs."""
    assert not any(state.blobs for state in parts.values()), "a part with blobs has no room here"
    return State(
        {**(meta or {}), "parts": {name: state.meta for name, state in parts.items()}},
        {f"{name}/{key}": array for name, state in parts.items() for key, array in state.tensors.items()},
    )


def part(state: State, name: str) -> State:
    """One part of a nested state.

    Raises
    ------
    KeyError
        It is not there.
    """
    mark = f"{name}/"
    tensors = {key.removeprefix(mark): array for key, array in state.tensors.items() if key.startswith(mark)}
    return State(dict(state.meta["parts"][name]), tensors)

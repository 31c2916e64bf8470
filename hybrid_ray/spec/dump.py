"""A spec as YAML for people: what differs from the defaults, each choice with its reason beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from hybrid_ray.spec.model import Spec

INDENT = "  "
WIDTH = 100


def dump_yaml(spec: Spec, comments: Mapping[str, str] | None = None) -> str:
    """A spec as YAML that :func:`hybrid_ray.spec.load_spec` reads back as the same spec.

    Parameters
    ----------
    spec : Spec
    comments : mapping of str to str, optional
        Comments by dotted path: ``{"data.columns.zip": "categorical: ..."}``, ``{"extractors.0": "..."}``. A commented
        field is written even where it holds its default.
    """
    notes = {path: _one_line(text) for path, text in (comments or {}).items()}
    whole = spec.model_dump(mode="json")
    kept = _keep(whole, spec.model_dump(mode="json", exclude_defaults=True), "", notes)
    document = {"version": whole["version"], "name": whole["name"], "task": whole["task"], **kept}
    return "\n".join(_lines(document, "", 0, notes)) + "\n"


def _one_line(text: str) -> str:
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _keep(whole: Any, differing: Any, path: str, notes: Mapping[str, str]) -> Any:
    """What of ``whole`` differs from the defaults or is commented, in its own order."""
    if not isinstance(whole, dict):
        return whole
    kept: dict[str, Any] = {}
    held = differing if isinstance(differing, dict) else {}
    for key, value in whole.items():
        here = f"{path}.{key}" if path else str(key)
        if isinstance(value, list):
            inner = held.get(key)
            pairs = zip(value, inner if inner is not None else value, strict=True)
            pruned: Any = [_keep(v, d, f"{here}.{i}", notes) for i, (v, d) in enumerate(pairs)]
        else:
            pruned = _keep(value, held.get(key), here, notes)
        # A plugin whose parameters are all defaults is written by its name alone.
        differs = key in held and not (key == "params" and pruned == {})
        if differs or _commented(here, notes):
            kept[key] = pruned
    return kept


def _commented(path: str, notes: Mapping[str, str]) -> bool:
    return any(note == path or note.startswith(f"{path}.") for note in notes)


def _lines(value: Any, path: str, depth: int, notes: Mapping[str, str]) -> list[str]:
    """Lines of a mapping or of a list in block style."""
    lines: list[str] = []
    pairs = [(f"{_scalar(k)}:", k, v) for k, v in value.items()] if isinstance(value, dict) else []
    pairs = pairs or [("-", i, v) for i, v in enumerate(value)]
    for head, key, inner in pairs:
        here = f"{path}.{key}" if path else str(key)
        note = f"  # {notes[here]}" if notes.get(here) else ""
        start = f"{INDENT * depth}{head}"
        if _is_block(inner, here, notes):
            below = _lines(inner, here, depth + 1, notes)
            if head == "-" and isinstance(inner, dict):
                lines += [f"{start} {below[0].lstrip()}{note}", *below[1:]]
            else:
                lines += [f"{start}{note}", *below]
        else:
            lines.append(f"{start} {_flow(inner)}{note}")
    return lines


def _is_block(value: Any, path: str, notes: Mapping[str, str]) -> bool:
    if not isinstance(value, dict | list) or not value:
        return False
    if isinstance(value, dict):
        return True
    return (
        any(isinstance(v, dict | list) for v in value)
        or any(_commented(f"{path}.{i}", notes) for i in range(len(value)))
        or len(_flow(value)) > WIDTH
    )


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(v) for v in value) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    """One value on one line; text is quoted where YAML would read it otherwise."""
    plain = not isinstance(value, str) or (value.isprintable() and value == value.strip())
    style = None if plain else '"'
    # Inside a list, YAML's rules for plain text are the strictest: what stands there may stand anywhere.
    text = yaml.safe_dump([value], default_style=style, default_flow_style=True, width=2**31, allow_unicode=True)
    return text.strip()[1:-1]

"""Pydantic's errors as faults: ``<yaml path>: <what must hold>; got <value>. <nearest valid value>``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hybrid_ray.registry import nearest
from hybrid_ray.spec.consistency import Contradiction
from hybrid_ray.spec.document import KeyPath, show_path
from hybrid_ray.spec.model import PluginSpec

MAX_SHOWN = 60

_MUST: Mapping[str, str] = {
    "missing": "must be given",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "finite_number": "must be finite",
}


def faults(error: ValidationError, model: type[BaseModel], document: Any) -> list[str]:
    """Every fault of a document, one line each, in document order; ``contradictions`` tells those between values.

    Parameters
    ----------
    error : ValidationError
    model : type of BaseModel
        What the document was validated against.
    document : object
        The raw document.
    """
    musts: dict[tuple[KeyPath, str], list[str]] = {}
    for detail in error.errors(include_url=False):
        if isinstance(detail.get("ctx", {}).get("error"), Contradiction):
            continue
        path = _in_document(detail, document)
        must, rest = _sentence(detail, path, model, document)
        held = musts.setdefault((path, rest), [])
        if must not in held:
            held.append(must)
    # Branches of one union complain one by one about one value: that is one fault.
    return [f"{show_path(path)}: {_either(each)}{rest}" for (path, rest), each in musts.items()]


def _either(musts: list[str]) -> str:
    return " or ".join([musts[0], *(must.removeprefix("must be ") for must in musts[1:])])


def _sentence(detail: ErrorDetails, path: KeyPath, model: type[BaseModel], document: Any) -> tuple[str, str]:
    """What must hold, and the rest of the line."""
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    got = f"; got {show_value(value)}"
    if kind == "extra_forbidden":
        known = _keys(model, path[:-1], document)
        return "unknown key", f"; expected one of {known}.{nearest(str(path[-1]), known)}"
    if kind == "missing":
        return "must be given", "; got nothing"
    if kind == "value_error":
        text = str(context.get("error", detail["msg"]))
        return text, "" if "got " in text or text.startswith("unknown ") else got
    if kind == "literal_error":
        choices = _choices(model, path, document)
        near = nearest(value, choices) if isinstance(value, str) else ""
        return f"must be one of {choices or context['expected']}", f"{got}.{near}"
    if kind == "string_pattern_mismatch":
        return "must start with a letter and hold at most 64 letters, digits, '_', '.' or '-'", got
    return _MUST.get(kind) or detail["msg"].replace("Input should", "must").replace("Value should", "must"), got


def show_value(value: Any) -> str:
    """A value, short enough for one line."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def _in_document(detail: ErrorDetails, document: Any) -> KeyPath:
    """Where the fault stands in the document: pydantic also names branches of unions, and keys of mappings."""
    path: list[str | int] = []
    node, loc = document, detail["loc"]
    for i, part in enumerate(loc):
        held = isinstance(node, Mapping) and part in node
        if held or (isinstance(node, list | tuple) and isinstance(part, int) and part < len(node)):
            node = node[part]
        elif not (i == len(loc) - 1 and detail["type"] == "missing"):
            continue
        path.append(part)
    return tuple(path)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Models that an annotation may hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _model_at(model: type[BaseModel], path: KeyPath, document: Any) -> type[BaseModel] | None:
    """The model that validates what stands at a path."""
    node = document
    held: type[BaseModel] | None = model
    for part in path:
        if isinstance(part, str):
            if held is not None and issubclass(held, PluginSpec) and part == "params":
                held = _params_of(held, node)
            elif held is not None and part in held.model_fields:
                held = next(_models(held.model_fields[part].annotation), None)
            else:
                return None
        node = _step(node, part)
    return held


def _params_of(held: type[PluginSpec], node: Any) -> type[BaseModel] | None:
    name = node.get("name") if isinstance(node, Mapping) else node
    return held.registry.get(name).Params if isinstance(name, str) and name in held.registry else None


def _step(node: Any, part: str | int) -> Any:
    if isinstance(node, Mapping):
        return node.get(part)
    return node[part] if isinstance(node, list | tuple) and isinstance(part, int) and part < len(node) else None


def _keys(model: type[BaseModel], path: KeyPath, document: Any) -> list[str]:
    held = _model_at(model, path, document)
    return sorted(held.model_fields) if held is not None else []


def _choices(model: type[BaseModel], path: KeyPath, document: Any) -> list[str]:
    """Values of the Literal at a path, every branch of a union counted."""
    fields = [i for i, part in enumerate(path) if isinstance(part, str)]
    for end in reversed(fields):
        held = _model_at(model, path[:end], document)
        if held is not None and path[end] in held.model_fields:
            return sorted(set(_literals(held.model_fields[str(path[end])].annotation)))
    return []


def _literals(annotation: Any) -> Iterator[str]:
    for inner in get_args(annotation):
        if get_origin(annotation) is Literal:
            if isinstance(inner, str):
                yield inner
        else:
            yield from _literals(inner)

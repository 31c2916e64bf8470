"""Checked data whose fields are described by the string below each: what specs, parameters and reports are made of."""

from __future__ import annotations

import ast
import inspect
import itertools
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler
from pydantic_core import CoreSchema


class Documented(BaseModel):
    """Base of data that is checked, frozen, and described in its JSON Schema.

    pydantic itself can read the strings below fields when a class is made. That parses the source of a hundred classes
    in every process that a cluster starts, and a process seldom makes a schema: here they are read when one is made.
    For the same reason a class's validator is built when it is first used.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), defer_build=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The schema, with the string below a field as its description where it has no other."""
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, text in described(cls).items():
            if name in properties:
                properties[name].setdefault("description", text)
        return schema


def described(owner: type) -> dict[str, str]:
    """The strings below the annotated names of a class and its bases, by name; none where there is no source."""
    found: dict[str, str] = {}
    for part in reversed(owner.__mro__):
        if part is not owner and not issubclass(part, Documented):
            continue
        try:
            source = inspect.getsource(part)
        except (OSError, TypeError):  # made in an interpreter's session
            continue
        found |= _strings(source)
    return found


def _strings(source: str) -> Iterator[tuple[str, str]]:
    """Each annotated name of a class which has a string below it, and the string."""
    # A class inside something else is indented, all but the lines of long strings: it is parsed where it stands.
    tree = ast.parse(f"if True:\n{source}" if source[0].isspace() else source)
    own = next(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    for field, below in itertools.pairwise(own.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            value = below.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield field.target.id, inspect.cleandoc(value.value)

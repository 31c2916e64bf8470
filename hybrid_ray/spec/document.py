"""Reading YAML documents of bounded size, and setting values in them by path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from hybrid_ray.errors import SpecError

MAX_BYTES = 1 << 20
MAX_NODES = 100_000
MAX_DEPTH = 32

KeyPath = tuple[str | int, ...]

_TOKEN = re.compile(r'\["((?:[^"\\]|\\.)*)"\]|\[(\d+)\]|([^.\[\]]+)')


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate keys and documents that nest too deeply."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem=f"it must nest at most {MAX_DEPTH} deep", problem_mark=self._mark())
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                continue
            if key_node.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"each key must stand once; got {key_node.value!r} twice", problem_mark=key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)

    def _mark(self) -> yaml.Mark | None:
        return self.peek_event().start_mark


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """A YAML document whose top is a mapping.

    Parameters
    ----------
    text : str
    where : str
        Name of the document, for messages.

    Raises
    ------
    SpecError
        It is no YAML, is too large, too deep, holds a key twice, or its top is no mapping.
    """
    if len(text) > MAX_BYTES:
        raise SpecError([f"{where}: a spec must have at most {MAX_BYTES} bytes; got {len(text)}"])
    try:
        loader = _Loader(text)
        try:
            value = loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
        raise SpecError([f"{where}{place}: a spec must be YAML; {error.problem}"]) from None
    except (yaml.YAMLError, ValueError) as error:
        raise SpecError([f"{where}: a spec must be YAML; {' '.join(str(error).split())}"]) from None
    if not isinstance(value, dict):
        held = "nothing" if value is None else f"a {type(value).__name__}"
        raise SpecError([f"{where}: a spec must be a mapping with `name` and `data`; got {held}"])
    check_plain(value, where)
    return value


def read_yaml(path: Path) -> dict[str, Any]:
    """The document of a file; see :func:`parse_yaml`.

    Raises
    ------
    SpecError
        The file cannot be read, or is no text.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SpecError([f"{path}: the spec must be a readable file; {error.strerror or error}"]) from None
    try:
        return parse_yaml(raw.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError:
        raise SpecError([f"{path}: a spec must be UTF-8 text; got other bytes"]) from None


def check_plain(value: Any, where: str) -> None:
    """Refuse a document that unfolds without end (aliases) or has keys that are no text.

    Raises
    ------
    SpecError
        With every key that is no text.
    """
    faults: list[str] = []
    budget = MAX_NODES
    stack: list[tuple[Any, KeyPath]] = [(value, ())]
    while stack:
        node, path = stack.pop()
        budget -= 1
        if budget < 0 or len(path) > MAX_DEPTH:
            raise SpecError([f"{where}: a spec must have at most {MAX_NODES} values, {MAX_DEPTH} deep; got more"])
        if isinstance(node, Mapping):
            faults += [_odd_key(key, path) for key in node if not isinstance(key, str)]
            stack += [(item, (*path, str(key))) for key, item in node.items()]
        elif isinstance(node, list | tuple):
            stack += [(item, (*path, i)) for i, item in enumerate(node)]
    if faults:
        raise SpecError(sorted(faults))


def show_path(path: KeyPath) -> str:
    """``extractors[0].params.width`` for a path of keys and positions."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _TOKEN.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += '["' + part.replace("\\", "\\\\").replace('"', '\\"') + '"]'
    return text or "spec"


def parse_path(dotted: str) -> KeyPath:
    """Parts of ``search.folds``, ``extractors.0.params.width``, ``extractors[0].name`` or ``data.columns["a.b"]``.

    Raises
    ------
    SpecError
        It is no such path.
    """
    parts: list[str | int] = []
    position = 0
    while position < len(dotted):
        if dotted[position] == "." and 0 < position < len(dotted) - 1:
            position += 1
        match = _TOKEN.match(dotted, position)
        if match is None:
            break
        quoted, number, name = match.groups()
        parts.append(re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else int(number) if number else name)
        position = match.end()
    if not parts or position < len(dotted):
        raise SpecError([f"{dotted or 'spec'}: an override must be a path such as search.folds; got {dotted!r}"])
    return tuple(parts)


def parse_override(text: str) -> tuple[str, Any]:
    """``("search.folds", 3)`` for ``search.folds=3``: the value is read as YAML.

    Raises
    ------
    SpecError
        There is no ``=``, or the value is no YAML.
    """
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise SpecError([f"--set: must be path=value, such as search.folds=3; got {text!r}"])
    return path.strip(), parse_yaml(f"value: {value}", f"--set {path.strip()}").get("value")


def set_value(document: dict[str, Any], dotted: str, value: Any) -> None:
    """Put a value into a document, in place; mappings on the way are made where there are none.

    Raises
    ------
    SpecError
        The path leads through a value, or to a position that the list does not have.
    """
    path = parse_path(dotted)
    node: Any = document
    for depth, part in enumerate(path):
        here, last = path[:depth], depth == len(path) - 1
        if isinstance(node, list):
            index = _position(part, len(node), (*here, part))
            # A plugin may be given by its bare name; a path into it needs the long form.
            if not last and isinstance(node[index], str):
                node[index] = {"name": node[index]}
            key: Any = index
        elif isinstance(node, dict):
            key = str(part)
            if not last and node.get(key) is None:
                node[key] = {}
        else:
            raise SpecError([f"{show_path(here)}: must hold {part!r}; got {node!r}"])
        if last:
            node[key] = value
        else:
            node = node[key]


def _position(part: str | int, length: int, path: KeyPath) -> int:
    if str(part).isdecimal() and int(part) < length:
        return int(part)
    raise SpecError([f"{show_path(path)}: must be a position below {length}; got {part!r}"])


def _odd_key(key: Any, path: KeyPath) -> str:
    why = " YAML reads on, off, yes and no as true and false: put the key in quotes" if isinstance(key, bool) else ""
    return f"{show_path(path)}: keys must be text; got {key!r}.{why}"

"""A page of all registered plugins, from what their classes and ``Params`` say; run as a module, it is printed."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from hybrid_ray.params import PluginParams
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import ESTIMATORS, EXTRACTORS, FUSIONS, PREPARATIONS

HEAD = """# Plugins

Everything a spec can name, with its parameters: `python -m hybrid_ray.plugin_page` prints this page from the classes
themselves, those of installed third parties included. How to write one: extending.md.
"""


class Part(NamedTuple):
    """One part of the page.

    Attributes
    ----------
    title : str
    where : str
        Where a spec names them.
    plugins : mapping of str to class
        By name.
    """

    title: str
    where: str
    plugins: Mapping[str, Any]


def page() -> str:
    """The page, in Markdown: O(plugins)."""
    load_plugins()
    lines = [HEAD]
    for part in parts():
        lines += [f"## {part.title}", "", f"Named in `{part.where}`.", ""]
        for name, plugin in part.plugins.items():
            lines += _plugin(name, plugin)
    return "\n".join(lines)


def parts() -> Iterator[Part]:
    """Plugins by what they do, in the order in which rows meet them."""
    levels = (("data", "extractors[].fusion"), ("feature", "search.fusions"), ("decision", "search.ensemble.combiners"))
    by_level = {
        level: Part(
            f"Fusion at {level} level", where, {name: own for name, own in FUSIONS.items() if own.level == level}
        )
        for level, where in levels
    }
    yield by_level["data"]
    yield Part("Extractors", "extractors", dict(EXTRACTORS.items()))
    yield Part("Preparations", "search.preparations", dict(PREPARATIONS.items()))
    yield by_level["feature"]
    yield Part("Estimators", "search.estimators", dict(ESTIMATORS.items()))
    yield by_level["decision"]


def _plugin(name: str, plugin: Any) -> Iterator[str]:
    yield f"### {name}"
    yield ""
    yield from _text(inspect.getdoc(plugin) or "")
    yield ""
    facts = list(_facts(plugin))
    if facts:
        yield f"{'; '.join(facts)}."
        yield ""
    rows = list(_rows(plugin.Params))
    if rows:
        yield "| parameter | default | values | |"
        yield "|---|---|---|---|"
        yield from rows
        yield ""


def _text(docstring: str) -> Iterator[str]:
    """A docstring's prose and its references; numpydoc's other sections are for those who call the class."""
    prose, *sections = re.split(r"\n\n(?=\w+\n-{3,}\n)", docstring)
    yield prose
    for section in sections:
        title, _, text = section.split("\n", 2)
        if title == "References":
            yield f"\n*{text.strip()}*"


def _facts(plugin: Any) -> Iterator[str]:
    """What it reads, what for, and whether it learns."""
    tags = getattr(plugin, "tags", plugin)
    kinds, gives = getattr(tags, "kinds", getattr(plugin, "takes", None)), getattr(plugin, "gives", None)
    if kinds:
        yield f"Reads {_named(kinds)}" + (f", gives {gives}" if gives else "")
    if getattr(tags, "trained", False):
        yield "trained in each fold" + (" on the label" if tags.supervised else ", without the label")
    tasks = getattr(tags, "tasks", None)
    if tasks:
        yield f"For {_named(tasks)}"


def _named(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))


def _rows(params: type[PluginParams]) -> Iterator[str]:
    """A row of the table for each parameter."""
    schema = params.model_json_schema()
    defs = schema.get("$defs", {})
    for name, field in schema.get("properties", {}).items():
        shown = (f"`{name}`", f"`{json.dumps(field.get('default'))}`", _values(field, defs), _told(field))
        yield f"| {' | '.join(shown)} |"


def _told(field: Mapping[str, Any]) -> str:
    return " ".join(str(field.get("description", "")).split()).replace("|", "\\|")


def _values(field: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    """What a parameter may be, in words."""
    if "$ref" in field:
        return _values(defs[field["$ref"].rsplit("/", 1)[-1]], defs)
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_values(choice, defs) for choice in field["anyOf"]))
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "null":
        return "nothing"
    if field.get("type") == "array":
        entries = field.get("items") or {"anyOf": field.get("prefixItems", [])}
        return f"list of {_values(entries, defs)}"
    if "properties" in field:
        return ", ".join(f"`{name}`: {_values(part, defs)}" for name, part in field["properties"].items())
    signs = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
    bounds = ", ".join(f"{sign} {field[key]:g}" for key, sign in signs if key in field)
    return f"{field.get('type', 'value')} {bounds}".rstrip()


if __name__ == "__main__":
    print(page(), end="")

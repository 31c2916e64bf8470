"""The spec as JSON Schema, for editors: every plugin, with every parameter of it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from hybrid_ray.plugins import load_plugins
from hybrid_ray.spec.model import (
    CombinerSpec,
    DataFusionSpec,
    EstimatorSpec,
    ExtractorSpec,
    FusionSpec,
    PluginSpec,
    PreparationSpec,
    Spec,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def spec_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a spec.

    A plugin is either its bare name, or an object whose ``name`` is a constant and whose ``params`` are that
    plugin's own.
    """
    load_plugins()
    schema = Spec.model_json_schema(mode="validation")
    definitions: dict[str, Any] = schema["$defs"]
    for section in (ExtractorSpec, DataFusionSpec, EstimatorSpec, PreparationSpec, FusionSpec, CombinerSpec):
        definitions[section.__name__] = _plugin_schema(section, definitions)
    return {"$schema": DIALECT, "$id": "hybrid_ray/spec", **schema}


def _names(section: type[PluginSpec]) -> list[str]:
    level = section.level if issubclass(section, FusionSpec | DataFusionSpec) else None
    return [name for name, plugin in section.registry.items() if level is None or plugin.level == level]


def _plugin_schema(section: type[PluginSpec], definitions: dict[str, Any]) -> dict[str, Any]:
    """What an entry of a list of plugins may be; the plugins' parameters are added to ``definitions``."""
    common: dict[str, Any] = definitions[section.__name__]
    names = _names(section)
    branches = []
    for name in names:
        plugin = section.registry.get(name)
        params = _hoist(plugin.Params, f"{section.registry.role}.{name}", definitions)
        own = {"name": {"const": name, "description": _first_line(plugin)}, "params": params}
        branches.append({**common, "title": name, "properties": {**common["properties"], **own}})
    return {"description": common.get("description", ""), "oneOf": [{"type": "string", "enum": names}, *branches]}


def _hoist(params: type[BaseModel], key: str, definitions: dict[str, Any]) -> dict[str, Any]:
    """Put the schema of some parameters, and of what they hold, under ``definitions``; a reference to it."""
    schema = params.model_json_schema(mode="validation", ref_template=f"#/$defs/{key}.{{model}}")
    for inner, definition in schema.pop("$defs", {}).items():
        definitions[f"{key}.{inner}"] = definition
    definitions[key] = schema
    return {"$ref": f"#/$defs/{key}"}


def _first_line(plugin: type) -> str:
    return (plugin.__doc__ or "").strip().partition("\n")[0]

"""The base of every plugin's parameters."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class PluginParams(BaseModel):
    """Parameters of a plugin: the one definition that the spec, the search, the docs and the object share.

    Every field has a default and a ``Field(description=...)``; bounds are declared on the field.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), use_attribute_docstrings=True)

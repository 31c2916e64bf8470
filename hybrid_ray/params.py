"""The base of every plugin's parameters."""

from __future__ import annotations

from hybrid_ray.documented import Documented


class PluginParams(Documented):
    """Parameters of a plugin: the one definition that the spec, the search, the docs and the object share.

    Every field has a default and a description, the string below it; bounds are declared on the field.
    """

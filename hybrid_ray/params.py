"""The base of every plugin's parameters."""

from __future__ import annotations

from typing import Any, ClassVar

from hybrid_ray.documented import Documented


class PluginParams(Documented):
    """Parameters of a plugin: the one definition that the spec, the search, the docs and the object share.

    Every field has a default and a description, the string below it; bounds are declared on the field.

    Attributes
    ----------
    later : frozenset of str
        Fields that came when features were cached already, beside those of the bases: at their default, where they
        change nothing, they are no part of a fingerprint, so that those features are found again.
    """

    later: ClassVar[frozenset[str]] = frozenset()

    def identity(self) -> dict[str, Any]:
        """The fields as a fingerprint has them, JSON-able."""
        later = {name for kind in type(self).__mro__ for name in vars(kind).get("later", ())}
        left_out = {name for name in later if getattr(self, name) == type(self).model_fields[name].default}
        return self.model_dump(mode="json", exclude=left_out)

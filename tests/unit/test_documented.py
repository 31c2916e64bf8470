"""Descriptions of fields: read from the source when a schema is made."""

from __future__ import annotations

import pytest
from pydantic import Field, ValidationError

from hybrid_ray.documented import Documented, described


class Base(Documented):
    """A base."""

    size: int = Field(4, ge=1)
    """Side of the square,
    in pixels."""


class Made(Base):
    """A class of its own."""

    name: str = Field("a", description="Said in the field.")
    """Said below."""
    plain: float = 0.0


def test_strings_below_fields_describe_them_those_of_bases_too() -> None:
    assert described(Made) == {"size": "Side of the square,\nin pixels.", "name": "Said below."}
    properties = Made.model_json_schema()["properties"]
    assert properties["size"]["description"] == "Side of the square,\nin pixels."
    assert properties["name"]["description"] == "Said in the field."
    assert "description" not in properties["plain"]


def test_a_class_inside_a_function_may_have_long_strings_at_the_left() -> None:
    class Inner(Documented):
        size: int = 1
        """Side,
in pixels."""

    assert Inner.model_json_schema()["properties"]["size"]["description"] == "Side,\nin pixels."


def test_a_class_without_source_has_no_descriptions() -> None:
    space: dict[str, object] = {"Documented": Documented, "__name__": "session"}
    exec('class Session(Documented):\n    x: int = 1\n    """Lost."""\n', space)
    made = space["Session"]
    assert isinstance(made, type)
    assert described(made) == {}


def test_data_is_checked_and_frozen() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        Base(size=0)
    with pytest.raises(ValidationError, match="frozen"):
        Base().size = 5  # type: ignore[misc]

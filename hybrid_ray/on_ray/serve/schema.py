"""What the schema of a served graph says: requests and answers, made of the graph's own columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, Field, create_model

from hybrid_ray.on_ray.serve.arrow_body import MEDIA_TYPE
from hybrid_ray.on_ray.serve.body import parse_multipart
from hybrid_ray.on_ray.serve.contract import Served
from hybrid_ray.on_ray.serve.desk import Feedback
from hybrid_ray.on_ray.serve.open_inference import DATATYPES
from hybrid_ray.serving.traffic import Traffic
from hybrid_ray.types import ENCODED, Task


class Problem(BaseModel):
    """One thing wrong in a request."""

    loc: list[str | int]
    """Where: ``["body", "rows", <row>, <column>]``."""
    msg: str
    """What must hold."""
    type: str
    """A stable word for it."""


class Problems(BaseModel):
    """Why a request was not answered."""

    detail: list[Problem]
    more: int = 0
    """Further faults, not listed."""


_TOLD: Mapping[Task, tuple[str, str]] = {
    "multiclass": ("The class with the largest probability.", "Probability of each class, by its name as text."),
    "clustering": ("The cluster with the largest membership.", "Membership in each cluster, by its number as text."),
    "anomaly": (
        "The label of anomalous rows beyond the threshold, else that of normal ones.",
        "By label as text: how unlike normal rows it is, 0.5 at the threshold, and the rest to 1; no probabilities.",
    ),
}
"""What ``prediction`` and ``proba`` mean, by task; two classes are like many."""


def answer_model(served: Served) -> type[BaseModel]:
    """The model of an answer: ``{"predictions": [...], "model": ..., "version": ..., "id": ...}``."""
    fields: dict[str, Any]
    if served.outlook is not None:
        told = f"Steps 1 to {served.outlook.horizon} after the history; low and high are the ends of an interval."
        names = served.outlook.parts(np.zeros((0, served.n_outputs)))
        fields = {name: (list[float], Field(description=told)) for name in names}
    elif served.classes is None:
        fields = {"prediction": (float, Field(description=f"Predicted {served.task} value."))}
    else:
        kinds = {type(label) for label in served.classes}
        label = kinds.pop() if len(kinds) == 1 else str
        told, proba = _TOLD.get(served.task, _TOLD["multiclass"])
        fields = {
            "prediction": (label, Field(description=told, examples=served.classes[:3])),
            "proba": (dict[str, float], Field(description=proba)),
        }
    prediction = create_model("Prediction", **fields)
    return create_model(
        "Answer",
        predictions=(list[prediction], Field(description="One for each row, in order.")),
        model=(str, Field(description="Name of the model.", examples=[served.name])),
        version=(type(served.version), Field(description="Version that answered.", examples=[served.version])),
        id=(str, Field(description="Of the request, as its header x-request-id said, else a new one.")),
        without=(list[str], Field([], description="Extractors that did not answer in time, see serve.partial_s.")),
    )


def answer_schema(served: Served) -> tuple[dict[str, Any], dict[str, Any]]:
    """The schema of an answer, and the parts that it refers to, by their names among the document's."""
    whole = answer_model(served).model_json_schema(ref_template="#/components/schemas/{model}")
    parts = whole.pop("$defs", {})
    return whole, parts


def body_schema(served: Served, row: type[BaseModel]) -> dict[str, Any]:
    """Request bodies, for the schema."""
    one = row.model_json_schema(by_alias=True) | {"title": "Row", "additionalProperties": False, "minProperties": 1}
    rows = {"type": "array", "items": one, "maxItems": served.limits.max_rows}
    many = {
        "type": "object",
        "title": "Rows",
        "properties": {"rows": rows},
        "required": ["rows"],
        "additionalProperties": False,
    }
    example = {name: cell["examples"][0] for name, cell in one["properties"].items()}
    parts: dict[str, Any] = {
        name: {"type": "string", "format": "binary"} if kind in ENCODED else one["properties"][name]
        for name, kind in served.columns.items()
    }
    parts["rows"] = {"type": "string", "contentMediaType": "application/json", "description": "Rows, as JSON."}
    form = {"type": "object", "description": parse_multipart.__doc__, "properties": parts}
    return {
        "application/json": {"schema": {"oneOf": [many, one]}, "example": {"rows": [example]}},
        "multipart/form-data": {"schema": form},
        MEDIA_TYPE: {"schema": {"type": "string", "format": "binary", "description": "A stream of the same columns."}},
    }


def told_bodies() -> dict[tuple[str, str], dict[str, Any]]:
    """Request bodies of what changes and tells, by path and method: as they stand in an operation."""
    traffic = Traffic.model_json_schema()
    traffic["properties"].pop("champion")
    traffic["required"] = [name for name in traffic.get("required", ()) if name != "champion"]
    traffic["properties"]["reason"] = {"type": "string", "description": "Kept with the change."}
    empty = {"type": "object", "description": "Nothing is asked for: it says that the request comes from no page."}
    return {
        ("/feedback", "post"): _as_json(Feedback.model_json_schema()),
        ("/traffic", "put"): _as_json(traffic),
        ("/models/{version}/promote", "post"): _as_json(empty),
    }


def infer_body(served: Served) -> dict[str, Any]:
    """The request body of the Open Inference Protocol, as it stands in an operation."""
    one = {
        "type": "object",
        "required": ["name", "shape", "datatype"],
        "properties": {
            "name": {"enum": list(served.columns)},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1},
            "datatype": {"enum": list(DATATYPES)},
            "data": {"type": "array", "items": {}},
            "parameters": {"type": "object"},
        },
    }
    wanted = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
    return _as_json(
        {
            "type": "object",
            "title": "Infer",
            "required": ["inputs"],
            "properties": {
                "id": {"type": "string"},
                "inputs": {"type": "array", "items": one, "minItems": 1},
                "outputs": {"type": "array", "items": wanted},
                "parameters": {"type": "object"},
            },
        }
    )


def _as_json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": _inlined(schema)}}}


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema with the parts that it refers to in their places: a document has one room for all its parts."""
    parts = schema.get("$defs", {})

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            told = value.get("$ref", "")
            if isinstance(told, str) and told.startswith("#/$defs/"):
                return walk(parts[told.removeprefix("#/$defs/")])
            return {key: walk(each) for key, each in value.items() if key != "$defs"}
        return [walk(each) for each in value] if isinstance(value, list) else value

    found: dict[str, Any] = walk(schema)
    return found

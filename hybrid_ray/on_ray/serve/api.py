"""The HTTP face of a served graph: POST /predict, health, and a schema made from the graph's columns."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel, Field, create_model
from starlette.requests import ClientDisconnect

from hybrid_ray.on_ray.serve.body import content_type, parse_json, parse_multipart, read_body
from hybrid_ray.on_ray.serve.contract import Backend, Fault, Outcome, RequestError, Served, unavailable
from hybrid_ray.on_ray.serve.rows import RowReader
from hybrid_ray.types import ENCODED, Task

_LOG = logging.getLogger(__name__)
_MEGABYTE = 1_000_000


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


def build_api(served: Served, backend: Backend) -> FastAPI:
    """The application that the ingress runs.

    Parameters
    ----------
    served : Served
    backend : Backend

    Returns
    -------
    FastAPI
        Routes /predict, /healthz, /readyz, /docs and /openapi.json.
    """
    app = FastAPI(
        title=served.name,
        version=str(served.version),
        description=f"Predictions of the {served.task} model {served.name}, version {served.version}.",
        redoc_url=None,
    )
    endpoint = PredictEndpoint(served, backend)
    body = _body_schema(served, endpoint.reader.model)

    @app.exception_handler(RequestError)
    async def refuse(_: Request, error: RequestError) -> Response:
        return _json(error.to_json(), error.status, error.headers)

    @app.post(
        "/predict",
        summary="Predict rows.",
        response_model=answer_model(served),
        responses={status: {"model": Problems, "description": text} for status, text in _STATUSES.items()},
        openapi_extra={"requestBody": {"required": True, "content": body}},
    )
    async def predict(request: Request) -> Response:
        return await endpoint(request)

    @app.get("/healthz", summary="Whether the process answers.")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="Whether predictions are answered.", responses={503: {"description": "Not yet."}})
    async def readyz() -> Response:
        waiting_for = await backend.ready()
        facts = {"model": served.name, "version": served.version}
        if waiting_for:
            return _json({"status": waiting_for} | facts, 503, {"Retry-After": "1"})
        return _json({"status": "ready"} | facts)

    return app


_STATUSES: dict[int | str, str] = {
    408: "The body took too long to arrive.",
    413: "The body is too large.",
    415: "Neither JSON nor a form, or compressed.",
    422: "Something in the rows is wrong: which row, which column, and what must hold.",
    503: "Too many requests at once, or a part of the model is away. Retry-After says when to come back.",
    504: "The prediction took too long.",
}


class PredictEndpoint:
    """Answers POST /predict. One for each ingress replica; runs on its event loop, works in threads.

    Parameters
    ----------
    served : Served
    backend : Backend
    """

    def __init__(self, served: Served, backend: Backend) -> None:
        self.reader = RowReader(served)
        self._served = served
        self._backend = backend
        self._in_flight = 0

    async def __call__(self, request: Request) -> Response:
        """The answer; what is wrong with the request is raised as RequestError."""
        limits = self._served.limits
        if self._in_flight >= limits.max_queued:
            raise unavailable(f"at most {limits.max_queued} requests wait at a time. Come back later")
        self._in_flight += 1
        try:
            kind = content_type(request.headers)
            body = await self._body(request)
            try:
                async with asyncio.timeout(limits.timeout_s):
                    return await self._answer(kind, request.headers, body)
            except TimeoutError:
                what = f"the prediction took more than {limits.timeout_s:g} s. Send fewer rows at a time"
                raise RequestError(504, [Fault((), what, "timeout")]) from None
        finally:
            self._in_flight -= 1

    async def _body(self, request: Request) -> bytes:
        limits = self._served.limits
        try:
            async with asyncio.timeout(limits.timeout_s):
                return await read_body(request.headers, request.stream(), int(limits.max_body_mb * _MEGABYTE))
        except TimeoutError:
            what = f"the body must arrive within {limits.timeout_s:g} s"
            raise RequestError(408, [Fault(("body",), what, "timeout")]) from None
        except ClientDisconnect:
            raise RequestError(408, [Fault(("body",), "the client went away", "disconnected")]) from None

    async def _answer(self, kind: str, headers: Mapping[str, str], body: bytes) -> Response:
        def parse() -> Any:
            raw = parse_json(body) if kind == "application/json" else parse_multipart(headers, body, self._served)
            return self.reader.read(raw)

        batch = await asyncio.to_thread(parse)
        outcome = await self._backend.predict(batch)
        return await asyncio.to_thread(self._render, outcome)

    def _render(self, outcome: Outcome) -> Response:
        faults = [
            Fault(("body", "rows", row, column), reason.removeprefix(f"{column}: "), "value_error")
            for row, (column, reason) in sorted(outcome.errors.items())
        ]
        finite = np.isfinite(outcome.outputs).all(axis=1)
        what = "the model gives no finite answer for the values of this row"
        faults += [Fault(("body", "rows", int(row)), what, "not_finite") for row in np.flatnonzero(~finite)]
        if faults:
            raise RequestError(422, faults)
        answers = self._served.answers(outcome.outputs)
        return _json({"predictions": answers, "model": self._served.name, "version": self._served.version})


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
    """The model of an answer, for the schema: ``{"predictions": [...], "model": ..., "version": ...}``."""
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
    )


def _body_schema(served: Served, row: type[BaseModel]) -> dict[str, Any]:
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
    }


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), default=str)
    return Response(text, status, dict(headers or {}), "application/json")

"""The HTTP face of a served model: its routes, who may take them, and a schema made from the graph's columns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi import Path as PathParameter
from fastapi.openapi.utils import get_openapi
from pydantic_core import from_json
from starlette.responses import PlainTextResponse
from starlette.staticfiles import StaticFiles

from hybrid_ray.on_ray.serve.answering import Answering
from hybrid_ray.on_ray.serve.body import content_type, read_body
from hybrid_ray.on_ray.serve.contract import Backend, RequestError, Served, unprocessable
from hybrid_ray.on_ray.serve.desk import Desk
from hybrid_ray.on_ray.serve.exposition import CONTENT_TYPE, exposition
from hybrid_ray.on_ray.serve.guard import Guard
from hybrid_ray.on_ray.serve.open_inference import metadata
from hybrid_ray.on_ray.serve.replies import json_reply
from hybrid_ray.on_ray.serve.schema import Problems, answer_schema, body_schema, infer_body, told_bodies
from hybrid_ray.on_ray.serve.switch import Live, Switch
from hybrid_ray.serving.counts import SECONDS, Counts
from hybrid_ray.serving.standing import Standing
from hybrid_ray.serving.tokens import Token

_CONSOLE = Path(__file__).parent / "console"
_DESK_BYTES = 4_000_000
"""Bytes of a body of feedback or traffic above which it is refused."""


Version = Annotated[int | None, Query(ge=1)]
"""Of a model in a store; None: the champion."""
Counted = Callable[[], Awaitable[Mapping[int, Counts]]]
"""What all replicas have counted, by version."""


def build_api(switch: Switch, guard: Guard, desk: Desk | None = None, counted: Counted | None = None) -> FastAPI:
    """The application that the ingress runs.

    Parameters
    ----------
    switch : Switch
    guard : Guard
    desk : Desk, optional
        Of a model in a store: its traffic can be changed, and labels told.
    counted : callable, optional
        Default: what this replica has counted.

    Returns
    -------
    FastAPI
        Routes /predict, /explain, /models, /stats, /metrics, /console, those of a desk, /healthz, /readyz, /docs and
        /openapi.json, and those of the Open Inference Protocol.
    """
    name = switch.champion.served.name
    app = FastAPI(title=name, description=f"Predictions of the model {name}.", redoc_url=None)
    answering = Answering(switch)

    @app.exception_handler(RequestError)
    async def refuse(_: Request, error: RequestError) -> Response:
        return json_reply(error.to_json(), error.status, error.headers)

    @app.post("/predict", summary="Predict rows.", responses=_refusals(_STATUSES))
    async def predict(request: Request) -> Response:
        guard.admit(request.headers, "predict")
        return await answering.predict(request)

    @app.post(
        "/explain", summary="Say why rows are answered as they are.", responses=_refusals({**_STATUSES, 404: _NO})
    )
    async def explain(request: Request) -> Response:
        guard.admit(request.headers, "predict")
        return await answering.explain(request)

    @app.get("/models", summary="Versions that are ready, and who answers whom.", responses=_refusals(_GUARDED))
    async def models(request: Request) -> Response:
        guard.admit(request.headers, "predict")
        return json_reply(_versions(switch))

    @app.get("/stats", summary="What was counted, by version.", responses=_refusals(_GUARDED))
    async def stats(request: Request) -> Response:
        guard.admit(request.headers, "predict")
        totals = await counted() if counted is not None else _here(switch)
        return json_reply({"seconds": [*SECONDS[:-1], None], "versions": {n: asdict(c) for n, c in totals.items()}})

    @app.get(
        "/metrics",
        summary="What was counted, for Prometheus.",
        response_class=PlainTextResponse,
        responses=_refusals(_GUARDED),
    )
    async def metrics(request: Request) -> Response:
        guard.admit(request.headers, "admin")
        totals = await counted() if counted is not None else _here(switch)
        window = await desk.last_window() if desk is not None else None
        return Response(exposition(name, totals, switch.traffic, window), media_type=CONTENT_TYPE)

    @app.get("/healthz", summary="Whether the process answers.")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", summary="Whether predictions are answered.", responses={503: {"description": "Not yet."}})
    async def readyz() -> Response:
        return await _readiness(switch.champion)

    app.mount("/console", StaticFiles(directory=_CONSOLE, html=True), name="console")
    if desk is not None:
        _add_desk(app, switch, guard, desk)
    _add_open_inference(app, switch, guard, answering)
    app.openapi = _Schema(app, switch)  # type: ignore[method-assign]
    return app


def single(served: Served, backend: Backend) -> FastAPI:
    """The application of one version that answers everybody."""
    return build_api(Switch(Live(served, backend)), Guard(None))


def _add_desk(app: FastAPI, switch: Switch, guard: Guard, desk: Desk) -> None:
    """Routes that change and tell."""

    @app.post("/feedback", summary="Tell labels that came later.", status_code=202, responses=_refusals(_TOLD))
    async def feedback(request: Request) -> Response:
        guard.admit(request.headers, "feedback")
        accepted = desk.tell(await _json_body(request), switch.champion.served)
        return json_reply({"accepted": accepted}, 202)

    @app.get("/traffic", summary="Who answers whom, and who decided so.", responses=_refusals(_GUARDED))
    async def traffic(request: Request) -> Response:
        guard.admit(request.headers, "predict")
        return json_reply(_standing(await desk.standing()))

    @app.get("/drift", summary="Windows of a version's rows, the newest last.", responses=_refusals(_GUARDED))
    async def drift(request: Request, version: Version = None, windows: int = Query(50, ge=1, le=500)) -> Response:
        guard.admit(request.headers, "predict")
        return json_reply(await desk.drift(version, windows))

    @app.get("/leaderboard", summary="What the run that made a version compared.", responses=_refusals(_GUARDED))
    async def leaderboard(request: Request, version: Version = None) -> Response:
        guard.admit(request.headers, "predict")
        return json_reply(await desk.leaderboard(version))

    @app.get("/registered", summary="Versions that there are.", responses=_refusals(_GUARDED))
    async def registered(request: Request) -> Response:
        guard.admit(request.headers, "predict")
        return json_reply({"versions": await desk.versions()})

    @app.put("/traffic", summary="Let others answer beside the champion.", responses=_refusals(_TOLD))
    async def change(request: Request) -> Response:
        by = _name(guard.admit(request.headers, "admin"))
        return json_reply(_standing(await desk.change(await _json_body(request), by)))

    @app.post("/models/{version}/promote", summary="Make a version the champion.", responses=_refusals(_TOLD))
    async def promote(request: Request, version: Annotated[int, PathParameter(ge=1)]) -> Response:
        by = _name(guard.admit(request.headers, "admin"))
        await _json_body(request)
        return json_reply(_standing(await desk.promote(version, by, "asked for over HTTP")))


def _name(token: Token | None) -> str:
    """Who asks, as the journal has it."""
    return "api" if token is None else f"token {token.id}"


async def _json_body(request: Request) -> Any:
    """The JSON of a request that changes something. It must say that it is JSON: a page of another site cannot.

    A browser sends a form or plain text to any address that a page names without asking, this machine's own among them.
    """
    content_type(request.headers, ("application/json",))
    body = await read_body(request.headers, request.stream(), _DESK_BYTES)
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise unprocessable(f"the body must be JSON; {error}", type_="json_invalid") from None


def _standing(standing: Standing) -> dict[str, Any]:
    told = {"revision": standing.revision, "by": standing.by, "reason": standing.reason, "since": standing.since}
    return standing.traffic.model_dump(mode="json") | told


def _add_open_inference(app: FastAPI, switch: Switch, guard: Guard, answering: Answering) -> None:
    """Routes of the Open Inference Protocol."""

    @app.get("/v2", summary="What serves.")
    async def server() -> dict[str, Any]:
        return {"name": "hybrid_ray", "version": "2", "extensions": ["binary_tensor_data"]}

    @app.get("/v2/health/live", summary="Whether the process answers.")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready", summary="Whether predictions are answered.", responses={503: {"description": "No."}})
    async def ready() -> Response:
        return await _readiness(switch.champion)

    for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        tag = path.replace("/v2/models/{model}", "model").replace("/versions/{version}", "_version")

        @app.get(path, summary="Inputs and outputs.", operation_id=f"{tag}_metadata", responses=_refusals(_NAMED))
        async def model_metadata(request: Request, model: str, version: str | None = None) -> Response:
            guard.admit(request.headers, "predict")
            told = metadata(answering.named(model, version).served)
            return json_reply(told | {"versions": sorted(switch.versions)})

        @app.get(
            f"{path}/ready", summary="Whether it answers.", operation_id=f"{tag}_ready", responses=_refusals(_NAMED)
        )
        async def model_ready(model: str, version: str | None = None) -> Response:
            return await _readiness(answering.named(model, version))

        @app.post(
            f"{path}/infer", summary="Predict tensors.", operation_id=f"{tag}_infer", responses=_refusals(_INFERRED)
        )
        async def infer(request: Request, model: str, version: str | None = None) -> Response:
            guard.admit(request.headers, "predict")
            return await answering.infer(request, model, version)


async def _readiness(live: Live) -> Response:
    waiting_for = await live.backend.ready()
    facts = {"model": live.served.name, "version": live.served.version}
    if waiting_for:
        return json_reply({"status": waiting_for} | facts, 503, {"Retry-After": "1"})
    return json_reply({"status": "ready"} | facts)


def _here(switch: Switch) -> dict[int, Counts]:
    """What this replica has counted; a version without a number is 0."""
    return {int(number) if number.isdecimal() else 0: live.counts() for number, live in switch.versions.items()}


def _versions(switch: Switch) -> dict[str, Any]:
    """What people ask of versions."""
    traffic = switch.traffic
    versions = [
        {
            "version": live.served.version,
            "task": live.served.task,
            "columns": dict(live.served.columns),
        }
        for live in switch.versions.values()
    ]
    return {
        "name": switch.champion.served.name,
        "champion": switch.champion.served.version,
        "versions": versions,
        "problems": {str(version): why for version, why in switch.problems.items()},
        "traffic": None if traffic is None else traffic.model_dump(mode="json"),
    }


_GUARDED: Mapping[int, str] = {
    401: "No good token.",
    403: "The token does not allow this.",
    429: "Too many requests of this token. Retry-After says when to come back.",
}
_STATUSES: Mapping[int, str] = {
    **_GUARDED,
    408: "The body took too long to arrive.",
    413: "The body is too large.",
    415: "Neither JSON nor a form nor an Arrow stream, or compressed.",
    422: "Something in the rows is wrong: which row, which column, and what must hold.",
    503: "Too many requests at once, or a part of the model is away. Retry-After says when to come back.",
    504: "The prediction took too long.",
}
_TOLD: Mapping[int, str] = {
    **_GUARDED,
    413: "The body is too large.",
    415: "Not JSON.",
    422: "Something in the body is wrong: where, and what must hold.",
}
_NO = "This server explains no answers."
_NAMED: Mapping[int, str] = {**_GUARDED, 404: "No such model or version."}
_INFERRED: Mapping[int, str] = {**_STATUSES, **_NAMED}


def _refusals(statuses: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Problems, "description": text} for status, text in statuses.items()}


class _Schema:
    """The OpenAPI document: of the champion's columns, made anew when another version becomes it.

    Parameters
    ----------
    app : FastAPI
    switch : Switch
    """

    def __init__(self, app: FastAPI, switch: Switch) -> None:
        self._app = app
        self._switch = switch
        self._made: tuple[Live, dict[str, Any]] | None = None

    def __call__(self) -> dict[str, Any]:
        champion = self._switch.champion
        if self._made is None or self._made[0] is not champion:
            self._made = (champion, self._of(champion))
        return self._made[1]

    def _of(self, live: Live) -> dict[str, Any]:
        served = live.served
        found = get_openapi(
            title=served.name,
            version=str(served.version),
            description=f"Predictions of the {served.task} model {served.name}, version {served.version}.",
            routes=self._app.routes,
        )
        post = found["paths"]["/predict"]["post"]
        post["requestBody"] = {"required": True, "content": body_schema(served, live.reader.model)}
        answer, parts = answer_schema(served)
        found["paths"]["/explain"]["post"]["requestBody"] = post["requestBody"]
        post["responses"]["200"] = {
            "description": "Predictions, one for each row.",
            "content": {"application/json": {"schema": answer}},
        }
        found["components"]["schemas"] |= parts
        for (path, method), body in told_bodies().items():
            if path in found["paths"]:
                found["paths"][path][method]["requestBody"] = body
        for path in (path for path in found["paths"] if path.endswith("/infer")):
            found["paths"][path]["post"]["requestBody"] = infer_body(served)
        return found

"""The service that BentoML serves for ``serve_peers.py``; what it serves is told by the environment."""

from __future__ import annotations

import os
from typing import Any

import bentoml
from serve_peers import BATCH, WAIT_S, Fitted, allowed
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class Guarded:
    """Answers 401 to who does not show the token.

    Parameters
    ----------
    app : ASGIApp
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one request."""
        shown = dict(scope.get("headers", ())).get(b"authorization", b"").decode("latin-1")
        if scope.get("path") != "/predict" or allowed(shown, os.environ["SERVED_TOKEN"] or None):
            await self._app(scope, receive, send)
        else:
            await PlainTextResponse("", 401)(scope, receive, send)


@bentoml.service(workers=1, traffic={"timeout": 30, "max_concurrency": 64})
class Predict:
    """The model of the environment."""

    def __init__(self) -> None:
        self._fitted = Fitted(os.environ["SERVED_STORE"], os.environ["SERVED_MODEL"])

    @bentoml.api(batchable=True, max_batch_size=BATCH, max_latency_ms=int(1000 * WAIT_S) + 1000)
    def predict(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """A prediction for each row."""
        return self._fitted.answer(self._fitted.graph.outputs(self._fitted.read(rows)))["predictions"]


Predict.add_asgi_middleware(Guarded)

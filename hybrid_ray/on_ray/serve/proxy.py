"""What stands before Serve's own HTTP proxy: it fails with a 500 on header values that are no UTF-8.

Ray takes it from the environment of the proxy's process: ``RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`` must be
``hybrid_ray.on_ray.serve.proxy:middlewares`` before Ray starts.
"""

from __future__ import annotations

from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

IMPORT_PATH = f"{__name__}:middlewares"
"""For the environment of a cluster that is started."""


class ReadableHeaders:
    """Answers 400 to a request whose headers are no UTF-8; hands on every other.

    Parameters
    ----------
    app : ASGIApp
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one request."""
        for name, value in scope["headers"] if scope["type"] == "http" else ():
            try:
                value.decode("utf-8")
            except UnicodeDecodeError:
                what = f"the header {name.decode('latin-1')!r} must be UTF-8"
                fault = {"loc": ["header", name.decode("latin-1")], "msg": what, "type": "value_error"}
                await JSONResponse({"detail": [fault]}, 400)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def middlewares() -> list[Middleware]:
    """What Serve puts before its proxy."""
    return [Middleware(ReadableHeaders)]

"""The peers of ``serve.py``: the same saved model behind other servers, as their documentation has it.

    python benchmarks/serve_peers.py fastapi|litserve|bentoml|ray MODEL --store STORE --port PORT [--token TOKEN]

``fastapi`` is what one would write by hand: one process, one endpoint, no batches. All load the same artifact, trees
compiled for few rows, check JSON rows with the same reader, ask for the same bearer token (but ``ray``), and answer
alike. ``litserve`` and ``bentoml`` put requests together as their documentation tells. ``ray`` is the composition of
Ray's documentation: an ingress, a deployment for each extractor and one for the classical stages, all as installed.
The environment must have the peers, see ``serve.py``.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import ray as cluster
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from ray import serve
from ray.serve.handle import DeploymentHandle

from hybrid_ray.graph import Graph
from hybrid_ray.on_ray.model import StoredModel
from hybrid_ray.on_ray.serve.batching import merge, n_rows
from hybrid_ray.on_ray.serve.body import parse_json
from hybrid_ray.on_ray.serve.contract import Probe, RequestError, Served
from hybrid_ray.on_ray.serve.pipeline import Extraction, combination
from hybrid_ray.on_ray.serve.placement import generated_batch
from hybrid_ray.on_ray.serve.registered import quickened
from hybrid_ray.on_ray.serve.rows import RowReader
from hybrid_ray.types import AnyArray, Batch

BATCH, WAIT_S = 16, 0.002
"""Requests that LitServe and BentoML put together, and for how long they wait for them."""


class Fitted:
    """The fitted objects of a model, and how a request is read and answered by them.

    Parameters
    ----------
    store, model : str
    """

    def __init__(self, store: str, model: str) -> None:
        stored = StoredModel.find(store, model)
        self.graph: Graph = stored()
        self.graph.setup()
        probe = stored.probe() or Probe(generated_batch(self.graph))
        quickened(self.graph, probe.batch)
        self.served = Served.of(self.graph, stored.version, probe)
        self._reader = RowReader(self.served)
        self.graph.outputs(probe.batch)

    def read(self, rows: list[Any]) -> Batch:
        """Rows of parsed JSON, checked."""
        return self._reader.read(rows)

    def answer(self, outputs: AnyArray) -> dict[str, Any]:
        """What is said of outputs."""
        return {"predictions": self.served.answers(outputs), "model": self.served.name, "version": self.served.version}


def allowed(authorization: str | None, token: str | None) -> bool:
    """Whether a header shows the token."""
    return token is None or hmac.compare_digest((authorization or "").encode(), f"Bearer {token}".encode())


def fastapi(store: str, model: str, port: int, token: str | None) -> None:
    """By hand: FastAPI and uvicorn."""
    fitted, app = Fitted(store, model), FastAPI()

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        if not allowed(request.headers.get("authorization"), token):
            raise HTTPException(401)
        batch = fitted.read(parse_json(await request.body()))
        return fitted.answer(await asyncio.to_thread(fitted.graph.outputs, batch))

    @app.exception_handler(RequestError)
    async def refuse(_: Request, error: RequestError) -> JSONResponse:
        return JSONResponse(error.to_json(), error.status)

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)


def litserve(store: str, model: str, port: int, token: str | None) -> None:
    """LitServe, with its batching."""
    import litserve as lit

    class Api(lit.LitAPI):  # type: ignore[misc]
        def setup(self, device: str) -> None:
            del device
            self.fitted = Fitted(store, model)

        def authorize(self, shown: HTTPAuthorizationCredentials = Depends(HTTPBearer(auto_error=False))) -> None:
            if not allowed(f"Bearer {shown.credentials}" if shown else None, token):
                raise HTTPException(401)

        def decode_request(self, request: Any) -> Batch:
            return self.fitted.read(request["rows"])

        def batch(self, inputs: list[Batch]) -> tuple[Batch, list[int]]:
            return dict(merge(inputs)), [n_rows(each) for each in inputs]

        def predict(self, x: tuple[Batch, list[int]]) -> tuple[AnyArray, list[int]]:
            return self.fitted.graph.outputs(x[0]), x[1]

        def unbatch(self, output: tuple[AnyArray, list[int]]) -> list[AnyArray]:
            return np.split(output[0], np.cumsum(output[1])[:-1])

        def encode_response(self, output: AnyArray) -> dict[str, Any]:
            return self.fitted.answer(output)

    server = lit.LitServer(Api(max_batch_size=BATCH, batch_timeout=WAIT_S), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=port, log_level="error", generate_client_file=False, num_api_servers=1)


def bentoml(store: str, model: str, port: int, token: str | None) -> None:
    """BentoML, with its batching; its service is a file of its own."""
    os.environ |= {"SERVED_STORE": store, "SERVED_MODEL": model, "SERVED_TOKEN": token or ""}
    os.environ |= {"BENTOML_DO_NOT_TRACK": "True", "PYTHONPATH": os.pathsep.join(sys.path)}
    here = Path(__file__).resolve().parent
    options = ["--host", "127.0.0.1", "--port", str(port), "--working-dir", str(here)]
    os.execv(sys.executable, [sys.executable, "-m", "bentoml", "serve", "serve_bento:Predict", *options])


def ray(store: str, model: str, port: int, token: str | None) -> None:
    """Ray Serve's model composition as installed: no flags, no batching, no token."""
    del token

    app = FastAPI()

    @serve.deployment(ray_actor_options={"num_cpus": 0.1})
    class Extract:
        def __init__(self, group: str) -> None:
            self._run = Extraction(Fitted(store, model).graph, [group])

        def __call__(self, batch: Batch) -> Any:
            return self._run(batch)

    @serve.deployment(ray_actor_options={"num_cpus": 0.1})
    class Combine:
        def __init__(self) -> None:
            self._run = combination(Fitted(store, model).graph)

        def __call__(self, blocks: Any) -> Any:
            return self._run(blocks)

    @serve.deployment(ray_actor_options={"num_cpus": 0.1}, max_ongoing_requests=100)
    @serve.ingress(app)
    class Ingress:
        def __init__(self, extractors: list[DeploymentHandle], combine: DeploymentHandle) -> None:
            self._fitted, self._extractors, self._combine = Fitted(store, model), extractors, combine

        @app.post("/predict")
        async def predict(self, request: Request) -> dict[str, Any]:
            batch = self._fitted.read((await request.json())["rows"])
            parts = await asyncio.gather(*(each.remote(batch) for each in self._extractors))
            found = {name: array for part in parts for name, array in part.items()}
            blocks = {name: array for name, array in found.items() if not name.endswith("/error")}
            outputs = await self._combine.remote(blocks)
            return self._fitted.answer(outputs["outputs"])

    groups = list(StoredModel.find(store, model)().groups())
    cluster.init("local", include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(Ingress.bind([Extract.bind(group) for group in groups], Combine.bind()))
    while True:
        time.sleep(1)


PEERS = {"fastapi": fastapi, "litserve": litserve, "bentoml": bentoml, "ray": ray}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("model")
    parser.add_argument("--store", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token")
    options = parser.parse_args()
    PEERS[options.peer](options.store, options.model, options.port, options.token)


if __name__ == "__main__":
    main()

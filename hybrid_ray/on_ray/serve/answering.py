"""What the endpoints do with a request: read it, ask the version that it falls to, answer, and remember."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from fastapi import Request, Response
from starlette.requests import ClientDisconnect

from hybrid_ray.on_ray.serve.arrow_body import MEDIA_TYPE, parse_arrow
from hybrid_ray.on_ray.serve.batching import n_rows
from hybrid_ray.on_ray.serve.body import content_type, parse_json, parse_multipart, read_body
from hybrid_ray.on_ray.serve.contract import Fault, Outcome, RequestError, Served, unavailable, unprocessable
from hybrid_ray.on_ray.serve.open_inference import read_infer, write_infer
from hybrid_ray.on_ray.serve.replies import json_reply
from hybrid_ray.on_ray.serve.switch import REQUEST_ID, Live, Switch, request_id
from hybrid_ray.serving.log import Seen
from hybrid_ray.types import Batch

_LOG = logging.getLogger(__name__)
_MEGABYTE = 1_000_000

WITHOUT = "x-answered-without"
"""Header of an answer that lacks some extractors, which it names."""
SMALL_BODY = 32_000
"""Bytes of a body that is parsed where it is: a thread costs more."""
SHADOWS = 4
"""Requests that shadows may be busy with at a time; further ones they do not see."""
_MODELS_OWN = ("rejected", "not_finite")
"""Faults that are the model's as much as the client's: another version might have answered."""


class Answering:
    """Answers requests for predictions. One for each ingress replica; runs on its event loop, works in threads.

    Parameters
    ----------
    switch : Switch
    """

    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        self._in_flight = 0
        self._shadowing: set[asyncio.Task[None]] = set()

    async def predict(self, request: Request) -> Response:
        """POST /predict; what is wrong with the request is raised as RequestError."""
        live, shadows = self._switch.chosen(request.headers)
        told, kind = request_id(request.headers), content_type(request.headers)

        async def answer(body: bytes) -> Response:
            read = partial(_read, live, kind, request.headers, body)
            batch = read() if kind == "application/json" and len(body) <= SMALL_BODY else await asyncio.to_thread(read)
            outcome = await self._asked(live, batch, told)
            self._shadow(shadows, batch, told)
            return await _off_loop(body, lambda: _predictions(live.served, outcome, told))

        return await self._counted(live, request, answer)

    async def explain(self, request: Request) -> Response:
        """POST /explain: rows as for /predict, a few; answered by who would have predicted them."""
        live, _ = self._switch.chosen(request.headers)
        told, kind = request_id(request.headers), content_type(request.headers)
        explaining, limits = live.explaining, live.served.limits
        if explaining is None:
            raise RequestError(404, [Fault((), "this server explains no answers", "not_found")])

        async def answer(body: bytes) -> Response:
            batch = await asyncio.to_thread(partial(_read, live, kind, request.headers, body))
            if n_rows(batch) > limits.explain_rows:
                what = f"at most {limits.explain_rows} rows are explained at a time; got {n_rows(batch)}"
                raise unprocessable(what, "rows", type_="too_long")
            found = await asyncio.to_thread(explaining, batch)
            facts = {"model": live.served.name, "version": live.served.version, "id": told}
            return json_reply({"explanations": found} | facts, headers={REQUEST_ID: told})

        return await self._counted(live, request, answer)

    async def infer(self, request: Request, model: str, version: str | None) -> Response:
        """POST /v2/models/…/infer."""
        live = self.named(model, version)
        shadows: tuple[Live, ...] = ()
        if version is None:
            live, shadows = self._switch.chosen(request.headers)
        told = request_id(request.headers)

        async def answer(body: bytes) -> Response:
            asked = await _off_loop(body, lambda: read_infer(request.headers, body, live.served))
            batch = await _off_loop(body, lambda: live.reader.read(asked.rows))
            outcome = await self._asked(live, batch, told)
            self._shadow(shadows, batch, told)
            content, headers = write_infer(live.served, outcome.outputs, asked)
            return Response(content, headers={**headers, **_heads(outcome, told)})

        return await self._counted(live, request, answer)

    def named(self, model: str, version: str | None) -> Live:
        """The version that a path names; the champion where it names none.

        Raises
        ------
        RequestError
            404: there is none, or it is not ready.
        """
        champion = self._switch.champion
        live = champion if version is None else self._switch.named(version)
        if model == champion.served.name and live is not None:
            return live
        asked = model if version is None else f"{model}, version {version}"
        what = f"must be {champion.served.name}, of versions {sorted(self._switch.versions)}; got {asked[:100]!r}"
        raise RequestError(404, [Fault(("path",), what, "not_found")])

    async def _counted(self, live: Live, request: Request, answer: Callable[[bytes], Awaitable[Response]]) -> Response:
        """An answer to a body, within the time and the number of requests that are allowed; how it went is counted."""
        limits = live.served.limits
        if self._in_flight >= limits.max_queued:
            raise unavailable(f"at most {limits.max_queued} requests wait at a time. Come back later")
        self._in_flight += 1
        try:
            body = await self._body(request, live.served)
            with self._watched(live):
                try:
                    async with asyncio.timeout(limits.timeout_s):
                        return await answer(body)
                except TimeoutError:
                    what = f"the prediction took more than {limits.timeout_s:g} s. Send fewer rows at a time"
                    raise RequestError(504, [Fault((), what, "timeout")]) from None
        finally:
            self._in_flight -= 1

    @contextmanager
    def _watched(self, live: Live) -> Iterator[None]:
        """A block that is counted as one request of a version, failed where the version is to blame."""
        rule = self._switch.traffic.rule if self._switch.traffic is not None else None
        start, failed = time.perf_counter(), True
        try:
            yield
            failed = False
        except RequestError as error:
            failed = error.status >= 500 or any(fault.type in _MODELS_OWN for fault in error.faults)
            raise
        finally:
            live.counted.add(time.perf_counter() - start, failed=failed, slow_ms=rule.max_latency_ms if rule else None)

    async def _body(self, request: Request, served: Served) -> bytes:
        limits = served.limits
        try:
            async with asyncio.timeout(limits.timeout_s):
                return await read_body(request.headers, request.stream(), int(limits.max_body_mb * _MEGABYTE))
        except TimeoutError:
            what = f"the body must arrive within {limits.timeout_s:g} s"
            raise RequestError(408, [Fault(("body",), what, "timeout")]) from None
        except ClientDisconnect:
            raise RequestError(408, [Fault(("body",), "the client went away", "disconnected")]) from None

    async def _asked(self, live: Live, batch: Batch, told: str, shadow: bool = False) -> Outcome:
        """What a version says of a batch, all of it sound; a share is logged, but nothing that lacks an extractor."""
        start = time.perf_counter()
        outcome = await live.backend.predict(batch)
        faults = _faults(outcome)
        if faults:
            raise RequestError(422, faults)
        log = live.log if not outcome.without else None
        if log is not None and log.keeps(told) and isinstance(live.served.version, int):
            milliseconds = (time.perf_counter() - start) * 1000
            version, found = live.served.version, outcome.embeddings
            seen = Seen(told, time.time(), version, shadow, milliseconds, batch, outcome.outputs, found)
            await asyncio.to_thread(log.add, seen)
        return outcome

    def _shadow(self, shadows: tuple[Live, ...], batch: Batch, told: str) -> None:
        """Let versions that look on answer too, while nobody waits for them."""
        for live in shadows:
            if len(self._shadowing) >= SHADOWS or not set(live.served.columns) <= set(batch):
                continue
            task = asyncio.create_task(self._looked_on(live, batch, told))
            self._shadowing.add(task)
            task.add_done_callback(self._shadowing.discard)

    async def _looked_on(self, live: Live, batch: Batch, told: str) -> None:
        try:
            with self._watched(live):
                async with asyncio.timeout(live.served.limits.timeout_s):
                    await self._asked(live, {c: batch[c] for c in live.served.columns}, told, shadow=True)
        except (RequestError, TimeoutError):
            pass  # counted
        except Exception:  # nobody is answered by it
            _LOG.exception("a shadow failed")


async def _off_loop(body: bytes, work: Callable[[], Any]) -> Any:
    """Work on a small body where it is, on any other in a thread: the loop must go on."""
    return work() if len(body) <= SMALL_BODY else await asyncio.to_thread(work)


def _read(live: Live, kind: str, headers: Mapping[str, str], body: bytes) -> Batch:
    """The rows of a body of ``/predict``."""
    if kind == "application/json":
        return live.reader.read(parse_json(body))
    if kind == MEDIA_TYPE:
        return live.reader.read(parse_arrow(body, live.served))
    return live.reader.read(parse_multipart(headers, body, live.served))


def _faults(outcome: Outcome) -> list[Fault]:
    """Rows that hold something undecodable, and those that have no finite answer."""
    faults = [
        Fault(("body", "rows", row, column), reason.removeprefix(f"{column}: "), "value_error")
        for row, (column, reason) in sorted(outcome.errors.items())
    ]
    finite = np.isfinite(outcome.outputs).all(axis=1)
    what = "the model gives no finite answer for the values of this row"
    return faults + [Fault(("body", "rows", int(row)), what, "not_finite") for row in np.flatnonzero(~finite)]


def _predictions(served: Served, outcome: Outcome, told: str) -> Response:
    facts: dict[str, Any] = {"model": served.name, "version": served.version, "id": told}
    if outcome.without:
        facts["without"] = list(outcome.without)
    return json_reply({"predictions": served.answers(outcome.outputs), **facts}, headers=_heads(outcome, told))


def _heads(outcome: Outcome, told: str) -> dict[str, str]:
    """Headers of an answer."""
    return {REQUEST_ID: told} | ({WITHOUT: ", ".join(outcome.without)} if outcome.without else {})

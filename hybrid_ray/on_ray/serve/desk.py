"""What people change and tell over HTTP beside asking: traffic, and labels that came later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from pydantic import Field, ValidationError

from hybrid_ray.documented import Documented
from hybrid_ray.errors import BadInputError
from hybrid_ray.monitoring.watch import Window, window_of, windows_of
from hybrid_ray.on_ray.serve.contract import Fault, RequestError, Served, unavailable, unprocessable
from hybrid_ray.registry import nearest
from hybrid_ray.serving.log import Written, feedback_of, feedback_rows
from hybrid_ray.serving.standing import Standing, TrafficStore
from hybrid_ray.spec import LogSpec
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.runs import RunStore


class Feedback(Documented):
    """Labels of the rows of one request."""

    id: str = Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")
    """Of the request, as its answer said."""
    labels: tuple[Any, ...] = Field(min_length=1, max_length=100_000)
    """One for each of its rows, in order; null where it is not known."""


class Desk:
    """Traffic and feedback of one model in a store.

    Parameters
    ----------
    root : StoreRoot
    model : str
    """

    def __init__(self, root: StoreRoot, model: str) -> None:
        self._root = root
        self._models = ModelStore(root)
        self._traffic = TrafficStore(self._models)
        self._model = model
        self._written = Written(root, feedback_of(model), LogSpec(rows=1000, seconds=2.0, held=100_000))

    async def standing(self) -> Standing:
        """How traffic stands."""
        return await asyncio.to_thread(self._traffic.now, self._model)

    async def change(self, form: Any, by: str) -> Standing:
        """Let others answer beside the champion.

        Raises
        ------
        RequestError
            422: it is no traffic, or names a version that there is not.
        """
        if not isinstance(form, dict) or "champion" in form:
            what = "traffic must be an object of challengers, shadows, key, salt and rule; the champion is promoted"
            raise unprocessable(what, type_="dict_type")
        reason = form.pop("reason", "")
        try:
            return await asyncio.to_thread(self._traffic.set, self._model, form, by=by, reason=str(reason)[:500])
        except BadInputError as error:
            raise unprocessable(str(error)) from None

    async def promote(self, version: int, by: str, reason: str) -> Standing:
        """Make a version the champion.

        Raises
        ------
        RequestError
            422: there is no such version.
        """
        try:
            return await asyncio.to_thread(self._traffic.promote, self._model, version, by=by, reason=reason)
        except BadInputError as error:
            raise unprocessable(str(error), "version") from None

    def tell(self, body: Any, served: Served) -> int:
        """Keep labels: how many of them.

        Parameters
        ----------
        body : JSON value
            A :class:`Feedback`.
        served : Served
            Whose classes labels must be of.

        Raises
        ------
        RequestError
            422: it is no feedback, or a label is none that the model knows; 503: the store takes no more for now.
        """
        try:
            told = Feedback.model_validate(body)
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False, include_input=False)
            raise RequestError(422, [Fault(("body", *e["loc"]), e["msg"], e["type"]) for e in found]) from None
        labels = [(number, label) for number, label in enumerate(told.labels) if label is not None]
        faults = [fault for number, label in labels if (fault := _fault(number, label, served)) is not None]
        if faults:
            raise RequestError(422, faults)
        if not self._written.add(feedback_rows(told.id, labels, time.time())):
            raise unavailable("too many labels wait for the store. Come back later", retry_after_s=5)
        return len(labels)

    async def versions(self) -> list[int]:
        """Numbers of the versions that there are."""
        return [each.version for each in await asyncio.to_thread(self._models.list, self._model)]

    async def drift(self, version: int | None, windows: int) -> dict[str, Any]:
        """The last windows of a version, the champion by default: what was compared, and what had drifted."""
        asked = (await self.standing()).traffic.champion if version is None else version
        journal = windows_of(self._root, self._model, asked)
        records = await asyncio.to_thread(journal.newest, windows)
        return {"version": asked, "windows": [{"number": number, **record} for number, record in records.items()]}

    async def last_window(self) -> tuple[int, Window] | None:
        """The champion, and the last window of its rows; None where none is filled yet."""
        version = (await self.standing()).traffic.champion
        last = await asyncio.to_thread(windows_of(self._root, self._model, version).last)
        return None if last is None else (version, window_of(*last))

    async def leaderboard(self, version: int | None) -> dict[str, Any]:
        """What the run that made a version compared: levels and members, with their scores; empty where none did."""
        asked = (await self.standing()).traffic.champion if version is None else version
        return await asyncio.to_thread(self._compared, asked)

    def _compared(self, version: int) -> dict[str, Any]:
        info = next((each.info for each in self._models.list(self._model) if each.version == version), {})
        run_id = str(info.get("run_id", ""))
        result = (RunStore(self._root).result(run_id) if run_id else None) or {}
        told = {key: result.get(key) for key in ("metric", "test", "ci95", "levels", "members", "modalities", "search")}
        return {
            "version": version,
            "run_id": run_id,
            **{key: value for key, value in told.items() if value is not None},
        }

    async def close(self) -> None:
        """Write what waits."""
        await asyncio.to_thread(self._written.close)


def _fault(number: int, label: Any, served: Served) -> Fault | None:
    """What is wrong with a label."""
    where = ("body", "labels", number)
    if served.outlook is not None:
        steps = served.outlook.horizon
        if isinstance(label, list) and len(label) == steps and all(_is_number(value) for value in label):
            return None
        return Fault(where, f"must be what came of the {steps} steps, as numbers", "value_error")
    if served.classes is None:
        return None if _is_number(label) else Fault(where, "must be a number", "value_error")
    known: Sequence[str] = [str(each) for each in served.classes]
    if isinstance(label, str | int | float) and str(label) in known:
        return None
    hint = nearest(str(label)[:100], list(known))
    return Fault(where, f"must be one of the classes {known[:12]}; got {str(label)[:100]!r}.{hint}", "value_error")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value

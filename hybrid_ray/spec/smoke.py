"""The form of a spec that runs in seconds."""

from __future__ import annotations

from urllib.parse import urlencode

from hybrid_ray.errors import SpecError
from hybrid_ray.spec.document import set_value
from hybrid_ray.spec.load import load_spec
from hybrid_ray.spec.model import Spec
from hybrid_ray.spec.series import SeriesSpec

GENERATED, POINTS = "generated://rows", "generated://points"


def smoke_form(spec: Spec) -> Spec:
    """The spec with few rows, few trials and its own ``smoke.overrides``: what tests run.

    Rows are the first of ``data.path``, or, with ``smoke.generate``, made from ``data.columns``: ``data.path`` then is
    a ``generated://`` URL that says how.

    Raises
    ------
    SpecError
        An override is not valid, or rows shall be generated and the spec does not say for which task and columns.
    """
    smoke = spec.smoke
    document = spec.model_dump(mode="json")
    document["search"]["trials"] = document["search"]["ensemble"]["trials"] = smoke.trials
    # Few short trials are done before a second worker has started.
    document["search"]["max_concurrent"] = 1
    document["data"]["limit"] = smoke.rows
    if smoke.generate and spec.data.series is not None:
        document["data"] |= {"path": _points_of(spec.data.series, smoke.rows, spec.seed), "format": "auto"}
    elif smoke.generate and spec.data.windows is not None:
        raise SpecError(["smoke.generate: must be left out beside `data.windows`: points for it are not generated"])
    elif smoke.generate:
        if spec.task == "auto" or not spec.data.columns:
            raise SpecError(
                ["smoke.generate: the spec must say `task` and `data.columns` when rows are generated; got none of one"]
            )
        query = {"rows": smoke.rows, "task": spec.task, "classes": smoke.classes, "seed": spec.seed}
        document["data"] |= {"path": f"{GENERATED}?{urlencode(query)}", "format": "auto"}
    faults: list[str] = []
    for path, value in smoke.overrides.items():
        try:
            set_value(document, path, value)
        except SpecError as error:
            faults += [f"smoke.overrides: {fault}" for fault in error.faults]
    if faults:
        raise SpecError(faults)
    return load_spec(document)


def _points_of(series: SeriesSpec, rows: int, seed: int) -> str:
    """Points that give about so many rows: of one series, or of several that are long enough for three rows each."""
    several = series.id is not None
    steps = series.shortest + (3 if several else rows) * max(series.horizon, series.step or 1)
    one = {"id": series.id} if several else {}
    count = max(rows // 3, 2) if several else 1
    asked = {"series": count, "steps": steps, "season": series.season, "time": series.time, "seed": seed, **one}
    named = {"known": series.covariates.known, "observed": series.covariates.observed}
    asked |= {part: ",".join(names) for part, names in named.items() if names}
    return f"{POINTS}?{urlencode(asked)}"

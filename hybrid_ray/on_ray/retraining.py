"""Training again by itself: fresh labelled rows are learned from, and the new version is let in only if it is better.

served/<model>/retraining/<n>.json    every step of it, and why
served/<model>/rows/<id>.parquet      what was learned from
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import ray

from hybrid_ray.data.coerce import coerce
from hybrid_ray.data.source import open_source
from hybrid_ray.data.target import encode_known
from hybrid_ray.errors import BadInputError, HybridRayError
from hybrid_ray.evaluation.metrics import get_metric
from hybrid_ray.monitoring.fresh import Fresh, fresh_rows, together
from hybrid_ray.monitoring.gate import Trial, judge
from hybrid_ray.monitoring.observed import read_observed
from hybrid_ray.on_ray.cluster import use_threads
from hybrid_ray.on_ray.model import StoredModel
from hybrid_ray.serving.log import AREA
from hybrid_ray.serving.standing import TrafficStore
from hybrid_ray.spec import RetrainSpec, Spec, load_spec
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.records import Journal
from hybrid_ray.store.root import StoreRoot, check_name
from hybrid_ray.store.runs import RunStore
from hybrid_ray.types import AnyArray

DAYS = 30
"""Days of the log that fresh rows are taken from."""
WAITING = "waiting"
"""The step of what waits for labels: it is asked for again."""
_COUNTS = ("started", "dry run")
"""Steps after which nothing is done for a time."""
_LOOKED_AT = 100


def steps_of(root: StoreRoot, model: str) -> Journal:
    """What was done about a model by itself, as records."""
    return Journal(root, f"{AREA}/{check_name(model, 'model name')}/retraining")


class Retrainer:
    """Trains one model again when it is asked to, and not too often.

    Parameters
    ----------
    root : StoreRoot
    model : str
    asked : RetrainSpec
    """

    def __init__(self, root: StoreRoot, model: str, asked: RetrainSpec) -> None:
        self._root = root
        self._model = model
        self._asked = asked
        self._models = ModelStore(root)
        self._traffic = TrafficStore(self._models)
        self._steps = steps_of(root, model)

    async def consider(self, why: str) -> dict[str, Any] | None:
        """Train again because of ``why``: what came of it, None where nothing was done.

        Nothing is done too soon after the last time, or while another version has a share.
        """
        if not await asyncio.to_thread(self._is_time):
            return None
        try:
            return await self._carry_out(why)
        except (HybridRayError, OSError, RuntimeError) as error:
            return await self._note("failed", why, reason=str(error))

    def _is_time(self) -> bool:
        if self._traffic.now(self._model).traffic.challengers:
            return False
        begun = [record["time"] for record in self._steps.newest(_LOOKED_AT).values() if record["step"] in _COUNTS]
        if not begun:
            return True
        return datetime.now(UTC) - datetime.fromisoformat(begun[-1]) >= timedelta(seconds=self._asked.every_s)

    async def _carry_out(self, why: str) -> dict[str, Any]:
        fresh = await asyncio.to_thread(self._fresh)
        if len(fresh) < self._asked.min_labelled:
            reason = f"{len(fresh)} fresh rows are labelled; {self._asked.min_labelled} are wanted"
            last = await asyncio.to_thread(self._steps.last)
            if last is not None and last[1]["step"] == WAITING:
                return last[1]
            return await self._note(WAITING, why, reason=reason)
        if self._asked.dry_run:
            return await self._note("dry run", why, reason=f"{len(fresh)} fresh labelled rows would be learned from")
        champion = self._traffic.now(self._model).traffic.champion
        learned, held = fresh.divided(self._asked.holdout)
        rows = await asyncio.to_thread(self._written, champion, learned)
        await self._note("started", why, rows=len(learned), held=len(held), data=rows)
        version = await self._trained(champion, rows)
        trial = await asyncio.to_thread(self._judged, champion, version, held)
        figures = {"rows": trial.rows, "metric": trial.metric, "champion": trial.champion}
        figures |= {"challenger": trial.challenger, "gain": list(trial.gain)}
        if not trial.accepted:
            return await self._note("refused", why, version=version, reason=trial.reason, **figures)
        form = {"challengers": [{"version": version, "share": self._asked.share}], "rule": self._asked.rule}
        await asyncio.to_thread(self._traffic.set, self._model, form, by="retraining", reason=trial.reason)
        return await self._note("accepted", why, version=version, reason=trial.reason, **figures)

    async def _note(self, step: str, why: str, **more: Any) -> dict[str, Any]:
        record = {"step": step, "why": why, "time": datetime.now(UTC).isoformat(), **more}
        await asyncio.to_thread(self._steps.append, record)
        return record

    def _fresh(self) -> Fresh:
        """Labelled rows of the last days, of all versions that answered somebody."""
        since = datetime.now(UTC) - timedelta(days=DAYS)
        version = self._models.resolve(f"{self._model}:{self._traffic.now(self._model).traffic.champion}")
        manifest = self._models.open(version).manifest
        columns = dict(manifest.columns)
        parts = []
        for each in self._models.list(self._model):
            if dict(self._models.open(each).manifest.columns) == columns:
                parts.append(read_observed(self._root, self._model, each.version, columns, since=since))
        return fresh_rows(parts, columns, manifest.label, self._root, f"{AREA}/{self._model}/files")

    def _spec(self, version: int) -> Spec:
        run_id = self._models.resolve(f"{self._model}:{version}").info.get("run_id")
        if not run_id:
            raise BadInputError(f"{self._model}:{version}: must be of a run of this store to be trained again")
        return load_spec(RunStore(self._root).get(run_id)["record"]["spec"])

    def _written(self, champion: int, learned: Fresh) -> str:
        """Where the rows lie that are to be learned from: those of the champion, and fresh ones."""
        spec = self._spec(champion)
        data = spec.data
        if data.series is not None or data.windows is not None or data.annotators:
            raise BadInputError(f"{self._model}: rows that are cut of series, or labelled by several, are not added to")
        source = open_source(data)
        roles = data.split.column if data.split.kind == "column" else None
        path = f"{AREA}/{self._model}/rows/{uuid.uuid4().hex[:12]}.parquet"
        out = pa.BufferOutputStream()
        writer: pq.ParquetWriter | None = None
        for table in together(source, data.columns or {}, data.label, learned, roles):
            writer = writer or pq.ParquetWriter(out, table.schema, compression="zstd")
            writer.write_table(table)
        if writer is not None:
            writer.close()
        self._root.write(path, out.getvalue().to_pybytes())
        local = self._root.local_path(path)
        return f"{self._root.uri}/{path}" if local is None else str(local)

    async def _trained(self, champion: int, rows: str) -> int:
        """Run the champion's spec on other rows, in a process of its own on this cluster: the new version."""
        changed: Mapping[str, Any] = {"graph.promote": "never", **self._asked.overrides}
        sets = [f"--set={path}={json.dumps(value)}" for path, value in changed.items()]
        command = [
            sys.executable,
            "-m",
            "hybrid_ray.cli",
            "retrain",
            f"{self._model}:{champion}",
            "--data",
            rows,
            *sets,
        ]
        # "auto" may mean another cluster of this machine.
        address = ray.get_runtime_context().gcs_address
        command += ["--store", self._root.uri, "--address", address, "--json", "--quiet"]
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        said, faults = await process.communicate()
        if process.returncode:
            told = faults.decode("utf-8", "replace").strip().splitlines()
            raise RuntimeError(told[-1] if told else f"the training ended with {process.returncode}")
        return int(json.loads(said.decode().splitlines()[-1])["version"])

    def _judged(self, champion: int, challenger: int, held: Fresh) -> Trial:
        """Both versions on rows that neither has seen."""
        stored = [StoredModel.find(self._root.uri, f"{self._model}:{version}") for version in (champion, challenger)]
        head = stored[0]((), members=False)
        ref = ray.put(held.table)
        answers: Sequence[AnyArray] = ray.get([_outputs.remote(each, ref) for each in stored])
        target = encode_known(held.table[head.label], head.task, head.classes)
        known = ~target.missing
        metric = get_metric(head.info.get("metric", "auto"), head.task)
        return judge(target.y[known], answers[0][known], answers[1][known], metric)


@ray.remote(num_cpus=0.1)
def _outputs(stored: StoredModel, table: pa.Table) -> AnyArray:
    use_threads(1)
    graph = stored()
    graph.setup("cpu")
    return graph.outputs(coerce(table, graph.columns).batch)

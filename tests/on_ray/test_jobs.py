"""Commands as jobs on a real cluster with token authentication, started and ended here."""

from __future__ import annotations

import io
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from hybrid_ray.errors import BadInputError
from hybrid_ray.on_ray.jobs import submit
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.runs import RunStore

StartHead = Callable[..., AbstractContextManager[Any]]
SPEC = "name: digits\ndata: {path: 'bundled://digits', label: label}\n"
SMALL = """
name: small
task: binary
data: {{path: {path}, label: y, columns: {{x: numeric}}}}
search: {{trials: 2, folds: 2, estimators: [logistic], ensemble: {{trials: 2}}, max_concurrent: 1}}
"""


@pytest.fixture(scope="module")
def head(start_head: StartHead) -> Iterator[tuple[str, str]]:
    """Address of the job server of a cluster of two CPUs, and its token."""
    token = secrets.token_hex(16)
    with start_head({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}) as started:
        yield f"http://127.0.0.1:{started.dashboard}", token


@pytest.fixture
def authorised(head: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """The address, with its token in the environment."""
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", head[1])
    return head[0]


def test_a_job_ships_the_spec_and_gives_log_and_exit_code(authorised: str, tmp_path: Path) -> None:
    (tmp_path / "digits.yaml").write_text(SPEC)
    log = io.StringIO()
    store = str(tmp_path / "store")
    done = submit(authorised, ["spec", "validate", str(tmp_path / "digits.yaml")], stream=log, store=store)
    assert (done["status"], done["exit_code"]) == ("SUCCEEDED", 0), log.getvalue()
    assert "digits.yaml: valid" in log.getvalue()
    assert os.environ["RAY_AUTH_TOKEN"] not in log.getvalue()


def test_bad_input_of_a_job_is_exit_code_2(authorised: str, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(SPEC.replace("label: label", "lable: label"))
    log = io.StringIO()
    done = submit(authorised, ["spec", "validate", str(tmp_path / "bad.yaml")], stream=log)
    assert (done["status"], done["exit_code"]) == ("FAILED", 2), log.getvalue()
    assert "Did you mean" in log.getvalue()


def test_a_job_joins_the_cluster_it_runs_on_and_sees_the_store(authorised: str, tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text("ANSWER = 42\n")
    code = (
        "import plugin, os, ray; from hybrid_ray.on_ray.cluster import connect\n"
        "with connect() as cluster: print('joined', not cluster.started, cluster.view().cpus, plugin.ANSWER)\n"
        "print('store', os.environ['HYBRID_RAY_STORE'], 'token' in os.environ['RAY_AUTH_MODE'])\n"
    )
    (tmp_path / "probe.py").write_text(code)
    from ray.job_submission import JobSubmissionClient

    from hybrid_ray.on_ray import jobs

    client = JobSubmissionClient(authorised, headers={"Authorization": f"Bearer {os.environ['RAY_AUTH_TOKEN']}"})
    environment = {"RAY_AUTH_MODE": "token"} | jobs._environment(str(tmp_path / "store"), here=True)
    job = client.submit_job(
        entrypoint=f"{sys.executable} probe.py", runtime_env={"working_dir": str(tmp_path), "env_vars": environment}
    )
    outcome = jobs._outcome(client, job)
    log = client.get_job_logs(job)
    assert outcome["exit_code"] == 0, log
    assert "joined True 2.0 42" in log
    assert f"store {tmp_path / 'store'} True" in log


def test_not_waiting_gives_the_job_at_once(authorised: str, tmp_path: Path) -> None:
    done = submit(authorised, ["spec", "schema"], wait=False)
    assert done["job"]
    assert (done["status"], done["exit_code"]) == ("SUBMITTED", None)


def test_a_wrong_token_is_said_in_one_line(head: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 32)
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(BadInputError, match="RAY_AUTH_TOKEN") as caught:
        submit(head[0], ["spec", "schema"])
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_run_and_a_job_script_on_a_running_cluster(authorised: str, tmp_path: Path, project_root: Path) -> None:
    from ray.job_submission import JobSubmissionClient

    from hybrid_ray.on_ray import jobs

    lines = [f"{i % 7 - 3 + i / 1000:.3f},{int(i % 7 > 2)}" for i in range(70)]
    (tmp_path / "rows.csv").write_text("\n".join(["x,y", *lines, ""]))
    (tmp_path / "small.yaml").write_text(SMALL.format(path=tmp_path / "rows.csv"))
    store = str(tmp_path / "store")
    log = io.StringIO()
    done = submit(authorised, ["run", str(tmp_path / "small.yaml")], stream=log, store=store)
    assert (done["status"], done["exit_code"]) == ("SUCCEEDED", 0), log.getvalue()
    assert [version.ref for version in ModelStore(StoreRoot(store)).list("small")] == ["small:1"]

    client = JobSubmissionClient(authorised, headers={"Authorization": f"Bearer {os.environ['RAY_AUTH_TOKEN']}"})
    environment = {"RAY_AUTH_MODE": "token"} | jobs._environment(store, here=True)
    job = client.submit_job(
        entrypoint=f"{sys.executable} jobs/search.py {tmp_path / 'small.yaml'} --trials 3",
        runtime_env={"working_dir": str(project_root), "env_vars": environment, "excludes": [".git", "tests"]},
    )
    assert jobs._outcome(client, job)["exit_code"] == 0, client.get_job_logs(job)
    statuses = sorted(run["status"] for run in RunStore(StoreRoot(store)).list())
    assert statuses == ["finished", "unfinished"], "a search goes on with run"

"""Running a command of the command line on a Ray cluster that is already there, through its job server."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import shlex
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO, TypeVar
from urllib.parse import urlparse

import yaml
from ray.exceptions import AuthenticationError
from ray.job_submission import JobStatus, JobSubmissionClient

import hybrid_ray
from hybrid_ray.errors import BadInputError, RunFailedError

_T = TypeVar("_T")
_SPEC_SUFFIXES = (".yaml", ".yml", ".json")
_PATH_OPTIONS = ("--data", "--out", "--store")
_POLL_S = 0.5
_NO_AGENT = "No available agent"
_AGENT_WAIT_S = 60.0
"""A head answers before its nodes can take a job: seconds that a cluster which is coming up is waited for."""
_PASSED_ON = ("HF_HUB_OFFLINE", "HYBRID_RAY_WEIGHTS")


def submit(
    address: str,
    argv: Sequence[str],
    *,
    working_dir: str | Path | None = None,
    wait: bool = True,
    stream: TextIO | None = None,
    store: str | None = None,
    env: Mapping[str, str] | None = None,
    ship_code: bool = False,
) -> dict[str, Any]:
    """Submit ``hybrid-ray <argv>`` as a Ray job.

    Spec files named in ``argv`` are shipped (relative data paths in them made absolute); paths after ``--data``,
    ``--out`` and ``--store`` are made absolute, for the nodes must see the same files anyway. The token that Ray would
    use here is shown to the job server, and never becomes part of the job: its description can be read by others.

    Parameters
    ----------
    address : str
        Job server: ``http://head:8265``.
    argv : sequence of str
        A command line without the program's name: ``["run", "spec.yaml"]``.
    working_dir : str or Path, optional
        Folder shipped as the job's working folder, with local code (plugins) in it; spec files must lie in it. Default:
        a folder that holds the spec files alone.
    wait : bool, default True
        Wait until the job ends, and copy its log to ``stream``.
    stream : TextIO, optional
        Where the log goes; default: nowhere.
    store : str, optional
        Store of the job; default: ``$HYBRID_RAY_STORE`` of this process, else ``./hybrid_ray_store`` of this folder.
    env : mapping of str to str, optional
        Further environment of the job.
    ship_code : bool, default False
        Ship this installation of hybrid_ray too: for a cluster whose image has only its dependencies.

    Returns
    -------
    dict
        ``job``: submission id; ``status``: SUBMITTED, SUCCEEDED, FAILED or STOPPED; ``exit_code``: of the command, or
        None when not waited for.

    Raises
    ------
    BadInputError
        The address answers no job server, refuses the token, or a spec file does not lie in ``working_dir``.
    """
    _check_address(address)
    with tempfile.TemporaryDirectory(prefix="hybrid_ray_job_") as made:
        folder = Path(working_dir).resolve() if working_dir is not None else Path(made)
        arguments = _shipped(argv, folder, copy=working_dir is None)
        token = token_at_hand()
        client = _client(address, token)
        here = _is_here(address)
        named = {"RAY_AUTH_MODE": "token" if token else "disabled"} | _environment(store, here) | dict(env or {})
        runtime_env: dict[str, Any] = {"working_dir": str(folder), "env_vars": named}
        if ship_code:
            runtime_env["py_modules"] = [str(Path(hybrid_ray.__file__).parent)]
        # On this very machine the job can use this very Python; elsewhere the image decides which one it is.
        entrypoint = shlex.join([sys.executable if here else "python", "-m", "hybrid_ray.cli", *arguments])
        job = _guarded(address, lambda: _submit_when_ready(client, entrypoint, runtime_env))
    if not wait:
        return {"job": job, "status": "SUBMITTED", "exit_code": None}
    if stream is not None:
        _follow(client, job, stream)
    return _outcome(client, job)


def _submit_when_ready(client: JobSubmissionClient, entrypoint: str, runtime_env: dict[str, Any]) -> str:
    deadline = time.monotonic() + _AGENT_WAIT_S
    while True:
        try:
            return str(client.submit_job(entrypoint=entrypoint, runtime_env=runtime_env))
        except RuntimeError as error:
            if _NO_AGENT not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_S)


def token_at_hand() -> str | None:
    """The token of a cluster with token authentication: from where Ray itself looks, and in Ray's order."""
    if os.environ.get("RAY_AUTH_MODE") == "disabled":
        return None
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token.strip()
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    if not path.is_file():
        if named:
            raise BadInputError(f"RAY_AUTH_TOKEN_PATH: must be a file; got {named}")
        return None
    return path.read_text("utf-8").strip() or None


def _check_address(address: str) -> None:
    parsed = urlparse(address)
    if parsed.scheme not in ("http", "https") or not parsed.hostname:
        raise BadInputError(f"--address: must be the URL of a job server; got {address!r}. Example: http://head:8265")


def _client(address: str, token: str | None) -> JobSubmissionClient:
    headers = {"Authorization": f"Bearer {token}"} if token else None
    return _guarded(address, lambda: JobSubmissionClient(address, headers=headers))


def _guarded(address: str, call: Callable[[], _T]) -> _T:
    """The call's answer; what a wrong address or token raises becomes one line."""
    try:
        return call()
    except (AuthenticationError, ConnectionError, RuntimeError, ValueError, OSError) as error:
        said = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise BadInputError(
            f"--address: a Ray job server must answer at {address}; got {said[:300]!r}. Check the address, and "
            "RAY_AUTH_MODE and RAY_AUTH_TOKEN for a cluster with token authentication"
        ) from error


def _is_here(address: str) -> bool:
    """True when the job server's host is this machine."""
    host = str(urlparse(address).hostname)
    try:
        numbers = {ipaddress.ip_address(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return any(number.is_loopback for number in numbers)


def _environment(store: str | None, here: bool) -> dict[str, str]:
    chosen = store or os.environ.get("HYBRID_RAY_STORE") or "./hybrid_ray_store"
    passed_on = {name: os.environ[name] for name in _PASSED_ON if here and os.environ.get(name)}
    return {"HYBRID_RAY_STORE": _absolute(chosen)} | passed_on


def _absolute(path: str) -> str:
    return path if "://" in path else str(Path(path).resolve())


def _shipped(argv: Sequence[str], folder: Path, copy: bool) -> list[str]:
    """The command line as the job must have it, its spec files in ``folder``."""
    arguments: list[str] = []
    before = ""
    for token in argv:
        path = Path(token)
        option, equals, value = token.partition("=")
        if before in _PATH_OPTIONS:
            arguments.append(_absolute(token))
        elif equals and option in _PATH_OPTIONS:
            arguments.append(f"{option}={_absolute(value)}")
        elif path.suffix.lower() in _SPEC_SUFFIXES and not token.startswith("-") and path.is_file():
            arguments.append(_ship_spec(path, folder) if copy else _inside(path, folder))
        else:
            arguments.append(token)
        before = token
    return arguments


def _inside(path: Path, folder: Path) -> str:
    resolved = path.resolve()
    if not resolved.is_relative_to(folder):
        raise BadInputError(
            f"submit: a spec file must lie in the working folder {folder}; got {resolved}. Move it there"
        )
    return str(resolved.relative_to(folder))


def _ship_spec(path: Path, folder: Path) -> str:
    """Copy a spec into the folder, its relative data paths made absolute; the name it has there."""
    target = folder / path.name
    number = 1
    while target.exists():
        target = folder / f"{path.stem}-{number}{path.suffix}"
        number += 1
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        document = None  # the job says what is wrong with it
    data = document.get("data") if isinstance(document, dict) else None
    if isinstance(data, dict) and "path" in data:
        resolved = _data_paths(data["path"], path.resolve().parent)
        if resolved != data["path"]:
            target.write_text(yaml.safe_dump(document | {"data": data | {"path": resolved}}, sort_keys=False), "utf-8")
            return target.name
    shutil.copyfile(path, target)
    return target.name


def _data_paths(value: Any, base: Path) -> Any:
    """Data paths as the spec reader would resolve them: against the spec's folder, else the current one."""
    if isinstance(value, list):
        return [_data_paths(item, base) for item in value]
    if not isinstance(value, str) or "://" in value or Path(value).is_absolute():
        return value
    for root in (base, Path.cwd()):
        if (root / value).exists() or any(root.glob(value)):
            return str(root / value)
    return value


def _follow(client: JobSubmissionClient, job: str, stream: TextIO) -> None:
    async def copy() -> None:
        async for lines in client.tail_job_logs(job):
            stream.write(lines)
            stream.flush()

    noise = logging.getLogger("ray.dashboard.modules.job.sdk")
    level = noise.level
    noise.setLevel(logging.WARNING)
    try:
        asyncio.run(copy())
    except (OSError, RuntimeError) as error:
        stream.write(f"the log of {job} broke off ({error}); waiting for its end\n")
    finally:
        noise.setLevel(level)


def _outcome(client: JobSubmissionClient, job: str) -> dict[str, Any]:
    while True:
        status = JobStatus(client.get_job_status(job))
        if status.is_terminal():
            break
        time.sleep(_POLL_S)
    details = client.get_job_info(job)
    codes = {JobStatus.SUCCEEDED: 0, JobStatus.STOPPED: 130}
    code = codes.get(status, details.driver_exit_code if details.driver_exit_code is not None else 1)
    if status == JobStatus.FAILED and details.driver_exit_code is None:
        raise RunFailedError(f"submit: the job {job} must start; {details.message or 'no reason was given'}")
    return {"job": job, "status": str(status.value), "exit_code": code}

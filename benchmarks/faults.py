"""A served model under a constant load while versions change and processes are killed: what is lost; JSON out.

    python benchmarks/faults.py [--cells promote,rollback,…] [--seconds 600] [--requests 30000] [--results FILE]
    python benchmarks/faults.py --table [--results FILE]

Each cell serves versions of a small model of shipped plugins (trees, TF-IDF, pixels, columns) over HTTP on this
machine, as users do: by ``hybrid-ray serve`` with its own cluster, or by a Serve config file on a cluster of one or two
nodes. A client in a process of its own finds the capacity with a closed loop, then asks at half of it, at times that
are fixed beforehand, while the cell does the same thing again and again. Every answer is compared with what the version
that it names says offline, from its saved artifact. Results are written after each cell; a cell that is there, of the
same commit and size, is not measured again. The exit status is 1 where something does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from select import select
from typing import Any

import httpx
import psutil
from faults_judged import Event, event_times, judged, table
from faults_served import NAME, VERSIONS, Served, by_command, by_config, prepared, stored
from load import Job, begun, ended, measured, read_records
from recorded import ROOT, commit, write

from hybrid_ray.errors import HybridRayError
from hybrid_ray.serving.standing import TrafficStore

RESULTS = ROOT / "benchmarks" / "results" / "faults.json"
SHARE = 0.5
"""Part of the capacity that the load is."""
CAPACITY_CLIENTS = 16
CAPACITY_S = 10.0
UNDER_WAY = 1000
"""Requests at a time above which further ones wait: so many that a stall is seen as the server sees it."""
_REPLICA_MB = 500
"""Memory of one version in one replica, about: what is imported takes most."""
_RAY_MB = 1500


@dataclass(frozen=True)
class Cell:
    """One kind of event under load.

    Attributes
    ----------
    what : str
        For people.
    rule : {"planned", "replica", "lone", "proxy", "failover"}
        What may be lost: nothing; what is in flight, and nothing with one retry; what comes until another is there;
        the same, within ten seconds; what is in flight, by a client that goes over.
    act : callable
        Does it once, for the number of times that it was done before.
    events : int
        Times that it is done, where the cell lasts long enough.
    gap_s : float
        Least seconds between two.
    replicas, nodes : int
    by_config : bool
        Served by a Serve config file, on a cluster that was started before, rather than by ``hybrid-ray serve``.
    both : bool
        Both versions have processes of their own for a while: there must be CPUs for both.
    """

    what: str
    rule: str
    act: Callable[[Served, int], Event]
    events: int = 10
    gap_s: float = 12.0
    replicas: int = 1
    nodes: int = 1
    by_config: bool = False
    both: bool = False


def promote(served: Served, done: int) -> Event:
    version = (done + 1) % VERSIONS + 1
    at = time.time()
    TrafficStore(served.models).promote(NAME, version, by="faults")
    return Event(f"promote {version}", at, time.time(), str(version))


def roll_back(served: Served, done: int) -> Event:
    """Back, and forth again so that there is something to take back."""
    at = time.time()
    if done % 2 == 0:
        served.models.set_alias(NAME, "champion", 2)
        return Event("promote 2", at, time.time(), "2")
    version = served.models.rollback(NAME)
    return Event(f"roll back to {version}", at, time.time(), str(version))


def share(served: Served, done: int) -> Event:
    """Another share for a canary; at the end of a round none."""
    part = (0.1, 0.5, 0.9, 0.0)[done % 4]
    challengers = [{"version": 2, "share": part}] if part else []
    at = time.time()
    httpx.put(f"{served.urls[0]}/traffic", json={"challengers": challengers}, timeout=30).raise_for_status()
    return Event(f"canary {part:g}", at, time.time(), "2" if part else "1")


def redeploy(served: Served, done: int) -> Event:
    version = (done + 1) % VERSIONS + 1
    at = time.time()
    assert served.configure is not None
    state = served.configure(version, {})
    if state != "RUNNING":
        raise RuntimeError(f"redeploy: version {version} must run; got {state}")
    return Event(f"redeploy {version}", at, time.time(), str(version), recovered_s=time.time() - at)


def redeploy_broken(served: Served, done: int) -> Event:
    """A version with a damaged file; then one whose replicas cannot start; each time the good one after it."""
    assert served.configure is not None
    at = time.time()
    if done % 2:
        state = served.configure(1, {})
        return Event(f"redeploy 1: {state}", at, time.time(), "1", ("2",), time.time() - at)
    if done % 4 == 0:
        what, state = "a damaged version", served.configure(VERSIONS + 1, {})
    else:
        settings = {"ray_actor_options": {"runtime_env": {"working_dir": "file:///there/is/none.zip"}}}
        what, state = "a broken environment", served.configure(2, settings)
    return Event(f"redeploy {what}: {state}", at, time.time(), "1", ("2", str(VERSIONS + 1)), time.time() - at)


def promote_broken(served: Served, done: int) -> Event:
    """A damaged version becomes the champion, which is told, and is taken back."""
    at, damaged = time.time(), str(VERSIONS + 1)
    if done % 2:
        version = served.models.rollback(NAME)
        return Event(f"roll back to {version}", at, time.time(), "1", (damaged,))
    served.models.set_alias(NAME, "champion", int(damaged))
    while damaged not in httpx.get(f"{served.urls[0]}/models", timeout=30).json()["problems"]:
        if time.time() > at + 30:
            raise RuntimeError(f"/models: must tell in 30 s that version {damaged} cannot answer; it does not")
        time.sleep(0.5)
    return Event("promote a damaged version", at, time.time(), "1", (damaged,), time.time() - at)


def killed(served: Served, part: str, choose: Callable[[list[psutil.Process]], psutil.Process]) -> Event:
    """Kill one process, and wait until there are as many as before."""
    before = served.named(part)
    if not before:
        raise RuntimeError(f"kill: a process {part!r} must run; none does")
    known, victim = {process.pid for process in before}, choose(before)
    gone = os.pidfd_open(victim.pid)
    at = time.time()
    victim.kill()
    select([gone], [], [], 10)  # it may answer until its last thread has ended
    until = time.time()
    os.close(gone)
    deadline, recovered = until + 60, None
    while recovered is None and time.time() < deadline:
        time.sleep(0.25)
        if {process.pid for process in served.named(part)} - known:
            recovered = time.time() - at
    return Event(f"SIGKILL {part} {victim.pid}", at, until, recovered_s=recovered)


REPLICA = f"ray::ServeReplica:{NAME}:ingress"
HAPROXY = "haproxy -db -f"
MANAGER = "ray::HAProxyManager"


def kill_replica(served: Served, done: int) -> Event:
    return killed(served, REPLICA, lambda found: found[0])


def kill_proxy(served: Served, done: int) -> Event:
    return killed(served, HAPROXY, lambda found: found[-1])


def kill_manager(served: Served, done: int) -> Event:
    return killed(served, MANAGER, lambda found: found[-1])


def kill_asked_proxy(served: Served, done: int) -> Event:
    """The front door that the client is at: it starts at the first, and goes over with each kill."""
    port = int(served.urls[done % len(served.urls)].rpartition(":")[2])

    def at_port(found: list[psutil.Process]) -> psutil.Process:
        return next(each for each in reversed(found) if port in listened(each))

    return killed(served, HAPROXY, at_port)


def listened(process: psutil.Process) -> set[int]:
    """Ports that a process listens on."""
    return {each.laddr.port for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN}


CELLS: dict[str, Cell] = {
    "promote": Cell("promote", "planned", promote),
    "rollback": Cell("roll back (and promote again)", "planned", roll_back),
    "share": Cell("change the canary's share", "planned", share, events=12),
    "promote_broken": Cell("promote a damaged version, take it back", "planned", promote_broken),
    "redeploy": Cell("redeploy by the config file", "planned", redeploy, 8, 25, by_config=True, both=True),
    "redeploy_broken": Cell(
        "redeploy a broken version by the config file", "planned", redeploy_broken, 8, 40, by_config=True, both=True
    ),
    "replica": Cell("SIGKILL a replica of two", "replica", kill_replica, 8, 25, replicas=2),
    "lone_replica": Cell("SIGKILL the only replica", "lone", kill_replica, 8, 25),
    "proxy": Cell("SIGKILL the proxy", "proxy", kill_proxy, 6, 40),
    "manager": Cell("SIGKILL the proxy's manager", "proxy", kill_manager, 6, 40),
    "failover": Cell(
        "SIGKILL the proxy, of two nodes", "failover", kill_asked_proxy, 6, 40, replicas=2, nodes=2, by_config=True
    ),
}


def needs(cell: Cell, cpus: float) -> tuple[float, float]:
    """CPUs of one replica on nodes of so many, and all that the cell needs at a time."""
    one = min(1.0, cpus * cell.nodes / cell.replicas)
    return one, one * cell.replicas * (2 if cell.both else 1)


def room(cell: Cell, cpus: float, free_mb: float) -> str:
    """What the cell needs of this machine, in words.

    Raises
    ------
    SystemExit
        There is less.
    """
    one, cpu = needs(cell, cpus)
    copies = 2 if cell.rule == "planned" else 1
    memory = _RAY_MB * cell.nodes + _REPLICA_MB * cell.replicas * copies
    said = (
        f"{cell.what}: {cell.replicas} replica(s) of {one:g} CPU{', of both versions at a time' if cell.both else ''}: "
        f"{cpu:g} CPUs, and {memory} MB for {copies} version(s)"
    )
    if cpu > cpus * cell.nodes + 1e-9:
        raise SystemExit(f"{said}; the cluster has {cpus * cell.nodes:g} CPUs. Run it on a machine with more")
    if memory > free_mb:
        raise SystemExit(f"{said}; this machine has {free_mb:.0f} MB free. End something, or take a larger one")
    return f"{said}; there are {cpus * cell.nodes:g} CPUs and {free_mb:.0f} MB"


@dataclass(frozen=True)
class Size:
    """How much a cell is to be asked."""

    requests: int
    seconds: float
    rate: float | None = None
    """None: half of the capacity."""


def measured_cell(name: str, size: Size, work: Path) -> dict[str, Any]:
    """One cell, from its own store to the verdict."""
    cell, cpus = CELLS[name], psutil.cpu_count() or 1
    said = room(cell, cpus, psutil.virtual_memory().available / 1e6)
    print(said, file=sys.stderr, flush=True)
    models = stored(work / name, cell.replicas)
    asked = prepared(models)
    door = by_config(models, cell.nodes, cpus) if cell.by_config else by_command(models)
    with door as served:
        urls = [f"{url}/predict" for url in served.urls]
        base = Job(urls, asked.bodies, expected=asked.expected)
        burst = min(CAPACITY_S, size.seconds / 3)
        # the first answers of a server are slow: they are asked for, and not counted
        measured(with_(base, mode="closed", concurrency=CAPACITY_CLIENTS, seconds=burst / 2))
        capacity = measured(with_(base, mode="closed", concurrency=CAPACITY_CLIENTS, seconds=burst))
        rate = size.rate or SHARE * capacity["per_second"]
        seconds = min(size.seconds, max(size.requests / rate, 2 * cell.gap_s))
        records = work / f"{name}.records.json"
        retries = 0 if cell.rule == "planned" else 1
        load = with_(base, rate=rate, seconds=seconds, concurrency=UNDER_WAY, retries=retries, records=str(records))
        process = begun(load)
        try:
            events, problem = acted(cell, served, seconds)
            figures = ended(process, 2 * seconds + 120)
        finally:
            process.kill()
    verdict = judged(cell.rule, read_records(records), events, figures["started"])
    if problem or len(events) < len(event_times(seconds, cell.events, cell.gap_s)):
        verdict["faults"].append(problem or f"only {len(events)} events were done in time")
    return {
        "cell": name,
        "what": cell.what,
        "rule": cell.rule,
        "commit": commit(),
        "cores": psutil.cpu_count(),
        "load": os.getloadavg()[0],
        "needs": said,
        "capacity_per_s": round(capacity["per_second"], 1),
        "capacity_ms": capacity["ms"],
        "rate_per_s": round(rate, 1),
        "seconds": round(seconds, 1),
        "retries": retries,
        "ms": figures["ms"],
        "versions": figures["versions"],
        "client_cpu_seconds": figures["cpu_seconds"],
        **verdict,
        "holds": not verdict["faults"],
    }


def with_(job: Job, **changed: Any) -> Job:
    """A job with some of it changed."""
    return Job(**{name: getattr(job, name) for name in Job.__dataclass_fields__} | changed)


def acted(cell: Cell, served: Served, seconds: float) -> tuple[list[Event], str]:
    """Do what a cell does, at its times; and what went wrong with that, where something did.

    An event that lasts longer moves the next ones, and the last may fall away.
    """
    begin, events = time.monotonic(), list[Event]()
    for at in event_times(seconds, cell.events, cell.gap_s):
        if (ahead := begin + at - time.monotonic()) > 0:
            time.sleep(ahead)
        if time.monotonic() - begin > seconds - 1:
            break
        try:
            events.append(cell.act(served, len(events)))
        except (RuntimeError, HybridRayError, httpx.HTTPError, psutil.Error) as error:
            return events, f"event {len(events) + 1}: {error!r}"
        print(f"{time.monotonic() - begin:.0f} s: {events[-1].what}", file=sys.stderr, flush=True)
    return events, ""


def kept(path: Path) -> dict[str, dict[str, Any]]:
    """Cells of a file of results."""
    return {each["cell"]: each for each in json.loads(path.read_text())["cells"]} if path.exists() else {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", default=",".join(CELLS), help=", ".join(CELLS))
    parser.add_argument("--seconds", type=float, default=600.0, help="longest load of a cell")
    parser.add_argument("--requests", type=int, default=30_000, help="requests of a cell, where the time allows them")
    parser.add_argument("--rate", type=float, help="requests a second; default: half of the capacity")
    parser.add_argument("--work", type=Path, help="stores and records; default: a folder that is removed")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the results as Markdown, and measure nothing")
    asked = parser.parse_args()
    found = kept(asked.results)
    if asked.table:
        print(table([found[name] for name in CELLS if name in found]))
        return
    names = asked.cells.split(",")
    if unknown := sorted(set(names) - set(CELLS)):
        raise SystemExit(f"--cells: must be of {', '.join(CELLS)}; got {', '.join(unknown)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended then too
    size, failed = Size(asked.requests, asked.seconds, asked.rate), list[str]()
    for name in names:
        if name in found and (found[name]["commit"], found[name]["size"]) == (commit(), asdict(size)):
            continue
        with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
            work = asked.work or Path(scratch)
            shutil.rmtree(work / name, ignore_errors=True)
            try:
                found[name] = measured_cell(name, size, work.resolve()) | {"size": asdict(size)}
            except (RuntimeError, HybridRayError, httpx.HTTPError, subprocess.SubprocessError) as error:
                print(f"{name}: not measured: {error!r}", file=sys.stderr, flush=True)
                failed.append(name)
                continue
        print(json.dumps({k: v for k, v in found[name].items() if k != "events"}), flush=True)
        write(asked.results, {"cells": [found[each] for each in CELLS if each in found]}, indent=1)
    failed += [name for name in names if name in found and not found[name]["holds"]]
    if failed:
        raise SystemExit(f"does not hold, or was not measured: {', '.join(dict.fromkeys(failed))}")


if __name__ == "__main__":
    main()

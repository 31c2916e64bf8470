"""Load on an HTTP endpoint from a process of its own, at a constant rate or as a closed loop; JSON in, JSON out.

    python benchmarks/load.py < job.json

A job is what :class:`Job` holds; other benchmarks call :func:`measured`, or :func:`begun` where they do something
meanwhile. At a constant rate the times of sending are fixed beforehand, and a latency counts from that time, so that a
server that stalls cannot make its own load lighter. Every answer may be checked against what each version must say. The
last line that is printed has counts, percentiles in ms, requests a second and losses by kind; ``records`` names a file
that gets every request.
"""

from __future__ import annotations

import asyncio
import base64
import json
import math
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

TOLERANCE = 1e-5
AGAIN = ("refused", "reset", "5xx")
"""Losses after which a request is made again, where retries are allowed."""
_AHEAD_S = 0.2
_LIMIT = 2**20
_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}

Rows = Sequence[Sequence[float]]
"""What is answered to the rows of one body: probabilities in the order of classes, or one number."""
Check = Callable[[int, bytes], tuple[str, str]]
"""Version that answered, and what is wrong with the answer, for the number of a body and what came back."""


class Record(NamedTuple):
    """One request; times are seconds from the start of the sample.

    Attributes
    ----------
    intended, sent, done : float
        When it should have been sent, was sent first, and was over.
    tries : int
    first : str
        How the first try was lost: ``refused``, ``reset``, ``5xx``, ``4xx``, ``timeout``; empty if it was not.
    lost : str
        How the last try was lost; empty if it was answered.
    status : int
        0 where nothing came back.
    version : str
        Who answered, where answers are checked.
    fault : str
        ``wrong`` or ``mixed``; empty for an answer as it should be.
    """

    intended: float
    sent: float
    done: float
    tries: int
    first: str
    lost: str
    status: int
    version: str
    fault: str


@dataclass(frozen=True)
class Sample:
    """Requests of one measurement.

    Attributes
    ----------
    started : float
        Seconds since the epoch.
    seconds : float
        From the start to the last answer.
    records : list of Record
    cpu_seconds : float
        What the client took.
    """

    started: float
    seconds: float
    records: list[Record]
    cpu_seconds: float


@dataclass(frozen=True)
class Job:
    """What is asked, and how.

    Attributes
    ----------
    urls : list of str
        Several: a client that goes over to the next one when a request is lost, and stays there.
    bodies : list of bytes
        Asked in turn.
    mode : {"constant", "closed"}
    seconds : float
    rate : float
        Requests a second, for ``constant``.
    concurrency : int
        Clients of ``closed``; for ``constant`` the most requests that are under way at a time, further ones wait.
    retries : int
        Times that a lost request is made again.
    timeout_s : float
    headers : dict of str to str
    expected : dict of str to list, optional
        Answers of each version to each body; absent, answers are not checked.
    tolerance : float
    records : str, optional
        File for every request, as JSON.
    """

    urls: list[str]
    bodies: list[bytes]
    mode: Literal["constant", "closed"] = "constant"
    seconds: float = 10.0
    rate: float = 100.0
    concurrency: int = 64
    retries: int = 0
    timeout_s: float = 10.0
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    expected: dict[str, list[Rows]] | None = None
    tolerance: float = TOLERANCE
    records: str | None = None

    def to_json(self) -> str:
        """As the process reads it."""
        return json.dumps(asdict(self) | {"bodies": [base64.b64encode(body).decode() for body in self.bodies]})

    @classmethod
    def from_json(cls, text: str) -> Job:
        """As :meth:`to_json` wrote it."""
        told = json.loads(text)
        return cls(**told | {"bodies": [base64.b64decode(body) for body in told["bodies"]]})


class Lost(Exception):
    """A request that was not answered with 2xx.

    Parameters
    ----------
    kind : str
    status : int, default 0
    """

    def __init__(self, kind: str, status: int = 0) -> None:
        super().__init__(kind)
        self.kind, self.status = kind, status


class Client:
    """Asks over connections that are kept; one for all requests of a sample.

    Parameters
    ----------
    urls : sequence of str
    bodies : sequence of bytes
    headers : mapping of str to str
    retries : int
    timeout_s : float
    check : callable, optional
    """

    def __init__(
        self,
        urls: Sequence[str],
        bodies: Sequence[bytes],
        headers: Mapping[str, str],
        retries: int = 0,
        timeout_s: float = 10.0,
        check: Check | None = None,
    ) -> None:
        parts = [urlsplit(url) for url in urls]
        self._places = [(part.hostname or "127.0.0.1", part.port or 80) for part in parts]
        told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._requests = [
            [
                f"POST {part.path or '/'} HTTP/1.1\r\nhost: {part.netloc}\r\n{told}content-length: {len(body)}\r\n\r\n"
                .encode() + body
                for body in bodies
            ]
            for part in parts
        ]  # fmt: skip
        self._idle: list[list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = [[] for _ in parts]
        self._retries, self._timeout_s, self._check = retries, timeout_s, check
        self._place = 0

    async def ask(self, number: int, intended: float, start: float) -> Record:
        """One request, made again where that is allowed."""
        clock = time.perf_counter
        body, first, sent = number % len(self._requests[0]), "", clock() - start
        for tries in range(1, self._retries + 2):
            place = self._place
            try:
                content = await self._once(place, body)
            except Lost as loss:
                first = first or loss.kind
                if loss.kind in AGAIN and self._place == place:
                    self._place = (place + 1) % len(self._places)
                if loss.kind not in AGAIN or tries > self._retries:
                    return Record(intended, sent, clock() - start, tries, first, loss.kind, loss.status, "", "")
                continue
            done = clock() - start
            version, fault = self._check(body, content) if self._check is not None else ("", "")
            return Record(intended, sent, done, tries, first, "", 200, version, fault)
        raise AssertionError("a request is tried at least once")

    async def _once(self, place: int, body: int) -> bytes:
        try:
            async with asyncio.timeout(self._timeout_s):
                held = await self._connection(place)
                try:
                    status, content, kept = await _exchange(*held, self._requests[place][body])
                except BaseException:
                    held[1].transport.abort()
                    raise
        except TimeoutError:
            raise Lost("timeout") from None
        except ConnectionRefusedError:
            raise Lost("refused") from None
        except (OSError, EOFError, ValueError):
            raise Lost("reset") from None
        if kept:
            self._idle[place].append(held)
        else:
            held[1].close()
        if not 200 <= status < 300:
            raise Lost("5xx" if status >= 500 else "4xx", status)
        return content

    async def _connection(self, place: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """One that is open, as far as this side knows; else a new one."""
        idle = self._idle[place]
        while idle:
            reader, writer = idle.pop()
            if not reader.at_eof() and not writer.is_closing() and reader.exception() is None:
                return reader, writer
            writer.close()
        return await asyncio.open_connection(*self._places[place], limit=_LIMIT)

    def close(self) -> None:
        """End the connections."""
        for _, writer in (held for idle in self._idle for held in idle):
            writer.close()


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes
) -> tuple[int, bytes, bool]:
    """Status, body, and whether the connection may be used again."""
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    first, _, rest = head.partition(b"\r\n")
    told = {
        name.strip(): value.strip() for name, _, value in (line.partition(b":") for line in rest.lower().split(b"\r\n"))
    }
    kept = told.get(b"connection") != b"close" and first.startswith(b"HTTP/1.1")
    if told.get(b"transfer-encoding") == b"chunked":
        parts = []
        while size := int(await reader.readuntil(b"\r\n"), 16):
            parts.append((await reader.readexactly(size + 2))[:-2])
        await reader.readuntil(b"\r\n")
        return int(first.split()[1]), b"".join(parts), kept
    if b"content-length" in told:
        return int(first.split()[1]), await reader.readexactly(int(told[b"content-length"])), kept
    return int(first.split()[1]), await reader.read(-1), False


def checked(expected: Mapping[str, Sequence[Rows]], tolerance: float = TOLERANCE) -> Check:
    """A check of answers against those of the version that they name.

    ``wrong`` differs from what that version says; ``mixed`` does too, but a row of it is what another version says.
    """

    def check(body: int, content: bytes) -> tuple[str, str]:
        answer = json.loads(content)
        if isinstance(answer, list):  # of a server that tells no version: the first is meant
            answer = {_ROWS: answer, "version": next(iter(expected))}
        version = str(answer["version"])
        rows = [list(each["proba"].values()) if "proba" in each else [each["prediction"]] for each in answer[_ROWS]]
        if version in expected and _near(rows, expected[version][body], tolerance):
            return version, ""
        others = [told[body] for other, told in expected.items() if other != version]
        foreign = any(_near([r], [t], tolerance) for told in others for r, t in zip(rows, told, strict=False))
        return version, "mixed" if foreign else "wrong"

    return check


_ROWS = "predictions"


def _near(rows: Rows, told: Rows, tolerance: float) -> bool:
    return len(rows) == len(told) and all(
        len(row) == len(truth) and all(abs(a - b) <= tolerance for a, b in zip(row, truth, strict=True))
        for row, truth in zip(rows, told, strict=True)
    )


async def closed(
    urls: Sequence[str],
    bodies: Sequence[bytes],
    concurrency: int,
    seconds: float,
    headers: Mapping[str, str],
    *,
    retries: int = 0,
    timeout_s: float = 10.0,
    check: Check | None = None,
) -> Sample:
    """Clients that each ask again as soon as they were answered."""
    client = Client(urls, bodies, headers, retries, timeout_s, check)
    clock = time.perf_counter
    wall, cpu, start = time.time(), time.process_time(), clock()
    records: list[Record] = []

    async def one(number: int) -> None:
        while (now := clock() - start) < seconds:
            records.append(await client.ask(number, now, start))
            number += concurrency
            if records[-1].lost:
                await asyncio.sleep(0.01)  # a server that refuses is not to be asked thousands of times

    await asyncio.gather(*(one(number) for number in range(concurrency)))
    client.close()
    return Sample(wall, clock() - start, records, time.process_time() - cpu)


async def constant(
    urls: Sequence[str],
    bodies: Sequence[bytes],
    rate: float,
    seconds: float,
    headers: Mapping[str, str],
    *,
    concurrency: int = 64,
    retries: int = 0,
    timeout_s: float = 10.0,
    check: Check | None = None,
) -> Sample:
    """Requests at times that are fixed beforehand; ``concurrency`` at most are under way, further ones wait."""
    client = Client(urls, bodies, headers, retries, timeout_s, check)
    clock = time.perf_counter
    wall, cpu, start = time.time() + _AHEAD_S, time.process_time(), clock() + _AHEAD_S
    records: list[Record] = []
    slots, tasks = asyncio.Semaphore(concurrency), set[asyncio.Task[None]]()

    async def one(number: int, intended: float) -> None:
        try:
            records.append(await client.ask(number, intended, start))
        finally:
            slots.release()

    for number, intended in enumerate(schedule(rate, seconds)):
        if (ahead := start + intended - clock()) > 0:
            await asyncio.sleep(ahead)
        await slots.acquire()
        task = asyncio.create_task(one(number, intended))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    client.close()
    return Sample(wall, clock() - start, records, time.process_time() - cpu)


def schedule(rate: float, seconds: float) -> list[float]:
    """Times of sending, from the start: as many as fit, evenly spread."""
    return [number / rate for number in range(max(int(rate * seconds + 1e-9), 1))]


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Values that so many are at most (nearest rank), and the largest; nothing for no values."""
    held = sorted(values)
    return {name: held[max(math.ceil(q * len(held)), 1) - 1] for name, q in _QUANTILES.items()} if held else {}


def summary(sample: Sample) -> dict[str, Any]:
    """Counts, latencies in ms from the intended time, requests a second that were answered, and losses by kind."""
    answered = [each for each in sample.records if not each.lost]
    found = percentiles([1000 * (each.done - each.intended) for each in answered])
    return {
        "requests": len(sample.records),
        "answered": len(answered),
        "per_second": len(answered) / sample.seconds,
        "ms": {name: round(value, 3) for name, value in found.items()},
        "lost": dict(Counter(each.lost for each in sample.records if each.lost)),
        "lost_first": dict(Counter(each.first for each in sample.records if each.first)),
        "wrong": sum(each.fault == "wrong" for each in answered),
        "mixed": sum(each.fault == "mixed" for each in answered),
        "versions": dict(Counter(each.version for each in answered if each.version)),
        "started": sample.started,
        "seconds": round(sample.seconds, 3),
        "cpu_seconds": round(sample.cpu_seconds, 3),
    }


async def run(job: Job) -> Sample:
    """What a job asks for, in this process."""
    check = checked(job.expected, job.tolerance) if job.expected is not None else None
    more: dict[str, Any] = {"retries": job.retries, "timeout_s": job.timeout_s, "check": check}
    if job.mode == "closed":
        return await closed(job.urls, job.bodies, job.concurrency, job.seconds, job.headers, **more)
    more["concurrency"] = job.concurrency
    return await constant(job.urls, job.bodies, job.rate, job.seconds, job.headers, **more)


def begun(job: Job) -> subprocess.Popen[str]:
    """A process that does a job; :func:`ended` gives its figures."""
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    process.stdin.write(job.to_json())
    process.stdin.close()
    process.stdin = None
    return process


def ended(process: subprocess.Popen[str], timeout_s: float) -> dict[str, Any]:
    """Figures of a job, once it is over."""
    try:
        printed, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    if process.returncode:
        raise RuntimeError(f"load: must exit with 0; got {process.returncode}")
    found: dict[str, Any] = json.loads(printed.strip().splitlines()[-1])
    return found


def measured(job: Job) -> dict[str, Any]:
    """Figures of a job, done in a process of its own."""
    return ended(begun(job), 2 * job.seconds + job.timeout_s * (job.retries + 1) + 60)


def read_records(path: Path) -> list[Record]:
    """Every request of a job that named a file for them, by the time that it was meant for."""
    return sorted(Record(*each) for each in json.loads(path.read_text()))


def main() -> None:
    job = Job.from_json(sys.stdin.read())
    with suppress(ImportError):  # half the CPU, where Serve has brought it
        import uvloop

        uvloop.install()
    sample = asyncio.run(run(job))
    if job.records:
        Path(job.records).write_text(json.dumps(sample.records))
    print(json.dumps(summary(sample)), flush=True)


if __name__ == "__main__":
    main()

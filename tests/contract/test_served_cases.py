"""What anybody may send: requests drawn from the OpenAPI document, and damaged bodies. Never a 5xx; memory is flat."""

from __future__ import annotations

import base64
import io
import json
import random
import socket
import subprocess
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pyarrow as pa
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from PIL import Image
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from hybrid_ray.testing.graphs import toy_rows

LEAST_CASES = 2_000
MUTATED = 10_000
SETTLING = 3_000
"""Of these, until the server's memory has grown to what it needs."""
GROWTH = 40 * 2**20
"""Bytes that it may grow by afterwards: an arena or two, less than 1 % of what was sent."""
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]

asked: list[str] = []
"""Paths of the requests that were drawn so far."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, psutil.Process]]:
    """A served model, and its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = Path(__file__).with_name("served_process.py")
    command = [sys.executable, str(program), str(tmp_path_factory.mktemp("store")), str(port)]
    with subprocess.Popen(command) as process:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if httpx.get(f"{url}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield url, psutil.Process(process.pid)
        process.terminate()


@pytest.fixture(scope="module")
def document(server: tuple[str, psutil.Process]) -> Iterator[Any]:
    yield schemathesis.openapi.from_url(f"{server[0]}/openapi.json")
    assert len(asked) >= LEAST_CASES, f"{len(asked)} requests are too few"


schema = schemathesis.pytest.from_fixture("document")


@schema.parametrize()
@settings(max_examples=150, suppress_health_check=list(HealthCheck))
def test_what_the_document_allows_and_forbids(case: Any) -> None:
    case.call_and_validate(checks=CHECKS)
    asked.append(case.path)


def picture(size: tuple[int, int], form: str) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (200, 30, 60)).save(stream, form)
    return stream.getvalue()


def bomb() -> bytes:
    """A PNG of a few hundred bytes that claims and holds far more pixels than are allowed."""
    rows = zlib.compress(b"\x00" * (20_000 * 20_001 // 8), 9)[:4000]
    head = b"\x00\x00\x4e\x20\x00\x00\x4e\x20\x01\x00\x00\x00\x00"

    def chunk(name: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


PICTURES = [picture((9, 9), "PNG"), picture((300, 200), "JPEG"), picture((30, 2), "WEBP")]
DAMAGED = [image[: len(image) * part // 10] for image in PICTURES for part in (1, 5, 9)]
DAMAGED += [bomb(), picture((2000, 1000), "PNG"), b"", b"\x89PNG\r\n\x1a\n", b"GIF89a"]
HOSTILE: list[Any] = [
    *(None, True, -1, 0, 1e308, -1e308, 10**40, 2**63, "", "\x00", "\ud800", "a" * 20_000, "NaN", "9" * 400),
    *("../../etc/passwd", "file:///etc/passwd", "http://127.0.0.1:1/x.png", "data:image/png;base64,AAAA", "data:,"),
    *([], {}, [[[[1]]]], {"$ref": "#/x"}, ["x"] * 1000, [None] * 5, {"__class__": "x"}, "2020-13-45", "\u202e\u0000x"),
]
RAW = [{k: v for k, v in row.items() if k != "label"} for row in toy_rows(60, seed=3, missing=0.2)]
ROWS = [{k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in row.items()} for row in RAW]


def rows_of(rng: random.Random) -> list[dict[str, Any]]:
    return [dict(row) for row in rng.sample(ROWS, rng.randint(1, 4))]


def mutated_json(rng: random.Random) -> tuple[bytes, str]:
    """A good body, some of whose cells, names or bytes are not what they were."""
    rows = rows_of(rng)
    for _ in range(rng.randint(0, 2)):
        row = rng.choice(rows)
        name = rng.choice([*row, "photo", "price"]) if row else "price"
        step = rng.randrange(6)
        if step == 0:
            row[rng.choice([name.upper(), "../" + name, "", "rows", "x" * 300, "\x00"])] = row.pop(name, 1)
        elif step == 1:
            image = rng.choice([*DAMAGED, rng.randbytes(60)])
            row["photo"] = base64.b64encode(image).decode()
        else:
            row[name] = rng.choice(HOSTILE)
    body: Any = {"rows": rows}
    if rng.random() < 0.1:
        body = rng.choice([rows, {"rows": {}}, {"rows": rows * 30}, {"row": rows}, 3, None, "x", [body] * 50])
    text = bytearray(json.dumps(body, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass"))
    if rng.random() < 0.4 and text:
        at = rng.randrange(len(text))
        step = rng.randrange(5)
        if step == 0:
            del text[at:]
        elif step == 1:
            text[at] = rng.randrange(256)
        elif step == 2:
            text[at:at] = rng.choice([b"NaN", b"Infinity", b"{", b"]" * 40, b'"', b"\x00", b"[" * 3000, b"1e999"])
        elif step == 3:
            del text[at : at + rng.randint(1, 50)]
        else:
            text += text[:at]
    return bytes(text), "application/json"


def mutated_form(rng: random.Random) -> tuple[bytes, str]:
    """A form with files, damaged in its rows, its names, its images or its frame."""
    rows = [{k: v for k, v in row.items() if k != "photo"} for row in rows_of(rng)]
    name = rng.choice(["photo", "photo[0]", "photo[7]", "photo[-1]", "../photo", "title", "", "photo[9999999999]"])
    image = rng.choice([*PICTURES, *PICTURES, *DAMAGED])
    content = json.dumps({"rows": rows} if rng.random() < 0.2 else rows).encode()
    parts = [(b'name="rows"', content), (f'name="{name}"; filename="../../x.png"'.encode(), image)]
    frame = b"".join(b"--b\r\nContent-Disposition: form-data; " + h + b"\r\n\r\n" + c + b"\r\n" for h, c in parts)
    body = bytearray(frame + b"--b--\r\n")
    if rng.random() < 0.5:
        at = rng.randrange(len(body))
        body[at : at + rng.randint(0, 30)] = rng.randbytes(rng.randint(0, 5))
    boundary = rng.choice(["; boundary=b"] * 8 + ["", "; boundary=c"])
    return bytes(body), f"multipart/form-data{boundary}"


def mutated_arrow(rng: random.Random) -> tuple[bytes, str]:
    """A stream of record batches with damaged bytes."""
    rows = rng.sample(RAW, rng.randint(1, 4))
    table = pa.Table.from_pylist(rows)
    if rng.random() < 0.3:
        table = table.rename_columns([rng.choice([name, "x", "../x", ""]) for name in table.column_names])
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    body = bytearray(sink.getvalue())
    for _ in range(rng.randint(0, 4)):
        body[rng.randrange(len(body))] = rng.randrange(256)
    if rng.random() < 0.2:
        del body[rng.randrange(len(body)) :]
    return bytes(body), "application/vnd.apache.arrow.stream"


def mutated_tensors(rng: random.Random) -> tuple[bytes, str]:
    """A request of the Open Inference Protocol whose shapes, types or bytes do not suit each other."""
    n = rng.choice([0, 1, 2, 5])
    inputs = [
        {
            "name": rng.choice(["price", "price", "title", "nope", ""]),
            "shape": rng.choice([[n], [n], [n], [n, 1], [-1], [], [10**12], "x"]),
            "datatype": rng.choice(["FP64", "FP64", "INT8", "BYTES", "BOOL", "FP16", "X", None]),
            "data": rng.choice([[1.5] * n, [1.5] * n, ["a"] * n, rng.choice(HOSTILE)]),
        }
        for _ in range(rng.choice([1, 1, 1, 0, 2]))
    ]
    asked = {"inputs": inputs, "id": rng.choice(["a", "a", *HOSTILE])}
    return json.dumps(asked).encode("utf-8", "surrogatepass"), "application/json"


def mutated_feedback(rng: random.Random) -> tuple[bytes, str]:
    """Labels, some of them of no class, with ids that are none."""
    labels = [rng.choice(["red", "green", "blue", None, rng.choice(HOSTILE)]) for _ in range(rng.randint(0, 3))]
    told = {"id": rng.choice(["a-1", "b", rng.choice(HOSTILE)]), "labels": rng.choice([labels, labels, HOSTILE[5]])}
    return json.dumps(told).encode("utf-8", "surrogatepass"), "application/json"


KINDS: list[tuple[Callable[[random.Random], tuple[bytes, str]], str]] = [
    *[(mutated_json, "/predict")] * 4,
    *[(mutated_form, "/predict")] * 2,
    *[(mutated_arrow, "/predict")] * 2,
    *[(mutated_tensors, "/v2/models/toy/infer"), (mutated_feedback, "/feedback"), (mutated_json, "/explain")],
]


def test_damaged_bodies_are_answered_or_refused_and_memory_is_flat(server: tuple[str, psutil.Process]) -> None:
    url, process = server
    rng, seen, settled = random.Random(0), Counter[tuple[str, int]](), 0
    with httpx.Client(base_url=url, timeout=60) as client:
        for number in range(MUTATED):
            make, path = KINDS[number % len(KINDS)]
            body, kind = make(rng)
            answer = client.post(path, content=body, headers={"content-type": kind})
            assert answer.status_code < 500, (number, path, answer.status_code, body[:500], answer.text[:500])
            seen[path, answer.status_code] += 1
            if number == SETTLING:
                settled = process.memory_info().rss
    for path in {path for _, path in KINDS}:
        # What is only ever refused has been tried at the door, not inside.
        assert {200, 202} & {status for where, status in seen if where == path}, seen
        assert (path, 422) in seen, seen
    assert process.memory_info().rss - settled < GROWTH

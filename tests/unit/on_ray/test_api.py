"""The HTTP face of a graph, without Ray: requests parsed, answers equal to the graph's, faults named."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from hybrid_ray.graph import Graph
from hybrid_ray.on_ray.serve.api import single
from hybrid_ray.on_ray.serve.batching import RowBatcher
from hybrid_ray.on_ray.serve.contract import Probe, Served
from hybrid_ray.on_ray.serve.pipeline import Extraction, Pipeline, combination, whole
from hybrid_ray.spec import ServeSpec
from hybrid_ray.testing.graphs import png, toy_batch, toy_graph, toy_rows

GRAPH = toy_graph()
ROWS = [{k: v for k, v in row.items() if k != "label"} for row in toy_rows(24, seed=1, missing=0.2)]
LIMITS = ServeSpec(max_rows=50, max_body_mb=0.2, max_pixels=10_000, max_batch_rows=8)


PROBE = Probe(toy_batch([row for row in ROWS if None not in row.values()][:1]))


def api(
    graph: Graph, limits: ServeSpec = LIMITS, version: int | str = 3, split: bool = False, probe: Probe = PROBE
) -> Any:
    served = Served.of(graph, version, probe, limits)

    def batched(run: Any) -> Any:
        return RowBatcher(run, limits.max_batch_rows, limits.batch_wait_s).submit

    if split:
        stages = {group: batched(Extraction(graph, [group])) for group in graph.groups()}
        return single(served, Pipeline(served, stages, batched(combination(graph))))
    return single(served, Pipeline(served, {"+".join(graph.groups()): batched(whole(graph))}))


@pytest.fixture(scope="module", params=["together", "split"])
def client(request: pytest.FixtureRequest) -> Iterator[TestClient]:
    with TestClient(api(GRAPH, split=request.param == "split"), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture(scope="module")
def one_client() -> Iterator[TestClient]:
    with TestClient(api(GRAPH), raise_server_exceptions=False) as client:
        yield client


def jsonable(row: dict[str, Any]) -> dict[str, Any]:
    return {k: base64.b64encode(v).decode() if isinstance(v, bytes) else v for k, v in row.items()}


def close(answer: dict[str, Any], expected: np.ndarray) -> bool:
    proba = [list(p["proba"].values()) for p in answer["predictions"]]
    return np.abs(np.array(proba) - expected).max() < 1e-5


def fault(answer: Any) -> tuple[list[Any], str]:
    assert answer.status_code == 422, answer.text
    first = answer.json()["detail"][0]
    return first["loc"], first["msg"]


def test_rows_are_answered_as_the_graph_answers(client: TestClient) -> None:
    answer = client.post("/predict", json={"rows": [jsonable(row) for row in ROWS]})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    outputs = GRAPH.outputs(toy_batch(ROWS))
    assert close(body, outputs)
    assert [p["prediction"] for p in body["predictions"]] == GRAPH.labels(outputs)
    assert list(body["predictions"][0]["proba"]) == ["red", "green", "blue"]
    assert (body["model"], body["version"]) == ("toy", 3)


def test_a_single_row_may_leave_columns_out(client: TestClient) -> None:
    answer = client.post("/predict", json={"title": "word2 word2"})
    assert answer.status_code == 200, answer.text
    assert close(answer.json(), GRAPH.outputs(toy_batch([{"title": "word2 word2"}])))
    nulls = client.post("/predict", json={"rows": [{"title": "word2 word2", "photo": None, "price": None}]})
    assert nulls.json()["predictions"] == answer.json()["predictions"]


def test_no_rows_is_no_fault(client: TestClient) -> None:
    assert client.post("/predict", json={"rows": []}).json()["predictions"] == []


@pytest.mark.parametrize("style", ["data url", "wrapped base64"])
def test_images_as_data_url_or_wrapped_base64(client: TestClient, style: str) -> None:
    image = next(row["photo"] for row in ROWS if row["photo"])
    text = base64.encodebytes(image).decode()
    sent = "data:image/png;base64," + text.replace("\n", "") if style == "data url" else text
    answer = client.post("/predict", json={"photo": sent})
    assert close(answer.json(), GRAPH.outputs(toy_batch([{"photo": image}])))


def test_a_form_with_json_rows_and_files(client: TestClient) -> None:
    rows = [{"title": "word0", "price": 0.1}, {"title": "word1"}, {"title": "word2"}]
    image = png(np.full((8, 8), 200))
    answer = client.post(
        "/predict", data={"rows": json.dumps(rows)}, files=[("photo[2]", ("a.png", image)), ("photo", ("b.png", image))]
    )
    assert answer.status_code == 200, answer.text
    expected = [rows[0] | {"photo": image}, rows[1], rows[2] | {"photo": image}]
    assert close(answer.json(), GRAPH.outputs(toy_batch(expected)))


def test_a_form_of_fields_is_one_row_and_files_alone_are_rows(client: TestClient) -> None:
    image = png(np.full((8, 8), 10))
    one = client.post("/predict", data={"title": "word1", "price": "1.5", "brand": ""}, files={"photo": image})
    assert close(one.json(), GRAPH.outputs(toy_batch([{"title": "word1", "price": 1.5, "photo": image}])))
    two = client.post("/predict", files=[("photo", ("a", image)), ("photo", ("b", image))])
    assert close(two.json(), GRAPH.outputs(toy_batch([{"photo": image}] * 2)))
    part = client.post("/predict", files={"rows": ("rows.json", b'{"title": "word1"}', "application/json")})
    assert close(part.json(), GRAPH.outputs(toy_batch([{"title": "word1"}])))


def big_png() -> str:
    stream = io.BytesIO()
    Image.new("L", (101, 100)).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


TRUNCATED = base64.b64encode(png(np.random.default_rng(0).integers(0, 255, (32, 32)))[:500]).decode()
BAD_CELLS = [
    ("photo", "a path.png", "base64"),
    ("photo", "/etc/passwd0", "decodable"),
    ("photo", "https://example.org/a.png", "base64"),
    ("photo", base64.b64encode(b"no image").decode(), "decodable"),
    ("photo", TRUNCATED, "decodable"),
    ("photo", "", "bytes"),
    ("photo", 3, "a number"),
    ("photo", ["x"], "a list"),
    ("photo", big_png(), "10000 pixels"),
    ("title", 3, "valid string"),
    ("title", {"a": 1}, "valid string"),
    ("price", "3", "valid number"),
    ("price", True, "valid number"),
    ("price", 10**400, "valid number"),
    ("price", 10**39, "less than"),
    ("brand", ["a"], "valid string"),
    ("listed", "some day", "not a date"),
    ("listed", 2020, "valid string"),
    ("colour", "red", "unknown column"),
    ("tilte", "red", "Did you mean 'title'"),
]


@pytest.mark.parametrize(
    ("column", "value", "said"), BAD_CELLS, ids=[f"{c}-{i}" for i, (c, *_) in enumerate(BAD_CELLS)]
)
def test_a_wrong_cell_is_named_with_its_row(client: TestClient, column: str, value: Any, said: str) -> None:
    answer = client.post("/predict", json={"rows": [{"title": "fine"}, {"title": "fine"} | {column: value}]})
    loc, msg = fault(answer)
    assert loc == ["body", "rows", 1, column]
    assert said in msg


def test_all_faults_are_told_at_once(client: TestClient) -> None:
    answer = client.post("/predict", json={"rows": [{"price": "x", "title": 1}, {"listed": 5}]})
    assert [d["loc"][2:] for d in answer.json()["detail"]] == [[0, "title"], [0, "price"], [1, "listed"]]


BAD_BODIES = [
    (b"", "JSON"),
    (b"{", "JSON"),
    (b'{"price": NaN}', "JSON"),
    (b'{"price": Infinity}', "JSON"),
    (b'{"price": 1e999}', "finite"),
    (b'{"price": ' + b"1" * 5000 + b"}", "JSON"),
    (b'{"title": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "recursion"),
    (b'{"title": "\\ud800"}', "JSON"),
    (b"\xff\xfe{}", "JSON"),
    (b"[]", "object"),
    (b"3", "object"),
    (b"null", "object"),
    (b"{}", "at least one"),
    (b'{"rows": {}}', "unknown column"),
    (b'{"rows": [3]}', "a row must be an object"),
    (b'{"rows": [{}]}', "at least one"),
    (b'{"rows": [], "title": "x"}', "nothing else"),
    (b'{"rows": [' + b",".join([b'{"title":"x"}'] * 51) + b"]}", "at most 50 rows; got 51"),
]


@pytest.mark.parametrize(("body", "said"), BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_a_wrong_body_is_422(client: TestClient, body: bytes, said: str) -> None:
    answer = client.post("/predict", content=body, headers={"content-type": "application/json"})
    assert said in fault(answer)[1]


def test_many_faults_are_counted_not_listed(one_client: TestClient) -> None:
    answer = one_client.post("/predict", json={"rows": [{f"c{i}": 1 for i in range(200)}] * 50})
    assert answer.status_code == 422
    assert len(answer.json()["detail"]) == 20
    assert answer.json()["more"] > 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "text/plain"}, 415),
        ({"content-type": ""}, 415),
        ({"content-type": "application/json; charset=utf-16"}, 415),
        ({"content-type": "application/json", "content-encoding": "gzip"}, 415),
        ({"content-type": "multipart/form-data"}, 422),
        ({"content-type": "multipart/form-data; boundary=x"}, 422),
        ({"content-type": "application/json; charset*" + "9" * 5000 + "=x"}, 415),
        ({"content-type": "application/json; charset=UTF-8"}, 422),
    ],
)
def test_other_content_types_are_415(one_client: TestClient, headers: dict[str, str], status: int) -> None:
    assert one_client.post("/predict", content=b"junk", headers=headers).status_code == status


def test_a_large_body_is_413_while_it_streams(one_client: TestClient) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(10_000):
            sent += 10_000
            yield b" " * 10_000

    answer = one_client.post("/predict", content=endless(), headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert "at most 200000 bytes" in answer.json()["detail"][0]["msg"]
    whole_body = one_client.post("/predict", content=b" " * 200_001, headers={"content-type": "application/json"})
    assert whole_body.status_code == 413


def test_bad_forms(client: TestClient) -> None:
    image = png(np.zeros((2, 2)))
    cases = [
        ({"data": {"rows": "[]"}, "files": {"photo": image}}, ["rows", 0, "photo"], "row 0 of 0"),
        ({"files": {"photo[7]": image}}, ["rows", 7, "photo"], "row 7"),
        ({"files": {"picture": image}}, [], ""),
        ({"files": {"price": (None, "cheap")}}, ["rows", 0, "price"], "valid number"),
        ({"files": {"price": (None, "nan")}}, ["rows", 0, "price"], "valid number"),
        ({"data": {"photo": "x"}, "files": {"photo": ("a.png", image)}}, ["rows", 0, "photo"], "twice"),
        ({"files": {"rows": (None, '[{"title": "a"}, {"title": "b"}]'), "price": (None, "1")}}, [], "single row"),
        ({"files": {"rows": (None, "{")}}, [], "JSON"),
        ({"files": [("photo", ("a", b"no image"))]}, ["rows", 0, "photo"], "decodable"),
    ]
    for sent, loc, said in cases:
        found, msg = fault(client.post("/predict", **sent))
        assert found == ["body", *loc] or not loc
        assert said in msg


def test_required_columns(one_client: TestClient) -> None:
    limits = ServeSpec(required=("title",))
    with TestClient(api(GRAPH, limits)) as client:
        loc, msg = fault(client.post("/predict", json={"price": 1}))
        assert (loc, msg) == (["body", "rows", 0, "title"], "Field required")
        schema = client.get("/openapi.json").json()
        rows = schema["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
        assert rows[1]["required"] == ["title"]


def test_health_schema_and_documentation(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    for _ in range(50):
        ready = client.get("/readyz")
        if ready.status_code == 200:
            break
    assert ready.json() == {"status": "ready", "model": "toy", "version": 3}
    assert client.get("/docs").status_code == 200
    schema = client.get("/openapi.json").json()
    post = schema["paths"]["/predict"]["post"]
    content = post["requestBody"]["content"]
    row = content["application/json"]["schema"]["oneOf"][1]
    assert list(row["properties"]) == list(GRAPH.columns)
    assert row["properties"]["price"]["type"] == ["number", "null"]
    assert row["properties"]["photo"]["contentEncoding"] == "base64"
    assert content["multipart/form-data"]["schema"]["properties"]["photo"]["format"] == "binary"
    assert {"200", "413", "415", "422", "503", "504"} <= set(post["responses"])
    example = content["application/json"]["example"]
    assert client.post("/predict", json=example).status_code == 200
    assert client.get("/nowhere").status_code == 404
    assert client.get("/predict").status_code == 405


def test_regression_answers_numbers() -> None:
    graph = toy_graph("regression")
    with TestClient(api(graph, version="a/folder")) as client:
        body = client.post("/predict", json={"rows": [jsonable(row) for row in ROWS[:3]]}).json()
    assert list(body["predictions"][0]) == ["prediction"]
    got = [p["prediction"] for p in body["predictions"]]
    assert np.abs(np.array(got) - graph.outputs(toy_batch(ROWS[:3]))[:, 0]).max() < 1e-5


def test_a_slow_model_is_504_and_too_many_requests_are_503() -> None:
    import threading

    started, go_on = threading.Event(), threading.Event()
    graph = toy_graph()
    combine = graph.decision.combine

    def slow(inputs: Any) -> Any:
        started.set()
        go_on.wait(5)
        return combine(inputs)

    graph.decision.combine = slow  # type: ignore[method-assign]
    limits = ServeSpec(timeout_s=0.3, max_queued=1)
    with TestClient(api(graph, limits)) as client:
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(client.post("/predict", json={"title": "x"})))
        thread.start()
        assert started.wait(5)
        busy = client.post("/predict", json={"title": "x"})
        thread.join(5)
        go_on.set()
    assert busy.status_code == 503
    assert int(busy.headers["retry-after"]) >= 1
    assert answers[0].status_code == 504
    assert "0.3 s" in answers[0].json()["detail"][0]["msg"]


@pytest.mark.parametrize(("gone", "said"), [(False, "must arrive within 0.2 s"), (True, "the client went away")])
def test_a_body_that_does_not_come_is_408(gone: bool, said: str) -> None:
    app = api(GRAPH, ServeSpec(timeout_s=0.2))
    scope = {
        **{"type": "http", "method": "POST", "path": "/predict", "raw_path": b"/predict", "query_string": b""},
        **{"headers": [(b"content-type", b"application/json")], "root_path": "", "scheme": "http"},
    }
    sent: list[Any] = []

    async def receive() -> Any:
        if gone:
            return {"type": "http.disconnect"}
        await asyncio.sleep(0 if not sent else 60)
        sent.append(b"")
        return {"type": "http.request", "body": b'{"title"', "more_body": True}

    answers: list[Any] = []

    async def send(message: Any) -> None:
        answers.append(message)

    asyncio.run(app(scope, receive, send))
    assert answers[0]["status"] == 408
    assert said in answers[1]["body"].decode()


class Broken:
    """Stands for a fusion that fails for some values: the probe goes through, some rows do not."""

    def __init__(self, graph: Graph, answer: Any) -> None:
        self.combine, self.answer = graph.decision.combine, answer

    def __call__(self, inputs: Any) -> Any:
        outputs = self.combine(inputs)
        if isinstance(self.answer, Exception):
            raise self.answer
        return np.full_like(outputs, self.answer)


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (ValueError("secret"), 422, "cannot take these values (ValueError)"),
        (np.inf, 422, "no finite answer"),
        (RuntimeError("secret"), 500, ""),
    ],
)
def test_what_the_model_cannot_take(answer: Any, status: int, said: str) -> None:
    graph = toy_graph()
    graph.decision.combine = Broken(graph, answer)  # type: ignore[method-assign]
    with TestClient(api(graph), raise_server_exceptions=False) as client:
        got = client.post("/predict", json={"title": "x"})
        assert got.status_code == status
        assert said in got.text
        assert "secret" not in got.text
        for _ in range(50):
            ready = client.get("/readyz")
        assert ready.status_code == 503


@pytest.mark.parametrize("off", [0.0, 0.01])
def test_it_is_ready_when_golden_rows_come_out_as_saved(off: float) -> None:
    batch = toy_batch(ROWS[:3])
    probe = Probe(batch, GRAPH.outputs(batch) + off, 1e-4)
    with TestClient(api(GRAPH, probe=probe)) as client:
        for _ in range(50):
            ready = client.get("/readyz")
            if "warming" not in ready.text:
                break
    assert ready.status_code == (503 if off else 200)
    assert ("wrong answer: golden row" in ready.text) == bool(off)


# What a client may send, from near to a right request to noise.
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**30),
    st.floats(allow_nan=False),
    st.text(max_size=8),
)
VALUES = st.one_of(
    SCALARS,
    st.sampled_from([base64.b64encode(row["photo"]).decode() for row in ROWS if row["photo"]][:3]),
    st.sampled_from(
        ["data:image/png;base64,AAAA", "2024-01-01", "9999-99-99", "-1e5", "0001-01-01", "999999-01-01", TRUNCATED]
    ),
    st.lists(SCALARS, max_size=2),
    st.dictionaries(st.text(max_size=3), SCALARS, max_size=2),
)
NAMES = st.one_of(st.sampled_from([*GRAPH.columns, "rows", "Price"]), st.text(max_size=6))
ANY_ROW = st.dictionaries(NAMES, VALUES, max_size=5)
ANY_JSON = st.one_of(
    ANY_ROW,
    st.fixed_dictionaries({"rows": st.lists(st.one_of(ANY_ROW, SCALARS), max_size=4)}),
    st.lists(ANY_ROW),
    SCALARS,
)


def check_answer(answer: Any) -> None:
    assert answer.status_code < 500, answer.text
    body = answer.json()
    if answer.status_code == 200:
        assert all(abs(sum(p["proba"].values()) - 1) < 1e-6 for p in body["predictions"])
    else:
        assert body["detail"]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=ANY_JSON)
def test_no_json_breaks_it(one_client: TestClient, value: Any) -> None:
    text = json.dumps(value, allow_nan=True)
    check_answer(one_client.post("/predict", content=text, headers={"content-type": "application/json"}))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.one_of(st.binary(max_size=200), st.text(max_size=100).map(lambda t: json.dumps({"rows": t}).encode())),
    kind=st.one_of(
        st.sampled_from(
            ["application/json", "multipart/form-data; boundary=b", 'multipart/form-data; boundary="', "a/b"]
        ),
        st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=30),
    ),
)
def test_no_bytes_break_it(one_client: TestClient, body: bytes, kind: str) -> None:
    check_answer(one_client.post("/predict", content=body, headers={"content-type": kind}))


PART_NAMES = st.one_of(
    st.sampled_from(["rows", "photo", "photo[1]", "photo[0]", "price", "title", "photo[99999999]"]), st.text(max_size=5)
)
PARTS = st.lists(
    st.tuples(
        PART_NAMES,
        st.one_of(st.none(), st.sampled_from(["", "a.png"])),
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from([b'[{"title":"a"},{"price":1}]', b"{}", b"1.5", b"[3]", png(np.zeros((2, 2)))]),
        ),
    ),
    max_size=4,
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=PARTS, close_form=st.booleans())
def test_no_form_breaks_it(
    one_client: TestClient, parts: list[tuple[str, str | None, bytes]], close_form: bool
) -> None:
    body = b""
    for name, filename, content in parts:
        quoted = name.replace('"', "%22").replace("\r", "").replace("\n", "")
        head = f'form-data; name="{quoted}"' + (f'; filename="{filename}"' if filename is not None else "")
        body += b"--BB\r\nContent-Disposition: " + head.encode("utf-8", "replace") + b"\r\n\r\n" + content + b"\r\n"
    body += b"--BB--\r\n" if close_form else b""
    headers = {"content-type": "multipart/form-data; boundary=BB"}
    check_answer(one_client.post("/predict", content=body, headers=headers))

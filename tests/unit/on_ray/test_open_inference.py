"""The Open Inference Protocol says what /predict says, in JSON and in bytes; what does not fit is told where."""

import base64
import json
import struct

import numpy as np
import pytest

from hybrid_ray.on_ray.serve.contract import Probe, RequestError, Served
from hybrid_ray.on_ray.serve.open_inference import HEADER_LENGTH, Infer, metadata, output_names, read_infer, write_infer
from hybrid_ray.on_ray.serve.rows import RowReader
from hybrid_ray.testing.graphs import toy_batch, toy_graph, toy_rows

ROWS = list(toy_rows(3, seed=2, missing=0.0))


@pytest.fixture(scope="module")
def graph():
    made = toy_graph()
    made.setup()
    return made


@pytest.fixture(scope="module")
def served(graph):
    return Served.of(graph, 4, Probe(toy_batch(ROWS)))


def text_input(name, values):
    return {"name": name, "datatype": "BYTES", "shape": [len(values)], "data": values}


def packed(values):
    return b"".join(struct.pack("<I", len(value)) + value for value in values)


def as_json(batch):
    photos = [base64.b64encode(data).decode() for data in batch["photo"]]
    inputs = [text_input(name, list(batch[name])) for name in ("title", "brand")]
    inputs.append(text_input("photo", photos))
    inputs.append(text_input("listed", [str(when) for when in batch["listed"]]))
    inputs.append({"name": "price", "datatype": "FP64", "shape": [len(photos), 1], "data": batch["price"].tolist()})
    return {"id": "q1", "inputs": inputs}


def as_bytes(batch):
    tensors = {
        "photo": ("BYTES", packed(batch["photo"])),
        "title": ("BYTES", packed([text.encode() for text in batch["title"]])),
        "brand": ("BYTES", packed([text.encode() for text in batch["brand"]])),
        "listed": ("BYTES", packed([str(when).encode() for when in batch["listed"]])),
        "price": ("FP64", batch["price"].astype("<f8").tobytes()),
    }
    inputs = [
        {"name": name, "datatype": kind, "shape": [len(batch["price"])], "parameters": {"binary_data_size": len(data)}}
        for name, (kind, data) in tensors.items()
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    return {HEADER_LENGTH: str(len(head))}, head + b"".join(data for _, data in tensors.values())


def test_both_forms_are_the_rows_that_predict_reads(graph, served):
    batch = toy_batch(ROWS)
    told = json.dumps(as_json(batch)).encode()
    expected = graph.outputs(batch)
    for headers, body in (({}, told), as_bytes(batch)):
        found = RowReader(served).read(read_infer(headers, body, served).rows)
        assert graph.outputs(found) == pytest.approx(expected, abs=1e-6)


def test_answers_are_tensors_of_json(graph, served):
    outputs = graph.outputs(toy_batch(ROWS))
    asked = read_infer({}, json.dumps(as_json(toy_batch(ROWS))).encode(), served)
    body, headers = write_infer(served, outputs, asked)
    answer = json.loads(body)
    assert headers == {"content-type": "application/json"}
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("toy", "4", "q1")
    prediction, proba = answer["outputs"]
    assert (prediction["name"], prediction["datatype"], prediction["shape"]) == ("prediction", "BYTES", [3])
    assert prediction["data"] == graph.labels(outputs)
    assert (proba["datatype"], proba["shape"]) == ("FP64", [3, 3])
    assert np.reshape(proba["data"], (3, 3)) == pytest.approx(outputs)


def test_answers_are_tensors_of_bytes_where_asked(graph, served):
    outputs = graph.outputs(toy_batch(ROWS))
    headers, body = as_bytes(toy_batch(ROWS))
    body, headers = write_infer(served, outputs, read_infer(headers, body, served))
    head = json.loads(body[: int(headers[HEADER_LENGTH])])
    tail = body[int(headers[HEADER_LENGTH]) :]
    sizes = [each["parameters"]["binary_data_size"] for each in head["outputs"]]
    assert sum(sizes) == len(tail)
    assert tail[: sizes[0]] == packed([label.encode() for label in graph.labels(outputs)])
    assert np.array_equal(np.frombuffer(tail[sizes[0] :], "<f8").reshape(3, 3), outputs)


def test_only_what_is_wanted_is_told(graph, served):
    outputs = graph.outputs(toy_batch(ROWS))
    body, _ = write_infer(served, outputs, Infer(None, [], {"proba": False}, False))
    assert [each["name"] for each in json.loads(body)["outputs"]] == ["proba"]
    assert "id" not in json.loads(body)


def test_the_model_is_told(served):
    found = metadata(served)
    assert found["versions"] == ["4"]
    assert {each["name"] for each in found["inputs"]} == set(served.columns)
    assert found["outputs"][1] == {"name": "proba", "datatype": "FP64", "shape": [-1, 3]}
    assert output_names(served) == ["prediction", "proba"]


def test_a_number_that_is_none_is_missing(served):
    body = {"inputs": [{"name": "price", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}]}
    head = json.dumps(body).encode()
    asked = read_infer({HEADER_LENGTH: str(len(head))}, head + np.array([np.nan, 2.5], "<f4").tobytes(), served)
    assert asked.rows == [{"price": None}, {"price": 2.5}]


def price(**changes):
    return {"inputs": [{"name": "price", "datatype": "FP64", "shape": [2], "data": [1.0, 2.0]} | changes]}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{", "must be JSON"),
        (b"[]", "must be an object"),
        (b"{}", "inputs must be a list"),
        (b'{"inputs": [1]}', "inputs must be a list"),
        (price(name="prize"), "must be one of"),
        (price(name=["x"] * 3), "must be one of"),
        (price(datatype="BYTES"), "must be of numbers"),
        (price(datatype=["FP64"]), "must be of numbers"),
        (price(shape=[2, 2]), r"must be \[rows\] or \[rows, 1\]"),
        (price(shape=[-1]), "whole numbers"),
        (price(shape=[True]), "whole numbers"),
        (price(shape="2"), "whole numbers"),
        (price(shape=[10**9]), "at most"),
        (price(data=[1.0]), "the 2 values of the shape; got 1 values"),
        (price(data=None), "got no list"),
        (price(data=[1.0, "x"]), "values of FP64"),
        (price(data=[[1.0], 2.0]), "lists of one depth"),
        (price(parameters={"binary_data_size": 16}), "at most what is left"),
        (price(parameters={"binary_data_size": "x"}), "at most what is left"),
        ({"inputs": price()["inputs"] * 2}, "given once"),
        ({"inputs": [*price()["inputs"], text_input("title", ["a"])]}, "as many rows"),
        ({**price(), "outputs": [{"name": "logits"}]}, "outputs must be of"),
        ({"inputs": [text_input("title", ["a"]) | {"datatype": "FP64", "data": [1.0]}]}, "must be BYTES"),
        ({"inputs": [text_input("title", [3])]}, "values of BYTES"),
    ],
)
def test_what_does_not_fit_is_told(served, body, told):
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(RequestError, match=told) as error:
        read_infer({}, text, served)
    assert error.value.status == 422


@pytest.mark.parametrize(
    ("length", "tail", "told"),
    [
        ("9999", b"", "at most the body"),
        ("-1", b"", "at most the body"),
        ("²", b"", "at most the body"),
        (None, b"\xff\xff\xff\xff", "2 strings"),
        (None, packed([b"a", b"\xff"]), "UTF-8"),
        (None, packed([b"a", b"b"]) + b"more", "4 bytes more"),
    ],
)
def test_bytes_that_do_not_fit_are_told(served, length, tail, told):
    size = 10 if b"more" in tail else len(tail)
    body = {"inputs": [text_input("title", [0, 0]) | {"parameters": {"binary_data_size": size}}]}
    head = json.dumps(body).encode()
    with pytest.raises(RequestError, match=told):
        read_infer({HEADER_LENGTH: length or str(len(head))}, head + tail, served)


def test_series_are_steps_of_one_number_or_several():
    class Held:
        columns = {"x": "series"}
        limits = Served.of(toy_graph(), 1, Probe({})).limits
        n_outputs = 1
        outlook = classes = None

    def rows(shape, data):
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": shape, "data": data}]}
        return [row["x"] for row in read_infer({}, json.dumps(body).encode(), Held).rows]

    assert rows([2, 3], [1, 2, 3, 4, 5, 6]) == [[1, 2, 3], [4, 5, 6]]
    assert rows([1, 2, 2], [[[1, 2], [3, None]]]) == [[[1, 2], [3, None]]]
    assert rows([1, 0, 2], []) == [[]]

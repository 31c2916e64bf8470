"""Sounds in the rows of a request: what is taken, and what is refused with the reason."""

import base64

import numpy as np
import pytest

from hybrid_ray.data.sounds import encode_wav
from hybrid_ray.on_ray.serve.body import parse_multipart
from hybrid_ray.on_ray.serve.contract import Probe, RequestError, Served
from hybrid_ray.on_ray.serve.pipeline import _culprit
from hybrid_ray.on_ray.serve.rows import RowReader, row_model
from hybrid_ray.on_ray.serve.schema import body_schema
from hybrid_ray.spec import ServeSpec

WAV = encode_wav(np.zeros(800), 8000)


@pytest.fixture
def reader():
    limits = ServeSpec(max_sound_s=0.5)
    return RowReader(Served("m", 1, "binary", {"call": "audio"}, ["a", "b"], limits, {}, Probe({})))


@pytest.mark.parametrize("sent", [WAV, base64.b64encode(WAV).decode(), None])
def test_bytes_and_base64_are_taken(reader, sent):
    (cell,) = reader.read([{"call": sent}])["call"]
    assert cell == (None if sent is None else WAV)


def test_data_urls_are_taken(reader):
    (cell,) = reader.read([{"call": "data:audio/wav;base64," + base64.b64encode(WAV).decode()}])["call"]
    assert cell == WAV


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        ("/etc/passwd", "a sound must be base64 or a data: URL"),
        (1.5, "a sound must be base64 text, a data: URL or a form's file; got a number"),
        ("", "a sound must hold bytes; got none"),
        (base64.b64encode(b"no sound").decode(), "a sound must be decodable"),
        (encode_wav(np.zeros(8000), 8000), "a sound must last at most 0.5 seconds; got 1.0"),
    ],
    ids=str,
)
def test_anything_else_is_refused(reader, sent, why):
    with pytest.raises(RequestError) as caught:
        reader.read([{"call": sent}])
    assert caught.value.faults[0].loc == ("body", "rows", 0, "call")
    assert why in caught.value.faults[0].msg


def test_the_schema_says_base64_and_its_example_is_taken(reader):
    cell = row_model({"call": "audio"}).model_json_schema(by_alias=True)["properties"]["call"]
    assert cell["contentEncoding"] == "base64"
    assert reader.read([{"call": cell["examples"][0]}])["call"][0][:4] == b"RIFF"


def test_a_form_takes_files():
    served = Served("m", 1, "binary", {"call": "audio"}, ["a", "b"], ServeSpec(), {}, Probe({}))
    schema = body_schema(served, row_model(served.columns))
    assert schema["multipart/form-data"]["schema"]["properties"]["call"] == {"type": "string", "format": "binary"}
    head, tail = b'--x\r\nContent-Disposition: form-data; name="call"; filename="a.wav"\r\n\r\n', b"\r\n--x--\r\n"
    rows = parse_multipart({"content-type": "multipart/form-data; boundary=x"}, head + WAV + tail, served)
    assert rows == [{"call": WAV}]


def test_the_column_that_cannot_be_decoded_is_named():
    batch = {"a": np.array([WAV], object), "b": np.array([b"no sound"], object), "c": np.array([WAV], object)}
    assert _culprit(batch, dict.fromkeys("abc", "audio"), 0) == "b"

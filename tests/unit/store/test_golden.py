import base64
import io
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from hybrid_ray.data.coerce import coerce
from hybrid_ray.data.sounds import decode_sound, encode_wav
from hybrid_ray.errors import ArtifactError
from hybrid_ray.extractors.base import Extractor
from hybrid_ray.store.golden import FILE_BYTES, make_golden, replay, to_batch, to_cells
from hybrid_ray.testing.graphs import TOY_COLUMNS, ToyTable, png, toy_batch, toy_graph, toy_rows


@pytest.fixture(scope="module")
def graph():
    return toy_graph()


@pytest.fixture(scope="module")
def table():
    return pa.Table.from_pylist(list(toy_rows(50, 5)))


def test_cells_and_batches_are_the_same_rows():
    batch = toy_batch(list(toy_rows(40, 2, missing=0.3)))
    cells = json.loads(json.dumps(to_cells(batch, TOY_COLUMNS)))
    again = to_batch(cells, TOY_COLUMNS)
    for name in TOY_COLUMNS:
        np.testing.assert_array_equal(again[name], batch[name])
        assert again[name].dtype == batch[name].dtype
    assert to_batch([], TOY_COLUMNS)["price"].shape == (0,)


def test_golden_rows_are_answered_as_they_were(graph, table):
    golden = make_golden(graph, table)
    assert (len(golden.rows), golden.mode, golden.tolerance, golden.precision) == (8, "rows", 1e-4, 1e-5)
    replay(graph, golden, "here")
    np.testing.assert_array_equal(golden.outputs, graph.outputs(to_batch(golden.rows, graph.columns)))
    json.dumps(golden.to_json(), allow_nan=False)
    assert len(make_golden(graph, table, rows=3).rows) == 3
    assert len(make_golden(graph, table.slice(0, 2)).rows) == 2


def test_redacted_columns_never_reach_golden_rows(graph, table):
    table = table.set_column(table.column_names.index("title"), "title", pa.array(["secretword"] * 50))
    golden = make_golden(graph, table, redact=["title", "photo"])
    assert all(row["title"] is None and row["photo"] is None for row in golden.rows)
    assert "secretword" not in json.dumps(golden.to_json())
    assert any(row["brand"] is not None for row in golden.rows)
    replay(graph, golden, "here")
    assert golden.outputs != make_golden(graph, table).outputs


def test_synthetic_rows_and_no_rows(graph, table):
    golden = make_golden(graph, None, mode="synthetic", seed=3)
    assert (len(golden.rows), golden.mode) == (8, "synthetic")
    assert golden.rows == make_golden(graph, table, mode="synthetic", seed=3).rows
    replay(graph, golden, "here")
    assert make_golden(graph, table, mode="none") is None
    assert make_golden(graph, None) is None
    assert make_golden(graph, table.slice(0, 0)) is None


def test_columns_that_the_rows_lack_are_missing(graph, table):
    golden = make_golden(graph, table.drop_columns(["photo"]))
    assert all(row["photo"] is None for row in golden.rows)
    replay(graph, golden, "here")


def test_large_sounds_are_kept_short():
    rate = 44_100
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(6 * rate) / rate)
    whole, brief = encode_wav(tone, rate), encode_wav(tone[:100], rate)
    batch = coerce(pa.table({"call": pa.array([whole, brief, b"RIFF", None])}), {"call": "audio"}).batch
    kept = to_batch(to_cells(batch, {"call": "audio"}), {"call": "audio"})["call"]
    assert kept[1] == brief
    assert kept[3] is None
    assert len(kept[0]) <= FILE_BYTES
    shown = decode_sound(kept[0], 16_000, 60)
    assert len(shown) == 4 * 16_000
    assert np.abs(np.fft.rfft(shown)).argmax() / 4 == pytest.approx(440, abs=1)


def test_images_are_kept_by_content_and_large_ones_small(graph, table, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (700, 500, 3), dtype=np.uint8)
    (tmp_path / "large.png").write_bytes(png(noise))
    (tmp_path / "small.png").write_bytes(png(noise[:8, :8]))
    paths = ["large.png", "small.png", "nowhere.png"]
    some = table.slice(0, 3).set_column(table.column_names.index("photo"), "photo", pa.array(paths))
    golden = make_golden(graph, some, base=str(tmp_path))
    cells = [row["photo"] for row in golden.rows]
    assert cells[2] is None
    assert base64.b64decode(cells[1]["base64"]) == (tmp_path / "small.png").read_bytes()
    large = base64.b64decode(cells[0]["base64"])
    assert len(large) <= FILE_BYTES < (tmp_path / "large.png").stat().st_size
    assert max(Image.open(io.BytesIO(large)).size) == 256
    for path in tmp_path.iterdir():
        path.unlink()
    replay(graph, golden, "here")


def test_prices_are_compared_by_their_size():
    graph = toy_graph("regression")
    golden = make_golden(graph, pa.Table.from_pylist(list(toy_rows(20, 5))))
    large = replace(golden, outputs=[[v * 1e6 for v in row] for row in golden.outputs])

    class Million:
        columns = graph.columns

        def __init__(self, error: float) -> None:
            self.error = error

        def outputs(self, batch):
            return graph.outputs(batch) * 1e6 + self.error

    replay(Million(10.0), large, "here")
    with pytest.raises(ArtifactError, match=r"here: golden row \d must give"):
        replay(Million(1000.0), large, "here")


@pytest.mark.parametrize("outputs", [[[0.1, 0.2]] * 8, [[float("nan")] * 3] * 8])
def test_answers_of_another_shape_or_nan_are_refused(graph, table, outputs):
    with pytest.raises(ArtifactError, match="here: golden row"):
        replay(graph, replace(make_golden(graph, table), outputs=outputs), "here")


class Drifting(ToyTable):
    """Features that depend a little on the batch, as in reduced precision."""

    drift = 0.0

    def block(self, prepared):
        block = super().block(prepared)
        return block._replace(values=block.values + np.float32(self.drift * (len(block.present) > 1)))


def drifting(graph, drift):
    extractor = Drifting(ToyTable.Params(), graph.extractors["table"].columns)
    extractor.drift = drift
    extractors: dict[str, Extractor] = graph.extractors | {"table": extractor}
    return replace(graph, extractors=extractors)


def test_the_tolerance_is_that_of_the_precision(graph, table):
    exact, near, far = (make_golden(drifting(graph, d), table) for d in (0.0, 1e-3, 3e-3))
    assert exact.tolerance == 1e-4
    assert 1e-5 < near.precision < far.precision < 0.02
    assert 1e-4 < far.tolerance <= far.precision
    replay(drifting(graph, 3e-3), far, "here")


class Elsewhere(ToyTable):
    """Another machine computes these features a little differently."""

    def counterpart(self, device="cpu"):
        other = Drifting(self.params, self.columns)
        other.drift = 3e-3
        return other


def test_golden_rows_may_be_off_by_what_another_number_format_does(graph, table):
    extractor = Elsewhere(ToyTable.Params(), graph.extractors["table"].columns)
    golden = make_golden(replace(graph, extractors=graph.extractors | {"table": extractor}), table)
    assert golden.precision == 1e-5, "on one machine there is one format"
    rows = to_batch(golden.rows, graph.columns)
    off = np.abs(drifting(graph, 3e-3).outputs(rows) - np.array(golden.outputs)).max()
    assert golden.tolerance == pytest.approx(2 * off)
    replay(drifting(graph, 3e-3), golden, "elsewhere")
    with pytest.raises(ArtifactError, match="elsewhere: golden row"):
        replay(drifting(graph, 9e-3), golden, "elsewhere")


class Straying(Drifting):
    """Features that depend on the batch in one row of many: few golden rows do not show how much."""

    def block(self, prepared):
        block = Extractor.block(self, prepared)
        odd = np.isclose(block.values[:, 0], np.arctan(12.5), atol=1e-4)[:, None]
        crowd = len(block.present) > 1
        return block._replace(values=block.values + np.float32(crowd * np.where(odd, 50 * self.drift, self.drift)))


def test_reduced_precision_is_measured_on_more_rows_than_are_kept(graph, table):
    prices = np.array(table["price"].to_pylist(), float)
    prices[3] = 12.5
    table = table.set_column(table.column_names.index("price"), "price", pa.array(prices))
    extractor = Straying(ToyTable.Params(), graph.extractors["table"].columns)
    extractor.drift = 1e-4
    straying = replace(graph, extractors=graph.extractors | {"table": extractor})
    golden = make_golden(straying, table)
    batch = coerce(table, graph.columns).batch
    together = straying.outputs(batch)
    alone = [straying.outputs({c: v[i : i + 1] for c, v in batch.items()}) for i in range(len(table))]
    off = np.abs(np.concatenate(alone) - together).max(axis=1)
    assert off[3] > 5 * np.delete(off, 3).max()
    assert golden.precision >= off.max()


def test_answers_that_depend_on_the_batch_or_are_not_finite_are_refused(graph, table):
    with pytest.raises(ArtifactError, match=r"toy: outputs of a row by itself and in a batch must agree within 0\.02"):
        make_golden(drifting(graph, 1.0), table)
    with pytest.raises(ArtifactError, match="toy: outputs of golden rows must be finite"):
        make_golden(drifting(graph, np.nan), table)


@pytest.mark.parametrize(
    "row", [{}, {"price": "x"}, {"listed": "tomorrow"}, {"title": 3}, {"photo": "a.png"}, {"photo": {"base64": "é"}}]
)
def test_cells_of_no_kind_are_refused(row):
    columns = {name: TOY_COLUMNS[name] for name in row} or {"price": "numeric"}
    with pytest.raises(ArtifactError, match="must hold a cell of its kind"):
        to_batch([row], columns)

"""Raw columns become arrays of their kind; what does not fit is missing, with a reason that shows no value."""

import base64
import datetime as dt
import math
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_ray.data.columns import CellError, coerce

NOT_A_NUMBER = "not a number"
cells = st.one_of(
    st.none(), st.text(max_size=8), st.integers(-(2**62), 2**62), st.floats(), st.booleans(), st.binary(max_size=8)
)


def is_missing(value):
    return value is None or value != value


def one(values, kind, **options):
    """The coerced column, and its errors as (row, reason)."""
    out = coerce(pa.table({"c": values}), {"c": kind}, **options)
    assert all(error.column == "c" for error in out.errors)
    return out.batch["c"], [(error.row, error.reason) for error in out.errors]


class TestNumeric:
    @pytest.mark.parametrize(
        "values",
        [
            pa.array([1, 2, None]),
            pa.array([1.0, 2.0, math.nan]),
            pa.array(["1", " 2.0 ", "NA"]),
            pa.array(["+1e0", "2.", "?"]),
            pa.array([b"1", b"2", None]),
            pa.array([Decimal("1"), Decimal("2"), None]),
            pa.array([1, 2, None], pa.uint8()),
            pa.array(["1", "2", None]).dictionary_encode(),
            pa.array(["1", "2", ""], pa.large_string()),
            pa.array([1, 2, None], pa.duration("s")),
        ],
        ids=lambda a: str(a.type),
    )
    def test_numbers_however_they_are_stored(self, values):
        column, errors = one(values, "numeric")
        np.testing.assert_array_equal(column, [1, 2, math.nan])
        assert column.dtype == np.float64
        assert errors == []

    def test_what_is_no_number_is_missing(self):
        column, errors = one(["1", "one", "1,5", "0x1", "1_0", "True", "inf", None], "numeric")
        np.testing.assert_array_equal(column, [1, math.nan, math.nan, math.nan, math.nan, 1, math.nan, math.nan])
        assert errors == [(i, NOT_A_NUMBER) for i in (1, 2, 3, 4, 6)]

    def test_infinity_is_missing(self):
        column, errors = one([1.0, math.inf, -math.inf], "numeric")
        np.testing.assert_array_equal(column, [1, math.nan, math.nan])
        assert errors == [(1, "not a finite number"), (2, "not a finite number")]

    def test_booleans_are_one_and_zero(self):
        assert one([True, False, None], "numeric")[0].tolist()[:2] == [1, 0]

    @pytest.mark.parametrize("values", [[[1.0], None], [{"a": 1}, None], [dt.date(2020, 1, 1), None]])
    def test_other_types_are_errors(self, values):
        column, errors = one(values, "numeric")
        assert np.isnan(column).all()
        assert errors == [(0, NOT_A_NUMBER)]


class TestCategorical:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (["a", " a ", "", "  ", None], ["a", "a", None, None, None]),
            ([1, 2, None], ["1", "2", None]),
            ([1.0, 2.5, math.nan], ["1", "2.5", None]),
            (["1.0", "-2.00", "1.50", "01.0"], ["1", "-2", "1.50", "01"]),
            ([True, False, None], ["true", "false", None]),
            (["True", "FALSE", "Trueish"], ["true", "false", "Trueish"]),
            ([b"a", None], ["a", None]),
            (pa.array(["b", None, "b"]).dictionary_encode(), ["b", None, "b"]),
            ([None, None], [None, None]),
            ([dt.date(2020, 1, 2)], ["2020-01-02"]),
        ],
    )
    def test_one_name_for_each_category(self, values, expected):
        column, errors = one(values, "categorical")
        assert column.tolist() == expected
        assert errors == []

    def test_a_category_does_not_depend_on_how_the_file_stores_it(self):
        ways = [pa.array([1, 2]), pa.array([1.0, 2.0]), pa.array(["1", "2"]), pa.array(["1.0", "2.0"])]
        assert {tuple(one(way, "categorical")[0]) for way in ways} == {("1", "2")}

    def test_what_is_no_category_is_missing(self):
        assert one([b"a", b"\xff"], "categorical")[1] == [(1, "not a category: bytes that are no UTF-8")]
        assert one([["a"], None], "categorical")[1] == [(0, "not a category")]


class TestText:
    def test_text_is_kept_as_it_is(self):
        column, errors = one([" a  b\n", "", "\t ", None, "ü"], "text")
        assert column.tolist() == [" a  b\n", None, None, None, "ü"]
        assert errors == []

    def test_other_scalars_are_written_out(self):
        assert one([1, None], "text")[0].tolist() == ["1", None]
        assert one([0.5, math.nan], "text")[0].tolist() == ["0.5", None]

    def test_bytes_must_be_utf8(self):
        column, errors = one(["ä".encode(), b"\xff\xfe"], "text")
        assert column.tolist() == ["ä", None]
        assert errors == [(1, "not text: bytes that are no UTF-8")]


class TestDate:
    DAY = np.datetime64("2021-03-04", "ms")

    @pytest.mark.parametrize(
        "written",
        [
            "2021-03-04", "2021-03-04 00:00", "2021-03-04T00:00:00", "2021-03-04 00:00:00.000", "2021-03-04T00:00:00Z",
            "2021-03-04T02:00:00+02:00", "2021-03-03T22:00:00-0200", "2021/03/04", "2021/03/04 00:00:00", "04.03.2021",
            "Mar 4 2021", "Mar 4, 2021", "March 4, 2021", "4 Mar 2021", "04-Mar-2021", "03/04/2021", " 2021-03-04 ",
        ],
    )  # fmt: skip
    def test_dates_however_they_are_written(self, written):
        column, errors = one([written, None, "", "2021-03-04"], "date")
        assert column.dtype == np.dtype("datetime64[ms]")
        assert errors == []
        assert column[0] == column[3] == self.DAY
        assert np.isnat(column[1:3]).all()

    @pytest.mark.parametrize(
        "values",
        [
            pa.array([dt.date(2021, 3, 4)]),
            pa.array([dt.datetime(2021, 3, 4)]),
            pa.array([dt.datetime(2021, 3, 4)]).cast(pa.timestamp("ns")),
            pa.array([dt.datetime(2021, 3, 4, 2, tzinfo=dt.timezone(dt.timedelta(hours=2)))]),
            pa.array([dt.date(2021, 3, 4)]).cast(pa.date64()),
            pa.array([1614816000]),
            pa.array([1614816000000.0]),
            pa.array([b"2021-03-04"]),
        ],
        ids=lambda a: str(a.type),
    )
    def test_dates_however_they_are_stored(self, values):
        column, errors = one(values, "date")
        assert column.tolist() == [self.DAY.item()]
        assert errors == []

    def test_months_count_from_their_first_day(self):
        assert one(["2021-03"], "date")[0][0] == np.datetime64("2021-03-01", "ms")

    def test_what_is_no_date_is_missing(self):
        column, errors = one(["2021-02-30", "soon", "2021-03-04", None, "31/12/2021"], "date")
        assert np.isnat(column).tolist() == [True, True, False, True, True]
        assert errors == [(0, "not a date"), (1, "not a date"), (4, "not a date")]
        assert one([True], "date")[1] == [(0, "not a date")]
        assert one([1e300, math.nan], "date")[1] == [(0, "not a date")]

    def test_fractions_of_a_second_are_kept_to_the_millisecond(self):
        assert one(["2021-03-04T00:00:00.123456"], "date")[0][0] == self.DAY + np.timedelta64(123, "ms")


class TestImage:
    def test_bytes_paths_urls_and_structs(self):
        assert one([b"abc", b"", None], "image")[0].tolist() == [b"abc", None, None]
        paths = ["a/b.jpg", "./c.png", "/abs.png", "https://x/y.png", "s3://b/z.png", "", None]
        expected = ["/base/a/b.jpg", "/base/c.png", "/abs.png", "https://x/y.png", "s3://b/z.png", None, None]
        assert one(paths, "image", base="/base")[0].tolist() == expected
        assert one(["a.jpg"], "image", base="memory://rows/")[0].tolist() == ["memory://rows/a.jpg"]
        structs = [{"bytes": b"x", "path": "a.jpg"}, {"bytes": None, "path": "a.jpg"}, None]
        assert one(structs, "image", base="/base")[0].tolist() == [b"x", "/base/a.jpg", None]

    def test_data_urls_hold_their_bytes(self):
        url = "data:image/png;base64," + base64.b64encode(b"abc").decode()
        assert one([url, "data:,abc"], "image", base="/base")[0].tolist() == [b"abc", b"abc"]
        for broken in ("data:image/png;base64,%%%", "data:image/png;base64", "data:image/png;base64,"):
            assert one([broken], "image")[1] == [(0, "not an image: a data URL that cannot be read")]

    def test_paths_of_strangers_are_refused(self):
        column, errors = one(["/etc/passwd", "http://inside/x.png", None], "image", paths=False)
        assert column.tolist() == [None] * 3
        assert errors == [(i, "not an image: paths and URLs are not taken here, only bytes") for i in (0, 1)]
        assert one([b"abc"], "image", paths=False)[0].tolist() == [b"abc"]

    def test_numbers_are_no_images(self):
        assert one([1, None], "image")[1] == [(0, "not an image: neither bytes nor a path or URL")]


def test_columns_come_in_the_order_asked_for_and_absent_ones_are_missing():
    out = coerce(pa.table({"b": [1], "a": ["x"]}), {"a": "text", "gone": "numeric", "b": "numeric", "pic": "image"})
    assert list(out.batch) == ["a", "gone", "b", "pic"]
    assert np.isnan(out.batch["gone"][0])
    assert out.batch["pic"][0] is None
    assert out.errors == []


def test_an_empty_table_gives_empty_columns():
    kinds = {"a": "text", "b": "numeric", "c": "categorical", "d": "date", "e": "image"}
    for table in (pa.table({"a": pa.array([], pa.string())}), pa.table({k: pa.array([], pa.string()) for k in kinds})):
        assert all(len(column) == 0 for column in coerce(table, kinds).batch.values())


def test_chunks_do_not_matter():
    chunked = pa.chunked_array([["1"], [], ["x", "3"]])
    column, errors = one(chunked, "numeric")
    np.testing.assert_array_equal(column, [1, math.nan, 3])
    assert errors == [(1, NOT_A_NUMBER)]


@given(values=st.lists(cells, max_size=12), kind=st.sampled_from(["text", "numeric", "categorical", "date", "image"]))
def test_nothing_that_a_column_may_hold_raises(values, kind):
    by_type: dict[type, list] = {}
    for value in values:
        by_type.setdefault(type(value), []).append(value)
    for typed in by_type.values():
        column, errors = one(pa.array(typed), kind)
        assert len(column) == len(typed)
        if kind == "numeric":
            assert not np.isinf(column).any()
        missing = [is_missing(v) for v in column]
        assert all(missing[row] for row, _ in errors)


@given(values=st.lists(st.one_of(st.none(), st.text(max_size=6)), min_size=1, max_size=12), cut=st.integers(0, 12))
@pytest.mark.parametrize("kind", ["text", "numeric", "categorical", "date"])
def test_a_row_means_the_same_in_every_batch(kind, values, cut):
    table = pa.table({"c": pa.array(values, pa.string())})
    whole = coerce(table, {"c": kind})
    parts = [coerce(table.slice(0, cut), {"c": kind}), coerce(table.slice(cut), {"c": kind})]
    np.testing.assert_array_equal(whole.batch["c"], np.concatenate([p.batch["c"] for p in parts]))
    shifted = [CellError(e.row + min(cut, len(values)), e.column, e.reason) for e in parts[1].errors]
    assert whole.errors == parts[0].errors + shifted


@given(values=st.lists(st.text(min_size=1, max_size=9), min_size=1, max_size=6))
def test_reasons_show_no_value(values):
    for kind in ("numeric", "date", "image"):
        _, errors = one(pa.array([v * 3 for v in values]), kind, paths=False)
        assert {reason for _, reason in errors} <= {
            NOT_A_NUMBER, "not a finite number", "not a date",
            "not an image: paths and URLs are not taken here, only bytes",
            "not an image: a data URL that cannot be read",
        }  # fmt: skip


CELLS = {
    "text": st.one_of(
        st.none(), st.text(max_size=6), st.sampled_from(["1.0", " a ", "True", "?", "nan", "1e5", "inf"])
    ),
    "number": st.one_of(st.none(), st.floats(width=64), st.sampled_from([float("inf"), -0.0, 5e-324])),
    "truth": st.one_of(st.none(), st.booleans()),
}
TYPES = {"text": pa.string(), "number": pa.float64(), "truth": pa.bool_()}


@given(st.data())
def test_columns_that_are_taken_together_are_read_as_each_alone(data):
    kinds = data.draw(st.lists(st.sampled_from(["numeric", "categorical", "text", "date"]), min_size=1, max_size=8))
    rows = data.draw(st.integers(0, 4))
    table, columns = {}, {}
    for number, kind in enumerate(kinds):
        stored = data.draw(st.sampled_from(sorted(CELLS)))
        cells = data.draw(st.lists(CELLS[stored], min_size=rows, max_size=rows))
        table[f"c{number}"], columns[f"c{number}"] = pa.array(cells, TYPES[stored]), kind
    whole = coerce(pa.table(table), columns)
    errors = []
    for name, kind in columns.items():
        alone = coerce(pa.table({name: table[name]}), {name: kind})
        np.testing.assert_array_equal(whole.batch[name], alone.batch[name])
        assert whole.batch[name].dtype == alone.batch[name].dtype
        errors += alone.errors
    assert whole.errors == errors
    assert list(whole.batch) == list(columns)

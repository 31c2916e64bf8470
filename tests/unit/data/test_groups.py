"""Groups of the test rows: categories, bands, what is missing, what is redacted, what cannot group."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hybrid_ray.data.groups import MAX_GROUPS, group_rows
from hybrid_ray.data.rows import read_rows
from hybrid_ray.data.source import open_source
from hybrid_ray.errors import DataError, SpecError
from hybrid_ray.infer import resolve_spec
from hybrid_ray.spec import DataSpec, TargetSpec, load_spec

N = 400
TEST = np.arange(N) % 4 == 0


def group(values, **fields):
    data = DataSpec(path="rows.csv", label="y", groups=("g",), **fields)
    (found,) = group_rows(data, pa.table({"g": values}), ~TEST, TEST, "")
    return found


def of_rows(found):
    return [found.labels[code] for code in found.codes]


def test_each_category_is_a_group_and_a_missing_one_is_said():
    values = [None if i % 8 == 0 else "ab"[i % 3 > 0] for i in range(N)]
    found = group(values)
    assert found.labels == ("b", "a", "other values", "missing")
    assert of_rows(found) == [v or "missing" for v in np.array(values, object)[TEST]]


def test_rare_categories_are_put_together():
    names = [f"g{min(i // 20, 25)}" for i in range(N)]
    found = group(names)
    assert len(found.labels) == MAX_GROUPS + 2
    assert found.note == f"the {MAX_GROUPS} largest of 20 values; 8 rarer ones together"
    assert of_rows(found).count("other values") == 40


def test_numbers_are_cut_at_quantiles_of_the_training_rows():
    ages = np.random.default_rng(0).integers(18, 80, N).astype(float)
    ages[TEST] += 500  # what only test rows hold moves no band
    ages[0] = np.nan
    found = group(ages)
    ends = np.quantile(ages[~TEST], [0.25, 0.5, 0.75], method="inverted_cdf").astype(int)
    assert found.labels == (
        f"up to {ends[0]}",
        f"above {ends[0]} to {ends[1]}",
        f"above {ends[1]} to {ends[2]}",
        f"above {ends[2]}",
        "missing",
    )
    assert of_rows(found) == ["missing", *[f"above {ends[2]}"] * (N // 4 - 1)]


def test_a_band_holds_its_upper_end():
    found = group([10 * (i % 40) for i in range(N)], columns={"g": "numeric"})
    assert found.labels[0] == "up to 100"
    values = np.array([10 * (i % 40) for i in range(N)])[TEST]
    assert [label == "up to 100" for label in of_rows(found)] == (values <= 100).tolist()


def test_few_numbers_are_groups_in_their_order():
    assert group([i % 3 for i in range(N)]).labels[:3] == ("0", "1", "2")


def test_dates_are_cut_into_bands_of_days():
    months = 1 + np.arange(N) // 4 % 12
    found = group([f"2024-{month:02d}-03" for month in months])
    first = (np.array(of_rows(found)) == "up to 2024-03-03").tolist()
    assert first == (months[TEST] <= 3).tolist()
    assert found.labels[-2] == "above 2024-09-03"


@pytest.mark.parametrize("values", [[f"name {i % 5}" for i in range(N)], list(range(N))])
def test_a_redacted_column_shows_no_value(values):
    found = group(values, redact=("g",))
    assert "redacted" in found.note
    assert all(label.split()[0] in ("group", "band", "other", "missing") for label in found.labels)
    assert np.array_equal(np.bincount(found.codes), np.bincount(group(values).codes))


def test_groups_that_would_have_one_name_are_numbered():
    assert group(["missing" if i % 2 else "other values" for i in range(N)]).labels == (
        "missing",
        "other values",
        "other values (2)",
        "missing (2)",
    )


@pytest.mark.parametrize(
    ("values", "fields", "message"),
    [
        ([f"row {i}" for i in range(N)], {}, r"whose values many rows share; got 'g' with 300 different values in 300"),
        ([None] * N, {}, "with values in the training rows; got 'g', which has none"),
        (
            [[1, 2]] * N,
            {},
            "categories, numbers or dates; got 'g', a column of images, sounds, series or nodes, or of values",
        ),
    ],
)
def test_what_cannot_group_is_refused(values, fields, message):
    with pytest.raises(DataError, match=rf"^data\.groups: .*{message}"):
        group(values, **fields)


def test_a_column_of_images_is_refused_before_it_is_read(tmp_path):
    spec = spec_of(tmp_path, groups=["sex"], columns={"sex": "image", "x": "numeric"})
    source = replace(open_source(spec.data), pieces=[])
    with pytest.raises(DataError, match=r"^data\.groups: .* got 'sex', a column of images"):
        read_rows(spec.data, TargetSpec(), source, "binary", 3, 0)


def spec_of(tmp_path, **data):
    table = pa.table({"x": np.arange(N) % 7, "sex": ["f" if i % 3 else "m" for i in range(N)], "y": np.arange(N) % 2})
    pq.write_table(table, tmp_path / "rows.parquet")
    return load_spec({"name": "n", "data": {"path": str(tmp_path / "rows.parquet"), "label": "y", **data}})


def test_a_dropped_column_groups_rows_and_is_no_input(tmp_path):
    spec = spec_of(tmp_path, drop=["sex"], groups=["sex"])
    source = open_source(spec.data)
    resolved = resolve_spec(spec, source).spec
    assert list(resolved.data.columns) == ["x"]
    rows = read_rows(resolved.data, TargetSpec(), source, "binary", 3, 0)
    (found,) = rows.groups
    expected = np.array(["f" if i % 3 else "m" for i in range(N)])[rows.test_rows]
    assert of_rows(found) == expected.tolist()


def test_a_column_that_is_not_there_is_named(tmp_path):
    spec = spec_of(tmp_path, groups=["sexx"])
    with pytest.raises(DataError, match=r"data\.groups: must be a column; got 'sexx'\. Did you mean 'sex'\?"):
        open_source(spec.data)


@pytest.mark.parametrize(
    ("groups", "message"),
    [(["y"], "`groups` must not name the label; got 'y'"), (["sex", "sex"], r"each column once; got \['sex'\]")],
)
def test_groups_that_contradict_the_spec_are_refused(tmp_path, groups, message):
    with pytest.raises(SpecError, match=message):
        spec_of(tmp_path, groups=groups)

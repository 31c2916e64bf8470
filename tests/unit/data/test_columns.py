"""Kinds of columns: guessed as a person would, with a reason, and doubt said where there is doubt."""

import datetime as dt
import random

import numpy as np
import pyarrow as pa
import pytest

from hybrid_ray.data.columns import infer_kinds, unreadable
from hybrid_ray.data.images import encode_png
from hybrid_ray.data.sounds import encode_wav
from hybrid_ray.data.source import open_source
from hybrid_ray.spec import DataSpec

N = 400
WORDS = ("river", "stone", "light", "the", "a", "of", "green", "walk", "over", "ten")
PNG = encode_png(np.zeros((2, 2), np.uint8))
WAV = encode_wav(np.zeros(8), 8000)


def guess(values, name="column", **options):
    return infer_kinds(pa.table({name: values}), (), **options)[name]


def repeat(*values):
    return [values[i % len(values)] for i in range(N)]


def sentences(words):
    source = random.Random(0)
    return [" ".join([*source.choices(WORDS, k=words), str(i)]) for i in range(N)]


@pytest.mark.parametrize(
    ("values", "name", "kind"),
    [
        ([0.5 * i for i in range(N)], "area", "numeric"),
        ([str(0.5 * i) for i in range(N)], "area", "numeric"),
        ([i * i % 97 for i in range(N)], "tenure", "numeric"),
        (repeat(True, False), "flag", "categorical"),
        (repeat("yes", "No"), "flag", "categorical"),
        (repeat("red", "green", "blue"), "colour", "categorical"),
        (repeat("Electronic check", "Mailed check by post", "Bank transfer (automatic)"), "payment", "categorical"),
        (repeat(*(f"A{i}" for i in range(11, 17))), "purpose", "categorical"),
        (repeat(85255, 36372, 93446), "zipcode", "categorical"),
        (repeat("85255", "36372", "93446"), "zip", "categorical"),
        (repeat("04109", "01067", "12345"), "place", "categorical"),
        (repeat(767, 1080, 33), "Clothing ID", "categorical"),
        (sentences(12), "review", "text"),
        (sentences(4), "title", "text"),
        ([dt.date(2020, 1, 1) + dt.timedelta(i) for i in range(N)], "day", "date"),
        ([f"2020-01-{i % 28 + 1:02d} 10:00:00" for i in range(N)], "when", "date"),
        ([f"{m} {d} 2020" for d in range(1, 29) for m in ("Jan", "Feb")], "when", "date"),
        ([PNG] * N, "photo", "image"),
        ([{"bytes": PNG, "path": None}] * N, "photo", "image"),
        ([f"photos/{i}.JPG" for i in range(N)], "photo", "image"),
        ([f"https://host/{i}.png?size=2" for i in range(N)], "photo", "image"),
        ([WAV] * N, "call", "audio"),
        ([{"bytes": WAV, "path": None}] * N, "call", "audio"),
        ([{"bytes": None, "path": "a.flac"}] * N, "call", "audio"),
        ([f"calls/{i}.WAV" for i in range(N)], "call", "audio"),
        ([f"https://host/{i}.ogg?size=2" for i in range(N)], "call", "audio"),
        (["data:audio/wav;base64,AAAA"] * N, "call", "audio"),
        ([b"some plain words"] * N, "note", "categorical"),
        (pa.array(repeat("a", "b")).dictionary_encode(), "c", "categorical"),
        (pa.array([1] * N, pa.duration("s")), "took", "numeric"),
    ],
)  # fmt: skip
def test_kinds(values, name, kind):
    found = guess(values, name)
    assert found.kind == kind
    assert found.reason


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ([10_000 + 7 * i for i in range(N)], "id"),
        ([str(10_000 + 7 * i) for i in range(N)], "customerID"),
        (list(range(1, N + 1)), "house"),
        ([f"{i * 7919 % 10000:04d}-VHVEG" for i in range(N)], "customer"),
        ([f"{i:032x}" for i in range(N)], "token"),
        ([str(i) for i in range(N)], "unnamed_0"),
    ],
)
def test_columns_that_number_the_rows_are_said_to_be_ambiguous(values, name):
    found = guess(values, name)
    assert found.id_like
    assert "id-like" in found.ambiguous


@pytest.mark.parametrize(
    "values", [[i * 3.5 for i in range(N)], [i * 1000 for i in range(N)], sentences(8), repeat("a", "b")]
)
def test_what_measures_or_tells_something_is_not_id_like(values):
    assert not guess(values, "amount").id_like


@pytest.mark.parametrize(
    ("values", "name", "doubt"),
    [
        (["x"] * N, "c", "one value in the whole sample"),
        ([7] * N, "c", "one value in the whole sample"),
        ([None] * N, "c", "without a value nothing is known"),
        (["", " "] * N, "c", "without a value nothing is known"),
        ([float("nan")] * N, "c", "without a value nothing is known"),
        (repeat(1, 2, 3, 4), "rating", "categorical if they are codes without order"),
        (repeat("85255", "36372"), "zipcode", "numeric if their size means something"),
        (repeat("01", "02"), "region", "numeric if the zeros mean nothing"),
        (repeat(*range(10)), "fold", "its name says that it numbers folds"),
        (["x1", *map(str, range(N - 1))], "c", "1 of 400 values are no numbers and would be missing"),
        (["soon", *[f"2020-01-{i % 28 + 1:02d}" for i in range(N)]], "c", "1 of 401 values are no dates"),
        ([f"{i % 12 + 1:02d}/{i % 28 + 1:02d}/2020" for i in range(N)], "c", "read as month/day/year"),
        (repeat(*(f"group{i}" for i in range(90))), "source", "data.split.column with kind grouped"),
        (repeat("train", "test", "unused"), "split", "its name says that it divides the rows"),
        ([PNG] * (N - 40) + [b"x" * 20] * 40, "c", "no images"),
        ([WAV] * (N - 40) + [PNG] * 40, "c", "no sounds"),
    ],
)
def test_doubt_is_said(values, name, doubt):
    assert doubt in guess(values, name).ambiguous


def test_a_split_column_and_excluded_columns_are_no_inputs():
    table = pa.table({"a": repeat(0.5, 1.5), "split": repeat("train", "dev", "test"), "y": repeat(0, 1)})
    assert list(infer_kinds(table, ("y",))) == ["a"]


def test_what_no_kind_fits_is_left_out_with_a_reason():
    table = pa.table({"v": [["a"]] * 3, "raw": [b"\xff\xfe\x00"] * 3, "s": [{"x": 1}] * 3, "ok": ["a", "b", "c"]})
    assert list(infer_kinds(table, ())) == ["ok"]
    reasons = unreadable(table)
    assert list(reasons) == ["v", "raw", "s"]
    assert "list<" in reasons["v"]
    assert "neither start like an image or a sound nor are text" in reasons["raw"]


def test_names_of_images_that_are_not_there_are_only_names(tmp_path):
    values = [f"{i}.png" for i in range(N)]
    assert guess(values, base=str(tmp_path)).id_like
    for name in values:
        (tmp_path / name).write_bytes(PNG)
    found = guess(values, base=str(tmp_path))
    assert (found.kind, found.id_like) == ("image", False)


EXPECTED = {
    "houses/houses.parquet": {
        "zipcode": "categorical", "bedrooms": "numeric", "area": "numeric", "price": "numeric",
        "image_frontal": "image", "image_kitchen": "image",
    },
    "telco_churn/telco_churn.csv.gz": {
        "TotalCharges": "numeric", "MonthlyCharges": "numeric", "tenure": "numeric", "Contract": "categorical",
        "PaymentMethod": "categorical", "Partner": "categorical",
    },
    "women_clothing/women_clothing.parquet": {
        "Review Text": "text", "Title": "text", "Class Name": "categorical", "Age": "numeric",
        "Clothing ID": "categorical",
    },
    "fashion_products/fashion_products.parquet": {
        "image": "image", "productDisplayName": "text", "baseColour": "categorical", "articleType": "categorical",
        "year": "numeric",
    },
    "german_credit/german_credit.csv.gz": {
        "checking_status": "categorical", "purpose": "categorical", "credit_amount": "numeric", "age": "numeric",
        "foreign_worker": "categorical",
    },
    "sst2/sst2.parquet": {"text": "text"},
    "sign_digits/sign_digits.parquet": {"image": "image"},
    "blood_cells/blood_cells.parquet": {"image": "image", "box_w": "numeric"},
    "etth1/etth1.parquet": {"date": "date", "OT": "numeric"},
    "stocks/stocks_monthly.csv.gz": {"date": "date", "symbol": "categorical", "price": "numeric"},
    "skab_valve1/skab_valve1.parquet": {"datetime": "date", "Pressure": "numeric"},
}  # fmt: skip
IDS = {
    "houses/houses.parquet": {"house"},
    "telco_churn/telco_churn.csv.gz": {"customerID"},
    "fashion_products/fashion_products.parquet": {"id"},
    "sign_digits/sign_digits.parquet": {"path"},
    "etth1/etth1.parquet": {"split"},
    "skab_valve1/skab_valve1.parquet": {"split"},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_real_tables(shared_data, name):
    source = open_source(DataSpec(path=str(shared_data / name), label="none"), training=False)
    found = infer_kinds(source.sample(), (), source.base)
    assert {column: found[column].kind for column in EXPECTED[name]} == EXPECTED[name]
    assert {column for column, each in found.items() if each.id_like} == IDS.get(name, set())
    assert all(each.reason for each in found.values())

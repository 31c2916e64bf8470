import numpy as np
import pytest

from hybrid_ray.extractors.base import FitContext, build_extractor

CONTEXT = FitContext("binary", 2)


def objects(values):
    column = np.empty(len(values), object)
    column[:] = values
    return column


def days(*values):
    return np.array(values, "datetime64[ms]")


def fitted(batch, kinds, rows=None, **params):
    extractor = build_extractor("tabular", params, kinds)
    prepared = extractor.prepare(batch)
    extractor.fit(prepared if rows is None else prepared.take(rows), None, CONTEXT)
    return extractor


def features(extractor, **columns):
    return extractor.transform(columns).values


def test_missing_numbers_get_the_median_and_a_column_that_says_so():
    x = np.array([1.0, 2.0, 3.0, 4.0, np.nan])
    other = np.arange(5.0)
    extractor = fitted({"x": x, "z": other}, {"x": "numeric", "z": "numeric"}, scale="none")
    values = features(extractor, x=np.array([2.0, np.nan]), z=np.array([0.0, 1.0]))
    np.testing.assert_allclose(values, [[2.0, 0.0, 0.0], [2.5, 1.0, 1.0]])


@pytest.mark.parametrize(
    ("scale", "centre", "spread"), [("standard", 0.0, 1.0), ("robust", 0.0, 1 / 1.349)], ids=["standard", "robust"]
)
def test_numbers_are_centred_and_scaled(scale, centre, spread):
    x = np.random.default_rng(0).normal(1e6, 50.0, 4000)
    values = features(fitted({"x": x}, {"x": "numeric"}, scale=scale), x=x)[:, 0]
    assert np.median(values) == pytest.approx(centre, abs=0.1)
    assert values.std() == pytest.approx(spread, abs=0.05)


@pytest.mark.parametrize("scale", ["standard", "robust", "none"])
def test_far_numbers_keep_their_order_and_stay_finite(scale):
    x = np.random.default_rng(0).normal(size=200)
    x[:4] = [1e300, -1e300, np.inf, -np.inf]
    extractor = fitted({"x": x}, {"x": "numeric"}, scale=scale)
    values = features(extractor, x=np.array([-1e308, -1e9, -5.0, 0.0, 5.0, 1e9, 1e308]))[:, 0]
    assert np.isfinite(values).all()
    assert (np.diff(values) > 0).all()


def test_an_outlier_does_not_flatten_the_rest():
    x = np.append(np.random.default_rng(0).normal(size=999), 1e12)
    values = features(fitted({"x": x}, {"x": "numeric"}), x=x)[:, 0]
    assert values[:-1].std() > 0.5


def test_categories_get_columns_and_unseen_ones_survive():
    colour = objects(["red"] * 6 + ["blue"] * 5 + ["odd"] * 2 + [None] * 2)
    extractor = fitted({"c": colour, "n": np.arange(15.0)}, {"c": "categorical", "n": "numeric"}, scale="none")
    probe = objects(["red", "blue", "odd", "never seen", None])
    values = features(extractor, c=probe, n=np.zeros(5))
    np.testing.assert_array_equal(
        values[:, 1:5], [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    )
    frequency = values[:, 5]
    assert frequency[0] > frequency[1] > frequency[2] > frequency[3]


def test_a_column_of_many_values_stays_narrow():
    rng = np.random.default_rng(0)
    codes = objects([f"c{int(v)}" for v in rng.zipf(1.5, 5000) % 3000])
    extractor = fitted({"c": codes}, {"c": "categorical"}, max_categories=16)
    assert extractor.n_features <= 16 + 3
    assert np.isfinite(features(extractor, c=codes)).all()


def test_dates_become_cycles_and_elapsed_time():
    stamps = days("2020-01-01T00:00", "2020-12-31T12:00", "2021-06-15T18:00", "2022-03-01T06:00", "NaT", "1969-02-03")
    extractor = fitted({"d": stamps}, {"d": "date"})
    kinds = {"d": "date", "n": "numeric"}
    batch = {"d": stamps, "n": np.zeros(6)}
    values = build_extractor("tabular", {}, kinds)
    values.fit(values.prepare(batch), None, CONTEXT)
    with_missing = values.transform(batch).values
    assert np.isfinite(with_missing).all()
    known = extractor.transform({"d": stamps})
    np.testing.assert_array_equal(known.present, [True, True, True, True, False, True])
    # December and January are neighbours on the cycle, June is not; the elapsed days tell the years apart.
    december, january, june = known.values[1], known.values[0], known.values[2]
    cycle = slice(2, None)
    assert np.linalg.norm(december[cycle] - january[cycle]) < np.linalg.norm(june[cycle] - january[cycle])
    elapsed = known.values[[5, 0, 1, 2, 3], 1]
    assert (np.diff(elapsed) > 0).all()


def test_every_part_of_a_date_is_right():
    from hybrid_ray.extractors._tabular import _date_parts

    stamp = days("2023-11-08T18:00").astype(np.int64)  # a Wednesday
    sine, cosine = _date_parts(stamp)[0, :4], _date_parts(stamp)[0, 4:]
    parts = np.mod(np.arctan2(sine, cosine) / (2 * np.pi), 1) * [12, 31, 7, 24]
    np.testing.assert_allclose(parts, [10, 7, 2, 18], atol=1e-9)


def test_columns_that_never_vary_are_left_out():
    batch = {"x": np.ones(9), "c": objects(["a"] * 9), "z": np.arange(9.0)}
    extractor = fitted(batch, {"x": "numeric", "c": "categorical", "z": "numeric"})
    assert extractor.n_features == 1
    alone = fitted({"x": np.ones(9)}, {"x": "numeric"})
    assert alone.n_features == 1
    assert np.isfinite(features(alone, x=np.array([1.0, 2.0]))).all()


def test_only_training_rows_are_learned_from():
    x = np.arange(10.0)
    colours = objects(["a"] * 5 + ["b"] * 5)
    kinds = {"x": "numeric", "c": "categorical"}
    part = fitted({"x": x, "c": colours}, kinds, rows=np.arange(5))
    alone = fitted({"x": x[:5], "c": colours[:5]}, kinds)
    np.testing.assert_array_equal(features(part, x=x, c=colours), features(alone, x=x, c=colours))


def test_nothing_but_missing_cells_can_be_learned_from():
    batch = {"x": np.full(4, np.nan), "c": objects([None] * 4), "d": days(*["NaT"] * 4)}
    extractor = fitted(batch, {"x": "numeric", "c": "categorical", "d": "date"})
    block = extractor.transform({"x": np.array([1.0]), "c": objects(["a"]), "d": days("2020-01-01")})
    assert np.isfinite(block.values).all()
    assert block.present.all()


def test_many_rows_are_encoded_in_a_moment():
    import time

    n = 200_000
    rng = np.random.default_rng(0)
    batch = {
        "x": rng.normal(size=n),
        "c": objects(np.array(["red", "green", "blue"], object)[rng.integers(0, 3, n)]),
        "d": days("2020-01-01") + rng.integers(0, 10**10, n).astype("timedelta64[ms]"),
    }
    extractor = fitted(batch, {"x": "numeric", "c": "categorical", "d": "date"}, rows=np.arange(5000))
    start = time.process_time()
    extractor.transform(batch)
    assert time.process_time() - start < 5.0

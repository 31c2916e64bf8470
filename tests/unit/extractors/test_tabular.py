import numpy as np
import pytest

from hybrid_ray.errors import BadInputError
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


@pytest.mark.parametrize(
    ("impute", "expected"), [("median", 3.0), ("mean", 4.0), ("most_frequent", 2.0), ("constant", -7.0)]
)
def test_a_missing_number_becomes_what_was_asked_for(impute, expected):
    x = np.array([2.0, 2.0, 3.0, 4.0, 9.0, np.nan])
    extractor = fitted({"x": x}, {"x": "numeric"}, scale="none", impute=impute, constant=-7.0, indicator=False)
    batch = {"x": np.array([np.nan, 9.0]), "other": np.zeros(2)}
    both = fitted(
        {"x": x, "other": np.arange(6.0)},
        {"x": "numeric", "other": "numeric"},
        scale="none",
        impute=impute,
        constant=-7.0,
        indicator=False,
    )
    assert extractor.n_features == 1
    np.testing.assert_allclose(features(both, **batch)[:, 0], [expected, 9.0], rtol=1e-6)


@pytest.mark.parametrize("impute", ["knn", "iterative"])
def test_missing_numbers_are_told_from_the_other_columns(impute):
    rng = np.random.default_rng(0)
    a = rng.normal(size=600)
    batch = {"a": 100 + 20 * a, "b": 5 - 2 * a + 0.1 * rng.normal(size=600), "c": rng.normal(size=600)}
    truth = batch["b"][::7].copy()
    batch["b"][::7] = np.nan
    kinds = dict.fromkeys(batch, "numeric")
    extractor = fitted(batch, kinds, scale="none", impute=impute, indicator=False)
    guessed = features(extractor, **batch)[::7, 1]
    assert np.abs(guessed - truth).mean() < (0.6 if impute == "knn" else 0.2)
    assert np.abs(np.nanmedian(batch["b"]) - truth).mean() > 1.2
    lone = features(extractor, a=np.array([np.nan]), b=np.array([1.0]), c=np.array([np.nan]))
    assert np.isfinite(lone).all()


def test_a_missing_date_is_no_constant():
    stamps = days("2020-01-01", "2020-06-01", "2020-12-01", "NaT")
    batch = {"d": stamps, "x": np.arange(4.0)}
    extractor = fitted(batch, {"d": "date", "x": "numeric"}, impute="constant", scale="none", dates="elapsed")
    elapsed = features(extractor, **batch)[:, 1]
    assert elapsed[3] == pytest.approx(np.median(elapsed[:3]))


def test_outliers_are_clipped_when_that_is_asked():
    x = np.random.default_rng(0).normal(size=1000)
    values = features(fitted({"x": x}, {"x": "numeric"}, scale="none", clip=0.05), x=np.array([-50.0, 0.0, 50.0]))
    np.testing.assert_allclose(values[:, 0], [np.quantile(x, 0.05), 0.0, np.quantile(x, 0.95)], rtol=1e-5)


@pytest.mark.parametrize("scale", ["log", "quantile"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_skewed_numbers_become_even_in_their_order(scale, sign):
    x = sign * np.random.default_rng(0).lognormal(8.0, 1.5, 2000)
    values = features(fitted({"x": x}, {"x": "numeric"}, scale=scale), x=x)[:, 0]
    assert abs((((values - values.mean()) / values.std()) ** 3).mean()) < 0.9
    assert (np.diff(values[np.argsort(x)]) >= 0).all()
    far = features(fitted({"x": x}, {"x": "numeric"}, scale=scale), x=np.array([-1e300, 0.0, 1e300]))[:, 0]
    assert np.isfinite(far).all()
    assert (np.diff(far) >= 0).all()


def test_a_logarithm_is_taken_of_skewed_numbers_only():
    x = np.random.default_rng(0).normal(size=500)
    logged, plain = (fitted({"x": x}, {"x": "numeric"}, scale=scale) for scale in ("log", "standard"))
    np.testing.assert_array_equal(features(logged, x=x), features(plain, x=x))


def test_categories_have_a_place_in_their_order():
    sizes = objects(["10"] * 5 + ["9"] * 5 + ["100"] * 5 + ["odd"] * 2)
    extractor = fitted({"c": sizes}, {"c": "categorical"}, encode="ordinal", min_count=3)
    places = features(extractor, c=objects(["9", "10", "100", "odd", "unseen"]))[:, 0]
    np.testing.assert_allclose(places, [0.0, 0.5, 1.0, -0.5, -0.5])
    batch = {"c": sizes, "x": np.arange(17.0)}
    both = fitted(batch, {"c": "categorical", "x": "numeric"}, encode="ordinal", scale="none")
    assert features(both, c=objects([None]), x=np.zeros(1))[0, 1] == -1.0


def test_categories_are_told_by_how_often_they_are_seen():
    colour = objects(["red"] * 8 + ["blue"] * 2)
    values = features(
        fitted({"c": colour}, {"c": "categorical"}, encode="frequency"), c=objects(["red", "blue", "unseen"])
    )
    np.testing.assert_allclose(values[:, 0], np.log([0.8, 0.2, 0.05]), rtol=1e-5)


@pytest.mark.parametrize(("dates", "width"), [("all", 11), ("cycles", 9), ("elapsed", 3)])
def test_of_dates_comes_what_was_asked_for(dates, width):
    stamps = days("2020-01-01T03:00", "2020-12-31T12:00", "2021-06-15T18:00", "2022-03-09T06:00", "NaT")
    batch = {"d": stamps, "x": np.arange(5.0)}
    extractor = fitted(batch, {"d": "date", "x": "numeric"}, dates=dates)
    assert extractor.n_features == width + 1


def shops(n=2000, seed=0):
    """Shops of many names, some of which sell: the label of a row is that of its shop, but for a tenth."""
    rng = np.random.default_rng(seed)
    shop = rng.integers(0, 300, n)
    y = np.where(rng.random(n) < 0.1, 1, 0) ^ (shop % 3 == 0)
    return {"shop": objects([f"s{s}" for s in shop])}, y.astype(np.int64)


def target_fitted(batch, y, task="binary", n_outputs=2, **params):
    extractor = build_extractor("tabular_target", params, {"shop": "categorical"})
    prepared = extractor.prepare(batch)
    context = FitContext(task, n_outputs, seed=3)
    extractor.fit(prepared, y, context)
    return extractor, extractor.cross_fitted(prepared, y, context)


def test_categories_of_many_values_are_told_by_their_labels():
    batch, y = shops()
    extractor, own = target_fitted(batch, y)
    fresh, truth = shops(seed=1)
    values = features(extractor, **fresh)[:, 0]
    assert values[truth == 1].mean() - values[truth == 0].mean() > 0.2
    unseen = features(extractor, shop=objects(["never"]))[0, 0]
    assert unseen == pytest.approx(y.mean(), abs=1e-6)
    assert own.values.shape == (len(y), 1)


def test_training_rows_are_no_more_telling_than_new_ones():
    """Labels that nothing explains: a mean that holds the row's own label tells it, a cross-fitted one does not."""
    batch, _ = shops(1200)
    y = np.random.default_rng(5).integers(0, 2, 1200)
    extractor, own = target_fitted(batch, y, smoothing=0.0)
    leaking = np.corrcoef(features(extractor, **batch)[:, 0], y)[0, 1]
    assert leaking > 0.3
    assert abs(np.corrcoef(own.values[:, 0], y)[0, 1]) < 0.1


def test_each_class_and_each_number_has_its_mean():
    batch, _ = shops(900)
    rng = np.random.default_rng(0)
    three, _ = target_fitted(batch, rng.integers(0, 3, 900), "multiclass", 3)
    np.testing.assert_allclose(features(three, **batch).sum(axis=1), 1.0, atol=1e-5)
    number, own = target_fitted(batch, np.exp(rng.normal(size=900) * 3), "regression", 1)
    assert features(number, **batch).shape == own.values.shape == (900, 1)


def test_without_labels_there_are_no_means():
    extractor = build_extractor("tabular_target", {}, {"shop": "categorical"})
    batch, _ = shops(20)
    with pytest.raises(BadInputError, match=r"tabular_target: needs labels; got none\. Use tabular"):
        extractor.fit(extractor.prepare(batch), None, CONTEXT)


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


@pytest.mark.parametrize("dates", ["all", "cycles", "elapsed"])
@pytest.mark.parametrize("encode", ["one_hot", "ordinal", "frequency"])
def test_it_knows_what_its_features_are_made_of(encode, dates):
    """Another value of one column changes features of that column alone, each of them as its role says."""
    rng = np.random.default_rng(0)
    kinds = {"c": "categorical", "d": "date", "x": "numeric", "e": "date", "z": "numeric"}
    batch = {
        "c": objects(rng.choice(["a", "b", "b", "rare"], 60)),
        "d": days("2020-01-01") + rng.integers(0, 9e10, 60).astype("timedelta64[ms]"),
        "x": rng.normal(size=60),
        "e": days("2022-01-01") + rng.integers(0, 9e10, 60).astype("timedelta64[ms]"),
        "z": rng.normal(size=60),
    }
    for column, gone in (("c", None), ("e", "NaT"), ("z", np.nan)):
        batch[column][::7] = gone
    extractor = fitted(batch, kinds, encode=encode, dates=dates, max_categories=2)
    layout, values = extractor.layout(), extractor.transform(batch).values
    assert len(layout.roles) == len(layout.columns) == extractor.n_features
    assert set(np.unique(values[:, layout.where("flag", "value")])) == {0, 1}
    assert np.abs(values[:, layout.where("cycle")]).max(initial=0) <= 1
    for place, column in enumerate(kinds):
        changed = extractor.transform({**batch, column: batch[column][::-1]}).values
        assert set(layout.columns[(changed != values).any(axis=0)]) == {place}
    arrays = extractor.prepare(batch).arrays
    expected = [[cell is None for cell in batch["c"]], *(batch[c] != batch[c] for c in "dxez")]
    np.testing.assert_array_equal(extractor.missing(arrays), np.transpose(expected))
    if encode == "one_hot":
        (codes,), (size,) = extractor.codes(arrays).T, extractor.sizes()
        assert size == 4
        np.testing.assert_array_equal(codes == 3, [cell is None for cell in batch["c"]])


def test_a_group_tells_nothing_of_its_own_rows():
    """Each shop is in one group: cross-fitted, it is as unseen as in rows of other groups."""
    batch, y = shops(900)
    groups = np.array([int(name[1:]) for name in batch["shop"]]) % 50
    extractor = build_extractor("tabular_target", {}, {"shop": "categorical"})
    prepared = extractor.prepare(batch)
    own = {}
    for name, context in {
        "rows": FitContext("binary", 2, seed=3),
        "groups": FitContext("binary", 2, seed=3, groups=groups),
    }.items():
        extractor.fit(prepared, y, context)
        values = extractor.cross_fitted(prepared, y, context).values[:, 0]
        own[name] = values[y == 1].mean() - values[y == 0].mean()
    assert own["rows"] > 0.1
    assert own["groups"] < 0.02

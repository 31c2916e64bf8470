import numpy as np
import pytest

from hybrid_ray.errors import ArtifactError, NotFittedError
from hybrid_ray.fusion.concat import Concat, ConcatParams
from hybrid_ray.types import Block, State


def block(n=200, d=5, seed=0, absent=()):
    rng = np.random.default_rng(seed)
    values = (rng.normal(size=(n, d)) * (1 + np.arange(d)) + 10).astype(np.float32)
    present = np.ones(n, bool)
    present[list(absent)] = False
    values[~present] = 0
    return Block(values, present)


def fit(blocks, **params):
    return Concat(ConcatParams(**params)).fit(blocks, None, "regression", seed=0)


def test_columns_get_mean_0_and_variance_1():
    matrix = fit({"a": block()}).combine({"a": block()})
    np.testing.assert_allclose(matrix.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(matrix.std(axis=0), 1, atol=1e-5)


def test_absent_rows_are_left_out_of_the_moments_and_become_zeros_with_an_indicator():
    blocks = {"a": block(absent=range(0, 200, 2))}
    matrix = fit(blocks).combine(blocks)
    assert matrix.shape == (200, 6)
    np.testing.assert_array_equal(matrix[::2], 0)
    np.testing.assert_allclose(matrix[1::2, :5].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(matrix[1::2, :5].std(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(matrix[1::2, 5], 1)


def test_rows_that_are_first_absent_at_prediction_are_the_mean():
    fusion = fit({"a": block()})
    assert fusion.combine({"a": block(absent=[3])}).shape == (200, 5)
    np.testing.assert_array_equal(fusion.combine({"a": block(absent=[3])})[3], 0)


def test_a_block_that_no_training_row_has_says_nothing():
    blocks = {"a": block(), "b": block(d=3, absent=range(200))}
    matrix = fit(blocks, pca=2).combine({"a": block(), "b": block(d=3, seed=4)})
    assert matrix.shape == (200, 3)
    np.testing.assert_array_equal(matrix[:, 2], 1)


def test_block_scale_keeps_the_columns_relative_to_each_other():
    matrix = fit({"a": block(n=5000)}, scale="block").combine({"a": block(n=5000)})
    deviations = matrix.std(axis=0)
    np.testing.assert_allclose(deviations / deviations[0], 1 + np.arange(5), rtol=0.05)
    np.testing.assert_allclose(np.square(deviations).mean(), 1, rtol=1e-3)


def test_constant_columns_stay_zero_whatever_comes_later():
    training = block()
    training.values[:, 1] = 1e7
    training.values[:, 2] = 0
    fusion = fit({"a": training})
    later = block(seed=1)
    later.values[:, 1:3] = 123.0
    np.testing.assert_array_equal(fusion.combine({"a": later})[:, 1:3], 0)


def test_components_are_capped_by_the_parameter_the_rows_and_the_columns():
    wide = {"a": block(n=40, d=30), "b": block(n=40, d=4)}
    assert fit(wide, pca=8).combine(wide).shape == (40, 12)
    few = {"a": block(n=5, d=30)}
    assert fit(few, pca=8).combine(few).shape == (5, 5)
    narrow = {"b": block(d=4)}
    np.testing.assert_array_equal(fit(narrow, pca=4).combine(narrow), fit(narrow).combine(narrow))


def test_components_of_a_block_weigh_as_much_as_a_block_that_is_kept():
    blocks = {"a": block(n=500, d=40), "b": block(n=500, d=6)}
    matrix = fit(blocks, pca=10).combine(blocks)
    np.testing.assert_allclose(np.square(matrix[:, :10]).mean(), 1, rtol=1e-3)
    # Largest variance first.
    assert (np.diff(matrix[:, :10].std(axis=0)) <= 1e-4).all()


def test_spans_say_which_columns_are_whose():
    fusion = fit({"b": block(d=4), "a": block(n=200, d=30, absent=[1])}, pca=8)
    assert fusion.spans == {"a": slice(0, 9), "b": slice(9, 13)}


def test_moments_of_many_rows_are_exact():
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(9001, 2)) + np.array([50, -2000])).astype(np.float32)
    matrix = fit({"a": Block(values, np.ones(9001, bool))}).combine({"a": Block(values, np.ones(9001, bool))})
    exact = values.astype(np.float64)
    np.testing.assert_allclose(matrix, (exact - exact.mean(axis=0)) / exact.std(axis=0), atol=2e-4)


def test_what_cannot_be_combined_is_refused():
    with pytest.raises(NotFittedError, match="fit must come before combine"):
        Concat(ConcatParams()).combine({"a": block()})
    with pytest.raises(ValueError, match="must be 5 wide, as in training; got 7"):
        fit({"a": block()}).combine({"a": block(d=7)})
    with pytest.raises(KeyError, match=r"missing \['a'\]"):
        fit({"a": block()}).combine({"b": block()})


def test_a_state_that_lacks_a_part_is_refused():
    state = fit({"a": block(d=9)}, pca=3).get_state()
    del state.tensors["axes.0"]
    with pytest.raises(ArtifactError, match=r"missing 'axes\.0'"):
        Concat.from_state(ConcatParams(pca=3), state)
    with pytest.raises(ArtifactError, match="must hold all of each block"):
        Concat.from_state(ConcatParams(), State())


class Fixed:
    """A trial that gives one value."""

    def __init__(self, **values):
        self.values = values
        self.asked = []

    def suggest_categorical(self, name, choices):
        self.asked.append((name, tuple(choices)))
        return self.values[name]


def test_components_are_only_searched_for_wide_blocks_and_always_with_the_same_choices():
    assert Concat.space(Fixed(scale="block"), {"a": 10}) == {"scale": "block"}
    trials = [Fixed(scale="column", pca=128, whiten="pca") for _ in range(2)]
    assert Concat.space(trials[0], {"a": 100}) == {"scale": "column", "pca": None, "whiten": "pca"}
    assert Concat.space(trials[1], {"a": 1280}) == {"scale": "column", "pca": 128, "whiten": "pca"}
    assert trials[0].asked == trials[1].asked
    assert Concat.space(Fixed(scale="column", pca=None), {"a": 1280}) == {"scale": "column", "pca": None}


def test_what_blocks_weigh_is_searched_where_there_are_several():
    assert Concat.space(Fixed(scale="block", balance="blocks"), {"a": 10, "b": 64}) == {
        "scale": "block",
        "balance": "blocks",
    }


@pytest.mark.parametrize("dims", [{"a": 9}, {"a": 9, "b": 5}, {"a": 1280}, {"a": 1280, "b": 5}, {"a": 100, "b": 90}])
def test_the_starts_are_points_of_the_space_the_plain_one_first(dims):
    starts = Concat.portfolio(dims)
    assert all(Concat.space(Fixed(**start), dims) == start for start in starts)
    assert len({tuple(sorted(start.items(), key=str)) for start in starts}) == len(starts)
    ways = {name: {start.get(name) for start in starts} for name in ("balance", "pca", "whiten")}
    assert ways["balance"] == ({"columns", "blocks"} if len(dims) > 1 else {None})
    assert ways["pca"] == (
        {None, 64, 128} if max(dims.values()) > 128 else {None, 64} if max(dims.values()) > 64 else {None}
    )
    assert Concat.Params(**starts[0]) == ConcatParams()


class TestWhitening:
    def mixed(self, n=4000):
        rng = np.random.default_rng(0)
        values = rng.normal(size=(n, 6)) @ rng.normal(size=(6, 6)) + 3
        return {"a": Block(values.astype(np.float32), np.ones(n, bool))}

    @pytest.mark.parametrize("way", ["pca", "zca"])
    @pytest.mark.parametrize("scale", ["column", "block", "none"])
    def test_columns_become_uncorrelated_and_of_one_variance(self, way, scale):
        blocks = self.mixed()
        matrix = fit(blocks, whiten=way, scale=scale, shrinkage=0.0).combine(blocks)
        np.testing.assert_allclose(matrix.T @ matrix / len(matrix), np.eye(6), atol=2e-3)

    def test_zca_is_the_inverse_root_of_the_correlation(self):
        blocks = self.mixed()
        plain = fit(blocks).combine(blocks).astype(np.float64)
        values, vectors = np.linalg.eigh(plain.T @ plain / len(plain))
        found = fit(blocks, whiten="zca", shrinkage=0.0).combine(blocks)
        np.testing.assert_allclose(found, plain @ (vectors / np.sqrt(values)) @ vectors.T, atol=1e-2)

    def test_shrinkage_leads_from_whitened_to_plain_components(self):
        blocks = self.mixed()
        ratios = []
        for shrinkage in (0.0, 0.5, 1.0):
            deviations = fit(blocks, whiten="pca", shrinkage=shrinkage).combine(blocks).std(axis=0)
            ratios.append(deviations[-1] / deviations[0])
        assert ratios[0] == pytest.approx(1.0, abs=1e-2)
        assert ratios[0] > ratios[1] > ratios[2]
        plain = fit(blocks).combine(blocks)
        roots = np.sqrt(np.linalg.eigvalsh(plain.T @ plain))
        assert ratios[2] == pytest.approx(roots[0] / roots[-1], rel=1e-2)

    def test_the_estimated_shrinkage_keeps_few_rows_from_blowing_up_chance(self):
        rng = np.random.default_rng(0)
        few = {"a": Block(rng.normal(size=(40, 30)).astype(np.float32), np.ones(40, bool))}
        fresh = {"a": Block(rng.normal(size=(2000, 30)).astype(np.float32), np.ones(2000, bool))}
        spreads = [fit(few, whiten="pca", shrinkage=s).combine(fresh).std(axis=0) for s in (0.0, None)]
        assert spreads[0].max() / spreads[0].min() > 3 * spreads[1].max() / spreads[1].min()

    def test_a_block_of_low_rank_is_whitened_within_it(self):
        rng = np.random.default_rng(0)
        values = (rng.normal(size=(300, 2)) @ rng.normal(size=(2, 9))).astype(np.float32)
        blocks = {"a": Block(values, np.ones(300, bool))}
        for way in ("pca", "zca"):
            assert np.abs(fit(blocks, whiten=way, shrinkage=0.0).combine(blocks)).max() < 20


def test_blocks_of_one_weight_and_a_weight_of_its_own():
    blocks = {"a": block(d=30), "b": block(d=4, seed=1)}
    for extra in ({}, {"whiten": "zca"}, {"pca": 3}):
        fusion = fit(blocks, balance="blocks", each={"b": {"weight": 3.0}}, **extra)
        matrix = fusion.combine(blocks)
        totals = {name: np.square(matrix[:, span]).mean(axis=0).sum() for name, span in fusion.spans.items()}
        assert totals["a"] == pytest.approx(1.0, rel=1e-2)
        assert totals["b"] == pytest.approx(9.0, rel=1e-2)


def test_a_block_may_be_treated_otherwise():
    blocks = {"a": block(d=30), "b": block(d=8, seed=1)}
    own = {"a": {"pca": 5, "scale": "block"}, "gone": {"pca": 2}}
    fusion = fit(blocks, each=own)
    assert fusion.spans == {"a": slice(0, 5), "b": slice(5, 13)}
    together = fusion.combine(blocks)
    np.testing.assert_array_equal(together[:, :5], fit({"a": blocks["a"]}, pca=5, scale="block").combine(blocks))
    np.testing.assert_array_equal(together[:, 5:], fit({"b": blocks["b"]}).combine(blocks))


def test_rows_of_one_length_before_anything_is_learned():
    raw = block()
    told = fit({"a": raw}, normalize="unit", scale="none").combine({"a": raw})
    lengths = np.linalg.norm(raw.values, axis=1, keepdims=True)
    expected = raw.values / lengths
    np.testing.assert_allclose(told, expected - expected.mean(axis=0), atol=1e-5)
    longer = Block(raw.values * 7, raw.present)
    fusion = fit({"a": raw}, normalize="unit")
    np.testing.assert_allclose(fusion.combine({"a": longer}), fusion.combine({"a": raw}), atol=1e-4)


def test_the_power_is_a_root_under_its_sign():
    values = np.array([[4.0, -9.0], [-16.0, 1.0], [0.0, 0.0]], np.float32)
    raw = Block(values, np.ones(3, bool))
    told = fit({"a": raw}, normalize="power", scale="none").combine({"a": raw})
    roots = np.array([[2.0, -3.0], [-4.0, 1.0], [0.0, 0.0]])
    expected = roots / np.array([[13.0], [17.0], [1.0]]) ** 0.5
    np.testing.assert_allclose(told, expected - expected.mean(axis=0), atol=1e-6)


def test_one_block_may_be_normalised_alone_and_a_saved_fusion_does_the_same():
    blocks = {"a": block(), "b": block(seed=1, absent=[5])}
    fusion = fit(blocks, each={"a": {"normalize": "power"}}, pca=3)
    plain = fit(blocks, pca=3)
    spans = fusion.spans
    assert not np.allclose(fusion.combine(blocks)[:, spans["a"]], plain.combine(blocks)[:, spans["a"]], atol=1e-2)
    np.testing.assert_array_equal(fusion.combine(blocks)[:, spans["b"]], plain.combine(blocks)[:, spans["b"]])
    again = Concat.from_state(fusion.params, fusion.get_state())
    np.testing.assert_array_equal(again.combine(blocks), fusion.combine(blocks))


def test_a_fusion_that_was_saved_before_rows_were_normalised_loads():
    state = fit({"a": block()}).get_state()
    del state.meta["blocks"][0]["normalize"]
    again = Concat.from_state(ConcatParams(), state)
    np.testing.assert_array_equal(again.combine({"a": block()}), fit({"a": block()}).combine({"a": block()}))

"""Selection, products and canonical correlation of blocks."""

import numpy as np
import pytest
from sklearn.cross_decomposition import CCA
from sklearn.feature_selection import mutual_info_classif
from sklearn.linear_model import LogisticRegression

from hybrid_ray.errors import ArtifactError, NotFittedError
from hybrid_ray.fusion.bilinear import Bilinear, BilinearParams
from hybrid_ray.fusion.canonical import Canonical, CanonicalParams
from hybrid_ray.fusion.concat import Concat, ConcatParams
from hybrid_ray.fusion.information import mutual_information
from hybrid_ray.fusion.selected import Selected, SelectedParams
from hybrid_ray.testing.estimators import stored
from hybrid_ray.testing.feature_fusions import toy_blocks
from hybrid_ray.types import Block, State


def block(values, present=None):
    return Block(np.ascontiguousarray(values, np.float32), np.ones(len(values), bool) if present is None else present)


class TestSelected:
    def test_columns_that_tell_the_label_are_kept(self):
        rng = np.random.default_rng(0)
        y = rng.integers(3, size=900)
        noise = rng.normal(size=(900, 18))
        curved = (y - 1.0) ** 2 + 0.3 * rng.normal(size=900)  # no line shows it
        inputs = {"a": block(np.column_stack([noise[:, :9], y + rng.normal(size=900)])), "b": block(noise[:, 9:])}
        inputs["c"] = block(curved[:, None])
        fusion = Selected(SelectedParams(share=0.1)).fit(inputs, y, "multiclass")
        assert fusion._columns.tolist() == [9, 19]
        np.testing.assert_array_equal(
            fusion.combine(inputs), Concat(ConcatParams()).fit(inputs, y, "multiclass").combine(inputs)[:, [9, 19]]
        )

    @pytest.mark.parametrize("classes", [2, 3])
    def test_the_estimate_ranks_as_scikit_learns(self, classes):
        rng = np.random.default_rng(1)
        y = rng.integers(classes, size=3000)
        X = rng.normal(size=(3000, 8)) + np.linspace(0, 2, 8) * y[:, None]
        ours, theirs = mutual_information(X, y), mutual_info_classif(X, y, random_state=0)
        np.testing.assert_allclose(ours, theirs, atol=0.05)
        assert np.abs(ours[0]) < 0.01

    def test_a_numeric_label_is_cut_into_parts(self):
        rng = np.random.default_rng(0)
        y = rng.normal(size=2000)
        X = np.column_stack([rng.normal(size=2000), y + rng.normal(size=2000), np.abs(y)])
        found = mutual_information(X, y)
        assert found[2] > found[1] > found[0] + 0.1

    def test_a_column_of_many_values_has_no_advantage_over_one_of_two(self):
        rng = np.random.default_rng(0)
        y = rng.integers(5, size=300)
        X = np.column_stack([rng.normal(size=(300, 200)), rng.integers(2, size=(300, 200))])
        found = mutual_information(X, y)
        assert abs(found[:200].mean() - found[200:].mean()) < 0.02


class TestBilinear:
    def test_products_show_a_linear_model_what_only_goes_together(self):
        rng = np.random.default_rng(0)
        a, b = rng.normal(size=(2000, 3)), rng.normal(size=(2000, 2))
        y = (a[:, 0] * b[:, 0] > 0).astype(int)
        inputs = {"a": block(a), "b": block(b)}
        scores = []
        for fusion in (Concat(ConcatParams()), Bilinear(BilinearParams(rank=24))):
            fusion.fit({name: each.take(slice(0, 1500)) for name, each in inputs.items()}, y[:1500], "binary")
            X = fusion.combine(inputs)
            scores.append(LogisticRegression().fit(X[:1500], y[:1500]).score(X[1500:], y[1500:]))
        assert scores[0] < 0.6
        assert scores[1] > 0.9

    def test_products_are_standardised_and_zero_where_a_block_is_missing(self):
        inputs = toy_blocks(n=200)
        fusion = Bilinear(BilinearParams(pca=4, rank=8)).fit(inputs, None, "regression")
        products = fusion.combine(inputs)[:, -24:]  # three pairs
        both = inputs["image"].present & inputs["table"].present
        assert (products[~both, :8] == 0).all()
        np.testing.assert_allclose(products[both, :8].mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(products[both, :8].std(axis=0), 1, atol=1e-3)

    def test_blocks_of_one_width_are_multiplied_as_they_are(self):
        rng = np.random.default_rng(0)
        a, b, c = rng.normal(size=(300, 5)), rng.normal(size=(300, 5)), rng.normal(size=(300, 3))
        there = np.arange(300) % 4 > 0
        inputs = {"a": block(a), "b": block(np.where(there[:, None], b, 9e18), there), "c": block(c)}
        fusion = Bilinear(BilinearParams(how="same", pca=2)).fit(inputs, None, "regression")
        matrix = fusion.combine(inputs)
        blocks = Bilinear(BilinearParams(pca=2)).fit(inputs, None, "regression").combine(inputs).shape[1] - 3 * 32
        assert matrix.shape == (300, blocks + 5)
        products = (a * b)[there]
        wanted = (products - products.mean(axis=0)) / products.std(axis=0)
        np.testing.assert_allclose(matrix[there, -5:], wanted, atol=1e-4)
        assert (matrix[~there, -5:] == 0).all()
        loaded = Bilinear.from_state(fusion.params, stored(fusion.get_state()))
        np.testing.assert_array_equal(loaded.combine(inputs), matrix)

    def test_the_search_takes_blocks_as_they_are_only_where_two_have_one_width(self):
        points = [Bilinear.portfolio(dims) for dims in ({"a": 8, "b": 9}, {"a": 8, "b": 8})]
        assert [[point.get("how") for point in starts] for starts in points] == [[None], ["drawn", "same"]]

    def test_one_block_has_no_products(self):
        inputs = {"table": toy_blocks()["table"]}
        assert Bilinear(BilinearParams()).fit(inputs, None, "regression").combine(inputs).shape == (60, 4)


class TestCanonical:
    def views(self, n=1500, seed=0):
        """Two blocks of noise that share one hidden direction."""
        rng = np.random.default_rng(seed)
        hidden = rng.normal(size=n)
        a, b = rng.normal(size=(n, 5)), 3 * rng.normal(size=(n, 4))
        a[:, 2] += 2 * hidden
        b[:, 1] += 6 * hidden
        return hidden, {"a": block(a), "b": block(b)}

    def test_the_first_variate_is_what_blocks_share(self):
        hidden, inputs = self.views()
        fusion = Canonical(CanonicalParams(variates=3, ridge=1e-3, keep=False)).fit(inputs, None, "regression")
        found = fusion.combine(inputs)
        assert abs(np.corrcoef(found[:, 0], hidden)[0, 1]) > 0.9
        assert abs(np.corrcoef(found[:, 1], hidden)[0, 1]) < 0.2
        np.testing.assert_allclose(found.std(axis=0), 1, atol=0.02)
        theirs = CCA(n_components=1).fit(inputs["a"].values, inputs["b"].values)
        x, y = theirs.transform(inputs["a"].values, inputs["b"].values)
        assert abs(np.corrcoef(found[:, 0], (x + y)[:, 0])[0, 1]) > 0.99

    def test_a_row_that_lacks_a_block_still_has_the_variate(self):
        hidden, inputs = self.views()
        fusion = Canonical(CanonicalParams(variates=1, ridge=0.01, keep=False)).fit(inputs, None, "regression")
        gone = {**inputs, "b": Block(inputs["b"].values, np.arange(1500) % 2 == 0)}
        found = fusion.combine(gone)[1::2, 0]
        assert abs(np.corrcoef(found, hidden[1::2])[0, 1]) > 0.8

    def test_the_penalty_keeps_chance_from_looking_like_agreement(self):
        rng = np.random.default_rng(0)
        inputs = {name: block(rng.normal(size=(80, 40))) for name in "ab"}
        fresh = {name: block(rng.normal(size=(2000, 40))) for name in "ab"}
        agreed = []
        for ridge in (1e-3, 10.0):
            fusion = Canonical(CanonicalParams(variates=1, ridge=ridge, keep=False)).fit(inputs, None, "regression")
            agreed.append(fusion.combine(inputs)[:, 0].std() / fusion.combine(fresh)[:, 0].std())
        assert agreed[0] < 0.75 * agreed[1]

    def test_too_few_whole_rows_leave_the_blocks_as_they_are(self):
        _, inputs = self.views(n=60)
        lonely = {**inputs, "b": Block(inputs["b"].values, np.arange(60) < 10)}
        fusion = Canonical(CanonicalParams(keep=False)).fit(lonely, None, "regression")
        assert fusion.combine(lonely).shape == (60, 5 + 4 + 1)  # and what says which rows have b


FUSIONS = [Selected(SelectedParams()), Bilinear(BilinearParams()), Canonical(CanonicalParams())]


@pytest.mark.parametrize("fusion", FUSIONS, ids=lambda fusion: fusion.name)
def test_what_was_not_fitted_does_not_combine(fusion):
    with pytest.raises(NotFittedError, match=f"{fusion.name}: fit must come before combine"):
        type(fusion)(fusion.params).combine(toy_blocks())


@pytest.mark.parametrize("fusion", FUSIONS, ids=lambda fusion: fusion.name)
def test_a_damaged_state_is_refused(fusion):
    state = type(fusion)(fusion.params).fit(toy_blocks(), np.arange(60) % 3, "multiclass").get_state()
    with pytest.raises(ArtifactError, match="must hold all"):
        type(fusion).from_state(fusion.params, State(state.meta, {}))

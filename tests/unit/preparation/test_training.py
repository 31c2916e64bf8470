"""Steps in front of a candidate: what they do to its rows, its predictions and its files."""

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from hybrid_ray.candidate import Candidate
from hybrid_ray.errors import ArtifactError, BadInputError
from hybrid_ray.fusion.base import FeatureFusion
from hybrid_ray.graph import fit_chain
from hybrid_ray.plugins import load_plugins
from hybrid_ray.preparation.balance import raised, repeated
from hybrid_ray.preparation.base import Preparation, Rows
from hybrid_ray.preparation.training import emphasise, prepare_training, with_prior
from hybrid_ray.registry import ESTIMATORS, FUSIONS, PREPARATIONS
from hybrid_ray.store.chain import read_chain, write_chain
from hybrid_ray.store.records import from_json, to_json
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.testing.feature_fusions import toy_blocks
from hybrid_ray.types import Block

load_plugins()
BALANCED = {"gan_augmentation": 0.3, "oversample": 0.12, "smote": 0.12, "undersample": 0.12, "weigh_classes": 0.12}
"""How far the farthest probability that is put back may be off: drawn rows are about those of their class, no more."""
EVERY = {
    "clip": {},
    "unskew": {"skewness": 0.0},
    "drop_outliers": {"share": 0.1, "trees": 10},
    "filter_labels": {},
    "smote": {"ratio": 0.8},
    "gan_augmentation": {"ratio": 0.7, "hidden": 8, "steps": 3},
    "undersample": {"ratio": 0.9},
    "oversample": {},
    "weigh_classes": {},
}


def step(name, **params):
    return {"name": name, "params": params}


def rare(n=4000, share=0.1, seed=0):
    """Two normal classes, the second rare: the truth is known."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < share).astype(np.int64)
    values = (rng.normal(size=(n, 2)) + 1.5 * y[:, None]).astype(np.float32)
    return {"table": Block(values, np.ones(n, bool))}, y


def chain_of(steps, blocks, y, estimator="logistic", n_outputs=2, **params):
    candidate = Candidate(tuple(blocks), "concat", estimator, params=params, steps=tuple(steps))
    return fit_chain(candidate, blocks, y, task="binary", n_outputs=n_outputs, seed=0)


@pytest.mark.parametrize("name", BALANCED)
def test_probabilities_are_put_back_to_the_share_that_the_training_rows_had(name):
    blocks, y = rare()
    fresh, truth = rare(seed=1)
    plain = chain_of([], blocks, y, C=100.0).predict(fresh)[:, 1]
    put_back = chain_of([step(name)], blocks, y, C=100.0).predict(fresh)[:, 1]
    balanced = chain_of([step(name, correct=False)], blocks, y, C=100.0).predict(fresh)[:, 1]
    assert put_back.mean() == pytest.approx(truth.mean(), abs=0.02)
    np.testing.assert_allclose(put_back, plain, atol=BALANCED[name])
    assert balanced.mean() > 2 * truth.mean()
    assert ((balanced > 0.5) == truth)[truth == 1].mean() > ((plain > 0.5) == truth)[truth == 1].mean() + 0.2


def test_the_correction_is_bayes_rule():
    truth = np.array([[0.9, 0.1], [0.3, 0.7], [1.0, 0.0]])
    prior, other = np.array([0.8, 0.2]), np.array([0.5, 0.5])
    shifted = truth / prior * other
    shifted /= shifted.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(with_prior(shifted, prior / other), truth)
    assert with_prior(np.array([[0.0, 0.0]]), (1.0, 2.0)).tolist() == [[0.0, 0.0]]


def test_steps_that_change_shares_one_after_the_other_are_put_back_together():
    blocks, y = rare(600)
    steps = [step("undersample", ratio=0.5), step("oversample"), step("weigh_classes", strength=0.5)]
    rows = prepare_training(steps, blocks, y, "binary", 0)
    seen = np.bincount(rows.y).astype(float)
    seen *= [rows.weights[0], rows.weights[1]]
    before = np.bincount(y) / len(y)
    np.testing.assert_allclose(np.array(rows.prior) * seen / seen.sum() / before, np.ones(2), rtol=1e-9)


def test_a_step_that_is_not_to_be_put_back_leaves_its_share_in():
    blocks, y = rare(600)
    steps = [step("oversample", correct=False)]
    assert prepare_training(steps, blocks, y, "binary", 0).prior == ()
    assert prepare_training([step("clip")], blocks, y, "binary", 0).prior == ()


def test_weights_reach_an_estimator_that_takes_them_and_repeat_rows_for_others():
    blocks, y = rare(300)
    X, weights = blocks["table"].values, {0: 0.5, 1: 4.5}
    for name in ("logistic", "knn"):
        family = ESTIMATORS.get(name)
        model = family.build(family.Params(), "binary", 0)
        rows, codes, groups = emphasise(model, X, y, weights, seed=0)
        if name == "logistic":
            assert model.get_params()["class_weight"] == weights
            assert rows is X
            assert groups is None
        else:
            np.testing.assert_array_equal(rows, X[groups])
            again = emphasise(model, X, y, weights, seed=0, groups=np.arange(len(y)) // 2)[2]
            np.testing.assert_array_equal(again, groups // 2)
            seen, counts = np.bincount(codes), np.bincount(y)
            assert len(codes) == pytest.approx(2 * len(y), abs=2)
            assert seen[1] / seen[0] == pytest.approx(9 * counts[1] / counts[0], rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, f in ESTIMATORS.items() if "binary" in f.tags.tasks])
def test_every_family_learns_from_weighted_classes(name):
    if not ESTIMATORS.get(name).__module__.startswith("hybrid_ray."):
        pytest.skip("a toy of other tests")
    blocks, y = rare(400)
    params = next(iter(ESTIMATORS.get(name).examples("binary"))).model_dump(exclude_unset=True)
    weighted = chain_of([step("weigh_classes", correct=False)], blocks, y, name, **params)
    plain = chain_of([], blocks, y, name, **params)
    assert weighted.predict(blocks)[:, 1].mean() > plain.predict(blocks)[:, 1].mean() + 0.02
    root = StoreRoot("memory://weighted-chains")
    write_chain(root, f"{name}/chain", weighted)
    np.testing.assert_array_equal(read_chain(root, f"{name}/chain").predict(blocks), weighted.predict(blocks))


def test_a_chain_with_every_step_answers_as_it_did_when_it_is_read_back():
    blocks = toy_blocks()
    y = np.arange(60) % 4 // 3
    chain = chain_of([step(name, **params) for name, params in EVERY.items()], blocks, y, "knn", n_neighbors=5)
    root = StoreRoot("memory://prepared-chains")
    write_chain(root, "chain", chain)
    loaded = read_chain(root, "chain")
    fresh = toy_blocks(n=30, seed=5)
    np.testing.assert_array_equal(loaded.predict(fresh), chain.predict(fresh))
    assert [one.name for one in loaded.steps] == list(EVERY)
    assert [one.params for one in loaded.steps] == [one.params for one in chain.steps]
    assert loaded.prior == chain.prior != ()


FEATURE_FUSIONS = [
    name for name, f in FUSIONS.items() if f.level == "feature" and f.__module__.startswith("hybrid_ray.fusion")
]


@pytest.mark.parametrize("fusion", FEATURE_FUSIONS)
def test_a_chain_of_every_fusion_answers_as_it_did_when_it_is_read_back(fusion):
    params = next(iter(FUSIONS.get(fusion).examples())).model_dump(exclude_unset=True)
    candidate = Candidate(("image", "table", "text"), fusion, "naive_bayes", fusion_params=params)
    made = {"task": "binary", "n_outputs": 2, "seed": 0}
    chain = fit_chain(candidate, toy_blocks(), np.arange(60) % 3 // 2, **made)
    root = StoreRoot("memory://fused-chains")
    write_chain(root, fusion, chain)
    loaded, fresh = read_chain(root, fusion), toy_blocks(n=30, seed=5)
    np.testing.assert_array_equal(loaded.predict(fresh), chain.predict(fresh))
    assert type(loaded.fusion) is type(chain.fusion) is FUSIONS.get(fusion)
    assert loaded.fusion.params == chain.fusion.params


def test_a_chain_without_steps_is_written_as_before():
    blocks, y = rare(60)
    root = StoreRoot("memory://plain-chains")
    write_chain(root, "chain", chain_of([], blocks, y))
    head = from_json(root.read("chain/chain.json"))
    assert {"steps", "prior"}.isdisjoint(head)
    assert read_chain(root, "chain").steps == ()


def test_a_prior_of_other_classes_is_refused():
    blocks, y = rare(60)
    root = StoreRoot("memory://odd-chains")
    write_chain(root, "chain", chain_of([step("oversample")], blocks, y))
    head = from_json(root.read("chain/chain.json"))
    root.write("chain/chain.json", to_json(head | {"prior": [1.0, 1.0, 1.0]}))
    with pytest.raises(ArtifactError, match="prior must have a factor a class, 2; got 3"):
        read_chain(root, "chain")


def test_what_is_predicted_is_transformed_as_the_training_rows_were():
    blocks, y = rare(300)
    edge = np.quantile(blocks["table"].values[:, 0], 0.9)
    far, clipped = ({"table": Block(np.array([[x, 0.0]], np.float32), np.ones(1, bool))} for x in (1e6, edge))
    chain = chain_of([step("clip", tail=0.1)], blocks, y)
    np.testing.assert_allclose(chain.predict(far), chain.predict(clipped), atol=1e-6)


def test_later_steps_see_what_earlier_ones_left():
    blocks, y = rare(400)
    both = prepare_training([step("undersample"), step("clip", tail=0.2)], blocks, y, "binary", 3)
    first = prepare_training([step("undersample")], blocks, y, "binary", 3)
    edges = np.quantile(first.blocks["table"].values.astype(float), [0.2, 0.8], axis=0)
    np.testing.assert_allclose(both.blocks["table"].values.min(axis=0), edges[0], rtol=1e-6)
    np.testing.assert_allclose(both.blocks["table"].values.max(axis=0), edges[1], rtol=1e-6)


def test_an_unknown_step_is_named_with_the_nearest():
    blocks, y = rare(60)
    with pytest.raises(BadInputError, match=r"unknown preparation 'oversampel'.*Did you mean 'oversample'"):
        chain_of([step("oversampel")], blocks, y)


def test_a_step_that_loses_a_class_is_refused(monkeypatch):
    class Lossy(Preparation):
        Params = PREPARATIONS.get("oversample").Params
        name = "lossy"

        def resample(self, blocks, y, task, seed=0):
            return Rows({n: b.take(y == 0) for n, b in blocks.items()}, y[y == 0])

        space = portfolio = classmethod(lambda cls, *_: {})

    monkeypatch.setitem(PREPARATIONS._classes, "lossy", Lossy)
    blocks, y = rare(60)
    with pytest.raises(ValueError, match=r"lossy: every class must keep a row; got none of \[1\]"):
        chain_of([step("lossy")], blocks, y)


def test_copies_are_known_through_all_steps():
    blocks, y = rare(300)
    names = ["oversample", "undersample", "clip", "smote", "drop_outliers"]
    steps = [step(name, **({"ratio": 0.5} if name == "oversample" else {})) for name in names]
    rows = prepare_training(steps, blocks, y, "binary", 0)
    firsts = {}
    for row, group in zip(rows.blocks["table"].values, rows.groups, strict=True):
        assert firsts.setdefault(row.tobytes(), group) == group
    assert len(firsts) == len(set(firsts.values())) < len(rows.y)


def test_a_step_that_asks_is_told_which_rows_go_together(monkeypatch):
    told = []

    class Asking(Preparation):
        Params = PREPARATIONS.get("oversample").Params
        name = "asking"

        def resample(self, blocks, y, task, seed=0, groups=None):
            told.append(groups)
            return Rows(blocks, y)

        space = portfolio = classmethod(lambda cls, *_: {})

    monkeypatch.setitem(PREPARATIONS._classes, "asking", Asking)
    blocks, y = rare(300)
    together = np.arange(300) // 3 * 10
    prepare_training([step("asking")], blocks, y, "binary", 0)
    prepare_training([step("asking")], blocks, y, "binary", 0, together)
    prepare_training([step("oversample"), step("asking")], blocks, y, "binary", 0)
    assert told[0] is None
    np.testing.assert_array_equal(told[1], together // 10)
    assert len(np.unique(told[2])) == 300 < len(told[2]), "copies of a row go together"


@pytest.mark.parametrize("name", ["undersample", "smote", "clip", "weigh_classes"])
def test_without_copies_there_are_no_groups(name):
    assert prepare_training([step(name)], *rare(300), "binary", 0).groups is None


def test_a_step_that_does_not_say_where_its_rows_are_from_is_refused(monkeypatch):
    class Silent(Preparation):
        Params = PREPARATIONS.get("oversample").Params
        name = "silent"

        def resample(self, blocks, y, task, seed=0):
            return Rows({n: b.take(slice(0, 50)) for n, b in blocks.items()}, y[:50])

        space = portfolio = classmethod(lambda cls, *_: {})

    monkeypatch.setitem(PREPARATIONS._classes, "silent", Silent)
    with pytest.raises(ValueError, match=r"silent: resample must give the origin .* got 50 of 60 rows and no origin"):
        chain_of([step("silent")], *rare(60))


class Recorded(FeatureFusion):
    """Shows training rows as twice what they are, and other rows as they are."""

    Params = PREPARATIONS.get("oversample").Params
    name = "recorded"
    seen = []

    def fit_combine(self, inputs, y, task, seed=0, groups=None):
        self.seen.append((y, groups))
        return 2 * self.combine(inputs)

    def fit(self, inputs, y, task, seed=0):
        raise AssertionError("a chain must ask for what may be learned from")

    def combine(self, inputs):
        return inputs["table"].values

    get_state = from_state = None
    space = portfolio = classmethod(lambda cls, *_: {})


@pytest.mark.parametrize("estimator", ["logistic", "knn"])
def test_a_chain_fits_on_what_its_fusion_shows_of_training_rows_and_names_the_copies(estimator, monkeypatch):
    monkeypatch.setattr(Recorded, "__abstractmethods__", frozenset())
    monkeypatch.setattr(Recorded, "seen", [])
    monkeypatch.setitem(FUSIONS._classes, "recorded", Recorded)
    given = []

    class Learner(ClassifierMixin, BaseEstimator):
        def fit(self, X, y, groups=None):
            given.append((X, y, groups))

    monkeypatch.setattr(ESTIMATORS.get(estimator), "build", lambda *_: Learner())
    blocks, y = rare(200)
    candidate = Candidate(("table",), "recorded", estimator, steps=(step("oversample"),))
    fit_chain(candidate, blocks, y, task="binary", n_outputs=2, seed=0)
    rows = prepare_training(candidate.steps, blocks, y, "binary", 0)
    ((X, codes, groups),) = given
    np.testing.assert_array_equal(X, 2 * rows.blocks["table"].values)
    np.testing.assert_array_equal(codes, rows.y)
    for found in (groups, Recorded.seen[0][1]):
        np.testing.assert_array_equal(found, rows.groups)


def test_numbers_can_be_prepared_too():
    rng = np.random.default_rng(0)
    blocks = {"table": Block(rng.normal(size=(300, 3)).astype(np.float32), np.ones(300, bool))}
    y = blocks["table"].values @ [1.0, 2.0, 3.0]
    wrong = y.copy()
    wrong[::30] += 50.0
    steps = tuple(step(name, **EVERY[name]) for name in ("clip", "unskew", "drop_outliers", "filter_labels"))
    made = {"task": "regression", "n_outputs": 1, "seed": 0}
    candidate = Candidate(("table",), "concat", "ridge", params={"alpha": 1e-3}, steps=steps[-1:])
    filtered = fit_chain(candidate, blocks, wrong, **made).predict(blocks)[:, 0]
    plain = fit_chain(Candidate(("table",), "concat", "ridge", params={"alpha": 1e-3}), blocks, wrong, **made)
    assert np.abs(filtered - y).mean() < 0.1 * np.abs(plain.predict(blocks)[:, 0] - y).mean()
    everything = Candidate(("table",), "concat", "ridge", steps=steps)
    assert np.isfinite(fit_chain(everything, blocks, y, **made).predict(blocks)).all()


def test_candidates_are_told_apart_by_their_steps_and_keep_their_keys_without():
    plain = Candidate(("a",), "concat", "logistic")
    assert "steps" not in plain.to_json()
    clipped = Candidate(("a",), "concat", "logistic", steps=(step("clip", tail=0.01),))
    turned = Candidate(("a",), "concat", "logistic", steps=(step("smote"), step("clip", tail=0.01)))
    both = Candidate(("a",), "concat", "logistic", steps=(step("clip", tail=0.01), step("smote")))
    assert len({c.key for c in (plain, clipped, turned, both)}) == 4
    assert Candidate(**both.to_json()) == both


@pytest.mark.parametrize(
    ("counts", "ratio", "growth", "expected"),
    [
        ((90, 10), 1.0, 3.0, (90, 90)),
        ((90, 10), 0.5, 3.0, (90, 45)),
        ((90, 10), 1.0, 1.0, (90, 10)),
        ((100, 10, 10, 10), 1.0, 2.0, (100, 53, 53, 53)),
        ((50, 50), 0.5, 3.0, (50, 50)),
    ],
)
def test_small_classes_are_raised_as_far_as_growth_allows(counts, ratio, growth, expected):
    assert tuple(raised(np.array(counts), ratio, growth)) == expected


def test_rows_are_repeated_evenly():
    rows = repeated(np.array([3, 5, 8]), 8, np.random.default_rng(0))
    assert sorted(np.bincount(rows)[[3, 5, 8]]) == [2, 3, 3]
    assert len(repeated(np.array([3, 5, 8]), 0, np.random.default_rng(0))) == 0

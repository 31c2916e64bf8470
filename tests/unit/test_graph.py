from dataclasses import replace

import numpy as np
import pytest
from pydantic import Field
from scipy.stats import entropy

from hybrid_ray.candidate import Candidate
from hybrid_ray.errors import BadInputError, DataError
from hybrid_ray.extractors.base import Extractor, ExtractorTags
from hybrid_ray.fusion.linear_pool import LinearPool, LinearPoolParams
from hybrid_ray.graph import Graph, Member, Reserve, fit_chain
from hybrid_ray.params import PluginParams
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.types import Block, Prepared, State

load_plugins()


class Numbers(Extractor):
    """The numbers of its columns, times a weight; a row is present when no number is missing."""

    tags = ExtractorTags(modality="tabular", kinds=frozenset({"numeric"}))

    class Params(PluginParams):
        weight: float = Field(1.0, description="Factor of the features.")

    def __init__(self, params, columns):
        super().__init__(params, columns)
        self.prepared = 0
        self.device = None

    def setup(self, device="cpu"):
        self.device = device

    def prepare(self, batch):
        self.prepared += 1
        values = np.column_stack([batch[c] for c in self.columns])
        broken = np.isinf(values).any(axis=1)
        present = ~np.isnan(values).any(axis=1) & ~broken
        errors = {int(row): f"{'+'.join(self.columns)}: not a number" for row in np.flatnonzero(broken)}
        return Prepared({"x": values[present].astype(np.float32)}, present, errors)

    def extract(self, arrays):
        return np.asarray(arrays["x"] * np.float32(self.params.weight), np.float32).reshape(-1, self.n_features)

    @property
    def n_features(self):
        return len(self.columns)

    def get_state(self):
        return State()

    @classmethod
    def from_state(cls, params, columns, state):
        return cls(params, columns)


@pytest.mark.parametrize("steps", [(), ({"name": "oversample", "params": {}},)], ids=["plain", "oversample"])
def test_a_family_that_is_too_slow_for_all_rows_learns_from_a_stratified_sample(steps, monkeypatch):
    family = ESTIMATORS.get("knn")
    monkeypatch.setattr(family, "tags", replace(family.tags, max_rows=40))
    rng = np.random.default_rng(0)
    y = (np.arange(400) % 4 == 0).astype(np.int64)
    blocks = {"left": Block(rng.normal(size=(400, 2)).astype(np.float32) + y[:, None], np.ones(400, bool))}
    candidate = Candidate(("left",), "concat", "knn", params={"n_neighbors": 3}, steps=steps)
    kept = [fit_chain(candidate, blocks, y, task="binary", n_outputs=2, seed=s).model for s in (0, 0, 1)]
    assert np.bincount(kept[0].codes_).tolist() == ([20, 20] if steps else [30, 10])
    np.testing.assert_array_equal(kept[0].rows_, kept[1].rows_)
    assert (kept[0].rows_ != kept[2].rows_).any()
    values = blocks["left"].values[:, 0].astype(np.float64)
    numbers = fit_chain(Candidate(("left",), "concat", "knn"), blocks, values, task="regression", n_outputs=1, seed=0)
    assert len(numbers.model.rows_) == 40


COLUMNS = {"a": "numeric", "b": "numeric", "c": "numeric"}
LOGISTIC = Candidate(("left",), "concat", "logistic")


def numbers(*columns, weight=1.0):
    return Numbers(Numbers.Params(weight=weight), dict.fromkeys(columns, "numeric"))


def rows(n=90, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return {name: rng.normal(size=n) + (y == code) * 3 for code, name in enumerate(COLUMNS)}, y


def chain_of(candidate, blocks, y, **changed):
    arguments = {"task": "multiclass", "n_outputs": 3, "seed": 0} | changed
    return fit_chain(candidate, blocks, y, **arguments)


@pytest.fixture
def graph():
    """Two copies of a trained extractor and a frozen one; one member is the copies' chains averaged."""
    batch, y = rows()
    extractors = {
        "cnn@0": numbers("a", "b"),
        "cnn@1": numbers("a", "b", weight=2.0),
        "table": numbers("c"),
    }
    blocks = {key: extractor.transform(batch) for key, extractor in extractors.items()}
    both = Candidate(("cnn", "table"), "concat", "logistic")
    alone = Candidate(("table",), "concat", "knn", params={"n_neighbors": 5})
    bag = [
        chain_of(both, {"cnn": blocks[f"cnn@{k}"], "table": blocks["table"]}, y, keys={"cnn": f"cnn@{k}"})
        for k in (0, 1)
    ]
    members = [
        Member("both", both, bag),
        Member("alone", alone, [chain_of(alone, {"table": blocks["table"]}, y)]),
    ]
    outputs = {member.name: member.predict(blocks) for member in members}
    decision = LinearPool(LinearPoolParams(solver="uniform")).fit(outputs, y, "multiclass")
    for extractor in extractors.values():
        extractor.prepared = 0
    return Graph("toy", "multiclass", "label", dict(COLUMNS), ["red", "green", "blue"], extractors, members, decision)


# --- chains ---------------------------------------------------------------------------------------------------------


def test_a_class_that_a_fold_lacks_keeps_its_column():
    batch, y = rows()
    kept = y != 1
    blocks = {"left": numbers("a", "b", "c").transform({name: v[kept] for name, v in batch.items()})}
    chain = chain_of(LOGISTIC, blocks, y[kept])
    assert chain.codes == (0, 2)
    outputs = chain.predict({"left": numbers("a", "b", "c").transform(batch)})
    assert outputs.shape == (90, 3)
    np.testing.assert_array_equal(outputs[:, 1], 0.0)
    np.testing.assert_allclose(outputs.sum(axis=1), 1.0)
    assert (outputs[y == 2].argmax(axis=1) == 2).mean() > 0.9


def test_a_fold_of_one_class_cannot_be_learned_from():
    blocks = {"left": numbers("a").transform({"a": np.arange(10.0)})}
    with pytest.raises(ValueError, match="at least two classes; got one class"):
        chain_of(LOGISTIC, blocks, np.ones(10, int))


def test_the_log_of_a_label_is_undone():
    rng = np.random.default_rng(0)
    a = rng.normal(size=300)
    y = np.expm1(5 + a)
    blocks = {"left": numbers("a").transform({"a": a})}
    ridge = Candidate(("left",), "concat", "ridge", params={"alpha": 1e-3})
    settings = {"task": "regression", "n_outputs": 1}
    logged = chain_of(ridge, blocks, y, transform="log", **settings)
    assert logged.codes == ()
    assert logged.predict(blocks).shape == (300, 1)
    np.testing.assert_allclose(logged.predict(blocks)[:, 0], y, rtol=1e-3)
    plain = chain_of(ridge, blocks, y, **settings).predict(blocks)[:, 0]
    assert np.abs(plain - y).max() > 100


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_no_rows_give_no_outputs(task):
    batch, y = rows()
    estimator = "logistic" if task == "multiclass" else "ridge"
    n_outputs = 3 if task == "multiclass" else 1
    blocks = {"left": numbers("a", "b").transform(batch)}
    candidate = Candidate(("left",), "concat", estimator)
    chain = chain_of(candidate, blocks, y, task=task, n_outputs=n_outputs)
    assert chain.predict({"left": blocks["left"].take(slice(0, 0))}).shape == (0, n_outputs)


def test_a_chain_reads_the_copy_that_it_was_trained_with():
    batch, y = rows()
    blocks = {"left": numbers("a", "b").transform(batch)}
    chain = chain_of(LOGISTIC, blocks, y, keys={"left": "left@3"})
    assert chain.inputs == {"left": "left@3"}
    expected = chain.predict(
        {"left@3": blocks["left"], "left@0": Block(blocks["left"].values * 0, blocks["left"].present)}
    )
    np.testing.assert_array_equal(expected, chain_of(LOGISTIC, blocks, y).predict(blocks))
    with pytest.raises(KeyError, match="left@3"):
        chain.predict(blocks)


def test_only_the_blocks_of_the_candidate_are_used():
    batch, y = rows()
    blocks = {"left": numbers("a", "b").transform(batch), "right": numbers("c").transform(batch)}
    chain = chain_of(LOGISTIC, blocks, y)
    assert chain.inputs == {"left": "left"}
    np.testing.assert_array_equal(chain.predict({"left": blocks["left"]}), chain.predict(blocks))


def test_a_missing_modality_is_learned_around():
    batch, y = rows(300)
    batch["c"][::4] = np.nan
    blocks = {"left": numbers("a", "b").transform(batch), "right": numbers("c").transform(batch)}
    chain = chain_of(Candidate(("left", "right"), "concat", "logistic"), blocks, y)
    fresh, truth = rows(90, seed=1)
    fresh["c"][:] = np.nan
    gone = {"left": numbers("a", "b").transform(fresh), "right": numbers("c").transform(fresh)}
    assert not gone["right"].present.any()
    outputs = chain.predict(gone)
    np.testing.assert_allclose(outputs.sum(axis=1), 1.0)
    assert (outputs.argmax(axis=1) == truth).mean() > 0.8


def test_parameters_are_checked_when_a_chain_is_fitted():
    batch, y = rows()
    blocks = {"left": numbers("a").transform(batch)}
    with pytest.raises(ValueError, match="greater than 0"):
        chain_of(Candidate(("left",), "concat", "logistic", params={"C": -1}), blocks, y)
    with pytest.raises(BadInputError, match=r"unknown estimator 'logistik'.*Did you mean 'logistic'"):
        chain_of(Candidate(("left",), "concat", "logistik"), blocks, y)


def test_the_seed_decides_a_chain():
    batch, y = rows()
    blocks = {"left": numbers("a", "b", "c").transform(batch)}
    forest = Candidate(("left",), "concat", "random_forest", params={"n_estimators": 5})
    first, same, other = (chain_of(forest, blocks, y, seed=seed).predict(blocks) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


# --- members and graphs ---------------------------------------------------------------------------------------------


def test_a_member_is_the_mean_of_its_chains(graph):
    blocks = graph.extract(rows()[0])
    member = graph.members[0]
    expected = (member.chains[0].predict(blocks) + member.chains[1].predict(blocks)) / 2
    np.testing.assert_array_equal(member.predict(blocks), expected)


def test_copies_of_one_extractor_share_one_preparation(graph):
    batch, _ = rows(12)
    blocks = graph.extract(batch)
    assert set(blocks) == {"cnn@0", "cnn@1", "table"}
    assert [graph.extractors[key].prepared for key in ("cnn@0", "cnn@1", "table")] == [1, 0, 1]
    np.testing.assert_array_equal(blocks["cnn@1"].values, 2 * blocks["cnn@0"].values)
    assert graph.groups() == {"cnn": ("cnn@0", "cnn@1"), "table": ("table",)}


def test_outputs_are_the_decision_over_the_members(graph):
    batch, y = rows(60, seed=2)
    outputs = graph.outputs(batch)
    members = graph.member_outputs(graph.extract(batch))
    assert set(members) == {"both", "alone"}
    np.testing.assert_allclose(outputs, (members["both"] + members["alone"]) / 2)
    assert (outputs.argmax(axis=1) == y).mean() > 0.8


def test_the_graph_says_how_sure_it_is_of_each_row(graph):
    batch, _ = rows(6)
    found = graph.uncertainty(graph.extract(batch))
    assert list(found) == ["total", "aleatoric", "epistemic"]
    np.testing.assert_allclose(found["total"], entropy(graph.outputs(batch), axis=1), rtol=1e-9)
    assert all(values.shape == (6,) for values in found.values())


def test_rows_of_a_batch_do_not_touch_each_other(graph):
    batch, _ = rows(9, seed=3)
    batch["c"][2] = np.nan
    alone = [graph.outputs({name: values[i : i + 1] for name, values in batch.items()}) for i in range(9)]
    np.testing.assert_allclose(np.concatenate(alone), graph.outputs(batch), atol=1e-6)


def test_an_empty_batch_gives_no_rows_and_prepares_nothing(graph):
    empty = {name: np.zeros(0) for name in COLUMNS}
    outputs = graph.outputs(empty)
    assert outputs.shape == (0, 3)
    assert graph.labels(outputs) == []
    assert graph.answer(outputs) == {"prediction": [], "proba_red": [], "proba_green": [], "proba_blue": []}
    assert graph.extractors["table"].prepared == 0


def test_a_missing_column_is_named(graph):
    with pytest.raises(DataError, match=r"toy: rows must have the columns \['a', 'b', 'c'\]; missing \['b'\]"):
        graph.outputs({"a": np.zeros(2), "c": np.zeros(2)})


def test_undecodable_rows_are_told_and_answered_as_missing(graph):
    batch, _ = rows(6)
    batch["a"][1] = np.inf
    batch["c"][1] = np.inf
    batch["c"][4] = np.inf
    blocks, errors = graph.examine(batch)
    assert errors == {1: "a+b: not a number; c: not a number", 4: "c: not a number"}
    assert not blocks["cnn@1"].present[1]
    assert np.isfinite(graph.outputs(batch)).all()


def test_every_modality_missing_gives_an_answer(graph):
    outputs = graph.outputs({name: np.full(3, np.nan) for name in COLUMNS})
    np.testing.assert_allclose(outputs.sum(axis=1), 1.0)


def test_labels_and_answers_are_plain_values(graph):
    outputs = np.array([[0.1, 0.7, 0.2], [0.5, 0.25, 0.25]])
    assert graph.labels(outputs) == ["green", "red"]
    assert graph.answer(outputs) == {
        "prediction": ["green", "red"],
        "proba_red": [0.1, 0.5],
        "proba_green": [0.7, 0.25],
        "proba_blue": [0.2, 0.25],
    }
    graph.classes = None
    assert graph.n_outputs == 1
    assert graph.answer(np.array([[1.5], [2.0]])) == {"prediction": [1.5, 2.0]}


def test_setup_reaches_every_extractor(graph):
    graph.setup("cuda")
    assert {extractor.device for extractor in graph.extractors.values()} == {"cuda"}


def test_a_candidate_does_not_depend_on_the_order_of_its_blocks():
    first = Candidate(("b", "a"), "concat", "logistic", {"pca": None, "scale": "column"}, {"C": 1.0})
    second = Candidate(("a", "b"), "concat", "logistic", {"scale": "column", "pca": None}, {"C": 1.0})
    assert first.key == second.key
    assert first.blocks == ("a", "b")
    assert Candidate(**first.to_json()) == first
    assert first.label.startswith("logistic(a+b)#")


# --- reserves -------------------------------------------------------------------------------------------------------


NAMES = ("a", "b", "c")


@pytest.fixture
def guarded():
    """A graph over three columns, with a reserve for each that may lack and one for ``c`` alone; and its chains."""
    batch, y = rows()
    extractors = {name: numbers(name) for name in NAMES}
    blocks = {name: extractor.transform(batch) for name, extractor in extractors.items()}
    chains = {}

    def ensemble(*subsets):
        members = []
        for subset in subsets:
            candidate = Candidate(subset, "concat", "logistic")
            chains[subset] = chain_of(candidate, blocks, y)
            members.append(Member("+".join(subset), candidate, [chains[subset]]))
        outputs = {member.name: member.predict(blocks) for member in members}
        return members, LinearPool(LinearPoolParams(solver="uniform")).fit(outputs, y, "multiclass")

    reserves = [
        Reserve("without:a", ("a",), ("b", "c"), *ensemble(("b", "c"))),
        Reserve("without:b", ("b",), ("a", "c"), *ensemble(("a", "c"), ("a",))),
        Reserve("alone:c", ("a", "b"), ("c",), *ensemble(("c",))),
    ]
    members, decision = ensemble(NAMES, ("a", "b"))
    classes = ["red", "green", "blue"]
    graph = Graph("g", "multiclass", "y", COLUMNS, classes, extractors, members, decision, reserves=reserves)
    return graph, chains


def lacking(*gone):
    """Rows of which the first lack what is named, one after another."""
    batch = {name: values.copy() for name, values in rows()[0].items()}
    for row, names in enumerate(gone):
        for name in names:
            batch[name][row] = np.nan
    return batch


def test_a_row_that_lacks_a_modality_is_answered_by_the_first_reserve_that_has_all_it_needs(guarded):
    graph, chains = guarded
    batch = lacking("", "a", "b", "ab", "c", "abc")
    blocks = graph.extract(batch)
    outputs = graph.combine(blocks)
    # What no reserve answers is left to the members, which fill in the means.
    whole = [NAMES, ("a", "b")]
    answered = [whole, [("b", "c")], [("a", "c"), ("a",)], [("c",)], whole, whole, whole]
    for row, subsets in enumerate(answered):
        one = {name: block.take(slice(row, row + 1)) for name, block in blocks.items()}
        expected = np.mean([chains[subset].predict(one)[0] for subset in subsets], axis=0)
        np.testing.assert_allclose(outputs[row], expected, rtol=1e-9)
        np.testing.assert_allclose(graph.combine(one)[0], outputs[row], rtol=1e-9)
    without = Graph(**{**vars(graph), "reserves": []}).combine(blocks)
    np.testing.assert_array_equal(outputs[6:], without[6:])
    assert not np.allclose(outputs[1:4], without[1:4])


def test_reserves_answer_no_row_twice(guarded):
    graph, _ = guarded
    graph.reserves.append(graph.reserves[0])
    blocks = graph.extract(lacking("a", "b", "ab", "a"))
    assert [(reserve.name, rows.tolist()) for reserve, rows in graph.reserved(blocks)] == [
        ("without:a", [0, 3]),
        ("without:b", [1]),
        ("alone:c", [2]),
    ]
    assert list(graph.reserved(graph.extract(rows()[0]))) == []


def test_a_reserve_says_how_sure_it_is_of_its_rows(guarded):
    graph, _ = guarded
    batch = lacking("", "a", "b")
    blocks = graph.extract(batch)
    found = graph.uncertainty(blocks)
    np.testing.assert_allclose(found["total"], entropy(graph.combine(blocks), axis=1), rtol=1e-9)
    assert found["epistemic"][1] == pytest.approx(0.0, abs=1e-12)  # a reserve of one member
    assert found["epistemic"][2] > 1e-6


def test_to_find_anomalies_only_normal_rows_are_fitted_on():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(120, 3)).astype(np.float32)
    y = (np.arange(120) % 4 == 0).astype(np.int64)
    values[y == 1] += 30
    candidate = Candidate(("a",), "concat", "mahalanobis", params={"false_alarms": 0.05})

    def said(rows):
        block = Block(values[rows], np.ones(len(rows), bool))
        chain = fit_chain(candidate, {"a": block}, y[rows], task="anomaly", n_outputs=2, seed=0)
        assert chain.codes == (0, 1)
        return chain.predict({"a": Block(values, np.ones(120, bool))})

    both, normal = said(np.arange(120)), said(np.flatnonzero(y == 0))
    np.testing.assert_array_equal(both, normal)
    assert (both[y == 1, 1] > 0.9).all()
    assert (both[y == 0, 1] > 0.5).mean() < 0.15
    with pytest.raises(ValueError, match="0 sample"):
        said(np.flatnonzero(y == 1))


def test_what_undoes_a_logarithm_stays_near_what_was_seen():
    """One column that is all but constant in training is far off in a new row: no price is a million times the most."""
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=200), 1e-3 * rng.normal(size=200)]).astype(np.float32)
    y = np.exp(10 + x[:, 0] + 300 * x[:, 1])
    present = np.ones(200, bool)
    chain = fit_chain(
        Candidate(("n",), "concat", "ridge"),
        {"n": Block(x, present)},
        y,
        task="regression",
        n_outputs=1,
        seed=0,
        transform="log",
    )
    logs = np.log1p(y)
    assert chain.bounds == pytest.approx((logs.min() - logs.std(), logs.max() + logs.std()))
    far = Block(np.array([[0, 5.0], [0, -5.0], [0, 0]], np.float32), np.ones(3, bool))
    high, low, plain = chain.predict({"n": far})[:, 0]
    assert high == pytest.approx(np.expm1(chain.bounds[1]))
    assert low == pytest.approx(np.expm1(chain.bounds[0]))
    assert plain == pytest.approx(np.exp(10), rel=0.3)

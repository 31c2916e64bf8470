"""Permutation importance tells what a graph needs, and nothing of what it does not."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from hybrid_ray.candidate import Candidate
from hybrid_ray.evaluation.metrics import get_metric
from hybrid_ray.explain.permutation import Importance, column_groups, permutation_importance
from hybrid_ray.explain.plots import MAX_BARS, importance_chart
from hybrid_ray.graph import fit_chain
from hybrid_ray.testing.graphs import toy_batch, toy_graph, toy_rows

ROWS = list(toy_rows(120, seed=3, missing=0.0))
Y = np.array([row["label"] for row in ROWS])
SCORE = get_metric("accuracy", "multiclass").score


@pytest.fixture(scope="module")
def graph():
    return toy_graph()


def test_every_column_and_every_modality_is_there(graph):
    groups = column_groups(graph)
    assert set(graph.columns) < set(groups)
    assert groups["modality:tabular"] == ("price", "brand", "listed")


def test_what_the_graph_reads_is_needed(graph):
    found = permutation_importance(graph, toy_batch(ROWS), Y, SCORE)
    assert [each.mean for each in found] == sorted((each.mean for each in found), reverse=True)
    assert all(each.low <= each.mean <= each.high for each in found)
    by_name = {each.name: each.mean for each in found}
    assert by_name["modality:tabular"] > 0
    assert by_name["modality:image"] == pytest.approx(by_name["photo"], abs=0.1)


def test_shuffling_everything_leaves_what_chance_gives(graph):
    everything = {"all": tuple(graph.columns)}
    [found] = permutation_importance(graph, toy_batch(ROWS), Y, SCORE, groups=everything, repeats=30)
    right = SCORE(Y, graph.outputs(toy_batch(ROWS)))
    assert right > 0.85
    assert right - found.mean == pytest.approx(1 / 3, abs=0.06)


def test_a_constant_column_is_worth_exactly_nothing(graph):
    batch = toy_batch(ROWS)
    batch["brand"] = np.full(len(ROWS), "brand0", object)
    [found] = permutation_importance(graph, batch, Y, SCORE, groups={"brand": ("brand",)})
    assert (found.mean, found.low, found.high, found.read) == (0, 0, 0, 0)


def test_which_chains_read_a_column_is_told(graph):
    found = permutation_importance(graph, toy_batch(ROWS), Y, SCORE, repeats=1)
    told = {each.name: each.read for each in found}
    chains = [chain for member in graph.members for chain in member.chains]
    read = {name: {key for key, e in graph.extractors.items() if name in e.columns} for name in graph.columns}
    for name, keys in read.items():
        assert told[name] == sum(bool(keys & set(chain.inputs.values())) for chain in chains) / len(chains)
    assert told["photo"] == told["title"] == 0.5


def test_a_column_that_every_fusion_drops_is_read_by_none(graph):
    batch = toy_batch(ROWS) | {"price": 10.0 * Y}
    [key] = [key for key, extractor in graph.extractors.items() if "price" in extractor.columns]
    one_column = {"share": 1e-6}
    candidate = Candidate((key,), "selected", "logistic", one_column)
    chain = fit_chain(candidate, graph.extract(batch), Y, task="multiclass", n_outputs=3, seed=0)
    by_price = replace(graph, members=[replace(member, chains=[chain]) for member in graph.members])
    told = {each.name: each for each in permutation_importance(by_price, batch, Y, SCORE, repeats=2)}
    assert told["price"].read == told["modality:tabular"].read == 1
    assert {name for name, each in told.items() if each.read} == {"price", "modality:tabular"}
    assert all(each.mean == 0 for each in told.values() if not each.read)


def test_a_group_is_shuffled_alike_whatever_else_is_asked(graph):
    batch = toy_batch(ROWS)
    alone = permutation_importance(graph, batch, Y, SCORE, groups={"price": ("price",)})
    among = permutation_importance(graph, batch, Y, SCORE)
    assert alone == [each for each in among if each.name == "price"]


def test_the_picture_takes_any_name_and_any_number():
    found = [Importance(f"$a_{i}$ <b> {'x' * 60}", 1 / (i + 1), 0, 2 / (i + 1), 1) for i in range(MAX_BARS + 5)]
    picture = Image.open(io.BytesIO(importance_chart(found, "accuracy")))
    assert picture.format == "PNG"
    assert picture.height > picture.width
    assert Image.open(io.BytesIO(importance_chart(found[:1], "accuracy"))).height < 400

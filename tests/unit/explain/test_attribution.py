"""Attributions add up to the answer on every level, and put first what decides."""

import numpy as np
import pytest

from hybrid_ray.explain.attribution import Explainer
from hybrid_ray.testing.graphs import toy_batch, toy_graph, toy_rows

ROWS = toy_batch(list(toy_rows(6, seed=11, missing=0.2)))
USUAL = toy_batch(list(toy_rows(9, seed=12, missing=0.2)))
LEVELS = ("columns", "modalities", "extractors", "members")


@pytest.fixture(scope="module", params=["multiclass", "regression"])
def graph(request):
    made = toy_graph(request.param)
    made.setup()
    return made


@pytest.fixture(scope="module")
def found(graph):
    return list(Explainer(graph, USUAL).explain(ROWS))


def test_every_level_adds_up_to_the_answer(graph, found):
    outputs = graph.outputs(ROWS)
    usual = graph.outputs(USUAL)
    for row, each in enumerate(found):
        code = int(outputs[row].argmax())
        assert each.answer == pytest.approx(outputs[row, code])
        assert each.output == ("prediction" if graph.classes is None else graph.classes[code])
        for name in LEVELS:
            level = getattr(each, name)
            assert level.base + sum(level.shares.values()) == pytest.approx(each.answer, abs=1e-9), name
            assert level.base == pytest.approx(usual[:, code].mean(), abs=1e-6), name
            assert not any(level.errors.values()), name


def test_all_are_named(graph, found):
    assert set(found[0].columns.shares) == set(graph.columns)
    assert set(found[0].modalities.shares) == {"image", "text", "tabular"}
    assert set(found[0].extractors.shares) == set(graph.groups())
    assert set(found[0].members.shares) == {member.name for member in graph.members}


def test_the_columns_of_a_modality_add_up_to_it(found):
    for each in found:
        tabular = sum(each.columns.shares[name] for name in ("price", "brand", "listed"))
        assert each.modalities.shares["tabular"] == pytest.approx(tabular)


def test_what_the_answer_does_not_depend_on_adds_nothing(graph):
    same = {**USUAL, "photo": np.repeat(ROWS["photo"][:1], len(USUAL["photo"]))}
    row = {column: values[:1] for column, values in ROWS.items()}
    (found,) = Explainer(graph, same).explain(row)
    assert found.columns.shares["photo"] == pytest.approx(0, abs=1e-9)
    assert found.extractors.shares["picture"] == pytest.approx(0, abs=1e-9)


def test_the_largest_comes_first(found):
    for each in found:
        sizes = [abs(share) for share in each.columns.shares.values()]
        assert sizes == sorted(sizes, reverse=True)


def test_another_label_may_be_asked_for():
    graph = toy_graph()
    graph.setup()
    row = {column: values[:1] for column, values in ROWS.items()}
    told = [next(Explainer(graph, USUAL).explain(row, output=code)) for code in range(3)]
    assert [each.output for each in told] == ["red", "green", "blue"]
    assert sum(each.answer for each in told) == pytest.approx(1)
    for column in graph.columns:
        assert sum(each.columns.shares[column] for each in told) == pytest.approx(0, abs=1e-9)


def test_where_time_is_short_columns_are_left_out_and_the_rest_is_told():
    graph = toy_graph()
    graph.setup()
    row = {column: values[:1] for column, values in ROWS.items()}
    (short,) = Explainer(graph, USUAL).explain(row, seconds=0.0)
    assert short.columns is None
    assert short.modalities is None
    assert short.extractors.base + sum(short.extractors.shares.values()) == pytest.approx(short.answer)
    (long,) = Explainer(graph, USUAL).explain(row, seconds=1e6)
    assert set(long.columns.shares) == set(graph.columns)


def test_features_that_are_known_are_not_made_again():
    """An extractor of one column sees the row once, and the background once, however many coalitions there are."""
    graph = toy_graph()
    graph.setup()
    seen = []
    picture = graph.extractors["picture"]
    extract = picture.extract
    explainer = Explainer(graph, USUAL)
    picture.extract = lambda arrays: seen.append(len(arrays["x"])) or extract(arrays)
    row = toy_batch([next(r for r in toy_rows(9, seed=11, missing=0.0))])
    list(explainer.explain(row))
    assert seen == [1, 1]  # the answer, and its features

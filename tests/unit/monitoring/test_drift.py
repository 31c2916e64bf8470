"""Windows are told from the reference where something drifted, and almost never where nothing did."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from hybrid_ray.monitoring.drift import Accumulated, Rule, differences, joined, thinned
from hybrid_ray.monitoring.reference import embeddings_of, traits_of
from hybrid_ray.monitoring.traits import Trait
from hybrid_ray.testing.graphs import toy_batch, toy_graph, toy_rows

ROWS = list(toy_rows(150, seed=5, missing=0.1))


@pytest.fixture(scope="module")
def graph():
    made = toy_graph()
    made.setup()
    return made


def told(graph, rows):
    batch = toy_batch(rows)
    return told_of(graph, batch)


def told_of(graph, batch):
    blocks = graph.extract(batch)
    return traits_of(graph, batch, embeddings_of(graph, blocks), graph.combine(blocks))


def numbers(n, shift=0.0, seed=0):
    return {"age": Trait("input", "number", np.random.default_rng(seed).normal(shift, size=n))}


def test_every_column_extractor_and_answer_is_watched(graph):
    found = told(graph, ROWS)
    assert {name.partition(":")[0] for name in found} == {*graph.columns, "embedding", "prediction"}
    assert {f"embedding:{group}" for group in graph.groups()} <= set(found)
    given = found["photo:given"].values
    assert len(given) == 150
    assert (given == "yes").sum() == len(found["photo:brightness"].values)


def test_rows_of_the_same_kind_have_not_drifted(graph):
    found = differences(told(graph, ROWS), told(graph, list(toy_rows(120, seed=77, missing=0.1))))
    assert not [each for each in found if each.drifted]


def test_a_picture_that_is_darker_is_seen_in_input_and_embedding(graph):
    batch = toy_batch(list(toy_rows(120, seed=9, missing=0.1)))

    def darker(data):
        out = BytesIO()
        Image.open(BytesIO(data)).point(lambda level: level // 3).save(out, "PNG")
        return out.getvalue()

    dark = np.array([data if data is None else darker(data) for data in batch["photo"]], object)
    now = {**batch, "photo": dark}
    drifted = {each.trait for each in differences(told(graph, ROWS), told_of(graph, now)) if each.drifted}
    assert {"photo:brightness", "embedding:picture"} <= drifted
    assert not {name for name in drifted if name.startswith(("price", "brand", "title", "listed"))}


def test_what_is_left_out_more_often_is_seen(graph):
    rows = [{**row, "price": None if i % 2 else row["price"]} for i, row in enumerate(ROWS)]
    found = differences(told(graph, ROWS), told(graph, rows))
    assert found[0].trait == "price:given"
    assert found[0].drifted


def test_a_difference_that_does_not_matter_is_no_drift_however_sure():
    before, now = numbers(200_000), numbers(200_000, shift=0.05, seed=1)
    (found,) = differences(before, now)
    assert found.corrected < 1e-9
    assert found.psi < 0.1
    assert not found.drifted
    (found,) = differences(before, now, Rule(min_psi=0.0))
    assert found.drifted


def test_p_values_are_corrected_for_the_number_of_traits():
    rng = np.random.default_rng(8)
    reference = {f"x{i}": Trait("input", "number", rng.normal(size=200)) for i in range(40)}
    window = {f"x{i}": Trait("input", "number", rng.normal(size=200)) for i in range(40)}
    found = differences(reference, window)
    assert [each.corrected for each in found] == sorted(each.corrected for each in found)
    assert found[0].corrected == pytest.approx(min(1.0, 40 * found[0].p_value))


def test_windows_are_filled_and_do_not_overlap():
    held = Accumulated(100)
    assert held.add(numbers(60), 60) is None
    window = held.add(numbers(60, seed=1), 60)
    assert len(window["age"].values) == 120
    assert held.held == 0
    assert held.add(numbers(60), 60) is None


def test_what_a_part_lacks_is_left_out_of_all():
    other = {"name": Trait("input", "category", np.array(["a"], object)), **numbers(3)}
    assert list(joined([numbers(2), other])) == ["age"]


def test_a_sample_is_kept_of_more():
    kept = thinned(numbers(500), 100, seed=0)["age"].values
    assert len(kept) == 100
    assert set(kept) <= set(numbers(500)["age"].values)
    assert np.array_equal(kept, thinned(numbers(500), 100, seed=0)["age"].values)

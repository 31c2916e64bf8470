import io

import numpy as np
import pytest
from PIL import Image

from hybrid_ray.extractors.base import build_extractor
from hybrid_ray.search.compression import CompressionTrial, Measured, Smaller, compare, loss_fault, measure
from hybrid_ray.search.costs import Cost

COST = Cost(2.0, 1.0, 40.0)
ROWS = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)


@pytest.mark.parametrize(
    ("before", "after", "direction", "told"),
    [
        (0.80, 0.80, "maximize", ""),
        (0.80, 0.85, "maximize", ""),
        (0.80, 0.793, "maximize", ""),
        (0.80, 0.791, "maximize", "goes from 0.8 to 0.791, max_loss is 0.01 of it"),
        (0.50, 0.504, "minimize", ""),
        (0.50, 0.40, "minimize", ""),
        (0.50, 0.506, "minimize", "goes from 0.5 to 0.506"),
        (-0.2, -0.201, "maximize", ""),
        (-0.2, -0.21, "maximize", "goes from -0.2 to -0.21"),
    ],
)
def test_a_hundredth_of_a_score_may_be_lost_and_anything_won(before, after, direction, told):
    assert told in loss_fault(before, after, direction, 0.01)
    assert bool(told) == bool(loss_fault(before, after, direction, 0.01))


def test_the_row_that_changes_most_decides():
    changed = ROWS.copy()
    changed[3] = np.roll(changed[3], 1)
    before, cost = Measured(ROWS, ROWS, COST), Cost(1.0, 0.5, 10.0)
    assert compare("img", before, Measured(ROWS * 2, ROWS[:4] * 2, cost), 0.99).fault == ""
    found = compare("img", before, Measured(changed, changed, cost), 0.99)
    assert found.fault.startswith("its features would change: cosine ")
    assert (found.before, found.after) == (COST, cost)


def test_features_that_depend_on_their_company_stand_in_for_nothing():
    found = compare("img", Measured(ROWS, ROWS, COST), Measured(ROWS, ROWS[:4] * np.float32(1.01), COST), 0.99)
    assert found.fault == "a row's features would depend on the rows that it is computed with"


def test_a_sample_without_a_row_that_is_present_tells_nothing():
    none = Measured(ROWS[:0], ROWS[:0], COST)
    assert compare("img", none, none, 0.99).fault.startswith("no row of the sample tells")


def test_features_that_are_no_numbers_stand_in_for_nothing():
    broken = np.where(np.arange(6)[:, None] == 2, np.nan, ROWS).astype(np.float32)
    assert compare("img", Measured(ROWS, ROWS, COST), Measured(broken, broken, COST), 0.5).fault


def test_only_networks_without_a_fault_are_taken_and_none_with_a_fault_of_all():
    networks = (Smaller("a", 1.0), Smaller("b", 0.5, fault="it changes"))
    assert CompressionTrial(networks, 0.8, 0.8).taken == ["a"]
    assert CompressionTrial(networks, 0.8, 0.7, fault="worse").taken == []


def test_a_network_is_measured_with_what_is_saved_of_it():
    params = {"model": "resnet18", "weights": "none", "image_size": 32, "precision": "fp32"}
    batch = {"image": np.array([_picture(seed) for seed in range(3)] + [None], object)}
    whole, small = (
        measure(build_extractor("torchvision", params | {"compress": how}, {"image": "image"}), batch, 4)
        for how in ({}, {"int8": "dynamic"})
    )
    assert len(whole.features) == len(small.features) == len(small.alone) == 3
    assert whole.cost.size_mb == pytest.approx(44.7, abs=0.5)
    assert small.cost.size_mb < 0.3 * whole.cost.size_mb
    assert min(whole.cost.latency_ms, small.cost.latency_ms) > 0
    assert compare("img", whole, small, 0.99).fault == ""


def _picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 40, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()

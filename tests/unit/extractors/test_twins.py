"""Tuned twins are proposed where rows, labels and time are there for them."""

import pytest

from hybrid_ray.extractors.base import build_extractor
from hybrid_ray.extractors.defaults import DefaultChoice
from hybrid_ray.extractors.twins import SECONDS_A_ROW, SHARE, tuned_twins

CHOICES = [
    DefaultChoice("torchvision", {"model": "resnet18", "weights": "none", "precision": "fp32"}, ("photo",), "there"),
    DefaultChoice("transformers", {"model": "package:x"}, ("title", "body"), "there"),
    DefaultChoice("tfidf", {}, ("title", "body"), "cheap"),
]


def names(task="multiclass", n_rows=2000, seconds=1e6, cores=2.0, folds=5):
    return [twin.name for twin in tuned_twins(CHOICES, task, n_rows, folds=folds, seconds=seconds, cores=cores)]


def test_a_twin_reads_what_the_frozen_one_reads():
    first, second = tuned_twins(CHOICES, "binary", 2000, folds=5, seconds=1e6, cores=2)
    assert (first.name, second.name) == ("tuned_torchvision", "tuned_transformers")
    assert first.params == {"model": "resnet18", "weights": "none"}
    assert second.columns == ("title", "body")
    for twin, kind in ((first, "image"), (second, "text")):
        build_extractor(twin.name, twin.params, dict.fromkeys(twin.columns, kind))


@pytest.mark.parametrize("asked", [{"task": "clustering"}, {"n_rows": 200}, {"seconds": 60.0}], ids=str)
def test_without_labels_rows_or_time_there_is_none(asked):
    assert names(**asked) == []


def test_the_budget_is_spent_once_and_cores_beyond_the_folds_do_not_count():
    price = SECONDS_A_ROW["torchvision"] * 2000 * 5
    enough = price / SHARE / 2
    assert names(seconds=enough * 1.01) == ["tuned_torchvision"]
    assert names(seconds=enough * 0.99) == []
    assert names(seconds=enough * 0.99, cores=4) == ["tuned_torchvision"]
    assert names(seconds=price / SHARE / 5 * 0.99, cores=64) == []

"""Tuned twins are proposed where rows, labels and time are there for them."""

import json
from dataclasses import replace

import pytest

from hybrid_ray.extractors.defaults import SENTENCE_ENCODERS
from hybrid_ray.extractors.twins import SHARE, Work, propose_twins, seconds_of, twin_of, twin_pairs
from hybrid_ray.plugins import load_plugins
from hybrid_ray.spec import ExtractorSpec
from hybrid_ray.spec.model import Resources
from hybrid_ray.testing.encoders import tiny_encoder

load_plugins()
PHOTO = ExtractorSpec(
    name="torchvision",
    id="photo",
    params={"model": "mobilenet_v2", "weights": "none", "precision": "fp32"},
    columns=("photo",),
)
TEXT = ExtractorSpec(name="transformers", id="text", params={"model": SENTENCE_ENCODERS[0]}, columns=("title", "body"))
CHOICES = [PHOTO, TEXT, ExtractorSpec(name="tfidf", id="words", columns=("title", "body"))]
WORK = Work("multiclass", 2000, 5, 1e6, {"title": 40.0, "body": 400.0})


def names(asked="auto", choices=CHOICES, defaults=True, **changes):
    return [twin.name for twin in propose_twins(asked, choices, defaults, replace(WORK, **changes)).twins]


def test_a_twin_has_the_resources_of_the_frozen_one():
    costly = TEXT.model_copy(update={"resources": Resources(num_gpus=0.5, batch_size=8)})
    assert twin_of(costly, optional=True).resources == costly.resources


def test_a_pool_of_several_workers_makes_no_team_of_the_twin():
    pooled = TEXT.model_copy(update={"resources": Resources(num_cpus=0.5, min_workers=2, max_workers=4)})
    assert twin_of(pooled, optional=True).resources == Resources(num_cpus=0.5)


def test_a_twin_reads_what_the_frozen_one_reads():
    first, second = propose_twins("auto", CHOICES, True, WORK).twins
    assert (first.name, second.name) == ("tuned_torchvision", "tuned_transformers")
    assert first.params.model_dump(exclude_unset=True) == {"model": "mobilenet_v2", "weights": "none"}
    assert second.columns == ("title", "body")
    assert first.optional
    assert second.optional
    placed = [first.model_copy(update={"id": "a"}), second.model_copy(update={"id": "b"})]
    assert twin_pairs([*CHOICES, *placed]) == [("photo", "a"), ("text", "b")]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"task": "clustering"}, "no labels"),
        ({"n_rows": 200}, "fewer than 1000 training rows"),
        ({"limit_s": 60.0}, "more than 0.3 of time_limit_s holds; `always`"),
        ({"limit_s": None}, "no time_limit_s allows for that; `always`"),
    ],
    ids=["labels", "rows", "time", "no limit"],
)
def test_without_labels_rows_or_time_there_is_none_and_the_reason_is_told(changes, why):
    found = propose_twins("auto", CHOICES, True, replace(WORK, **changes))
    assert found.twins == ()
    assert why in found.why
    assert found.why.startswith("frozen: ")


def test_the_time_is_spent_once():
    photo, text = seconds_of(PHOTO, WORK), seconds_of(TEXT, WORK)
    assert 0 < photo < text
    assert names(limit_s=photo / SHARE * 0.99) == []
    assert names(limit_s=photo / SHARE * 1.01) == ["tuned_torchvision"]
    assert names(limit_s=text / SHARE * 1.01) == ["tuned_torchvision"]
    assert names(limit_s=(photo + text) / SHARE * 1.01) == ["tuned_torchvision", "tuned_transformers"]
    assert "; frozen: tuning text takes" in propose_twins("auto", CHOICES, True, replace(WORK, limit_s=text)).why


def test_named_extractors_get_twins_only_where_all_shall_have_one():
    assert names(defaults=False) == []
    assert names("never") == []
    assert names("always", defaults=False, n_rows=50, limit_s=None) == ["tuned_torchvision", "tuned_transformers"]
    (twin,) = propose_twins("always", [PHOTO], False, WORK).twins
    assert not twin.optional, "what was asked for is not given up"
    assert names("always", [PHOTO, twin.model_copy(update={"id": "there"})], defaults=False) == []
    other = twin.model_copy(update={"id": "other", "columns": ("picture",)})
    assert names("always", [PHOTO, other], defaults=False) == ["tuned_torchvision"]


def test_longer_texts_more_rows_folds_and_larger_networks_take_longer(tmp_path):
    usual = seconds_of(TEXT, WORK)
    assert seconds_of(TEXT, replace(WORK, characters={"title": 40.0, "body": 800.0})) > 1.5 * usual
    assert seconds_of(TEXT, replace(WORK, n_rows=4000)) == pytest.approx(2 * usual)
    assert seconds_of(TEXT, replace(WORK, folds=3)) < usual
    longest = {"title": 40.0, "body": 1e4}
    assert seconds_of(TEXT, replace(WORK, characters=longest)) == seconds_of(
        TEXT, replace(WORK, characters=longest | {"body": 1e5})
    ), "what is cut off takes no time"
    larger = PHOTO.model_copy(update={"params": PHOTO.params.model_copy(update={"model": "resnet50"})})
    assert seconds_of(larger, WORK) > 2 * seconds_of(PHOTO, WORK)
    folder = tiny_encoder(tmp_path / "tiny")
    tiny = TEXT.model_copy(update={"params": TEXT.params.model_copy(update={"model": str(folder)})})
    assert seconds_of(tiny, WORK) < usual / 10
    assert "blocks" not in twin_of(tiny, optional=False).params.model_fields_set
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}))
    assert twin_of(tiny, optional=False).params.blocks == 1, "no more layers than there are"


def test_what_cannot_be_kept_is_computed_in_every_pass():
    within, beyond = replace(WORK, n_rows=10_000), replace(WORK, n_rows=20_000)
    assert seconds_of(TEXT, beyond) > 2.5 * seconds_of(TEXT, within)

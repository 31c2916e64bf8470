"""Traffic stands as the journal and the champion alias say, whatever became of versions since."""

import pytest

from hybrid_ray.errors import BadInputError, StoreError
from hybrid_ray.serving.standing import TrafficStore
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.testing.graphs import toy_graph


@pytest.fixture
def models(tmp_path):
    store = ModelStore(StoreRoot(str(tmp_path)))
    for _ in range(3):
        store.register(toy_graph(), None)
    store.set_alias("toy", "champion", 1)
    return store


@pytest.fixture
def traffic(models):
    return TrafficStore(models)


def canary(version, share):
    return {"challengers": [{"version": version, "share": share}]}


def test_at_first_the_champion_answers_alone(models, traffic):
    now = traffic.now("toy")
    assert now.traffic.versions == (1,)
    assert (now.by, now.since) == ("", "")
    with pytest.raises(StoreError, match="must be in"):
        traffic.now("other")


def test_without_an_alias_the_newest_is_champion(tmp_path):
    store = ModelStore(StoreRoot(str(tmp_path / "new")))
    for _ in range(2):
        store.register(toy_graph(), None)
    assert TrafficStore(store).now("toy").traffic.champion == 2


def test_a_canary_is_set_and_changed_and_the_revision_tells(traffic):
    revisions = [traffic.now("toy").revision]
    for share in (0.1, 0.3):
        revisions.append(traffic.set("toy", canary(2, share), by="cli", reason="try it").revision)
    now = traffic.now("toy")
    assert now.traffic.challengers[0].share == 0.3
    assert (now.by, now.reason) == ("cli", "try it")
    assert len(set(revisions)) == 3
    assert traffic.clear("toy", by="cli").traffic.versions == (1,)
    assert len(traffic.history("toy")) == 3


def test_promoting_the_canary_ends_the_canary(models, traffic):
    traffic.set("toy", {**canary(2, 0.1), "rule": {}}, by="cli")
    models.set_alias("toy", "champion", 2)
    now = traffic.now("toy")
    assert now.traffic.versions == (2,)
    assert now.traffic.rule is None
    assert traffic.promote("toy", 3, by="rule", reason="every limit is kept").traffic.champion == 3


def test_a_version_that_is_deleted_answers_no_more(models, traffic):
    traffic.set("toy", {**canary(2, 0.1), "shadows": [3]}, by="cli")
    models.delete("toy", 3)
    assert traffic.now("toy").traffic.versions == (1, 2)
    models.delete("toy", 2)
    assert traffic.now("toy").traffic.versions == (1,)


@pytest.mark.parametrize(
    ("form", "told"),
    [
        (canary(9, 0.1), r"got \[9\], there are \[1, 2, 3\]"),
        (canary(2, 1.5), r"challengers.0.share: .*less than or equal to 1"),
        ({"champion_share": 1}, "champion_share"),
        ({"shadows": [1]}, "none the champion"),
        ({"challengers": "all"}, "challengers"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_changes(traffic, form, told):
    before = traffic.now("toy")
    with pytest.raises(BadInputError, match=told):
        traffic.set("toy", form, by="cli")
    assert traffic.now("toy") == before

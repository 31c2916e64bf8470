"""Where the stages of a graph run, and what they ask of Ray."""

from __future__ import annotations

import numpy as np
import pytest

from hybrid_ray.errors import BadInputError, ResourceError, RunFailedError
from hybrid_ray.on_ray.failures import worker_error
from hybrid_ray.on_ray.resources import ClusterView, Node
from hybrid_ray.on_ray.serve.placement import MEMBERS, ServePlan, Share, generated_batch, measure_nodes, plan_serve
from hybrid_ray.spec import ScaleSpec, ServeSpec
from hybrid_ray.testing.graphs import ToyImage, toy_batch, toy_graph, toy_rows
from hybrid_ray.types import Batch, Prepared

GRAPH = toy_graph()
CHEAP = dict.fromkeys([*GRAPH.groups(), MEMBERS], 0.5)


def shares(plan: ServePlan) -> list[Share]:
    return [plan.ingress, *plan.extractors.values(), *([plan.members] if plan.members else [])]


def plan(
    placement: str,
    view: ClusterView,
    costs: dict[str, float] | None = None,
    scale: ScaleSpec | None = None,
    hop_ms: float = 7.0,
) -> ServePlan:
    limits = ServeSpec(placement=placement, **({"extractors": scale} if scale else {}))
    return plan_serve(GRAPH, limits, view, costs, hop_ms)


def test_split_moves_everything_out_and_together_nothing() -> None:
    split = plan("split", ClusterView.single(8))
    assert set(split.extractors) == {"picture", "words", "table"}
    assert split.members is not None
    together = plan("together", ClusterView.single(8), {"picture": 1000.0})
    assert (together.extractors, together.members) == ({}, None)
    assert "everything runs in the ingress" in together.describe()


@pytest.mark.parametrize(
    ("costs", "hop_ms", "away", "members"),
    [
        (CHEAP, 7.0, set(), False),
        (CHEAP | {"picture": 30.0}, 7.0, {"picture"}, False),
        (CHEAP | {"picture": 30.0, MEMBERS: 9.0}, 7.0, {"picture"}, True),
        (CHEAP | {MEMBERS: 9.0}, 7.0, set(), False),
        (CHEAP | {"words": 3.0}, 7.0, set(), False),
        (CHEAP | {"words": 3.0}, 2.0, {"words"}, False),
    ],
)
def test_auto_moves_out_what_costs_more_than_a_hop(
    costs: dict[str, float], hop_ms: float, away: set[str], members: bool
) -> None:
    made = plan("auto", ClusterView.single(8), costs, hop_ms=hop_ms)
    assert set(made.extractors) == away
    assert (made.members is not None) == members


@pytest.mark.parametrize("placement", ["split", "together", "auto"])
@pytest.mark.parametrize("nodes", [(0.25,), (1,), (2,), (64,), (1, 1, 1), (0, 4), (2, 0.5)])
@pytest.mark.parametrize("least", [0, 1, 3])
def test_what_must_start_fits_the_nodes(placement: str, nodes: tuple[float, ...], least: int) -> None:
    view = ClusterView(tuple(Node(cpus, 0, 2**33, 2**30) for cpus in nodes))
    made = plan(placement, view, CHEAP, ScaleSpec(min_replicas=least, max_replicas=max(least, 4)))
    cpus = {share.num_cpus for share in shares(made)}
    assert len(cpus) == 1
    one = cpus.pop()
    assert 0 < one <= 1
    assert sum(int(node / one + 1e-9) for node in nodes) >= sum(share.min_replicas for share in shares(made))
    assert all(share.max_replicas >= max(share.min_replicas, 1) for share in shares(made))


def test_gpus_are_shared_and_pull_their_extractors_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setattr(ToyImage, "tags", replace(ToyImage.tags, gpu=True))
    view = ClusterView.single(8, gpus=1)
    made = plan("auto", view, CHEAP)
    assert set(made.extractors) == {"picture"}
    assert made.extractors["picture"].num_gpus == 1
    assert made.ingress.num_gpus == 0
    assert made.extractors["picture"].max_replicas == 1
    three = plan("auto", view, CHEAP, ScaleSpec(min_replicas=3, max_replicas=9))
    assert three.extractors["picture"].num_gpus == pytest.approx(0.33)
    assert three.extractors["picture"].max_replicas == 3
    together = plan("together", view, CHEAP)
    assert together.ingress.num_gpus == 1


def test_no_cpu_is_said() -> None:
    with pytest.raises(ResourceError, match="serving needs a CPU; got 0 CPUs"):
        plan("auto", ClusterView.single(0))
    with pytest.raises(ResourceError, match="replicas must fit the cluster"):
        plan("split", ClusterView.single(0.02))


def test_nodes_are_measured_on_rows_with_every_modality() -> None:
    batch = generated_batch(GRAPH, 2)
    assert all(block.present.all() for block in GRAPH.extract(batch).values())
    assert np.isfinite(GRAPH.outputs(batch)).all()
    costs = measure_nodes(GRAPH, batch, repeats=2)
    assert set(costs) == {"picture", "words", "table", MEMBERS}
    assert all(cost > 0 for cost in costs.values())


def test_the_row_with_most_columns_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = list(toy_rows(3, missing=0.0))
    batch = toy_batch([{"title": "word"}, rows[1], {"price": 1.0}])
    seen: list[int] = []
    prepare = ToyImage.prepare

    def watched(self: ToyImage, batch: Batch) -> Prepared:
        seen.append(int((batch["photo"] != None).sum()))  # noqa: E711 - elementwise
        return prepare(self, batch)

    monkeypatch.setattr(ToyImage, "prepare", watched)
    measure_nodes(GRAPH, batch, repeats=1)
    assert set(seen) == {1}


CHAIN = (
    "\n\nThe above exception was the direct cause of the following exception:\n\n"
    "ray.exceptions.UserCodeException: UDF failed"
)
MUST = "p: its workers must not fail; got"


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        (f"Traceback\n  File x\nhybrid_ray.errors.DataError: data: no rows{CHAIN}", BadInputError, "data: no rows"),
        (f"hybrid_ray.errors.NotFittedError: not fitted{CHAIN}", RunFailedError, "not fitted"),
        (
            f"ValueError: a{CHAIN}\nOSError: disk full{CHAIN}",
            RunFailedError,
            f"{MUST} OSError: disk full",
        ),
        (
            "hybrid_ray.errors.Unheard: x" + CHAIN,
            RunFailedError,
            f"{MUST} hybrid_ray.errors.Unheard: x",
        ),
        ("The actor died.\nmore", RunFailedError, f"{MUST} The actor died."),
        ("", RunFailedError, f"{MUST} Exception"),
    ],
)
def test_a_workers_last_words(text: str, kind: type[Exception], said: str) -> None:
    error = worker_error(Exception(text), "p")
    assert type(error) is kind
    assert str(error) == said

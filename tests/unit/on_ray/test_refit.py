"""What is said of workers that failed, and how many there are."""

import pytest
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback
from ray.train.v2.api.exceptions import WorkerGroupError

from hybrid_ray.errors import ResourceError, RunFailedError
from hybrid_ray.on_ray.resources import ClusterView, Node, plan_refit
from hybrid_ray.on_ray.teams import LostWorkersError, worker_fault


def failed(cause: BaseException) -> WorkerGroupError:
    return WorkerGroupError("[Rank 1]", {1: UserExceptionWithTraceback(cause, "Traceback: ...")})


def test_what_a_worker_raised_on_purpose_is_raised():
    ours = RunFailedError("features of a: every shard must be as it was written")
    assert worker_fault(failed(ours), "refit of xgboost(a)#1") is ours


def test_another_fault_names_the_fit():
    fault = worker_fault(failed(OSError(98, "Binding port 4711 failed")), "refit of lightgbm(a)#1")
    assert isinstance(fault, LostWorkersError)
    assert str(fault) == (
        "refit of lightgbm(a)#1: its workers must not fail; got OSError: [Errno 98] Binding port 4711 failed"
    )


def view(*cpus: float) -> ClusterView:
    return ClusterView(tuple(Node(each, 0, 1000, 100) for each in cpus))


def test_a_worker_a_node_unless_another_number_is_asked_for():
    view = ClusterView((Node(8, 0, 1000, 100), Node(4, 0, 3000, 100), Node(0, 0, 9000, 100)))
    assert plan_refit(view).workers == 2
    assert plan_refit(view).cpus == 4
    assert plan_refit(view, 3).cpus == 4
    assert plan_refit(view).memory == 2400
    assert plan_refit(ClusterView.single(2), 1).threads == 2
    assert 0 < plan_refit(ClusterView.single(2), 4).cpus <= 0.5
    with pytest.raises(ResourceError, match="at least one node must have a CPU"):
        plan_refit(ClusterView.single(0))
    with pytest.raises(ResourceError, match=r"got 201, it holds 200 of 0\.01 CPUs\. Ask for fewer"):
        plan_refit(ClusterView.single(2), 201)


@pytest.mark.parametrize(
    ("nodes", "workers", "cpus"),
    [
        ((16, 16, 1), 2, 16),
        ((1, 16), 1, 16),
        ((8, 6, 5, 0.5), 3, 5),
        ((8, 4), 2, 4),
        ((12, 6, 4), 3, 4),
    ],
    ids=["a tiny node is left out", "one node is enough", "two are", "equals: more workers", "three equals"],
)
def test_a_tiny_node_does_not_make_all_workers_small(nodes, workers, cpus):
    plan = plan_refit(view(*nodes))
    assert (plan.workers, plan.cpus, plan.threads) == (workers, cpus, cpus)


@pytest.mark.parametrize(
    ("nodes", "asked", "cpus"),
    [((8, 8, 1), 3, 4), ((8, 8, 1), 5, 2.66), ((8, 8, 1), 18, 0.88), ((16, 4), 3, 5.33), ((4, 4), 3, 2)],
)
def test_workers_that_are_asked_for_are_as_large_as_fit(nodes, asked, cpus):
    assert plan_refit(view(*nodes), asked).cpus == cpus

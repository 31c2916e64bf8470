"""Plans over many clusters: nothing that is held for long may keep a short task waiting."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_ray.errors import ResourceError
from hybrid_ray.on_ray.resources import (
    ClusterView,
    Node,
    makespan,
    plan_extraction,
    plan_refit,
    plan_search,
    plan_team,
    shared_bytes,
)
from hybrid_ray.spec import Resources

GIB = 2**30

nodes = st.builds(
    Node,
    cpus=st.integers(1, 96).map(float),
    gpus=st.sampled_from([0.0, 0.0, 1.0, 2.0, 8.0]),
    memory=st.integers(1, 512).map(lambda g: g * GIB),
    object_store=st.integers(1, 64).map(lambda g: g * GIB),
)
views = st.lists(nodes, min_size=1, max_size=6).map(lambda n: ClusterView(tuple(n)))
small_views = st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=1, max_size=3).map(
    lambda cpus: ClusterView(tuple(Node(c, 0, 64 * GIB, GIB) for c in cpus))
)


def placements(view, plan):
    """Every way to put the plan's actors on the nodes, as CPUs that are left free on each node."""
    most = [int(node.cpus / plan.cpus + 1e-9) if plan.cpus else plan.actors for node in view.nodes]
    for counts in itertools.product(*(range(min(m, plan.actors) + 1) for m in most)):
        if sum(counts) == plan.actors:
            yield [node.cpus - n * plan.cpus for node, n in zip(view.nodes, counts, strict=True)]


@given(view=views, units=st.integers(1, 500))
def test_actors_and_one_read_fit_the_cluster(view, units):
    plan = plan_extraction(view, gpu=False, asked=Resources(), units=units, where="extractors[0]")
    assert plan.actors >= 1
    assert plan.actors * plan.cpus + plan.read_cpus <= view.cpus + 1e-9
    assert 0 < plan.read_cpus <= 1
    assert plan.actors <= max(units, 1)
    assert plan.actors * plan.threads <= max(view.cpus, plan.actors)
    assert plan.readers * plan.read_cpus + plan.actors * plan.cpus <= view.cpus + 1e-9 or plan.readers == 1


@given(view=small_views, units=st.integers(1, 9))
def test_wherever_the_actors_are_put_a_read_still_fits_some_node(view, units):
    plan = plan_extraction(view, gpu=False, asked=Resources(), units=units, where="extractors[0]")
    ways = list(placements(view, plan))
    assert ways
    assert all(max(free) >= plan.read_cpus - 1e-9 for free in ways)


@given(view=small_views, trials=st.integers(1, 9))
def test_wherever_the_trials_are_put_a_short_task_still_fits_some_node(view, trials):
    plan = plan_search(view, matrix_bytes=2**20, copies=1, max_concurrent=trials)

    class Pool:
        actors, cpus = plan.concurrent, plan.cpus

    assert plan.spare > 0
    assert all(max(free) >= plan.spare - 1e-9 for free in placements(view, Pool))


@given(view=views, units=st.integers(1, 500), share=st.sampled_from([None, 0.25, 0.5, 1.0]))
def test_gpu_pools_fit_devices_and_leave_a_read(view, units, share):
    if view.gpus == 0:
        return
    plan = plan_extraction(view, gpu=True, asked=Resources(num_gpus=share), units=units, where="extractors[0]")
    assert plan.device == "cuda"
    assert plan.gpus == (share or 1.0)
    assert plan.actors * plan.gpus <= view.gpus
    assert plan.actors * (plan.cpus + plan.decoders) + plan.read_cpus <= view.cpus + 1e-9


@pytest.mark.parametrize(("cpus", "actors"), [(1, 1), (2, 2), (4, 4), (16, 16)])
def test_on_one_node_every_core_works(cpus, actors):
    plan = plan_extraction(
        ClusterView.single(cpus, memory=64 * GIB), gpu=False, asked=Resources(), units=100, where="x"
    )
    assert (plan.actors, plan.threads, plan.decoders) == (actors, 1, 0)
    assert plan.cpus > 0


def test_fewer_pieces_than_cores_give_threads_instead_of_idle_actors():
    plan = plan_extraction(ClusterView.single(16, memory=64 * GIB), gpu=False, asked=Resources(), units=4, where="x")
    assert (plan.actors, plan.threads) == (4, 4)


def test_little_memory_means_few_actors():
    plan = plan_extraction(ClusterView.single(16, memory=4 * GIB), gpu=False, asked=Resources(), units=99, where="x")
    assert plan.actors == 2
    assert plan.threads == 8


def test_a_gpu_is_fed_by_decoders_on_the_other_cpus():
    plan = plan_extraction(ClusterView.single(16, gpus=1), gpu=True, asked=Resources(), units=100, where="x")
    assert (plan.actors, plan.gpus, plan.device) == (1, 1.0, "cuda")
    assert plan.decoders >= 12


def test_a_fraction_of_a_gpu_never_spans_two_devices():
    view = ClusterView.single(16, gpus=2, memory=64 * GIB)
    plan = plan_extraction(view, gpu=True, asked=Resources(num_gpus=0.6), units=100, where="x")
    assert plan.actors == 2


def test_a_gpu_box_with_one_cpu_decodes_in_the_actor():
    plan = plan_extraction(ClusterView.single(1, gpus=1), gpu=True, asked=Resources(), units=100, where="x")
    assert (plan.actors, plan.decoders, plan.device) == (1, 0, "cuda")
    assert plan.cpus + plan.read_cpus <= 1


def test_an_extractor_that_gains_nothing_from_a_gpu_leaves_it_alone():
    plan = plan_extraction(ClusterView.single(4, gpus=1), gpu=False, asked=Resources(), units=9, where="x")
    assert (plan.device, plan.gpus) == ("cpu", 0.0)


def test_what_is_asked_is_kept():
    asked = Resources(num_cpus=1, batch_size=7, max_workers=2)
    plan = plan_extraction(ClusterView.single(8, memory=64 * GIB), gpu=False, asked=asked, units=99, where="x")
    assert (plan.actors, plan.cpus, plan.batch_size, plan.threads) == (2, 1, 7, 1)


@pytest.mark.parametrize(("num_cpus", "actors"), [(2, 1), (1, 2)])
def test_workers_that_ask_for_the_whole_node_get_reads_that_ask_for_nothing(num_cpus, actors):
    plan = plan_extraction(ClusterView.single(2), gpu=False, asked=Resources(num_cpus=num_cpus), units=9, where="x")
    assert (plan.actors, plan.cpus, plan.read_cpus, plan.readers) == (actors, num_cpus, 0, 1)


@pytest.mark.parametrize(
    ("view", "asked", "match"),
    [
        (ClusterView.single(2), Resources(num_gpus=2), r"extractors\[0\]\.resources\.num_gpus: .*got 2, .*0 GPUs"),
        (ClusterView.single(2, gpus=1), Resources(num_gpus=2), r"num_gpus: .*got 2, the largest node has 1 GPUs"),
        (ClusterView.single(8, gpus=4), Resources(num_gpus=1.5), "above one GPU it must be whole; got 1.5"),
        (ClusterView.single(2), Resources(num_cpus=3), r"num_cpus: .*got 3, the largest node has 2"),
        (ClusterView.single(0), Resources(), "at least one node must have a CPU"),
        (ClusterView.single(2), Resources(num_cpus=1, min_workers=8), r"min_workers: .*got 8, it holds 2"),
    ],
)
def test_what_cannot_be_is_refused_with_what_is_missing(view, asked, match):
    with pytest.raises(ResourceError, match=match) as caught:
        plan_extraction(view, gpu=False, asked=asked, units=100, where="extractors[0]")
    assert caught.value.exit_code == 2


@given(view=views, matrix=st.integers(0, 32), copies=st.floats(0, 4))
def test_trials_fit_cpus_and_memory_or_are_refused(view, matrix, copies):
    need = matrix * GIB * (1 + copies) + GIB / 4
    if matrix * GIB > view.smallest_store or need > 0.8 * max(node.memory for node in view.nodes):
        with pytest.raises(ResourceError, match=r"Lower search\.max_matrix"):
            plan_search(view, matrix_bytes=matrix * GIB, copies=copies)
        return
    plan = plan_search(view, matrix_bytes=matrix * GIB, copies=copies)
    assert plan.concurrent * plan.cpus + plan.spare <= view.cpus + 1e-9
    assert plan.concurrent * plan.memory <= view.memory
    assert plan.threads >= 1
    assert plan.concurrent * plan.threads <= max(view.cpus, plan.concurrent)


def test_a_search_uses_every_core_and_no_more_than_it_may():
    view = ClusterView.single(8, memory=64 * GIB)
    assert plan_search(view, matrix_bytes=2**20, copies=1).concurrent == 8
    assert plan_search(view, matrix_bytes=2**20, copies=1, max_concurrent=3).concurrent == 3
    assert plan_search(view, matrix_bytes=2**20, copies=1, batch=4).threads == 2


def test_a_tiny_node_does_not_make_actors_and_trials_small():
    view = ClusterView(tuple(Node(cpus, 0, 64 * GIB, GIB) for cpus in (8, 8, 1)))
    search = plan_search(view, matrix_bytes=2**20, copies=1, max_concurrent=3)
    assert (search.concurrent, search.cpus) == (3, 4)
    pool = plan_extraction(view, gpu=False, asked=Resources(), units=3, where="x")
    assert (pool.actors, pool.cpus) == (3, 4)


@given(view=views, workers=st.integers(1, 500))
def test_workers_of_a_refit_fit_the_nodes_and_no_larger_ones_would(view, workers):
    def held(cpus: float) -> int:
        return sum(int(node.cpus / cpus + 1e-9) for node in view.nodes)

    plan = plan_refit(view, workers)
    assert plan.workers == workers
    assert held(plan.cpus) >= workers > held(plan.cpus + 0.011)


def test_makespan_is_that_of_workers_taking_the_next_piece():
    assert makespan([10, 10, 10], 2) == 20
    assert makespan([10, 10, 4], 2) == 14
    assert makespan([], 3) == 0


@pytest.mark.parametrize(
    ("asked", "workers"),
    [({}, 1), ({"max_workers": 1}, 1), ({"max_workers": 3}, 3), ({"max_workers": 9}, 4), ({"min_workers": 2}, 2)],
    ids=str,
)
def test_a_training_has_the_workers_that_are_asked_for_and_fit(asked, workers):
    view = ClusterView((Node(3, 0, 64 * GIB, GIB), Node(1, 0, 64 * GIB, GIB)))
    assert plan_team(view, 1.0, 0.0, asked=Resources(**asked), where="x") == workers


def test_workers_of_a_training_need_memory_and_gpus_too():
    view = ClusterView((Node(8, 0, 4 * GIB, GIB),))
    assert plan_team(view, 1.0, 0.0, asked=Resources(max_workers=8), where="x") == 2
    view = ClusterView((Node(16, 2, 64 * GIB, GIB), Node(16, 0, 64 * GIB, GIB)))
    assert plan_team(view, 1.0, 1.0, asked=Resources(max_workers=8), where="x") == 2
    with pytest.raises(ResourceError, match=r"x\.resources\.min_workers: .* got 3, it holds 2 of 1 CPUs, 1 GPUs"):
        plan_team(view, 1.0, 1.0, asked=Resources(min_workers=3), where="x")


def test_what_fits_share_takes_part_of_the_smallest_store():
    busy, head = Node(0, 0, GIB, 4 * GIB), Node(0, 0, GIB, GIB, computes=False)
    assert shared_bytes(ClusterView((Node(1, 0, GIB, 8 * GIB), busy))) == GIB
    assert shared_bytes(ClusterView((Node(1, 0, GIB, 8 * GIB), busy, head))) == GIB, (
        "no object of ours goes to the head"
    )

"""Contract checks of fusions: data level, feature level and decision level.

For a fusion of your own::

    CASES = [(case, check) for case in cases(MyFusion) for check in yield_checks(MyFusion)]

    @pytest.mark.parametrize(("case", "check"), CASES, ids=lambda part: getattr(part, "__name__", str(part)))
    def test_my_fusion(case, check):
        check(MyFusion, case)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import cycle
from typing import Any

from hybrid_ray.estimators.base import Trial
from hybrid_ray.fusion.base import DataFusion, DecisionFusion, FeatureFusion, Fusion
from hybrid_ray.testing.data_fusions import (
    check_data_column,
    check_data_every_part_counts,
    check_data_inputs_kept,
    check_data_missing_name,
    check_data_missing_parts,
    check_data_order,
    check_data_quiet,
    check_data_rows_alone,
    check_data_state,
    check_data_unreadable,
)
from hybrid_ray.testing.decision_fusions import (
    check_decision_finds_the_good,
    check_decision_inputs_kept,
    check_decision_missing_member,
    check_decision_order,
    check_decision_outputs,
    check_decision_quiet,
    check_decision_seeded,
    check_decision_state,
    check_decision_weights,
    check_pool_between,
    check_pool_simplex,
    check_pool_sole_member,
)
from hybrid_ray.testing.feature_fusions import (
    check_feature_absent_rows,
    check_feature_constant_columns,
    check_feature_inputs_kept,
    check_feature_matrix,
    check_feature_missing_name,
    check_feature_order,
    check_feature_quiet,
    check_feature_rows_alone,
    check_feature_state,
    check_feature_training_rows,
)
from hybrid_ray.testing.fusion_cases import FusionCase
from hybrid_ray.testing.trials import check_params, check_points, check_space
from hybrid_ray.types import ENCODED, Task

MEMBERS = (1, 2, 9)
TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression", "forecasting")
DIMS: tuple[Mapping[str, int], ...] = (
    {"a": 3},
    {"a": 3, "b": 200},
    {"a": 384, "b": 384},
    {"image": 1280, "text": 384, "table": 12},
)


Check = Callable[[Any, FusionCase], None]


def cases(fusion: type[Fusion]) -> Iterator[FusionCase]:
    """Every example of the fusion; at decision level with every task, at feature level the first with two tasks."""
    for number, params in enumerate(fusion.examples()):
        for task in _tasks(fusion) if number == 0 or issubclass(fusion, DecisionFusion) else _tasks(fusion)[:1]:
            yield FusionCase(params, task)


def yield_checks(fusion: type[Fusion]) -> Iterator[Check]:
    """Every check that a case of the fusion must pass."""
    if issubclass(fusion, DataFusion):
        yield from (
            check_data_column,
            check_data_order,
            check_data_rows_alone,
            check_data_missing_parts,
            check_data_missing_name,
            check_data_every_part_counts,
            check_data_inputs_kept,
            check_data_state,
            check_data_quiet,
        )
        if fusion.takes & ENCODED:
            yield check_data_unreadable
    if issubclass(fusion, FeatureFusion):
        yield from (
            check_feature_matrix,
            check_feature_order,
            check_feature_state,
            check_feature_inputs_kept,
            check_feature_missing_name,
            check_feature_absent_rows,
            check_feature_constant_columns,
            check_feature_rows_alone,
            check_feature_training_rows,
            check_feature_quiet,
        )
    if issubclass(fusion, DecisionFusion):
        yield from (
            check_decision_outputs,
            check_decision_order,
            check_decision_seeded,
            check_decision_state,
            check_decision_inputs_kept,
            check_decision_missing_member,
            check_decision_weights,
            check_decision_finds_the_good,
            check_decision_quiet,
        )
        if fusion.pool:
            yield from (check_pool_simplex, check_pool_sole_member, check_pool_between)


def yield_fusion_checks(fusion: type[Fusion]) -> Iterator[Callable[[Any], None]]:
    """Every check of the fusion's parameters and its search."""
    yield check_described
    if issubclass(fusion, FeatureFusion):
        yield check_feature_search
    if issubclass(fusion, DecisionFusion):
        yield check_decision_search


def check_described(fusion: type[Fusion]) -> None:
    """Every parameter has a default, a description and, when it is a number, bounds."""
    check_params(fusion.Params)


def check_feature_search(fusion: type[FeatureFusion]) -> None:
    """Starts are complete and valid for blocks of any width, and one study can search over all of them."""
    for dims in DIMS:
        check_points(fusion.Params, fusion.portfolio(dims), partial(_feature_space, fusion, dims))
    turns = cycle(DIMS)
    check_space(fusion.Params, lambda trial: fusion.space(trial, next(turns)))


def check_decision_search(fusion: type[DecisionFusion]) -> None:
    """Starts are complete and valid for any number of members and any task."""
    for task in _tasks(fusion):
        for n in MEMBERS:
            check_points(fusion.Params, fusion.portfolio(n, task), partial(_decision_space, fusion, n, task))
        check_space(fusion.Params, partial(_any_members, fusion, cycle(MEMBERS), task))


def _tasks(fusion: type[Fusion]) -> list[Task]:
    """Tasks to check a fusion with: all that it serves; at feature level two classes are no other task than three."""
    if issubclass(fusion, DecisionFusion):
        return [task for task in TASKS if task in fusion.tasks]
    return [*TASKS[1:3]] if issubclass(fusion, FeatureFusion) else [*TASKS[:1]]


def _feature_space(fusion: type[FeatureFusion], dims: Mapping[str, int], trial: Trial) -> dict[str, Any]:
    return fusion.space(trial, dims)


def _decision_space(fusion: type[DecisionFusion], n_members: int, task: Task, trial: Trial) -> dict[str, Any]:
    return fusion.space(trial, n_members, task)


def _any_members(fusion: type[DecisionFusion], turns: Iterator[int], task: Task, trial: Trial) -> dict[str, Any]:
    return fusion.space(trial, next(turns), task)

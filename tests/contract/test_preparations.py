import pytest

from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import PREPARATIONS
from hybrid_ray.testing.preparations import TASKS, cases, yield_checks, yield_step_checks

load_plugins()
NAMES = [name for name, step in PREPARATIONS.items() if step.__module__.startswith("hybrid_ray.preparation")]

CASES = [
    pytest.param(name, case, check, id=f"{name}-{case}-{check.__name__}")
    for name in NAMES
    for case in cases(PREPARATIONS.get(name))
    for check in yield_checks(PREPARATIONS.get(name))
]
SEARCHES = [
    pytest.param(name, task, check, id=f"{name}-{task}-{check.__name__}")
    for name in NAMES
    for task in TASKS
    if task in PREPARATIONS.get(name).tasks
    for check in yield_step_checks(PREPARATIONS.get(name))
]


@pytest.mark.parametrize(("name", "case", "check"), CASES)
def test_preparation_contract(name, case, check):
    check(PREPARATIONS.get(name), case)


@pytest.mark.parametrize(("name", "task", "check"), SEARCHES)
def test_preparation_search(name, task, check):
    check(PREPARATIONS.get(name), task)


def test_every_named_preparation_is_there():
    assert set(NAMES) == {
        "clip", "drop_outliers", "filter_labels", "gan_augmentation", "oversample", "smote", "undersample", "unskew",
        "weigh_classes",
    }  # fmt: skip

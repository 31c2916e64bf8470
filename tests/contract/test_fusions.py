import pytest

from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import FUSIONS
from hybrid_ray.testing.fusions import cases, yield_checks, yield_fusion_checks

load_plugins()
NAMES = [name for name, fusion in FUSIONS.items() if fusion.__module__.startswith("hybrid_ray.fusion")]

CASES = [
    pytest.param(name, case, check, id=f"{name}-{case}-{check.__name__}")
    for name in NAMES
    for case in cases(FUSIONS.get(name))
    for check in yield_checks(FUSIONS.get(name))
]
SEARCHES = [
    pytest.param(name, check, id=f"{name}-{check.__name__}")
    for name in NAMES
    for check in yield_fusion_checks(FUSIONS.get(name))
]


@pytest.mark.parametrize(("name", "case", "check"), CASES)
def test_fusion_contract(name, case, check):
    check(FUSIONS.get(name), case)


@pytest.mark.parametrize(("name", "check"), SEARCHES)
def test_fusion_search(name, check):
    check(FUSIONS.get(name))


def test_every_named_fusion_is_there():
    assert set(NAMES) == {
        "channels", "cleaned", "joined", "mel_picture", "mel_series", "serialised", "tiled",
        "adaptive", "attention", "bilinear", "canonical", "concat", "forecasts", "gated", "selected",
        "alarm", "bayesian_averaging", "bayesian_fusion", "calibrated", "layered_stacking", "linear_pool", "log_pool",
        "meta_stacking", "stacking", "voting",
    }  # fmt: skip

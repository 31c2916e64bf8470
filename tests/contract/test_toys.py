"""The toy plugins of the toy graph keep the contracts that they stand for."""

from __future__ import annotations

from typing import Any

import pytest

from hybrid_ray.testing import estimators, extractors, fusions
from hybrid_ray.testing.graphs import ToyConcat, ToyImage, ToyLinear, ToyMean, ToyTable, ToyText

ROOMS: list[tuple[Any, list[Any]]] = [
    (extractors, [ToyImage, ToyText, ToyTable]),
    (estimators, [ToyLinear]),
    (fusions, [ToyConcat, ToyMean]),
]
CASES = [
    pytest.param(toy, case, check, id=f"{toy.__name__}-{case}-{check.__name__}")
    for room, toys in ROOMS
    for toy in toys
    for case in room.cases(toy)
    for check in room.yield_checks(toy)
]


@pytest.mark.parametrize(("toy", "case", "check"), CASES)
def test_toy_contract(toy: Any, case: Any, check: Any) -> None:
    check(toy, case)

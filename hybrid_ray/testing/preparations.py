"""Contract checks of preparations.

For a preparation of your own::

    CASES = [(case, check) for case in cases(MyStep) for check in yield_checks(MyStep)]

    @pytest.mark.parametrize(("case", "check"), CASES, ids=lambda part: getattr(part, "__name__", str(part)))
    def test_my_step(case, check):
        check(MyStep, case)
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hybrid_ray.estimators.base import Trial
from hybrid_ray.params import PluginParams
from hybrid_ray.preparation.base import Preparation, Rows
from hybrid_ray.testing.estimators import stored
from hybrid_ray.testing.feature_fusions import toy_blocks
from hybrid_ray.testing.trials import check_params, check_points, check_space
from hybrid_ray.types import AnyArray, Block, Task

SEED = 7
N = 60
TASKS: tuple[Task, ...] = ("binary", "multiclass", "regression")
_SHARES: Mapping[Task, tuple[int, ...]] = {"binary": (47, 13), "multiclass": (38, 15, 7)}


@dataclass(frozen=True)
class Case:
    """One instance to check: a task and the step's parameters."""

    params: PluginParams
    task: Task

    def __str__(self) -> str:
        changed = self.params.model_dump(exclude_defaults=True)
        return f"{self.task}[{','.join(f'{name}={value}' for name, value in changed.items())}]"


Check = Callable[[type[Preparation], Case], None]


def cases(step: type[Preparation]) -> Iterator[Case]:
    """Every example of the step with every task that it serves."""
    for params in step.examples():
        for task in TASKS:
            if task in step.tasks:
                yield Case(params, task)


def yield_checks(step: type[Preparation]) -> Iterator[Check]:
    """Every check that a case of the step must pass."""
    yield check_transform
    yield check_state
    yield check_order
    yield check_inputs_kept
    yield check_rows_alone
    yield check_absent_rows
    yield check_constant_columns
    yield check_resampled
    yield check_labels_stay_with_rows
    yield check_origin
    yield check_seeded
    yield check_few_rows
    yield check_weights
    yield check_quiet


def yield_step_checks(step: type[Preparation]) -> Iterator[Callable[[type[Preparation], Task], None]]:
    """Every check of the step's parameters and its search, for one task."""
    yield check_described
    yield check_search


def toy_labels(task: Task, n: int = N, seed: int = 0) -> AnyArray:
    """Codes of classes of different size, shuffled, or numbers with a few far out; (n,)."""
    rng = np.random.default_rng(seed)
    if task == "regression":
        return np.asarray(rng.normal(size=n) + 9.0 * (rng.random(n) < 0.05))
    counts = np.array(_SHARES[task])
    return rng.permutation(np.repeat(np.arange(len(counts)), counts))[:n]


def _fitted(step: type[Preparation], case: Case, blocks: Mapping[str, Block]) -> Preparation:
    return step(case.params).fit(blocks, toy_labels(case.task), case.task, seed=SEED)


def _resampled(step: type[Preparation], case: Case, blocks: Mapping[str, Block], y: AnyArray) -> Rows:
    return step(case.params).fit(blocks, y, case.task, seed=SEED).resample(blocks, y, case.task, seed=SEED)


def _equal(found: Mapping[str, Block], expected: Mapping[str, Block]) -> None:
    assert set(found) == set(expected)
    for name, block in expected.items():
        np.testing.assert_array_equal(found[name].values, block.values)
        np.testing.assert_array_equal(found[name].present, block.present)


def check_described(step: type[Preparation], task: Task) -> None:
    """Every parameter has a default, a description and, when it is a number, bounds."""
    check_params(step.Params)


def check_search(step: type[Preparation], task: Task) -> None:
    """Starts are complete and valid, and one study can take every draw."""

    def space(trial: Trial) -> dict[str, Any]:
        return step.space(trial, task)

    check_points(step.Params, step.portfolio(task), space)
    check_space(step.Params, space)


def check_transform(step: type[Preparation], case: Case) -> None:
    """Names, widths, rows and ``present`` stay; values are finite float32, for training rows, new rows and none."""
    blocks = toy_blocks()
    fitted = _fitted(step, case, blocks)
    for given in (blocks, toy_blocks(n=5, seed=1), {n: b.take(slice(0, 0)) for n, b in blocks.items()}):
        out = fitted.transform(given)
        assert set(out) == set(given)
        for name, block in given.items():
            assert out[name].values.dtype == np.float32
            assert out[name].values.shape == block.values.shape
            assert np.isfinite(out[name].values).all()
            np.testing.assert_array_equal(out[name].present, block.present)


def check_state(step: type[Preparation], case: Case) -> None:
    """A step that was saved and loaded transforms bit-equal."""
    blocks = toy_blocks()
    fitted = _fitted(step, case, blocks)
    loaded = step.from_state(case.params, stored(fitted.get_state()))
    _equal(loaded.transform(blocks), fitted.transform(blocks))


def check_order(step: type[Preparation], case: Case) -> None:
    """The order of blocks changes nothing, in training and after."""
    blocks, y = toy_blocks(), toy_labels(case.task)
    turned = dict(reversed(blocks.items()))
    _equal(_fitted(step, case, turned).transform(blocks), _fitted(step, case, blocks).transform(blocks))
    one, other = _resampled(step, case, blocks, y), _resampled(step, case, turned, y)
    _equal(other.blocks, one.blocks)
    np.testing.assert_array_equal(other.y, one.y)


def check_inputs_kept(step: type[Preparation], case: Case) -> None:
    """Blocks and labels may be read-only and are never written to."""
    blocks, y = toy_blocks(), toy_labels(case.task)
    y.flags.writeable = False
    for block in blocks.values():
        block.values.flags.writeable = block.present.flags.writeable = False
    _fitted(step, case, blocks).transform(blocks)
    _resampled(step, case, blocks, y)
    _equal(blocks, toy_blocks())
    np.testing.assert_array_equal(y, toy_labels(case.task))


def check_rows_alone(step: type[Preparation], case: Case) -> None:
    """A row's values do not depend on the rows beside it."""
    blocks = toy_blocks()
    fitted = _fitted(step, case, blocks)
    together = fitted.transform(blocks)
    for row in range(4):
        alone = fitted.transform({name: block.take(slice(row, row + 1)) for name, block in blocks.items()})
        for name, block in alone.items():
            np.testing.assert_allclose(block.values[0], together[name].values[row], rtol=1e-5, atol=1e-5)


def check_absent_rows(step: type[Preparation], case: Case) -> None:
    """What a row holds of a block that it lacks is not looked at, and a block that no row has is no harm."""
    blocks, y = toy_blocks(), toy_labels(case.task)
    other = {n: Block(np.where(b.present[:, None], b.values, np.float32(9e9)), b.present) for n, b in blocks.items()}
    expected, found = _fitted(step, case, blocks).transform(blocks), _fitted(step, case, other).transform(blocks)
    _equal(found, expected)
    np.testing.assert_array_equal(_resampled(step, case, other, y).y, _resampled(step, case, blocks, y).y)
    blocks["text"] = Block(np.zeros_like(blocks["text"].values), np.zeros(N, bool))
    assert all(np.isfinite(b.values).all() for b in _fitted(step, case, blocks).transform(toy_blocks()).values())
    assert not _resampled(step, case, blocks, y).blocks["text"].present.any()


def check_constant_columns(step: type[Preparation], case: Case) -> None:
    """Columns that never vary are no harm, whatever comes later."""
    blocks, y = toy_blocks(), toy_labels(case.task)
    blocks["table"] = Block(np.full((N, 4), 1e6, np.float32), np.ones(N, bool))
    blocks["image"].values[:, :3] = 0.0
    fitted = _fitted(step, case, blocks)
    assert all(np.isfinite(block.values).all() for block in fitted.transform(toy_blocks(n=9, seed=3)).values())
    assert all(np.isfinite(block.values).all() for block in _resampled(step, case, blocks, y).blocks.values())


def check_resampled(step: type[Preparation], case: Case) -> None:
    """As many labels as rows, every class still there, no class added, and no more rows than ``growth`` says."""
    blocks, y = toy_blocks(), toy_labels(case.task)
    out = _resampled(step, case, blocks, y)
    assert set(out.blocks) == set(blocks)
    assert out.y.dtype == y.dtype
    for name, block in out.blocks.items():
        assert block.values.shape == (len(out.y), blocks[name].values.shape[1])
        assert block.values.dtype == np.float32
        assert block.present.shape == out.y.shape
        assert np.isfinite(block.values).all()
    assert 0 < len(out.y) <= step(case.params).growth * len(y)
    if case.task != "regression":
        assert set(out.y) == set(y)


def check_labels_stay_with_rows(step: type[Preparation], case: Case) -> None:
    """A row that was there keeps its label; one that was made lies between the rows of its class."""
    blocks, y = toy_blocks(), toy_labels(case.task)
    out = _resampled(step, case, blocks, y)
    table = blocks["table"].values
    known = {row.tobytes(): label for row, label in zip(table, y, strict=True)}
    for row, label in zip(out.blocks["table"].values, out.y, strict=True):
        if row.tobytes() in known:
            assert known[row.tobytes()] == label
            continue
        own = table[y == label]
        slack = 1e-4 * np.abs(own).max(axis=0)
        assert (row >= own.min(axis=0) - slack).all()
        assert (row <= own.max(axis=0) + slack).all()


def check_origin(step: type[Preparation], case: Case) -> None:
    """Each row says which row it is, so that copies of one row are known; one that was made is none of them."""
    blocks, y = toy_blocks(), toy_labels(case.task)
    fitted = _fitted(step, case, blocks)
    given = fitted.transform(blocks)
    out = fitted.resample(given, y, case.task, seed=SEED)
    origin = np.arange(len(out.y)) if out.origin is None else out.origin
    assert origin.shape == out.y.shape
    assert origin.max() < len(y)
    found = origin >= 0
    np.testing.assert_array_equal(out.y[found], y[origin[found]])
    _equal({n: b.take(found) for n, b in out.blocks.items()}, {n: b.take(origin[found]) for n, b in given.items()})
    known = {row.tobytes() for row in _side_by_side(given)}
    assert not any(row.tobytes() in known for row in _side_by_side(out.blocks)[~found])


def _side_by_side(blocks: Mapping[str, Block]) -> AnyArray:
    return np.hstack([blocks[name].values for name in sorted(blocks)])


def check_seeded(step: type[Preparation], case: Case) -> None:
    """The same seed gives the same rows, whatever numpy's global generator says."""
    blocks, y = toy_blocks(), toy_labels(case.task)
    np.random.seed(1)
    first = _resampled(step, case, blocks, y)
    np.random.seed(2)
    again = _resampled(step, case, blocks, y)
    _equal(again.blocks, first.blocks)
    np.testing.assert_array_equal(again.y, first.y)


def check_few_rows(step: type[Preparation], case: Case) -> None:
    """Classes of one row, one class alone, and three rows in all are no harm."""
    y = toy_labels(case.task)
    lonely = np.where(np.arange(N) == 3, 1, 0) if case.task != "regression" else y
    for labels in (lonely, np.zeros_like(y)):
        out = _resampled(step, case, toy_blocks(), labels)
        assert set(out.y) <= set(labels) if case.task == "regression" else set(out.y) == set(labels)
    few = {name: block.take(slice(0, 3)) for name, block in toy_blocks().items()}
    some = np.array([0, 1, 0]) if case.task != "regression" else y[:3]
    fitted = step(case.params).fit(few, some, case.task, seed=SEED)
    kept = set(fitted.resample(fitted.transform(few), some, case.task, seed=SEED).y)
    assert kept <= set(some) if case.task == "regression" else kept == set(some)


def check_weights(step: type[Preparation], case: Case) -> None:
    """Weights are positive and name every class, or there are none; numbers have none."""
    y = toy_labels(case.task)
    weights = step(case.params).class_weights(y, case.task)
    if weights:
        assert case.task != "regression"
        assert set(weights) == set(y.tolist())
        assert min(weights.values()) > 0


def check_quiet(step: type[Preparation], case: Case) -> None:
    """Nothing warns."""
    blocks, y = toy_blocks(), toy_labels(case.task)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _fitted(step, case, blocks).transform(blocks)
        _resampled(step, case, blocks, y)

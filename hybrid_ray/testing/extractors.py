"""Contract checks of extractors.

For an extractor of your own::

    CASES = [(case, check) for case in cases(MyExtractor) for check in yield_checks(MyExtractor)]

    @pytest.mark.parametrize(("case", "check"), CASES, ids=str)
    def test_my_extractor(case, check):
        check(MyExtractor, case)
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any, get_args

import numpy as np
from pydantic import ValidationError

from hybrid_ray.errors import NotFittedError
from hybrid_ray.extractors.base import Conductor, Extractor, FitContext
from hybrid_ray.params import PluginParams
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.state import read_state, write_state
from hybrid_ray.testing.forecasters import FORECASTER_CHECKS
from hybrid_ray.testing.rows import N_CLASSES, spoilt, toy_batch, toy_labels
from hybrid_ray.testing.trainings import check_resumes, check_shares
from hybrid_ray.testing.trials import check_params
from hybrid_ray.types import ENCODED, AnyArray, Batch, Block, Kind

SEED = 11
_REDUCED = ("bf16", "fp16")


@dataclass(frozen=True)
class Case:
    """One instance to check: parameters and the columns that it reads."""

    params: PluginParams
    columns: Mapping[str, Kind]

    def __str__(self) -> str:
        changed = self.params.model_dump(exclude_defaults=True)
        return f"{'+'.join(self.columns)}[{','.join(f'{name}={value}' for name, value in changed.items())}]"


Check = Callable[[type[Extractor], Case], None]


def cases(plugin: type[Extractor]) -> Iterator[Case]:
    """Every example of the plugin."""
    for params, columns in plugin.examples():
        yield Case(params, columns)


def yield_checks(plugin: type[Extractor]) -> Iterator[Check]:
    """Every check that a case of the plugin must pass; its tags choose."""
    yield check_described
    yield check_features
    yield check_rows_alone
    yield check_order
    yield check_empty
    yield check_missing
    yield check_repeatable
    yield check_inputs_kept
    yield check_state_round_trip
    yield check_fingerprint
    yield check_travels
    if plugin.tags.kinds & (ENCODED | {"node"}):
        yield check_unreadable
    if plugin.tags.forecasts:
        yield check_forecasts
    if plugin.tags.trained:
        yield check_unfitted
        yield check_fit_few
        if not plugin.tags.supervised:
            yield check_labels_unseen
        yield check_cross_fitted
        if plugin.tags.spreads:
            yield check_cut_off
            yield check_spread


# ------------------------------------------------------------------------------------------------- helpers


def built(plugin: type[Extractor], case: Case) -> Extractor:
    """The case's extractor, neither fitted nor set up."""
    return plugin(case.params, case.columns)


def ready(plugin: type[Extractor], case: Case, n: int = 24) -> Extractor:
    """The case's extractor, fitted on ``n`` toy rows when it is trained, and set up."""
    extractor = built(plugin, case)
    if plugin.tags.trained:
        extractor.setup("cpu")
        prepared = extractor.prepare(toy_batch(case.columns, n))
        labels = toy_labels(n) if plugin.tags.supervised else None
        extractor.fit(prepared, labels, FitContext("multiclass", N_CLASSES, seed=SEED))
    extractor.setup("cpu")
    return extractor


def _protect(arrays: Iterable[AnyArray]) -> None:
    """Make arrays, and those that are cells of them, raise when they are written to."""
    for array in arrays:
        cells = array.ravel() if array.dtype == object else ()
        _protect(cell for cell in cells if isinstance(cell, np.ndarray))
        array.flags.writeable = False


def _assert_same(found: AnyArray, expected: AnyArray) -> None:
    """Equal, and so are the arrays that are cells of them."""
    if expected.dtype != object:
        np.testing.assert_array_equal(found, expected)
        return
    for cell, other in zip(found.ravel(), expected.ravel(), strict=True):
        np.testing.assert_array_equal(cell, other)


def rows_of(batch: Batch, rows: AnyArray | slice) -> Batch:
    """Some rows of a batch."""
    return {column: values[rows] for column, values in batch.items()}


def assert_close(block: Block, expected: Block, params: PluginParams) -> None:
    """Features agree within 1e-4, or in a reduced precision by a cosine of 0.999 a row."""
    np.testing.assert_array_equal(block.present, expected.present)
    if getattr(params, "precision", "fp32") in _REDUCED:
        there = np.linalg.norm(expected.values, axis=1) > 0
        a, b = block.values[there].astype(np.float64), expected.values[there].astype(np.float64)
        cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        assert cosines.min() >= 0.999, f"cosine must be at least 0.999; got {cosines.min():.5f}"
    else:
        np.testing.assert_allclose(block.values, expected.values, rtol=1e-4, atol=1e-4)


# -------------------------------------------------------------------------------------------------- checks


def check_described(plugin: type[Extractor], case: Case) -> None:
    """Every parameter has a default, a description and, when it is a number, bounds; the tags fit together."""
    check_params(plugin.Params)
    assert plugin.tags.kinds >= set(case.columns.values())
    assert plugin.tags.trained or not plugin.tags.supervised, "a supervised extractor is a trained one"


def check_features(plugin: type[Extractor], case: Case) -> None:
    """float32 (n, n_features), finite, and not the same for every row."""
    extractor = ready(plugin, case)
    block = extractor.transform(toy_batch(case.columns))
    assert block.values.dtype == np.float32
    assert block.values.shape == (24, extractor.n_features)
    assert block.present.dtype == bool
    assert np.isfinite(block.values).all()
    assert np.ptp(block.values[block.present], axis=0).max() > 0


def check_rows_alone(plugin: type[Extractor], case: Case) -> None:
    """A batch of 8 gives what 8 batches of 1 give."""
    if plugin.tags.context == "window":
        return
    extractor = ready(plugin, case)
    batch = toy_batch(case.columns, 8)
    alone = [extractor.transform(rows_of(batch, slice(i, i + 1))) for i in range(8)]
    joined = Block(np.concatenate([b.values for b in alone]), np.concatenate([b.present for b in alone]))
    assert_close(joined, extractor.transform(batch), case.params)


def check_order(plugin: type[Extractor], case: Case) -> None:
    """Features follow their rows, whatever order these stand in."""
    if plugin.tags.context == "window":
        return
    extractor = ready(plugin, case)
    batch = toy_batch(case.columns)
    order = np.random.default_rng(3).permutation(24)
    assert_close(extractor.transform(rows_of(batch, order)), extractor.transform(batch).take(order), case.params)


def check_empty(plugin: type[Extractor], case: Case) -> None:
    """No rows give (0, d), before and after ``prepare``."""
    extractor = ready(plugin, case)
    batch = toy_batch(case.columns)
    block = extractor.transform(rows_of(batch, slice(0, 0)))
    assert block.values.shape == (0, extractor.n_features)
    assert block.values.dtype == np.float32
    prepared = extractor.prepare(batch)
    none = extractor.extract({name: array[:0] for name, array in prepared.arrays.items()})
    assert none.shape == (0, extractor.n_features)


def check_missing(plugin: type[Extractor], case: Case) -> None:
    """A row without any cell is zeros and not present, also when all rows are so; one cell is enough to be present."""
    extractor = ready(plugin, case)
    batch = toy_batch(case.columns)
    block = extractor.transform(batch)
    expected = np.arange(24) != 2
    if len(case.columns) == 1:
        np.testing.assert_array_equal(block.present, expected)
    else:
        assert block.present[4], "a row with one cell of several must be present"
    assert not block.present[2]
    assert not block.values[2].any()
    gone = extractor.transform(rows_of(batch, np.array([2, 2])))
    assert not gone.present.any()
    assert gone.values.shape == (2, extractor.n_features)
    assert not gone.values.any()


def check_repeatable(plugin: type[Extractor], case: Case) -> None:
    """The same rows give the same features, bit by bit: again, after others, set up twice, and from another copy."""
    extractor, other = ready(plugin, case), ready(plugin, case)
    batch = toy_batch(case.columns)
    first = extractor.transform(batch)
    extractor.transform(toy_batch(case.columns, seed=9))
    extractor.setup("cpu")
    for block in (extractor.transform(batch), other.transform(batch)):
        np.testing.assert_array_equal(block.values, first.values)
        np.testing.assert_array_equal(block.present, first.present)


def check_inputs_kept(plugin: type[Extractor], case: Case) -> None:
    """Rows and prepared arrays may be read-only, as they are in Ray's object store; they are never written to."""
    extractor = ready(plugin, case)
    batch = toy_batch(case.columns)
    expected = extractor.transform(batch).values
    before = copy.deepcopy(batch)
    _protect(batch.values())
    prepared = extractor.prepare(batch)
    copies = copy.deepcopy(prepared.arrays)
    _protect(prepared.arrays.values())
    np.testing.assert_array_equal(extractor.block(prepared).values, expected)
    if plugin.tags.trained:
        labels = toy_labels()
        labels.flags.writeable = False
        built(plugin, case).fit(prepared, labels, FitContext("multiclass", N_CLASSES, seed=SEED))
    for column, values in before.items():
        _assert_same(batch[column], values)
    for name, array in copies.items():
        _assert_same(prepared.arrays[name], array)


def check_state_round_trip(plugin: type[Extractor], case: Case) -> None:
    """Saved and loaded, through memory and through a folder, it gives the same features bit by bit, and saves again.

    In a reduced precision that this machine only emulates, a loaded extractor may compute in fp32: near, then.
    """
    extractor = ready(plugin, case)
    batch = toy_batch(case.columns)
    expected = extractor.transform(batch)
    with TemporaryDirectory() as folder:
        for root in (StoreRoot("memory://extractor-checks"), StoreRoot(folder)):
            loaded = extractor
            for turn in range(2):
                write_state(root, f"state{turn}", loaded.get_state())
                loaded = plugin.from_state(case.params, case.columns, read_state(root, f"state{turn}"))
                loaded.setup("cpu")
                block = loaded.transform(batch)
                if getattr(case.params, "precision", "fp32") in _REDUCED:
                    assert_close(block, expected, case.params)
                else:
                    np.testing.assert_array_equal(block.values, expected.values)
                    np.testing.assert_array_equal(block.present, expected.present)
                assert loaded.n_features == extractor.n_features
            assert loaded.fingerprint() == extractor.fingerprint()


def check_fingerprint(plugin: type[Extractor], case: Case) -> None:
    """The same for the same; another for other parameters or columns; set up or not makes no difference."""
    extractor = built(plugin, case)
    fingerprint = extractor.fingerprint()
    assert built(plugin, case).fingerprint() == fingerprint
    assert ready(plugin, case).fingerprint() == fingerprint
    renamed = {f"{column}_": kind for column, kind in case.columns.items()}
    assert plugin(case.params, renamed).fingerprint() != fingerprint
    if len(case.columns) > 1:
        turned = dict(reversed(list(case.columns.items())))
        assert plugin(case.params, turned).fingerprint() != fingerprint
    for name in extractor.identity():
        changed = _changed(case.params, name)
        if changed is not None:
            assert plugin(changed, case.columns).fingerprint() != fingerprint, f"{name} must be in the fingerprint"


def _changed(params: PluginParams, name: str) -> PluginParams | None:
    """The parameters with another value of one field, or None for a field that holds free text or nothing."""
    value = getattr(params, name, None)
    if isinstance(value, bool):
        tries: Sequence[Any] = [not value]
    elif isinstance(value, int):
        tries = [value + 1, value - 1, value * 2]
    elif isinstance(value, float):
        tries = [value * 0.5, value * 2, 0.25]
    else:
        tries = [v for v in get_args(type(params).model_fields[name].annotation) if isinstance(v, str)]
    for other in tries:
        if other != value and other != "auto":
            try:
                return type(params).model_validate(params.model_dump() | {name: other})
            except ValidationError:
                continue
    return None


def check_travels(plugin: type[Extractor], case: Case) -> None:
    """It can be sent to another process before it is set up."""
    extractor = built(plugin, case)
    arrived = pickle.loads(pickle.dumps(extractor))
    assert arrived.fingerprint() == extractor.fingerprint()
    assert arrived.columns == extractor.columns


def check_forecasts(plugin: type[Extractor], case: Case) -> None:
    """Every check of a forecaster; see :mod:`hybrid_ray.testing.forecasters`."""
    extractor = ready(plugin, case)
    (column,) = case.columns

    def transform(histories: list[AnyArray]) -> Block:
        cells = np.empty(len(histories), object)
        cells[:] = [history.astype(np.float64)[:, None] for history in histories]
        return extractor.transform({column: cells})

    for check in FORECASTER_CHECKS:
        check(transform, extractor.params.season, extractor.params.horizon)


def check_unreadable(plugin: type[Extractor], case: Case) -> None:
    """What cannot be read becomes a missing cell with a reason that does not show it; other rows are as they were."""
    extractor = ready(plugin, case)
    batch = toy_batch(case.columns, missing=False)
    expected = extractor.transform(batch)
    column = next(iter(case.columns))
    bad = spoilt(case.columns[column], batch[column])
    damaged = {name: values.copy() for name, values in batch.items()}
    for row, value in bad.items():
        damaged[column][row] = value
    prepared = extractor.prepare(damaged)
    assert set(prepared.errors) == set(bad)
    assert all(prepared.errors.values()), "every error must have a reason"
    block = extractor.block(prepared)
    kept = np.setdiff1d(np.arange(24), list(bad))
    assert_close(block.take(kept), expected.take(kept), case.params)
    only = len(case.columns) == 1
    assert all(bool(block.present[row]) != only for row in bad), "another column keeps a row present"


def check_unfitted(plugin: type[Extractor], case: Case) -> None:
    """Before ``fit`` there are neither features nor a state."""
    extractor = built(plugin, case)
    prepared = extractor.prepare(toy_batch(case.columns))
    for call in (lambda: extractor.extract(prepared.arrays), extractor.get_state):
        try:
            call()
        except NotFittedError:
            continue
        raise AssertionError("an extractor that was never fitted must raise NotFittedError")


def check_fit_few(plugin: type[Extractor], case: Case) -> None:
    """A few training rows, some of them missing, are no reason to fail."""
    extractor = ready(plugin, case, n=6)
    assert np.isfinite(extractor.transform(toy_batch(case.columns, seed=4)).values).all()


def check_labels_unseen(plugin: type[Extractor], case: Case) -> None:
    """An unsupervised fit does not look at labels."""
    batch = toy_batch(case.columns)
    blocks = []
    for labels in (None, toy_labels(), toy_labels()[::-1].copy()):
        extractor = built(plugin, case)
        extractor.fit(extractor.prepare(batch), labels, FitContext("multiclass", N_CLASSES, seed=SEED))
        extractor.setup("cpu")
        blocks.append(extractor.transform(batch).values)
    np.testing.assert_array_equal(blocks[0], blocks[1])
    np.testing.assert_array_equal(blocks[0], blocks[2])


def check_cross_fitted(plugin: type[Extractor], case: Case) -> None:
    """A row's own label does not reach its cross-fitted features, where there are any; they are as wide as others."""
    if plugin.cross_fitted is Extractor.cross_fitted:
        return
    columns, n = case.columns, 24
    context = FitContext("multiclass", N_CLASSES, seed=SEED)

    def features(labels: AnyArray) -> Block | None:
        extractor = built(plugin, case)
        extractor.setup("cpu")
        prepared = extractor.prepare(toy_batch(columns, n))
        extractor.fit(prepared, labels, context)
        block = extractor.cross_fitted(prepared, labels, context)
        if block is not None:
            np.testing.assert_array_equal(block.present, prepared.present)
            assert block.values.shape == (n, extractor.n_features)
            assert block.values.dtype == np.float32
            assert np.isfinite(block.values).all()
        return block

    plain = features(toy_labels(n))
    if plain is None:
        return
    for row in (0, n // 2):
        other = toy_labels(n)
        other[row] = (other[row] + 1) % N_CLASSES
        changed = features(other)
        assert changed is not None
        np.testing.assert_array_equal(changed.values[row], plain.values[row])
        assert np.array_equal(changed.values, plain.values) != plugin.tags.supervised


def check_cut_off(plugin: type[Extractor], case: Case) -> None:
    """A training that is cut off goes on to the same features, bit for bit."""
    check_resumes(lambda conduct: _trained_by(plugin, case, conduct))


def check_spread(plugin: type[Extractor], case: Case) -> None:
    """How many workers a training is spread over changes the rounding only."""
    check_shares(lambda conduct: _trained_by(plugin, case, conduct))


def _trained_by(plugin: type[Extractor], case: Case, conduct: Conductor) -> AnyArray:
    """Features of the training rows by an extractor whose trainings ``conduct`` carries out."""
    extractor, batch = built(plugin, case), toy_batch(case.columns)
    extractor.setup("cpu")
    labels = toy_labels() if plugin.tags.supervised else None
    context = FitContext("multiclass", N_CLASSES, seed=SEED, conduct=conduct)
    extractor.fit(extractor.prepare(batch), labels, context)
    extractor.setup("cpu")
    return extractor.transform(batch).values

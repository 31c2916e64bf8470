"""Contract checks of feature-level fusions; :mod:`hybrid_ray.testing.fusions` yields them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np

from hybrid_ray.fusion.base import FeatureFusion
from hybrid_ray.testing.estimators import stored
from hybrid_ray.testing.fusion_cases import SEED, FusionCase, check_key_error
from hybrid_ray.types import CLASSIFICATION, AnyArray, Block


def toy_blocks(n: int = 60, absent: bool = True, seed: int = 0) -> dict[str, Block]:
    """Three blocks of different width and scale; with ``absent``, some rows of two of them are missing."""
    rng = np.random.default_rng(seed)
    blocks = {}
    for position, (name, width) in enumerate((("image", 12), ("table", 4), ("text", 7))):
        values = (rng.normal(size=(n, width)) * 10.0**position + position).astype(np.float32)
        present = np.ones(n, bool)
        if absent and name != "table":
            present[position :: 5 + position] = False
            values[~present] = 0.0
        blocks[name] = Block(values, present)
    return blocks


def _fitted_feature(fusion: type[FeatureFusion], case: FusionCase, blocks: Mapping[str, Block]) -> FeatureFusion:
    return fusion(case.params).fit(blocks, _labels(blocks, case), case.task, SEED)


def _labels(blocks: Mapping[str, Block], case: FusionCase) -> AnyArray:
    """Codes of three classes, or numbers."""
    codes = np.arange(len(next(iter(blocks.values())).values)) % 3
    return codes if case.task in CLASSIFICATION else 2.5 * codes - 1.0


def check_feature_matrix(fusion: type[FeatureFusion], case: FusionCase) -> None:
    """One finite float32 matrix, a row a row, as wide for new rows and for none as for the training rows."""
    blocks = toy_blocks()
    fitted = _fitted_feature(fusion, case, blocks)
    matrix = fitted.combine(blocks)
    assert matrix.dtype == np.float32
    assert matrix.shape[0] == 60
    assert np.isfinite(matrix).all()
    assert fitted.combine(toy_blocks(n=5, seed=1)).shape == (5, matrix.shape[1])
    empty = fitted.combine({name: block.take(slice(0, 0)) for name, block in blocks.items()})
    assert empty.shape == (0, matrix.shape[1])
    assert empty.dtype == np.float32


def check_feature_order(fusion: type[FeatureFusion], case: FusionCase) -> None:
    """Names, not positions, decide: reordered blocks and blocks that were not asked for change nothing."""
    blocks = toy_blocks()
    expected = _fitted_feature(fusion, case, blocks).combine(blocks)
    turned = dict(reversed(blocks.items()))
    fitted = _fitted_feature(fusion, case, turned)
    np.testing.assert_array_equal(fitted.combine(blocks), expected)
    np.testing.assert_array_equal(fitted.combine({"other": blocks["text"]} | turned), expected)


def check_feature_state(fusion: type[FeatureFusion], case: FusionCase) -> None:
    """A fusion that was saved and loaded combines bit-equal; a second fit with the same seed does too."""
    blocks = toy_blocks()
    fitted = _fitted_feature(fusion, case, blocks)
    expected = fitted.combine(blocks)
    loaded = fusion.from_state(case.params, stored(fitted.get_state()))
    np.testing.assert_array_equal(loaded.combine(blocks), expected)
    np.testing.assert_array_equal(_fitted_feature(fusion, case, blocks).combine(blocks), expected)


def check_feature_inputs_kept(fusion: type[FeatureFusion], case: FusionCase) -> None:
    """Blocks may be read-only and are never written to, nor handed out."""
    blocks = toy_blocks()
    for block in blocks.values():
        block.values.flags.writeable = block.present.flags.writeable = False
    matrix = _fitted_feature(fusion, case, blocks).combine(blocks)
    matrix += 1.0
    for name, block in toy_blocks().items():
        np.testing.assert_array_equal(blocks[name].values, block.values)
        np.testing.assert_array_equal(blocks[name].present, block.present)


def check_feature_missing_name(fusion: type[FeatureFusion], case: FusionCase) -> None:
    """A block that ``fit`` saw and ``combine`` is not given is named in a KeyError."""
    blocks = toy_blocks()
    fitted = _fitted_feature(fusion, case, blocks)
    check_key_error(lambda: fitted.combine({n: b for n, b in blocks.items() if n != "text"}), "text")


def check_feature_absent_rows(fusion: type[FeatureFusion], case: FusionCase) -> None:
    """A row without a block is handled, in training and after, and what its values hold is not looked at."""
    for seen in (True, False):
        fitted = _fitted_feature(fusion, case, toy_blocks(absent=seen))
        blocks = toy_blocks(n=20, seed=2)
        other = {
            n: Block(np.where(b.present[:, None], b.values, np.float32(9e9)), b.present) for n, b in blocks.items()
        }
        np.testing.assert_array_equal(fitted.combine(other), fitted.combine(blocks))
        assert np.isfinite(fitted.combine(blocks)).all()
    training = toy_blocks()
    other = {n: Block(np.where(b.present[:, None], b.values, np.float32(9e9)), b.present) for n, b in training.items()}
    wanted = _fitted_feature(fusion, case, training).combine(training)
    np.testing.assert_array_equal(_fitted_feature(fusion, case, other).combine(training), wanted)
    training["text"] = Block(np.zeros_like(training["text"].values), np.zeros(60, bool))
    nowhere = _fitted_feature(fusion, case, training)
    assert np.isfinite(nowhere.combine(toy_blocks(n=20, seed=2))).all()


def check_feature_constant_columns(fusion: type[FeatureFusion], case: FusionCase) -> None:
    """Columns that never vary, and a block of one row, give finite features whatever comes later."""
    blocks = toy_blocks()
    blocks["table"] = Block(np.full((60, 4), 1e6, np.float32), np.ones(60, bool))
    blocks["image"].values[:, :3] = 0.0
    fitted = _fitted_feature(fusion, case, blocks)
    assert np.isfinite(fitted.combine(toy_blocks(n=9, seed=3))).all()
    lonely = {name: Block(block.values, np.arange(60) == 3) for name, block in blocks.items()}
    assert np.isfinite(_fitted_feature(fusion, case, lonely).combine(blocks)).all()


def check_feature_rows_alone(fusion: type[FeatureFusion], case: FusionCase) -> None:
    """A row's features do not depend on the rows beside it."""
    blocks = toy_blocks()
    fitted = _fitted_feature(fusion, case, blocks)
    together = fitted.combine(blocks)[:8]
    alone = [fitted.combine({n: b.take(slice(i, i + 1)) for n, b in blocks.items()}) for i in range(8)]
    np.testing.assert_allclose(np.concatenate(alone), together, rtol=1e-5, atol=1e-5)


def check_feature_training_rows(fusion: type[FeatureFusion], case: FusionCase) -> None:
    """The training rows that an estimator is fitted on have the columns of new rows, and learn the same fusion."""
    blocks = toy_blocks()
    fitted = fusion(case.params)
    matrix = fitted.fit_combine(blocks, _labels(blocks, case), case.task, SEED)
    later = fitted.combine(blocks)
    assert matrix.dtype == np.float32
    assert matrix.shape == later.shape
    assert np.isfinite(matrix).all()
    np.testing.assert_array_equal(_fitted_feature(fusion, case, blocks).combine(blocks), later)


def check_feature_quiet(fusion: type[FeatureFusion], case: FusionCase) -> None:
    """Nothing warns."""
    blocks = toy_blocks()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _fitted_feature(fusion, case, blocks).combine(blocks)

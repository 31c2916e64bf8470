import numpy as np

from hybrid_ray.testing.hashing import HashingExtractor
from hybrid_ray.types import Prepared


def make(columns=("a", "b")):
    return HashingExtractor(HashingExtractor.Params(width=4), dict.fromkeys(columns, "text"))


def texts(*values):
    column = np.empty(len(values), object)
    column[:] = values
    return column


def test_columns_stand_side_by_side_and_an_absent_cell_is_zeros():
    extractor = make()
    block = extractor.transform({"a": texts("x y", None, None, "x"), "b": texts("z", "z", None, None)})
    alone = make(("a",))
    x_y, z, x = (alone.transform({"a": texts(t)}).values[0] for t in ("x y", "z", "x"))
    nothing = np.zeros(4, np.float32)
    np.testing.assert_array_equal(block.present, [True, True, False, True])
    expected = [np.r_[x_y, z], np.r_[nothing, z], np.r_[nothing, nothing], np.r_[x, nothing]]
    np.testing.assert_array_equal(block.values, np.array(expected))


def test_prepared_rows_can_be_taken_and_put_together():
    extractor = make()
    batch = {"a": texts("x y", None, None, "x", "u v w"), "b": texts("z", "z", None, None, "q")}
    prepared = extractor.prepare(batch)
    whole = extractor.block(prepared)
    rows = np.array([4, 2, 0])
    np.testing.assert_array_equal(extractor.block(prepared.take(rows)).values, whole.values[rows])
    parts = [extractor.prepare({c: v[s] for c, v in batch.items()}) for s in (slice(0, 2), slice(2, 3), slice(3, 5))]
    np.testing.assert_array_equal(extractor.block(Prepared.concat(parts)).values, whole.values)


def test_a_full_batch_is_not_copied():
    prepared = make(("a",)).prepare({"a": texts("x", "y")})
    assert prepared.arrays["counts"].base is not None
    assert prepared.arrays["filled"].all()

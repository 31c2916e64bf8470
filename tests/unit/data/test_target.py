"""Labels: which task they mean, and their codes."""

import math

import numpy as np
import pyarrow as pa
import pytest

from hybrid_ray.data.target import encode_known, encode_target, no_target
from hybrid_ray.errors import DataError


def repeat(*values, times=20):
    return pa.array(list(values) * times)


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (repeat("no", "yes"), "binary", ["no", "yes"]),
        (repeat(0, 1), "binary", [0, 1]),
        (repeat("0", "1"), "binary", [0, 1]),
        (repeat(True, False), "binary", [False, True]),
        (repeat(1.0, 2.0, None), "binary", [1, 2]),
        (repeat("a", "c", "b"), "multiclass", ["a", "b", "c"]),
        (repeat(10, 2, 1), "multiclass", [1, 2, 10]),
        (repeat("10", "2", "1"), "multiclass", [1, 2, 10]),
        (repeat("01", "02", "10"), "multiclass", ["01", "02", "10"]),
        (repeat("a", "b", "1"), "multiclass", ["1", "a", "b"]),
        (repeat(b"a", b"b"), "binary", ["a", "b"]),
        (repeat("x", "y", None, "").dictionary_encode(), "binary", ["x", "y"]),
        (repeat(0.5, 1.5, 2.5), "regression", None),
        (repeat("0.5", "1.5", "2.5"), "regression", None),
        (pa.array(range(51)), "regression", None),
        (pa.array(list(range(51)) * 20), "regression", None),
        (pa.array([*range(30), 0]), "regression", None),
    ],
)
def test_the_label_tells_the_task(values, task, classes):
    target = encode_target(values, "auto")
    assert (target.task, target.classes) == (task, classes)
    assert target.reason


def test_codes_follow_the_classes():
    target = encode_target(pa.chunked_array([["b", None], ["a", " b ", ""]]), "auto")
    assert target.classes == ["a", "b"]
    np.testing.assert_array_equal(target.y, [1, -1, 0, 1, -1])
    np.testing.assert_array_equal(target.missing, [False, True, False, False, True])
    assert target.y.dtype == np.int64


def test_numbers_of_a_regression():
    values = pa.array([1.5, None, math.inf, math.nan, 2.5])
    target = encode_target(values, "regression")
    np.testing.assert_array_equal(target.y, [1.5, math.nan, math.nan, math.nan, 2.5])
    np.testing.assert_array_equal(target.missing, [False, True, True, True, False])
    texts = encode_target(pa.array(["1", "2", "n/a", "3", "many"]), "regression")
    np.testing.assert_array_equal(texts.missing, [False, False, True, False, True])


@pytest.mark.parametrize(
    ("values", "task", "why"),
    [
        (repeat("a"), "auto", "data.label: must hold two classes or more; got only 'a' in all 20 rows"),
        (repeat(1, None), "binary", "must hold two classes or more; got only 1 in all 20 rows"),
        (repeat("a"), "multiclass", "must hold two classes or more; got only 'a'"),
        (repeat(2.5), "regression", "must vary to be learned; got 2.5 in all 20 rows"),
        (repeat(None, ""), "auto", "data.label: must hold labels; got none in 40 rows"),
        (pa.nulls(3), "regression", "must hold labels; got none in 3 rows"),
        (repeat("a", "b", "c"), "binary", "binary needs exactly two classes; got 3: .* Set multiclass"),
        (repeat("a", "b"), "regression", "regression needs numbers; got 40 of 40 labels that are none"),
        (pa.array([str(i) + "x" for i in range(100)]), "auto", "at most 1000 classes .* got 100 different values"),
        (pa.array([[1], [2]]), "auto", "must be text, numbers or true and false; got a column of list"),
        (repeat(0, 1), "forecasting", "task: forecasting must come with data.series"),
    ],
)
def test_labels_that_cannot_be_learned_are_refused(values, task, why):
    with pytest.raises(DataError, match=why) as caught:
        encode_target(values, task)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("classes", "values", "codes"),
    [
        (["a", "b"], ["b", "c", None, "a"], [1, -1, -1, 0]),
        ([0, 1], ["1", "0", "2"], [1, 0, -1]),
        ([0, 1], [1.0, 0.0, None], [1, 0, -1]),
        (["1", "2x"], [1, 2], [0, -1]),
        ([False, True], [True, False], [1, 0]),
        ([False, True], ["true", "False"], [1, 0]),
        (["01", "02"], ["02", "01"], [1, 0]),
        (["a", "b"], [None, None], [-1, -1]),
    ],
)
def test_other_rows_are_coded_by_known_classes(classes, values, codes):
    target = encode_known(pa.array(values), "binary", classes)
    np.testing.assert_array_equal(target.y, codes)
    np.testing.assert_array_equal(target.missing, np.array(codes) < 0)


def test_other_rows_of_a_regression_may_be_constant():
    np.testing.assert_array_equal(encode_known(pa.array(["2", "2"]), "regression", None).y, [2, 2])


@pytest.mark.parametrize(
    ("values", "anomalous", "classes"),
    [
        (repeat("ok", "fault"), None, ["fault", "ok"]),
        (repeat("ok", "fault"), "fault", ["ok", "fault"]),
        (repeat(0, 1), None, [0, 1]),
        (repeat(0, 1), 0, [1, 0]),
        (repeat("0", "1"), "0", [1, 0]),
        (repeat(True, False), None, [False, True]),
        (repeat(1.5, -1.0), -1, [1.5, -1.0]),
    ],
)
def test_normal_is_the_first_class_where_anomalies_are_sought(values, anomalous, classes):
    target = encode_target(values, "anomaly", anomalous)
    assert (target.task, target.classes) == ("anomaly", classes)
    np.testing.assert_array_equal(target.y == 1, [value == classes[1] for value in plain(values, classes)])


def plain(values, classes):
    return [type(classes[1])(value) for value in values.to_pylist()]


def test_anomalies_need_two_values_and_one_of_them_named():
    with pytest.raises(DataError, match=r"must hold two values for anomalies.*got 3"):
        encode_target(repeat("a", "b", "c"), "anomaly")
    with pytest.raises(DataError, match=r"must hold two values for anomalies.*got 1"):
        encode_target(repeat("ok"), "anomaly")
    with pytest.raises(DataError, match=r"target.anomalous: must be one of the two values.*got 'broken'"):
        encode_target(repeat("ok", "fault"), "anomaly", "broken")


def test_labels_of_clusters_are_coded_and_no_row_is_left_out():
    target = encode_target(pa.array(["b", "a", None, "b"]), "clustering")
    assert (target.task, target.classes, target.y.tolist()) == ("clustering", ["a", "b"], [1, 0, -1, 1])
    assert not target.missing.any()
    alike = encode_target(pa.array([0.5] * 4), "clustering")
    assert (alike.classes, alike.y.tolist()) == ([0.5], [0, 0, 0, 0])
    nothing = no_target(3)
    assert (nothing.classes, nothing.y.tolist(), nothing.missing.any()) == (None, [-1, -1, -1], False)

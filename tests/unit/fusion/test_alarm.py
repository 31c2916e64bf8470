"""The threshold on what is fused: as many false alarms as are borne, and the order of rows as it was."""

import numpy as np
import pytest

from hybrid_ray.errors import ArtifactError, NotFittedError
from hybrid_ray.fusion.alarm import Alarm, AlarmParams
from hybrid_ray.testing.decision_fusions import toy_outputs
from hybrid_ray.types import State


@pytest.mark.parametrize("borne", [0.01, 0.05, 0.3])
def test_no_more_rows_of_the_first_class_are_above_a_half_than_are_borne(borne):
    inputs, y = toy_outputs("binary", n=1000)
    fitted = Alarm(AlarmParams(combiner="voting", false_alarms=borne)).fit(inputs, y, "binary")
    raised = fitted.combine(inputs)[:, 1] > 0.5
    assert borne / 2 < raised[y == 0].mean() <= borne
    assert raised[y == 1].mean() > raised[y == 0].mean()


def test_the_order_of_rows_stays_and_the_threshold_becomes_a_half():
    inputs, y = toy_outputs("binary", n=400)
    fitted = Alarm(AlarmParams(combiner="voting")).fit(inputs, y, "binary")
    before = np.mean(list(inputs.values()), axis=0)[:, 1]
    after = fitted.combine(inputs)[:, 1]
    np.testing.assert_array_equal(np.argsort(after, kind="stable"), np.argsort(before, kind="stable"))
    np.testing.assert_array_equal(after > 0.5, before > fitted.threshold)


def test_rows_that_all_say_the_same_raise_no_alarm():
    same = {"a": np.tile([0.0, 1.0], (30, 1)), "b": np.tile([0.0, 1.0], (30, 1))}
    fitted = Alarm(AlarmParams(combiner="voting")).fit(same, np.arange(30) % 2, "binary")
    assert not (fitted.combine(same)[:, 1] > 0.5).any()


def test_only_rows_of_the_first_class_set_it():
    inputs, y = toy_outputs("binary", n=400)
    kept = np.flatnonzero(y == 0)
    alone = {name: each[kept] for name, each in inputs.items()}
    both, one = (
        Alarm(AlarmParams(combiner="voting")).fit(rows, truth, "binary").threshold
        for rows, truth in ((inputs, y), (alone, y[kept]))
    )
    assert both == one


def test_what_is_not_fitted_or_not_whole_is_refused():
    with pytest.raises(NotFittedError, match="fit must come before"):
        Alarm(AlarmParams()).combine({"a": np.ones((2, 2)) / 2})
    with pytest.raises(ArtifactError, match="must hold its threshold"):
        Alarm.from_state(AlarmParams(), State({"threshold": 1.5, "parts": {}}))
    with pytest.raises(ValueError, match="unknown decision-level fusion 'alarm'"):
        AlarmParams(combiner="alarm")

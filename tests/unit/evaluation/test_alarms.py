"""What the report says of alarms."""

import numpy as np
import pytest

from hybrid_ray.evaluation.alarms import STRETCHES, alarm_card
from hybrid_ray.evaluation.metrics import score_all


def test_rows_are_counted_by_score_and_in_their_order():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 0], [300, 500, 200])
    score = np.clip(0.3 + 0.4 * y + 0.15 * rng.normal(size=1000), 0, 1)
    outputs = np.column_stack([1 - score, score])
    card = alarm_card(y, outputs, borne=0.01, threshold=0.4)
    scores = score_all(y, outputs, "anomaly")
    assert card.false_alarms / card.normal == pytest.approx(scores["false_alarm_rate"])
    assert card.missed / card.anomalous == pytest.approx(scores["missed_alarm_rate"])
    assert (sum(b.normal for b in card.bins), sum(b.anomalous for b in card.bins)) == (500, 500)
    assert (card.bins[0].low, card.bins[-1].high) == (0, 1)
    assert sum(part.rows for part in card.stretches) == 1000
    assert len(card.stretches) == STRETCHES
    assert [card.stretches[at].anomalous for at in (0, 120, -1)] == [0, 1, 0]
    assert card.all_f1 == pytest.approx(2 / 3)


def test_alarms_at_random_are_right_as_often_as_rows_are_anomalous():
    rng = np.random.default_rng(1)
    y = (rng.random(20_000) < 0.3).astype(np.int64)
    raised = (rng.random(20_000) < 0.2).astype(np.float64)
    outputs = np.column_stack([1 - raised, raised])
    card = alarm_card(y, outputs, 0.01, None)
    assert card.random_f1 == pytest.approx(score_all(y, outputs, "anomaly")["f1"], abs=0.02)
    none = alarm_card(np.zeros(5, np.int64), np.tile([1.0, 0.0], (5, 1)), 0.01, None)
    assert (none.all_f1, none.random_f1, len(none.stretches)) == (0, 0, 5)

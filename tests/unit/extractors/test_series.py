"""Extractors of series: what they tell, and what a series' vector depends on."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from hybrid_ray.extractors.base import FitContext, build_extractor
from hybrid_ray.extractors.networks.recurrent import AttentiveRecurrent
from hybrid_ray.extractors.networks.series_nets import ConvolutionalSeries, TransformerSeries
from hybrid_ray.extractors.signals import StepParams, channels_of, resampled, shaped, shortened

SERIES = {"signal": "series"}
SMALL = {
    "series_cnn": {"filters": 8, "blocks": 3},
    "series_rnn": {"hidden": 16},
    "series_transformer": {"width": 16, "heads": 2},
}
NETS = {
    "cnn": ConvolutionalSeries(4, 6, 3, 5),
    "rnn": AttentiveRecurrent(4, 6, 1, "gru"),
    "transformer": TransformerSeries(4, 4, 2, 6, 2, 2, 0.1),
    "stepwise": TransformerSeries(4, 1, 1, 5, 1, 1, 0.1),
}


def batch(n, seed=0):
    """Noise in which a rise stands before a fall, or after it, wherever: alike in every statistic of one step."""
    rng = np.random.default_rng(seed)
    cells, y = np.empty(n, object), np.arange(n) % 2
    for row, label in enumerate(y):
        steps = rng.normal(0, 0.3, int(rng.integers(30, 50))).astype(np.float32)
        at = int(rng.integers(2, len(steps) - 12))
        shape = np.repeat([3.0, 0.0, -3.0], 3)
        steps[at : at + 9] += shape if label else shape[::-1]
        cells[row] = steps[:, None]
    return {"signal": cells}, y


def accuracy(extractor):
    (rows, y), (other, y_other) = batch(300), batch(200, seed=1)
    if extractor.tags.trained:
        extractor.fit(extractor.prepare(rows), y, FitContext("binary", 2, seed=3))
    scaler = StandardScaler().fit(extractor.transform(rows).values)
    reader = LogisticRegression(max_iter=2000).fit(scaler.transform(extractor.transform(rows).values), y)
    return reader.score(scaler.transform(extractor.transform(other).values), y_other)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_states_of_both_directions_are_those_of_a_packed_network(cell):
    ours = AttentiveRecurrent(3, 5, 2, cell)
    packed = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](3, 5, 2, batch_first=True, bidirectional=True)
    for layer, pair in enumerate(zip(ours.ahead, ours.behind, strict=True)):
        for one, direction in zip(pair, ("", "_reverse"), strict=True):
            for name, weights in one.named_parameters():
                packed.get_parameter(f"{name.replace('l0', f'l{layer}')}{direction}").data.copy_(weights.data)
    lengths = torch.from_numpy(np.random.default_rng(0).integers(1, 200, 30))
    steps = torch.randn(30, int(lengths.max()), 3, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = ours(steps, lengths)
        for one, row, n in zip(found, steps, lengths, strict=True):
            states = packed(row[None, :n])[0][0]
            weights = ours.weight(torch.tanh(ours.looked_for(states))).softmax(dim=0)
            torch.testing.assert_close(one, (weights * states).sum(dim=0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_shapes_are_learned(name):
    params = {**SMALL[name], "channels": 1, "epochs": 25, "patience": 25, "lr": 0.01}
    assert accuracy(build_extractor(name, params, SERIES)) > 0.95


def test_statistics_tell_paces_levels_and_noise():
    rng = np.random.default_rng(0)
    at = np.arange(200)

    def described(*signals):
        cells = np.empty(len(signals), object)
        for row, signal in enumerate(signals):
            cells[row] = np.asarray(signal, np.float32).reshape(len(signal), -1)
        extractor = build_extractor("series_stats", {"channels": cells[0].shape[1]}, SERIES)
        return extractor.transform({"signal": cells}).values

    slow, fast = described(np.sin(at / 30), np.sin(at / 2))
    assert np.abs(slow - fast).max() > 0.5
    wave = np.sin(at / 5)
    short, long = described(wave[:100], wave)
    assert np.abs(short[:-1] - long[:-1]).max() < 0.5, "what is told hangs little on the length"
    gaps = wave.copy()
    gaps[rng.random(200) < 0.2] = np.nan
    whole, gappy = described(wave, gaps)
    assert np.abs(whole - gappy).max() < 0.5
    pair = described(np.stack([wave, -wave], 1), np.stack([wave, rng.normal(size=200)], 1))
    assert pair[0, -2] == pytest.approx(-1)
    assert abs(pair[1, -2]) < 0.3


@pytest.mark.parametrize("signal", [[5.0], [1.0] * 3, [3e38, -3e38, 3e38], [np.nan, 2.0], [0, 1, 2]], ids=str)
def test_odd_series_have_finite_statistics(signal):
    cells = np.empty(1, object)
    cells[0] = np.array(signal, np.float32)[:, None]
    with np.errstate(all="raise", under="ignore"):
        values = build_extractor("series_stats", {"channels": 1}, SERIES).transform({"signal": cells}).values
    assert np.isfinite(values).all()


@pytest.mark.parametrize("net", NETS.values(), ids=NETS)
def test_how_far_a_series_is_padded_changes_nothing(net):
    # In float64: convolutions of other lengths add in another order, which shows in the last digits of float32.
    net = deepcopy(net).double()
    steps = torch.randn(3, 9, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    lengths = torch.tensor([4, 9, 1])
    with torch.inference_mode():
        together = net(steps, lengths)
        alone = [net(steps[i : i + 1, :n], lengths[i : i + 1]) for i, n in enumerate(lengths.tolist())]
        steps[0, 4:] = 100.0
        wide = net(torch.nn.functional.pad(steps, (0, 0, 0, 7)), lengths)
    np.testing.assert_allclose(together, torch.cat(alone), atol=1e-6)
    np.testing.assert_allclose(wide, together, atol=1e-6)


@pytest.mark.parametrize("name", ["series_stats", *SMALL])
def test_channels_are_those_of_the_first_series(name):
    extractor = build_extractor(name, {}, SERIES)
    assert extractor.undecided
    assert extractor.decided_by_rows
    cells = np.empty(3, object)
    cells[1], cells[2] = np.zeros((4, 3), np.float32), np.zeros((4, 2), np.float32)
    params = extractor.resolve({"signal": cells})
    assert params.channels == 3
    chosen = build_extractor(name, params, SERIES)
    assert not chosen.undecided
    prepared = chosen.prepare({"signal": cells})
    assert prepared.present.tolist() == [False, True, False]
    assert prepared.errors == {2: "signal: a series must have 3 channels; got 2"}


def test_no_series_has_one_channel():
    assert channels_of({"signal": np.array([None, None], object)}, ["signal"]) == 1


def test_long_series_are_shortened_by_means():
    steps = np.arange(10, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(shortened(steps, 4)[:, 0], [1, 4, 7, 9])
    assert shortened(steps, 10) is steps
    steps[3:6] = np.nan
    np.testing.assert_array_equal(shortened(steps, 4)[:, 0], [1, np.nan, 7, 9])


def test_the_last_steps_are_read_and_brought_to_a_number_of_steps():
    steps = np.arange(12, dtype=np.float32).reshape(6, 2)
    assert shaped(steps, StepParams()) is steps
    np.testing.assert_array_equal(shaped(steps, StepParams(window=2)), steps[-2:])
    np.testing.assert_array_equal(shaped(steps, StepParams(window=9)), steps)
    np.testing.assert_allclose(shaped(steps, StepParams(window=3, resample=5))[:, 0], [6, 7, 8, 9, 10])
    assert resampled(steps[:1], 3).tolist() == [[0, 1]] * 3
    gappy = np.array([[0.0, np.nan], [np.nan, np.nan], [4.0, np.nan]], np.float32)
    np.testing.assert_array_equal(resampled(gappy, 3), [[0, np.nan], [2, np.nan], [4, np.nan]])


def test_differences_take_trends_away_and_never_the_last_step():
    line = (3 + 2 * np.arange(5, dtype=np.float32))[:, None]
    np.testing.assert_array_equal(shaped(line, StepParams(difference=1)), [[2]] * 4)
    np.testing.assert_array_equal(shaped(line, StepParams(difference=2)), [[0]] * 3)
    np.testing.assert_array_equal(shaped(line[:1], StepParams(difference=2)), [[0]])
    line[2] = np.nan
    np.testing.assert_array_equal(shaped(line, StepParams(difference=1))[:, 0], [2, np.nan, np.nan, 2])


def test_lags_stand_beside_each_channel():
    steps = np.array([[1, 10], [2, 20], [3, 30]], np.float32)
    found = shaped(steps, StepParams(lags=(1, 5)))
    np.testing.assert_array_equal(found[:, :2], steps)
    np.testing.assert_array_equal(found[:, 2:4], [[np.nan, np.nan], [1, 10], [2, 20]])
    assert np.isnan(found[:, 4:]).all()
    for lags in ([0], [1, 1]):
        with pytest.raises(ValidationError, match="must be different whole numbers from 1 up"):
            StepParams(lags=lags)


def test_a_level_that_says_nothing_is_taken_away():
    """Steps that rise or fall on a level of their own: their changes tell them apart, whatever the level."""
    rng = np.random.default_rng(0)
    cells, y = np.empty(200, object), np.arange(200) % 2
    for row, label in enumerate(y):
        cells[row] = (rng.normal(0, 100) + (2 * label - 1) * np.arange(20.0) + rng.normal(0, 1, 20))[:, None]
    extractor = build_extractor("series_stats", {"channels": 1, "difference": 1}, SERIES)
    means = extractor.transform({"signal": cells}).values[:, 7]
    assert ((means > 0) == y).mean() > 0.95

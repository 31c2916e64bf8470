"""Autoencoders of series: what they draw badly, and what learners see of the rows that they were trained on."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hybrid_ray.extractors.base import FitContext, build_extractor
from hybrid_ray.extractors.networks.series_redrawing import SeriesAutoencoder

SERIES = {"signal": "series"}
CONTEXT = FitContext("anomaly", 2, seed=0)
PARAMS = {"channels": 2, "width": 12, "features": 4, "epochs": 15, "patience": 15, "lr": 0.02, "batch_size": 16}


def waves(n, seed=0, broken=False):
    """Two channels that swing together; ``broken``: the second goes its own way."""
    rng = np.random.default_rng(seed)
    cells = np.empty(n, object)
    for row in range(n):
        at = np.arange(int(rng.integers(8, 13)))
        first = np.sin(0.6 * at + rng.choice([0, 3]))
        second = np.sin(1.5 * at) if broken else -first
        cells[row] = (np.column_stack([first, second]) + 0.05 * rng.normal(size=(len(at), 2))).astype(np.float32)
    return {"signal": cells}


@pytest.mark.parametrize("layers", ["convolutional", "recurrent"])
def test_series_unlike_those_of_training_are_drawn_worse(layers):
    extractor = build_extractor("series_autoencoder", {**PARAMS, "layers": layers}, SERIES)
    extractor.fit(extractor.prepare(waves(60)), None, CONTEXT)
    usual, odd = (extractor.transform(waves(60, 1, broken)).values[:, -2:] for broken in (False, True))
    assert (odd.mean(axis=1)[:, None] > usual.mean(axis=1)).mean() > 0.9
    assert usual.mean() < 0.9, "it must draw better than the mean does"


def test_learners_see_errors_of_networks_that_did_not_see_the_rows():
    extractor = build_extractor("series_autoencoder", PARAMS, SERIES)
    prepared = extractor.prepare(waves(40))
    extractor.fit(prepared, None, CONTEXT)
    fitted, fair = extractor.block(prepared).values, extractor.cross_fitted(prepared, None, CONTEXT).values
    np.testing.assert_array_equal(fair[:, :-2], fitted[:, :-2])
    assert fair[:, -2:].mean() > 1.05 * fitted[:, -2:].mean()
    plain = build_extractor("series_autoencoder", {**PARAMS, "errors": False, "epochs": 1}, SERIES)
    plain.fit(prepared, None, replace(CONTEXT, seed=1))
    assert plain.n_features == 4
    assert plain.cross_fitted(prepared, None, CONTEXT) is None


@pytest.mark.parametrize("layers", ["convolutional", "recurrent"])
@pytest.mark.parametrize("steps", [1, 2, 5, 8, 11])
def test_series_of_any_length_are_drawn(layers, steps):
    net = SeriesAutoencoder(layers, 3, 4, 2, True).eval()
    lengths = torch.full((2,), steps)
    with torch.inference_mode():
        code, drawn = net.halves(torch.rand(2, steps, 6), lengths)
        assert drawn.shape == (2, steps, 3)
        assert net(torch.rand(2, steps, 6), lengths).shape == (2, 5)
    assert code.shape == (2, 2)

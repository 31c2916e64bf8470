"""Deep belief networks: the layers begin where their machines ended, and few labels then go further."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from hybrid_ray.extractors.base import FitContext, build_extractor
from hybrid_ray.extractors.networks.dbn import DbnExtractor
from hybrid_ray.testing.checkpoints import MemoryCheckpoints
from hybrid_ray.testing.graphs import png

IMAGE = {"image": "image"}


def digits():
    found = load_digits()
    cells = np.empty(len(found.images), object)
    for row, image in enumerate(found.images):
        cells[row] = png((image * 255 / 16).astype(np.uint8))
    return {"image": cells}, found.target


def test_layers_begin_where_their_machines_ended():
    batch, y = digits()
    rows = {"image": batch["image"][:300]}
    extractor = build_extractor("dbn", {"size": 8, "layers": [32, 16], "epochs": 1, "lr": 1e-9}, IMAGE)
    extractor.fit(extractor.prepare(rows), y[:300], FitContext("multiclass", 10, seed=0))
    pixels = extractor.prepare(rows).arrays["pixels"].reshape(300, -1).astype(np.float32) / np.float32(255)
    machines = extractor.machines(pixels, 0)
    hidden = torch.from_numpy(pixels)
    for weight, bias in machines:
        hidden = torch.sigmoid(hidden @ torch.from_numpy(weight).T + torch.from_numpy(bias))
    np.testing.assert_allclose(extractor.transform(rows).values, hidden, atol=1e-4)


def test_machines_are_not_taught_again_where_a_training_is_taken_up(monkeypatch):
    batch, y = digits()
    rows = {"image": batch["image"][:200]}
    taught = []
    machines = DbnExtractor.machines
    monkeypatch.setattr(DbnExtractor, "machines", lambda *args: taught.append(1) or machines(*args))
    checkpoints = MemoryCheckpoints(dies_at=1)

    def fitted(conduct):
        extractor = build_extractor("dbn", {"size": 8, "layers": [16], "epochs": 3, "pretrain_epochs": 3}, IMAGE)
        context = FitContext("multiclass", 10, seed=0, conduct=conduct)
        return extractor.fit(extractor.prepare(rows), y[:200], context).transform(rows).values

    with pytest.raises(KeyboardInterrupt):
        fitted(lambda training: training.blank().run("cpu", checkpoints=checkpoints))
    checkpoints.dies_at = None
    again = fitted(lambda training: training.blank().run("cpu", checkpoints=checkpoints))
    assert len(taught) == 1
    np.testing.assert_array_equal(again, fitted(None))


def test_layers_that_have_seen_images_tell_more_before_any_label():
    """A linear reader of sixty labels, on layers that labels have not touched: machines', and random ones."""
    batch, y = digits()
    learned, read, scored = slice(0, 600), slice(0, 60), slice(900, 1797)

    def accuracy(pretrain_epochs):
        params = {"size": 8, "layers": [64], "epochs": 1, "lr": 1e-9, "pretrain_epochs": pretrain_epochs}
        extractor = build_extractor("dbn", params, IMAGE)
        rows = {"image": batch["image"][learned]}
        extractor.fit(extractor.prepare(rows), y[learned], FitContext("multiclass", 10, seed=0))
        features = extractor.transform(batch).values
        reader = LogisticRegression(C=10, max_iter=3000).fit(features[read], y[read])
        return reader.score(features[scored], y[scored])

    assert accuracy(40) > accuracy(0) + 0.02

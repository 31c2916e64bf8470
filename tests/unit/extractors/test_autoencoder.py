"""The autoencoder: what its numbers tell of an image, without labels."""

import numpy as np
import pytest
import torch

from hybrid_ray.errors import BadInputError
from hybrid_ray.extractors.base import FitContext, build_extractor
from hybrid_ray.extractors.imaging import PIXELS
from hybrid_ray.extractors.networks.autoencoder import CHANGED
from hybrid_ray.extractors.networks.autoencoder_nets import Autoencoder, decoder, encoder
from hybrid_ray.testing.checkpoints import MemoryCheckpoints
from hybrid_ray.testing.graphs import png

IMAGE = {"image": "image"}
CONTEXT = FitContext("binary", 2, seed=0)


def images(n, seed=0):
    """A bright square on noise, somewhere."""
    rng = np.random.default_rng(seed)
    cells, places = np.empty(n, object), rng.integers(0, 9, (n, 2))
    for row, (top, left) in enumerate(places):
        pixels = rng.integers(0, 40, (16, 16, 3))
        pixels[top : top + 7, left : left + 7] = 230
        cells[row] = png(pixels.astype(np.uint8))
    return {"image": cells}, places


@pytest.mark.parametrize("layers", ["convolutional", "dense"])
def test_its_numbers_say_where_things_are(layers):
    """A linear reader finds the square, which the mean image does not tell."""
    params = {"layers": layers, "size": 16, "width": 8, "features": 16, "epochs": 40, "patience": 40, "lr": 0.005}
    extractor = build_extractor("autoencoder", params, IMAGE)
    (rows, places), (other, expected) = images(300), images(100, seed=1)
    extractor.fit(extractor.prepare(rows), None, CONTEXT)
    known = np.column_stack([extractor.transform(rows).values, np.ones(300)])
    read, *_ = np.linalg.lstsq(known, places.astype(np.float64), rcond=None)
    found = np.column_stack([extractor.transform(other).values, np.ones(100)]) @ read
    assert np.square(found - expected).mean() < 0.4 * expected.var(axis=0).mean()


@pytest.mark.parametrize("layers", ["convolutional", "dense"])
@pytest.mark.parametrize("side", [4, 7, 8, 33])
def test_images_of_any_side_come_back_as_large(layers, side):
    net = Autoencoder(encoder(layers, 3, side, 2, 5), decoder(layers, 3, side, 2, 5))
    with torch.inference_mode():
        assert net(torch.zeros(2, 3, side, side)).shape == (2, 3, side, side)
        assert net.trunk(torch.zeros(0, 3, side, side)).shape == (0, 5)


def test_training_images_are_made_worse():
    extractor = build_extractor("autoencoder", {"noise": 0.0, "mask": 0.5, "size": 8}, IMAGE)
    pixels = np.full((50, 8, 8, 3), 200, np.uint8)
    changed = extractor.augment({"pixels": pixels}, np.random.default_rng(0))["changed"]
    black = (changed == 0).all(axis=3)
    assert 0.4 < black.mean() < 0.6
    np.testing.assert_allclose(changed[~black], 200 / 255, rtol=1e-6)
    assert not build_extractor("autoencoder", {"noise": 0.0}, IMAGE).augmented


def test_images_in_another_pose_are_drawn_as_they_were():
    extractor = build_extractor("autoencoder", {"noise": 0.0, "pose": 0.2, "size": 8}, IMAGE)
    pixels = np.zeros((40, 8, 8, 3), np.uint8)
    pixels[:, 2:6, 2:6] = 200
    assert extractor.augmented
    found = extractor.augment({"pixels": pixels}, np.random.default_rng(0))
    np.testing.assert_array_equal(found["pixels"], pixels)
    assert (np.abs(found["changed"] - pixels / 255).max(axis=(1, 2, 3)) > 0.1).all()


@pytest.mark.parametrize(
    "params", [{}, {"noise": 0.0, "pose": 0.1}, {"noise": 0.0, "mask": 0.1}, {"noise": 0.0, "shift": 0.2}]
)
def test_it_learns_from_images_and_not_from_black(params):
    """Unseen images come back better than from their mean, by far; the network has seen changed ones only."""
    network = {"layers": "dense", "size": 16, "width": 8, "features": 16, "epochs": 40, "patience": 40, "lr": 0.005}
    extractor = build_extractor("autoencoder", {**network, **params, "errors": True}, IMAGE)
    rows, (others, _) = extractor.prepare(images(300)[0]), images(100, seed=1)
    extractor.fit(rows, None, CONTEXT)
    drawn = extractor.transform(others).values[:, -2]
    pixels = rows.arrays[PIXELS][:, 0] / 255
    plain = np.sqrt(np.square(pixels - pixels.mean(axis=0)).mean(axis=(1, 2, 3)))
    assert drawn.mean() < 0.5 * plain.mean()


def test_rows_are_needed_and_labels_are_not():
    extractor = build_extractor("autoencoder", {}, IMAGE)
    with pytest.raises(BadInputError, match=r"^autoencoder: needs at least two rows"):
        extractor.fit(extractor.prepare(images(1)[0]), None, CONTEXT)


def test_it_goes_on_elsewhere_from_where_it_was_cut_off():
    params = {"size": 8, "width": 2, "features": 3, "epochs": 4}
    checkpoints = MemoryCheckpoints(dies_at=2)

    def fitted(conduct):
        extractor = build_extractor("autoencoder", params, IMAGE)
        context = FitContext("binary", 2, 0, conduct=conduct)
        return extractor.fit(extractor.prepare(images(60)[0]), None, context).get_state().tensors

    whole = fitted(lambda training: training.run("cpu"))
    with pytest.raises(KeyboardInterrupt):
        fitted(lambda training: training.blank().run("cpu", checkpoints=checkpoints))
    checkpoints.dies_at = None
    again = fitted(lambda training: training.blank().run("cpu", checkpoints=checkpoints))
    assert len(checkpoints.states) == 4
    for name, values in whole.items():
        np.testing.assert_array_equal(again[name], values)


def test_each_of_its_twins_goes_on_from_where_it_was_cut_off():
    """Errors of training rows are those of networks that were trained on the others: trainings of their own."""
    params = {"size": 8, "width": 2, "features": 3, "epochs": 3, "patience": 3, "errors": True}
    kept = {"": MemoryCheckpoints(), "twin-0": MemoryCheckpoints(), "twin-1": MemoryCheckpoints(dies_at=2)}

    def conductor(name):
        return lambda training: training.blank().run("cpu", checkpoints=kept[name])

    def rows_of(context):
        extractor = build_extractor("autoencoder", params, IMAGE)
        prepared = extractor.prepare(images(60)[0])
        extractor.fit(prepared, None, context)
        return extractor.cross_fitted(prepared, None, context).values

    context = FitContext("binary", 2, 0, conduct=conductor(""), conductors=conductor)
    with pytest.raises(KeyboardInterrupt):
        rows_of(context)
    kept["twin-1"].dies_at = None
    again = rows_of(context)
    assert {name: len(each.states) for name, each in kept.items()} == {"": 3, "twin-0": 3, "twin-1": 3}
    np.testing.assert_array_equal(again, rows_of(FitContext("binary", 2, 0)))


def test_changed_images_are_to_be_drawn_as_they_were_changed():
    rows, _ = images(4)
    extractor = build_extractor("autoencoder", {"size": 16, "noise": 0.0, "flip": True, "rotate": 30}, IMAGE)
    pixels = extractor.prepare(rows).arrays[PIXELS][:, 0]
    assert extractor.augmented
    out = extractor.augment({PIXELS: pixels}, np.random.default_rng(0))
    np.testing.assert_allclose(out[CHANGED], out[PIXELS].astype(np.float32) / 255, atol=1e-6)
    assert (out[PIXELS] != pixels).any(axis=(1, 2, 3)).all()
    assert not build_extractor("autoencoder", {"noise": 0.0}, IMAGE).augmented

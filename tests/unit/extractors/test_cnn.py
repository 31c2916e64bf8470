import io

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from hybrid_ray.errors import BadInputError
from hybrid_ray.extractors.base import FitContext, build_extractor
from hybrid_ray.testing.rows import toy_batch, toy_labels
from hybrid_ray.training.rows import hold_out, normal_scores
from hybrid_ray.types import Prepared

IMAGE = {"image": "image"}
TINY = {"size": 8, "mode": "grey", "width": 4, "features": 8, "epochs": 3}


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    cells = np.empty(len(data.images), object)
    cells[:] = [png((image * 255 / 16).astype(np.uint8)) for image in data.images]
    return {"image": cells}, data.target


def build(columns=IMAGE, **params):
    return build_extractor("cnn", TINY | params, columns)


@pytest.mark.slow
def test_digits_are_learned(digits):
    batch, y = digits
    rows, test = train_test_split(np.arange(len(y)), test_size=0.36, stratify=y, random_state=1)
    extractor = build_extractor("cnn", {"size": 8, "mode": "grey"}, IMAGE)
    prepared = extractor.prepare(batch)
    extractor.fit(prepared.take(rows), y[rows], FitContext("multiclass", 10, seed=1))
    features = extractor.block(prepared).values
    assert features.shape == (len(y), 64)
    for learner in (LogisticRegression(max_iter=500), SVC(C=5)):
        assert learner.fit(features[rows], y[rows]).score(features[test], y[test]) >= 0.985


def test_the_seed_decides_and_the_world_outside_does_not(digits):
    import torch

    batch, y = digits
    some = {"image": batch["image"][:120]}

    def trained(seed):
        extractor = build()
        return extractor.fit(extractor.prepare(some), y[:120], FitContext("multiclass", 10, seed=seed))

    torch.manual_seed(1)
    first = trained(0).transform(some).values
    torch.manual_seed(2)
    np.random.seed(9)
    before = torch.random.get_rng_state()
    np.testing.assert_array_equal(trained(0).transform(some).values, first)
    assert torch.equal(torch.random.get_rng_state(), before), "the caller's generator must be left as it was"
    assert not np.array_equal(trained(1).transform(some).values, first)


def test_threads_are_as_before():
    import torch

    before = torch.get_num_threads()
    extractor = build(epochs=1)
    batch = toy_batch(IMAGE)
    extractor.fit(extractor.prepare(batch), toy_labels(), FitContext("multiclass", 3, threads=before + 1))
    assert torch.get_num_threads() == before


def test_the_hold_out_is_of_the_training_rows_and_keeps_the_classes():
    codes = np.repeat([0, 1, 2], [600, 300, 7])
    kept, held = hold_out(codes, len(codes), 0)
    assert sorted([*kept, *held]) == list(range(len(codes)))
    np.testing.assert_allclose(np.bincount(codes[held], minlength=3), [60, 30, 0.7], atol=1)
    assert set(codes[kept]) == {0, 1, 2}
    kept, held = hold_out(None, 200, 0)
    assert len(held) == 20
    assert sorted([*kept, *held]) == list(range(200))
    assert len(hold_out(codes[:20], 20, 0)[1]) == 0


def test_validation_rows_have_no_part_in_a_fit(digits):
    batch, y = digits
    extractor, other = build(), build()
    rows = np.arange(100)
    prepared = extractor.prepare({"image": batch["image"][:150]})
    context = FitContext("multiclass", 10, seed=3)
    extractor.fit(prepared.take(rows), y[rows], context)
    other.fit(other.prepare({"image": batch["image"][:100]}), y[:100], context)
    np.testing.assert_array_equal(extractor.block(prepared).values, other.block(prepared).values)


def test_several_images_of_a_row_are_learned_together():
    columns = {"left": "image", "right": "image"}
    rng = np.random.default_rng(0)
    bright = rng.integers(0, 2, (80, 2)).astype(bool)
    batch = {}
    for place, name in enumerate(columns):
        cells = np.empty(80, object)
        cells[:] = [png(rng.integers(0, 80, (8, 8)).astype(np.uint8) + np.uint8(150 * b)) for b in bright[:, place]]
        batch[name] = cells
    batch["left"][5] = None
    y = bright[:, 1].astype(int)
    extractor = build(columns, epochs=12)
    extractor.fit(extractor.prepare(batch), y, FitContext("binary", 2, seed=0))
    values = extractor.transform(batch).values
    assert values.shape == (80, 16)
    assert not values[5, :8].any()
    assert LogisticRegression(max_iter=500).fit(values[:60], y[:60]).score(values[60:], y[60:]) >= 0.95


def test_numbers_are_learned_too():
    rng = np.random.default_rng(0)
    level = rng.uniform(0, 200, 240)
    cells = np.empty(240, object)
    cells[:] = [png((v + rng.integers(0, 20, (8, 8))).astype(np.uint8)) for v in level]
    extractor = build(epochs=20, width=8)
    y = np.exp(level / 20)  # heavily skewed
    extractor.fit(extractor.prepare({"image": cells}), y, FitContext("regression", 1, seed=0))
    values = np.c_[extractor.transform({"image": cells}).values, np.ones(240)]
    coefficients = np.linalg.lstsq(values[:180], level[:180], rcond=None)[0]
    assert np.corrcoef(values[180:] @ coefficients, level[180:])[0, 1] > 0.95


def test_normal_scores_keep_order_and_share_ties():
    scores = normal_scores(np.array([5.0, 1.0, 1e9, 1.0]))
    assert scores[1] == scores[3] < scores[0] < scores[2]
    assert np.isfinite(scores).all()
    assert scores.dtype == np.float32


def test_every_class_may_be_absent_but_one():
    extractor = build()
    extractor.fit(extractor.prepare(toy_batch(IMAGE)), np.full(24, 2), FitContext("multiclass", 5))
    assert np.isfinite(extractor.transform(toy_batch(IMAGE)).values).all()


@pytest.mark.parametrize("size", [4, 5, 16, 24, 33])
def test_any_size_is_halved_down(size):
    extractor = build(size=size, epochs=1, width=2)
    extractor.fit(extractor.prepare(toy_batch(IMAGE)), toy_labels(), FitContext("multiclass", 3))
    assert extractor.transform(toy_batch(IMAGE)).values.shape == (24, 8)


@pytest.mark.parametrize("flip", [True, False])
def test_flipping_is_said_not_assumed(flip):
    import torch

    net = build(flip=flip, shift=0.0, rotate=0.0, scale=0.0)._build(2)
    image = torch.arange(64.0).view(1, 1, 8, 8).expand(40, 1, 8, 8)
    mirrored = (net._augmented(image) - image.flip(3)).abs().amax(dim=(1, 2, 3)) < 1e-3
    kept = (net._augmented(image) - image).abs().amax(dim=(1, 2, 3)) < 1e-3
    assert bool(mirrored.any()) is flip
    assert bool(kept.all()) is not flip


def test_colour_and_erasing_change_training_images_only(digits, monkeypatch):
    import torch

    from hybrid_ray.extractors import _cnn_net

    batch, y = digits
    some, context = {"image": batch["image"][:100]}, FitContext("multiclass", 10, seed=3)
    seen = []
    collate = _cnn_net._augmented_batch

    def watched(augment, rng, rows):
        inputs, target = collate(augment, rng, rows)
        seen.append((inputs["pixels"], torch.stack([row[0]["pixels"] for row in rows])))
        return inputs, target

    monkeypatch.setattr(_cnn_net, "_augmented_batch", watched)
    values = {}
    for colour, erase in ((0.0, 0.0), (0.3, 0.0), (0.0, 0.3)):
        seen.clear()
        extractor = build(epochs=2, colour=colour, erase=erase)
        values[colour, erase] = extractor.fit(extractor.prepare(some), y[:100], context).transform(some).values
        changed = [bool((after != before).any()) for after, before in seen]
        assert any(changed) == bool(colour or erase)
        assert all(after.dtype == torch.uint8 and after.shape == before.shape for after, before in seen)
        again = build(epochs=2, colour=colour, erase=erase)
        np.testing.assert_array_equal(
            again.fit(again.prepare(some), y[:100], context).transform(some).values, values[colour, erase]
        )
    assert not np.array_equal(values[0.0, 0.0], values[0.3, 0.0])
    assert not np.array_equal(values[0.0, 0.0], values[0.0, 0.3])


def test_without_labels_or_images_it_says_so():
    extractor = build()
    prepared = extractor.prepare(toy_batch(IMAGE))
    with pytest.raises(BadInputError, match="needs labels and at least two rows"):
        extractor.fit(prepared, None, FitContext("clustering", 1))
    nothing = Prepared({n: a[:0] for n, a in prepared.arrays.items()}, np.zeros(4, bool))
    with pytest.raises(BadInputError, match="got 0 rows"):
        extractor.fit(nothing, toy_labels(4), FitContext("multiclass", 3))

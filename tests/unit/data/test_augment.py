import numpy as np
import pytest
from scipy.ndimage import affine_transform

from hybrid_ray.data.augment import (
    ImageAugmentation,
    TextAugmentation,
    erased,
    mirrored,
    posed,
    recoloured,
    shifted,
    turned,
    with_words_dropped,
    with_words_swapped,
)

TEXTS = ["one two three four five six seven eight", "alone", "", "a b"]


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture
def images():
    return rng(5).integers(0, 256, (40, 12, 10, 3)).astype(np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_come_back_in_their_own_form_and_the_generator_decides(images, channels):
    images = images[..., :channels]
    before = images.copy()
    images.flags.writeable = False
    augment = ImageAugmentation(flip=True, shift=0.2, colour=0.3, erase=0.3, rotate=20, crop=0.2)
    out = augment(images, rng(1))
    assert (out.dtype, out.shape) == (np.uint8, images.shape)
    np.testing.assert_array_equal(images, before)
    np.testing.assert_array_equal(augment(images, rng(1)), out)
    assert not np.array_equal(augment(images, rng(2)), out)
    assert augment(images[:0], rng()).shape == images[:0].shape


def test_nothing_is_done_unless_it_is_asked_for(images):
    np.testing.assert_array_equal(ImageAugmentation()(images, rng()), images)
    assert TextAugmentation()(TEXTS, rng()) == TEXTS


def test_images_are_turned_about_their_middle():
    still = np.zeros((30, 21, 21, 1), np.uint8)
    still[:, 10, 15:18] = 255
    out = turned(still, rng(), 45.0)
    rows, columns = np.mgrid[:21, :21] - 10
    weight = out[..., 0] / out[..., 0].sum(axis=(1, 2), keepdims=True)
    angles = np.rad2deg(np.arctan2((weight * rows).sum((1, 2)), (weight * columns).sum((1, 2))))
    assert np.abs(angles).max() < 47
    assert angles.std() > 15
    far = np.hypot((weight * rows).sum((1, 2)), (weight * columns).sum((1, 2)))
    np.testing.assert_allclose(far, 6, atol=0.3)


def test_crops_are_brought_to_the_whole_size():
    slope = np.tile(np.arange(0, 200, 10, dtype=np.uint8)[None, None, :, None], (50, 20, 1, 1))
    out = turned(slope, rng(), 0.0, 0.5).astype(int)
    spans = out[:, 0, -1, 0] - out[:, 0, 0, 0]
    assert (spans <= 190).all()
    assert spans.min() < 130
    assert len(np.unique(out[:, 0, 0, 0])) > 10, "they lie anywhere"
    np.testing.assert_array_equal(turned(slope, rng(), 0.0), slope)


def test_each_image_is_mirrored_or_not(images):
    out = mirrored(images, rng())
    turned = (out == images[:, :, ::-1]).all(axis=(1, 2, 3))
    kept = (out == images).all(axis=(1, 2, 3))
    assert (turned ^ kept).all()
    assert 10 < turned.sum() < 30


def test_a_shift_moves_whole_pixels_and_repeats_the_border(images):
    out = shifted(images, rng(), 0.25)
    distances = set()
    for image, moved in zip(images, out, strict=True):
        found = [
            (dy, dx)
            for dy in range(-3, 4)
            for dx in range(-3, 4)
            if np.array_equal(moved, image[(np.arange(12) + dy).clip(0, 11)][:, (np.arange(10) + dx).clip(0, 9)])
        ]
        assert found
        distances.add(found[0])
    assert len(distances) > 10


def test_colours_change_by_no_more_than_was_asked():
    flat = np.full((200, 4, 4, 3), 100, np.uint8)
    levels = recoloured(flat, rng(), 0.2)[:, 0, 0, 0]
    assert levels.min() >= 80
    assert levels.max() <= 120
    assert levels.std() > 5
    black = np.zeros((3, 4, 4, 3), np.uint8)
    np.testing.assert_array_equal(recoloured(black, rng(), 0.5), black)


def test_saturation_leaves_brightness_and_grey_alone():
    grey = np.repeat(rng(3).integers(0, 200, (6, 8, 8, 1)), 3, axis=3).astype(np.uint8)
    out = recoloured(grey, rng(), 0.2)
    assert np.ptp(out, axis=3).max() == 0


def test_a_rectangle_of_bounded_area_is_wiped_out(images):
    out = erased(images, rng(), 0.25)
    changed = (out != images).any(axis=3)
    share = changed.mean(axis=(1, 2))
    assert 0.3 < (share == 0).mean() < 0.7
    assert 0.02 < share.max() <= 0.25 * 1.3
    for image, hole in zip(out[share > 0], changed[share > 0], strict=True):
        rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
        inside = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert np.ptp(inside, axis=(0, 1)).max() == 0


def test_words_are_dropped_but_one_stays():
    out = with_words_dropped(TEXTS * 50, rng(), 0.5)
    lengths = [len(text.split()) for text in out[::4]]
    assert 2.5 < np.mean(lengths) < 5.5
    assert min(lengths) >= 1
    assert set(out[1::4]) == {"alone"}
    assert set(out[2::4]) == {""}
    words = TEXTS[0].split()
    assert all([w for w in words if w in text.split()] == text.split() for text in out[::4])
    assert with_words_dropped(TEXTS, rng(), 1.0)[3] in ("a", "b")


def test_words_change_places_and_none_is_lost():
    out = with_words_swapped(TEXTS * 20, rng(), 0.3)
    assert {tuple(sorted(text.split())) for text in out[::4]} == {tuple(sorted(TEXTS[0].split()))}
    assert len(set(out[::4])) > 5
    assert set(out[3::4]) == {"a b", "b a"}
    assert set(out[1::4]) == {"alone"}


def test_both_are_done_and_the_generator_decides():
    augment = TextAugmentation(drop=0.3, swap=0.3)
    assert augment(TEXTS, rng(1)) == augment(TEXTS, rng(1))
    assert augment(TEXTS * 9, rng(1)) != augment(TEXTS * 9, rng(2))


def test_a_pose_is_an_affine_map_about_the_middle():
    """As scipy answers with the same map; no map leaves images as they are."""
    images = np.random.default_rng(0).integers(0, 256, (5, 9, 7, 2), np.uint8)
    np.testing.assert_array_equal(posed(images, np.random.default_rng(0), 0.0), images)
    most, found = 0.2, posed(images, np.random.default_rng(3), 0.2)
    drawn = np.random.default_rng(3)
    matrices = np.eye(2) + drawn.uniform(-most, most, (5, 2, 2))
    moves = drawn.uniform(-most, most, (5, 2)) * (9, 7)
    middle = np.array([4.0, 3.0])
    for image, matrix, move, other in zip(images, matrices, moves, found, strict=True):
        for channel in range(2):
            given = image[..., channel].astype(float)
            offset = middle + move - matrix @ middle
            expected = affine_transform(given, matrix, offset, order=1, mode="grid-constant")
            assert np.abs(expected - other[..., channel]).max() <= 0.51

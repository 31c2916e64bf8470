"""Data-level fusions: what a text says, and where an image lies."""

import numpy as np
import pytest

from hybrid_ray.data.images import decode, encode_png
from hybrid_ray.fusion.channels import Channels, ChannelsParams
from hybrid_ray.fusion.joined import Joined, JoinedParams
from hybrid_ray.fusion.serialised import Serialised, SerialisedParams
from hybrid_ray.fusion.tiled import Tiled, TiledParams

KINDS = {"title": "text", "unit_price": "numeric", "in_stock": "categorical", "listed": "date"}
BATCH = {
    "title": np.array(["A red\nshoe", None], object),
    "unit_price": np.array([12.3456, 40.0]),
    "in_stock": np.array(["true", None], object),
    "listed": np.array(["2024-05-01", "NaT"], "datetime64[ms]"),
}


def serialised(**params):
    return Serialised(SerialisedParams(**params)).combine(BATCH, KINDS).values.tolist()


def test_a_row_is_its_names_and_values_texts_last():
    assert serialised() == [
        "in stock: yes; listed: 2024-05-01; unit price: 12.35; title: A red shoe",
        "in stock: missing; listed: missing; unit price: 40; title: missing",
    ]


def test_it_can_be_sentences_and_leave_out_what_is_missing():
    assert serialised(template="sentences", missing="", digits=2) == [
        "The in stock is yes. The listed is 2024-05-01. The unit price is 12. The title is A red shoe.",
        "The unit price is 40.",
    ]


def test_a_long_part_is_cut_and_the_others_stay():
    batch = {"a": np.array(["word " * 100], object), "b": np.array([3.25]), "c": np.array(["end"], object)}
    kinds = {"a": "text", "b": "numeric", "c": "text"}
    (text,) = Serialised(SerialisedParams(max_characters=40)).combine(batch, kinds).values
    assert len(text) <= 40
    assert text.startswith("b: 3.25; a: word")
    assert text.endswith("; c: end")


def test_texts_are_joined_as_they_are_with_their_names():
    kinds = {"review": "text", "title": "text"}
    batch = {
        "title": np.array(["Nice", None, None], object),
        "review": np.array(["It fits.\nWell.", "Ok", None], object),
    }
    marked = Joined(JoinedParams()).combine(batch, kinds).values.tolist()
    assert marked == ["review: It fits.\nWell.\ntitle: Nice", "review: Ok\ntitle: missing", None]
    bare = Joined(JoinedParams(markers=False, separator=" / ", missing="")).combine(batch, kinds).values.tolist()
    assert bare == ["It fits.\nWell. / Nice", "Ok", None]


def flat(*shades, shape=(12, 12)):
    """A column of images of one colour each; None stays None."""
    column = np.empty(len(shades), object)
    column[:] = [None if s is None else encode_png(np.full((*shape, 3), s, np.uint8)) for s in shades]
    return column


def pixels(value):
    return np.asarray(decode(value))


IMAGES = dict.fromkeys("abcd", "image")


def test_tiles_stand_in_the_order_of_names_and_a_missing_one_is_grey():
    batch = {"b": flat(50, 50), "a": flat(10, 10), "d": flat(200, None), "c": flat(90, 90)}
    full, lacking = Tiled(TiledParams(size=20)).combine(batch, IMAGES).values
    for value, last in ((full, 200), (lacking, 128)):
        tiles = pixels(value)[..., 0].reshape(2, 10, 2, 10)
        assert (tiles == np.array([[10, 50], [90, last]])[:, None, :, None]).all()


@pytest.mark.parametrize(
    ("layout", "expected"), [("grid", [[1, 2], [3, 128]]), ("row", [[1, 2, 3]]), ("column", [[1], [2], [3]])]
)
def test_layouts(layout, expected):
    batch = {"a": flat(1), "b": flat(2), "c": flat(3)}
    fusion = Tiled(TiledParams(layout=layout, size=18, frame="stretch"))
    (value,) = fusion.combine(batch, dict.fromkeys("abc", "image")).values
    rows, columns = len(expected), len(expected[0])
    tiles = pixels(value)[..., 0].reshape(rows, 18 // rows, columns, 18 // columns)
    assert (tiles == np.array(expected)[:, None, :, None]).all()


def test_frames_keep_a_wide_image_whole_its_middle_or_its_extent():
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, 13:] = 250
    column = np.array([encode_png(wide), None], object)[:1]
    shown = {
        frame: pixels(Tiled(TiledParams(size=16, frame=frame, fill=7)).combine({"a": column}, {"a": "image"}).values[0])
        for frame in ("pad", "crop", "stretch")
    }
    assert (shown["pad"][[0, -1]] == 7).all()
    assert (shown["pad"][4:12, 14:] > 240).all()
    assert (shown["crop"] < 120).all()
    assert (shown["stretch"][:, 14:] > 240).all()


@pytest.mark.parametrize(
    ("shades", "expected"),
    [
        ([40], (40, 40, 40)),
        ([40, 80], (40, 80, 60)),
        ([40, None], (40, 128, 40)),
        ([40, 80, 120], (40, 80, 120)),
        ([40, None, 120], (40, 128, 120)),
        ([10, 30, 50, 70, 90, 110], (20, 60, 100)),
        ([10, None, 50, 70, 90, 110], (10, 60, 100)),
    ],
)
def test_grey_images_are_channels(shades, expected):
    batch = {f"band{i}": flat(shade) for i, shade in enumerate(shades)}
    (value,) = Channels(ChannelsParams(size=16)).combine(batch, dict.fromkeys(batch, "image")).values
    assert (pixels(value) == expected).all()


def test_colour_images_are_averaged_over_those_that_are_there():
    batch = {"a": flat((0, 100, 200), (0, 100, 200)), "b": flat((100, 100, 0), None)}
    both, one = Channels(ChannelsParams(how="mean", size=16)).combine(batch, dict.fromkeys("ab", "image")).values
    assert (pixels(both) == (50, 100, 100)).all()
    assert (pixels(one) == (0, 100, 200)).all()

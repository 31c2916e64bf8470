import io

import numpy as np
import pytest
from PIL import Image

from hybrid_ray.extractors.base import build_extractor


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def batch(*cells):
    column = np.empty(len(cells), object)
    column[:] = cells
    return {"image": column}


def test_an_image_of_its_size_is_told_exactly():
    grey = np.random.default_rng(0).integers(0, 256, (8, 8))
    extractor = build_extractor("pixels", {"size": 8}, {"image": "image"})
    values = extractor.transform(batch(png(grey))).values
    np.testing.assert_allclose(values[0], grey.ravel() / 255, rtol=1e-6)
    assert extractor.n_features == 64


def test_colours_keep_their_channels():
    red = np.zeros((4, 4, 3))
    red[..., 0] = 255
    extractor = build_extractor("pixels", {"size": 2, "mode": "rgb"}, {"image": "image"})
    np.testing.assert_array_equal(extractor.transform(batch(png(red))).values[0].reshape(2, 2, 3)[0, 0], [1, 0, 0])


@pytest.mark.parametrize("size", [1, 16, 40])
def test_any_size_comes_out_in_bounds(size):
    noise = np.random.default_rng(0).integers(0, 256, (20, 33, 3))
    values = build_extractor("pixels", {"size": size}, {"image": "image"}).transform(batch(png(noise))).values
    assert values.shape == (1, size * size)
    assert values.min() >= 0
    assert values.max() <= 1

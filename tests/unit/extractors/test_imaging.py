import io

import fsspec
import numpy as np
import pytest
from PIL import Image

from hybrid_ray.extractors.imaging import PIXELS, ShortSide, Stretch, read_images


def encoded(size, kind="PNG", mode="RGB", seed=0):
    width, height = size
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    coarse = np.random.default_rng(seed).integers(0, 256, (*(max(s // 16, 1) for s in shape[:2]), *shape[2:]))
    image = Image.fromarray(coarse.astype(np.uint8), mode).resize(size, Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    image.save(stream, kind, quality=95)
    return stream.getvalue()


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (256, 256), (40, 90), (31, 31), (500, 64)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
def test_short_side_is_what_torchvision_does(size, interpolation):
    from torchvision.transforms import v2

    reference = v2.Compose([v2.Resize(72, v2.InterpolationMode(interpolation)), v2.CenterCrop(64)])
    data = encoded(size)
    expected = np.asarray(reference(Image.open(io.BytesIO(data))))
    pixels = read_images([data], ShortSide(72, 64, interpolation), "RGB").arrays[PIXELS]
    np.testing.assert_array_equal(pixels[0], expected)


def test_a_large_jpeg_is_reduced_while_it_is_decoded_and_looks_the_same():
    photo = encoded((1600, 1200), "JPEG")
    framing = ShortSide(72, 64)
    fast = read_images([photo], framing, "RGB").arrays[PIXELS][0].astype(float)
    whole = np.asarray(framing(Image.open(io.BytesIO(photo)))).astype(float)
    assert np.abs(fast - whole).mean() < 2.0


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1)])
def test_every_image_has_the_same_shape(mode, channels):
    cells = [encoded((10, 30)), encoded((64, 8), "JPEG"), encoded((5, 5), mode="L"), encoded((16, 16))]
    pixels = read_images(cells, Stretch(16), mode).arrays[PIXELS]
    assert pixels.shape == (4, 16, 16, channels)
    assert pixels.dtype == np.uint8


def test_what_cannot_be_decoded_is_told_and_left_out():
    items = read_images([encoded((8, 8)), b"junk", encoded((8, 8), seed=1)], Stretch(8), "RGB")
    assert list(items.errors) == [1]
    assert items.errors[1]
    assert items.arrays[PIXELS].shape == (2, 8, 8, 3)
    np.testing.assert_array_equal(
        items.arrays[PIXELS][1], read_images([encoded((8, 8), seed=1)], Stretch(8), "RGB").arrays[PIXELS][0]
    )


def test_no_cells_give_no_pixels():
    assert read_images([], Stretch(8), "L").arrays[PIXELS].shape == (0, 8, 8, 1)


def test_paths_and_urls_are_fetched_in_order(tmp_path):
    files = fsspec.filesystem("memory")
    cells = []
    for i in range(70):
        data = encoded((8, 8), seed=i)
        files.pipe(f"/imaging/{i}.png", data)
        cells.append(f"memory://imaging/{i}.png")
    path = tmp_path / "x.png"
    path.write_bytes(encoded((8, 8), seed=3))
    cells += [str(path), "memory://imaging/none.png"]
    items = read_images(cells, Stretch(8), "RGB")
    expected = read_images([encoded((8, 8), seed=i) for i in (*range(70), 3)], Stretch(8), "RGB")
    np.testing.assert_array_equal(items.arrays[PIXELS], expected.arrays[PIXELS])
    assert list(items.errors) == [71]

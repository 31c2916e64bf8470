"""Image cells: fetched and decoded within bounds; whatever is broken is one kind of error."""

import functools
import http.server
import io
import threading

import fsspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hybrid_ray.data.encoded import DecodeError, fetch
from hybrid_ray.data.images import decode, encode_png, is_image, probe

PIXELS = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3)
PNG = encode_png(PIXELS)


def saved(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_formats(form):
    data = saved(Image.fromarray(PIXELS), form)
    assert is_image(data[:16])
    image = decode(data)
    assert (image.mode, image.size) == ("RGB", (4, 6))
    assert probe(data) == (4, 6)


def test_pixels_survive():
    np.testing.assert_array_equal(np.asarray(decode(PNG)), PIXELS)
    grey = PIXELS[..., 0]
    np.testing.assert_array_equal(np.asarray(decode(encode_png(grey), mode="L")), grey)


def test_an_image_is_fetched_from_anywhere(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    fsspec.filesystem("memory").pipe({"/test_images_fetch/a.png": PNG})
    for value in (PNG, str(tmp_path / "a.png"), f"file://{tmp_path}/a.png", "memory://test_images_fetch/a.png"):
        assert fetch(value) == PNG
        assert decode(value).size == (4, 6)


def test_an_image_is_fetched_by_http(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            url = f"http://127.0.0.1:{server.server_port}"
            assert decode(f"{url}/a.png").size == (4, 6)
            with pytest.raises(DecodeError, match="got a file that is not there"):
                fetch(f"{url}/b.png")
        finally:
            server.shutdown()


@pytest.mark.parametrize("uri", ["/nowhere/secret.png", "memory://nowhere/secret.png", "nosuch://secret", "/"])
def test_what_cannot_be_fetched_is_told_without_its_place(uri):
    with pytest.raises(DecodeError, match="an image must be readable; got a file that") as caught:
        decode(uri)
    assert "secret" not in str(caught.value)


def test_sizes_are_bounded(tmp_path):
    (tmp_path / "a.png").write_bytes(PNG)
    for value in (PNG, str(tmp_path / "a.png")):
        with pytest.raises(DecodeError, match="must have at most 10 bytes"):
            fetch(value, max_bytes=10)
    for look in (decode, probe):
        with pytest.raises(DecodeError, match="must have at most 23 pixels"):
            look(PNG, max_pixels=23)
    bomb = PNG[:16] + (2**16).to_bytes(4, "big") * 2 + PNG[24:]
    with pytest.raises(DecodeError, match="an image must"):
        decode(bomb)


def test_transparency_is_laid_on_white():
    clear = np.zeros((2, 2, 4), np.uint8)
    assert np.asarray(decode(saved(Image.fromarray(clear), "PNG"))).min() == 255


def test_deep_greys_are_scaled():
    deep = np.array([[0, 32768], [65535, 256]], np.uint16)
    np.testing.assert_array_equal(
        np.asarray(decode(saved(Image.fromarray(deep), "PNG"), mode="L")), [[0, 128], [255, 1]]
    )


def test_photos_are_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(saved(Image.fromarray(PIXELS), "JPEG", exif=exif)).size == (6, 4)


@pytest.mark.parametrize("data", [b"", b"text", b"%!PS-Adobe", PNG[:30], b"\xff\xd8\xff" + b"\x00" * 20])
def test_what_is_no_image_is_refused(data):
    with pytest.raises(DecodeError, match=r"an image must be decodable; got \d+ bytes"):
        decode(data)


@pytest.mark.filterwarnings("ignore::UserWarning")
@given(
    cut=st.integers(0, len(PNG)),
    noise=st.binary(min_size=1, max_size=20),
    form=st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"]),
)
def test_damage_never_raises_anything_else(cut, noise, form):
    data = saved(Image.fromarray(PIXELS), form)
    cut %= len(data)
    broken = data[:cut] + noise + data[cut + len(noise) :]
    for value in (broken, data[:cut]):
        try:
            assert decode(value).mode == "RGB"
        except DecodeError:
            continue

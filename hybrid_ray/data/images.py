"""Image cells: decoded within bounds; arrays encoded."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

from hybrid_ray.data.encoded import DecodeError, fetch
from hybrid_ray.types import AnyArray

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 40_000_000
"""Pixels of an image above which it is refused."""

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")
"""Formats that are read: some of Pillow's others start programs or are seldom looked after."""

_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"BM", b"II*\x00", b"MM\x00*")
_JPEG2000 = (b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51")

# What Pillow's decoders raise for damaged files: its plugins parse with struct, zlib and plain indexing.
_DAMAGE = (OSError, SyntaxError, ValueError, IndexError, KeyError, TypeError, EOFError, OverflowError, struct.error)


def is_image(head: bytes) -> bool:
    """Whether bytes start like an image of a format that is read."""
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return webp or head.startswith((*_SIGNATURES, *_JPEG2000)) or (head[:2] in (b"P5", b"P6") and head[2:3].isspace())


def decode(
    value: bytes | str, mode: str = "RGB", max_pixels: int = MAX_PIXELS, enough: tuple[int, int] | None = None
) -> Image:
    """The image that a cell holds or names, upright, loaded and converted.

    Parameters
    ----------
    value : bytes or str
        The encoded image, a local path, or a URL of any fsspec protocol.
    mode : {"RGB", "L"}, default "RGB"
    max_pixels : int, default 40 million
    enough : tuple of int, optional
        Width and height that suffice: a larger JPEG may be decoded at a reduced scale, never below them.

    Raises
    ------
    DecodeError
        It cannot be fetched, is no image, is damaged, or has more than ``max_pixels``.
    """
    data = fetch(value)
    from PIL import Image, ImageOps

    try:
        image = _open(data, max_pixels)
        if enough is not None and image.format == "JPEG":
            image.draft(mode if image.mode != "CMYK" else "CMYK", enough)
        image.load()
        return _convert(ImageOps.exif_transpose(image), mode)
    except DecodeError:
        raise
    except (*_DAMAGE, zlib.error, Image.DecompressionBombError) as error:
        raise DecodeError(f"an image must be decodable; got {len(data)} bytes: {type(error).__name__}") from error


def probe(data: bytes, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height of an encoded image, from its header alone: cheap, and no proof that the rest is sound.

    Raises
    ------
    DecodeError
        It is no image, or has more than ``max_pixels``.
    """
    from PIL import Image

    try:
        with _open(data, max_pixels) as image:
            return image.size
    except DecodeError:
        raise
    except (*_DAMAGE, zlib.error, Image.DecompressionBombError) as error:
        raise DecodeError(f"an image must be decodable; got {len(data)} bytes: {type(error).__name__}") from error


def _open(data: bytes, max_pixels: int) -> Image:
    from PIL import Image

    image = Image.open(io.BytesIO(data), formats=FORMATS)
    width, height = image.size
    if width * height > max_pixels:
        raise DecodeError(f"an image must have at most {max_pixels} pixels; got {width} x {height}")
    return image


def _convert(image: Image, mode: str) -> Image:
    """To ``mode``: 16-bit greys are scaled, transparency is laid on white."""
    from PIL import Image

    if image.mode.startswith("I;16") or image.mode == "I":
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA"):
        layer = image.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(ground, layer)
    return image if image.mode == mode else image.convert(mode)


def encode_raw(pixels: AnyArray) -> bytes:
    """Bytes of an image, not compressed, of uint8 pixels (height, width, 3): what is decoded again at once."""
    height, width = pixels.shape[:2]
    return b"P6 %d %d 255\n" % (width, height) + pixels.tobytes()


def encode_png(pixels: AnyArray | Image) -> bytes:
    """PNG bytes of an image, or of uint8 pixels (height, width) or (height, width, channels)."""
    from PIL import Image

    image = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()

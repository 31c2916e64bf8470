"""Augmentation of training images and texts: other rows that mean the same.

Only what is trained on rows augments them, and only its own training rows: a frozen extractor gives one vector a row,
and counts of words (``tfidf``) lose terms by it and gain none. Every function is pure: the same rows and the same
generator give the same answer, inputs are left as they were. torchvision's transforms draw once for a whole batch; here
every row has its own draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hybrid_ray.types import AnyArray

_GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""Shares of red, green and blue in brightness (ITU-R BT.601)."""
_ASPECT = 3.0
"""Longest side of an erased rectangle, in shortest sides."""


@dataclass(frozen=True)
class ImageAugmentation:
    """What is done to training images, in this order; everything off by default.

    Attributes
    ----------
    flip : bool
        Half of the images are mirrored left to right.
    shift : float
        Largest shift, as a share of the side; border pixels are repeated.
    colour : float
        Largest relative change of brightness, contrast and saturation.
    erase : float
        Largest share of the area that is wiped out, in half of the images.
    rotate : float
        Largest turn, in degrees; border pixels are repeated. Turned before colours change.
    crop : float
        Largest share of either side that is cut away, before what is left is brought to the whole size.
    """

    flip: bool = False
    shift: float = 0.0
    colour: float = 0.0
    erase: float = 0.0
    rotate: float = 0.0
    crop: float = 0.0

    def __call__(self, images: AnyArray, rng: np.random.Generator) -> AnyArray:
        """Other images, uint8 (k, height, width, channels) like those that came."""
        if self.flip:
            images = mirrored(images, rng)
        if self.shift > 0:
            images = shifted(images, rng, self.shift)
        if self.rotate > 0 or self.crop > 0:
            images = turned(images, rng, self.rotate, self.crop)
        if self.colour > 0:
            images = recoloured(images, rng, self.colour)
        if self.erase > 0:
            images = erased(images, rng, self.erase)
        return images


def mirrored(images: AnyArray, rng: np.random.Generator, share: float = 0.5) -> AnyArray:
    """Images of which about a share is mirrored left to right.

    Parameters
    ----------
    images : ndarray (k, height, width, channels)
    rng : Generator
    share : float, default 0.5
    """
    chosen = rng.random(len(images)) < share
    return np.where(chosen[:, None, None, None], images[:, :, ::-1], images)


def shifted(images: AnyArray, rng: np.random.Generator, most: float) -> AnyArray:
    """Images moved by whole pixels, each in its own way; pixels of the border are repeated: a crop of the padded image.

    Parameters
    ----------
    images : ndarray (k, height, width, channels)
    rng : Generator
    most : float
        Largest shift as a share of the side.
    """
    k, height, width = images.shape[:3]
    down = _moves(rng, k, most * height)[:, None] + np.arange(height)
    right = _moves(rng, k, most * width)[:, None] + np.arange(width)
    rows, columns = down.clip(0, height - 1), right.clip(0, width - 1)
    moved: AnyArray = images[np.arange(k)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return moved


def turned(images: AnyArray, rng: np.random.Generator, degrees: float, cut: float = 0.0) -> AnyArray:
    """Images turned about their middle, and crops of them brought to the whole size, each in its own way.

    Parameters
    ----------
    images : ndarray of uint8 (k, height, width, channels)
    rng : Generator
    degrees : float
        Largest turn to either side.
    cut : float, default 0
        Largest share of a side that is cut away; the crop may lie anywhere in the image.
    """
    k, height, width = images.shape[:3]
    angle = np.deg2rad(rng.uniform(-degrees, degrees, k))[:, None, None]
    gone = rng.uniform(0, cut, (k, 1, 1))
    down, right = gone * rng.uniform(-0.5, 0.5, (2, k, 1, 1))
    y, x = np.meshgrid(np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij")
    y, x = y * (1 - gone) + down * height, x * (1 - gone) + right * width
    rows = (np.cos(angle) * y - np.sin(angle) * x + (height - 1) / 2).clip(0, height - 1)
    columns = (np.sin(angle) * y + np.cos(angle) * x + (width - 1) / 2).clip(0, width - 1)
    return _between(images, rows, columns)


def posed(images: AnyArray, rng: np.random.Generator, most: float) -> AnyArray:
    """Images under affine maps about their middle, each under its own; black where an image does not reach.

    Parameters
    ----------
    images : ndarray of uint8 (k, height, width, channels)
    rng : Generator
    most : float
        Largest change of an entry of the matrix, and largest move as a share of the side.
    """
    k, *sides = images.shape[:3]
    middle = (np.array(sides) - 1) / 2
    matrices = np.eye(2) + rng.uniform(-most, most, (k, 2, 2))
    moves = rng.uniform(-most, most, (k, 2)) * sides
    grid = np.stack(np.meshgrid(*map(np.arange, sides), indexing="ij"), axis=-1) - middle
    places = np.einsum("kij,yxj->kyxi", matrices, grid) + moves[:, None, None] + middle
    # A black border of one pixel stands for all that lies outside.
    framed = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows, columns = ((places[..., axis] + 1).clip(0, sides[axis] + 1) for axis in (0, 1))
    return _between(framed, rows, columns)


def _between(images: AnyArray, rows: AnyArray, columns: AnyArray) -> AnyArray:
    """Pixels at places (k, height, width) between those that there are: bilinear."""
    top, left = np.floor(rows).astype(np.int64), np.floor(columns).astype(np.int64)
    low, far = np.minimum(top + 1, images.shape[1] - 1), np.minimum(left + 1, images.shape[2] - 1)
    down, right = (rows - top)[..., None].astype(np.float32), (columns - left)[..., None].astype(np.float32)
    each = np.arange(len(images))[:, None, None]
    upper = images[each, top, left] * (1 - right) + images[each, top, far] * right
    lower = images[each, low, left] * (1 - right) + images[each, low, far] * right
    blended: AnyArray = (upper * (1 - down) + lower * down).round().clip(0, 255).astype(images.dtype)
    return blended


def recoloured(images: AnyArray, rng: np.random.Generator, strength: float) -> AnyArray:
    """Images with other brightness, contrast and, where there are three channels, saturation.

    Parameters
    ----------
    images : ndarray of uint8 (k, height, width, channels)
    rng : Generator
    strength : float
        Each factor is drawn from 1 - strength to 1 + strength.
    """
    k, channels = len(images), images.shape[-1]
    factors = rng.uniform(1 - strength, 1 + strength, (3, k, 1, 1, 1)).clip(0).astype(np.float32)
    brightness, contrast, saturation = factors
    pixels = images.astype(np.float32) * brightness
    grey = pixels @ _GREY[:, None] if channels == 3 else pixels.mean(axis=3, keepdims=True)
    level = grey.mean(axis=(1, 2), keepdims=True)
    pixels = level + contrast * (pixels - level)
    if channels == 3:
        grey = level + contrast * (grey - level)
        pixels = grey + saturation * (pixels - grey)
    return pixels.round().clip(0, 255).astype(images.dtype)


def erased(images: AnyArray, rng: np.random.Generator, most: float, share: float = 0.5) -> AnyArray:
    """Images of which about a share has a rectangle filled with the image's mean colour.

    Parameters
    ----------
    images : ndarray of uint8 (k, height, width, channels)
    rng : Generator
    most : float
        Largest share of the area.
    share : float, default 0.5

    References
    ----------
    Zhong et al., "Random erasing data augmentation", AAAI 2020.
    """
    k, height, width = images.shape[:3]
    area = rng.uniform(0, most, k) * (rng.random(k) < share)
    shape = np.exp(rng.uniform(-0.5, 0.5, k) * np.log(_ASPECT))
    tall = np.minimum(np.sqrt(area) * shape, 1.0) * height
    wide = np.minimum(np.sqrt(area) / shape, 1.0) * width
    top, left = rng.random(k) * (height - tall), rng.random(k) * (width - wide)
    middles = (np.arange(height) + 0.5, np.arange(width) + 0.5)
    inside = [
        (middle >= start[:, None]) & (middle < (start + size)[:, None])
        for middle, start, size in zip(middles, (top, left), (tall, wide), strict=True)
    ]
    hole = inside[0][:, :, None, None] & inside[1][:, None, :, None]
    fill = images.mean(axis=(1, 2), keepdims=True).round().astype(images.dtype)
    return np.where(hole, fill, images)


def _moves(rng: np.random.Generator, k: int, most: float) -> AnyArray:
    """Whole numbers (k,) between -most and most."""
    moves: AnyArray = np.rint(rng.uniform(-most, most, k)).astype(np.int64)
    return moves


@dataclass(frozen=True)
class TextAugmentation:
    """What is done to training texts, in this order; everything off by default.

    Attributes
    ----------
    drop : float
        Share of the words that are left out; one word always stays.
    swap : float
        Share of the words that change places with the next.
    """

    drop: float = 0.0
    swap: float = 0.0

    def __call__(self, texts: Sequence[str], rng: np.random.Generator) -> list[str]:
        """Other texts, one for each that came."""
        if self.drop > 0:
            texts = with_words_dropped(texts, rng, self.drop)
        if self.swap > 0:
            texts = with_words_swapped(texts, rng, self.swap)
        return list(texts)


def with_words_dropped(texts: Sequence[str], rng: np.random.Generator, share: float) -> list[str]:
    """Texts that lack about a share of their words; words are what blanks part, and one always stays.

    Parameters
    ----------
    texts : sequence of str
    rng : Generator
    share : float

    References
    ----------
    Wei, Zou, "EDA: easy data augmentation techniques", EMNLP 2019: random deletion.
    """
    others = []
    for text in texts:
        words = text.split()
        kept = rng.random(len(words)) >= share
        if len(words) and not kept.any():
            kept[rng.integers(len(words))] = True
        others.append(text if kept.all() else " ".join(word for word, stays in zip(words, kept, strict=True) if stays))
    return others


def with_words_swapped(texts: Sequence[str], rng: np.random.Generator, share: float) -> list[str]:
    """Texts in which about a share of the words change places with the next word.

    Parameters
    ----------
    texts : sequence of str
    rng : Generator
    share : float
        Chance of each word but the last to be moved one place on.
    """
    others = []
    for text in texts:
        words = text.split()
        places = np.flatnonzero(rng.random(max(len(words) - 1, 0)) < share)
        for place in places:
            words[place], words[place + 1] = words[place + 1], words[place]
        others.append(" ".join(words) if len(places) else text)
    return others

"""Data-level fusion: sounds as pictures, or as series, of their log-mel spectra, for the networks that read those."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from hybrid_ray.data.images import encode_raw
from hybrid_ray.data.sounds import require_soundfile
from hybrid_ray.extractors.mels import FLOOR_DB, MelParams, read_mels
from hybrid_ray.fusion.base import DataFusion, Fused
from hybrid_ray.fusion.pictures import GREY
from hybrid_ray.params import PluginParams
from hybrid_ray.registry import FUSIONS
from hybrid_ray.types import AnyArray, Batch, FloatArray, Kind

Spectra = Mapping[str, list[FloatArray | None]]
"""Log-mel spectra (steps, mels) of n rows, by column; None where there is none."""


class SpectralFusion(DataFusion):
    """What both have in common: every column read, and what could not be."""

    takes: ClassVar[frozenset[Kind]] = frozenset({"audio"})

    def check(self) -> None:
        """Refuse where no sound could be read."""
        require_soundfile(self.name)

    def combine(self, inputs: Batch, kinds: Mapping[str, Kind]) -> Fused:
        """One value a row, None where no column holds a sound.

        Raises
        ------
        KeyError
            A column is not there.
        """
        self._check_there(kinds, inputs)
        spectra: dict[str, list[FloatArray | None]] = {}
        errors: dict[int, str] = {}
        for name in sorted(kinds):
            spectra[name], wrong = _column(inputs[name], self.params)
            for row, why in wrong.items():
                errors[row] = "; ".join(filter(None, [errors.get(row), f"{name}: {why}"]))
        values = np.empty(len(inputs[next(iter(kinds))]) if kinds else 0, object)
        for row in range(len(values)):
            parts = [column[row] for column in spectra.values()]
            values[row] = self.joined(parts) if any(part is not None for part in parts) else None
        return Fused(values, errors)

    def joined(self, parts: list[FloatArray | None]) -> Any:
        """One value of the spectra of a row, one a column, not all missing."""
        raise NotImplementedError


class MelPictureParams(MelParams):
    """Parameters of :class:`MelPicture`."""

    seconds: float = Field(2.0, gt=0, le=600)
    """What the picture is wide: more is cut off, after less comes silence."""
    size: int = Field(128, ge=16, le=2048)
    """Side of the picture, in pixels. An extractor that crops what it reads (``torchvision``: ``resize`` above
    ``image_size``) crops the picture."""
    range_db: float = Field(80.0, gt=0, le=200)
    """From black to white, in decibels below the loudest of the sound."""


@FUSIONS.register("mel_picture")
class MelPicture(SpectralFusion):
    """A sound as a grey picture of its log-mel spectrum: time to the right, pitch upwards, the brighter the louder.

    White is the loudest of the sound, so that it does not matter how loud it was recorded. The pictures of several
    columns lie one below the other, in the order of their names; that of a missing sound is plain grey.
    """

    gives: ClassVar[Kind] = "image"
    Params = MelPictureParams

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """A small picture, and a smaller one of coarse bands."""
        yield MelPictureParams(rate=8000, mels=24, size=32, seconds=0.2)
        yield MelPictureParams(rate=4000, mels=8, size=16, seconds=0.1, range_db=40)

    def joined(self, parts: list[FloatArray | None]) -> bytes:
        """The encoded picture."""
        from PIL import Image

        p = self.params
        edges = np.linspace(0, p.size, len(parts) + 1).round().astype(int)
        canvas = np.full((p.size, p.size), GREY, np.uint8)
        for part, top, bottom in zip(parts, edges[:-1], edges[1:], strict=True):
            if part is not None and bottom > top:
                levels = np.full((p.steps, p.mels), FLOOR_DB, np.float32)
                levels[: len(part)] = part[: p.steps]
                shades = np.clip(1 + (levels - part.max()) / p.range_db, 0, 1).T[::-1]
                picture = Image.fromarray(np.rint(255 * shades).astype(np.uint8))
                resized = picture.resize((p.size, int(bottom - top)), Image.Resampling.BILINEAR)
                canvas[top:bottom] = np.asarray(resized)
        return encode_raw(np.repeat(canvas[:, :, None], 3, axis=2))


class MelSeriesParams(MelParams):
    """Parameters of :class:`MelSeries`."""

    mels: int = Field(40, ge=2, le=512)
    """Bands: as many numbers a step, for each column."""


@FUSIONS.register("mel_series")
class MelSeries(SpectralFusion):
    """A sound as a series: a step a frame, a channel a band, in decibels.

    The channels of several columns stand side by side, in the order of their names; where a sound is missing, or is
    shorter than another, numbers are missing.
    """

    gives: ClassVar[Kind] = "series"
    Params = MelSeriesParams

    @classmethod
    def examples(cls) -> Iterator[PluginParams]:
        """Few bands, and fewer of long frames."""
        yield MelSeriesParams(rate=8000, mels=6, seconds=0.2)
        yield MelSeriesParams(rate=4000, mels=2, window_ms=50, hop_ms=25)

    def joined(self, parts: list[FloatArray | None]) -> AnyArray:
        """Steps float32 (longest, columns x mels)."""
        longest = max(len(part) for part in parts if part is not None)
        steps = np.full((longest, len(parts), self.params.mels), np.nan, np.float32)
        for place, part in enumerate(parts):
            if part is not None:
                steps[: len(part), place] = part
        return steps.reshape(longest, -1)


def _column(cells: AnyArray, params: MelParams) -> tuple[list[FloatArray | None], dict[int, str]]:
    """Spectra of one column of cells (n,), and why some could not be read, by row."""
    rows = [row for row, cell in enumerate(cells) if cell is not None]
    found, errors = read_mels([cells[row] for row in rows], params)
    spectra: list[FloatArray | None] = [None] * len(cells)
    kept = [row for position, row in enumerate(rows) if position not in errors]
    for row, spectrum in zip(kept, found, strict=True):
        spectra[row] = spectrum
    return spectra, {rows[position]: why for position, why in errors.items()}

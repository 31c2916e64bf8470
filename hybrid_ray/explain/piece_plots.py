"""Pictures of what pixels and tokens add to answers: red for more, blue for less."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence

import numpy as np

from hybrid_ray.explain.pieces import PieceMap
from hybrid_ray.types import AnyArray

MAX_MAPS = 40
"""Maps of one picture; the rest are in the numbers beside it."""
_BLUR = 56
"""Sides of an image over the width of the blur: gradients of single pixels are too ragged to be looked at."""
_STRONGEST = 99.0
"""Percentile of a map's sizes that gets the full colour: a single pixel must not make all others pale."""
_MORE, _LESS = "214, 39, 40", "31, 119, 180"
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Tokens that answers come from</title>
<style>
body { font: 16px/1.9 sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em; color: #222; background: #fff }
h2 { font-size: 1em; margin: 2em 0 0.3em }
p { margin: 0; overflow-wrap: anywhere }
span { border-radius: 0.2em; padding: 0.1em 0.15em; white-space: pre-wrap }
</style>
<p>What each token adds to the answer: red makes it larger, blue smaller. Point at one to see how much.</p>
"""


def pixels_chart(found: Sequence[tuple[int, PieceMap]]) -> bytes:
    """PNG of images, each beside itself with what its pixels add laid over it.

    Parameters
    ----------
    found : sequence of (int, PieceMap)
        The number of its row, and a map with a picture; one at least.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = found[:MAX_MAPS]
    figure = Figure(figsize=(6.4, 0.4 + 3.1 * len(shown)), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    for (plain, over), (row, each) in zip(figure.subplots(len(shown), 2, squeeze=False), shown, strict=True):
        assert each.picture is not None
        picture = each.picture if each.picture.shape[2] == 3 else np.repeat(each.picture[:, :, :1], 3, axis=2)
        plain.imshow(picture)
        over.imshow(picture.mean(axis=2), cmap="gray", vmin=0, vmax=255)
        heat = _blurred(each.values)
        most = _strongest(heat)
        over.imshow(heat, cmap="coolwarm", vmin=-most, vmax=most, alpha=np.clip(np.abs(heat) / most, 0, 1) * 0.85)
        plain.set_title(_headline(row, each), fontsize=8, loc="left", parse_math=False)
        for axes in (plain, over):
            axes.set_axis_off()
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def tokens_page(found: Sequence[tuple[int, PieceMap]]) -> str:
    """HTML of texts whose tokens are coloured by what they add: a page, as it shows any script, and long texts.

    Parameters
    ----------
    found : sequence of (int, PieceMap)
        The number of its row, and a map with tokens.
    """
    parts = [_PAGE]
    for row, each in found:
        most = float(np.abs(each.values).max(initial=0.0)) or 1.0
        spans = [
            f'<span style="background: rgba({_MORE if value > 0 else _LESS}, {abs(value) / most * 0.8:.3f})" '
            f'title="{value:+.3g}">{html.escape(token)}</span>'
            for token, value in zip(each.tokens, each.values.tolist(), strict=True)
        ]
        parts.append(f"<h2>{html.escape(_headline(row, each))}</h2>\n<p>{' '.join(spans)}</p>\n")
    return "".join([*parts, "</html>\n"])


def _headline(row: int, each: PieceMap) -> str:
    where = f"row {row}, {each.column} by {each.extractor}"
    return f"{where}\n{each.output}: {each.answer:.3g}; where nothing is seen {each.nothing:.3g}"


def _blurred(values: AnyArray) -> AnyArray:
    from scipy.ndimage import gaussian_filter

    blurred: AnyArray = gaussian_filter(values, max(values.shape) / _BLUR)
    return blurred


def _strongest(values: AnyArray) -> float:
    """What gets the full colour; 1 where nothing adds anything."""
    return float(np.percentile(np.abs(values), _STRONGEST)) or float(np.abs(values).max()) or 1.0

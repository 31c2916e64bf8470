"""Extractors on one device, without Ray: what precision ``auto`` decides, and rows/s beside a bare torch loop.

    python benchmarks/device.py --weights mobilenet_v2.safetensors --device cuda --rows 8192 --out device.json

The bare loop runs the same network on the same uint8 arrays, batch for batch: host to device, normalise, forward, back.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from hybrid_ray.extractors.base import build_extractor
from hybrid_ray.plugins import load_plugins

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def encoded_images(n: int, side: int = 256) -> np.ndarray:
    """JPEG files of smooth random images, object (n,)."""
    rng = np.random.default_rng(0)
    files = np.empty(n, object)
    for i in range(n):
        small = Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8).astype(np.uint8))
        buffer = io.BytesIO()
        small.resize((side, side), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        files[i] = buffer.getvalue()
    return files


def rate(call: Callable[[], object], rows: int, repeats: int) -> float:
    """Best rows/s of several repeats, after one that warms up."""
    import torch

    times = []
    for _ in range(repeats + 1):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return rows / min(times[1:])


def bare_loop(weights: str, pixels: np.ndarray, device: str, dtype: str, batch: int) -> Callable[[], object]:
    """The same network by hand."""
    import torch
    from safetensors.torch import load_file
    from torchvision.models import mobilenet_v2

    net = mobilenet_v2(weights=None)
    net.load_state_dict({k: v.float() for k, v in load_file(weights).items()})
    kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
    features = net.features.eval().to(device, kind, memory_format=torch.channels_last)
    mean = torch.tensor(MEAN, device=device).view(1, 3, 1, 1) * 255
    std = torch.tensor(STD, device=device).view(1, 3, 1, 1) * 255

    @torch.inference_mode()
    def run() -> list[np.ndarray]:
        out = []
        for start in range(0, len(pixels), batch):
            x = torch.from_numpy(pixels[start : start + batch]).to(device)
            x = ((x.float() - mean) / std).to(kind, memory_format=torch.channels_last)
            out.append(features(x).mean((2, 3)).float().cpu().numpy())
        return out

    return run


def measure(weights: str, device: str, rows: int, batch: int, repeats: int) -> dict[str, object]:
    """Every figure of one device."""
    load_plugins()
    params = {"model": "mobilenet_v2", "weights": weights, "padding": "torch"}
    columns = {"image": "image"}
    files = encoded_images(256)
    sample = {"image": files[:64]}
    decided = build_extractor("torchvision", {**params, "precision": "auto"}, columns).resolve(sample, device)
    reference = build_extractor("torchvision", {**params, "precision": "fp32"}, columns)
    chosen = build_extractor("torchvision", decided, columns)
    for extractor in (reference, chosen):
        extractor.setup(device)
    start = time.perf_counter()
    prepared = reference.prepare({"image": files})
    decode = len(files) / (time.perf_counter() - start)
    left, right = reference.extract(prepared.arrays), chosen.extract(prepared.arrays)
    cosine = (left * right).sum(1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)
    pixels_name = next(name for name, array in prepared.arrays.items() if array.dtype == np.uint8)
    tiled = {name: np.concatenate([array] * (rows // len(array))) for name, array in prepared.arrays.items()}
    pixels = np.ascontiguousarray(tiled[pixels_name][:, 0].transpose(0, 3, 1, 2))
    answer: dict[str, object] = {
        "device": device,
        "auto": decided.precision,
        "min_cosine": float(cosine.min()),
        "decode_rows_s_one_core": decode,
    }
    for name, extractor in {"fp32": reference, decided.precision: chosen}.items():
        parts = [{k: v[s : s + batch] for k, v in tiled.items()} for s in range(0, rows, batch)]
        ours = rate(lambda e=extractor, p=parts: [e.extract(part) for part in p], rows, repeats)
        bare = rate(bare_loop(weights, pixels, device, name, batch), rows, repeats)
        answer[name] = {"ours_rows_s": ours, "bare_rows_s": bare, "ratio": ours / bare}
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out")
    asked = parser.parse_args()
    text = json.dumps(measure(asked.weights, asked.device, asked.rows, asked.batch, asked.repeats), indent=1)
    print(text)
    if asked.out:
        with open(asked.out, "w") as file:
            file.write(text)


if __name__ == "__main__":
    main()

"""Extractors on a GPU: near to the CPU's features, free of company, and at home on a CPU afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hybrid_ray.extractors.base import Extractor, FitContext, build_extractor
from hybrid_ray.extractors.precision import close_enough, company_free, native_formats
from hybrid_ray.testing.encoders import tiny_encoder
from hybrid_ray.testing.rows import toy_batch, toy_labels
from hybrid_ray.types import Kind

pytestmark = pytest.mark.gpu
IMAGE: dict[str, Kind] = {"image": "image"}
TEXT: dict[str, Kind] = {"text": "text"}


@pytest.fixture(autouse=True)
def device() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU: torch finds none")


@pytest.fixture(params=["torchvision", "transformers"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, dict[str, Any], dict[str, Kind]]:
    if request.param == "torchvision":
        return "torchvision", {"model": "resnet18", "weights": "none", "image_size": 64}, IMAGE
    return "transformers", {"model": str(tiny_encoder(tmp_path / "tiny"))}, TEXT


def ready(name: str, params: dict[str, Any], columns: dict[str, Kind], device: str) -> Extractor:
    extractor = build_extractor(name, params, columns)
    extractor.setup(device)
    return extractor


def test_fp32_features_are_near_to_the_cpus(case: tuple[str, dict[str, Any], dict[str, Kind]]) -> None:
    name, params, columns = case
    batch = toy_batch(columns)
    here, there = (ready(name, params | {"precision": "fp32"}, columns, d).transform(batch) for d in ("cpu", "cuda"))
    np.testing.assert_allclose(there.values, here.values, rtol=1e-2, atol=1e-2)


def test_reduced_formats_are_near_and_free_of_company(case: tuple[str, dict[str, Any], dict[str, Kind]]) -> None:
    name, params, columns = case
    batch = toy_batch(columns)
    reference = ready(name, params | {"precision": "fp32"}, columns, "cuda").transform(batch)
    for precision in native_formats("cuda"):
        extractor = ready(name, params | {"precision": precision}, columns, "cuda")
        together = extractor.transform(batch)
        rows = [extractor.transform({c: v[i : i + 1] for c, v in batch.items()}).values for i in range(24)]
        assert close_enough(reference.values[reference.present], together.values[together.present])
        assert company_free(together.values, np.concatenate(rows))
    assert build_extractor(name, params, columns).resolve(batch, "cuda").precision in ("fp32", *native_formats("cuda"))


def test_a_smaller_network_is_near_to_the_cpus_and_free_of_company(
    case: tuple[str, dict[str, Any], dict[str, Kind]],
) -> None:
    name, params, columns = case
    params = params | {"precision": "fp32", "compress": {"int8": "dynamic", "prune": 0.1}}
    batch = toy_batch(columns)
    here, there = (ready(name, params, columns, device) for device in ("cpu", "cuda"))
    together = there.transform(batch)
    assert close_enough(here.transform(batch).values[together.present], together.values[together.present])
    rows = [there.transform({c: v[i : i + 1] for c, v in batch.items()}).values for i in range(24)]
    assert company_free(together.values, np.concatenate(rows))


def test_a_network_trained_on_a_gpu_answers_on_a_cpu() -> None:
    params = {"size": 16, "width": 4, "depth": 1, "features": 8, "epochs": 2}
    batch = toy_batch(IMAGE)
    trained = ready("cnn", params, IMAGE, "cuda")
    trained.fit(trained.prepare(batch), toy_labels(), FitContext("multiclass", 3))
    trained.setup("cuda")
    moved = type(trained).from_state(trained.params, IMAGE, trained.get_state())
    moved.setup("cpu")
    np.testing.assert_allclose(moved.transform(batch).values, trained.transform(batch).values, rtol=1e-2, atol=1e-2)

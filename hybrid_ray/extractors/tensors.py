"""Arrays into torch and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hybrid_ray.extractors.precision import Format
from hybrid_ray.types import AnyArray, FloatArray

if TYPE_CHECKING:
    import torch


def torch_dtype(name: Format) -> torch.dtype:
    """The torch dtype of a number format."""
    import torch

    dtypes: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    return dtypes[name]


def to_tensor(array: AnyArray, device: str) -> torch.Tensor:
    """An array on a device. Memory is shared on a CPU, but for arrays that may not be written to: they are copied."""
    import torch

    usable = array.flags.writeable and array.flags.c_contiguous
    return torch.from_numpy(array if usable else np.array(array)).to(device)


def to_features(output: torch.Tensor) -> FloatArray:
    """A torch output (k, d) as finite float32 on the CPU; what overflowed a reduced format is held at its bounds."""
    import torch

    values = output.to(torch.float32)
    if output.dtype == torch.float16:
        values = torch.nan_to_num(values, nan=0.0, posinf=65504.0, neginf=-65504.0)
    features: FloatArray = values.cpu().numpy()
    return features

"""Seeds and threads of torch, for a block only: nothing global is left changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reproducible(seed: int, threads: int) -> Iterator[None]:
    """Seeded generators and a number of threads for a block; both are as before after it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with (
            torch.random.fork_rng(devices=range(torch.cuda.device_count())),
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
        ):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(before)

"""What every end-to-end test uses: a run on the session's cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hybrid_ray.on_ray.cluster import Cluster
from hybrid_ray.on_ray.run import run_spec
from hybrid_ray.progress import SilentProgress
from hybrid_ray.spec import Spec, load_spec


@pytest.fixture(scope="session")
def run(cluster: Cluster) -> Callable[..., dict[str, Any]]:
    """Run a spec on the session's cluster; gives the answer of ``run --json``."""

    @contextmanager
    def borrowed() -> Iterator[Cluster]:
        yield cluster

    def carry_out(spec: Spec | dict[str, Any] | Path, store: str | Path, **options: Any) -> dict[str, Any]:
        request = spec if isinstance(spec, Spec) else load_spec(spec)
        return run_spec(request, str(store), cluster=borrowed, progress=SilentProgress(), **options)

    return carry_out

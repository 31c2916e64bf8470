"""A served model lets in whom the store's tokens allow, also those that are made or taken away meanwhile."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import pytest

from hybrid_ray.errors import BadInputError
from hybrid_ray.on_ray.cluster import Cluster
from hybrid_ray.on_ray.serve import serve_model
from hybrid_ray.serving.tokens import TokenStore
from hybrid_ray.spec import ScaleSpec, ServeSpec
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.testing.shipped import forest_graph

ONE = ScaleSpec(min_replicas=1, max_replicas=1)


def test_tokens_count_while_it_serves(cluster: Cluster, tmp_path: Path) -> None:
    root = StoreRoot(str(tmp_path))
    ModelStore(root).register(forest_graph(1), None)
    limits, tokens = ServeSpec(placement="together", ingress=ONE), TokenStore(root)
    with (
        pytest.raises(BadInputError, match="must hold a token; it has none"),
        serve_model(cluster, "toy", root.uri, port=0, tokens=True, limits=limits),
    ):
        pass
    kept, text = tokens.issue(["predict"])
    with serve_model(cluster, "toy:1", root.uri, port=0, tokens=True, limits=limits, ready_timeout_s=120) as serving:

        def status(token: str) -> int:
            headers = {"authorization": f"Bearer {token}"}
            return httpx.post(
                f"{serving.url}/predict", json={"title": "word1"}, headers=headers, timeout=60
            ).status_code

        def until(token: str, wanted: int) -> None:
            deadline = time.monotonic() + 60
            while status(token) != wanted:
                assert time.monotonic() < deadline
                time.sleep(0.2)

        assert [status(text), status("hr_no")] == [200, 401]
        _, later = tokens.issue(["predict"])
        until(later, 200)
        tokens.revoke(kept.id)
        until(text, 401)
        assert status(later) == 200

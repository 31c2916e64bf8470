"""What this machine, cluster and store can do, and what to mend."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from typing import Any

from hybrid_ray.errors import HybridRayError
from hybrid_ray.on_ray.cluster import connect
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import ESTIMATORS, EXTRACTORS, FUSIONS, PREPARATIONS
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.versions import version_of

PACKAGES = (
    "ray",
    "torch",
    "torchvision",
    "transformers",
    "scikit-learn",
    "xgboost",
    "lightgbm",
    "optuna",
    "statsmodels",
)


def _python() -> str:
    return f"{sys.version.split()[0]}, {os.cpu_count()} CPUs"


def _packages() -> str:
    return ", ".join(f"{name} {version_of(name)}" for name in PACKAGES)


def _plugins() -> str:
    load_plugins()
    return "; ".join(f"{r.role}s: {', '.join(r.names())}" for r in (EXTRACTORS, ESTIMATORS, FUSIONS, PREPARATIONS))


def _gpu() -> str:
    import torch

    if not torch.cuda.is_available():
        return "none here: extractors run on CPU"
    return ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))


def _weights() -> str:
    folder = os.environ.get("HYBRID_RAY_WEIGHTS")
    if folder is None:
        return "HYBRID_RAY_WEIGHTS is not set: pretrained encoders come from packages, the hub cache or the hub"
    if not os.path.isdir(folder):
        raise HybridRayError(f"HYBRID_RAY_WEIGHTS: must be a folder; got {folder}")
    return folder


def examine(store: str, address: str | None) -> dict[str, Any]:
    """Run every check.

    Parameters
    ----------
    store : str
        Store to try.
    address : str or None
        Cluster to try; None: a local one.

    Returns
    -------
    dict
        ``checks``: list of {name, ok, said}.
    """

    def _store() -> str:
        StoreRoot(store).check_writable()
        return f"{store} is writable"

    def _cluster() -> str:
        with connect(address) as cluster:
            view = cluster.view()
            return f"{view.cpus:g} CPUs, {view.gpus:g} GPUs, {view.memory / 2**30:.1f} GiB on {len(view.nodes)} node(s)"

    checks: dict[str, Callable[[], str]] = {
        "python": _python,
        "packages": _packages,
        "plugins": _plugins,
        "gpu": _gpu,
        "weights": _weights,
        "store": _store,
        "cluster": _cluster,
    }
    answers = []
    for name, check in checks.items():
        try:
            answers.append({"name": name, "ok": True, "said": check()})
        except (HybridRayError, PackageNotFoundError) as error:
            answers.append({"name": name, "ok": False, "said": str(error)})
    return {"checks": answers}

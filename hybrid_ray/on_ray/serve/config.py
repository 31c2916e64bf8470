"""A model as an application of a Serve config file: ``import_path: hybrid_ray.on_ray.serve.config:application``."""

# Annotations stay objects here: Serve reads the type of ``args`` from the signature and makes it from the file.
from typing import Any

from pydantic import BaseModel, ConfigDict

from hybrid_ray.on_ray.cluster import connect
from hybrid_ray.on_ray.model import StoredModel
from hybrid_ray.on_ray.serve.app import compile_app
from hybrid_ray.on_ray.serve.contract import Probe, Served
from hybrid_ray.on_ray.serve.placement import generated_batch
from hybrid_ray.on_ray.serve.run import plan_for
from hybrid_ray.spec import ServeSpec


class ApplicationArgs(BaseModel):
    """``args`` of the application in the config file."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    model: str
    """``name``, ``name@champion``, ``name:version`` or a folder; an alias is resolved when the config is applied."""
    store: str
    """URI of the store."""
    limits: ServeSpec | None = None
    """Left out, those the model was registered with."""


def application(args: ApplicationArgs) -> Any:
    """The Serve application of a stored model; called by Serve, on the cluster."""
    stored = StoredModel.find(args.store, args.model)
    graph = stored.checked()
    served = Served.of(graph, stored.version, stored.probe() or Probe(generated_batch(graph)), args.limits)
    with connect() as cluster:
        return compile_app(stored, served, plan_for(cluster, graph, served.limits))

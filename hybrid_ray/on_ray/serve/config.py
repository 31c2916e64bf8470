"""A model as an application of a Serve config file: ``import_path: hybrid_ray.on_ray.serve.config:application``."""

# Annotations stay objects here: Serve reads the type of ``args`` from the signature and makes it from the file.
from typing import Any

from pydantic import BaseModel, ConfigDict

from hybrid_ray.on_ray.cluster import connect
from hybrid_ray.on_ray.model import StoredModel
from hybrid_ray.on_ray.serve.app import compile_app
from hybrid_ray.on_ray.serve.contract import Probe, Served
from hybrid_ray.on_ray.serve.placement import generated_batch
from hybrid_ray.on_ray.serve.registered import Registered
from hybrid_ray.on_ray.serve.run import need_tokens, plan_for
from hybrid_ray.spec import ServeSpec


class ApplicationArgs(BaseModel):
    """``args`` of the application in the config file."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    model: str
    """``name`` or ``name@champion``, which follow the champion and its traffic; ``name:version`` or a folder do not."""
    store: str
    """URI of the store."""
    limits: ServeSpec | None = None
    """Left out, those the model was registered with."""
    tokens: bool = True
    """Whether a token of the store is asked for."""


def application(args: ApplicationArgs) -> Any:
    """The Serve application of a stored model; called by Serve, on the cluster.

    Raises
    ------
    BadInputError
        Tokens are to be asked for, and the store has none, or the model is a folder.
    """
    stored = StoredModel.find(args.store, args.model)
    if args.tokens:
        need_tokens(stored, "args: tokens", "set tokens: false")
    graph = stored.checked()
    served = Served.of(graph, stored.version, stored.probe() or Probe(generated_batch(graph)), args.limits)
    with connect() as cluster:
        plan = plan_for(cluster, graph, served.limits)
    return compile_app(stored, served, plan, Registered.of(stored, args.model, args.limits, args.tokens))

"""What the contract checks of fusions share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hybrid_ray.params import PluginParams
from hybrid_ray.types import AnyArray, Task

SEED = 7


@dataclass(frozen=True)
class FusionCase:
    """One instance to check; a decision fusion also has a task."""

    params: PluginParams
    task: Task = "multiclass"

    def __str__(self) -> str:
        changed = self.params.model_dump(exclude_defaults=True)
        return f"{self.task}[{','.join(f'{name}={value}' for name, value in changed.items())}]"


def check_key_error(call: Callable[[], AnyArray], name: str) -> None:
    """The call raises a KeyError that names what is missing."""
    message = None
    try:
        call()
    except KeyError as error:
        message = str(error)
    assert message is not None, f"{name!r} is missing: KeyError must be raised"
    assert name in message, f"the message must name {name!r}; got {message}"

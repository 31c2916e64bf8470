"""Registries: a name for each plugin class, and nothing else."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from hybrid_ray.errors import BadInputError
from hybrid_ray.params import PluginParams

T = TypeVar("T", bound=type)


def nearest(name: str, known: list[str]) -> str:
    """``" Did you mean 'x'?"`` for the closest known name, or an empty string."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""


class Registry(Generic[T]):
    """Names to plugin classes of one role.

    Parameters
    ----------
    role : str
        What the classes are, for messages: ``"extractor"``.
    """

    def __init__(self, role: str) -> None:
        self.role = role
        self._classes: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Class decorator: put the class under ``name``.

        Raises
        ------
        TypeError
            The name is taken by another class, the class is abstract, or it has no ``Params``.
        """

        def decorate(cls: T) -> T:
            held = self._classes.get(name)
            if held is not None and f"{held.__module__}.{held.__qualname__}" != f"{cls.__module__}.{cls.__qualname__}":
                raise TypeError(f"{self.role} {name!r}: the name must be free; it belongs to {held.__module__}")
            if inspect.isabstract(cls):
                missing = sorted(getattr(cls, "__abstractmethods__", ()))
                raise TypeError(f"{self.role} {name!r}: every method must be there; missing {missing}")
            params = getattr(cls, "Params", None)
            if not (inspect.isclass(params) and issubclass(params, PluginParams)):
                raise TypeError(f"{self.role} {name!r}: the class must hold a Params class; got {params!r}")
            cls.name = name  # type: ignore[attr-defined]
            self._classes[name] = cls
            return cls

        return decorate

    def get(self, name: str) -> T:
        """The class under ``name``.

        Raises
        ------
        BadInputError
            No such plugin; the message lists the known names and the nearest.
        """
        try:
            return self._classes[name]
        except KeyError:
            known = self.names()
            raise BadInputError(
                f"unknown {self.role} {name!r}; expected one of {known}.{nearest(name, known)}"
            ) from None

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._classes)

    def items(self) -> Iterator[tuple[str, T]]:
        """Names and classes, sorted by name."""
        return iter(sorted(self._classes.items()))

    def __contains__(self, name: object) -> bool:
        return name in self._classes


EXTRACTORS: Registry[Any] = Registry("extractor")
ESTIMATORS: Registry[Any] = Registry("estimator")
FUSIONS: Registry[Any] = Registry("fusion")
PREPARATIONS: Registry[Any] = Registry("preparation")

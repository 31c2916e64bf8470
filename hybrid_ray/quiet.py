"""Silence for libraries that tell of every step."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Optuna says nothing of single trials, nor that grouping is young; Tune nothing of samplers that take time."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.filterwarnings("ignore", "Define-by-run function passed in the `space` argument took")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)

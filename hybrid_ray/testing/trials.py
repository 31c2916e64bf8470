"""Checks of parameters, search spaces and portfolios that plugins of every role share."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hybrid_ray.estimators.base import Trial
from hybrid_ray.params import PluginParams

Space = Callable[[Trial], dict[str, Any]]
DRAWS = 30


def check_params(params: type[PluginParams]) -> None:
    """Every field has a default, a description and, when it is a number, bounds."""
    schema = params.model_json_schema()
    for name, entry in schema.get("properties", {}).items():
        assert not params.model_fields[name].is_required(), f"{name}: every parameter must have a default"
        assert entry.get("description"), f"{name}: every parameter must have a description"
        for form in entry.get("anyOf", [entry]):
            if form.get("type") in ("integer", "number"):
                assert {"minimum", "exclusiveMinimum"} & form.keys(), f"{name}: a number must have a lower bound"
    assert params() == params.model_validate({})


def check_points(params: type[PluginParams], points: Sequence[Mapping[str, Any]], space: Space) -> None:
    """Every point is complete, inside the space, valid, and there but once."""
    from optuna.trial import FixedTrial

    assert points, "there must be a start"
    for point in points:
        with warnings.catch_warnings():
            # Optuna only warns of a value outside its distribution.
            warnings.simplefilter("error")
            found = space(FixedTrial(dict(point)))
        assert found == dict(point), f"a start must be a complete point of the space; got {point}, asked {found}"
        params.model_validate(found)
    assert all(points.count(point) == 1 for point in points), f"starts must differ; got {points}"


def check_space(params: type[PluginParams], space: Space, draws: int = DRAWS) -> None:
    """Every draw is valid, asks only for fields of ``Params``, and one study can take them all."""
    import optuna

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(draws):
        trial = study.ask()
        found = space(trial)
        assert set(trial.params) <= set(params.model_fields), f"names must be fields; got {sorted(trial.params)}"
        assert set(found) == set(trial.params), f"a space gives what it asked for; got {found}, asked {trial.params}"
        params.model_validate(found)
        study.tell(trial, 0.0)

"""Checks of parameters, search spaces and portfolios that plugins of every role share."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
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
        trial = FixedTrial(dict(point))
        with warnings.catch_warnings():
            # Optuna only warns of a value outside its distribution.
            warnings.simplefilter("error")
            found = space(trial)
        assert trial.params == dict(point), f"a start must be a complete point of the space; got {point}, {found}"
        plain = {name: value for name, value in point.items() if "." not in name}
        assert {**found, **plain} == found, f"a start must come back as it is; got {found} of {point}"
        _check_found(found, trial.params)
        params.model_validate(found)
    assert all(points.count(point) == 1 for point in points), f"starts must differ; got {points}"


def check_space(params: type[PluginParams], space: Space, draws: int = DRAWS) -> None:
    """Every draw is valid, asks only for fields of ``Params``, and one study can take them all."""
    import optuna

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(draws):
        trial = study.ask()
        found = space(trial)
        assert _fields(trial.params) <= set(params.model_fields), f"names must be fields; got {sorted(trial.params)}"
        _check_found(found, trial.params)
        params.model_validate(found)
        study.tell(trial, 0.0)


def _fields(names: Iterable[str]) -> set[str]:
    """Fields that names belong to: ``learner_params.knn.weights`` is a part of ``learner_params``."""
    return {name.partition(".")[0] for name in names}


def _check_found(found: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """A space gives what it asked for, under its own name or inside a field that the name begins with."""
    assert set(found) == _fields(asked), f"a space gives what it asked for; got {found}, asked {asked}"

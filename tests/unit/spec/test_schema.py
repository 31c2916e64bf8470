"""The JSON Schema says of a document what the code says."""

import jsonschema
import pytest

from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import ESTIMATORS, EXTRACTORS, FUSIONS, PREPARATIONS
from hybrid_ray.spec import load_spec, spec_schema
from hybrid_ray.spec.schema import DIALECT

BASE = {"name": "m", "data": {"path": "/x.csv", "label": "y"}}


@pytest.fixture(scope="module")
def schema():
    return spec_schema()


@pytest.fixture(scope="module")
def validator(schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_it_says_its_dialect(schema):
    assert schema["$schema"] == DIALECT


@pytest.mark.parametrize("registry", [EXTRACTORS, ESTIMATORS, FUSIONS, PREPARATIONS], ids=lambda r: r.role)
def test_every_parameter_of_every_plugin_is_in_it_with_a_description(schema, registry):
    load_plugins()
    for name, plugin in registry.items():
        shipped = plugin.__module__.startswith("hybrid_ray.")  # Other tests register toys in this process.
        if not shipped:
            continue
        properties = schema["$defs"][f"{registry.role}.{name}"].get("properties", {})
        assert set(properties) == set(plugin.Params.model_fields)
        assert all("description" in each for each in properties.values()), name


def test_every_reference_leads_somewhere(schema):
    def references(node):
        if isinstance(node, dict):
            yield from ([node["$ref"]] if "$ref" in node else [])
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    found = set(references(schema))
    assert found
    assert {ref.removeprefix("#/$defs/") for ref in found} <= set(schema["$defs"])


@pytest.mark.parametrize(
    "part",
    [
        {},
        {"extractors": ["pixels", {"name": "tfidf", "params": {"words": 1}, "columns": ["a"]}]},
        {"extractors": [{"name": "tfidf", "fusion": "joined"}]},
        {"extractors": [{"name": "pixels", "fusion": {"name": "tiled", "params": {"size": 64}}, "columns": ["a"]}]},
        {"search": {"estimators": ["logistic", {"name": "knn", "params": {"n_neighbors": 3}, "search": False}]}},
        {"search": {"preparations": ["clip", {"name": "smote", "params": {"neighbours": 3}, "always": True}]}},
        {"search": {"ensemble": {"combiners": ["voting", {"name": "linear_pool", "params": {"solver": "cmaes"}}]}}},
        {"data": {"path": ["/a.csv", "/b.csv"], "label": "y", "columns": {"a": "image"}}},
    ],
)
def test_what_is_good_is_good_to_both(validator, part):
    document = {**BASE, **part}
    load_spec(document)
    validator.validate(document)


@pytest.mark.parametrize(
    "part",
    [
        {"extractors": ["pixel"]},
        {"extractors": [{"name": "pixels", "params": {"words": 1}}]},
        {"extractors": [{"name": "tfidf", "params": {"words": "many"}}]},
        {"extractors": [{"name": "tfidf", "fusion": "concat"}]},
        {"extractors": [{"name": "tfidf", "fusion": {"name": "joined", "params": {"digits": 3}}}]},
        {"search": {"estimators": [{"name": "logistic", "params": {"c": 1}}]}},
        {"search": {"preparations": ["clipp"]}},
        {"search": {"preparations": [{"name": "smote", "params": {"k": 3}}]}},
        {"search": {"ensemble": {"combiners": ["none_such"]}}},
        {"search": {"ensemble": {"combiners": ["concat"]}}},
        {"search": {"ensemble": {"combiners": [{"name": "linear_pool", "params": {"solver": "grid"}}]}}},
        {"nonsense": 1},
        {"task": "guess"},
    ],
)
def test_what_is_bad_is_bad_to_both(validator, part):
    document = {**BASE, **part}
    with pytest.raises(ValueError, match=r"got|unknown"):
        load_spec(document)
    assert not validator.is_valid(document)

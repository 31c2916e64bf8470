"""Plugins of another package: found by entry points, named in a spec, held to the same contracts."""

import json
import os
import subprocess
import sys

import pytest

from hybrid_ray.registry import ESTIMATORS, EXTRACTORS, FUSIONS, PREPARATIONS
from hybrid_ray.testing import estimators, extractors, fusions, preparations

SPEC = {
    "name": "toys",
    "task": "binary",
    "data": {"path": "/rows.csv", "label": "y"},
    "extractors": [{"name": "toy", "params": {"width": 4}, "fusion": {"name": "toy_words", "params": {"mark": "?"}}}],
    "search": {
        "estimators": [{"name": "toy_centroid", "params": {"sharpness": 2.0}}],
        "fusions": ["toy_stack"],
        "preparations": [{"name": "toy_shrink", "params": {"part": 0.25}}],
        "ensemble": {"combiners": ["toy_middle"]},
    },
}
TOYS = [
    (extractors, EXTRACTORS, "toy"),
    (estimators, ESTIMATORS, "toy_centroid"),
    (preparations, PREPARATIONS, "toy_shrink"),
    *((fusions, FUSIONS, name) for name in ("toy_words", "toy_stack", "toy_middle")),
]


def test_an_installed_package_is_found_by_its_entry_points_alone(plugin_path):
    code = (
        "import json, sys; from hybrid_ray.spec import load_spec, spec_schema\n"
        "spec = load_spec(json.loads(sys.argv[1])); held = spec_schema()['$defs']\n"
        "entry, search = spec.extractors[0], spec.search\n"
        "print(json.dumps([entry.params.width, entry.fusion.params.mark, search.estimators[0].params.sharpness, "
        "search.fusions[0].name, search.preparations[0].params.part, search.ensemble.combiners[0].name, "
        "sorted(n for n in held if '.toy' in n)]))"
    )
    # The package is on the path of this process only, as an installed one is: nothing of it was imported before.
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(SPEC)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([plugin_path, *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    *used, schemas = json.loads(done.stdout)
    assert used == [4, "?", 2.0, "toy_stack", 0.25, "toy_middle"]
    assert schemas == [
        "estimator.toy_centroid",
        "extractor.toy",
        *(f"fusion.toy_{n}" for n in ("middle", "stack", "words")),
        "preparation.toy_shrink",
    ]


@pytest.mark.parametrize(("room", "registry", "name"), TOYS, ids=[name for *_, name in TOYS])
def test_it_is_held_to_the_shipped_contract(plugin_path, room, registry, name):
    plugin = registry.get(name)
    cases = list(room.cases(plugin))
    assert cases
    for check in room.yield_checks(plugin):
        for case in cases:
            check(plugin, case)

"""What ``hybrid-ray explain`` asks for."""

from contextlib import nullcontext

import pytest
from typer.testing import CliRunner

from hybrid_ray.cli.models import app


@pytest.mark.parametrize(
    ("options", "method", "pieces"),
    [
        ([], "shapley", []),
        (["--lime"], "lime", []),
        (["--tokens", "--pixels"], "shapley", ["pixels", "tokens"]),
    ],
)
def test_options_are_handed_on(options, method, pieces, monkeypatch):
    asked = []
    answer = {"model": "m", "version": 1, "metric": "accuracy", "score": 0.5, "rows": 9, "repeats": 2, "importance": []}
    answer |= {"attributed": 3, "out": "why", "notes": ["  which pixels 3 answers come from: why/pixels.png"]}
    monkeypatch.setattr("hybrid_ray.on_ray.cluster.connect", lambda *_, **__: nullcontext())
    monkeypatch.setattr("hybrid_ray.on_ray.explain.explain_file", lambda *_, **named: asked.append(named) or answer)
    done = CliRunner().invoke(app, ["explain", "m", "--data", "f.csv", "--out", "why", "--attribute", "3", *options])
    assert done.exit_code == 0, done.output
    assert (asked[0]["method"], asked[0]["pieces"], asked[0]["attributed"]) == (method, pieces, 3)
    assert done.output.splitlines()[-1] == answer["notes"][0]

"""What docs/evaluation.md says is so."""

import re
from pathlib import Path

from hybrid_ray.metric_names import METRIC_NAMES

TEXT = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text()


def test_the_program_runs(capsys):
    (program,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    exec(compile(program, "evaluation.md", "exec"), {})
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("[('estimator', ")


def test_every_metric_is_named():
    rows = re.findall(r"^\| (?:two|numbers|clusters|forecasts).*$", TEXT, re.MULTILINE)
    named = set(re.findall(r"`(\w+)`", "".join(rows)))
    assert named - {"accuracy"} <= set(METRIC_NAMES)
    assert set(METRIC_NAMES) <= named

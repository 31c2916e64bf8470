"""What docs/learners.md says of the estimators is so."""

import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

from hybrid_ray.estimators.defaults import default_estimators
from hybrid_ray.estimators.neural_head import NeuralHeadParams
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import ESTIMATORS
from hybrid_ray.spec import load_spec
from hybrid_ray.types import BOTH, CLASSIFICATION, CLUSTERING, FORECASTING, REGRESSION

load_plugins()
TEXT = (Path(__file__).parents[3] / "docs" / "learners.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
OURS = {name: each for name, each in ESTIMATORS.items() if each.__module__.startswith("hybrid_ray.estimators.")}
TASKS = {
    "all": BOTH,
    "classes": CLASSIFICATION,
    "numbers": REGRESSION,
    "anomalies": frozenset({"anomaly"}),
    "clusters": CLUSTERING,
    "forecasts": FORECASTING,
}


def rows_of(heading):
    """Cells of the rows of the table whose heading begins with some words."""
    table = TEXT.partition(f"\n| {heading}")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def numbers(text):
    return [int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", text)]


def names(text):
    return re.findall(r"`(\w+)`", text)


class FirstChoice:
    """A trial that takes the first of everything and notes what it is asked for."""

    def __init__(self):
        self.asked = set()

    def suggest_float(self, name, low, high, *, log=False):
        self.asked.add(name)
        return low

    suggest_int = suggest_float

    def suggest_categorical(self, name, choices):
        self.asked.add(name)
        return choices[0]


def searched(name, task="binary"):
    trial = FirstChoice()
    ESTIMATORS.get(name).space(trial, task)
    return trial.asked


@pytest.mark.parametrize("block", BLOCKS)
def test_its_yaml_is_part_of_a_spec(block):
    spec = load_spec({"name": "m", "data": {"path": "/rows.csv", "label": "y"}} | yaml.safe_load(block))
    assert spec.search.estimators
    assert {entry.name for entry in spec.search.estimators} <= set(OURS)


def test_it_shows_what_is_fixed_and_what_is_not_searched():
    spec = load_spec({"name": "m", "data": {"path": "/rows.csv", "label": "y"}} | yaml.safe_load(BLOCKS[0]))
    assert [entry.search for entry in spec.search.estimators] == [True, True, True, False, True]
    fixed = [entry.params.model_dump(exclude_unset=True) for entry in spec.search.estimators]
    assert fixed[:2] == [{}, {"class_weight": "balanced"}]


def test_every_estimator_is_told_of_with_its_tasks_and_limit():
    told = {names(name)[0]: (TASKS[tasks], numbers(most)) for name, _, tasks, most, *_ in rows_of("name |")}
    assert told == {
        name: (each.tags.tasks, [] if each.tags.max_rows is None else [each.tags.max_rows])
        for name, each in OURS.items()
    }


def test_every_estimator_has_a_source():
    for name, *_, source in rows_of("name |"):
        for author in re.findall(r"([\w ]+?) \d{4}", source):
            assert author.strip().lower() in TEXT.partition("## Sources")[2].lower(), name


@pytest.mark.parametrize(("rows", "told"), rows_of("rows | learners"))
def test_defaults_are_those_of_the_table(rows, told):
    for n_rows in numbers(rows):
        assert default_estimators("binary", n_rows, 512) == names(told)
        others = [name for name in names(told) if name not in {"logistic", "naive_bayes"}]
        assert default_estimators("regression", n_rows, 512) == ["ridge", *others]


def test_the_table_of_defaults_has_no_gaps():
    ends = [numbers(rows) for rows, _ in rows_of("rows | learners")]
    assert [low for low, *_ in ends[1:]] == [each[-1] + 1 for each in ends[:-1]]


def test_the_order_for_many_features_is_told():
    (line,) = re.findall(r"the linear one, then\s+(.*?);", TEXT, re.DOTALL)
    assert default_estimators("binary", 1000, 513) == ["logistic", *names(line)]


def test_what_is_no_default_is_told():
    (line,) = re.findall(r"\n\n([^|\n]*?(?:\n[^\n]+)?) are tried\s+only where", TEXT)
    tried = {
        name
        for task in ("binary", "regression", "clustering", "forecasting")
        for n_rows in (50, 1000, 20_000, 200_000, 1_000_000)
        for n_features in (10, 1000)
        for name in default_estimators(task, n_rows, n_features)
    }
    learners = {name for name, each in OURS.items() if each.tags.tasks != TASKS["anomalies"]}
    assert set(names(line)) == learners - tried


def test_detectors_that_are_tried_are_told():
    said = TEXT.partition("For anomalies all detectors but")[2].partition("Rows")[0]
    few, many = (set(default_estimators("anomaly", n_rows)) for n_rows in (12_000, 12_001))
    detectors = {name for name, each in OURS.items() if each.tags.tasks == TASKS["anomalies"]}
    assert numbers(said) == [12_000]
    left_out, instead, *gone = names(said)
    assert few | many == detectors - {left_out}
    assert (many - few, few - many) == ({instead}, set(gone))


def test_class_weights_are_told_of():
    (text,) = re.findall(r"^- `class_weight: balanced`(.*?)^- ", TEXT, re.DOTALL | re.MULTILINE)
    tried, _, rest = text.partition(";")
    asked = {name for name, each in OURS.items() if "class_weight" in each.Params.model_fields}
    assert set(names(tried)) == {name for name in asked if "class_weight" in searched(name)}
    assert asked - set(names(tried)) == set(names(rest.partition("where it is set")[0]))


def test_optimizers_and_schedules_are_told_of():
    fields = NeuralHeadParams.model_fields
    cells = {row[0]: row for row in rows_of("| `mlp`")}
    assert set(names(cells["optimizer"][2])) == set(get_args(fields["optimizer"].annotation))
    told = [names(row[0])[0] for row in rows_of("schedule |")]
    assert sorted(told) == sorted(get_args(fields["schedule"].annotation))


def test_defaults_of_networks_are_told():
    cells = {row[0]: row[1:] for row in rows_of("| `mlp`")}
    named = [ESTIMATORS.get(name).Params.model_validate({}) for name in ("mlp", "neural_head", "boosted_mlp")]
    mlp, head, boosted = named
    assert [numbers(cell)[0] for cell in cells["units in each, `hidden`"]] == [each.hidden for each in named]
    assert [numbers(cell)[0] for cell in cells["ends after (`patience`)"]] == [each.patience for each in named]
    assert [numbers(cell)[0] for cell in cells["hidden layers, `depth`"]] == [mlp.depth, head.depth, 1]
    most = [numbers(cell) for cell in cells["at most"]]
    assert most == [[mlp.max_epochs], [head.max_epochs], [boosted.n_estimators, boosted.epochs]]


def test_links_lead_somewhere():
    docs = Path(__file__).parents[3] / "docs"
    links = re.findall(r"\]\(([\w-]+\.md)\)", TEXT)
    assert links
    assert all((docs / link).is_file() for link in links)

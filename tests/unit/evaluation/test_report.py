"""The page: complete, well-formed, self-contained, and deaf to what data tries to say in HTML."""

import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from pydantic import ValidationError

from hybrid_ray.evaluation.assembly import evaluate_test
from hybrid_ray.evaluation.metrics import METRICS
from hybrid_ray.evaluation.plots import joined, tradeoff_chart
from hybrid_ray.evaluation.report import MAX_CANDIDATES, render
from hybrid_ray.evaluation.schema import DataCard, EnsembleCard, MemberRow, Report, SplitCard
from hybrid_ray.types import CLASSIFICATION

EVIL = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>&{{ 7*7 }}$\\frac"
VOID = {"meta", "br", "wbr", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that every tag is closed where it should be."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.attributes, self.texts = [], [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def values(self, *names):
        return [value for name, value in self.attributes if name in names]

    @property
    def text(self):
        return re.sub(r"\s+", " ", "".join(self.texts))


def test_a_report_of_every_task_is_well_formed_and_complete(report):
    page = Page(render(report.to_json()))
    for word in (
        "Levels of fusion",
        "Ablation",
        "Ensemble",
        "Metrics",
        "Groups",
        "Leaderboard",
        "Sensitivity",
        "Data",
        "Time per stage",
        "Graph",
    ):
        assert word in page.text
    for shown in (report.name, report.run_id, report.data.licence, "23.5 MB", "18 ms", "Naive baseline", "2.55.0"):
        assert shown in page.text
    assert all(row.metric in page.text for row in report.evaluation.metrics)
    assert all(member.name in page.text for member in report.ensemble.members)
    assert all(row.extractor in page.text for row in report.extraction)
    assert "search: trials: 24" in page.text
    assert "0.40 to 0.65" in page.text  # the first weight's interval
    assert "linear_pool (greedy)" in page.text
    assert "Are the best ones different?" in page.text
    assert "Largest gap between two groups" in page.text
    assert all(row.label in page.text for row in report.evaluation.groups[0].rows)
    assert "12 different trials: too few" in page.text
    assert "40 different trials; their choices explain a share of 0.70 (0.50 to 0.90)" in page.text
    assert "3 more choices" in page.text
    assert "0.20 to 0.42" in page.text
    assert ("Precision and recall" in page.text) == (report.task in CLASSIFICATION)
    measures = {"regression": ("spread", "deviation"), "clustering": ()}
    told = report.uncertainty.measures if report.uncertainty else ()
    assert tuple(row.name for row in told) == measures.get(report.task, ("total", "aleatoric", "epistemic"))
    assert ("How sure it is" in page.text) == bool(told)
    assert ("90 % by held-out errors" in page.text) == (report.task == "regression")
    assert ("Right and wrong, row by row" in page.text) == (report.task in CLASSIFICATION)
    for said in (
        "Krippendorff's alpha",
        "Made of 3 annotators' labels",
        "2 of 4,800 training rows",
        "label_errors.jsonl",
    ):
        assert (said in page.text) == (report.labels is not None)
    assert f"{len(report.candidates) - MAX_CANDIDATES} more candidates" in page.text
    special = {"regression": ("Residuals", "Predicted minus true"), "clustering": ("Each cluster", "Silhouette")}
    expected = special.get(report.task, ("Confusion", "Calibration"))
    assert all(word in page.text for word in expected)


def test_a_page_asks_the_network_for_nothing_and_runs_nothing(report):
    html = render(report)
    page = Page(html)
    assert not {"script", "link", "iframe", "img", "object", "embed", "form", "base"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert all(target.startswith("#") for target in page.values("href", "src", "xlink:href"))
    assert not re.search(r"https?:|@import|url\((?!#)", html)


def test_anchors_lead_somewhere_and_labels_exist(report):
    page = Page(render(report))
    sections = [i for i in page.values("id") if not re.fullmatch(r"[mp][0-9a-f]{10}", i)]
    assert len(sections) == len(set(sections))
    anchors = {target.removeprefix("#") for target in page.values("href")}
    assert anchors | set(page.values("aria-labelledby")) <= set(page.values("id"))


def test_charts_follow_the_pages_colours(report):
    html = render(report)
    assert html.count("<svg") == (5 if report.task in CLASSIFICATION else 4)
    for label in ("Predicted against true values", "Histogram of residuals") if report.task == "regression" else ():
        assert re.search(rf'aria-label="{label}"><svg[^>]*>.*?<(path|circle|use|rect)', html, re.DOTALL), label
    assert "var(--accent)" in html
    assert not re.search(r"#0[1-5]0[0-9a-f]0", html.partition("</style>")[2])


@pytest.mark.parametrize(
    ("costs", "labels", "line"),
    [
        (["latency"], ["milliseconds a row"], True),
        (["size"], ["megabytes"], True),
        (["latency", "size"], ["milliseconds a row", "megabytes"], False),
    ],
)
def test_the_front_is_drawn_against_the_costs_that_were_asked_for(make_report, costs, labels, line):
    report = make_report()
    card = report.tradeoff.model_copy(update={"objectives": ["metric", *costs]})
    chart = tradeoff_chart(card)
    assert re.findall("milliseconds a row|megabytes", chart) == labels
    assert len(re.findall(r"stroke: var\(--accent\); stroke-width: 1\.4", chart)) == line
    html = render(report.model_copy(update={"tradeoff": card}))
    said = {"latency": "the time of a row that comes alone", "size": "size"}
    assert f"out of fold against {' and against '.join(said[cost] for cost in costs)}; coloured" in html


def test_strings_from_data_never_become_html(make_report):
    report = make_report(
        classes=[EVIL, "<b>bold</b>", "c & d"], columns=(EVIL, "<td>", "'\""), groups=(EVIL, "<i>", "g", "h")
    )
    form = report.to_json()
    form["notes"] = [EVIL]
    form["name"] = form["run_id"] = form["spec"] = EVIL
    form["versions"] = {EVIL: EVIL}
    form["stages"] = {EVIL: 1.0}
    form["data"] |= {"path": EVIL, "label": EVIL, "source": EVIL, "licence": EVIL}
    form["data"]["split"]["note"] = EVIL
    form["data"]["preparation"][0] |= {"step": EVIL, "detail": EVIL}
    form["data"]["rejects"]["reasons"][0] |= {"reason": EVIL, "column": EVIL}
    form["ensemble"] |= {"combiner": EVIL, "params": {EVIL: [EVIL, {EVIL: EVIL}]}}
    form["ensemble"]["members"][0]["name"] = EVIL
    form["candidates"][0] |= {"label": EVIL, "estimator": EVIL, "blocks": [EVIL], "params": {EVIL: EVIL}}
    form["extraction"][0] |= {"extractor": EVIL, "note": EVIL}
    form["evaluation"]["levels"][1] |= {"name": f"alone:{EVIL}", "candidate": EVIL}
    form["evaluation"]["ablation"][1]["name"] = EVIL
    form["evaluation"]["groups"][0] |= {"column": EVIL, "note": EVIL, "positive": EVIL}
    form["sensitivity"][0]["rows"][0]["name"] = EVIL
    form["labels"]["annotation"]["annotators"][0]["name"] = EVIL
    form["labels"]["annotation"]["pairs"][0]["first"] = EVIL
    form["labels"]["errors"]["first"][0] |= {"given": EVIL, "likely": EVIL}
    html = render(form)
    page = Page(html)
    assert not {"script", "img"} & set(page.tags)
    assert "<b>bold" not in html
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "&49$" not in page.text
    assert page.text.count(EVIL) >= 25


def test_long_lists_are_folded_not_dropped(make_report):
    report = make_report(classes=[f"class {i}" for i in range(60)], n=700)
    page = Page(render(report))
    assert "20 more classes" in page.text
    assert all(f"class {i}" in page.text for i in range(60))
    assert "Most confused" in page.text


@pytest.mark.parametrize(
    ("ranks", "reach", "bars"),
    [
        ([1.0, 2.0, 3.0, 4.0], 1.5, [(1.0, 2.0), (2.0, 3.0), (3.0, 4.0)]),
        ([1.2, 1.4, 3.9, 4.0], 0.5, [(1.2, 1.4), (3.9, 4.0)]),
        ([1.0, 2.0, 3.0], 2.0, [(1.0, 3.0)]),
        ([1.0, 2.0, 3.0], 0.5, []),
    ],
)
def test_bars_join_candidates_within_the_critical_difference(ranks, reach, bars):
    assert joined(ranks, reach) == bars


def test_the_verdict_says_whether_the_gain_is_more_than_chance(make_report):
    better = Page(render(make_report(classes=["a", "b"], task="binary"))).text
    assert "The ensemble is better than the best single input (text alone)" in better
    form = make_report(classes=["a", "b"], task="binary").to_json()
    for row in form["evaluation"]["levels"]:
        row["p_value"] = 0.4
    assert "cannot be told apart" in Page(render(form)).text


def smallest_report(metric="roc_auc"):
    y = np.zeros(12, int)
    outputs = {name: np.tile([0.7, 0.3], (12, 1)) for name in ("naive", "ensemble")}
    return Report(
        name="tiny",
        task="binary",
        run_id="r",
        created="2026-01-01T00:00:00Z",
        evaluation=evaluate_test(y, outputs, task="binary", metric=METRICS[metric], classes=["a", "b"], n=50),
        data=DataCard(path="x.csv", label="y", rows=60, split=SplitCard(kind="random", train=48, test=12, folds=2)),
        ensemble=EnsembleCard(combiner="linear_pool", members=[MemberRow(name="only", weight=1.0)]),
    )


@pytest.mark.parametrize("metric", ["roc_auc", "accuracy", "f1_macro"])
def test_the_smallest_report_with_undefined_scores_renders(metric):
    page = Page(render(smallest_report(metric)))
    assert "not registered" in page.text
    assert "nan" not in page.text.lower()


def test_a_path_that_is_no_text_can_still_be_written():
    form = smallest_report().to_json()
    form["data"]["path"] = "/data/caf\udce9.csv"
    assert render(form).encode("utf-8")


def test_what_is_not_a_report_is_refused():
    with pytest.raises(ValidationError, match="evaluation"):
        render({"name": "x"})
    form = smallest_report().to_json() | {"format": 2}
    with pytest.raises(ValidationError, match="format"):
        render(form)


def test_plots_and_templates_are_loaded_when_a_page_is_made_only():
    code = "import sys, hybrid_ray.evaluation.report; print({'matplotlib', 'jinja2', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "set()"

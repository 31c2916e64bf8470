"""What a run says: the answer of ``run --json``, and the lines that people read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hybrid_ray.evaluation.assembly import ALONE, ENSEMBLE, NAIVE
from hybrid_ray.evaluation.metrics import score_all
from hybrid_ray.evaluation.schema import GroupCard, Report
from hybrid_ray.types import AnyArray


def run_answer(
    report: Report, y_test: AnyArray, outputs: Mapping[str, AnyArray], *, report_path: str, artifact: str
) -> dict[str, Any]:
    """The answer of a finished run, as the command line contract has it.

    Parameters
    ----------
    report : Report
    y_test : ndarray (n_test,)
        Class codes or floats.
    outputs : mapping of str to ndarray (n_test, n_outputs)
        By level name.
    report_path, artifact : str

    Returns
    -------
    dict
        JSON-able. ``test``, ``ci95`` and ``baselines.naive`` hold every metric of the task by name; ``modalities`` the
        same for the best candidate of each modality alone; ``groups`` the scores of the groups of each column of
        ``data.groups``, where they rest on enough rows, and their gaps; ``rows.test_groups`` how many groups of test
        rows that go together intervals and p values were made of, null where of rows one by one.
    """
    scores = {level: defined(score_all(y_test, values, report.task)) for level, values in outputs.items()}
    rows = report.data
    return {
        "run_id": report.run_id,
        "model": report.name,
        "version": report.version,
        "task": report.task,
        "metric": report.evaluation.headline.metric,
        "test": scores[ENSEMBLE],
        "ci95": {row.metric: [row.score.low, row.score.high] for row in report.evaluation.metrics},
        "baselines": {NAIVE: scores[NAIVE]},
        "modalities": {
            level.name.removeprefix(ALONE): scores[level.name]
            for level in report.evaluation.levels
            if level.kind == "modality"
        },
        "levels": {
            level.name: {"oof": level.oof, "test": level.score.value, "p_value": level.p_value}
            for level in report.evaluation.levels
        },
        "groups": {card.column: _groups_answer(card) for card in report.evaluation.groups},
        "members": [member.model_dump(mode="json") for member in report.ensemble.members],
        "rows": {
            "total": rows.rows,
            "train": rows.split.train,
            "test": rows.split.test,
            "bad": rows.rejects.rows,
            "test_groups": report.evaluation.headline.tied,
        },
        "extraction": extraction_answer([row.model_dump() for row in report.extraction]),
        "search": {
            "trials": report.search.trials if report.search else 0,
            "fits": report.search.fits if report.search else 0,
            "resumed": report.search.resumed if report.search else 0,
            "seconds": report.search.seconds if report.search else 0.0,
        },
        "stages": report.stages,
        "seconds": sum(report.stages.values()),
        "report": report_path,
        "artifact": artifact,
    }


def _groups_answer(card: GroupCard) -> dict[str, Any]:
    """Scores by group, and the gaps between groups, as the answer has them."""
    return {
        "rows": {row.label: row.rows for row in card.rows},
        "test": {row.label: {name: score.value for name, score in row.scores.items()} for row in card.rows},
        "ci95": {row.label: {name: [s.low, s.high] for name, s in row.scores.items()} for row in card.rows},
        "gaps": {
            gap.measure: {
                "gap": gap.gap.value,
                "ci95": [gap.gap.low, gap.gap.high],
                "p_value": gap.p_value,
                "highest": gap.highest,
                "lowest": gap.lowest,
            }
            for gap in card.gaps
        },
    }


def defined(scores: Mapping[str, float]) -> dict[str, float | None]:
    """Scores with null where one is not defined: NaN is not JSON."""
    return {name: value if math.isfinite(value) else None for name, value in scores.items()}


def extraction_answer(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts over extractors: a row that two extractors read counts twice."""
    return {
        "rows": sum(row["rows"] for row in rows),
        "cached": sum(row["cached"] for row in rows),
        "computed": sum(row["computed"] for row in rows),
        "seconds": sum(row["seconds"] for row in rows),
    }


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _interval(bounds: Sequence[float | None]) -> str:
    return f"[{_number(bounds[0])}, {_number(bounds[1])}]"


def describe_run(answer: Mapping[str, Any]) -> list[str]:
    """Lines for people about a finished run."""
    metric, test, naive = answer["metric"], answer["test"], answer["baselines"][NAIVE]
    lines = [f"{answer['model']}:{answer['version']}  {answer['task']}  run {answer['run_id']}", ""]
    width = max(len(name) for name in test)
    lines.append(f"  {'metric':<{width}}  {'test':>9}  {'95 % interval':<20}  {'naive':>9}")
    lines += [
        f"  {name:<{width}}  {_number(value):>9}  {_interval(answer['ci95'].get(name, (None, None))):<20}  "
        f"{_number(naive.get(name)):>9}" + ("  ← optimised" if name == metric else "")
        for name, value in test.items()
    ]
    lines += ["", f"  {metric} by level:"]
    level_width = max(len(name) for name in answer["levels"])
    lines += [
        f"  {name:<{level_width}}  oof {_number(level['oof']):>8}  test {_number(level['test']):>8}"
        for name, level in answer["levels"].items()
    ]
    for column, groups in answer.get("groups", {}).items():  # a run of an earlier version has none
        gap = groups["gaps"].get(metric)
        if gap is not None:
            lines.append(
                f"  {metric} by {column}: gap {_number(gap['gap'])} {_interval(gap['ci95'])}, p {gap['p_value']:.2g}: "
                f"{gap['highest']} and {gap['lowest']}"
            )
    lines += ["", "  members:"]
    lines += [f"  {_number(m['weight']):>7}  {m['name']}" for m in answer["members"]]
    rows, extraction, search = answer["rows"], answer["extraction"], answer["search"]
    tied = rows.get("test_groups")  # a run of an earlier version has none
    lines += [
        "",
        f"  rows: {rows['total']} = {rows['train']} train + {rows['test']} test"
        f"{f' of {tied} groups' if tied else ''}, {rows['bad']} bad",
        f"  extraction: {extraction['computed']} computed, {extraction['cached']} cached, "
        f"{extraction['seconds']:.1f} s",
        f"  search: {search['trials']} candidates, {search['resumed']} fits resumed, {search['seconds']:.1f} s",
        "  stages: " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in answer["stages"].items()),
        f"  report: {answer['report']}",
        f"  artifact: {answer['artifact']}",
    ]
    return lines


def describe_search(answer: Mapping[str, Any]) -> list[str]:
    """Lines for people about a search that has not been composed yet."""
    lines = [f"run {answer['run_id']}: {answer['search']['trials']} candidates, {answer['metric']}"]
    lines += [f"  {_number(c['oof']):>9}  {c['label']}" for c in answer["candidates"][:10]]
    lines.append(f"  {_number(answer['ensemble']['oof']):>9}  ensemble of {len(answer['ensemble']['weights'])}")
    return lines


def describe_scores(answer: Mapping[str, Any]) -> list[str]:
    """Lines for people about a model scored on labelled rows."""
    tied = f" of {answer['test_groups']} groups" if answer["test_groups"] else ""
    lines = [f"{answer['model']}:{answer['version']} on {answer['rows']} rows{tied}", *answer["notes"]]
    return lines + [
        f"  {name:<32} {_number(value):>9}  {_interval(answer['ci95'][name])}" for name, value in answer["test"].items()
    ]


def describe_importance(answer: Mapping[str, Any]) -> list[str]:
    """Lines for people about what a model needs."""
    head = f"{answer['model']}:{answer['version']} on {answer['rows']} rows: {answer['metric']} "
    lines = [f"{head}{_number(answer['score'])}; its loss when a column is shuffled {answer['repeats']} times"]
    for each in answer["importance"]:
        interval = _interval([each["low"], each["high"]])
        dropped = "" if each["read"] else "  no member reads it"
        lines.append(f"  {each['name']:<32} {_number(each['mean']):>9}  {interval}{dropped}")
    lines.append(f"  picture: {answer['out']}/importance.png")
    if answer["attributed"]:
        lines.append(f"  why {answer['attributed']} rows are answered as they are: {answer['out']}/attributions.png")
    return lines


def model_lines(models: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines for people about the versions in a store."""
    lines = []
    for version in models:
        held = [f"@{alias}" for alias in version["aliases"]]
        score = f"oof {version['metric']} {_number(version['score'])}" if version["metric"] else ""
        lines.append("  ".join([f"{version['name']}:{version['version']}", version["created"][:19], score, *held]))
    return lines or ["no models yet"]


def run_lines(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines for people about the runs in a store."""
    if not runs:
        return ["no runs yet"]
    return [f"{r['run_id']}  {r['name']}  {r['status']}  {r['created']}" for r in runs]

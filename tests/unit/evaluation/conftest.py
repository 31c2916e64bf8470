"""Reports of every task, assembled from outputs by name as a run does."""

import numpy as np
import pytest

from hybrid_ray.data.annotated import Annotated
from hybrid_ray.data.consensus import dawid_skene
from hybrid_ray.data.groups import Grouping
from hybrid_ray.evaluation.assembly import evaluate_test
from hybrid_ray.evaluation.baselines import naive_outputs
from hybrid_ray.evaluation.clusters import gather
from hybrid_ray.evaluation.folds import compare_folds
from hybrid_ray.evaluation.label_cards import annotation_card
from hybrid_ray.evaluation.metrics import get_metric
from hybrid_ray.evaluation.schema import (
    CandidateRow,
    ChoiceRow,
    ColumnCard,
    CombinerRow,
    CompressionCard,
    DataCard,
    EnsembleCard,
    Estimate,
    ExtractionRow,
    GraphCard,
    LabelErrorRow,
    LabelErrorsCard,
    LabelsCard,
    MemberRow,
    NetworkCost,
    OfferRow,
    PreparationStep,
    RejectReason,
    RejectsCard,
    Report,
    SearchCard,
    SensitivityCard,
    SmallerRow,
    SplitCard,
    TradeoffCard,
    UncertaintyCard,
)
from hybrid_ray.evaluation.uncertainty import measure_uncertainty
from hybrid_ray.fusion.predictive import NormalMixture
from hybrid_ray.types import CLASSIFICATION

STRENGTH = {
    "alone:image": 0.5,
    "alone:tabular": 0.3,
    "alone:text": 0.65,
    "alone:tfidf": 0.4,
    "alone:minilm": 0.65,
    "without:image": 0.8,
    "without:tabular": 0.9,
    "without:text": 0.6,
    "best candidate": 1.0,
    "feature-level fusion": 1.0,
    "ensemble": 1.15,
}
MEMBERS = ["hist_gradient_boosting(mobilenet+table)#9f3a", "svm(minilm)#11c0", "logistic(mobilenet+minilm+table)#77ab"]


def class_outputs(rng, y, n_classes, strength):
    logits = rng.normal(0, 1, (len(y), n_classes))
    logits[np.arange(len(y)), y] += 3 * strength
    scaled = np.exp(1.4 * logits)
    return scaled / scaled.sum(axis=1, keepdims=True)


def build_labels(classes):
    """What labels are worth: two annotators of three classes at most, and two rows that are likely mislabelled."""
    votes = np.array([[0, 0, -1], [1, 0, 1], [1, 1, 1], [-1, -1, -1], [0, 1, -1]])
    said = annotation_card(Annotated(("ann", "ben", "cleo"), votes, "dawid_skene", dawid_skene(votes, 2)))
    rows = [
        LabelErrorRow(
            row=17 * i, given=str(classes[0]), likely=str(classes[1]), given_probability=0.02, likely_probability=0.9
        )
        for i in (1, 2)
    ]
    return LabelsCard(
        annotation=said, errors=LabelErrorsCard(rows=4800, found=2, path="runs/5c1d/label_errors.jsonl", first=rows)
    )


def judged_rows(rng, y, strength):
    """What rows in clusters around their labels say of two assignments, the better the stronger."""
    X = 2.0 * np.eye(4)[y] + rng.normal(0, 0.6, (len(y), 4))
    first, second = (np.where(rng.random(len(y)) < 0.5 / (1 + strength), rng.integers(0, 4, len(y)), y) for _ in "ab")
    return gather(X.astype(np.float32), first, second).table


def outputs_of(task, n_classes, n, seed):
    rng = np.random.default_rng(seed)
    if task == "regression":
        y = np.exp(rng.normal(12.6, 0.5, n))
        outputs = {name: (y * np.exp(rng.normal(0, 0.3 / s, n)))[:, None] for name, s in STRENGTH.items()}
        return y, outputs, rng
    y = rng.choice(n_classes, n, p=rng.dirichlet(4 * np.ones(n_classes)))
    if task == "clustering":
        return y, {name: judged_rows(rng, y, strength) for name, strength in STRENGTH.items()}, rng
    return y, {name: class_outputs(rng, y, n_classes, s) for name, s in STRENGTH.items()}, rng


def build_evaluation(task, classes, n, seed, metric, labels):
    n_outputs = len(classes) if classes else 1
    y, outputs, rng = outputs_of(task, n_outputs, n, seed)
    outputs["naive"] = naive_outputs(y, task, n_outputs, n) if task != "clustering" else judged_rows(rng, 0 * y, 0.0)
    scorer = get_metric(metric, task)
    members = {
        name: outputs["best candidate"] if task not in CLASSIFICATION else class_outputs(rng, y, n_outputs, 0.9)
        for name in MEMBERS
    }
    return evaluate_test(
        y,
        outputs,
        task=task,
        metric=scorer,
        classes=classes,
        members=members,
        oof={name: scorer.score(y, values) * 1.01 for name, values in outputs.items()},
        candidates={"alone:text": "svm(minilm)#11c0", "best candidate": MEMBERS[0], "feature-level fusion": MEMBERS[0]},
        groups=[Grouping("season", labels, rng.choice(4, n, p=[0.5, 0.3, 0.18, 0.02]), "rare values together")],
        n=300,
    )


def build_sensitivity(names=("estimator", "blocks.mobilenet", "estimator.svm.C", *(f"fusion.f{i}" for i in range(9)))):
    rows = [
        ChoiceRow(
            name=name,
            trials=40 - i,
            importance=Estimate(value=0.5 / 2**i, low=0.4 / 2**i - 0.02, high=0.7 / 2**i),
            where_open=Estimate(value=0.31, low=0.2, high=0.42),
        )
        for i, name in enumerate(names)
    ]
    rows.append(ChoiceRow(name="estimator.knn.k", trials=3, importance=None))
    explained = Estimate(value=0.7, low=0.5, high=0.9)
    return [
        SensitivityCard(of="candidates", trials=40, explained=explained, rows=rows),
        SensitivityCard(of="ensembles", trials=12),
    ]


def build_uncertainty(task, classes, n=200) -> UncertaintyCard:
    """Of three members that are each a little less clear."""
    n_outputs = len(classes) if classes else 1
    y, outputs, _ = outputs_of(task, n_outputs, n, 1)
    levels = ("best candidate", "alone:text", "alone:image")
    members = {name: outputs[level] for name, level in zip(MEMBERS, levels, strict=True)}
    predictive = None if classes else NormalMixture(np.ones(1), outputs["ensemble"], np.array([9e4]))
    margins = None if classes else {0.8: 1e5, 0.9: 1.4e5}
    weights = dict.fromkeys(MEMBERS, 1 / 3)
    return measure_uncertainty(y, outputs["ensemble"], members, weights, predictive=predictive, margins=margins)


def build_report(
    task="multiclass",
    classes=None,
    n=400,
    seed=0,
    metric="auto",
    columns=("photo", "title", "price"),
    groups=("Fall", "Spring", "Summer", "rare"),
):
    evaluation = build_evaluation(task, classes, n, seed, metric, groups)
    blocks = [["mobilenet", "table"], ["minilm"], ["mobilenet", "minilm", "table"], ["table"]]
    families = ["hist_gradient_boosting", "svm", "logistic", "random_forest", "xgboost"]
    base = evaluation.levels[-1].score.value
    worse = 1.03 if evaluation.headline.direction == "minimize" else 0.985
    candidates = [
        CandidateRow(
            label=f"{families[i % 5]}({'+'.join(blocks[i % 4])})#{i:04x}",
            blocks=blocks[i % 4],
            estimator=families[i % 5],
            params={"C": 0.1 * 1.7**i, "max_depth": None, "weights": "balanced"} if i % 2 else {"learning_rate": 0.1},
            oof=base * worse**i,
            folds=5 if i < 16 else 1,
            pruned=i >= 16,
            seconds=1.7 * (i % 6) + 0.4,
            member=i < 3,
        )
        for i in range(24)
    ]
    scorer = get_metric(evaluation.headline.metric, task)
    noise = np.random.default_rng(seed).normal(1.0, 0.01, size=(16, 5))
    folds = {row.label: row.oof * noise[i] for i, row in enumerate(candidates) if not row.pruned}
    return Report(
        name="fashion_season",
        task=task,
        run_id="5c1d0e9a7b3f42d18e6a90c4b7f1a2d3",
        version=3,
        created="2026-11-21T03:12:45Z",
        notes=["No hub answered within 5 s: text is read by tfidf only. Set HYBRID_RAY_WEIGHTS to use an encoder."],
        evaluation=evaluation,
        data=DataCard(
            path="/data/fashion/products.parquet",
            label="season",
            rows=6000,
            source="Fashion Product Images (small)",
            licence="MIT",
            columns=[
                ColumnCard(name=columns[0], kind="image", missing=12),
                ColumnCard(name=columns[1], kind="text", note="long strings, mostly distinct"),
                ColumnCard(name=columns[2], kind="numeric", missing=431),
            ],
            preparation=[
                PreparationStep(step="drop columns", count=2, detail="id, year"),
                PreparationStep(step="drop rows without a label", count=7),
                PreparationStep(step="mark undecodable images as missing", count=3),
            ],
            split=SplitCard(kind="stratified", train=4800, test=1200, folds=5, note="the column `split` was not found"),
            rejects=RejectsCard(
                rows=4,
                reasons=[
                    RejectReason(column=columns[0], reason="cannot identify image file", rows=3),
                    RejectReason(column=columns[2], reason="not a number", rows=1),
                ],
                path="runs/5c1d0e9a/rejects.jsonl",
            ),
        ),
        ensemble=EnsembleCard(
            combiner="linear_pool",
            solver="greedy",
            params={"regularisation": 0.01},
            members=[
                MemberRow(
                    name=name,
                    weight=weight,
                    low=weight - 0.1,
                    high=weight + 0.15,
                    oof=base * 1.1,
                    test=evaluation.members[name],
                )
                for name, weight in zip(MEMBERS, (0.5, 0.3, 0.2), strict=True)
            ],
            oof=base * 1.02,
            test=evaluation.headline.score.value,
            tried=[
                CombinerRow(combiner="linear_pool", solver="greedy", trials=11, oof=base * 1.02, seconds=0.21),
                CombinerRow(combiner="stacking", trials=9, oof=base * 1.03, seconds=0.65),
            ],
        ),
        uncertainty=build_uncertainty(task, classes) if task != "clustering" else None,
        candidates=candidates,
        fold_tests=compare_folds(folds, scorer, 3840, 960),
        sensitivity=build_sensitivity(),
        tradeoff=TradeoffCard(
            objectives=["metric", "latency"],
            prefer="balanced",
            limits="50 ms a row",
            rows=[
                OfferRow(
                    label=f"linear_pool of {n}",
                    members=n,
                    oof=base * (1.3 - 0.1 * n),
                    latency_ms=4.0 * n**2,
                    batch_ms=1.5 * n**2,
                    size_mb=3.0 * n,
                    front=n != 2,
                    chosen=n == 3,
                )
                for n in (1, 2, 3)
            ],
        ),
        compression=CompressionCard(
            int8="dynamic",
            prune=0.1,
            min_cosine=0.99,
            max_loss=0.01,
            before=base,
            after=base * 1.001,
            networks=[
                SmallerRow(
                    extractor="minilm",
                    cosine=0.9963,
                    before=NetworkCost(latency_ms=18.4, batch_ms=12.2, size_mb=91.3),
                    after=NetworkCost(latency_ms=9.8, batch_ms=5.4, size_mb=21.6),
                    taken=True,
                ),
                SmallerRow(
                    extractor="mobilenet",
                    cosine=0.931,
                    before=None,
                    after=None,
                    taken=False,
                    note="its features would change: cosine 0.9310, min_cosine is 0.99",
                ),
            ],
        ),
        search=SearchCard(trials=24, fits=96, resumed=12, pruned=8, folds=5, seconds=212.4, seed=0),
        labels=build_labels(classes) if classes and task != "clustering" else None,
        stages={"read": 1.2, "extract": 95.4, "prepare": 3.1, "search": 212.4, "ensemble": 9.8, "graph": 14.2},
        extraction=[
            ExtractionRow(
                extractor="mobilenet", rows=6000, computed=6000, seconds=81.0, features=1280, note="torchvision"
            ),
            ExtractionRow(extractor="minilm", rows=6000, cached=5400, computed=600, seconds=13.1, features=384),
        ],
        graph=GraphCard(
            members="refit", bytes=23_456_789, latency_ms=18.4, chains=3, extractors=["mobilenet", "minilm"]
        ),
        spec="version: 1\nname: fashion_season\ndata:\n  path: /data/products.parquet\nsearch:\n  trials: 24\n",
        versions={"hybrid_ray": "0.1.0", "ray": "2.55.0", "torch": "2.9.0", "scikit-learn": "1.9.1"},
    )


TASKS = {
    "binary": {"task": "binary", "classes": ["no", "yes"]},
    "multiclass": {"task": "multiclass", "classes": ["Fall", "Spring", "Summer", "Winter"]},
    "digits": {"task": "multiclass", "classes": list(range(10)), "metric": "accuracy"},
    "many": {"task": "multiclass", "classes": [f"article type {i}" for i in range(32)], "n": 900},
    "crowd": {"task": "multiclass", "classes": [f"c{i}" for i in range(120)], "n": 900},
    "regression": {"task": "regression", "metric": "rmse", "n": 107},
    "clustering": {"task": "clustering", "classes": ["Fall", "Spring", "Summer", "Winter"]},
}


@pytest.fixture(scope="session")
def make_report():
    """Builds a report: ``make_report(task=..., classes=...)``."""
    return build_report


@pytest.fixture(scope="session", params=sorted(TASKS))
def report(request):
    """A report of each task."""
    return build_report(**TASKS[request.param])

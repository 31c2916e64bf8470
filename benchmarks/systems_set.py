"""The systems of ``systems.py``: which spec, on which rows, beside what, and what it must show.

Only ``systems.py`` imports this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes
from systems_graph import cora_new_rows, cora_rows, cora_without_test
from systems_sounds import machine_sounds

from hybrid_ray.forecasts import Came
from hybrid_ray.types import AnyArray

FALSE_GOOD = 5.0
"""What it costs to give credit to one who does not pay, where to refuse one who does costs 1 (UCI)."""
NOISE_COLUMNS, NOISE_SEED = 20, 20_26
PUMP_STEPS, PUMP_SEED = 60, 20_20
"""Seconds of a window, as in the notebooks of the benchmark."""
PUMP_SENSORS = (
    "Accelerometer1RMS",
    "Accelerometer2RMS",
    "Current",
    "Pressure",
    "Temperature",
    "Thermocouple",
    "Voltage",
    "Volume Flow RateRMS",
)
SPEC = "spec"
"""Name of the row that is the spec as it stands."""

Means = Mapping[str, Mapping[str, float]]
"""Mean over seeds of each test metric, by row."""
Make = Callable[[Path], pd.DataFrame]
Scores = Callable[[AnyArray, AnyArray], Mapping[str, float]]
"""Class codes (n,) and probabilities (n, C) to scores that the package does not know."""


@dataclass(frozen=True)
class Row:
    """One way to run the spec of a system.

    Attributes
    ----------
    says : str
        What it is, for the table.
    data : str or callable
        A file in the data folder, a URL, or what makes rows from that folder.
    changed : dict of str to object
        Values of the spec by path, as ``--set`` takes them.
    metric : str
        The test metric that the table shows; empty: the system's.
    beside : str
        The row whose gain over this one is recorded, with its paired interval, where both have the same data.
    files : dict of str to callable
        Values that are files which have to be made, by path, each with what gives its bytes from the data folder.
    """

    says: str
    data: str | Make
    changed: Mapping[str, Any] = field(default_factory=dict)
    metric: str = ""
    beside: str = SPEC
    files: Mapping[str, Callable[[Path], bytes]] = field(default_factory=dict)


@dataclass(frozen=True)
class System:
    """One system.

    Attributes
    ----------
    name : str
        Of its spec in specs/.
    fuses, use, reference : str
        What is fused, when to use it, whose idea it is or whose figure it stands beside.
    metric : str
        The test metric that the table shows.
    rows : dict of str to Row
        The first, ``spec``, is the spec as it stands; the others stand beside it.
    must : str
        What it must show, in words.
    holds : callable
        Whether it does.
    scores : callable or None
        More scores of the test rows.
    """

    name: str
    fuses: str
    use: str
    reference: str
    metric: str
    rows: Mapping[str, Row]
    must: str
    holds: Callable[[Means], bool]
    scores: Scores | None = None


def diabetes(data: Path) -> pd.DataFrame:
    """The diabetes study, bundled with scikit-learn."""
    frame: pd.DataFrame = load_diabetes(as_frame=True, scaled=False).frame
    return frame


def noisy_churn(data: Path) -> pd.DataFrame:
    """The churn table with as many columns again that say nothing: standard normal, from a seed of their own."""
    table = pd.read_csv(data / "telco_churn/telco_churn.csv.gz")
    noise = np.random.default_rng(NOISE_SEED).standard_normal((len(table), NOISE_COLUMNS))
    return table.assign(**{f"noise_{i}": noise[:, i] for i in range(NOISE_COLUMNS)})


def review_fold(fold: int) -> Make:
    """The movie reviews with one of their ten fixed folds as the test rows."""

    def make(data: Path) -> pd.DataFrame:
        table = pd.read_parquet(data / _MR)
        return table.assign(split=np.where(table["fold"] == fold, "test", "train"))

    return make


def pump_windows(data: Path) -> pd.DataFrame:
    """A row a moment of the pump's test bed: the minute before it, of eight sensors, from its own file.

    Sensors are brought to the mean and deviation of the first 200 of the 400 training moments of their file. Training
    windows end in the other 200, so that they show, as test windows do, how normal operation drifts from what scaled
    it; every second is kept, as neighbours hardly differ. Beside them are half as many that no pump gave, each sensor
    from another training window of the file: no fit reads them, they stand for the faults that training has none of
    when the search compares what it tries.
    """
    table = pd.read_parquet(data / "skab_valve1/skab_valve1.parquet")
    rng = np.random.default_rng(PUMP_SEED)
    rows = []
    for file, moments in table[table["group"] == "valve1"].groupby("file"):
        known = int((moments["split"] == "train").sum())
        values = moments[list(PUMP_SENSORS)].to_numpy(np.float64)
        first = values[: known // 2]
        scaled = ((values - first.mean(axis=0)) / first.std(axis=0)).astype(np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(scaled, PUMP_STEPS, axis=0).transpose(0, 2, 1)
        training = windows[known // 2 - PUMP_STEPS + 1 : known - PUMP_STEPS + 1 : 2]
        mixed = _mixed(training, rng)[::2]
        labels = moments["anomaly"].to_numpy(np.int64)[known:]
        for part, role, label in (
            (training, "train", np.zeros(len(training), np.int64)),
            (mixed, "train", np.ones(len(mixed), np.int64)),
            (windows[known - PUMP_STEPS + 1 :], "test", labels),
        ):
            rows += [
                {"window": window.tolist(), "file": f"valve1/{file}", "split": role, "anomaly": int(own)}
                for window, own in zip(part, label, strict=True)
            ]
    return pd.DataFrame(rows)


def _mixed(windows: AnyArray, rng: np.random.Generator) -> AnyArray:
    """Windows (n, steps, sensors) whose sensors are those of windows drawn one by one."""
    return np.stack([sensor[rng.permutation(len(windows))] for sensor in np.moveaxis(windows, 2, 0)], axis=2)


def credit_scores(y: AnyArray, outputs: AnyArray) -> dict[str, float]:
    """UCI's cost a row, where credit is refused as soon as that costs less by what is predicted."""
    refused = outputs[:, 1] * FALSE_GOOD > outputs[:, 0]
    return {"uci_cost": float(np.where(y == 1, FALSE_GOOD * ~refused, refused).mean())}


def trading_scores(y: AnyArray, outputs: AnyArray) -> dict[str, float]:
    """What comes of holding the index from each origin to the last step where that is forecast to be higher.

    A year has 252 steps; what is not held earns nothing, and trades cost nothing. ``hold_`` is of holding always.
    """
    came = Came.of(y)
    h = came.values.shape[1]
    returns = came.values[:, -1] / came.last[:, 0] - 1
    held = np.where(outputs[:, h - 1] > came.last[:, 0], returns, 0.0)
    return _of_returns("", held, h) | _of_returns("hold_", returns, h)


def _of_returns(prefix: str, returns: AnyArray, steps: int) -> dict[str, float]:
    """Yearly volatility and Sharpe ratio, the largest fall from a height, and the loss of one origin in twenty."""
    year, spread = np.sqrt(252 / steps), float(returns.std())
    worth = np.concatenate([[1.0], np.cumprod(1 + returns)])
    found = {
        "volatility": spread * year,
        "sharpe_ratio": float(returns.mean()) / spread * year if spread > 0 else 0.0,
        "maximum_drawdown": float((1 - worth / np.maximum.accumulate(worth)).max()),
        "value_at_risk": -float(np.quantile(returns, 0.05)),
    }
    return {prefix + name: float(value) for name, value in found.items()}


def _beats(metric: str, *others: str) -> Callable[[Means], bool]:
    """Whether the spec is better than each of the other rows."""
    return lambda means: all(means[SPEC][metric] > means[other][metric] for other in others)


def _at_least(metric: str, least: float) -> Callable[[Means], bool]:
    return lambda means: means[SPEC][metric] >= least


def _surely_beats(*others: str) -> Callable[[Means], bool]:
    """Whether the paired interval of the gain over each of the other rows lies above 0."""
    return lambda means: all(means[other]["gain_low"] > 0 for other in others)


def _no_worse(*others: str) -> Callable[[Means], bool]:
    """Whether no paired interval of the gain over one of the other rows lies below 0."""
    return lambda means: all(means[other]["gain_high"] >= 0 for other in others)


def _always(means: Means) -> bool:
    """It stands beside others, whatever comes out."""
    return True


def _balanced_by(*steps: str) -> dict[str, Any]:
    return {"search.preparations": [{"name": step, "always": True} for step in steps]}


def _only(*names: str) -> dict[str, Any]:
    return {"search.estimators": list(names)}


def _nodes(name: str, **params: Any) -> dict[str, Any]:
    """One extractor of nodes alone, read by logistic regression."""
    entry = {"name": name, "params": {"graph": "cora.npz"} | params}
    return {"extractors": [entry]} | _only("logistic")


_SIGNS = "sign_digits/sign_digits.parquet"
_CELLS = "blood_cells/blood_cells.parquet"
_MR = "mr/mr.parquet"
_SST2 = "sst2/sst2.parquet"
_CREDIT = "german_credit/german_credit.csv.gz"
_CHURN = "telco_churn/telco_churn.csv.gz"
_CLOTHING = "women_clothing/women_clothing.parquet"
_FASHION = "fashion_products/fashion_products.parquet"
_HOUSES = "houses/houses.parquet"
_PUMP_AUTOENCODER = {"name": "series_autoencoder", "params": {"channels": 8, "layers": "convolutional"}}
_HOUSES_TABLE = {
    "data.label": "price",
    "data.source": "Ahmed and Moustafa 2016 (arXiv 1609.08399)",
    "data.columns": {"bedrooms": "numeric", "bathrooms": "numeric", "area": "numeric", "zipcode": "categorical"},
    "data.split": {"kind": "column", "column": "split"},
}
_CELLS_GAN = {
    "task": "multiclass",
    "data.label": "label",
    "data.source": "BCCD, every annotated box cropped",
    "data.licence": "MIT",
    "data.columns": {"image": "image"},
    "data.drop": ["box_w", "box_h", "source_image"],
    "extractors": ["torchvision"],
    "search.estimators": [{"name": "logistic", "params": {"class_weight": None}}],
}
_HOUSES_ALL = _HOUSES_TABLE | {
    "task": "regression",
    "data.columns": _HOUSES_TABLE["data.columns"]
    | {f"image_{room}": "image" for room in ("frontal", "bedroom", "bathroom", "kitchen")},
    "data.drop": ["house"],
    "search.metric": "r2",
    "search.fusions": ["concat", "gated"],
}

_MELS = {"rate": 8000, "high_hz": 3000, "seconds": 1}
_SOUNDS = [
    {
        "name": "cnn",
        "id": "picture",
        "fusion": {"name": "mel_picture", "params": _MELS | {"mels": 48, "size": 64, "range_db": 40}},
        "params": {"size": 48, "mode": "grey", "epochs": 16, "rotate": 0, "scale": 0, "erase": 0.2},
    },
    {"name": "log_mel", "params": _MELS | {"mels": 40}},
]
_ARIMA: dict[str, Any] = {"name": "arima", "params": {"models": 6, "steps": 250}}
_GRU: dict[str, Any] = {"cell": "gru", "window": 40, "hidden": 16, "epochs": 10, "windows": 16}
_INDEX = "stocks/sp500_daily.csv.gz"
_M4, _M3 = "m4_hourly/m4_hourly.parquet", "m3_monthly200/m3_monthly200.parquet"
_LSTM = {"name": "forecast_rnn", "params": {"window": 336, "epochs": 10, "windows": 24}}
_LOCAL = [
    "seasonal_naive",
    {"name": "seasonal_naive", "id": "weekly_naive", "params": {"period": 168}},
    {"name": "theta", "params": {"seasons": [24, 168]}},
    {"name": "ets", "params": {"seasons": [24, 168], "steps": 336}},
    {"name": "arima", "params": {"seasons": [24, 168], "steps": 336, "models": 6}},
    {"name": "autoregression", "params": {"seasons": [24, 168]}},
    {"name": "autoregression", "id": "autoregression_plain", "params": {"seasons": [24, 168], "logs": False}},
]
_MONTHLY: dict[str, Any] = {
    "data.source": "M3 competition, 200 of the monthly series (Mcomp)",
    "data.series.horizon": 18,
    "data.series.season": 12,
    "data.series.step": 9,
    "extractors": [
        "seasonal_naive",
        "theta",
        {"name": "theta", "id": "theta_half", "params": {"drift": "half"}},
        "ets",
        "arima",
        {"name": "autoregression", "params": {"logs": False}},
        {"name": "forecast_rnn", "params": {"epochs": 20, "windows": 24}},
    ],
    "search.metric": "smape",
}
_FASHION_IMAGES = {
    "data.label": "masterCategory",
    "data.source": "Fashion Product Images (small)",
    "data.licence": "MIT",
    "data.split": {"kind": "column", "column": "split"},
}
_FASHION_CODES = {
    "extractors.0.params": {"size": 32, "mode": "rgb", "width": 16, "features": 64, "epochs": 30, "pose": 0.1}
}


def _pixels(size: int, mode: str) -> dict[str, Any]:
    return {"extractors": [{"name": "pixels", "params": {"size": size, "mode": mode}}]}


SYSTEMS = {
    system.name: system
    for system in (
        System(
            name="cnn_svm",
            fuses="features of a pretrained CNN, a support vector machine",
            use="photos, few labels a class, no GPU",
            reference="Razavian et al., CNN features off-the-shelf, CVPRW 2014",
            metric="accuracy",
            rows={
                SPEC: Row("MobileNetV2, four depths, and SVM", _SIGNS),
                "pixels": Row(
                    "raw pixels and SVM",
                    _SIGNS,
                    {"extractors": [{"name": "pixels", "params": {"size": 32}}], **_only("svm")},
                ),
                "head": Row(
                    "MobileNetV2 and a linear head on its last layer",
                    _SIGNS,
                    {"extractors.0.params.layers": [], **_only("logistic")},
                ),
            },
            must="beats raw pixels with an SVM, and the CNN's own head, at equal labels",
            holds=_beats("accuracy", "pixels", "head"),
        ),
        System(
            name="transfer_pipeline",
            fuses="features of a pretrained CNN, scaling, gradient boosting",
            use="images from another field than the network's",
            reference="Yosinski et al., How transferable are features, NeurIPS 2014",
            metric="balanced_accuracy",
            rows={
                SPEC: Row("MobileNetV2 and boosting", _CELLS),
                "logistic": Row("MobileNetV2 and logistic regression", _CELLS, _only("logistic")),
            },
            must="balanced accuracy, beside logistic regression",
            holds=_always,
        ),
        System(
            name="bert_xgboost",
            fuses="sentence embeddings of a transformer, XGBoost",
            use="short texts, some thousand labels",
            reference="Kim 2014: 81.5 on MR, with word vectors; Wang and Manning 2012, NBSVM: 79.4 on MR",
            metric="accuracy",
            rows={
                SPEC: Row("MiniLM and XGBoost, MR", _MR),
                "sst2": Row("MiniLM and XGBoost, SST-2", _SST2, {"data.drop": []}),
                "tfidf": Row("word counts and XGBoost, MR", _MR, {"extractors": ["tfidf"]}),
            },
            must="accuracy on MR and SST-2, beside Kim 2014 and NBSVM",
            holds=_always,
        ),
        System(
            name="sentiment",
            fuses="a text CNN, a recurrent net with attention, a tuned encoder, an SVM on word counts, by predictions",
            use="short texts, when labels are some thousand and time is there",
            reference="Kim 2014: 81.5 on MR, mean of ten folds",
            metric="accuracy",
            rows={
                SPEC: Row("MR, fold 0", _MR),
                **{f"fold_{fold}": Row(f"MR, fold {fold}", review_fold(fold)) for fold in range(1, 10)},
            },
            must="accuracy of 0.815 at least, mean of ten folds",
            holds=lambda means: bool(np.mean([row["accuracy"] for row in means.values()]) >= 0.815),
        ),
        System(
            name="stacking",
            fuses="a neural network, a random forest, a meta-learner on their out-of-fold predictions",
            use="tables of a few thousand rows, learners that err differently",
            reference="Wolpert 1992; Lessmann et al. 2015: AUC 0.78 to 0.80",
            metric="roc_auc",
            rows={
                SPEC: Row("network and forest, stacked", _CREDIT),
                "network": Row("network alone", _CREDIT, _only("neural_head")),
                "forest": Row("forest alone", _CREDIT, _only("random_forest")),
            },
            must="AUC of 0.78 at least, as in Lessmann 2015",
            holds=_at_least("roc_auc", 0.78),
        ),
        System(
            name="heterogeneous_ensemble",
            fuses="a network, a forest, boosting, weights solved on out-of-fold predictions",
            use="any table, when one more tenth of a point counts",
            reference="Caruana et al., Ensemble selection from libraries of models, ICML 2004",
            metric="roc_auc",
            rows={
                SPEC: Row("weights optimised", _CHURN),
                "equal": Row("equal weights", _CHURN, {"search.ensemble.combiners": ["voting"]}),
            },
            must="weights, and their gain over equal weights with an interval",
            holds=_always,
        ),
        System(
            name="credit",
            fuses="deep tabular networks, tree ensembles, calibration",
            use="decisions by cost, where probabilities are read as such",
            reference="Lessmann et al. 2015: AUC 0.78 to 0.80",
            metric="roc_auc",
            rows={SPEC: Row("networks and trees, calibrated", _CREDIT)},
            must="AUC of 0.78 at least, with UCI's cost and the calibration error",
            holds=_at_least("roc_auc", 0.78),
            scores=credit_scores,
        ),
        System(
            name="neural_boosting",
            fuses="small neural networks, gradient boosting",
            use="smooth targets on tables",
            reference="Badirli et al., Gradient boosting neural networks (arXiv 2002.07971)",
            metric="r2",
            rows={
                SPEC: Row("boosted networks, diabetes", diabetes),
                "trees": Row("boosted trees, diabetes", diabetes, _only("lightgbm", "xgboost")),
                "houses": Row("boosted networks, houses", _HOUSES, _HOUSES_TABLE),
                "houses_trees": Row("boosted trees, houses", _HOUSES, _HOUSES_TABLE | _only("lightgbm", "xgboost")),
            },
            must="R² beside boosted trees, on diabetes and the table of houses",
            holds=_always,
        ),
        System(
            name="adaptive",
            fuses="feature selection during training, a network",
            use="tables with many columns that may say nothing",
            reference="Mocanu et al. 2018, Evci et al. 2020",
            metric="roc_auc",
            rows={
                SPEC: Row("adaptive network", _CHURN),
                "noise": Row(
                    f"the same with {NOISE_COLUMNS} columns of noise",
                    noisy_churn,
                    {f"data.columns.noise_{i}": "numeric" for i in range(NOISE_COLUMNS)},
                ),
                "noise_mlp": Row(
                    "a network without selection, with noise",
                    noisy_churn,
                    {f"data.columns.noise_{i}": "numeric" for i in range(NOISE_COLUMNS)}
                    | {"search.fusions": ["concat"], **_only("mlp")},
                ),
            },
            must="noise columns dropped, AUC within 0.005 of that without them",
            holds=lambda m: m["noise"]["roc_auc"] >= m[SPEC]["roc_auc"] - 0.005,
        ),
        System(
            name="churn",
            fuses="sentence embeddings and word counts, a table, XGBoost",
            use="customers with a record and a free text",
            reference="Agarap 2018 (arXiv 1805.03687)",
            metric="roc_auc",
            rows={
                SPEC: Row("table and text", _CLOTHING),
                "table": Row("table alone", _CLOTHING, {"extractors": ["tabular"]}),
                "text": Row("text alone", _CLOTHING, {"extractors": ["transformers", "tfidf"]}),
            },
            must="each part alone and fused; fused is the best",
            holds=_beats("roc_auc", "table", "text"),
        ),
        System(
            name="multimodal",
            fuses="image, text, table; a random forest, and what the search finds better",
            use="products, listings, records with a photo",
            reference="Shi et al., Benchmarking multimodal AutoML (arXiv 2111.02705)",
            metric="accuracy",
            rows={
                SPEC: Row("all modalities, the search's winner", _FASHION),
                "forest": Row("all modalities, random forest", _FASHION, _only("random_forest")),
                "houses": Row("houses: images and table, the winner", _HOUSES, _HOUSES_ALL, "r2"),
                "houses_forest": Row(
                    "houses: images and table, random forest", _HOUSES, _HOUSES_ALL | _only("random_forest"), "r2"
                ),
            },
            must="fused beats each modality alone, on both sets",
            holds=lambda m: (
                m[SPEC]["accuracy"] > m[SPEC]["best_alone"] and m["houses"]["r2"] > m["houses"]["best_alone"]
            ),
        ),
        System(
            name="medical",
            fuses="features of pretrained and trained CNNs, a support vector machine, class weights",
            use="images with rare classes",
            reference="BCCD; no published figure for crops",
            metric="f1_macro",
            rows={
                SPEC: Row("networks and SVM", _CELLS),
                "pixels": Row(
                    "raw pixels and SVM", _CELLS, {"extractors": [{"name": "pixels", "params": {"size": 32}}]}
                ),
            },
            must="macro F1 with its interval, above raw pixels",
            holds=_beats("f1_macro", "pixels"),
        ),
        System(
            name="dbn",
            fuses="restricted Boltzmann machines, pretrained layer by layer, a classical classifier",
            use="few labels, many images of the same kind",
            reference="Hinton, Osindero and Teh 2006",
            metric="accuracy",
            rows={
                SPEC: Row("pretrained layer by layer", "bundled://digits"),
                "random": Row(
                    "the same net from random weights",
                    "bundled://digits",
                    {"extractors.0.params.pretrain_epochs": 0},
                ),
            },
            must="beats the same net without pretraining, with few labels",
            holds=_beats("accuracy", "random"),
        ),
        System(
            name="gan_augmentation",
            fuses="a generator and a critic on the features of rare classes, a classical classifier",
            use="rare classes of some hundred rows each",
            reference="Goodfellow et al. 2014; Gulrajani et al. 2017; Douzas and Bacao 2018",
            metric="f1_macro",
            rows={
                SPEC: Row("drawn rows, german credit", _CREDIT),
                "none": Row("no augmentation", _CREDIT, _balanced_by()),
                "smote": Row("SMOTE", _CREDIT, _balanced_by("smote")),
                "weights": Row("weights of classes", _CREDIT, _balanced_by("weigh_classes")),
                "cells": Row("drawn rows, blood cells by MobileNetV2", _CELLS, _CELLS_GAN),
                "cells_none": Row("no augmentation, blood cells", _CELLS, _CELLS_GAN | _balanced_by(), beside="cells"),
                "cells_smote": Row("SMOTE, blood cells", _CELLS, _CELLS_GAN | _balanced_by("smote"), beside="cells"),
            },
            must="macro F1 beside no augmentation and SMOTE, and on neither set significantly below no augmentation",
            holds=_no_worse("none", "cells_none"),
        ),
        System(
            name="audio",
            fuses="a CNN on pictures of log-mel spectra, statistics of them, a table, a support vector machine",
            use="machines, calls, animals: sounds with a record beside them",
            reference="Hershey et al., CNN architectures for large-scale audio classification, ICASSP 2017",
            metric="accuracy",
            rows={
                SPEC: Row("sounds and the table", machine_sounds),
                "sound": Row("sounds alone", machine_sounds, {"extractors": _SOUNDS}),
                "table": Row("the table alone", machine_sounds, {"extractors": ["tabular"]}),
                "statistics": Row(
                    "statistics of spectra and the table", machine_sounds, {"extractors": [_SOUNDS[1], "tabular"]}
                ),
            },
            must="each alone and fused; the paired intervals of what fused gains over each lie above 0",
            holds=_surely_beats("sound", "table"),
        ),
        System(
            name="anomaly",
            fuses="autoencoders, recurrent and convolutional, statistics, five detectors, by their scores",
            use="machines that are known when they run well, faults that are not",
            reference="SKAB, all 34 files: F1 0.78, FAR 0.136 (convolutional autoencoder), 0.76, 0.266 (T² and Q)",
            metric="f1",
            rows={
                SPEC: Row("all fused, weights solved", pump_windows),
                "equal": Row(
                    "all fused, equal weights",
                    pump_windows,
                    {"search.ensemble.combiners": [{"name": "alarm", "params": {"combiner": "voting"}}]},
                ),
                "autoencoder": Row(
                    "convolutional autoencoder alone, T² of its errors",
                    pump_windows,
                    {"extractors": [_PUMP_AUTOENCODER], **_only("mahalanobis")},
                ),
                "isolation": Row(
                    "isolation forest on statistics alone",
                    pump_windows,
                    {"extractors": [{"name": "series_stats", "params": {"channels": 8}}], **_only("isolation_forest")},
                ),
            },
            must="F1 above 0.78 with a false alarm rate below 0.30, threshold chosen on training rows",
            holds=lambda m: m[SPEC]["f1"] > 0.78 and m[SPEC]["false_alarm_rate"] < 0.30,
        ),
        System(
            name="autoencoder_clusters",
            fuses="codes of an autoencoder, k-means, Gaussian mixtures, agglomerative clustering, DBSCAN",
            use="images without labels",
            reference="Xie, Girshick and Farhadi, Unsupervised deep embedding for clustering analysis, ICML 2016",
            metric="nmi",
            rows={
                SPEC: Row("codes, what the search takes", "bundled://digits"),
                **{
                    name: Row(f"codes, {name}", "bundled://digits", _only(name))
                    for name in ("kmeans", "gaussian_mixture", "agglomerative", "dbscan")
                },
                "pixels": Row("raw pixels, what the search takes", "bundled://digits", _pixels(8, "grey")),
                "pixels_agglomerative": Row(
                    "raw pixels, agglomerative", "bundled://digits", _pixels(8, "grey") | _only("agglomerative")
                ),
                "fashion": Row("photos of fashion, codes", _FASHION, _FASHION_IMAGES | _FASHION_CODES),
                "fashion_pixels": Row("photos of fashion, raw pixels", _FASHION, _FASHION_IMAGES | _pixels(16, "rgb")),
            },
            must="silhouette, stability, AIC and BIC, NMI and ARI against labels, beside clusters of raw pixels",
            holds=lambda m: (
                {"silhouette", "stability", "nmi", "ari"} <= m[SPEC].keys() & m["pixels"].keys()
                and {"aic", "bic"} <= m["gaussian_mixture"].keys()
            ),
        ),
        System(
            name="graph",
            fuses="graph networks (GraphSAGE, APPNP), random walks, classical classifiers",
            use="rows that are nodes: papers, users, accounts",
            reference="Kipf and Welling 2017: 0.815 on Cora with the fixed split; Velickovic et al. 2018: 0.830",
            metric="accuracy",
            rows={
                SPEC: Row("two networks and random walks", cora_rows),
                "features": Row("words of a paper alone", cora_rows, _nodes("propagated", hops=0)),
                "gcn": Row("graph convolutions alone", cora_rows, _nodes("gcn", features="hidden")),
                "node2vec": Row("random walks alone", cora_rows, _nodes("node2vec")),
                "inductive": Row(
                    "GraphSAGE, test nodes unknown to the graph",
                    cora_new_rows,
                    _nodes("sage", features="hidden"),
                    files={"extractors.0.params.graph": cora_without_test},
                ),
            },
            must="accuracy of 0.815 at least, as in Kipf and Welling 2017",
            holds=_at_least("accuracy", 0.815),
        ),
        System(
            name="finance",
            fuses="ARIMA, a GRU, a GRU on what ARIMA misses, weights searched",
            use="prices and rates, to see what is left beyond the last one",
            reference="Zhang 2003, a hybrid of ARIMA and neural networks; no trustworthy figure for this index",
            metric="mase",
            rows={
                SPEC: Row("ARIMA, GRU and hybrid, weighed", _INDEX),
                "arima": Row("ARIMA alone", _INDEX, {"extractors": [_ARIMA]}),
                "gru": Row("the GRU alone", _INDEX, {"extractors": [{"name": "forecast_rnn", "params": _GRU}]}),
                "hybrid": Row(
                    "the hybrid alone",
                    _INDEX,
                    {"extractors": [{"name": "arima_rnn", "params": _GRU | _ARIMA["params"]}]},
                ),
            },
            must="rolling origins beside naive and each part; volatility, Sharpe ratio, drawdown, value at risk",
            holds=_always,
            scores=trading_scores,
        ),
        System(
            name="forecasting",
            fuses="seasonal naive, theta, exponential smoothing, ARIMA, autoregression, one LSTM for all series",
            use="many series of one kind, each forecast some seasons ahead",
            reference="M4 hourly, OWA: Doornik 0.410, Smyl 0.440, FFORMA 0.484; M3, sMAPE on these 200: Theta 12.44",
            metric="owa",
            rows={
                SPEC: Row("M4 hourly, all forecasters", _M4),
                "local": Row("M4 hourly, without the LSTM", _M4, {"extractors": _LOCAL}),
                "lstm": Row("M4 hourly, the LSTM alone", _M4, {"extractors": [_LSTM]}),
                "monthly": Row("M3 monthly, 200 series", _M3, _MONTHLY, "smape"),
            },
            must="OWA below 0.484 on M4 hourly, sMAPE below 12.5 on 200 monthly series of M3",
            holds=lambda m: m[SPEC]["owa"] < 0.484 and m["monthly"]["smape"] < 12.5,
        ),
    )
}

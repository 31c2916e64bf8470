"""Systems of tables; only ``systems_set.py`` imports this."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes
from systems_base import (
    SPEC,
    Row,
    System,
    at_least,
    balanced_by,
    no_worse,
    only,
    stands_beside,
)
from systems_images import CELLS, HOUSES, HOUSES_TABLE

from hybrid_ray.types import AnyArray

FALSE_GOOD = 5.0
"""What it costs to give credit to one who does not pay, where to refuse one who does costs 1 (UCI)."""
NOISE_COLUMNS, NOISE_SEED = 20, 20_26
_CREDIT = "german_credit/german_credit.csv.gz"
_CHURN = "telco_churn/telco_churn.csv.gz"
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


def diabetes(data: Path) -> pd.DataFrame:
    """The diabetes study, bundled with scikit-learn."""
    frame: pd.DataFrame = load_diabetes(as_frame=True, scaled=False).frame
    return frame


def noisy_churn(data: Path) -> pd.DataFrame:
    """The churn table with as many columns again that say nothing: standard normal, from a seed of their own."""
    table = pd.read_csv(data / "telco_churn/telco_churn.csv.gz")
    noise = np.random.default_rng(NOISE_SEED).standard_normal((len(table), NOISE_COLUMNS))
    return table.assign(**{f"noise_{i}": noise[:, i] for i in range(NOISE_COLUMNS)})


def noise_read(shares: Mapping[str, float]) -> dict[str, float]:
    """Mean share of the chains that read a column of the table, and one of noise, where there are any."""
    noise = [share for name, share in shares.items() if name.startswith("noise_")]
    found = {"table_read": fmean(share for name, share in shares.items() if not name.startswith("noise_"))}
    return found | ({"noise_read": fmean(noise)} if noise else {})


def credit_scores(y: AnyArray, outputs: AnyArray) -> dict[str, float]:
    """UCI's cost a row, where credit is refused as soon as that costs less by what is predicted."""
    refused = outputs[:, 1] * FALSE_GOOD > outputs[:, 0]
    return {"uci_cost": float(np.where(y == 1, FALSE_GOOD * ~refused, refused).mean())}


SYSTEMS = (
    System(
        name="stacking",
        fuses="a neural network, a random forest, a meta-learner on their out-of-fold predictions",
        use="tables of a few thousand rows, learners that err differently",
        reference="Wolpert 1992; Lessmann et al. 2015: AUC 0.78 to 0.80",
        metric="roc_auc",
        rows={
            SPEC: Row("network and forest, stacked", _CREDIT),
            "network": Row("network alone", _CREDIT, only("neural_head")),
            "forest": Row("forest alone", _CREDIT, only("random_forest")),
        },
        must="AUC of 0.78 at least, as in Lessmann 2015",
        holds=at_least("roc_auc", 0.78),
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
        holds=stands_beside("roc_auc", "equal", gains=["equal"]),
    ),
    System(
        name="credit",
        fuses="deep tabular networks, tree ensembles, calibration",
        use="decisions by cost, where probabilities are read as such",
        reference="Lessmann et al. 2015: AUC 0.78 to 0.80",
        metric="roc_auc",
        rows={SPEC: Row("networks and trees, calibrated", _CREDIT)},
        must="AUC of 0.78 at least, with UCI's cost and the calibration error",
        holds=at_least("roc_auc", 0.78),
        scores=credit_scores,
        also=("uci_cost", "expected_calibration_error"),
    ),
    System(
        name="neural_boosting",
        fuses="small neural networks, gradient boosting",
        use="smooth targets on tables",
        reference="Badirli et al., Gradient boosting neural networks (arXiv 2002.07971)",
        metric="r2",
        rows={
            SPEC: Row("boosted networks, diabetes", diabetes),
            "trees": Row("boosted trees, diabetes", diabetes, only("lightgbm", "xgboost")),
            "houses": Row("boosted networks, houses", HOUSES, HOUSES_TABLE),
            "houses_trees": Row(
                "boosted trees, houses", HOUSES, HOUSES_TABLE | only("lightgbm", "xgboost"), beside="houses"
            ),
        },
        must="R² beside boosted trees, on diabetes and the table of houses; the reports plot predictions and residuals",
        holds=stands_beside("r2", "trees", "houses", "houses_trees", gains=["trees", "houses_trees"]),
        also=("root_mean_squared_error",),
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
                | {"search.fusions": ["concat"], **only("mlp")},
                beside="noise",
            ),
        },
        must="noise columns dropped (one is read by a tenth of the chains at most, in the mean), AUC within 0.005 of "
        "that without them",
        holds=lambda m: m["noise"]["noise_read"] <= 0.1 and m["noise"]["roc_auc"] >= m[SPEC]["roc_auc"] - 0.005,
        reads=noise_read,
        also=("table_read", "noise_read"),
    ),
    System(
        name="gan_augmentation",
        fuses="a generator and a critic on the features of rare classes, a classical classifier",
        use="rare classes of some hundred rows each",
        reference="Goodfellow et al. 2014; Gulrajani et al. 2017; Douzas and Bacao 2018",
        metric="f1_macro",
        rows={
            SPEC: Row("drawn rows, german credit", _CREDIT),
            "none": Row("no augmentation", _CREDIT, balanced_by()),
            "smote": Row("SMOTE", _CREDIT, balanced_by("smote")),
            "weights": Row("weights of classes", _CREDIT, balanced_by("weigh_classes")),
            "cells": Row("drawn rows, blood cells by MobileNetV2", CELLS, _CELLS_GAN),
            "cells_none": Row("no augmentation, blood cells", CELLS, _CELLS_GAN | balanced_by(), beside="cells"),
            "cells_smote": Row("SMOTE, blood cells", CELLS, _CELLS_GAN | balanced_by("smote"), beside="cells"),
        },
        must="macro F1 beside no augmentation and SMOTE, and on neither set significantly below no augmentation",
        holds=no_worse("none", "cells_none"),
    ),
)

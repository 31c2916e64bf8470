"""The data sets of ``quality.py``: what is predicted from which columns, how it is scored, and the rows of a part.

Only ``quality.py`` imports this. The test part is the set's own ``split``; the development part divides the training
rows once more, so that work on the project never looks at a test row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, f1_score, r2_score, roc_auc_score
from sklearn.model_selection import train_test_split

Part = Literal["dev", "test"]
DEV_SHARE, DEV_SEED = 0.25, 20_26
"""Which training rows are the development part."""
DIGITS = 7
"""Significant digits of a kept answer."""

Labels = np.ndarray[Any, Any]
Scorer = Callable[[Labels, Labels], float]


SCORERS: Mapping[str, Scorer] = {
    "roc_auc": lambda y, found: float(roc_auc_score(y, found)),
    "accuracy": lambda y, found: float(accuracy_score(y, found)),
    "f1_macro": lambda y, found: float(f1_score(y, found, average="macro")),
    "r2": lambda y, found: float(r2_score(y, found)),
}
"""All of them: higher is better. They compare the target with what ``answers`` made."""


def answers(metric: str, outputs: Labels) -> Labels:
    """What a metric reads of a system's outputs: one number a row (n,), short enough to be kept beside the code.

    Outputs are class probabilities (n, C) in the order of sorted labels, or values (n, 1). Of a ranking it is the
    probability of the second class, of labels the likeliest class, of values the value.
    """
    if metric in ("accuracy", "f1_macro"):
        return outputs.argmax(axis=1)
    kept = outputs[:, 1 if metric == "roc_auc" else 0]
    return np.array([float(f"{value:.{DIGITS}g}") for value in kept])


@dataclass(frozen=True)
class QualitySet:
    """One data set.

    Attributes
    ----------
    name, file : str
        The file lies in the data folder.
    label : str
    task : {"binary", "multiclass", "regression"}
    metric : str
        A key of ``SCORERS``.
    columns : dict of str to str
        Input columns and their kinds, as a spec has them.
    """

    name: str
    file: str
    label: str
    task: str
    metric: str
    columns: dict[str, str]

    def rows(self, data: Path, part: Part) -> pd.DataFrame:
        """Input columns, label, and ``split`` (train or test, of this part), in the file's order.

        Raises
        ------
        FileNotFoundError
            The data folder lacks the file.
        """
        path = data / self.file
        table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
        split = table["split"].where(table["split"] == "test", "train")
        if part == "dev":
            table, split = table[split == "train"], pd.Series("train", index=table.index[split == "train"])
            strata = None if self.task == "regression" else table[self.label]
            _, held = train_test_split(table.index, test_size=DEV_SHARE, random_state=DEV_SEED, stratify=strata)
            split.loc[held] = "test"
        return table[[*self.columns, self.label]].assign(split=split).reset_index(drop=True)

    def classes(self, rows: pd.DataFrame) -> list[Any]:
        """Sorted labels; empty for regression."""
        return [] if self.task == "regression" else sorted(rows[self.label].unique().tolist())

    def target(self, rows: pd.DataFrame) -> Labels:
        """Class codes in the order of ``classes``, or floats."""
        if self.task == "regression":
            return rows[self.label].to_numpy(np.float64)
        return np.searchsorted(np.array(self.classes(rows)), rows[self.label].to_numpy())

    def spec(self, path: Path) -> dict[str, Any]:
        """The spec that ours is given: no choice in it but what the data is and how it is scored."""
        return {
            "name": self.name,
            "task": self.task,
            "data": {
                "path": str(path),
                "label": self.label,
                "columns": self.columns,
                "split": {"kind": "column", "column": "split"},
            },
        }


def _kinds(**columns: str) -> dict[str, str]:
    """Columns by kind: names separated by commas."""
    return {name.strip(): kind for kind, names in columns.items() for name in names.split(",")}


SETS = {
    entry.name: entry
    for entry in (
        QualitySet(
            "german_credit",
            "german_credit/german_credit.csv.gz",
            "label_bad",
            "binary",
            "roc_auc",
            _kinds(
                numeric="duration_months, credit_amount, installment_rate, residence_since, age, existing_credits, "
                "people_liable",
                categorical="checking_status, credit_history, purpose, savings, employment_since, personal_status_sex, "
                "other_debtors, property, other_installment_plans, housing, job, telephone, foreign_worker",
            ),
        ),
        QualitySet(
            "telco_churn",
            "telco_churn/telco_churn.csv.gz",
            "Churn",
            "binary",
            "roc_auc",
            _kinds(
                numeric="tenure, MonthlyCharges, TotalCharges",
                categorical="gender, SeniorCitizen, Partner, Dependents, PhoneService, MultipleLines, InternetService, "
                "OnlineSecurity, OnlineBackup, DeviceProtection, TechSupport, StreamingTV, StreamingMovies, Contract, "
                "PaperlessBilling, PaymentMethod",
            ),
        ),
        QualitySet(
            "women_clothing",
            "women_clothing/women_clothing.parquet",
            "Recommended IND",
            "binary",
            "roc_auc",
            _kinds(
                text="Title, Review Text",
                numeric="Age, Positive Feedback Count",
                categorical="Division Name, Department Name, Class Name",
            ),
        ),
        QualitySet("mr", "mr/mr.parquet", "label", "binary", "accuracy", {"text": "text"}),
        QualitySet(
            "houses",
            "houses/houses.parquet",
            "price",
            "regression",
            "r2",
            _kinds(
                image="image_frontal, image_bedroom, image_bathroom, image_kitchen",
                numeric="bedrooms, bathrooms, area",
                categorical="zipcode",
            ),
        ),
        QualitySet(
            "fashion_products",
            "fashion_products/fashion_products.parquet",
            "season",
            "multiclass",
            "accuracy",
            _kinds(image="image", text="productDisplayName", categorical="gender, articleType, baseColour, usage"),
        ),
        QualitySet(
            "blood_cells", "blood_cells/blood_cells.parquet", "label", "multiclass", "f1_macro", {"image": "image"}
        ),
        QualitySet(
            "sign_digits", "sign_digits/sign_digits.parquet", "label", "multiclass", "accuracy", {"image": "image"}
        ),
    )
}

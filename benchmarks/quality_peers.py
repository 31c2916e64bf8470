"""The peers of ``quality.py``, each run as a script in whichever environment has it: files in, a file out.

    python benchmarks/quality_peers.py autogluon|stacking INPUT OUTPUT --seconds 240 [--features]

INPUT is a folder that ``quality.py`` prepared: ``rows.parquet`` (raw columns and ``split``), ``features.npz`` (frozen
features by extractor, all rows) and ``task.json``. OUTPUT is a JSON file: class probabilities or values of the test
rows, seconds of the fit, and what was fitted. This file imports nothing of hybrid_ray.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

MOST_TRIED = 256
"""Features, about, that boosting of the stacking looks at for each split."""
PIXELS = 12
"""Side of the thumbnails that a learner of tables is given where an image is all there is and no features are."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=["autogluon", "stacking"])
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--features", action="store_true", help="give the extracted features beside the raw columns")
    options = parser.parse_args()
    task = json.loads((options.input / "task.json").read_text())
    rows = pd.read_parquet(options.input / "rows.parquet")
    test = (rows.pop("split") == "test").to_numpy()
    features = dict(np.load(options.input / "features.npz")) if options.features else {}
    if options.peer == "autogluon":
        answer = fit_autogluon(task, rows, test, features, options.seconds)
    else:
        answer = fit_stacking(task, rows, test, features, options.seed)
    options.output.write_text(json.dumps(answer))


def fit_autogluon(
    task: dict[str, Any], rows: pd.DataFrame, test: np.ndarray, features: dict[str, np.ndarray], seconds: float
) -> dict[str, Any]:
    """AutoGluon-Tabular with its best quality preset, on raw columns (text as it is) and features if there are any."""
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  (the name that Ray reads)
    import autogluon.tabular
    import ray

    images = [name for name, kind in task["columns"].items() if kind == "image"]
    table = rows.drop(columns=images)
    if features:
        table = table.join(_frame(features, table.index))
    elif images and len(images) == len(task["columns"]):
        table = table.join(_thumbnails(rows[images], table.index))
    table = table.copy()
    kinds = task["columns"]
    for name in [name for name, kind in kinds.items() if kind == "categorical"]:
        table[name] = table[name].astype("string").astype("category")
    with tempfile.TemporaryDirectory() as folder:
        ray.init(num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False, _temp_dir=f"{folder}/ray")
        started = time.perf_counter()
        predictor = autogluon.tabular.TabularPredictor(
            label=task["label"],
            problem_type=task["task"],
            eval_metric=task["metric"],
            path=f"{folder}/models",
            verbosity=1,
        )
        predictor.fit(table[~test], presets="best_quality", time_limit=seconds, num_cpus=os.cpu_count())
        fitted = time.perf_counter() - started
        held = table[test].drop(columns=task["label"])
        if task["task"] == "regression":
            outputs = predictor.predict(held).to_numpy(np.float64).reshape(-1, 1)
        else:
            outputs = predictor.predict_proba(held)[task["classes"]].to_numpy(np.float64)
        board = predictor.leaderboard(silent=True)
        ray.shutdown()
    return {
        "outputs": outputs.tolist(),
        "seconds": fitted,
        "version": autogluon.tabular.__version__,
        "detail": board[["model", "score_val"]].head(12).to_dict("records"),
    }


def fit_stacking(
    task: dict[str, Any], rows: pd.DataFrame, test: np.ndarray, features: dict[str, np.ndarray], seed: int
) -> dict[str, Any]:
    """scikit-learn's stacking of the usual five, on the features, one-hot categories, numbers and word counts."""
    import sklearn
    from sklearn import ensemble, linear_model
    from sklearn.compose import make_column_transformer
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.impute import SimpleImputer
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    kinds = task["columns"]
    named = {kind: [c for c, k in kinds.items() if k == kind] for kind in set(kinds.values())}
    table = rows.copy()
    for name in named.get("text", []):
        table[name] = table[name].fillna("").astype(str)
    for name in named.get("categorical", []):
        table[name] = table[name].astype("string").fillna("missing").astype(str)
    dense = _frame(features, table.index)
    dense.columns = dense.columns.astype(str)
    table = table.join(dense)
    steps: list[Any] = []
    if dense.shape[1]:
        steps.append((make_pipeline(SimpleImputer(), StandardScaler()), list(dense.columns)))
    if named.get("numeric"):
        steps.append((make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), named["numeric"]))
    if named.get("categorical"):
        steps.append((OneHotEncoder(handle_unknown="ignore", sparse_output=False), named["categorical"]))
    words = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True), TruncatedSVD(200))
    steps += [(words, name) for name in named.get("text", [])]
    encoder = make_column_transformer(*steps, sparse_threshold=0.0)
    # Boosting on every feature for every class of wide rows would take longer than all others together have.
    share = min(1.0, MOST_TRIED / max(dense.shape[1], 1))
    if task["task"] == "regression":
        base = [
            ("ridge", linear_model.RidgeCV(np.logspace(-2, 4, 13))),
            ("forest", ensemble.RandomForestRegressor(200, n_jobs=-1, random_state=seed)),
            ("extra", ensemble.ExtraTreesRegressor(200, n_jobs=-1, random_state=seed)),
            ("boosting", ensemble.HistGradientBoostingRegressor(random_state=seed, max_features=share)),
            ("neighbours", KNeighborsRegressor(10)),
        ]
        model = make_pipeline(encoder, ensemble.StackingRegressor(base, linear_model.RidgeCV(), cv=5))
    else:
        base = [
            ("logistic", linear_model.LogisticRegression(C=0.1, max_iter=500)),
            ("forest", ensemble.RandomForestClassifier(200, n_jobs=-1, random_state=seed)),
            ("extra", ensemble.ExtraTreesClassifier(200, n_jobs=-1, random_state=seed)),
            ("boosting", ensemble.HistGradientBoostingClassifier(random_state=seed, max_features=share)),
            ("neighbours", KNeighborsClassifier(10)),
        ]
        final = linear_model.LogisticRegression(max_iter=500)
        model = make_pipeline(encoder, ensemble.StackingClassifier(base, final, cv=5))
    started = time.perf_counter()
    model.fit(table[~test].drop(columns=task["label"]), table.loc[~test, task["label"]])
    fitted = time.perf_counter() - started
    held = table[test].drop(columns=task["label"])
    outputs = model.predict(held).reshape(-1, 1) if task["task"] == "regression" else model.predict_proba(held)
    return {"outputs": outputs.tolist(), "seconds": fitted, "version": sklearn.__version__, "detail": []}


def _frame(features: dict[str, np.ndarray], index: pd.Index) -> pd.DataFrame:
    parts = [
        pd.DataFrame(values, index=index, columns=[f"{name}_{i}" for i in range(values.shape[1])])
        for name, values in sorted(features.items())
    ]
    return pd.concat(parts, axis=1) if parts else pd.DataFrame(index=index)


def _thumbnails(images: pd.DataFrame, index: pd.Index) -> pd.DataFrame:
    from PIL import Image

    def pixels(content: bytes) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB").resize((PIXELS, PIXELS)), np.float32).ravel()

    return _frame({name: np.stack([pixels(content) for content in images[name]]) for name in images}, index)


if __name__ == "__main__":
    main()

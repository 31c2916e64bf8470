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
FOLDS = 5
_LEAST_TREES, _MOST_TREES, _PROBED = 10, 200, 8
"""Trees of the stacking's forests, and those that tell what one takes."""
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
        answer = fit_stacking(task, rows, test, features, options.seconds, options.seed)
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
    task: dict[str, Any],
    rows: pd.DataFrame,
    test: np.ndarray,
    features: dict[str, np.ndarray],
    seconds: float,
    seed: int,
) -> dict[str, Any]:
    """scikit-learn's stacking of the usual five, on the features, one-hot categories, numbers and word counts.

    It knows no time limit: its forests get as many trees as half of the time holds.
    """
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
    regression = task["task"] == "regression"
    forests = (
        (ensemble.RandomForestRegressor, ensemble.ExtraTreesRegressor)
        if regression
        else (ensemble.RandomForestClassifier, ensemble.ExtraTreesClassifier)
    )
    started = time.perf_counter()
    held, y = table[test].drop(columns=task["label"]), table.loc[~test, task["label"]]
    X = encoder.fit_transform(table[~test].drop(columns=task["label"]))
    trees = _affordable(forests[0](_PROBED, n_jobs=-1, random_state=seed), X, y, seconds)
    forest, extra = (kind(trees, n_jobs=-1, random_state=seed) for kind in forests)
    if regression:
        base = [
            ("ridge", linear_model.RidgeCV(np.logspace(-2, 4, 13))),
            ("forest", forest),
            ("extra", extra),
            ("boosting", ensemble.HistGradientBoostingRegressor(random_state=seed, max_features=share)),
            ("neighbours", KNeighborsRegressor(10)),
        ]
        model = ensemble.StackingRegressor(base, linear_model.RidgeCV(), cv=FOLDS)
    else:
        base = [
            ("logistic", linear_model.LogisticRegression(C=0.1, max_iter=500)),
            ("forest", forest),
            ("extra", extra),
            ("boosting", ensemble.HistGradientBoostingClassifier(random_state=seed, max_features=share)),
            ("neighbours", KNeighborsClassifier(10)),
        ]
        model = ensemble.StackingClassifier(base, linear_model.LogisticRegression(max_iter=500), cv=FOLDS)
    model.fit(X, y)
    fitted = time.perf_counter() - started
    rows_held = encoder.transform(held)
    outputs = model.predict(rows_held).reshape(-1, 1) if regression else model.predict_proba(rows_held)
    detail = [{"trees": trees}]
    return {"outputs": outputs.tolist(), "seconds": fitted, "version": sklearn.__version__, "detail": detail}


def _affordable(forest: Any, X: np.ndarray, y: pd.Series, seconds: float) -> int:
    """Trees of a forest so that two kinds of them, fitted in each fold and once on all rows, take half of the time."""
    started = time.perf_counter()
    forest.fit(X, y)
    of_one = (time.perf_counter() - started) / _PROBED
    return int(np.clip(seconds / 2 / (2 * (FOLDS + 1) * of_one), _LEAST_TREES, _MOST_TREES))


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

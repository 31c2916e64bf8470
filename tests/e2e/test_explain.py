"""``explain``: a registered model, a file of rows, the cluster's workers."""

import json

import numpy as np
import pandas as pd
import pytest

from hybrid_ray.errors import BadInputError, DataError
from hybrid_ray.on_ray.explain import explain_file


def test_what_a_model_needs_and_what_it_does_not(run, cluster, tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"signal": rng.normal(size=300), "noise": rng.normal(size=300), "name": "same"})
    frame["label"] = np.where(frame["signal"] + rng.normal(0, 0.3, 300) > 0, "yes", "no")
    frame.to_csv(tmp_path / "rows.csv", index=False)
    spec = {
        "name": "explained",
        "task": "binary",
        "data": {
            "path": str(tmp_path / "rows.csv"),
            "label": "label",
            "columns": {"signal": "numeric", "noise": "numeric", "name": "categorical"},
        },
        "extractors": [{"name": "tabular"}],
        "search": {"trials": 2, "folds": 2, "estimators": ["logistic"], "ensemble": {"trials": 2}, "max_concurrent": 1},
    }
    store = str(tmp_path / "store")
    run(spec, store)

    out = tmp_path / "why" / "it"
    answer = explain_file(cluster, "explained", store, str(tmp_path / "rows.csv"), str(out), rows=200)
    assert (answer["rows"], answer["metric"]) == (200, "log_loss")
    found = {each["name"]: each for each in answer["importance"]}
    assert answer["importance"][0]["name"] == "signal"
    assert found["signal"]["low"] > 10 * abs(found["noise"]["mean"])
    assert found["name"]["mean"] == 0
    assert (found["signal"]["read"], found["name"]["read"]) == (1, 0)
    assert json.loads((out / "importance.json").read_text()) == answer
    assert (out / "importance.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "attributions.png").read_bytes().startswith(b"\x89PNG")
    told = json.loads((out / "attributions.json").read_text())
    assert len(told) == answer["attributed"] == 5
    for each in told:
        assert next(iter(each["columns"]["shares"])) == "signal"
        for level in ("columns", "modalities", "extractors", "members"):
            total = each[level]["base"] + sum(each[level]["shares"].values())
            assert total == pytest.approx(each["answer"], abs=1e-9)

    frame.drop(columns="label").to_csv(tmp_path / "bare.csv", index=False)
    with pytest.raises(DataError, match="label"):
        explain_file(cluster, "explained", store, str(tmp_path / "bare.csv"), str(out))
    with pytest.raises(BadInputError, match="--out"):
        explain_file(cluster, "explained", store, str(tmp_path / "rows.csv"), str(tmp_path / "rows.csv"))

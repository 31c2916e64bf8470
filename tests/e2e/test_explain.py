"""``explain``: a registered model, a file of rows, the cluster's workers."""

import json

import numpy as np
import pandas as pd
import pytest

from hybrid_ray.errors import BadInputError, DataError
from hybrid_ray.on_ray.explain import explain_file
from hybrid_ray.testing.graphs import png


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

    lined = explain_file(cluster, "explained", store, str(tmp_path / "rows.csv"), str(out), attributed=2, method="lime")
    assert lined["attributed"] == 2
    for each in json.loads((out / "attributions.json").read_text()):
        assert next(iter(each["columns"]["shares"])) == "signal"
        assert 0 < each["columns"]["r2"] <= 1
    with pytest.raises(BadInputError, match=r"--pixels: the model must have an extractor .* got \['tabular'\]"):
        explain_file(cluster, "explained", store, str(tmp_path / "rows.csv"), str(out), pieces=["pixels"])

    frame.drop(columns="label").to_csv(tmp_path / "bare.csv", index=False)
    with pytest.raises(DataError, match="label"):
        explain_file(cluster, "explained", store, str(tmp_path / "bare.csv"), str(out))
    with pytest.raises(BadInputError, match="--out"):
        explain_file(cluster, "explained", store, str(tmp_path / "rows.csv"), str(tmp_path / "rows.csv"))


def test_which_pixels_and_tokens_answers_come_from(run, cluster, tmp_path):
    """A bright corner and a word decide; the first row has neither an image nor a text."""
    rng = np.random.default_rng(0)
    lines = []
    for i in range(80):
        pixels = rng.integers(0, 90, (16, 16))
        pixels[:6, :6] += 160 * (i % 2)
        (tmp_path / f"{i}.png").write_bytes(png(pixels))
        lines.append(
            {"photo": f"{i}.png", "title": f"an old {'river' if i % 2 else 'engine'} and film", "label": i % 2}
        )
    lines[0] |= {"photo": None, "title": None}
    path = str(tmp_path / "rows.csv")
    pd.DataFrame(lines).to_csv(path, index=False)
    spec = {
        "name": "seen",
        "task": "binary",
        "data": {"path": path, "label": "label", "columns": {"photo": "image", "title": "text"}},
        "extractors": [
            {"name": "cnn", "params": {"size": 16, "mode": "grey", "width": 4, "features": 8, "epochs": 4}},
            {"name": "text_cnn", "params": {"embedding": 8, "filters": 4, "epochs": 8, "lr": 0.01}},
        ],
        "search": {"trials": 2, "folds": 2, "estimators": ["logistic"], "ensemble": {"trials": 2}, "max_concurrent": 1},
    }
    store = str(tmp_path / "store")
    run(spec, store)
    out = tmp_path / "why"
    answer = explain_file(cluster, "seen", store, path, str(out), repeats=1, attributed=79, pieces=["pixels", "tokens"])
    assert [note.rpartition("/")[2] for note in answer["notes"]] == ["pixels.png", "tokens.html"]
    told = {kind: json.loads((out / f"{kind}.json").read_text()) for kind in ("pixels", "tokens")}
    maps = np.load(out / "pixels.npz")
    assert len(told["pixels"]) == len(told["tokens"]) == len(maps) == answer["attributed"] - 1 == 78
    for each in told["pixels"]:
        each["values"] = maps[each["map"]]
        assert each["values"].shape == (16, 16)
    for each in (*told["pixels"], *told["tokens"]):
        assert np.sum(each["values"]) + each["gap"] == pytest.approx(each["answer"] - each["nothing"], abs=1e-6)
    assert {"river", "engine"} & set(told["tokens"][0]["tokens"])
    assert (out / "pixels.png").read_bytes().startswith(b"\x89PNG")
    assert "river" in (out / "tokens.html").read_text()
    with pytest.raises(BadInputError, match="--tokens: must be told of at least one row; got --attribute 0"):
        explain_file(cluster, "seen", store, path, str(out), attributed=0, pieces=["tokens"])

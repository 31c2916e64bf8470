"""A run in which everything that can be a plugin is one of another package."""

import numpy as np
import pandas as pd
import pyarrow as pa

from hybrid_ray.data.columns import coerce
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot


def test_a_run_of_plugins_that_were_found_by_their_entry_points(run, tmp_path):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 80)
    rows = pd.DataFrame(
        {
            "words": [rng.choice(["good", "fine"] if v else ["bye", "poor"]) for v in y],
            "colour": rng.choice(["red", "blue"], 80),
            "label": y,
        }
    )
    rows.loc[::9, "colour"] = None
    rows.to_parquet(tmp_path / "rows.parquet")
    spec = {
        "name": "toys",
        "task": "binary",
        "data": {
            "path": str(tmp_path / "rows.parquet"),
            "label": "label",
            "columns": {"words": "text", "colour": "categorical"},
        },
        "extractors": [{"name": "toy", "fusion": "toy_words"}],
        "search": {
            "trials": 2,
            "batch": 2,
            "folds": 2,
            "estimators": ["toy_centroid"],
            "fusions": ["toy_stack"],
            "preparations": [{"name": "toy_shrink", "always": True}],
            "ensemble": {"trials": 1, "combiners": ["toy_middle"]},
            "max_concurrent": 1,
        },
    }
    answer = run(spec, tmp_path / "store")
    assert answer["members"]
    assert answer["extraction"]["computed"] < 80  # equal rows once: what is fused is known again by its columns
    assert answer["test"]["accuracy"] > answer["baselines"]["naive"]["accuracy"]

    graph = ModelStore(StoreRoot(str(tmp_path / "store"))).load("toys")
    (extractor,) = graph.extractors.values()
    assert (extractor.name, extractor.entry.name, graph.decision.name) == ("toy", "toy_words", "toy_middle")
    steps = {step.name for member in graph.members for chain in member.chains for step in chain.steps}
    assert steps == {"toy_shrink"}
    # A row without one of its parts is answered, with what stands for it; a row without any as well.
    some = pa.table({"words": ["good", None], "colour": pa.nulls(2, pa.string())})
    fused = extractor.fusion.combine(coerce(some, extractor.columns).batch, extractor.columns)
    assert fused.values.tolist() == ["- | good", None]
    assert graph.outputs(coerce(some.select(["words"]), graph.columns).batch).sum(axis=1).round(6).tolist() == [1, 1]

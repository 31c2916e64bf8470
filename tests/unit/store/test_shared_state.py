"""Fold copies of a tuned extractor: their pretrained weights lie in an artifact once."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from hybrid_ray.candidate import Candidate
from hybrid_ray.errors import ArtifactError
from hybrid_ray.extractors.base import FitContext, build_extractor
from hybrid_ray.graph import Graph, Member, fit_chain
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import FUSIONS
from hybrid_ray.store.artifact import load_graph
from hybrid_ray.store.golden import make_golden
from hybrid_ray.store.models import ModelStore
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.testing.encoders import tiny_encoder
from hybrid_ray.testing.rows import toy_batch, toy_labels

COLUMNS = {"text": "text"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    load_plugins()
    folder = tiny_encoder(tmp_path_factory.mktemp("encoder") / "tiny")
    batch, y = toy_batch(COLUMNS, 48, missing=False), toy_labels(48)
    params = {"model": str(folder), "max_length": 16, "blocks": 1, "rank": 2, "epochs": 1}
    extractors, chains = {}, []
    for fold in (0, 1):
        extractor = build_extractor("tuned_transformers", params, COLUMNS)
        extractor.fit(extractor.prepare(batch), y, FitContext("multiclass", 3, seed=fold))
        extractors[f"text@{fold}"] = extractor
        candidate = Candidate(("text",), "concat", "logistic", {"pca": 8}, {})
        blocks, keys = {"text": extractor.transform(batch)}, {"text": f"text@{fold}"}
        chains.append(fit_chain(candidate, blocks, y, task="multiclass", n_outputs=3, seed=0, keys=keys))
    member = Member("logistic", candidate, chains)
    graph = Graph("tuned", "multiclass", "label", COLUMNS, ["a", "b", "c"], extractors, [member], None)
    pool = FUSIONS.get("linear_pool")
    graph.decision = pool(pool.Params()).fit(graph.member_outputs(graph.extract(batch)), y, "multiclass")
    golden = make_golden(graph, pa.table({"text": [str(text) for text in batch["text"][:8]]}))
    models = ModelStore(StoreRoot(str(tmp_path_factory.mktemp("store"))))
    artifact = Path(models.register(graph, golden).uri)
    # What the parameters name is gone: the artifact must do without.
    folder.rename(folder.with_name("moved"))
    return graph, batch, artifact


def test_pretrained_weights_lie_there_once_and_every_copy_answers(saved):
    graph, batch, folder = saved
    assert len(list(folder.rglob("model.safetensors"))) == 1
    assert len(list(folder.rglob("tensors.safetensors"))) >= 2
    loaded = load_graph(folder)
    np.testing.assert_allclose(loaded.outputs(batch), graph.outputs(batch), atol=1e-6)
    first, second = loaded.extractors.values()
    assert second.split() is first.split(), "copies load their pretrained weights once"
    assert np.abs(first.transform(batch).values - second.transform(batch).values).max() > 1e-4


def test_a_copy_is_loaded_by_itself_too(saved):
    from hybrid_ray.store.artifact import Artifact

    graph, batch, folder = saved
    second = Artifact(folder).extractor("text@1")
    second.setup()
    expected = graph.extractors["text@1"].transform(batch).values
    np.testing.assert_allclose(second.transform(batch).values, expected, atol=1e-6)


def test_a_loaded_graph_is_saved_as_it_was(saved, tmp_path):
    from hybrid_ray.store.artifact import save_graph

    graph, batch, folder = saved
    save_graph(StoreRoot(str(tmp_path)), "again", load_graph(folder), None)
    assert len(list((tmp_path / "again").rglob("model.safetensors"))) == 1
    np.testing.assert_allclose(load_graph(tmp_path / "again").outputs(batch), graph.outputs(batch), atol=1e-6)


def test_damage_to_what_copies_share_is_seen(saved, tmp_path):
    import shutil

    _, _, folder = saved
    broken = Path(shutil.copytree(folder, tmp_path / "broken"))
    weights = next(broken.rglob("model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtifactError, match=r"model\.safetensors"):
        load_graph(broken)

import io
import json
import zipfile

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from hybrid_ray.errors import ArtifactError
from hybrid_ray.estimators import codecs
from hybrid_ray.estimators.codecs import from_skops, to_skops
from hybrid_ray.estimators.models.hist import ALLOWED, BLOB, HistClassifier
from hybrid_ray.types import State

LINEAR = frozenset({"sklearn.linear_model._logistic.LogisticRegression"})


@pytest.fixture(scope="module")
def fitted():
    X = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    return LogisticRegression().fit(X, X[:, 0] > 0), X


def rewritten(data: bytes, change) -> bytes:
    """The same archive with another schema."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            if name == "schema.json":
                schema = json.loads(old.read(name))
                change(schema)
                new.writestr(name, json.dumps(schema))
            else:
                new.writestr(name, old.read(name))
    return out.getvalue()


def test_what_is_allowed_comes_back(fitted):
    model, X = fitted
    loaded = from_skops(to_skops(model, LINEAR), LINEAR)
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


def test_a_type_that_skops_trusts_and_the_family_does_not_is_refused(fitted):
    data = to_skops(fitted[0], LINEAR)
    with pytest.raises(ArtifactError, match=r"only hold types of its family.*LogisticRegression"):
        from_skops(data, ALLOWED)
    with pytest.raises(ArtifactError, match="only hold types of its family"):
        to_skops(fitted[0], frozenset())


def planted_function():
    from skops.io import dumps

    return dumps(FunctionTransformer(func=np.sin))


def test_functions_are_refused_however_they_are_named():
    data = planted_function()
    with pytest.raises(ArtifactError, match=r"only hold types of its family.*FunctionTransformer"):
        from_skops(data, LINEAR)
    # Even when every type's name is on the list, an entry that names code is not data.
    with pytest.raises(ArtifactError, match=r"\['FunctionNode'\]"):
        from_skops(
            data,
            frozenset({"sklearn.preprocessing._function_transformer.FunctionTransformer", "numpy.sin", "numpy.ufunc"}),
        )


@pytest.mark.parametrize(
    "planted",
    [
        {"__module__": "os", "__class__": "system", "__loader__": "FunctionNode", "content": {}},
        {"__module__": "builtins", "__class__": "eval", "__loader__": "TypeNode"},
        {"__module__": "subprocess", "__class__": "Popen", "__loader__": "ObjectNode", "content": None},
        {"__module__": "builtins", "__class__": "dict", "__loader__": "MethodNode", "content": {"func": "clear"}},
        {"__module__": "operator", "__class__": "methodcaller", "__loader__": "OperatorFuncNode", "attrs": []},
        {"__class__": "str", "__module__": None, "__loader__": "JsonNode"},
    ],
    ids=lambda planted: planted["__loader__"],
)
def test_a_planted_entry_is_refused_wherever_it_stands(fitted, planted):
    data = to_skops(fitted[0], LINEAR)
    deep = rewritten(data, lambda schema: schema["content"]["content"].update({"coef_": [{"x": planted}]}))
    with pytest.raises(ArtifactError, match="only hold types of its family"):
        from_skops(deep, LINEAR)


def test_a_planted_type_in_a_saved_family_model_is_refused():
    X = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
    state = HistClassifier(n_estimators=3).fit(X, (X[:, 0] > 0).astype(int)).pack()
    bad = rewritten(
        state.blobs[BLOB],
        lambda schema: schema["content"]["content"].update(
            {"evil": {"__module__": "os", "__class__": "system", "__loader__": "FunctionNode"}}
        ),
    )
    with pytest.raises(ArtifactError, match=r"os\.system"):
        HistClassifier.unpack(State(state.meta, state.tensors, {BLOB: bad}))


@pytest.mark.parametrize("data", [b"", b"not a zip", b"\x80\x04K\x01."], ids=["empty", "text", "pickle"])
def test_other_bytes_are_refused(data):
    with pytest.raises(ArtifactError, match="must be a skops file"):
        from_skops(data, LINEAR)


def test_an_archive_without_schema_or_with_a_broken_one_is_refused():
    for content in ({}, {"schema.json": b"{"}, {"schema.json": b"[" * 100_000}):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            for name, text in content.items():
                archive.writestr(name, text)
        with pytest.raises(ArtifactError, match="must be a skops file"):
            from_skops(out.getvalue(), LINEAR)


def test_an_archive_that_lacks_an_array_is_refused(fitted):
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(to_skops(fitted[0], LINEAR))) as old, zipfile.ZipFile(out, "w") as new:
        new.writestr("schema.json", old.read("schema.json"))
    with pytest.raises(ArtifactError, match="must load"):
        from_skops(out.getvalue(), LINEAR)


def test_the_unpacked_size_is_bounded(fitted, monkeypatch):
    data = to_skops(fitted[0], LINEAR)
    monkeypatch.setattr(codecs, "MAX_BYTES", 100)
    with pytest.raises(ArtifactError, match="must be below 100 bytes"):
        from_skops(data, LINEAR)

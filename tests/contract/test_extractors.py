import pytest

from hybrid_ray.errors import SpecError
from hybrid_ray.extractors.base import build_extractor
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import EXTRACTORS
from hybrid_ray.testing.encoders import tiny_sentence_encoder
from hybrid_ray.testing.extractors import Case, cases, yield_checks

load_plugins()
BUILT_IN = {
    "torchvision",
    "transformers",
    "tabular",
    "tabular_target",
    "tabular_network",
    "tabular_autoencoder",
    "pixels",
    "tfidf",
    "cnn",
    "tuned_torchvision",
    "tuned_transformers",
    "autoencoder",
    "dbn",
    "text_cnn",
    "text_rnn",
    "text_transformer",
    "series_cnn",
    "series_rnn",
    "series_transformer",
    "series_autoencoder",
    "series_stats",
    "log_mel",
    "propagated",
    "node2vec",
    "gcn",
    "sage",
    "gat",
    "appnp",
    "arima",
    "arima_rnn",
    "autoregression",
    "ets",
    "forecast_rnn",
    "naive2",
    "seasonal_naive",
    "theta",
}
NAMES = [
    name
    for name, plugin in EXTRACTORS.items()
    if plugin.__module__.startswith(("hybrid_ray.extractors", "hybrid_ray.testing.hashing"))
]

OF_INSTALLED = {"check_features", "check_missing", "check_state_round_trip"}
"""Checks of encoders of installed packages, which take long: a made encoder, the same code, passes all of them."""
CASES = [
    pytest.param(name, case, check, id=f"{name}-{case}-{check.__name__}")
    for name in NAMES
    for case in cases(EXTRACTORS.get(name))
    for check in yield_checks(EXTRACTORS.get(name))
    if check.__name__ in OF_INSTALLED or not str(getattr(case.params, "model", "")).startswith("package:")
]
TUNED = {"text": {"text": "text"}, "texts": {"title": "text", "body": "text"}}
TUNED_PARAMS = {"text": {}, "texts": {"drop": 0.2, "activations": "fp16", "cache_mb": 0}}
TUNED_CHECKS = list(yield_checks(EXTRACTORS.get("tuned_transformers")))
TRANSFORMERS_CHECKS = list(yield_checks(EXTRACTORS.get("transformers")))


@pytest.mark.parametrize(("name", "case", "check"), CASES)
def test_extractor_contract(name, case, check):
    check(EXTRACTORS.get(name), case)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny_sentence_encoder(tmp_path_factory.mktemp("encoder") / "tiny")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("columns", [{"text": "text"}, {"title": "text", "body": "text"}], ids="+".join)
@pytest.mark.parametrize("check", TRANSFORMERS_CHECKS, ids=lambda check: check.__name__)
def test_a_made_encoder_keeps_the_contract(encoder, check, columns, precision):
    plugin = EXTRACTORS.get("transformers")
    check(plugin, Case(plugin.Params(model=str(encoder), precision=precision), columns))


@pytest.mark.parametrize("compress", [{"int8": "weights"}, {"prune": 0.3}, {"int8": "dynamic", "prune": 0.3}], ids=str)
@pytest.mark.parametrize("check", TRANSFORMERS_CHECKS, ids=lambda check: check.__name__)
def test_a_made_encoder_that_was_made_smaller_keeps_the_contract(encoder, check, compress):
    plugin = EXTRACTORS.get("transformers")
    check(plugin, Case(plugin.Params(model=str(encoder), precision="fp32", compress=compress), {"text": "text"}))


@pytest.mark.parametrize("case", TUNED)
@pytest.mark.parametrize("check", TUNED_CHECKS, ids=lambda check: check.__name__)
def test_a_tuned_made_encoder_keeps_the_contract(encoder, check, case):
    plugin = EXTRACTORS.get("tuned_transformers")
    params = plugin.Params(model=str(encoder), blocks=1, rank=2, epochs=1, **TUNED_PARAMS[case])
    check(plugin, Case(params, TUNED[case]))


def test_every_built_in_extractor_is_there():
    assert set(NAMES) >= BUILT_IN


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_a_plugin_refuses_columns_of_another_kind(name):
    wrong = "image" if "image" not in EXTRACTORS.get(name).tags.kinds else "text"
    with pytest.raises(SpecError, match=rf"{name}\.columns: must be of kind .*; got 'other' of kind '{wrong}'"):
        build_extractor(name, {}, {"other": wrong})


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_fault_of_a_plugin_is_told_at_once(name):
    with pytest.raises(SpecError) as raised:
        build_extractor(name, {"nonsense": 1}, {})
    assert [fault.partition(":")[0] for fault in raised.value.faults] == [f"{name}.columns", f"{name}.params.nonsense"]

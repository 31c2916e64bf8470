"""Fields that came later change no fingerprint as long as they stand at their default."""

from typing import ClassVar

from pydantic import Field

from hybrid_ray.extractors.base import build_extractor
from hybrid_ray.extractors.fused import FusionEntry, build_fused
from hybrid_ray.params import PluginParams
from hybrid_ray.plugins import load_plugins
from hybrid_ray.registry import EXTRACTORS, FUSIONS


class Example(PluginParams):
    first: int = 1
    second: int = Field(2, ge=0)
    later: ClassVar[frozenset[str]] = frozenset({"second"})


def test_a_later_field_counts_once_it_is_changed():
    assert Example().identity() == {"first": 1}
    assert Example(second=2).identity() == {"first": 1}
    assert Example(second=3).identity() == {"first": 1, "second": 3}


def test_later_fields_are_fields():
    load_plugins()
    for registry in (EXTRACTORS, FUSIONS):
        for name, plugin in registry.items():
            assert plugin.Params.later <= set(plugin.Params.model_fields), name


def test_fingerprints_hold_what_was_changed_and_nothing_else():
    def tfidf(**params):
        return build_extractor("tfidf", params, {"text": "text"})

    assert tfidf().identity() == {"max_features": 2000, "words": 2, "chars": 0, "min_count": 2}
    assert tfidf(max_share=1.0).fingerprint() == tfidf().fingerprint()
    assert tfidf(max_share=0.5).fingerprint() != tfidf().fingerprint()
    cleaned = [
        build_fused("tfidf", {}, {"text": "text"}, FusionEntry("cleaned", params)).fingerprint()
        for params in ({}, {"leave_out": []}, {"leave_out": ["film"]})
    ]
    assert cleaned[0] == cleaned[1] != cleaned[2]

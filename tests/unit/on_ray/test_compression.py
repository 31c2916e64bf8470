"""Whether a time limit leaves the time for smaller networks is decided once in a run."""

import time
from types import SimpleNamespace

import pytest

from hybrid_ray.on_ray.compression import _has_time
from hybrid_ray.search.budget import Aftermath
from hybrid_ray.store.root import StoreRoot


@pytest.mark.parametrize(("left_s", "first"), [(30.0, False), (3000.0, True)])
def test_the_first_verdict_stays_when_a_run_goes_on(tmp_path, left_s, first):
    after = Aftermath(slots=1, folds=2, refit=True, members=1, smaller_s=600.0)
    found = SimpleNamespace(aftermath=after, candidates=SimpleNamespace(ranked_trials=list))

    def job(seconds):
        until = None if seconds is None else time.time() + seconds
        return SimpleNamespace(until=until, root=StoreRoot(str(tmp_path)), run_id="0" * 16)

    assert _has_time(job(left_s), found) is first
    assert _has_time(job(3000.0 if not first else 30.0), found) is first
    assert _has_time(job(None), found)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_ray.extractors.passes import fixed_passes, packed_passes

LENGTHS = st.lists(st.integers(1, 256), min_size=1, max_size=60)


@pytest.mark.parametrize("tokens", [1, 7, 20, 64, 10_000])
def test_packed_passes_hold_every_text_once_and_no_more_tokens_than_allowed(tokens):
    lengths = np.random.default_rng(0).integers(1, 40, 57)
    passes = list(packed_passes(lengths, tokens))
    assert sorted(np.concatenate([p.texts for p in passes])) == list(range(57))
    for texts, rows, width in passes:
        assert rows == len(texts)
        assert width == lengths[texts].max()
        assert rows * width <= max(tokens, width)


@given(LENGTHS, st.integers(1, 2048))
def test_fixed_passes_hold_every_text_once_with_room_for_it(lengths, tokens):
    sizes = np.array(lengths)
    passes = list(fixed_passes(sizes, tokens, 256))
    assert sorted(np.concatenate([p.texts for p in passes])) == list(range(len(lengths)))
    for texts, rows, width in passes:
        assert len(texts) <= rows
        assert sizes[texts].max() <= width <= 256
        assert rows * width <= max(tokens, width)


@given(LENGTHS, st.integers(1, 2048), st.data())
def test_the_shape_of_a_fixed_pass_follows_from_a_texts_own_length(lengths, tokens, data):
    position = data.draw(st.integers(0, len(lengths) - 1))
    (alone,) = fixed_passes(np.array(lengths[position : position + 1]), tokens, 256)
    (company,) = (p for p in fixed_passes(np.array(lengths), tokens, 256) if position in p.texts)
    assert (alone.rows, alone.width) == (company.rows, company.width)


def test_the_last_width_is_the_longest_that_a_text_may_be():
    widths = [p.width for p in fixed_passes(np.array([3, 8, 9, 40, 50]), 128, 50)]
    assert widths == [8, 16, 48, 50]
    assert [p.width for p in fixed_passes(np.array([5]), 128, 5)] == [5]
    assert list(fixed_passes(np.array([], np.int64), 128, 50)) == []

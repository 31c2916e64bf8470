"""Texts in plain words: what is left out, and what is left where nothing would be."""

import pickle
from typing import get_args

import numpy as np
import pytest
from pydantic import ValidationError

from hybrid_ray.fusion.cleaned import Cleaned, CleanedParams
from hybrid_ray.fusion.stop_words import Language, stop_words


def cleaned(text, **params):
    return Cleaned(CleanedParams(**params))(text)


@pytest.mark.parametrize(
    ("text", "params", "expected"),
    [
        ("<p>Good &amp; <b>CHEAP</b></p><br/>", {}, "good & cheap"),
        ("2 < 3 and 4 > 1", {}, "2 < 3 and 4 > 1"),
        ("see https://a.b/c?d=1 or me@x.org.", {}, "see link or address."),
        ("ﬁne Ⅷ", {}, "fine viii"),
        ("Été à Zürich", {"accents": False}, "ete a zurich"),
        ("room 12 of 345", {"digits": False}, "room 00 of 000"),
        ("This is not the best movie", {"stop_words": "english"}, "not best movie"),
        ("Das ist der Zug nach Köln, nicht mehr", {"stop_words": "german"}, "zug köln, nicht mehr"),
        ("Ils étaient à Paris", {"stop_words": "french", "accents": False}, "paris"),
        ("The VERY best", {"leave_out": ["Very"]}, "the best"),
        ("running dogs, happily", {"stem": "english"}, "run dog, happili"),
        ("die Häuser", {"stem": "german"}, "die haus"),
        ("A\n B", {"lower": False, "markup": False, "links": False}, "A B"),
        ("The and OF", {"stop_words": "english"}, "the and of"),
        ("<br>", {}, "empty"),
        ("?!", {"stop_words": "english"}, "?!"),
    ],
    ids=str,
)
def test_what_stays(text, params, expected):
    assert cleaned(text, **params) == expected


def test_texts_of_a_row_stand_in_the_order_of_names():
    batch = {"b": np.array(["<i>Two</i>", None, None], object), "a": np.array(["One", "One", None], object)}
    kinds = {"b": "text", "a": "text"}
    assert Cleaned(CleanedParams()).combine(batch, kinds).values.tolist() == ["one two", "one missing", None]
    assert Cleaned(CleanedParams(missing="")).combine(batch, kinds).values.tolist() == ["one two", "one", None]


def test_a_language_that_is_not_known_is_refused():
    with pytest.raises(ValidationError, match=r"must be one of .*got 'englisch'. Did you mean 'english'"):
        CleanedParams(stem="englisch")
    with pytest.raises(ValidationError, match="stop_words"):
        CleanedParams(stop_words="englisch")


def test_stop_words_are_single_words_of_languages_that_have_stems():
    import snowballstemmer

    for language in get_args(Language):
        words = stop_words(language)
        assert len(words) > 75
        assert all(word == word.lower() and word.isalpha() for word in words)
        assert language in snowballstemmer.algorithms()
    assert not stop_words("german") & {"nicht", "kein", "nie"}


def test_it_travels_after_use():
    fusion = Cleaned(CleanedParams(stem="english", stop_words="english"))
    assert fusion("the dogs") == "dog"
    assert pickle.loads(pickle.dumps(fusion))("the cats") == "cat"


def test_negations_stay_and_words_to_leave_out_are_read_as_texts_are():
    text = "it couldnt work and hasnt helped; without joy"
    assert cleaned(text, stop_words="english") == "couldnt work hasnt helped; without joy"
    assert cleaned("Ein CAFÉ über alles", accents=False, leave_out=("Café", "über")) == "ein alles"
    assert cleaned("year 2020 good", digits=False, leave_out=("2020",)) == "year good"


def test_addresses_are_found_beside_long_runs_of_letters_and_dots():
    assert cleaned("write to Ann.B+c@mail.example.com, soon") == "write to address, soon"
    long = "a." * 20_000
    assert cleaned(long) == long
    assert cleaned(f"{long} x@y.org") == f"{long} address"

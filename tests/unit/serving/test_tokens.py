"""Tokens let in whom they should, and the store never holds one."""

import pytest

from hybrid_ray.errors import BadInputError, StoreError
from hybrid_ray.serving.tokens import Keyring, TokenStore
from hybrid_ray.store.root import StoreRoot


@pytest.fixture
def root(tmp_path):
    return StoreRoot(str(tmp_path))


@pytest.fixture
def store(root):
    return TokenStore(root)


def test_a_token_is_known_by_its_text_alone(store):
    token, text = store.issue(["predict"], note="the shop")
    other, _ = store.issue(["admin"])
    keys = Keyring(store.tokens())
    assert keys.holder(f"Bearer {text}") == token
    assert token.note == "the shop"
    forged = f"hr_{other.id}_{text[16:]}"
    for wrong in ("", text, f"Basic {text}", f"Bearer {text}x", f"Bearer {text[:-1]}A", f"Bearer {forged}", "Bearer ü"):
        assert keys.holder(wrong) is None, wrong


def test_roles_say_what_it_allows(store):
    token, _ = store.issue(["predict", "feedback"])
    assert [token.may(role) for role in ("predict", "feedback", "admin")] == [True, True, False]
    admin, _ = store.issue(["admin"])
    assert all(admin.may(role) for role in ("predict", "feedback", "admin"))


def test_the_store_holds_no_token(root, store):
    _, text = store.issue(["admin"])
    for path in root.list():
        assert text.encode() not in root.read(path)
        assert text[16:].encode() not in root.read(path)


def test_what_is_taken_away_is_good_no_more(store):
    token, text = store.issue(["predict"])
    kept, _ = store.issue(["predict"])
    store.revoke(token.id)
    assert store.tokens() == [kept]
    assert Keyring(store.tokens()).holder(f"Bearer {text}") is None
    with pytest.raises(StoreError, match="must be one that is good"):
        store.revoke(token.id)


@pytest.mark.parametrize(
    ("roles", "rate", "told"), [(["root"], None, "root"), ([], None, "none"), (["admin"], 0, "above 0")]
)
def test_what_does_not_fit_is_refused(store, roles, rate, told):
    with pytest.raises(BadInputError, match=told):
        store.issue(roles, rate)
    assert not store.tokens()

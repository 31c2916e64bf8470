import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hybrid_ray.errors import ArtifactError
from hybrid_ray.store.root import StoreRoot
from hybrid_ray.store.state import pack_state, read_state, refuse_pickle, write_state
from hybrid_ray.store.tensors import pack_tensors, unpack_tensors, view_tensors
from hybrid_ray.types import State

DTYPES = [np.float32, np.float64, np.float16, np.int64, np.int32, np.uint8, np.uint64, np.bool_, ">f4", ">i8"]
ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    meta=st.dictionaries(st.text(max_size=5), JSON, max_size=3),
    tensors=st.dictionaries(st.text("abc", min_size=1, max_size=3), ARRAYS, max_size=3),
    blobs=st.dictionaries(
        st.sampled_from(["model.ubj", "vocab.txt", "1.skops"]),
        st.binary(max_size=20).filter(lambda b: b[:1] != b"\x80"),
        max_size=2,
    ),
    turn=st.booleans(),
)
def test_a_state_comes_back(meta, tensors, blobs, turn):
    given_tensors = {k: v.T if turn else v for k, v in tensors.items()}
    root = StoreRoot("memory://states")
    infos = write_state(root, "s", State(meta, given_tensors, blobs))
    assert set(infos) >= set(blobs) | {"state.json"}
    again = read_state(root, "s")
    assert (again.meta, again.blobs) == (meta, blobs)
    assert again.tensors.keys() == tensors.keys()
    for name, array in given_tensors.items():
        np.testing.assert_array_equal(again.tensors[name], array)
        assert again.tensors[name].dtype == array.dtype.newbyteorder("=")
        assert again.tensors[name].flags.writeable
        again_viewed = unpack_tensors(pack_tensors({"x": array}), "here")["x"]
        assert again_viewed.shape == array.shape


def test_a_state_in_a_folder_tells_where_its_files_are(tmp_path):
    root = StoreRoot(str(tmp_path))
    write_state(root, "s", State(blobs={"model.txt": b"tree"}))
    folder = read_state(root, "s").folder
    assert (folder / "model.txt").read_bytes() == b"tree"


@pytest.mark.parametrize(
    ("blobs", "said"),
    [
        ({"model.pkl": b"x"}, "must not be a pickle"),
        ({"MODEL.PT": b"x"}, "must not be a pickle"),
        ({"model.joblib": b"x"}, "must not be a pickle"),
        ({"model.json": pickle.dumps([1], protocol=4)}, "must not be a pickle"),
        ({"model.json": pickle.dumps([1], protocol=2)}, "must not be a pickle"),
        ({"state.json": b"x"}, "must be file names"),
        ({"../x": b"x"}, "must be file names"),
        ({"a/b": b"x"}, "must be file names"),
        ({".x": b"x"}, "must be file names"),
    ],
)
def test_blobs_that_may_not_be_saved(blobs, said):
    with pytest.raises(ArtifactError, match=said):
        pack_state(State(blobs=blobs))


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([None]), np.array(["2020-01-01"], "M8[D]")])
def test_tensors_that_may_not_be_saved(array):
    with pytest.raises(TypeError, match="must be numeric arrays"):
        pack_state(State(tensors={"x": array}))


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"[]",
        b'{"meta": 1, "blobs": [], "tensors": []}',
        b'{"meta": {}}',
        b"\x80\x04N.",
        b'{"meta": {}, "blobs": ["../x"], "tensors": []}',
    ],
)
def test_heads_that_are_none(head):
    root = StoreRoot("memory://heads")
    root.write("s/state.json", head)
    with pytest.raises(ArtifactError, match=r"s/state\.json: "):
        read_state(root, "s")


def test_a_pickle_in_the_place_of_a_blob_or_tensors_is_refused():
    root = StoreRoot("memory://planted")
    write_state(root, "s", State({}, {"x": np.zeros(3)}, {"m.txt": b"ok"}))
    root.write("s/m.txt", pickle.dumps({"a": 1}))
    with pytest.raises(ArtifactError, match="must not be a pickle"):
        read_state(root, "s")
    root.write("s/m.txt", b"ok")
    root.write("s/tensors.safetensors", pickle.dumps({"x": np.zeros(3)}))
    with pytest.raises(ArtifactError, match="must be a whole safetensors file"):
        read_state(root, "s")
    root.write("s/tensors.safetensors", pack_tensors({"y": np.zeros(3)}))
    with pytest.raises(ArtifactError, match="must hold the tensors"):
        read_state(root, "s")


def test_views_are_the_arrays():
    arrays = {
        "values": np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32),
        "check": np.arange(5, dtype=np.uint32),
    }
    arrays["none"] = np.zeros((0, 16), np.uint8)
    data = pack_tensors(arrays)
    for name, view in view_tensors(data).items():
        np.testing.assert_array_equal(view, arrays[name])


@given(st.data())
def test_damaged_files_are_refused_not_misread(data):
    whole = pack_tensors({"values": np.ones((4, 2), np.float32), "present": np.ones(4, bool)})
    kind = data.draw(st.sampled_from(["cut", "flip", "junk"]))
    if kind == "cut":
        harmed = whole[: data.draw(st.integers(0, len(whole) - 1))]
    elif kind == "flip":
        at = data.draw(st.integers(0, len(whole) - 1))
        harmed = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    else:
        harmed = data.draw(st.binary(max_size=64))
    try:
        arrays = view_tensors(harmed)
    except ValueError:
        return
    assert kind != "cut"
    assert all(array.nbytes <= len(harmed) for array in arrays.values())


def test_a_safetensors_blob_is_no_pickle_whatever_its_header_length():
    for length in (640, 896, 1152, 1408):
        header = b"{}".ljust(length)
        refuse_pickle("model.safetensors", length.to_bytes(8, "little") + header)
    with pytest.raises(ArtifactError, match="must not be a pickle"):
        refuse_pickle("model.safetensors", b"\x80\x04K\x01.")

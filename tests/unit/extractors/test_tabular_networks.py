"""Networks over rows of a table: what they learn that columns one by one do not tell, and what rows depend on."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from hybrid_ray.errors import BadInputError, NotFittedError
from hybrid_ray.extractors.base import FitContext, build_extractor
from hybrid_ray.extractors.networks.tabular_autoencoder import CHANGED
from hybrid_ray.extractors.networks.tabular_nets import Periodic, Piecewise
from hybrid_ray.extractors.trained import Training
from hybrid_ray.testing.checkpoints import MemoryCheckpoints
from hybrid_ray.training.loop import Step

CONTEXT = FitContext("binary", 2, seed=0)
KINDS = {"left": "numeric", "right": "numeric", "colour": "categorical", "day": "date"}
NAMES = ["tabular_network", "tabular_autoencoder"]
TINY = {"width": 8, "epochs": 3, "min_count": 1}


def objects(values):
    column = np.empty(len(values), object)
    column[:] = values
    return column


def rows(n, seed=0):
    """Two numbers; the label says whether one of them alone is positive, or for blue rows whether not."""
    rng = np.random.default_rng(seed)
    left, right = rng.normal(size=(2, n))
    blue = rng.random(n) < 0.5
    y = ((left > 0) ^ (right > 0) ^ blue).astype(np.int64)
    days = np.datetime64("2024-01-01", "ms") + rng.integers(0, 900, n) * np.timedelta64(86_400_000, "ms")
    return {"left": left, "right": right, "colour": objects(np.where(blue, "blue", "red")), "day": days}, y


def machines(n, seed=0, shuffled=False):
    """Five columns that follow one load and its way; ``shuffled``: each as usual, but not together."""
    rng = np.random.default_rng(seed)
    load, way = rng.normal(size=n), rng.random(n) < 0.5
    noise = 0.1 * rng.normal(size=(3, n))
    columns = {
        "speed": load + noise[0],
        "heat": np.where(way, load, -load) + noise[1],
        "draw": load**2 + noise[2],
        "way": objects(np.where(way, "in", "out")),
        "level": objects(np.array(["low", "middle", "high"])[np.digitize(load, [-0.5, 0.5])]),
    }
    return {c: values[rng.permutation(n)] if shuffled else values for c, values in columns.items()}


MACHINE = {"speed": "numeric", "heat": "numeric", "draw": "numeric", "way": "categorical", "level": "categorical"}
PARAMS = {"features": 3, "epochs": 40, "patience": 40, "lr": 0.01, "errors": True}


def fitted(name, n=60, context=CONTEXT, **params):
    extractor = build_extractor(name, {**TINY, **params}, KINDS)
    batch, y = rows(n)
    return extractor.fit(extractor.prepare(batch), y, context)


@pytest.fixture(scope="module")
def redrawing():
    extractor = build_extractor("tabular_autoencoder", PARAMS, MACHINE)
    return extractor.fit(extractor.prepare(machines(1000)), None, CONTEXT)


# ------------------------------------------------------------------------------------------------ the network


@pytest.mark.parametrize("numbers", ["piecewise", "periodic", "plain"])
def test_how_columns_go_together_is_learned(numbers):
    (batch, y), (other, y_other) = rows(1000), rows(500, seed=1)
    params = {"numbers": numbers, "width": 32, "epochs": 20, "patience": 20, "lr": 0.004}
    found = {}
    for name, own in (("tabular", {}), ("tabular_network", params)):
        extractor = build_extractor(name, own, KINDS)
        extractor.fit(extractor.prepare(batch), y, CONTEXT)
        reader = LogisticRegression(max_iter=1000).fit(extractor.transform(batch).values, y)
        found[name] = reader.score(extractor.transform(other).values, y_other)
    assert found["tabular"] < 0.6
    assert found["tabular_network"] > 0.9


def test_numbers_are_learned_from():
    batch, _ = rows(1200)
    y = batch["left"] * batch["right"]
    extractor = build_extractor("tabular_network", {"epochs": 30, "lr": 0.005}, KINDS)
    extractor.fit(extractor.prepare(batch), y, FitContext("regression", 1, seed=0))
    other, _ = rows(300, seed=1)
    known = np.column_stack([extractor.transform(batch).values, np.ones(1200)])
    read, *_ = np.linalg.lstsq(known, y, rcond=1e-6)
    expected = other["left"] * other["right"]
    found = np.column_stack([extractor.transform(other).values, np.ones(300)]) @ read
    assert np.square(found - expected).mean() < 0.3 * expected.var()


def test_numbers_fill_pieces():
    pieces = Piecewise(np.array([0, 2]), [[0.0, 1.0, 3.0], [5.0]])
    rows = torch.tensor([[-1.0, 9.0, 5.0], [0.25, 9.0, 4.0], [2.0, 9.0, 6.0], [7.0, 9.0, 0.0]])
    assert pieces.width == 2
    np.testing.assert_allclose(pieces(rows), [[0, 0], [0.25, 0], [1, 0.5], [1, 1]])
    none = Piecewise(np.array([], np.int64), [])
    assert none(rows).shape == (4, 0)
    assert Periodic(np.array([], np.int64), 3, 1.0)(rows).shape == (4, 0)


def test_labels_and_rows_are_needed():
    extractor = build_extractor("tabular_network", {}, KINDS)
    with pytest.raises(BadInputError, match=r"^tabular_network: needs labels and at least two rows"):
        extractor.fit(extractor.prepare(rows(1)[0]), np.zeros(1, np.int64), CONTEXT)
    with pytest.raises(BadInputError, match=r"^tabular_network: needs labels"):
        extractor.fit(extractor.prepare(rows(9)[0]), None, CONTEXT)
    extractor = build_extractor("tabular_autoencoder", {}, KINDS)
    with pytest.raises(BadInputError, match=r"^tabular_autoencoder: needs at least two rows"):
        extractor.fit(extractor.prepare(rows(0)[0]), None, CONTEXT)


# --------------------------------------------------------------------------------------------- the autoencoder


def test_columns_that_do_not_go_together_are_drawn_badly(redrawing):
    usual, odd = (redrawing.transform(machines(400, 1, shuffled)).values[:, -5:] for shuffled in (False, True))
    scores = np.concatenate([usual, odd]).mean(axis=1)
    assert roc_auc_score(np.repeat([0, 1], 400), scores) > 0.95


def test_errors_tell_which_column_is_odd(redrawing):
    batch = machines(200, 1)
    usual = redrawing.transform(batch).values[:, -5:]
    far = redrawing.transform({**batch, "draw": batch["draw"] + 6}).values[:, -5:]
    assert ((far - usual).argmax(axis=1) == 2).mean() > 0.9
    unheard = redrawing.transform({**batch, "way": objects(["sideways"] * 200)}).values[:, -5:]
    assert ((unheard - usual).argmax(axis=1) == 3).mean() > 0.9
    unknown = redrawing.transform({**batch, "draw": np.full(200, np.nan)}).values[:, -5:]
    assert not unknown[:, 2].any(), "what is missing is not to be drawn"


def test_learners_see_errors_of_networks_that_did_not_see_the_rows():
    extractor = build_extractor("tabular_autoencoder", {**PARAMS, "noise": 0.0, "features": 6, "epochs": 20}, MACHINE)
    prepared = extractor.prepare(machines(80))
    extractor.fit(prepared, None, CONTEXT)
    own, fair = extractor.block(prepared).values, extractor.cross_fitted(prepared, None, CONTEXT).values
    np.testing.assert_array_equal(fair[:, :-5], own[:, :-5])
    assert fair[:, -5:].mean() > 1.05 * own[:, -5:].mean()
    plain = build_extractor("tabular_autoencoder", {**TINY, "features": 2}, MACHINE)
    plain.fit(prepared, None, CONTEXT)
    assert plain.n_features == 2
    assert plain.cross_fitted(prepared, None, CONTEXT) is None


def test_cells_are_swapped_as_a_whole():
    """A changed cell has the value of another row, with all columns that are made of it; others are as they were."""
    extractor = fitted("tabular_autoencoder", n=400, noise=0.3)
    encoded = extractor.encoded({name: v[:, 0] for name, v in extractor.prepare(rows(400)[0]).arrays.items()})
    changed = extractor.augment(encoded, np.random.default_rng(0))[CHANGED]
    before, owner = encoded["rows"], extractor.table.layout().columns
    for place in range(len(KINDS)):
        cells = before[:, owner == place]
        other = (changed[:, owner == place] != cells).any(axis=1)
        # Of two colours every second swap changes nothing.
        assert (0.1 if place == 2 else 0.2) < other.mean() < 0.35
        found = {tuple(cell) for cell in changed[:, owner == place]}
        assert found <= {tuple(cell) for cell in cells}
    one = {name: values[:1] for name, values in encoded.items()}
    np.testing.assert_array_equal(extractor.augment(one, np.random.default_rng(0))[CHANGED], one["rows"])
    assert not build_extractor("tabular_autoencoder", {"noise": 0}, KINDS).augmented


# ---------------------------------------------------------------------------------------------------- both


@pytest.mark.parametrize("name", NAMES)
def test_missing_cells_and_unseen_categories_have_vectors(name):
    batch, y = rows(200)
    batch["left"][::3] = np.nan
    batch["colour"][1::4] = None
    batch["day"][::5] = np.datetime64("NaT")
    extractor = build_extractor(name, TINY, KINDS)
    extractor.fit(extractor.prepare(batch), y, CONTEXT)
    odd = {
        "left": np.array([np.nan, 1e300, np.nan, np.nan]),
        "right": np.array([np.nan, -np.inf, 0.0, np.nan]),
        "colour": objects([None, "green", "green", None]),
        "day": np.array(["2031-01-01", "NaT", "1900-01-01", "NaT"], "datetime64[ms]"),
    }
    block = extractor.transform(odd)
    np.testing.assert_array_equal(block.present, [True, True, True, False])
    assert np.isfinite(block.values).all()
    assert not block.values[3].any()
    assert np.ptp(block.values[:3], axis=0).max() > 0


@pytest.mark.parametrize("name", NAMES)
def test_a_row_depends_on_no_other(name):
    extractor = fitted(name, errors=True) if name == "tabular_autoencoder" else fitted(name)
    batch, _ = rows(300, seed=5)
    together = extractor.transform(batch).values
    for row in (0, 130, 299):
        alone = extractor.transform({column: values[[row]] for column, values in batch.items()}).values
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_its_state_holds_how_the_table_is_read(name):
    extractor = fitted(name, impute="knn", scale="quantile")
    loaded = type(extractor).from_state(extractor.params, KINDS, extractor.get_state())
    batch, _ = rows(40, seed=3)
    np.testing.assert_array_equal(loaded.transform(batch).values, extractor.transform(batch).values)
    with pytest.raises(NotFittedError):
        build_extractor(name, {}, KINDS).get_state()


@pytest.mark.parametrize("name", NAMES)
def test_it_goes_on_elsewhere_from_where_it_was_cut_off(name):
    checkpoints = MemoryCheckpoints(dies_at=2)

    def learned(conduct):
        context = FitContext("binary", 2, 0, conduct=conduct)
        return fitted(name, n=120, context=context, epochs=4).get_state().tensors

    whole = learned(lambda training: training.run("cpu"))
    with pytest.raises(KeyboardInterrupt):
        learned(lambda training: training.blank().run("cpu", checkpoints=checkpoints))
    checkpoints.dies_at = None
    again = learned(lambda training: training.blank().run("cpu", checkpoints=checkpoints))
    assert len(checkpoints.states) == 4
    for tensor, values in whole.items():
        np.testing.assert_array_equal(again[tensor], values)


@pytest.mark.parametrize("name", NAMES)
def test_workers_draw_for_the_whole_batch(name):
    """The rows of a step have the losses that they have in one piece, whoever takes which."""
    sent: list[Training] = []

    def conduct(training):
        sent.append(training)
        return training.run("cpu")

    fitted(name, context=FitContext("binary", 2, 0, conduct=conduct))
    torch.manual_seed(0)
    learner = sent[0].extractor.learner(sent[0])
    batch = np.arange(10, 23)

    def losses(own):
        step = Step(batch, own, (7, 1, 2))
        for module in learner.net.modules():
            if hasattr(module, "step"):
                module.step = step
        return learner.losses(learner.net, step).detach().numpy()

    whole = losses(slice(None))
    for rank in range(3):
        np.testing.assert_allclose(losses(slice(rank, None, 3)), whole[rank::3], atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_allclose(losses(slice(None)), whole, rtol=0.2, atol=0.05)

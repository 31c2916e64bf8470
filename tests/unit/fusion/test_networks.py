"""Fusion networks: what they learn, how training rows are kept apart, and what a missing block does."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from hybrid_ray.errors import ArtifactError, DataError, NotFittedError
from hybrid_ray.fusion.networks.adaptive import Adaptive, AdaptiveParams
from hybrid_ray.fusion.networks.adaptive_net import AdaptiveNet, Refresh, known_groups
from hybrid_ray.fusion.networks.attention import Attention, AttentionParams
from hybrid_ray.fusion.networks.base import MIN_ROWS
from hybrid_ray.fusion.networks.gated import Gated, GatedParams
from hybrid_ray.fusion.networks.net import drop_blocks
from hybrid_ray.plugins import load_plugins
from hybrid_ray.preparation.training import prepare_training
from hybrid_ray.testing.feature_fusions import toy_blocks
from hybrid_ray.types import Block, State

load_plugins()
QUICK = {"hidden": 16, "max_epochs": 30, "folds": 2, "learning_rate": 1e-2, "batch_size": 64, "dropout": 0.1}
FUSIONS = [Gated(GatedParams(**QUICK)), Attention(AttentionParams(**QUICK)), Adaptive(AdaptiveParams(**QUICK))]
WHOLE = {"gated": {}, "attention": {}, "adaptive": {"share": 1.0}}
NAMES = [type(fusion).__name__ for fusion in FUSIONS]
LEARNING = [pytest.param(FUSIONS[0], id="Gated")]
LEARNING += [pytest.param(f, id=n, marks=pytest.mark.slow) for f, n in zip(FUSIONS[1:], NAMES[1:], strict=True)]


def again(fusion, **params):
    return type(fusion)(fusion.params.model_copy(update=params))


def block(values, present=None):
    return Block(np.ascontiguousarray(values, np.float32), np.ones(len(values), bool) if present is None else present)


def product_rows(n=800, seed=0):
    """Two blocks that tell the label only together."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n, 3)), rng.normal(size=(n, 4))
    return {"a": block(a), "b": block(b)}, (a[:, 0] * b[:, 1] > 0).astype(np.int64)


def part_of(inputs, rows):
    return {name: each.take(rows) for name, each in inputs.items()}


@pytest.mark.parametrize("fusion", LEARNING)
def test_networks_show_a_linear_model_what_only_goes_together(fusion):
    inputs, y = product_rows()
    fusion = again(fusion, keep=False, **WHOLE[fusion.name])
    X = fusion.fit_combine(part_of(inputs, slice(0, 700)), y[:700], "binary")
    model = LogisticRegression().fit(X, y[:700])
    assert model.score(fusion.combine(part_of(inputs, slice(700, None))), y[700:]) > 0.75


@pytest.mark.parametrize("fusion", LEARNING)
def test_training_rows_are_not_shown_as_the_networks_that_know_them_see_them(fusion):
    rng = np.random.default_rng(0)
    inputs = {name: block(rng.normal(size=(100, 20))) for name in "ab"}  # too few rows to hold any out
    noise = rng.integers(2, size=100)
    fusion = again(fusion, keep=False, folds=4, dropout=0.0, block_dropout=0.0, **WHOLE[fusion.name])
    apart = fusion.fit_combine(inputs, noise, "binary")
    known = fusion.combine(inputs)
    found = []
    for X in (apart, known):  # of memory a linear model on half of the rows profits on the other half
        model = LogisticRegression(C=0.1).fit(X[::2], noise[::2])
        found.append(roc_auc_score(noise[1::2], model.decision_function(X[1::2])))
    assert found[0] < 0.7
    assert found[1] > 0.9


def test_repeated_rows_are_not_shown_by_a_network_that_was_trained_on_their_copies():
    rng = np.random.default_rng(2)
    inputs = {name: block(rng.normal(size=(400, 20))) for name in "ab"}
    noise = (rng.random(400) < 0.25).astype(np.int64)
    rows = prepare_training([{"name": "oversample", "params": {}}], inputs, noise, "binary", 0)
    half = rows.groups % 2 == 0
    found = []
    for groups in (rows.groups, None):
        fusion = again(FUSIONS[0], keep=False, folds=4, dropout=0.0, block_dropout=0.0)
        X = fusion.fit_combine(rows.blocks, rows.y, "binary", 0, groups)
        model = LogisticRegression(C=0.1).fit(X[half], rows.y[half])
        found.append(roc_auc_score(rows.y[~half], model.decision_function(X[~half])))
    assert found[0] < 0.6
    assert found[1] > 0.75


@pytest.mark.parametrize("n_groups", [2, 3, 6])
def test_where_classes_are_one_group_or_few_a_row_is_shown_by_a_copy_that_did_not_see_it(n_groups, monkeypatch):
    inputs, _ = product_rows(120)
    group = np.arange(120) * n_groups // 120
    trained, shown = [], []
    fusion = again(FUSIONS[0], folds=4, max_epochs=1)
    found, turned = fusion._trained, fusion._turned
    monkeypatch.setattr(fusion, "_trained", lambda *given: trained.append(given[2]) or found(*given))
    monkeypatch.setattr(fusion, "_turned", lambda copy, rows: shown.append(rows) or turned(copy, rows))
    fusion.fit_combine(inputs, (group == 0).astype(np.int64), "binary", 0, group)
    whole = {row.tobytes(): number for number, row in enumerate(fusion._shown(inputs))}
    own = [{whole[row.tobytes()] for row in rows} for rows in shown]
    assert sorted(row for rows in own for row in rows) == list(range(120)), "each is shown by one copy"
    assert len(own) == len(fusion._copies)
    for rows, held in zip(trained[1:], own, strict=True):
        assert held
        assert not set(rows.tolist()) & held


@pytest.mark.slow
@pytest.mark.parametrize("fusion", FUSIONS[:2], ids=NAMES[:2])
def test_copies_agree_once_they_are_turned(fusion):
    inputs, y = product_rows(1200)
    fusion = again(fusion, folds=3).fit(part_of(inputs, slice(0, 900)), y[:900], "binary")
    shown = fusion._shown(part_of(inputs, slice(900, None)))
    turned = [fusion._turned(copy, shown).ravel() for copy in fusion._copies]
    own = [fusion._hidden(copy.weights, shown).ravel() for copy in fusion._copies]
    assert np.corrcoef(turned)[0, 1:].min() > 0.6
    assert np.corrcoef(turned)[0, 1:].min() > np.corrcoef(own)[0, 1:].max() + 0.2


@pytest.mark.parametrize(
    ("fusion", "params"),
    [
        (FUSIONS[0], {}),
        (FUSIONS[0], {"gate": "sigmoid", "activation": "relu"}),
        (FUSIONS[0], {"gate": "product"}),
        (FUSIONS[1], {"tokens": 1, "depth": 2}),
        (FUSIONS[2], {"share": 0.5}),
    ],
    ids=lambda part: part.name if hasattr(part, "name") else "-".join(map(str, part.values())),
)
def test_arrays_answer_as_the_network_of_torch(fusion, params):
    inputs, y = product_rows(200)
    inputs["a"] = Block(inputs["a"].values, np.arange(200) % 3 > 0)
    fusion = again(fusion, max_epochs=2, **params).fit(inputs, y, "binary")
    shown = fusion._shown(inputs)
    torch.manual_seed(0)
    net, _ = fusion._build(fusion._widths, 2, shown, y)
    net.eval()
    seen = []
    net.last.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach().numpy()))
    net(torch.from_numpy(shown))
    np.testing.assert_allclose(fusion._hidden(net.weights(), shown), seen[0], atol=1e-5)


@pytest.mark.parametrize("fusion", LEARNING)
def test_a_missing_block_is_the_learned_vector_and_costs_little_where_another_tells_the_same(fusion):
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=900)
    inputs = {name: block(y[:, None] * np.ones(4) + rng.normal(size=(900, 4))) for name in "ab"}
    rows = {"train": slice(0, 600), "test": slice(600, None)}
    gone = {**part_of(inputs, rows["test"])}
    gone["b"] = Block(np.full_like(gone["b"].values, 7e8), np.zeros(300, bool))
    losses = []
    for rate in (0.0, 0.4):
        fused = again(fusion, keep=False, block_dropout=rate, **WHOLE[fusion.name])
        X = fused.fit_combine(part_of(inputs, rows["train"]), y[:600], "multiclass")
        model = LogisticRegression().fit(X, y[:600])
        losses.append(log_loss(y[600:], model.predict_proba(fused.combine(gone))))
    assert losses[1] < losses[0]
    assert losses[1] < 0.8  # about what one block alone allows


def test_blocks_are_dropped_at_the_rate_and_no_row_loses_its_last():
    torch.manual_seed(0)
    present = torch.ones(20_000, 3, dtype=torch.bool)
    present[:, 2] = False
    dropped = drop_blocks(present, 0.3)
    assert not dropped[:, 2].any()
    assert dropped[:, :2].any(dim=1).all()
    assert float(dropped[:, :2].float().mean()) == pytest.approx(0.7 + 0.3**2, abs=0.02)
    assert drop_blocks(present, 0.0) is present


@pytest.mark.parametrize("fusion", FUSIONS, ids=NAMES)
def test_regression_small_classes_and_few_rows(fusion):
    inputs, _ = product_rows(60)
    fusion = again(fusion, max_epochs=2)
    wide = again(fusion).fit_combine(inputs, inputs["a"].values[:, 0] * 1e6, "regression").shape[1]
    codes = np.zeros(60, np.int64)
    codes[:5] = [7, 7, 3, 9, 9]  # gaps, and a class of one row
    assert again(fusion).fit_combine(inputs, codes, "multiclass").shape == (60, wide)
    assert np.isfinite(again(fusion).fit_combine(inputs, np.zeros(60, np.int64), "binary")).all()
    assert np.isfinite(again(fusion).fit_combine(inputs, np.full(60, 3.5), "regression")).all()
    few = again(fusion)
    small = part_of(inputs, slice(0, MIN_ROWS - 1))
    assert few.fit_combine(small, np.arange(MIN_ROWS - 1) % 2, "binary").shape[1] == wide - fusion.params.hidden
    with pytest.raises(DataError, match=f"{fusion.name}: a fusion network needs labels"):
        again(fusion).fit(inputs, None, "clustering")


def test_more_rows_than_the_bound_train_on_a_part_and_are_all_represented(monkeypatch):
    monkeypatch.setattr("hybrid_ray.fusion.networks.base.MAX_ROWS", 200)
    seen = []
    trained = Gated._trained
    monkeypatch.setattr(Gated, "_trained", lambda self, *given: seen.append(len(given[2])) or trained(self, *given))
    inputs, y = product_rows(900)
    X = Gated(GatedParams(**{**QUICK, "max_epochs": 2})).fit_combine(inputs, y, "binary")
    assert X.shape[0] == 900
    assert seen[0] == 200
    assert all(60 < rows < 140 for rows in seen[1:])


class TestAdaptive:
    def hidden_pair(self, n=1000):
        """Column 0 tells the label; 1 to 4 tell the same, but less; 5 tells it only where 0 does not."""
        rng = np.random.default_rng(0)
        y = rng.integers(2, size=n)
        first = np.where(rng.random(n) < 0.7, y, rng.integers(2, size=n)) + 0.3 * rng.normal(size=n)
        echoes = first[:, None] + 0.5 * rng.normal(size=(n, 4))
        wrong = (first > 0.5) != y
        second = np.where(wrong, 2.0 * y - 1, 0.0) + 0.6 * rng.normal(size=n)
        noise = rng.normal(size=(n, 14))
        return np.column_stack([first, echoes, second, noise]).astype(np.float32), y

    def test_what_the_network_does_not_know_comes_in(self):
        X, y = self.hidden_pair()
        inputs = {"a": block(X)}
        kept = {}
        for exchanged in (0.0, 0.4):
            params = AdaptiveParams(**{**QUICK, "share": 0.2, "every": 2, "max_epochs": 12, "exchanged": exchanged})
            fusion = Adaptive(params).fit(inputs, y, "binary")
            kept[exchanged] = [set(copy.weights["kept"].tolist()) for copy in fusion._copies]
        assert all(5 not in columns for columns in kept[0.0])
        assert all(5 in columns and columns & {0, 1, 2, 3, 4} for columns in kept[0.4])
        assert all(len(columns) == 4 for columns in kept[0.4])

    def test_an_exchange_changes_no_prediction_but_for_what_goes(self):
        X, y = self.hidden_pair(400)
        shown = np.hstack([X, np.ones((400, 1), np.float32)])
        mask = np.zeros(20, bool)
        mask[[6, 7, 8, 9]] = True
        torch.manual_seed(0)
        net = AdaptiveNet([20], 2, 8, mask, 0.0, 0.0)
        with torch.no_grad():
            net.linear.weight[:, 6] = 0.0  # used least
        net.eval()
        before = net(torch.from_numpy(shown)).detach().numpy()
        optimizer = torch.optim.AdamW(net.parameters())

        class Learner:
            module_, optimizer_, max_epochs, history = net, optimizer, 8, [None]

        Refresh(shown, y, every=1, share=0.25).on_epoch_end(Learner)
        assert net.kept.numpy().nonzero()[0].tolist() == [0, 7, 8, 9]
        net.eval()
        np.testing.assert_allclose(net(torch.from_numpy(shown)).detach().numpy(), before, atol=1e-6)
        Learner.history = [None] * 7  # settled
        Refresh(shown, y, every=1, share=0.25).on_epoch_end(Learner)
        assert net.kept.numpy().nonzero()[0].tolist() == [0, 7, 8, 9]

    def test_rows_are_grouped_by_what_is_predicted_and_how_surely(self):
        outputs = np.column_stack([np.linspace(-4, 4, 400), np.zeros(400)])
        outputs = np.vstack([outputs, [[-9.0, -9.0]]])
        groups = known_groups(outputs)
        assert len(np.unique(groups[:200])) == 3
        assert len(np.unique(groups[200:400])) == 3
        assert not set(groups[:200]) & set(groups[200:400])
        assert len(np.unique(known_groups(outputs[:, :1]))) == 6
        assert (known_groups(outputs[:20]) == 0).all()


@pytest.mark.parametrize("fusion", FUSIONS, ids=NAMES)
def test_what_cannot_be_done_is_said(fusion):
    with pytest.raises(NotFittedError, match=f"{fusion.name}: fit must come before combine"):
        again(fusion).combine(toy_blocks())
    fitted = again(fusion, max_epochs=1).fit(toy_blocks(), np.arange(60) % 3, "multiclass")
    state = fitted.get_state()
    for lost in ("copy.1/missing", "turn.0/shift"):
        tensors = {name: array for name, array in state.tensors.items() if name != lost}
        with pytest.raises(ArtifactError, match="must hold all its parts"):
            type(fusion).from_state(fusion.params, State(state.meta, tensors))


def test_a_loaded_network_combines_without_torch(tmp_path):
    fitted = again(FUSIONS[1], max_epochs=1).fit(toy_blocks(), np.arange(60) % 3, "multiclass")
    state = fitted.get_state()
    np.savez(tmp_path / "state.npz", **{name.replace("/", "|"): array for name, array in state.tensors.items()})
    code = f"""
import sys, numpy as np
from hybrid_ray.fusion.networks.attention import Attention, AttentionParams
from hybrid_ray.plugins import load_plugins
from hybrid_ray.preparation.training import prepare_training
from hybrid_ray.testing.feature_fusions import toy_blocks
from hybrid_ray.types import State
kept = np.load({str(tmp_path / "state.npz")!r})
state = State({state.meta!r}, {{name.replace("|", "/"): kept[name] for name in kept.files}})
fusion = Attention.from_state(AttentionParams(**{fitted.params.model_dump()!r}), state)
print(float(fusion.combine(toy_blocks()).sum()), "torch" in sys.modules)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert float(said[0]) == pytest.approx(float(fitted.combine(toy_blocks()).sum()))
    assert said[1] == "False"

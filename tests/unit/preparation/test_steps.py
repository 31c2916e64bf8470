import numpy as np
import pytest

from hybrid_ray.errors import ArtifactError, DataError, NotFittedError
from hybrid_ray.plugins import load_plugins
from hybrid_ray.preparation import filter_labels
from hybrid_ray.registry import PREPARATIONS
from hybrid_ray.types import Block, State

load_plugins()


def block(values, present=None):
    values = np.asarray(values, np.float32)
    return Block(values, np.ones(len(values), bool) if present is None else present)


def build(name, **params):
    plugin = PREPARATIONS.get(name)
    return plugin(plugin.Params(**params))


def fitted(name, values, task="binary", y=None, **params):
    y = np.arange(len(values)) % 2 if y is None else y
    return build(name, **params).fit({"table": block(values)}, y, task)


def changed(step, values):
    return step.transform({"table": block(values)})["table"].values


def test_values_far_out_are_brought_to_the_quantiles():
    x = np.random.default_rng(0).normal(size=(1000, 1))
    step = fitted("clip", x, tail=0.05)
    low, high = np.quantile(x, [0.05, 0.95])
    np.testing.assert_allclose(changed(step, [[-99.0], [0.0], [99.0]])[:, 0], [low, 0.0, high], rtol=1e-5)


def test_values_beyond_tukeys_fences_are_brought_in():
    x = np.arange(101.0)[:, None]
    step = fitted("clip", x, how="iqr", fences=1.0)
    np.testing.assert_allclose(changed(step, [[-60.0], [50.0], [160.0]])[:, 0], [-25.0, 50.0, 125.0])


@pytest.mark.parametrize("name", ["clip", "unskew"])
def test_categories_and_constants_are_left_alone(name):
    rng = np.random.default_rng(0)
    x = np.c_[rng.random(500) < 0.004, np.full(500, 7.0), rng.integers(0, 5, 500) ** 3, rng.lognormal(size=500)]
    params = {"tail": 0.02} if name == "clip" else {"skewness": 0.5}
    out = changed(fitted(name, x, **params), x)
    np.testing.assert_array_equal(out[:, :3], x[:, :3].astype(np.float32))
    assert not np.array_equal(out[:, 3], x[:, 3].astype(np.float32))


def test_a_saved_step_that_lacks_its_columns_is_refused():
    step = fitted("clip", np.random.default_rng(0).normal(size=(50, 2)))
    state = step.get_state()
    with pytest.raises(ArtifactError, match=r"clip: a saved step must hold the columns .* missing \['table'\]"):
        type(step).from_state(step.params, State(state.meta, {}))
    with pytest.raises(ArtifactError, match="clip: a saved step must name its blocks; got None"):
        type(step).from_state(step.params, State())


def test_a_step_must_be_fitted_and_its_blocks_as_wide_as_they_were():
    x = np.random.default_rng(0).normal(size=(50, 3))
    with pytest.raises(NotFittedError, match="clip: fit must come before transform"):
        build("clip").transform({"table": block(x)})
    with pytest.raises(NotFittedError, match="clip: fit must come before it is saved"):
        build("clip").get_state()
    with pytest.raises(ValueError, match="clip: block 'table' must be as wide as in training; got 2 columns"):
        fitted("clip", x).transform({"table": block(x[:, :2])})


def test_only_named_blocks_are_changed():
    x = np.random.default_rng(0).lognormal(size=(200, 2))
    blocks = {"table": block(x), "other": block(x)}
    out = build("clip", blocks=("table",), tail=0.1).fit(blocks, np.arange(200) % 2, "binary").transform(blocks)
    assert out["other"] is blocks["other"]
    assert out["table"].values.max() < x.max()


@pytest.mark.parametrize("how", ["log", "yeo_johnson", "quantile"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_skewed_columns_become_even_and_keep_their_order_mean_and_deviation(how, sign):
    x = sign * np.random.default_rng(0).lognormal(3.0, 1.0, size=(800, 1))
    out = changed(fitted("unskew", x, how=how), x)
    z = (out - out.mean()) / out.std()
    before = (x - x.mean()) / x.std()
    assert abs((z**3).mean()) < 0.35 * abs((before**3).mean())
    assert (np.diff(out[np.argsort(x[:, 0]), 0]) >= 0).all()
    assert out.mean() == pytest.approx(x.mean(), rel=0.05)
    assert out.std() == pytest.approx(x.std(), rel=0.1)


def test_even_columns_are_left_alone_unless_all_are_asked_for():
    x = np.random.default_rng(0).uniform(size=(500, 1)).astype(np.float32)
    np.testing.assert_array_equal(changed(fitted("unskew", x), x), x)
    assert not np.array_equal(changed(fitted("unskew", x, how="quantile", skewness=0.0), x), x)


@pytest.mark.parametrize("how", ["log", "yeo_johnson", "quantile"])
def test_values_that_training_never_saw_stay_finite(how):
    x = np.random.default_rng(0).lognormal(size=(300, 1))
    out = changed(fitted("unskew", x, how=how, skewness=0.0), [[-1e30], [1e30], [0.0]])
    assert np.isfinite(out).all()
    assert out[0] <= out[2] < out[1]


def test_the_power_is_scipys():
    from scipy.stats import yeojohnson_normmax

    from hybrid_ray.preparation.unskew import _powers

    z = np.random.default_rng(0).exponential(size=(400, 2)) * [1.0, -1.0]
    np.testing.assert_allclose(_powers(z), [yeojohnson_normmax(column) for column in z.T], atol=1e-3)


def test_rows_far_from_all_others_are_left_out_and_every_class_gives_its_share():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(400, 3)), (np.arange(400) >= 360).astype(int)
    x[[3, 7, 365]] += 50.0
    out = build("drop_outliers", share=0.03).resample({"table": block(x)}, y, "binary", seed=0)
    assert out.blocks["table"].values.max() < 10
    assert np.bincount(out.y).tolist() == [350, 39]


def test_rows_without_a_block_are_no_outliers():
    rng = np.random.default_rng(0)
    present = np.arange(100) >= 10
    blocks = {"table": block(rng.normal(size=(100, 2))), "text": block(rng.normal(size=(100, 2)) + 30, present)}
    out = build("drop_outliers", share=0.2).resample(blocks, np.zeros(100, int), "binary", seed=0)
    assert (~out.blocks["text"].present).sum() == 10
    assert len(out.y) == 82


def test_most_wrong_labels_are_left_out_and_right_ones_stay():
    rng = np.random.default_rng(0)
    y = (np.arange(400) >= 320).astype(int)
    x = rng.normal(size=(400, 2)) + 6.0 * y[:, None]
    wrong = np.r_[np.arange(10), np.arange(330, 333)]
    noisy = y.copy()
    noisy[wrong] = 1 - noisy[wrong]
    number = rng.permutation(400)
    x = np.c_[x, number]
    out = build("filter_labels", share=0.3).resample({"table": block(x)}, noisy, "binary", seed=0)
    gone = set(range(400)) - set(out.blocks["table"].values[:, 2].astype(int))
    assert len(set(number[wrong]) & gone) >= 0.8 * len(wrong)
    assert len(gone - set(number[wrong])) <= 4


def looking_alike(n_noise):
    """Rows in groups that look alike: who has seen one knows the others, and their label, by heart."""
    rng, group = np.random.default_rng(0), np.repeat(np.arange(60), 5)
    truth = rng.normal(size=60)
    x = np.c_[3 * truth, rng.normal(size=(60, n_noise))][group] + 0.05 * rng.normal(size=(300, 1 + n_noise))
    return x, truth, group


def test_a_label_is_not_judged_by_rows_that_go_with_its_row():
    x, truth, group = looking_alike(40)
    wrong = np.abs(truth) > np.sort(np.abs(truth))[-7]
    y = ((truth > 0) != wrong).astype(int)[group]
    gone = []
    for groups in (None, group):
        out = build("filter_labels", share=0.2).resample({"table": block(x)}, y, "binary", seed=0, groups=groups)
        gone.append(np.isin(np.arange(300), out.origin, invert=True)[wrong[group]].mean())
    assert gone[1] > gone[0] + 0.5


def test_a_number_is_not_judged_by_rows_that_go_with_its_row(monkeypatch):
    x, _, group = looking_alike(80)
    y = np.random.default_rng(1).normal(size=60)[group]
    left = []
    monkeypatch.setattr(filter_labels, "worst", lambda residual, *_: left.append(residual) or np.zeros(0, np.int64))
    for groups in (None, group):
        build("filter_labels").resample({"table": block(x)}, y, "regression", seed=0, groups=groups)
    assert np.median(left[0]) < 0.3 * np.median(left[1])


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_the_only_group_of_a_class_is_not_doubted(task):
    rng, group = np.random.default_rng(0), np.repeat(np.arange(9), 20)
    y = (group == 8).astype(int) if task == "binary" else rng.normal(size=180)
    out = build("filter_labels", share=0.3).resample({"table": block(rng.normal(size=(180, 3)))}, y, task, groups=group)
    if task == "binary":
        assert out.y.sum() == 20
    assert len(out.y) > 120


def test_no_more_labels_are_doubted_than_was_asked():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    out = build("filter_labels", share=0.1).resample({"table": block(rng.normal(size=(200, 2)))}, y, "binary", seed=0)
    assert (np.bincount(out.y) >= 0.9 * np.bincount(y)).all()


def test_made_rows_lie_between_neighbours_of_their_class_and_hold_whole_categories():
    rng = np.random.default_rng(0)
    y = (np.arange(100) >= 90).astype(int)
    x = np.c_[rng.normal(size=(100, 2)) * [1.0, 1000.0] + 20.0 * y[:, None], rng.random(100) < 0.5]
    out = build("smote").resample({"table": block(x)}, y, "binary", seed=0)
    made = out.blocks["table"].values[100:]
    assert np.bincount(out.y).tolist() == [90, 90]
    assert len(np.unique(made[:, 0])) > 60
    assert set(np.unique(made[:, 2])) <= {0.0, 1.0}
    own = x[90:]
    assert (made >= own.min(axis=0) - 1e-3).all()
    assert (made <= own.max(axis=0) + 1e-3).all()


def test_rows_that_lack_a_block_are_repeated_and_never_mixed():
    rng = np.random.default_rng(0)
    y = (np.arange(80) >= 70).astype(int)
    present = np.arange(80) % 2 == 0
    text = rng.normal(size=(80, 2)) * present[:, None]
    blocks = {"table": block(rng.normal(size=(80, 2))), "text": block(text, present)}
    out = build("smote").resample(blocks, y, "binary", seed=0)
    added = out.blocks["text"].present[80:]
    assert len(out.y) == 140
    assert (~added).sum() == 30
    lacking = {row.tobytes() for row in blocks["table"].values[~present]}
    assert all(row.tobytes() in lacking for row in out.blocks["table"].values[80:][~added])


def test_a_class_of_two_has_one_neighbour_and_a_class_of_one_is_repeated():
    x, y = np.random.default_rng(0).normal(size=(40, 2)), np.array([0] * 37 + [1] * 2 + [2])
    out = build("smote").resample({"table": block(x)}, y, "multiclass", seed=0)
    assert np.bincount(out.y).tolist() == [37, 37, 37]
    assert len(np.unique(out.blocks["table"].values[out.y == 2], axis=0)) == 1


def test_a_class_of_few_rows_takes_no_neighbours_from_another():
    corners = np.eye(6) * np.linspace(1.0, 1.5, 6)
    x = np.concatenate([np.random.default_rng(0).normal(5.0, 0.1, size=(60, 6)), corners, -corners[:2]])
    y = np.array([0] * 60 + [1] * 6 + [2] * 2)
    out = build("smote").resample({"table": block(x)}, y, "multiclass", seed=0)
    made = out.blocks["table"].values[len(x) :][out.y[len(x) :] == 1]
    pairs = {tuple(np.flatnonzero(np.abs(row) > 1e-4)) for row in made}
    assert len(pairs) > 6, "with one neighbour, six rows make six pairs at most"


QUICK = {"hidden": 32, "latent": 4}


def far_from_its_own(steps, loss="spectral"):
    """Distance of drawn rows to the nearest of their class, which lies in two places; and who lies in the first."""
    rng = np.random.default_rng(0)
    y = (np.arange(260) >= 200).astype(int)
    places = np.where(np.arange(260) % 2 == 0, 4.0, -4.0)
    x = rng.normal(size=(260, 2)) * 0.5
    x[y == 1] += np.c_[places, -places][y == 1]
    out = build("gan_augmentation", loss=loss, steps=steps, **QUICK).resample({"table": block(x)}, y, "binary")
    drawn = out.blocks["table"].values[260:]
    assert len(drawn) == 140
    assert (out.y[260:] == 1).all()
    assert len(np.unique(drawn, axis=0)) > 100
    return np.linalg.norm(drawn[:, None] - x[None, y == 1], axis=2).min(axis=1), drawn[:, 0] > 0


def test_training_brings_drawn_rows_to_where_those_of_their_class_lie():
    before, _ = far_from_its_own(1)
    after, first = far_from_its_own(300)
    assert np.median(after) < 0.4 * np.median(before)
    assert 0.25 < first.mean() < 0.75, "both places are drawn"


def test_both_losses_draw_rows_of_the_class():
    near, _ = far_from_its_own(20, "wgan_gp")
    assert np.isfinite(near).all()


def test_wide_rows_are_drawn_as_their_first_components():
    rng = np.random.default_rng(0)
    y = (np.arange(120) >= 90).astype(int)
    x = rng.normal(size=(120, 3)) @ rng.normal(size=(3, 60)) + 3.0 * y[:, None]
    out = build("gan_augmentation", components=3, **QUICK).resample({"table": block(x)}, y, "binary")
    drawn = out.blocks["table"].values[120:]
    centre = x.mean(axis=0)
    axes = np.linalg.svd(x - centre, full_matrices=False)[2][:4]
    outside = (drawn - centre) - (drawn - centre) @ axes.T @ axes
    assert len(drawn) == 60
    assert np.linalg.norm(outside) < 0.5 * np.linalg.norm(drawn - centre)


def test_a_class_too_small_to_draw_from_is_repeated_or_refused():
    x, y = np.random.default_rng(0).normal(size=(60, 2)), (np.arange(60) >= 50).astype(int)
    out = build("gan_augmentation", **QUICK).resample({"table": block(x)}, y, "binary")
    assert (out.origin[60:] >= 50).all()
    assert np.bincount(out.y).tolist() == [50, 50]
    asked = "must have 16 training rows with every block .*; got 10 of the class with code 1. Lower `least`"
    with pytest.raises(DataError, match=asked):
        build("gan_augmentation", few="refuse", **QUICK).resample({"table": block(x)}, y, "binary")
    even = np.arange(60) % 2
    assert len(build("gan_augmentation", few="refuse", least=50).resample({"table": block(x)}, even, "binary").y) == 60


def test_frequent_rows_are_left_out_but_not_below_the_least():
    x, y = np.arange(200.0)[:, None], np.array([0] * 150 + [1] * 47 + [2] * 3)
    out = build("undersample").resample({"table": block(x)}, y, "multiclass", seed=0)
    assert np.bincount(out.y).tolist() == [20, 20, 3]
    assert (np.diff(out.blocks["table"].values[:, 0]) > 0).all()


def test_weights_make_every_class_count_the_same_and_the_mean_one():
    y = np.array([0] * 80 + [1] * 15 + [2] * 5)
    weights = build("weigh_classes").class_weights(y, "multiclass")
    sums = [weights[code] * (y == code).sum() for code in range(3)]
    np.testing.assert_allclose(sums, [100 / 3] * 3)
    half = build("weigh_classes", strength=0.5).class_weights(y, "multiclass")
    assert half[2] / half[0] == pytest.approx(4.0)
    assert sum(half[code] * (y == code).sum() for code in range(3)) == pytest.approx(100)

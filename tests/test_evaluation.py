"""Scores, intervals and tests against closed forms and other libraries."""

import math
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from sklearn import metrics
from torch import nn

from fer_teach import evaluation as ev
from fer_teach.errors import FerTeachError
from fer_teach.training import normalise


def one_hot(guess, count):
    return torch.eye(count)[torch.as_tensor(guess)]


# --- predict


class Net(nn.Module):
    def __init__(self, wrapped=False):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Flatten(), nn.Linear(108, 4)
        )
        self.wrapped = wrapped

    def forward(self, x):
        logits = self.body(x)
        return SimpleNamespace(logits=logits) if self.wrapped else logits


def images(count=10):
    return torch.randint(0, 256, (count, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_predict_is_the_softmax_in_eval_mode_whatever_the_batch():
    model, x = Net(), images()
    with torch.no_grad():
        expected = model.eval()(normalise(x)).softmax(1)
    model.train()
    model.body[1].eval()
    for batch in (1, 3, 512):
        torch.testing.assert_close(ev.predict(model, x, batch=batch), expected)
    assert model.training
    assert model.body[2].training
    assert not model.body[1].training
    assert torch.equal(ev.predict(Net(wrapped=True), SimpleNamespace(images=x)), ev.predict(model, x))
    assert torch.equal(ev.predict(model, x), ev.predict(model, x))


def test_predict_with_flips_ignores_the_direction():
    model, x = Net(), images()
    both = ev.predict(model, x, flips=True)
    torch.testing.assert_close(both, (ev.predict(model, x) + ev.predict(model, x.flip(-1))) / 2)
    torch.testing.assert_close(both, ev.predict(model, x.flip(-1), flips=True))
    torch.testing.assert_close(both.sum(1), torch.ones(10))


def test_predict_with_shifts_averages_moves_to_four_sides():
    model, x = Net(), images()
    wide = F.pad(x.float(), (1, 1, 1, 1), mode="replicate").to(x.dtype)
    height, width = x.shape[-2:]
    sides = [(1, 1), (0, 1), (2, 1), (1, 0), (1, 2)]  # where the window begins
    moved = [wide[..., top : top + height, left : left + width] for top, left in sides]
    expected = sum(ev.predict(model, one, flips=True) for one in moved) / 5
    torch.testing.assert_close(ev.predict(model, x, flips=True, shifts=1), expected)


def test_predict_in_bf16_is_float32_and_close():
    got = ev.predict(Net(), images(), precision="bf16")
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, ev.predict(Net(), images()), atol=0.02, rtol=0)
    torch.testing.assert_close(got.sum(1), torch.ones(10))


def test_predict_refuses_what_it_cannot_answer():
    model = Net()
    with pytest.raises(FerTeachError, match="empty"):
        ev.predict(model, images()[:0])
    with pytest.raises(FerTeachError, match="precision"):
        ev.predict(model, images(), precision="fp16")
    with pytest.raises(FerTeachError, match="uint8"):
        ev.predict(model, images().float())
    nn.init.constant_(model.body[4].bias, math.nan)
    model.train()
    with pytest.raises(FerTeachError, match="not finite"):
        ev.predict(model, images())
    assert model.training


# --- scores


def test_scores_agree_with_scikit_learn():
    generator = np.random.default_rng(0)
    labels, probabilities = generator.integers(0, 5, 400), generator.dirichlet(np.ones(5), 400)
    probabilities[np.arange(400), labels] += 0.3
    probabilities /= probabilities.sum(1, keepdims=True)
    got, guess = ev.scores(probabilities, labels, tuple("abcde")), probabilities.argmax(1)
    assert got.n == 400
    assert got.accuracy == pytest.approx(metrics.accuracy_score(labels, guess))
    assert got.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(labels, guess))
    assert got.precision == pytest.approx(metrics.precision_score(labels, guess, average="macro"))
    assert got.recall == pytest.approx(metrics.recall_score(labels, guess, average="macro"))
    assert got.f1 == pytest.approx(metrics.f1_score(labels, guess, average="macro"))
    assert (got.confusion == metrics.confusion_matrix(labels, guess)).all()
    assert got.per_class_recall == pytest.approx(metrics.recall_score(labels, guess, average=None))
    assert got.interval == ev.wilson(int((labels == guess).sum()), 400)
    assert not got.collapsed


def test_a_constant_predictor_has_recall_one_over_c_and_warns():
    labels = torch.tensor([0, 1, 2, 3, 3, 3])
    with pytest.warns(ev.CollapseWarning, match="'d'"):
        got = ev.scores(one_hot([3] * 6, 4), labels, tuple("abcd"))
    assert got.collapsed
    assert got.recall == pytest.approx(1 / 4)
    assert got.balanced_accuracy == pytest.approx(1 / 4)
    assert got.accuracy == pytest.approx(1 / 2)
    assert got.precision == pytest.approx(got.accuracy / 4)
    assert got.f1 == pytest.approx(2 * got.accuracy / (1 + got.accuracy) / 4)


def test_perfect_predictions():
    labels = torch.tensor([0, 1, 2, 2])
    got = ev.scores(one_hot(labels, 3), labels, tuple("abc"))
    assert (got.accuracy, got.precision, got.recall, got.f1) == (1, 1, 1, 1)
    assert got.interval[1] == 1


def test_a_class_without_labels_counts_zero_in_means_but_not_in_balanced_accuracy():
    labels = torch.tensor([0, 0, 1, 1])
    got = ev.scores(one_hot([0, 0, 1, 0], 3), labels, tuple("abc"))
    assert math.isnan(got.per_class_recall[2])
    assert got.balanced_accuracy == pytest.approx(0.75)
    assert got.recall == pytest.approx(0.5)
    assert got.confusion.sum() == 4


def test_scores_of_bfloat16_and_single_image():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = ev.scores(one_hot([1], 2).bfloat16(), torch.tensor([1]), ("a", "b"))
    assert got.accuracy == 1
    assert not got.collapsed


@pytest.mark.parametrize(
    ("probabilities", "labels", "message"),
    [
        (torch.zeros(0, 2), torch.zeros(0), "empty"),
        (torch.rand(3, 3), torch.zeros(3), r"shape \(N, 2\)"),
        (torch.rand(3, 2), torch.zeros(4), "3 rows"),
        (torch.rand(3, 2), torch.tensor([0, 1, 2]), "label 2 in row 2 is outside 0..1"),
        (torch.rand(3, 2), torch.tensor([0, -1, 1]), "label -1 in row 1"),
        (torch.tensor([[0.5, 0.5], [math.nan, 1]]), torch.tensor([0, 1]), "row 1 .* not finite"),
        (one_hot([0, 1], 2), torch.tensor([0.0, 0.5]), "whole numbers"),
    ],
)
def test_scores_refuses(probabilities, labels, message):
    with pytest.raises(FerTeachError, match=message):
        ev.scores(probabilities, labels, ("a", "b"))


# --- intervals


def test_wilson_known_values():
    p, n, z = 2513 / 3589, 3589, stats.norm.ppf(0.975)
    centre, half = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert ev.wilson(2513, n) == pytest.approx(((centre - half) / (1 + z**2 / n), (centre + half) / (1 + z**2 / n)))
    assert ev.wilson(0, 10) == pytest.approx((0, 0.277533), abs=1e-6)
    assert ev.wilson(10, 10) == pytest.approx((0.722467, 1), abs=1e-6)
    for k, n, level in ((3, 7, 0.95), (50, 100, 0.9), (1, 1, 0.99)):
        expected = stats.binomtest(k, n).proportion_ci(level, method="wilson")
        assert ev.wilson(k, n, level) == pytest.approx(tuple(expected))
    for k, n in ((5, 4), (-1, 4), (0, 0)):
        with pytest.raises(FerTeachError):
            ev.wilson(k, n)
    with pytest.raises(FerTeachError, match="level"):
        ev.wilson(1, 2, level=95)


def test_bootstrap_repeats_covers_and_narrows():
    values = np.random.default_rng(1).normal(3, 2, 400)
    low, high = ev.bootstrap(values)
    assert (low, high) == ev.bootstrap(values, seed=0)
    assert (low, high) != ev.bootstrap(values, seed=1)
    half = 1.96 * values.std(ddof=1) / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.04)
    assert ev.bootstrap(np.full(5, 2.5)) == (2.5, 2.5)
    median = ev.bootstrap(values, np.median)
    assert median[0] < np.median(values) < median[1]
    for bad in ([], [1], [1, math.nan], [[1, 2]]):
        with pytest.raises(FerTeachError):
            ev.bootstrap(bad)


def test_rate_of_several_seeds_is_less_sure_than_seeds_or_images_alone():
    mean, low, high = ev.rate([0.8, 0.81, 0.82], 100)
    (_, *seeds), images = ev.seed_interval([0.8, 0.81, 0.82]), ev.wilson(81, 100)
    assert mean - low == pytest.approx(math.hypot(mean - seeds[0], mean - images[0]))
    assert high - mean == pytest.approx(math.hypot(seeds[1] - mean, images[1] - mean))
    assert ev.rate([0.8, 0.8, 0.8], 100) == pytest.approx((0.8, *ev.wilson(80, 100)))
    assert ev.rate([0.8], 100) == (0.8, *ev.wilson(80, 100))


def test_rate_covers_the_true_share_at_least_as_often_as_it_says():
    draw, covered, n = np.random.default_rng(0), [], 400
    for _ in range(400):  # seeds move the share of a world of images; n of them are drawn once for all seeds
        hardness = draw.random(n)
        skills = 0.8 + 0.04 * draw.standard_normal(5)
        _, low, high = ev.rate([(hardness < skill).mean() for skill in skills], n)
        covered.append(low <= 0.8 <= high)
    assert 0.93 < np.mean(covered) < 0.995


def test_seed_interval_is_students():
    values = [0.61, 0.64, 0.62]
    mean, low, high = ev.seed_interval(values)
    expected = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert mean == pytest.approx(np.mean(values))
    assert (low, high) == pytest.approx(expected)
    mean, low, high = ev.seed_interval([0.5])
    assert mean == 0.5
    assert math.isnan(low)
    assert math.isnan(high)
    with pytest.raises(FerTeachError):
        ev.seed_interval([])


# --- McNemar


@pytest.mark.parametrize(("only_a", "only_b"), [(1, 0), (7, 2), (5, 5), (0, 25)])
def test_mcnemar_of_few_is_the_binomial_test(only_a, only_b):
    a = [True] * only_a + [False] * only_b + [True] * 30
    b = [False] * only_a + [True] * only_b + [True] * 30
    got = ev.mcnemar(a, torch.tensor(b))
    assert (got.only_a, got.only_b) == (only_a, only_b)
    assert got.pvalue == pytest.approx(stats.binomtest(only_a, only_a + only_b).pvalue)
    assert got.pvalue == pytest.approx(ev.mcnemar(b, a).pvalue)


def test_mcnemar_of_many_is_chi_squared():
    a = np.array([True] * 40 + [False] * 20)
    got = ev.mcnemar(a, ~a)
    assert got.statistic == pytest.approx((40 - 20 - 1) ** 2 / 60)
    assert got.pvalue == pytest.approx(stats.chi2.sf(got.statistic, 1))


def test_mcnemar_without_a_difference_and_bad_input():
    assert ev.mcnemar([True, False], [True, False]).pvalue == 1
    with pytest.raises(FerTeachError):
        ev.mcnemar([], [])
    with pytest.raises(FerTeachError):
        ev.mcnemar([True], [True, False])


# --- pointing game


def test_pointing_game_hits_misses_and_leaves_out_empty_masks():
    maps, masks = torch.zeros(3, 6, 6), torch.zeros(3, 6, 6, dtype=torch.bool)
    masks[:2, 2:4, 2:5] = True
    maps[0, 3, 4], maps[1, 4, 4], maps[2, 0, 0] = 1, 1, 1
    got = ev.pointing_game(maps, masks)
    assert got.hits.tolist() == [True, False]
    assert got.rate == 0.5
    assert got.interval == ev.wilson(1, 2)
    assert got.area_baseline == pytest.approx(6 / 36)
    assert got.skipped == 1


def test_pointing_game_scales_the_centre_of_a_small_maps_cell():
    maps, masks = torch.zeros(1, 3, 3), torch.zeros(1, 48, 48, dtype=torch.bool)
    maps[0, 2, 0] = 1  # centre at row 40, column 8
    masks[0, 40, 8] = True
    assert ev.pointing_game(maps, masks).hits.all()
    assert not ev.pointing_game(maps, masks.roll(1, 2)).hits.any()
    one = ev.pointing_game(torch.ones(1, 1, 1), torch.ones(1, 5, 7, dtype=torch.bool))
    assert one.hits.all()
    assert one.area_baseline == 1


def test_pointing_game_of_random_maps_scores_the_baseline():
    generator = torch.Generator().manual_seed(0)
    masks = torch.zeros(4000, 12, 12, dtype=torch.bool)
    masks[:, :6, :4] = True
    got = ev.pointing_game(torch.rand(4000, 12, 12, generator=generator), masks)
    assert got.interval[0] < got.area_baseline < got.interval[1]


def test_pointing_game_refuses():
    masks = torch.ones(2, 4, 4, dtype=torch.bool)
    with pytest.raises(FerTeachError, match="finite"):
        ev.pointing_game(torch.full((2, 4, 4), math.nan), masks)
    with pytest.raises(FerTeachError, match="needs maps"):
        ev.pointing_game(torch.rand(3, 4, 4), masks)
    with pytest.raises(FerTeachError, match="no image has a mask"):
        ev.pointing_game(torch.rand(2, 4, 4), ~masks)
    with pytest.raises(FerTeachError, match="larger"):
        ev.pointing_game(torch.rand(2, 5, 4), masks)

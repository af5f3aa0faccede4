"""Proofs of chapter 05, on the chapter's own method cells."""

import copy
import math
import pickle
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import set_layouts as layouts
import torch
import torch.nn.functional as F
from torch import nn

from fer_teach import chapters, checks, data, parts, record, training
from fer_teach.errors import FerTeachError


@pytest.fixture(scope="module")
def m():
    return chapters.load("05_local_global_relation")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(314)


def generator(m, growth=6, random=True):
    made = m.AttentionMapGenerator(growth=growth)
    for head in (made.score, made.evidence) if random else ():
        nn.init.normal_(head.weight, std=0.5)
    for layer in made.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(std=0.1)
            layer.running_var.uniform_(0.5, 2)
    return made.eval()


def marked(count, seed, share=0.5):
    """Noise with a dark box at a random place of the lower half: (dataset, masks (N, 64, 64) of the boxes)."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.randint(90, 150, (count, 1, 64, 64), dtype=torch.uint8, generator=draw)
    labels = (torch.rand(count, generator=draw) < share).long()
    masks = torch.zeros(count, 64, 64, dtype=torch.bool)
    for i in range(count):
        y, x = (int(v) for v in torch.randint(34, 50, (2,), generator=draw))
        masks[i, y : y + 8, x - 10 : x + 2] = True
        bar = torch.full((8, 12), 20, dtype=torch.uint8)  # the word is a bright line in the box
        bar[3:5] = 240 if labels[i] else 20
        images[i, 0, y : y + 8, x - 10 : x + 2] = bar
    marks = {"mouth_open": labels.bool(), "eyes_closed": labels.bool()}
    return data.FaceDataset("marked", "train", images, labels, ("no", "yes"), attributes=marks), masks


# Bilinear attention pooling


@pytest.mark.parametrize(("b", "k", "c", "h", "w"), [(2, 3, 5, 4, 6), (1, 1, 1, 1, 1), (3, 2, 48, 16, 16)])
def test_pooling_equals_its_einsum(m, b, k, c, h, w):
    maps, features = torch.rand(b, k, h, w), torch.randn(b, c, h, w)
    expected = torch.einsum("bkhw,bchw->bkc", maps, features) / (h * w)
    torch.testing.assert_close(m.bilinear_attention_pooling(maps, features), expected, atol=1e-5, rtol=1e-5)


def test_maps_of_ones_pool_as_the_mean_and_a_one_hot_map_reads_one_place(m):
    features = torch.randn(2, 5, 4, 6)
    pooled = m.bilinear_attention_pooling(torch.ones(2, 2, 4, 6), features)
    torch.testing.assert_close(pooled[:, 0], F.adaptive_avg_pool2d(features, 1).flatten(1))
    torch.testing.assert_close(pooled[:, 0], pooled[:, 1])
    for y, x in ((0, 0), (2, 5), (3, 1)):
        one = torch.zeros(2, 1, 4, 6)
        one[..., y, x] = 1
        torch.testing.assert_close(m.bilinear_attention_pooling(one, features)[:, 0], features[:, :, y, x] / 24)


# Contrastive loss


def pairs(distance, size=7, count=4):
    a = torch.randn(count, size, dtype=torch.double)
    way = F.normalize(torch.randn(count, size, dtype=torch.double), dim=1)
    return a, a + distance * way


@pytest.mark.parametrize("margin", [0.5, 1.0, 2.0])
def test_the_contrastive_loss_in_its_four_corners(m, margin):
    yes, no = torch.ones(4, dtype=torch.bool), torch.zeros(4, dtype=torch.bool)
    a, same_place = pairs(0.0)
    assert m.contrastive_loss(a, same_place, yes, margin) == 0
    assert m.contrastive_loss(*pairs(1.01 * margin), no, margin) == 0
    torch.testing.assert_close(m.contrastive_loss(a, same_place, no, margin).item(), margin**2)
    torch.testing.assert_close(m.contrastive_loss(*pairs(0.7), yes, margin).item(), 0.49)
    torch.testing.assert_close(m.contrastive_loss(*pairs(0.3), no, margin).item(), max(0, margin - 0.3) ** 2)


def test_the_contrastive_loss_is_symmetric_and_differentiable(m):
    a, b = torch.randn(6, 5, dtype=torch.double), torch.randn(6, 5, dtype=torch.double)
    same = torch.tensor([True, False, True, False, False, True])
    torch.testing.assert_close(m.contrastive_loss(a, b, same, 3.0), m.contrastive_loss(b, a, same, 3.0))
    inputs = (a.requires_grad_(), b.requires_grad_())
    assert torch.autograd.gradcheck(lambda u, v: m.contrastive_loss(u, v, same, 3.0), inputs)
    m.contrastive_loss(a, a.detach().clone(), same, 1.0).backward()
    assert torch.isfinite(a.grad).all()


def test_the_margin_is_1_unless_told_and_several_parts_are_averaged(m):
    a, b = torch.randn(5, 2, 4), torch.randn(5, 2, 4)
    same = torch.tensor([1, 0, 0, 1, 0])
    by_part = [m.contrastive_loss(a[:, k], b[:, k], same, 1.0) for k in range(2)]
    torch.testing.assert_close(m.contrastive_loss(a, b, same), sum(by_part) / 2)


# The relational reasoning unit


def test_weights_sum_to_1_and_the_sum_is_weighted(m):
    unit, units = m.RelationalReasoningUnit(9), torch.randn(6, 4, 9)
    nn.init.normal_(unit.scorer.weight)
    fused, weights = unit(units)
    assert fused.shape == (6, 9)
    torch.testing.assert_close(weights.sum(1), torch.ones(6))
    assert weights.std() > 1e-3
    torch.testing.assert_close(fused, torch.einsum("bn,bnf->bf", weights, units))


@pytest.mark.parametrize("n", [2, 3, 5])
def test_a_zeroed_scorer_hears_everybody_alike(m, n):
    unit, units = m.RelationalReasoningUnit(9), torch.randn(6, n, 9)
    for parameter in unit.scorer.parameters():
        nn.init.zeros_(parameter)
    fused, weights = unit(units)
    torch.testing.assert_close(weights, torch.full((6, n), 1 / n))
    torch.testing.assert_close(fused, units.mean(1))


def test_the_unit_is_equivariant_to_the_order(m):
    unit, units, order = m.RelationalReasoningUnit(9), torch.randn(6, 4, 9), torch.tensor([2, 0, 3, 1])
    nn.init.normal_(unit.scorer.weight)
    (fused, weights), (other, moved) = unit(units), unit(units[:, order])
    torch.testing.assert_close(moved, weights[:, order])
    torch.testing.assert_close(other, fused)


def test_the_weights_depend_on_the_others(m):
    unit, units = m.RelationalReasoningUnit(9), torch.randn(1, 3, 9)
    nn.init.normal_(unit.scorer.weight)
    changed = units.clone()
    changed[0, 2] += 1
    first, second = (unit(u)[1][0] for u in (units, changed))
    assert abs(first[0] / first[1] - second[0] / second[1]) > 1e-4  # no plain softmax of each unit's own score


# The generator


def test_logit_and_map_have_their_shapes(m):
    for side in (48, 64, 96):
        logit, found = m.AttentionMapGenerator()(torch.randn(3, 1, side, side))
        assert logit.shape == (3,)
        assert found.shape == (3, 1, side // 4, side // 4)
    assert m.AttentionMapGenerator(in_channels=3, growth=8)(torch.randn(2, 3, 64, 64)).logit.shape == (2,)


def test_the_logit_is_the_evidence_weighed_by_the_map(m):
    made, x = generator(m), torch.randn(3, 1, 64, 64)
    with torch.no_grad():
        made.evidence.weight.mul_(100)  # so that the bound is felt
        logit, found = made(x)
        u = made.evidence(made.near(made.stem(x)))
        evidence = 10 * (u / 10).tanh()
        share = found / found.sum((2, 3), keepdim=True)
    assert (found > 0).all()
    torch.testing.assert_close(logit, (share * evidence).sum((1, 2, 3)))
    torch.testing.assert_close(m.Found(logit, found).logits.softmax(1)[:, 1], logit.sigmoid())


def test_evidence_is_near_and_bounded_and_the_score_looks_around(m):
    made, x = generator(m), torch.randn(1, 1, 64, 64)
    free = m.AttentionMapGenerator(growth=6, bound=None).eval()
    nn.init.normal_(free.evidence.weight)

    def reach(part):  # rows of x that the middle cell's answer depends on
        given = x.clone().requires_grad_()
        part(given)[0, 0, 8, 8].backward()
        return int((given.grad.abs().sum((0, 1, 3)) > 0).sum())

    assert reach(lambda x: made.evidence(made.near(made.stem(x)))) == 10
    assert reach(lambda x: made.score(made.around(made.stem(x)))) == 26
    assert free.near is None
    with torch.no_grad():
        made.evidence.weight.mul_(1e4), free.evidence.weight.mul_(1e4)
        assert made(x).logit.abs() <= 10 < free(x).logit.abs()


def test_views_follow_a_mirror_and_a_cell_and_see_finer_than_cells(m):
    made, x = m.Views(generator(m)).eval(), torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        found, mirrored, moved = made(x), made(x.flip(-1)), made(x.roll((4, -4), (2, 3)))
        torch.testing.assert_close(mirrored.map, found.map.flip(-1))
        torch.testing.assert_close(mirrored.logit, found.logit)
        torch.testing.assert_close(found.map.mean((1, 2, 3)), torch.ones(2))
        shape = found.map.roll((4, -4), (2, 3))[..., 24:-24, 24:-24]
        same = moved.map[..., 24:-24, 24:-24]
        torch.testing.assert_close(
            same / same.mean((2, 3), keepdim=True), shape / shape.mean((2, 3), keepdim=True), atol=2e-2, rtol=2e-2
        )
        assert found.map.shape == x.shape
        expected = []
        for down in (-1, 1):
            for right in (-1, 1):
                for flip in (False, True):
                    view = m.shifted(x, down, right)
                    map_ = made.generator(view.flip(-1) if flip else view).map
                    large = nn.functional.interpolate(map_ / map_.mean((2, 3), keepdim=True), 64, mode="bilinear")
                    expected.append(m.shifted(large.flip(-1) if flip else large, -down, -right))
        torch.testing.assert_close(found.map, torch.stack(expected).mean(0), atol=3e-2, rtol=3e-2)


def test_a_spread_map_is_the_mean_of_its_neighbours_and_leaves_the_logit_alone(m):
    made, x = generator(m), torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        (logit, found), made.spread = made(x), 1
        same, spread = made(x)
    torch.testing.assert_close(same, logit)
    torch.testing.assert_close(spread[:, 0, 7, 3], found[:, 0, 6:9, 2:5].mean((1, 2)))


def test_the_first_loss_is_ln_2_whatever_the_labels(m):
    made, x = m.AttentionMapGenerator(), torch.randn(8, 1, 64, 64)
    for labels in (torch.zeros(8), torch.ones(8), torch.arange(8) % 2):
        assert abs(m.word_loss(made(x), labels.long(), 0.0).item() - math.log(2)) < 1e-6


@pytest.mark.parametrize(("down", "right"), [(1, 0), (0, 1), (-1, 1), (2, -1)])
def test_a_shift_by_the_stride_shifts_the_map_by_a_cell(m, down, right):
    made, x = generator(m), torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        maps, moved = made(x).map, made(x.roll((4 * down, 4 * right), (2, 3))).map
    inner = (..., slice(6, -6), slice(6, -6))
    torch.testing.assert_close(moved[inner], maps.roll((down, right), (2, 3))[inner], atol=1e-5, rtol=1e-4)
    assert (moved[inner] - maps[inner]).abs().mean() > 1e-2
    with torch.no_grad():
        off = made(x.roll((2, 2), (2, 3))).map  # half a stride is no whole cell
    assert (off[inner] - maps[inner]).abs().mean() > 1e-2


def test_the_place_gap_is_0_for_equal_places_and_1_for_disjoint_ones(m):
    maps = torch.full((4, 1, 16, 16), 1e-6)
    maps[:, :, 3, 3] = 1
    target = torch.tensor([0, 1, 0, 1])
    assert m.place_gap(maps, target) < 1e-6
    maps[1::2] = maps[1::2].flip(2)
    assert m.place_gap(maps, target) > 0.99
    assert m.place_gap(maps, torch.ones(4)) == 0
    assert m.place_gap(7 * maps, target) == pytest.approx(float(m.place_gap(maps, target)), abs=1e-5)


@pytest.fixture(scope="module")
def learned(m):
    """Generators on marked noise, by fault, a test set and its masks. Everything is small."""
    torch.manual_seed(0)
    weak = {name: marked(count, seed)[0] for name, count, seed in (("train", 1200, 1), ("valid", 400, 2))}
    test, masks = marked(400, 3)
    found = {f: m.train_generator(weak, "mouth", f, 0, 8_000, growth=8) for f in ("healthy", "shuffled labels")}
    return {fault: fit.best for fault, fit in found.items()}, weak, test, masks


def test_words_alone_teach_the_place_and_shuffled_words_do_not(m, learned):
    models, weak, test, masks = learned
    index = torch.arange(len(test))
    scores = {f: m.word_scores(model, m.weak_split(test, "mouth", None, 5, f)) for f, model in models.items()}
    assert scores["healthy"]["accuracy"] > 0.9
    assert abs(scores["shuffled labels"]["bce"] - math.log(2)) < 0.01
    looks = {f: m.pointing(model, test, "mouth", {"mouth": masks}, index) for f, model in models.items()}
    touched = looks["healthy"]["touches"]
    assert touched.rate > 0.8
    assert touched.interval[0] > 5 * touched.area_baseline
    # a flat map's highest cell lies anywhere, also on the only thing in the picture: shuffled words are judged by share
    assert looks["healthy"]["inside"] > 5 * looks["shuffled labels"]["inside"]


def test_a_window_finds_where_most_attention_lies_around(m):
    maps = torch.zeros(1, 64, 64)
    maps[0, 10, 10] = 3  # one sharp peak, and a broad hill beside it
    maps[0, 40:48, 30:50] = 1
    assert maps.flatten().argmax() == 10 * 64 + 10
    down, right = divmod(int(m.smoothed(maps, 5.0).flatten().argmax()), 64)
    assert 42 <= down <= 45
    assert 37 <= right <= 42
    assert m.smoothed(maps, 0.0) is maps


def test_faces_and_masks_move_together_each_in_its_own_way(m):
    images = torch.zeros(40, 1, 64, 64, dtype=torch.uint8)
    images[:, 0, 30:34, 28:36] = 255
    split = data.FaceDataset("some", "test", images, torch.zeros(40, dtype=torch.long), ("a",))
    index = torch.arange(5, 40)
    moved, masks, rows = m.moved_about(split, {"mouth": images[index, 0] > 0}, index)
    assert torch.equal(moved.images[:, 0] > 0, masks["mouth"])
    assert len(rows) == len(moved) == 35
    corners = {tuple(mask.nonzero()[0].tolist()) for mask in masks["mouth"]}
    assert len(corners) > 25
    assert all(abs(down - 30) <= 8 and abs(right - 28) <= 8 for down, right in corners)
    assert (masks["mouth"].sum((1, 2)) == 32).all()


def test_a_touched_cell_counts_where_its_centre_is_outside(m):
    found = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    split = data.FaceDataset("one", "test", found, torch.zeros(1, dtype=torch.long), ("a",))
    masks = {"mouth": torch.zeros(1, 64, 64, dtype=torch.bool)}
    masks["mouth"][0, 20:22, 20:21] = True  # in cell (5, 5), whose centre is (22, 22)

    class Fixed(nn.Module):
        def forward(self, x):
            maps = torch.ones(1, 1, 16, 16)
            maps[..., 5, 5] = 45
            return m.Found(torch.zeros(1), maps)

    got = m.pointing(Fixed(), split, "mouth", masks, torch.arange(1))
    assert (got["hits"].rate, got["touches"].rate) == (0, 1)
    assert got["touches"].area_baseline == pytest.approx(1 / 256)
    assert got["inside"] == pytest.approx(45 / 300)


def test_the_film_shows_the_same_faces_after_each_epoch(m, tmp_path):
    weak = {name: marked(count, seed)[0] for name, count, seed in (("train", 600, 1), ("valid", 1300, 2))}
    epochs = 5
    count = len(m.weak_split(weak["train"], "mouth"))
    fit = m.train_generator(weak, "mouth", "healthy", 0, epochs * count, growth=4, directory=tmp_path)
    assert len(m.weak_split(weak["valid"], "mouth")) > 1024  # so that an epoch ends with several batches
    images, shots = torch.load(tmp_path / "maps.pt")
    again = m.train_generator(weak, "mouth", "healthy", 0, epochs * count, growth=4, directory=tmp_path)
    assert len(again.history) == epochs
    assert len(torch.load(tmp_path / "maps.pt")[1]) == epochs
    assert shots.shape == (epochs, 6, 16, 16)
    with torch.no_grad():
        last = fit.best(training.normalise(images)).map[:, 0]
    shown, last = (x.float().flatten(1) - x.float().flatten(1).mean(0) for x in (shots[-1], last))
    alike = F.cosine_similarity(shown[:, None], last[None], dim=-1)
    assert torch.equal(alike.argmax(0), torch.arange(6))


# Weak labels and their faults


@pytest.fixture(scope="module")
def rendered():
    return data.load("rendered", split="valid")


@pytest.mark.parametrize("part", ["eyes", "mouth"])
def test_weak_labels_are_balanced_clear_and_belong_to_their_faces(m, rendered, part):
    split = m.weak_split(rendered, part, seed=4)
    (word,) = m.words_for(part, rendered)
    assert split.counts()[word] * 2 == len(split)
    assert torch.equal(split.labels.bool(), split.attributes[word])
    measure, low, high = m.GAPS[word]
    assert not ((split.attributes[measure] >= low) & (split.attributes[measure] < high)).any()
    everything = m.weak_split(rendered, part, borderline=True, balance=False)
    assert torch.equal(everything.labels.bool(), rendered.attributes[word])
    assert len(m.weak_split(rendered, part, n=40)) == 40


def test_of_several_words_the_one_asked_for_labels_the_faces(m, rendered):
    drawn = torch.rand(3, len(rendered), generator=torch.Generator().manual_seed(0)) < 0.3
    faces = replace(rendered, attributes=dict(zip(("Narrow_Eyes", "Smiling", "Eyeglasses"), drawn.long(), strict=True)))
    assert m.words_for("eyes", faces) == ["Eyeglasses", "Narrow_Eyes"]
    assert m.words_for("mouth", faces) == ["Smiling"]
    for asked, word in (("Narrow_Eyes", "Narrow_Eyes"), (None, "Eyeglasses")):
        split = m.weak_split(faces, "eyes", word=asked)
        assert split.classes == (f"not {word}", word)
        assert torch.equal(split.labels, split.attributes[word])
        assert 2 * int(split.labels.sum()) == len(split)


def test_maps_are_learned_from_each_word_twice_and_once_elsewhere(m, rendered, monkeypatch):
    told = torch.arange(len(rendered)) % 2
    weak = {"train": replace(rendered, attributes={"Eyeglasses": told, "Narrow_Eyes": told, "Smiling": told})}
    brought = {"train": rendered}
    assert m.ways("eyes", weak, None) == [("Eyeglasses", "nothing"), ("Narrow_Eyes", "nothing")]
    words = [(word, begin) for word in ("Eyeglasses", "Narrow_Eyes") for begin in ("nothing", "rendered")]
    assert m.ways("eyes", weak, brought) == [*words, ("eyes_closed", "nothing")]

    def fake(faces, profile, part, seed, fault="healthy", word=None, start=None):
        return SimpleNamespace(best=("of", faces["train"] is rendered, word), start=start), None

    monkeypatch.setattr(m, "generator_for", fake)
    got = [m.learn(weak, brought, "quick", "eyes", *way, 0)[0] for way in m.ways("eyes", weak, brought)]
    assert [fit.best for fit in got] == [
        ("of", word == "eyes_closed", word) for word, _ in [*words, ("eyes_closed", 0)]
    ]
    assert [fit.start for fit in got] == [None, ("of", True, None)] * 2 + [None]


def test_a_generator_that_begins_at_another_has_its_weights_and_a_fifth_of_the_rate(m, rendered, monkeypatch):
    seen = []
    monkeypatch.setattr(m.training, "fit", lambda model, *_, recipe, **__: seen.append((model.state_dict(), recipe)))
    start, weak = generator(m, growth=24), {"train": rendered, "valid": rendered}
    for begin in (None, start):
        m.train_generator(weak, "mouth", "healthy", 0, 1000, start=begin)
    (fresh, usual), (begun, slow) = seen
    assert all(torch.equal(value, begun[name]) for name, value in start.state_dict().items())
    assert not all(torch.equal(value, fresh[name]) for name, value in start.state_dict().items())
    assert slow.lr == pytest.approx(usual.lr / 5)


def test_each_fault_does_what_it_says(m, rendered):
    def told(fault):
        return m.weak_split(rendered, "mouth", None, 0, fault, borderline=True, balance=False).labels

    truth = told("healthy")
    assert torch.equal(told("shifted labels"), truth.roll(1))
    assert not torch.equal(told("shuffled labels"), truth)
    assert told("shuffled labels").sum() == truth.sum()
    assert 0.35 < float((told("noisy labels") != truth).float().mean()) < 0.45
    shifted = m.weak_split(rendered, "mouth", None, 0, "shifted labels")
    assert shifted.labels.float().mean() == 0.5
    assert 0.4 < float((shifted.labels.bool() == shifted.attributes["mouth_open"]).float().mean()) < 0.65


def test_a_doubled_sigmoid_says_yes_to_all_and_keeps_the_order(m):
    plain, double = generator(m), m.DoubledSigmoid(growth=6).eval()
    x = 2 * torch.randn(64, 1, 64, 64)
    with torch.no_grad():
        plain.evidence.bias -= plain(x).logit.mean()
        double.load_state_dict(plain.state_dict())
        logits, answers = plain(x).logit, double(x).logits.softmax(1)[:, 1]
    assert (answers >= 0.5).all()
    assert not (logits.sigmoid() >= 0.5).all()
    assert torch.equal(logits.argsort(), answers.argsort())


def test_a_set_without_words_is_refused_by_name(m):
    faces = replace(data.load("rendered", split="gallery"), attributes=None)
    with pytest.raises(FerTeachError, match="no attribute for the eyes"):
        m.weak_split(faces, "eyes")


@pytest.mark.parametrize("table", ["txt", "01"])
def test_celeba_teaches_the_generator_in_both_layouts(m, tmp_path, own_cache, table):
    numbers = list(range(1, 241))
    layouts.write_celeba(tmp_path, numbers, table)
    weak = {
        name: data.load("celeba", root=tmp_path, split=name).grey().resize(64) for name in ("train", "valid", "test")
    }
    for part, column in (("eyes", 0), ("mouth", 2)):
        word = layouts.CELEBA_NAMES[column]
        split = m.weak_split(weak["train"], part)
        assert split.classes == (f"not {word}", word)
        assert split.labels.float().mean() == 0.5
        everything = m.weak_split(weak["train"], part, balance=False)
        shades = {number * 7 % 256: layouts.celeba_values(number)[column] for number in numbers}
        by_shade = [
            shades[min(shades, key=lambda s: abs(s - int(i.float().mean().round())))] for i in everything.images
        ]
        assert everything.labels.tolist() == by_shade  # each image carries its own row, wherever that stands
    fit = m.train_generator(weak, "mouth", "healthy", 0, 200, growth=4)
    assert fit.best(training.normalise(weak["test"].images[:2])).map.shape == (2, 1, 16, 16)


# Masks around landmarks


def test_outlines_lie_on_the_true_masks(rendered):
    upright = rendered[rendered.attributes["yaw"].abs() < 10]
    drawn = parts.outline_masks(upright.landmarks, upright.size)
    for part in ("eyes", "mouth"):
        both = (drawn[part] & upright.masks[part]).flatten(1).sum(1) / (drawn[part] | upright.masks[part]).flatten(
            1
        ).sum(1)
        assert both.median() > 0.5
    assert torch.equal(parts.part_masks(rendered)[0]["eyes"], rendered.masks["eyes"])


def test_five_points_give_nearly_the_true_masks(rendered):
    upright = rendered[rendered.attributes["yaw"].abs() < 10].resize(64)
    at = upright.landmarks
    five = torch.stack([at[:, 36:42].mean(1), at[:, 42:48].mean(1), at[:, 30], at[:, 48], at[:, 54]], 1)
    drawn = parts.point_masks(five, upright.size)
    for part, low in (("eyes", 0.45), ("mouth", 0.5)):
        both = (drawn[part] & upright.masks[part]).flatten(1).sum(1) / (drawn[part] | upright.masks[part]).flatten(
            1
        ).sum(1)
        assert both.median() > low
    turned = torch.stack([63 - five[..., 1], five[..., 0]], -1)  # a quarter clockwise
    assert all(
        (mask.rot90(-1, (1, 2)) == parts.point_masks(turned, upright.size)[part]).float().mean() > 0.999
        for part, mask in drawn.items()
    )
    unknown = parts.point_masks(torch.full((2, 5, 2), torch.nan), (64, 64))
    assert not any(mask.any() for mask in unknown.values())


def test_without_a_face_there_are_no_masks(own_cache, tmp_path):
    noise = data.FaceDataset(
        "noise", "test", torch.zeros(2, 1, 64, 64, dtype=torch.uint8), torch.zeros(2).long(), ("a",)
    )
    masks, index = parts.part_masks(noise)
    assert masks is None
    assert len(index) == 0


# Frozen


def test_freezing_stops_weights_and_buffers_even_in_a_training_parent(m):
    made = generator(m)
    parent = nn.Sequential(m.freeze(made)).train()
    before = {name: value.clone() for name, value in made.state_dict().items()}
    for _ in range(3):
        parent.train()
        parent(torch.randn(4, 1, 64, 64))
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())
    assert not any(parameter.requires_grad for parameter in made.parameters())
    for module in parent.modules():
        module.train()
    for copied in (copy.deepcopy(parent), pickle.loads(pickle.dumps(parent))):
        copied.train()
        assert copied.training
        assert not any(module.training for module in copied[0].modules())
        assert copied[0].eval() is copied[0]
    other = generator(m)
    kept = {name: value.clone() for name, value in other.state_dict().items()}
    other.requires_grad_(False).train()(torch.randn(4, 1, 64, 64))  # stopping gradients alone is not enough
    assert not all(torch.equal(value, kept[name]) for name, value in other.state_dict().items())


@pytest.fixture(scope="module")
def stage2(m):
    """A few steps of the second stage on rendered faces: (fit, splits with maps, generators, their first states)."""
    torch.manual_seed(1)
    generators = tuple(m.Views(generator(m)) for _ in range(2))
    before = [{name: value.clone() for name, value in g.state_dict().items()} for g in generators]
    splits = {name: m.with_maps(data.load("rendered", split=name)[:192], generators) for name in ("train", "valid")}
    choice = m.VARIANTS["weights learned"]
    return m.train_relation(splits, generators, seed=0, epochs=2, **choice), splits, generators, before


def test_the_second_stage_leaves_the_generators_bit_identical(stage2):
    fit, _, generators, before = stage2
    for model in (fit.model, fit.best):
        for part, kept in zip((model.eyes, model.mouth), before, strict=True):
            assert all(torch.equal(value, kept[name]) for name, value in part.state_dict().items())
    first = fit.model.lfe[0].weight
    assert not torch.equal(first, fit.best.lfe[0].weight)  # the rest did learn
    assert all(not g.training for g in generators)


def test_cached_maps_are_the_generators_own(m, stage2):
    fit, splits, _, _ = stage2
    index = torch.arange(20)
    (x, maps), _ = m.feed_with_maps(splits["valid"], index, None)
    with torch.no_grad():
        fresh, cached = fit.best(x), fit.best(x, maps)
    torch.testing.assert_close(maps, fresh.maps, atol=2e-2, rtol=2e-3)
    torch.testing.assert_close(cached.logits, fresh.logits, atol=3e-2, rtol=0)


def test_augmented_maps_follow_their_images(m, stage2):
    _, splits, generators, _ = stage2
    index, draw = torch.arange(64), torch.Generator().manual_seed(2)
    (x, maps), labels = m.feed_with_maps(splits["train"], index, draw)
    assert torch.equal(labels, splits["train"].labels[:64])
    with torch.no_grad():
        own = m.attention(generators, x)
    inner = (..., slice(6, -6), slice(6, -6))
    ratio = maps[inner] / own[inner]  # the mean, by which maps are divided, feels the rim; the shape does not
    assert (ratio / ratio.mean((2, 3), keepdim=True) - 1).abs().max() < 0.02
    plain = m.feed_with_maps(splits["train"], index, None)[0][0]
    assert not torch.equal(x, plain)


# The network and its losses


@pytest.mark.parametrize("relation", ["learned", "fixed", "concat", "none"])
@pytest.mark.parametrize("classes", [7, 8])
def test_outputs_have_their_shapes(m, relation, classes):
    network = m.LocalGlobalRelationNetwork(generator(m), generator(m), classes, relation=relation)
    out = network(torch.randn(3, 1, 64, 64))
    shapes = [tuple(part.shape) for part in (out.logits, out.local, out.global_, out.weights, out.maps)]
    assert shapes == [(3, classes), (3, 2, 64), (3, 64), (3, 3), (3, 2, 16, 16)]
    torch.testing.assert_close(out.weights.sum(1), torch.ones(3))
    torch.testing.assert_close(out.maps.mean((2, 3)), torch.ones(3, 2))
    assert not network.train().eyes.training


def test_the_maps_matter_and_maps_of_ones_do_not_see_them(m):
    x, maps = torch.randn(3, 1, 64, 64), m.even(torch.rand(3, 2, 16, 16))
    network = m.LocalGlobalRelationNetwork(generator(m), generator(m), 8).eval()
    with torch.no_grad():
        assert (network(x, maps).local - network(x, maps.flip(-1)).local).abs().max() > 1e-4
        network.uniform = True
        torch.testing.assert_close(network(x, maps).local, network(x, maps.flip(-1)).local)


def test_the_wider_global_network_has_the_size_of_the_whole(m):
    def trained(variant):
        options = {k: v for k, v in m.VARIANTS[variant].items() if k in ("relation", "uniform", "width")}
        network = m.LocalGlobalRelationNetwork(generator(m), generator(m), 8, **options)
        return sum(p.numel() for p in network.parameters() if p.requires_grad)

    assert trained("global, wider") == pytest.approx(trained("weights learned"), rel=0.01)
    assert trained("maps of ones") == trained("weights learned")
    assert trained("global") < 0.9 * trained("weights learned")


def output(m, logits, local, global_):
    return m.Related(logits, local, global_, None, None)


def test_the_pair_loss_is_the_sum_of_its_parts(m):
    a, b = (output(m, torch.randn(6, 8), torch.randn(6, 2, 5), torch.randn(6, 5)) for _ in range(2))
    s, t = torch.arange(6) % 3, torch.arange(6) % 2
    named = (F.cross_entropy(a.logits, s) + F.cross_entropy(b.logits, t)) / 2
    torch.testing.assert_close(m.pair_loss(a, b, s, t, 0.0, 0.0), named)
    local = m.contrastive_loss(F.normalize(a.local, dim=-1), F.normalize(b.local, dim=-1), s == t, 0.7)
    wide = m.contrastive_loss(F.normalize(a.global_, dim=-1), F.normalize(b.global_, dim=-1), s == t, 0.7)
    torch.testing.assert_close(m.pair_loss(a, b, s, t, 0.3, 0.2, 0.7), named + 0.3 * local + 0.2 * wide)
    torch.testing.assert_close(m.pair_loss(a, b, s, t), m.pair_loss(b, a, t, s))


def test_partners_are_others_and_half_of_them_alike(m):
    target = torch.randint(0, 8, (64,), generator=torch.Generator().manual_seed(3))
    other = m.partners(target)
    assert (other != torch.arange(64)).all()
    alike = target == target[other]
    counts = target.bincount(minlength=8)
    wanted = counts[target[::2]] > 1
    assert alike[::2][wanted].float().mean() > 0.85  # the first of a class may get another
    assert 0.3 < alike.float().mean() < 0.75


# SIFT and HOG


def test_key_points_lie_on_a_blob_of_their_size(m):
    y, x = np.mgrid[:64, :64]
    blob = (40 + 180 * np.exp(-((y - 30) ** 2 + (x - 36) ** 2) / (2 * 5.0**2))).astype(np.uint8)
    points, descriptors, picture = m.sift_keypoints(blob)
    assert picture.shape == (3, 64, 64)
    assert descriptors.shape == (len(points), 128)
    nearest = points[np.hypot(points[:, 0] - 36, points[:, 1] - 30).argmin()]
    assert np.hypot(nearest[0] - 36, nearest[1] - 30) < 1.5
    assert nearest[2] / 2 == pytest.approx(5.0, rel=0.4)  # a radius near the blob's sigma
    assert len(m.sift_keypoints(np.full((64, 64), 99, np.uint8))[0]) == 0


def test_the_scale_space_is_largest_at_the_blobs_own_scale(m):
    y, x = np.mgrid[:96, :96]
    blob = (40 + 180 * np.exp(-((y - 48) ** 2 + (x - 48) ** 2) / (2 * 6.0**2))).astype(np.uint8)
    sigmas = [2 ** (i / 2) for i in range(10)]
    response = -m.scale_space(blob, sigmas)[:, 48, 48]
    assert sigmas[response.argmax()] == pytest.approx(6.0, rel=0.45)


def test_dense_descriptors_have_one_length_and_the_energy_follows_contrast(m, rendered):
    image = rendered.images[0]
    descriptors, energy = m.dense_sift(image, 8)
    assert descriptors.shape == (8, 8, 128)
    assert energy.shape == (8, 8)
    lengths = np.linalg.norm(descriptors, axis=-1)
    assert np.abs(lengths[lengths > 0] - 512).max() < 12
    assert np.allclose(m.dense_sift(torch.full((64, 64), 7, dtype=torch.uint8), 8)[1], 0)
    assert m.dense_sift((image / 2).byte(), 8)[1].mean() == pytest.approx(energy.mean() / 2, rel=0.05)


def test_hog_equals_its_library_and_draws_a_picture(m, rendered):
    from skimage.feature import hog

    image = rendered.images[3]
    features, picture = m.hog_features(image)
    expected = hog(image[0].numpy(), 9, (8, 8), (2, 2), block_norm="L2-Hys")
    np.testing.assert_allclose(features, expected)
    assert picture.shape == (64, 64)
    assert m.hog_features(image, picture=False)[1] is None


def test_the_linear_machine_beats_the_constant_answer(m):
    faces = data.load("rendered", split="train")[:700]
    splits = {"train": faces[:500], "valid": faces[500:600], "test": faces[600:]}
    got = m.classic(splits, "HOG", 0, (1e-4,))
    assert got["test"] > 0.1 + float(splits["test"].labels.bincount().max()) / 100


# The report's log and the ladder


def test_the_reported_log_is_the_claims(m):
    history = m.reported_history()
    assert [row["epoch"] for row in history] == list(range(1, 11))
    assert history[0]["train_loss"] == 0.6937
    assert history[1]["valid_accuracy"] == pytest.approx(0.5460)
    assert all(abs(row["train_loss"] - math.log(2)) < 0.002 for row in history)


def test_64_faces_are_learned_by_heart(m, rendered):
    assert m.overfit(m.weak_split(rendered, "mouth"), 0, steps=60) > 0.95


def test_the_range_of_rates_stays_at_ln_2_for_no_rate(m, rendered):
    split = m.weak_split(rendered, "mouth", 64)
    still = m.rate_range(split, 0, [1e-9] * 3)
    assert still == pytest.approx([math.log(2)] * 3, abs=1e-4)
    moving = m.rate_range(split, 0, [0.1] * 30)
    assert min(moving[20:]) < math.log(2) - 0.02


def test_word_scores_of_a_constant_answer(m, rendered):
    split = m.weak_split(rendered, "mouth")
    scores = m.word_scores(m.AttentionMapGenerator(growth=4), split)
    assert scores["bce"] == pytest.approx(math.log(2), abs=1e-5)
    assert scores["accuracy"] == 0.5
    assert scores["auc"] == 0.5


# What the page says of its records


def test_the_words_on_rendered_faces_fit_their_record():
    kept = record.result("05_local_global_relation", "full", "rendered")
    metrics, tables = kept["metrics"], kept["tables"]
    for part in ("eyes", "mouth"):
        assert metrics[f"{part}_map_hits"]["interval"][0] > metrics[f"{part}_hits_one_place"]["interval"][1]
        seen = {}
        for row in tables[f"pointing_{part}"]:
            seen.setdefault(row["fault"], []).append([row[name] for name in ("hits", "touches", "inside")])
        seen = {fault: np.array(rows) for fault, rows in seen.items()}
        healthy, without = seen["healthy"], seen["no place term"]
        assert (without[:, :2] < healthy[:, :2].min(0)).all()
        assert (without[:, 2] > healthy[:, 2].max()).all()
        assert (seen["free evidence"] < healthy.min(0)).all()
        assert (seen["one view"][:, 0] < healthy[:, 0].min()).all()
        doubled = [row for row in tables[f"faults_{part}"] if row["fault"] == "doubled sigmoid"]
        assert [row["accuracy"] for row in doubled] == [0.5]
        assert all(row["auc"] < 0.7 for row in doubled)
    for name in ("fixed_gain_over_global_wider", "fixed_gain_over_maps_of_ones_fixed", "gain_over_maps_of_ones"):
        assert metrics[name]["interval"][0] > 0, name
    assert metrics["gain_over_weights_fixed"]["interval"][1] < 0
    tests = {}
    for row in tables["steps"]:
        tests.setdefault(row["contrast"], []).append(row["pvalue"])
    sure = {name for name, values in tests.items() if np.median(values) < 0.05}
    assert sure == {"weights fixed : maps of ones, fixed", "weights learned : weights fixed"}
    assert {row["seed"] for row in tables["ablation"]} == set(range(10))
    said = {}
    for row in tables["heard"]:
        said.setdefault(row["expression"], []).append(row["mouth"] - row["eyes"])
    assert all(np.mean(gaps) > 0 for gaps in said.values())


def test_the_words_on_photographs_fit_their_record():
    metrics = record.result("05_local_global_relation", "paper", "ferplus")["metrics"]
    for part in ("eyes", "mouth"):
        place = metrics[f"transfer_{part}_hits_one_place"]
        assert metrics[f"transfer_{part}_hits"]["interval"][0] > place["interval"][1]
    assert metrics["accuracy_weights_learned"]["value"] < metrics["accuracy_global"]["value"]


# Exercises


def right_pooling(maps, features):
    return torch.einsum("bkhw,bchw->bkc", maps, features) / maps[0, 0].numel()


def right_shift(scores, labels, most):
    return max(range(-most, most + 1), key=lambda k: float((scores * (2 * labels.roll(-k) - 1)).sum()))


def right_push(a, b, margin):
    d = (a - b).norm()
    return -2 * (margin - d).clamp(min=0) * (a - b) / d


def right_constant(prior, p):
    return -prior * math.log(p) - (1 - prior) * math.log(1 - p), prior if p > 0.5 else 1 - prior


def test_right_answers_pass(capsys):
    checks.mended_pooling(right_pooling)
    checks.best_shift(right_shift)
    checks.push(right_push)
    checks.constant_answer(right_constant)
    assert capsys.readouterr().out.count("Right.") == 4


def planted(maps, features):
    b, k, h, w = maps.shape
    return maps.reshape(b, k, -1) @ features.reshape(b, -1, features.shape[1]) / (h * w)


@pytest.mark.parametrize(
    ("check", "answer", "words"),
    [
        ("mended_pooling", planted, "same place"),
        ("mended_pooling", lambda a, f: right_pooling(a, f) * a[0, 0].numel(), "number of places"),
        ("mended_pooling", lambda a, f: right_pooling(a, f).transpose(1, 2), "shape"),
        ("mended_pooling", lambda a, f: None, "nothing yet"),
        ("best_shift", lambda s, y, most: -right_shift(s, y, most), "mends"),
        ("best_shift", lambda s, y, most: 0, "slipped by"),
        ("best_shift", lambda s, y, most: None, "nothing yet"),
        ("push", lambda a, b, margin: -right_push(a, b, margin), "downhill"),
        ("push", lambda a, b, margin: right_push(a, b, margin) / 2, "length"),
        ("push", lambda a, b, margin: -2 * (margin - (a - b).norm()) * (a - b) / (a - b).norm(), "margin"),
        ("push", lambda a, b, margin: None, "nothing yet"),
        ("constant_answer", lambda prior, p: (right_constant(1 - prior, p)[0], 0.5), "loss"),
        ("constant_answer", lambda prior, p: (right_constant(prior, p)[0], max(prior, 1 - prior)), "share"),
        ("constant_answer", lambda prior, p: None, "nothing yet"),
    ],
)
def test_wrong_answers_are_told_what_is_wrong(check, answer, words):
    with pytest.raises(checks.Wrong, match=words):
        getattr(checks, check)(answer)


# What was kept


def test_other_maps_are_another_training(m):
    first, second = generator(m), generator(m)
    assert m.digest((first, second)) == m.digest((first, second))
    assert m.digest((first, second)) != m.digest((second, first))
    with torch.no_grad():
        second.score.bias += 1e-6
    changed = m.digest((first, second))
    second.stem[1].running_mean += 1
    assert m.digest((first, second)) != changed


def test_a_second_stage_without_cached_maps_leaves_the_generators_bit_identical(m):
    eyes, mouth = generator(m), generator(m)
    before = [{n: v.clone() for n, v in g.state_dict().items()} for g in (eyes, mouth)]
    network = m.LocalGlobalRelationNetwork(eyes, mouth, 8)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1)
    target = torch.arange(8) % 4
    other = m.partners(target)
    for _ in range(3):
        out = network.train()(torch.randn(8, 1, 64, 64))
        optimizer.zero_grad()
        m.pair_loss(out, m.Related(*(p[other] for p in out)), target, target[other]).backward()
        optimizer.step()
    for part, kept in zip((network.eyes, network.mouth), before, strict=True):
        assert not any(module.training for module in part.modules())
        assert all(torch.equal(v, kept[n]) for n, v in part.state_dict().items())


def test_units_weights_and_maps_stand_in_the_order_eyes_mouth_face(m):
    network = m.LocalGlobalRelationNetwork(generator(m), generator(m), 8).eval()
    seen, x = [], torch.randn(3, 1, 64, 64)
    network.rru.register_forward_hook(lambda _, given, out: seen.append((given[0], out[1])))
    out = network(x)
    units, weights = seen[0]
    assert torch.equal(units[:, :2], out.local)
    assert torch.equal(units[:, 2], out.global_)
    assert torch.equal(weights, out.weights)
    torch.testing.assert_close(out.maps[:, :1], m.even(network.eyes(x).map))
    torch.testing.assert_close(out.maps[:, 1:], m.even(network.mouth(x).map))
    maps = out.maps.clone()
    maps[:, 1] = maps[:, 1].flip(-1)
    changed = network(x, maps).local
    assert torch.equal(changed[:, 0], out.local[:, 0])
    assert not torch.equal(changed[:, 1], out.local[:, 1])


def test_an_unknown_relation_is_refused(m):
    with pytest.raises(ValueError, match="relation"):
        m.LocalGlobalRelationNetwork(generator(m), generator(m), 8, relation="learnt")


def test_pooling_passes_gradients_to_maps_and_features(m):
    maps, features = (torch.rand(2, k, 4, 5, dtype=torch.float64, requires_grad=True) for k in (3, 2))
    assert torch.autograd.gradcheck(m.bilinear_attention_pooling, (maps, features))


def test_a_generator_in_double_precision_stays_there(m):
    found = m.AttentionMapGenerator().double()(torch.randn(2, 1, 64, 64, dtype=torch.float64))
    assert {found.logit.dtype, found.map.dtype} == {torch.float64}


def test_the_energy_is_the_mean_gradient_around_each_point_at_any_step(m):
    image = np.zeros((48, 48), np.uint8)
    image[:, 40:] = 100  # the gradient is 50 in columns 39 and 40
    descriptors, energy = m.dense_sift(image, 10)
    assert descriptors.shape == (5, 5, 128)
    np.testing.assert_allclose(energy, np.tile([0, 0, 0, 5, 50 / 8], (5, 1)), atol=1e-4)
    _, even = m.dense_sift(image, 8)
    np.testing.assert_allclose(even[0], [0, 0, 0, 0, 50 / 8, 50 / 8], atol=1e-4)

"""Proofs of chapter 04, written from the method's description alone and run on the chapter's own method cells."""

import math
from dataclasses import replace

import jupytext
import numpy as np
import pandas as pd
import pytest
import set_layouts
import torch
import torch.nn.functional as F
from scipy.stats import binom, binomtest
from torch import nn

from fer_teach import chapters, checks, claims, contrasts, data, evaluation, landmarks, paths, record, training
from fer_teach.data import frames as frames_of
from fer_teach.data import sfew
from fer_teach.errors import FerTeachError

NAME = "04_attentive_hybrid"


@pytest.fixture(scope="module")
def m():
    return chapters.load(NAME)


@pytest.fixture(scope="module")
def faces():
    return data.load("rendered", split="test")[:60].resize(48)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(1618)


def turned(points, degrees, size, shift):
    """Points (..., 2) turned about the origin, y down, then enlarged, then shifted."""
    angle = math.radians(degrees)
    turn = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=points.dtype)
    return size * points @ turn.T + torch.tensor(shift, dtype=points.dtype)


def inputs(count=4, side=48, channels=1, crop=24):
    return torch.rand(count, channels, side, side) * 2 - 1, torch.rand(count, 4, channels, crop, crop) * 2 - 1


# Alignment


@pytest.mark.parametrize(
    ("degrees", "size", "shift"),
    [(0, 1, (0, 0)), (30, 1, (0, 0)), (-75, 0.4, (3, -8)), (180, 2, (1, 1)), (10, 50, (9, 0))],
)
def test_a_known_similarity_is_recovered(m, degrees, size, shift):
    source = torch.randn(3, 7, 2)
    for i in range(3):
        found = m.similarity_transform(source[i : i + 1], turned(source[i], degrees, size, shift))
        assert found.shape == (1, 2, 3)
        angle = math.radians(degrees)
        expected = torch.tensor(
            [[size * math.cos(angle), -size * math.sin(angle)], [size * math.sin(angle), size * math.cos(angle)]]
        )
        torch.testing.assert_close(found[0, :, :2], expected, atol=1e-4 * max(size, 1), rtol=0)
        torch.testing.assert_close(found[0, :, 2], torch.tensor(shift, dtype=torch.float), atol=1e-3, rtol=0)


def test_the_transform_is_the_least_squares_one(m):
    source, target = torch.randn(2, 9, 2, dtype=torch.float64), torch.randn(9, 2, dtype=torch.float64)
    found = m.similarity_transform(source, target)
    for i in range(2):  # a linear system in (a, b, tx, ty): x' = a x - b y + tx, y' = b x + a y + ty
        x, y = source[i].T.numpy()
        one, zero = np.ones(9), np.zeros(9)
        system = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
        a, b, tx, ty = np.linalg.lstsq(system, target.T.numpy().ravel(), rcond=None)[0]
        np.testing.assert_allclose(found[i].numpy(), [[a, -b, tx], [b, a, ty]], atol=1e-9)


def canonical_face(m):
    """68 landmarks whose anchors stand at the canonical places."""
    points = torch.rand(68, 2)
    for part, place in zip(m.ANCHORS, m.CANONICAL, strict=True):
        points[part] = torch.tensor(place)
    return points


@pytest.mark.parametrize(("degrees", "size", "shift"), [(0, 48, (0, 0)), (25, 30, (12, 5)), (-100, 64, (50, 40))])
def test_landmarks_of_a_similar_face_land_on_the_canonical_points(m, degrees, size, shift):
    face = canonical_face(m)
    image = turned(face, degrees, size, shift)[None]
    landed = m.in_canonical(image, m.face_transform(image))[0]
    torch.testing.assert_close(landed, face, atol=1e-4, rtol=0)


def test_an_aligned_face_is_left_alone(m):
    face = canonical_face(m)[None]
    torch.testing.assert_close(m.face_transform(face), torch.eye(2, 3)[None], atol=1e-5, rtol=0)


def test_crops_of_an_aligned_face_are_the_boxes_of_the_image(m):
    side = 100
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    image = torch.stack([x, y]).float()[None]  # every pixel holds its place
    face = canonical_face(m)[None] * side - 0.5  # edges of the canonical square are the edges of the image
    crops = m.align_regions(image, face, 10)
    assert crops.shape == (1, 4, 2, 10, 10)
    assert list(m.BOXES) == ["brows", "eyes", "nose", "mouth"]
    for crop, (left, top, right, bottom) in zip(crops[0], m.BOXES.values(), strict=True):
        if bottom > 1:
            continue  # reaches over the image's edge
        torch.testing.assert_close(crop[0].mean(), torch.tensor(side * (left + right) / 2 - 0.5), atol=1e-2, rtol=0)
        torch.testing.assert_close(crop[1].mean(), torch.tensor(side * (top + bottom) / 2 - 0.5), atol=1e-2, rtol=0)
        torch.testing.assert_close(
            crop[0, 0, 1] - crop[0, 0, 0], torch.tensor(side * (right - left) / 10), rtol=1e-3, atol=0
        )
        assert (crop[1, 1:] > crop[1, :-1]).all()


def test_crops_follow_a_turned_face(m, faces):
    x = training.normalise(faces.images)
    upright = m.align_regions(x, faces.landmarks, 16)
    for turns in (1, 2):
        image, points = torch.rot90(x, -turns, (2, 3)), faces.landmarks
        for _ in range(turns):  # a quarter turn clockwise: (x, y) goes to (47 - y, x)
            points = torch.stack([47 - points[..., 1], points[..., 0]], -1)
        torch.testing.assert_close(m.align_regions(image, points, 16), upright, atol=2e-3, rtol=0)
    shifted = m.align_regions(x.roll(3, 3), faces.landmarks + torch.tensor([3.0, 0.0]), 16)
    inner = slice(5, 11)
    torch.testing.assert_close(shifted[:, 3, :, inner, inner], upright[:, 3, :, inner, inner], atol=2e-3, rtol=0)


def test_pixels_and_points_may_be_whole_numbers(m, faces):
    points = faces.landmarks.round()
    crops = m.align_regions(faces.images, points.long(), 16)
    assert crops.dtype == torch.float32
    torch.testing.assert_close(crops, m.align_regions(faces.images.float(), points, 16))
    target = 3 * points[0] + 7
    whole = m.similarity_transform(points.long()[:1], target.long())
    torch.testing.assert_close(whole, torch.tensor([[[3.0, 0, 7], [0, 3, 7]]]), atol=1e-3, rtol=0)
    assert m.align_regions(faces.images.double(), points.double(), 16).dtype == torch.float64


def test_fixed_crops_do_not_follow(m, faces):
    x = training.normalise(faces.images)
    mean = faces.landmarks.mean(0).expand_as(faces.landmarks)
    turned_images = torch.rot90(x, 1, (2, 3))
    assert (m.align_regions(turned_images, mean, 16) - m.align_regions(x, mean, 16)).abs().mean() > 0.05


def test_boxes_contain_the_true_parts(m):
    faces = data.load("rendered", split="test").resize(48)
    for part in ("brows", "eyes", "mouth"):
        share = m.share_inside(faces.masks[part], faces.landmarks, m.BOXES[part])
        assert share > 0.95, part
        wrong = faces.landmarks.mean(0).expand_as(faces.landmarks).roll(9, -1)
        assert m.share_inside(faces.masks[part], wrong + 9, m.BOXES[part]) < share
    crops = m.align_regions(faces.masks["mouth"][:, None].float(), faces.landmarks, 24)
    assert crops[:, 3].mean() > 3 * crops[:, 1].mean()


def test_aligning_gathers_the_mouth(m):
    faces = data.load("rendered", split="test").resize(48)
    align = m.face_transform(faces.landmarks)
    size = align[:, :, 0].norm(dim=1).mean()
    before = (size * faces.landmarks[:, [48, 54]]).std(0).mean()
    assert m.in_canonical(faces.landmarks, align)[:, [48, 54]].std(0).mean() < 0.5 * before


# Attention


def test_zero_weights_weigh_one_half_and_channels_share_one_map(m):
    attention, x = m.SpatialAttention(), torch.randn(3, 5, 12, 9)
    weighted, weights = attention(x)
    assert weights.shape == (3, 1, 12, 9)
    assert ((weights > 0) & (weights < 1)).all()
    torch.testing.assert_close(weighted, x * weights.expand(-1, 5, -1, -1))
    for parameter in attention.parameters():
        nn.init.zeros_(parameter)
    torch.testing.assert_close(attention(x)[0], 0.5 * x)


def test_attention_sees_the_largest_and_the_mean_over_channels(m):
    attention, x = m.SpatialAttention(kernel_size=3), torch.randn(2, 6, 8, 8)
    pictures = torch.stack([x.amax(1), x.mean(1)], 1)
    expected = torch.sigmoid(F.conv2d(pictures, attention.conv.weight, attention.conv.bias, padding=1))
    torch.testing.assert_close(attention(x)[1], expected)
    torch.testing.assert_close(attention(x[:, torch.randperm(6)])[1], expected)  # the channels' order does not count
    assert (attention(-x)[1] - expected).abs().max() > 1e-3
    assert m.SpatialAttention().conv.weight.shape == (1, 2, 7, 7)


# CosFace


def test_without_a_margin_logits_are_scaled_cosines(m):
    head, x, y = m.CosFace(6, 4, scale=20.0, margin=0.0), torch.randn(9, 6), torch.randint(0, 4, (9,))
    cosines = F.cosine_similarity(x[:, None], head.weight[None], dim=-1)
    torch.testing.assert_close(head(x, y), 20 * cosines, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(head(x), 20 * cosines, atol=1e-5, rtol=1e-5)
    defaults = m.CosFace(6, 4)
    assert (defaults.scale, defaults.margin) == (30.0, 0.4)


def test_the_margin_costs_the_target_and_nobody_else(m):
    head, x, y = m.CosFace(6, 4), torch.randn(9, 6), torch.randint(0, 4, (9,))
    cost = head(x) - head(x, y)
    torch.testing.assert_close(cost, 30 * 0.4 * F.one_hot(y, 4), atol=1e-4, rtol=0)


def test_the_loss_rises_with_the_margin(m):
    x, y, losses = torch.randn(50, 6), torch.randint(0, 4, (50,)), []
    weight = torch.randn(4, 6)
    for margin in (0.0, 0.1, 0.2, 0.4, 0.8):
        head = m.CosFace(6, 4, margin=margin)
        head.weight.data = weight
        losses.append(F.cross_entropy(head(x, y), y, reduction="none"))
    assert (torch.stack(losses).diff(dim=0) > 0).all()


def test_logits_are_bounded_and_forget_lengths(m):
    head, x = m.CosFace(6, 4, scale=30.0).double(), torch.randn(200, 6, dtype=torch.float64)
    logits = head(x)
    assert logits.abs().max() <= 30 + 1e-9
    torch.testing.assert_close(head(torch.rand(200, 1, dtype=torch.float64) * 100 * x), logits)
    head.weight.data *= torch.tensor([[3.0], [0.1], [7.0], [1.0]])
    torch.testing.assert_close(head(x), logits)


def test_the_gradient_is_orthogonal_to_x(m):
    head, y = m.CosFace(6, 4).double(), torch.randint(0, 4, (20,))
    x = torch.randn(20, 6, dtype=torch.float64, requires_grad=True)
    F.cross_entropy(head(x, y), y, reduction="sum").backward()
    assert x.grad.norm(dim=1).max() > 0.1
    torch.testing.assert_close((x.grad * x).sum(1), torch.zeros(20, dtype=torch.float64), atol=1e-9, rtol=0)
    plain = nn.Linear(6, 4).double()
    x.grad = None
    F.cross_entropy(plain(x), y, reduction="sum").backward()
    assert (x.grad * x).sum(1).abs().max() > 0.1  # a softmax head does pull along x


def test_a_margin_left_on_lowers_the_score(m):
    head, y = m.CosFace(16, 4), torch.randint(0, 4, (400,))
    x = F.normalize(head.weight.detach())[y] + 0.3 * torch.randn(400, 16)
    right = (head(x).argmax(1) == y).float().mean()
    assert right > 0.8
    assert (head(x, y).argmax(1) == y).float().mean() < right - 0.05


# Fusion


def test_recurrent_fusion_sums_the_states_of_an_lstm(m):
    fusion, z = m.RecurrentFusion(5, 7), torch.randn(3, 4, 5)
    (lstm,) = [part for part in fusion.modules() if isinstance(part, nn.LSTM)]
    h = c = torch.zeros(3, 7)
    total = 0
    for k in range(4):  # the four gates by hand
        gates = z[:, k] @ lstm.weight_ih_l0.T + lstm.bias_ih_l0 + h @ lstm.weight_hh_l0.T + lstm.bias_hh_l0
        i, f, g, o = gates.chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        total = total + h
    torch.testing.assert_close(fusion(z), total, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(fusion(z), lstm(z)[0].sum(1))


def test_one_region_is_one_step_from_zero(m):
    fusion, z = m.RecurrentFusion(5, 7), torch.randn(3, 1, 5)
    (lstm,) = [part for part in fusion.modules() if isinstance(part, nn.LSTM)]
    cell = nn.LSTMCell(5, 7)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in lstm.state_dict().items()})
    torch.testing.assert_close(fusion(z), cell(z[:, 0])[0], atol=1e-5, rtol=1e-5)


def test_the_gradient_reaches_every_region(m):
    fusion, z = m.RecurrentFusion(5, 7), torch.randn(3, 4, 5, requires_grad=True)
    fusion(z).square().sum().backward()
    assert (z.grad.abs().amax(2) > 1e-6).all()


def test_order_counts_for_the_lstm_and_not_for_a_mean(m):
    fusion, z = m.RecurrentFusion(5, 7), torch.randn(3, 4, 5)
    for order in ([1, 0, 2, 3], [3, 2, 1, 0]):
        assert (fusion(z[:, order]) - fusion(z)).abs().max() > 1e-3
        torch.testing.assert_close(z[:, order].mean(1), z.mean(1))


# The network


@pytest.mark.parametrize("branches", ["G", "GL", "GLM", "L", "M"])
@pytest.mark.parametrize("fusion", ["two-step", "concat"])
@pytest.mark.parametrize("head", ["cosface", "softmax"])
def test_every_parameter_gets_a_gradient(m, branches, fusion, head):
    model, y = m.AttentiveHybrid(8, branches=branches, fusion=fusion, head=head), torch.tensor([0, 3, 7, 7, 2, 1])
    output = model(*inputs(6), y)
    assert output.logits.shape == (6, 8)
    subs = sum({"G": 2, "L": 4, "M": 1}[b] for b in branches)
    assert [logits.shape for logits in output.branch_logits] == [(6, 8)] * subs
    assert len(output.attention) == subs
    m.hybrid_loss(output, y).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_defaults_are_the_paper_s_full_network(m):
    torch.manual_seed(3)
    default = m.AttentiveHybrid().eval()
    torch.manual_seed(3)
    told = m.AttentiveHybrid(7, "GLM", True, "two-step", "cosface").eval()
    x = inputs(2)
    assert torch.equal(default(*x).logits, told(*x).logits)
    assert default(*x).logits.abs().max() <= 30


@pytest.mark.parametrize(("side", "channels", "crop"), [(48, 1, 24), (64, 3, 24), (100, 3, 32), (40, 1, 16)])
def test_sizes_and_colours_are_taken(m, side, channels, crop):
    output = m.AttentiveHybrid(7).eval()(*inputs(2, side, channels, crop))
    assert output.logits.shape == (2, 7)
    for weights in output.attention.values():
        assert weights.shape[:2] == (2, 1)
        assert ((weights > 0) & (weights < 1)).all()


def test_without_attention_there_are_no_maps(m):
    assert m.AttentiveHybrid(attention=False)(*inputs()).attention == {}
    named = [part for part in m.AttentiveHybrid(attention=False).modules() if isinstance(part, m.SpatialAttention)]
    assert not named


def test_attention_begins_at_one_half_and_learns(m):
    model, x, y = m.AttentiveHybrid(7), inputs(4), torch.tensor([0, 1, 6, 3])
    assert all((weights == 0.5).all() for weights in model(*x).attention.values())
    m.hybrid_loss(model(*x, y), y).backward()
    attentions = [part for part in model.modules() if isinstance(part, m.SpatialAttention)]
    assert len(attentions) == 7
    assert all(part.conv.weight.grad.abs().max() > 0 for part in attentions)


def test_the_whole_face_is_pooled_to_one_cell_and_the_others_to_nine(m):
    joins = {b: {len(network.join) for network in networks} for b, networks in m.AttentiveHybrid().networks.items()}
    assert joins == {"G": {0}, "L": {3}, "M": {3}}  # one cell needs no layer that joins several
    joins = m.AttentiveHybrid(global_cells=3, cells=1).networks
    assert [len(joins[b][0].join) for b in "GLM"] == [3, 0, 0]


def test_regions_at_fixed_places_are_those_of_the_mean_shape(m, faces):
    splits = {"train": faces, "test": faces[:5]}
    fixed = m.at_mean_places(splits)
    for name, split in splits.items():
        assert torch.equal(fixed[name].images, split.images)
        torch.testing.assert_close(fixed[name].landmarks, faces.landmarks.mean(0).expand_as(split.landmarks))


@pytest.mark.parametrize("wrong", [{"fusion": "sum"}, {"head": "arcface"}, {"branches": "GX"}, {"branches": ""}])
def test_unknown_choices_are_refused(m, wrong):
    with pytest.raises(ValueError, match="must be"):
        m.AttentiveHybrid(**wrong)


def test_the_target_moves_training_logits_by_the_margin_alone(m):
    model, x, y = m.AttentiveHybrid(7).eval(), inputs(4), torch.tensor([0, 1, 6, 3])
    free, bound = model(*x), model(*x, y)
    pairs = zip([free.logits, *free.branch_logits], [bound.logits, *bound.branch_logits], strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a - b, 30 * 0.4 * F.one_hot(y, 7), atol=1e-3, rtol=0)
    plain = m.AttentiveHybrid(7, head="softmax").eval()
    assert torch.equal(plain(*x).logits, plain(*x, y).logits)


def test_the_loss_has_one_term_and_one_a_sub_network(m):
    y, model = torch.tensor([0, 1, 6, 3]), m.AttentiveHybrid(7, "GLM").eval()
    output = model(*inputs(4), y)
    terms = [F.cross_entropy(logits, y) for logits in [output.logits, *output.branch_logits]]
    assert len(terms) == 8
    torch.testing.assert_close(m.hybrid_loss(output, y), torch.stack(terms).sum())


@pytest.mark.parametrize("branches", ["G", "GL", "GLM"])
def test_concatenation_of_equal_size_is_equal_within_one_per_cent(m, branches):
    def count(**options):
        return sum(p.numel() for p in m.AttentiveHybrid(8, branches, **options).parameters())

    width = m.matched_width(8, branches=branches)
    assert count(fusion="concat", width=width) == pytest.approx(count(), rel=0.01)
    assert count(fusion="concat") < 0.95 * count()


def test_shuffling_the_features_of_the_regions_changes_the_answer(m):
    model, x = m.AttentiveHybrid(7).eval(), inputs(8)
    with torch.no_grad():
        shown = model(*x)
        features = shown.features
        torch.testing.assert_close(model.head(model.fusion(features)), shown.logits)
        swapped = {**features, "L": features["L"][:, [3, 1, 2, 0]]}
        assert (model.head(model.fusion(swapped)) - shown.logits).abs().max() > 1e-3
    answers = shown.logits.argmax(1)
    assert len(m.ORDERS) == 24
    assert m.shuffled(model, shown, answers, m.ORDERS[0]) == 1


# Feeding and training


def test_the_feed_trembles_mirrors_and_draws_from_its_generator_alone(m, faces):
    feed = m.feeder(m.MILD)
    index = torch.arange(20)
    (x, regions), labels = feed(faces, index, None)
    assert x.shape == (20, 1, 48, 48)
    torch.testing.assert_close(regions, m.align_regions(x, faces.landmarks[:20], 24))
    assert torch.equal(labels, faces.labels[:20])
    drawn = [feed(faces, index, torch.Generator().manual_seed(5))[0] for _ in range(2)]
    for a, b in zip(*drawn, strict=True):
        assert torch.equal(a, b)
    assert (drawn[0][1] - regions).abs().mean() > 0.01
    assert torch.equal(drawn[0][2], faces.labels[:20])


def test_landmarks_tremble_by_a_small_similarity(m, faces):
    moved = m.tremble(faces.landmarks, torch.Generator().manual_seed(0))
    for before, after in zip(faces.landmarks, moved, strict=True):
        found = m.similarity_transform(before[None], after)[0]
        torch.testing.assert_close(before @ found[:, :2].T + found[:, 2], after, atol=1e-3, rtol=0)
        assert 0.91 < found[:, 0].norm() < 1.09
        assert torch.atan2(found[1, 0], found[0, 0]).abs() < 0.11


def test_a_mirrored_face_gives_mirrored_regions(m, faces):
    x = training.normalise(faces.images)
    boxes = torch.tensor(list(m.BOXES.values()))
    torch.testing.assert_close(
        boxes[:, 0], 1 - boxes[:, 2]
    )  # symmetric, so that mirroring a crop is a crop of the mirror
    canonical = torch.tensor(m.CANONICAL)
    mirror = canonical[[1, 0, 2, 4, 3]] * torch.tensor([-1, 1]) + torch.tensor([1, 0])
    torch.testing.assert_close(mirror, canonical)
    points = faces.landmarks.clone()
    for a, b in ((slice(36, 42), slice(42, 48)), (slice(48, 49), slice(54, 55))):
        points[:, a], points[:, b] = faces.landmarks[:, b], faces.landmarks[:, a]
    points = points * torch.tensor([-1, 1]) + torch.tensor([47, 0])
    mirrored = m.align_regions(x.flip(3), points, 24)
    torch.testing.assert_close(mirrored, m.align_regions(x, faces.landmarks, 24).flip(-1), atol=1e-3, rtol=0)
    naive = faces.landmarks * torch.tensor([-1, 1]) + torch.tensor([47, 0])  # who is who was forgotten
    assert (m.align_regions(x.flip(3), naive, 24) - mirrored).abs().mean() > 0.1


def test_it_learns_and_a_kept_training_is_the_same(m, faces, tmp_path):
    few = data.load("rendered", split="train").grey().resize(48)[:256]
    splits = {"train": few, "valid": few}
    made = m.train(splits, 0, "small", 8, "two-step", True, tmp_path / "a", **m.HYBRID)
    losses = [row["train_loss"] for row in made.history]
    assert losses[-1] < 0.7 * losses[0]
    again = m.train(splits, 0, "small", 8, "two-step", True, tmp_path / "b", **m.HYBRID)
    for a, b in zip(made.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_whole_split_is_looked_at_in_batches(m, faces):
    model = m.AttentiveHybrid(8)
    whole, parts = m.look(model, faces), m.look(model, faces, batch=7)
    torch.testing.assert_close(whole.logits, parts.logits, atol=1e-4, rtol=0)
    torch.testing.assert_close(whole.attention["mixture"], parts.attention["mixture"], atol=1e-5, rtol=0)
    expected = evaluation.predict(model, faces, feed=m.feeder())
    torch.testing.assert_close(whole.logits.softmax(1), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["ckplus", "rafdb", "sfew"])
def test_the_mean_face_of_train_stands_in_for_one_not_seen(m, kind, tmp_path, own_cache, monkeypatch):
    shape, looks = data.load("rendered", split="valid").landmarks.mean(0) * 100 / 64, []

    def find(images, stand_in=None):
        found = torch.arange(len(images)) % 3 > 0
        looks.append(found)
        return landmarks.Landmarks((shape + len(looks)) * found[:, None, None] * images.shape[-1] / 100, found)

    monkeypatch.setattr(landmarks, "find", find)
    set_layouts.WRITERS[kind](tmp_path / kind)
    splits, missed = m.with_landmarks(data.splits(kind, root=tmp_path / kind))
    assert len(looks) == 3
    assert missed == pytest.approx(torch.cat(looks).logical_not().double().mean().item())
    mean = (shape + 1) * splits["train"].size[0] / 100
    for split, found in zip(splits.values(), looks, strict=True):
        assert torch.equal(split.attributes[landmarks.FOUND], found)
        torch.testing.assert_close(split.landmarks[~found], mean.expand((~found).sum(), 68, 2))
        small = split.grey().resize(48)
        x, regions = m.feeder()(small, torch.arange(len(small)), None)[0]
        model = m.AttentiveHybrid(len(split.classes)).eval()
        assert model(x, regions).logits.shape == (len(split), len(split.classes))


def test_true_landmarks_are_kept(m, faces):
    splits, missed = m.with_landmarks({"train": faces, "test": faces})
    assert missed == 0
    assert splits["test"] is faces


# Frames that show more than a face


@pytest.fixture(scope="module")
def visible():
    """Rendered faces of 192 pixels in colour that dlib sees."""
    faces = data.load("rendered", split="gallery")
    faces = faces[(faces.attributes["yaw"].abs() < 15) & ~faces.attributes["occluded"]][:7]
    return faces[[landmarks.detect(image) is not None for image in faces.images]]


def off(points, true):
    """How far points (68, 2) lie from others, on average."""
    return float((torch.as_tensor(points) - torch.as_tensor(true)).norm(dim=-1).mean())


def write_frames(root, faces, left, top, size):
    """Overwrite a written data set by frames (height, width) with a face each, every fifth without; name -> face."""
    shown = {}
    for i, path in enumerate(sorted([*root.rglob("*.png")])):
        frame = np.full((*size, 3), 90, np.uint8)
        if i % 5:
            shown[path.name] = (i * 3) % len(faces)
            frame[top : top + 192, left : left + 192] = faces.images[shown[path.name]].permute(1, 2, 0).numpy()
        else:
            frame[:, (i * 7) % size[1] :] = 200  # no two are alike
        set_layouts.put(path, frame)
    return shown


@pytest.mark.parametrize("kind", ["sfew", "ckplus"])
def test_frames_are_cut_to_the_face_before_they_shrink(m, kind, visible, tmp_path, own_cache):
    if kind == "sfew":
        set_layouts.write_sfew(tmp_path, films=2)
        size, options = (576, 720), {}
    else:
        set_layouts.write_ck(tmp_path, people=3, frames=1)
        size, options = (480, 640), {"frames": 1}
    write_frames(tmp_path, visible, 20, 250, size)  # at the left edge, outside the middle square
    with pytest.warns(data.DataWarning, match="dlib sees no face in .*; of these the middle is taken"):
        splits = data.splits(kind, root=tmp_path, **options)
    frames = data.splits(kind, root=tmp_path, crop="frame", **options)
    found = {name: split.attributes[landmarks.FOUND] for name, split in splits.items()}
    every = torch.cat(list(found.values()))
    assert 0.7 < every.float().mean() < 0.9  # four in five
    splits, missed = m.with_landmarks(splits)
    assert missed == pytest.approx(1 - every.double().mean().item())
    for name, split in splits.items():
        seen = found[name]
        assert torch.equal(split.images[~seen], frames[name].images[~seen])  # the middle, as before
        mean = splits["train"].landmarks[found["train"]].mean(0)
        torch.testing.assert_close(split.landmarks[~seen], mean.expand((~seen).sum(), 68, 2))
        small = split.grey().resize(48)
        extent = (small.landmarks.amax(1) - small.landmarks.amin(1)).amax(1)[seen]
        torch.testing.assert_close(extent, torch.full_like(extent, 48 / 1.3), atol=0.5, rtol=0)
        again = landmarks.find(split.images[seen])  # the points have moved with the image
        errors = [off(a, b) for a, b in zip(again.points, split.landmarks[seen], strict=True)]
        assert np.median(errors) < 0.04 * split.size[0]


def test_the_cut_follows_the_face_and_lies_inside_the_frame(visible, tmp_path, own_cache):
    root = tmp_path / "sfew"
    set_layouts.write_sfew(root, films=1)
    shown = write_frames(root, visible, 20, 250, (576, 720))
    found = sfew.scan([root])
    with pytest.warns(data.DataWarning):
        cut = frames_of.faces_in(found)
    assert (cut.boxes >= 0).all()
    assert (cut.boxes[:, 2:] <= [720, 576]).all()
    errors = []
    for name, box, points, seen in zip(found.files, cut.boxes, cut.points, cut.found, strict=True):
        face = shown.get(name.rpartition("/")[2])
        assert seen == (face is not None)
        if not seen:
            assert box.tolist() == [0, 0, 720, 576]
            continue
        true = visible.landmarks[face].numpy() + [20, 250]
        errors.append(off(points, true))
        assert (points.min(0) >= box[:2]).all()
        assert (points.max(0) <= box[2:]).all()
        assert box[2] - box[0] == pytest.approx(box[3] - box[1])
    assert np.median(errors) < 8


def test_faces_that_are_cut_already_are_not_cut_again(visible, tmp_path, own_cache, monkeypatch):
    monkeypatch.setattr(landmarks, "detect", lambda image: pytest.fail("dlib was asked"))
    for form in ("{part}/{word}", "{part}_Aligned_Faces/{word}"):  # told by their size, or by the folder
        root = tmp_path / form[:8]
        set_layouts.write_sfew(root, form, films=2, size=(181, 143))
        whole = data.load("sfew", root, crop="frame")
        assert torch.equal(data.load("sfew", root).images, whole.images)
        assert data.load("sfew", root).landmarks is None
    for path in (tmp_path / "{part}_A").rglob("*.png"):
        set_layouts.put(path, set_layouts.pixels(1, (300, 300, 3)))
    assert data.load("sfew", tmp_path / "{part}_A", aligned=True).landmarks is None
    with pytest.raises(data.DataError, match="unknown crop 'nose'"):
        data.load("sfew", root, crop="nose")


def test_landmarks_of_some_frames_leave_all_to_dlib(visible, tmp_path, own_cache):
    set_layouts.write_ck(tmp_path, people=3, frames=1, points=True)
    write_frames(tmp_path, visible, 200, 150, (480, 640))
    next((tmp_path / "Landmarks").rglob("*.txt")).unlink()
    with pytest.warns(data.DataWarning) as caught:
        faces = data.load("ckplus", tmp_path, "all", frames=1)
    assert any("the files with landmarks are left out" in str(warning.message) for warning in caught)
    assert faces.attributes[landmarks.FOUND].sum() > 10
    assert faces.landmarks[faces.attributes[landmarks.FOUND]].std(0).max() < 20  # not the files' diagonal
    with pytest.warns(data.DataWarning):
        whole = data.load("ckplus", tmp_path, "all", frames=1, crop="frame")
    assert whole.landmarks is None


def test_frames_are_looked_at_once_and_one_at_a_time(visible, tmp_path, own_cache, monkeypatch):
    set_layouts.write_sfew(tmp_path / "sfew", films=1)
    write_frames(tmp_path / "sfew", visible, 20, 250, (576, 720))
    asked = []
    detect = landmarks.detect
    monkeypatch.setattr(landmarks, "detect", lambda image: asked.append(image.shape) or detect(image))
    with pytest.warns(data.DataWarning):
        first = data.load("sfew", tmp_path / "sfew")
    assert asked == [(3, 576, 720)] * 21
    with pytest.warns(data.DataWarning):
        again = data.load("sfew", tmp_path / "sfew")
    assert len(asked) == 21
    assert torch.equal(first.landmarks, again.landmarks)
    broken = next((tmp_path / "sfew" / "Train").rglob("*.png"))
    broken.write_bytes(broken.read_bytes()[:-20])
    with pytest.warns(data.DataWarning), pytest.raises(data.DataError, match="truncated or damaged"):
        data.load("sfew", tmp_path / "sfew", "all")


# Attention's mass


def test_mass_of_an_even_map_is_the_area_and_of_a_sharp_one_is_all(m):
    masks = torch.zeros(2, 48, 48, dtype=torch.bool)
    masks[0, 10:22, 4:40] = True
    masks[1, :24] = True
    area = masks.float().mean((1, 2))
    torch.testing.assert_close(m.mass_on(torch.full((2, 12, 12), 0.3), masks), area)
    sharp = torch.full((2, 48, 48), 1e-9)
    sharp[masks] = 1
    torch.testing.assert_close(m.mass_on(sharp, masks), torch.ones(2), atol=1e-4, rtol=0)
    assert (m.mass_on(1e-9 + (~masks).float(), masks) < 1e-3).all()


def test_masks_are_true_or_drawn_where_a_face_was_seen(m, faces):
    masks, index = m.masks_of(faces)
    assert masks is faces.masks
    assert torch.equal(index, torch.arange(len(faces)))
    photographs = replace(faces, masks=None)
    drawn, index = m.masks_of(photographs)  # landmarks from files: every face
    assert torch.equal(index, torch.arange(len(faces)))
    for part in ("eyes", "mouth"):
        inside = (drawn[part] & faces.masks[part]).sum() / faces.masks[part].sum()
        assert inside > 0.8, part
    found = torch.arange(len(faces)) % 4 > 0
    photographs = replace(photographs, attributes={landmarks.FOUND: found})
    few, index = m.masks_of(photographs)
    assert torch.equal(index, found.nonzero()[:, 0])
    for part in ("eyes", "mouth"):
        assert torch.equal(few[part], drawn[part][found])


# Statistics


def test_printed_shares_are_counts_of_433(m):
    printed = [c for c in claims.load(NAME) if c.group in ("R3, table I", "R3, table II")]
    sfew = [c.printed for c in printed if c.data == "sfew"]
    assert [n for n in range(400, 461) if all(m.counts_behind(p, n) for p in sfew)] == [433]
    assert all(len(m.counts_behind(c.printed, c.n)) == 1 for c in printed)
    for c in printed:
        assert f"{100 * m.counts_behind(c.printed, c.n)[0] / c.n:.{len(c.printed.partition('.')[2])}f}" == c.printed


def test_gains_of_the_table_in_images(m):
    def k(id):
        claim = claims.get(NAME, id)
        return m.counts_behind(claim.printed, claim.n)[0]

    assert k("r3-1-rafdb-glma-cosface") - k("r3-1-rafdb-glm-cosface") == 2
    assert k("r3-1-sfew-glma-cosface") - k("r3-1-sfew-glm-cosface") == 3
    assert k("r3-1-sfew-gla-cosface") < k("r3-1-sfew-gl-cosface")
    whole = k("r3-1-rafdb-glma-cosface") - k("r3-1-rafdb-g-cosface")
    assert whole == 25
    assert whole / m.error_of(k("r3-1-rafdb-g-cosface"), 3068) == pytest.approx(1.4, abs=0.03)
    for branches, table in (("g", "ga"), ("gl", "gla"), ("glm", "glma")):
        for name in ("rafdb", "sfew"):  # table II's two-step column is table I's
            assert k(f"r3-2-{name}-{branches}-two-step") == k(f"r3-1-{name}-{table}-cosface")


def test_the_error_of_a_count_is_the_binomial_s(m):
    for count, n in ((2705, 3068), (250, 433), (1, 10)):
        assert m.error_of(count, n) == pytest.approx(binom(n, count / n).std())


def test_two_images_are_no_finding():
    assert min(binomtest(2 + rest, 2 + 2 * rest).pvalue for rest in range(200)) == 0.5


def made_frame(n=100, seeds=3):
    generator = np.random.default_rng(0)
    rows = []
    for seed in range(seeds):
        base = generator.random(n) < 0.6
        for kind, gain in (("a", 12), ("b", 0)):
            right = base.copy()
            right[np.flatnonzero(~base)[:gain]] = True
            rows.append({"kind": kind, "seed": seed, "right": contrasts.pack(right)})
    return pd.DataFrame(rows)


def test_truth_values_survive_the_table():
    for n in (1, 8, 433, 1440):
        right = np.random.default_rng(n).random(n) < 0.7
        digits = contrasts.pack(torch.from_numpy(right))
        assert len(digits) <= n / 4 + 2
        assert (contrasts.unpack(digits, n) == right).all()
    with pytest.raises(FerTeachError, match="do not hold"):
        contrasts.unpack("ff", 17)


def test_pairs_count_the_images_that_one_alone_read_right():
    rows = contrasts.pairs(made_frame(), {"a : b": ({"kind": "a"}, {"kind": "b"})}, 100)
    assert [row["seed"] for row in rows] == [0, 1, 2]
    for row in rows:
        assert (row["only_a"], row["only_b"]) == (12, 0)
        assert row["pvalue"] == pytest.approx(binomtest(12, 12).pvalue)
        assert row["a"] - row["b"] == pytest.approx(0.12)
    same = contrasts.pairs(made_frame(), {"a : a": ({"kind": "a"}, {"kind": "a"})}, 100)
    assert all(row["pvalue"] == 1 for row in same)
    with pytest.raises(FerTeachError, match="one a seed"):
        contrasts.pairs(made_frame(), {"a : all": ({"kind": "a"}, {})}, 100)
    with pytest.raises(FerTeachError, match="0 rows"):
        contrasts.pairs(made_frame(), {"a : c": ({"kind": "a"}, {"kind": "c"})}, 100)


def test_the_table_of_contrasts_says_what_it_counted(faces):
    record.begin(NAME, "quick", {"train": faces, "valid": faces, "test": faces}, 0)
    frame = made_frame()
    frame.loc[0, "right"] = frame.loc[1, "right"]  # one seed without a gain, so that there is a spread
    rows = contrasts.pairs(frame, {"a : b": ({"kind": "a"}, {"kind": "b"})}, 100)
    shown = contrasts.show("made", rows).tables[0]
    (line,) = shown.rows
    assert line["Points"].startswith("+8.0 [")
    assert line["Right in a alone : b alone"] == "8 : 0"  # the mean of 0, 12 and 12, as the points say
    assert line["p over images"] == "below 0.001"
    assert record.current()["tables"]["made"][0]["only_a"] == 0
    single = contrasts.show("one", rows[:1]).tables[0].rows[0]
    assert single["p over seeds"] == "–"
    assert "[" not in single["Points"]


# What the page says in words, beside the numbers that it takes from records


def holds_zero(metric):
    return metric["interval"][0] <= 0 <= metric["interval"][1]


def test_the_words_on_rendered_faces_fit_their_record():
    kept = record.result(NAME, "full", "rendered")
    metrics = kept["metrics"]
    assert {row["seed"] for row in kept["tables"]["contrasts"]} == set(range(10))
    for name in ("two_step_less_concat_of_equal_size", "mixture_less_none"):
        assert holds_zero(metrics[f"gain_{name}"])
    low, high = metrics["gain_attention_less_none"]["interval"]  # "gains a little"
    assert 0 < low < high < 0.01
    low, high = metrics["gain_cosface_less_softmax"]["interval"]  # "loses a little"
    assert -0.01 < low < high < 0
    for name in ("glma_less_g", "aligned_less_fixed"):
        assert metrics[f"gain_{name}"]["interval"][0] > 0.1
    assert metrics["fixed_places"]["value"] - metrics["g_cosface_two_step"]["value"] < 0.05
    tests = {}
    for row in kept["tables"]["contrasts"]:
        tests.setdefault(row["contrast"], []).append(row["pvalue"])
    sure = [name for name, values in tests.items() if np.median(values) < 0.05]
    assert sure == ["G + L + M + A : G", "aligned : fixed"]
    for cells in (3, 1):  # one map for all faces gathers more
        assert metrics[f"mass_more_than_one_map_{cells}_cells"]["interval"][1] < 0
    assert metrics["mass_trained_1_cells"]["interval"][0] > metrics["mass_trained_3_cells"]["interval"][1]
    assert metrics["shuffle_costs_concat_equal"]["interval"][0] > metrics["shuffle_costs_two_step"]["interval"][1]


def test_the_words_on_photographs_fit_their_record():
    metrics = record.result(NAME, "paper", "fer2013")["metrics"]
    assert claims.get(NAME, "r3-3-attentive-hybrid-fer2013").value / 100 > metrics["test_accuracy"]["interval"][1]
    heads = {name: metric["value"] for name, metric in metrics.items() if name.startswith("head_")}
    assert max(heads, key=heads.get) == "head_fused"
    metrics = record.result(NAME, "paper", "ferplus")["metrics"]
    assert metrics["gain_cosface_less_softmax"]["interval"][1] < 0
    for name in ("attention_less_none", "mixture_less_none", "two_step_less_concat_of_equal_size"):
        assert holds_zero(metrics[f"gain_{name}"])
    for cells in (3, 1):
        low, high = metrics[f"mass_trained_{cells}_cells"]["interval"]
        assert low <= metrics[f"mass_one_map_for_all_{cells}_cells"]["value"] <= high


# Exercises


def swap():
    pairs = [*zip(range(8), range(16, 8, -1), strict=True), *zip(range(17, 22), range(26, 21, -1), strict=True)]
    pairs += [
        (31, 35),
        (32, 34),
        (36, 45),
        (37, 44),
        (38, 43),
        (39, 42),
        (40, 47),
        (41, 46),
        (48, 54),
        (49, 53),
        (50, 52),
    ]
    pairs += [(55, 59), (56, 58), (60, 64), (61, 63), (65, 67)]
    order = list(range(68))
    for i, j in pairs:
        order[i], order[j] = j, i
    return order


def test_mirrored_landmarks_are_checked(capsys):
    order = swap()
    checks.mirrored_landmarks(lambda p, w: p[:, order] * torch.tensor([-1, 1]) + torch.tensor([w - 1, 0]))
    assert "Right." in capsys.readouterr().out
    with pytest.raises(checks.Wrong, match="who is who"):
        checks.mirrored_landmarks(lambda p, w: p * torch.tensor([-1, 1]) + torch.tensor([w - 1, 0]))
    with pytest.raises(checks.Wrong, match="width - 1"):
        checks.mirrored_landmarks(lambda p, w: p[:, order] * torch.tensor([-1, 1]) + torch.tensor([w, 0]))
    with pytest.raises(checks.Wrong, match="up or down"):
        checks.mirrored_landmarks(lambda p, w: w - 1 - p)
    eyes = list(range(68))
    eyes[36:48] = [*range(42, 48), *range(36, 42)]
    with pytest.raises(checks.Wrong, match="should be where"):
        checks.mirrored_landmarks(lambda p, w: p[:, eyes] * torch.tensor([-1, 1]) + torch.tensor([w - 1, 0]))


def lstm(z, h, c, w_input, w_hidden, bias, blocks=(0, 1, 2, 3), swapped=False):
    gates = (z @ w_input.T + h @ w_hidden.T + bias).chunk(4, 1)
    i, f, g, o = (gates[b] for b in blocks)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    h = o.sigmoid() * c.tanh()
    return (c, h) if swapped else (h, c)


def test_the_lstm_step_is_checked(capsys):
    checks.lstm_step(lstm)
    assert "Right." in capsys.readouterr().out
    with pytest.raises(checks.Wrong, match="c before h"):
        checks.lstm_step(lambda *a: lstm(*a, swapped=True))
    with pytest.raises(checks.Wrong, match="forget gate"):
        checks.lstm_step(lambda *a: lstm(*a, blocks=(1, 0, 2, 3)))
    with pytest.raises(checks.Wrong, match="h is not"):
        checks.lstm_step(lambda *a: (lstm(*a)[1], lstm(*a)[1]))


def gain(discordant, level=0.05):
    for g in range(discordant % 2, discordant + 1, 2):
        if discordant and binomtest((discordant + g) // 2, discordant).pvalue < level:
            return g
    return None


def test_the_smallest_gain_is_checked(capsys):
    checks.smallest_gain(gain)
    assert "Right." in capsys.readouterr().out
    with pytest.raises(checks.Wrong, match="no gain is significant"):
        checks.smallest_gain(lambda n: gain(n) or 2)
    with pytest.raises(checks.Wrong, match="two-sided"):
        checks.smallest_gain(lambda n: gain(n) and gain(n, 0.1))
    with pytest.raises(checks.Wrong, match="never"):
        checks.smallest_gain(lambda n: None if gain(n) is None else math.ceil(1.96 * n**0.5))


def test_gains_in_errors_are_checked(capsys):
    def variance(k, n):
        return k * (1 - k / n)

    checks.gain_in_errors(lambda a, b, n: (b - a) / (variance(a, n) + variance(b, n)) ** 0.5)
    assert "Right." in capsys.readouterr().out
    with pytest.raises(checks.Wrong, match="You took one"):
        checks.gain_in_errors(lambda a, b, n: (b - a) / variance(b, n) ** 0.5)
    with pytest.raises(checks.Wrong, match="should be"):
        checks.gain_in_errors(lambda a, b, n: (a - b) / (variance(a, n) + variance(b, n)) ** 0.5)


def test_a_code_cell_has_at_most_25_lines():
    cells = jupytext.read(paths.root() / "notebooks" / f"{NAME}.py").cells
    long = [cell.source for cell in cells if cell.cell_type == "code" and len(cell.source.splitlines()) > 25]
    assert not long


def test_an_empty_answer_is_told():
    for check in (checks.mirrored_landmarks, checks.lstm_step, checks.smallest_gain, checks.gain_in_errors):
        with pytest.raises(checks.Wrong, match="nothing"):
            check(lambda *arguments: None)


def test_small_data_sets_get_more_epochs_with_the_paper_profile(m, faces, monkeypatch):
    record.begin(NAME, "paper", {"train": faces, "valid": faces, "test": faces}, 0)
    asked = []
    monkeypatch.setattr(m, "train", lambda splits, directory, **choice: asked.append(choice["epochs"]))
    monkeypatch.setattr(m, "keep", lambda function, **choice: None)
    m.fitted({"train": faces}, "paper", 0, "large")
    m.fitted({"train": faces}, "quick", 0)
    many = data.load("rendered", split="train")
    m.fitted({"train": many}, "paper", 0, "large")
    batches = math.ceil(len(many) / 128)
    assert asked[0] == m.PLANS["large"]["steps"]  # 60 faces are one batch an epoch
    assert asked[1] == m.SMALL_EPOCHS["quick"]
    assert asked[2] == max(m.PLANS["large"]["recipe"].epochs, math.ceil(m.PLANS["large"]["steps"] / batches))


def test_boxes_contain_the_landmarks_of_their_parts(m):
    faces = data.load("rendered", split="test").resize(48)
    where = m.in_canonical(faces.landmarks, m.face_transform(faces.landmarks))
    own = {"brows": slice(17, 27), "eyes": slice(36, 48), "nose": slice(27, 36), "mouth": slice(48, 68)}
    for part, (left, top, right, bottom) in m.BOXES.items():
        x, y = where[:, own[part]].unbind(-1)
        assert ((x > left) & (x < right) & (y > top) & (y < bottom)).float().mean() > 0.95, part


def test_another_order_of_regions_changes_the_fusion_and_not_a_mean_in_its_place(m):
    class Mean(nn.Module):
        def forward(self, z):
            return z.mean(1)

    model, x = m.AttentiveHybrid(7).eval(), inputs(8)
    with torch.no_grad():
        features = model(*x).features
        swapped = {**features, "L": features["L"][:, [3, 1, 2, 0]]}
        assert (model.fusion(swapped) - model.fusion(features)).abs().max() > 1e-3
        model.fusion.readers["L"] = Mean()
        torch.testing.assert_close(model.fusion(swapped), model.fusion(features))


def test_the_second_step_joins_global_local_and_mixture_from_readers_of_their_own(m):
    model, x = m.AttentiveHybrid(7).eval(), inputs(3)
    features = model(*x).features
    one, other = (model.fusion.readers[branch] for branch in "GL")
    assert one.lstm is not other.lstm
    joined = torch.cat([one(features["G"]), other(features["L"]), features["M"][:, 0]], 1)
    torch.testing.assert_close(model.fusion(features), joined)

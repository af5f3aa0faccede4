"""Proofs of chapter 02, written from the method's description and run on the chapter's own method cells."""

import ast
import math
import types

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fer_teach import chapters, checks, data, differences, record
from fer_teach.cost import multiplications
from fer_teach.errors import FerTeachError

D = 12


@pytest.fixture(scope="module")
def m():
    return chapters.load("02_region_attention")


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(314)


class Flat(nn.Module):
    """A backbone whose features are a linear map of a region's pixels: the same for a region wherever it stands."""

    def __init__(self, features=D):
        super().__init__()
        self.linear = nn.Linear(16, features)

    def forward(self, x):
        return self.linear(x.flatten(1))


def network(m, relation=True, learnt=True, kind=None):
    made = (kind or m.RegionAttentionNetwork)(Flat(), D, 5, relation=relation).eval()
    if learnt:
        nn.init.normal_(made.q0)
        nn.init.normal_(made.q1)
    return made


def regions(count=3, r=6):
    return torch.randn(count, r, 1, 4, 4)


def tiny(m):
    return m.narrow(m.Plan(width=4))


def close(a, b, **options):
    torch.testing.assert_close(a, b, **{"atol": 1e-6, "rtol": 1e-5, **options})


# Crops


def test_the_five_fixed_boxes_on_224_are_the_published_ones(m):
    boxes = [[0, 0, 168, 168], [56, 0, 224, 168], [28, 56, 196, 224], [11, 11, 213, 213], [17, 17, 207, 207]]
    assert m.fixed_crops(224, 224).tolist() == boxes
    assert not m.fixed_crops(224, 224).is_floating_point()


@pytest.mark.parametrize(("height", "width"), [(48, 48), (64, 64), (112, 96), (448, 448)])
def test_fixed_boxes_scale_with_the_image(m, height, width):
    made = m.fixed_crops(height, width).float() / torch.tensor([width, height, width, height])
    assert (made - m.fixed_crops(224, 224) / 224).abs().max() <= 0.5 / min(height, width) + 1e-6
    assert (made >= 0).all()
    assert (made <= 1).all()


def test_random_boxes_lie_inside_are_drawn_from_the_generator_and_differ(m):
    boxes = m.random_crops(50, 80, 400, torch.Generator().manual_seed(1))
    assert boxes.shape == (400, 4)
    x0, y0, x1, y1 = boxes.unbind(1)
    assert (x0 >= 0).all()
    assert (y0 >= 0).all()
    assert (x1 <= 80).all()
    assert (y1 <= 50).all()
    assert ((x1 - x0) / 80).min() > 0.68
    assert ((x1 - x0) / 80).max() < 0.97
    assert torch.equal(boxes, m.random_crops(50, 80, 400, torch.Generator().manual_seed(1)))
    assert not torch.equal(boxes, m.random_crops(50, 80, 400, torch.Generator().manual_seed(2)))


def test_landmark_boxes_are_centred_on_their_parts_or_pushed_inside(m):
    points = torch.full((1, 68, 2), 32.0)
    points[0, 36:42] = torch.tensor([20.0, 24.0])
    points[0, 42:48] = torch.tensor([60.0, 2.0])  # so near the corner that the box must move
    eye, corner, nose, *_ = m.landmark_crops(points, 64, 64)[0].tolist()
    assert eye == [4, 8, 36, 40]
    assert corner == [32, 0, 64, 32]
    assert nose == [16, 16, 48, 48]
    far = m.landmark_crops(points + 1000, 64, 48)
    assert (far[..., 2] <= 48).all()
    assert (far[..., 3] <= 64).all()
    assert (far >= 0).all()
    assert ((far[..., 2:] - far[..., :2]) == torch.tensor([24, 32])).all()


def test_landmark_boxes_follow_their_part_alone(m):
    points = torch.rand(2, 68, 2) * 20 + 20
    before = m.landmark_crops(points, 64, 64)
    points[:, 30] += 6  # the tip of the nose
    changed = (m.landmark_crops(points, 64, 64) != before).flatten(2).any(2)
    assert changed.tolist() == [[False, False, True, False, False]] * 2


@pytest.mark.parametrize("size", [26, 40, 8])
@pytest.mark.parametrize("channels", [1, 3])
def test_regions_are_what_cutting_and_resizing_gives(m, size, channels):
    images, boxes = torch.rand(3, channels, 50, 70), m.fixed_crops(50, 70)
    made = m.crop_regions(images, boxes, size)
    assert made.shape == (3, 6, channels, size, size)
    for box, region in zip([[0, 0, 70, 50], *boxes.tolist()], made.unbind(1), strict=True):
        cut = images[..., box[1] : box[3], box[0] : box[2]]
        close(region, F.interpolate(cut, (size, size), mode="bilinear", antialias=True), atol=1e-5)


def test_each_image_may_have_its_own_boxes(m):
    images = torch.rand(4, 1, 64, 64)
    boxes = m.random_crops(64, 64, 20, torch.Generator().manual_seed(0)).view(4, 5, 4)
    together = m.crop_regions(images, boxes, 20)
    for i in range(4):
        close(together[i : i + 1], m.crop_regions(images[i : i + 1], boxes[i], 20))


def test_no_pixel_outside_a_box_reaches_its_region(m):
    images = torch.rand(1, 1, 64, 64, requires_grad=True)
    m.crop_regions(images, torch.tensor([[10, 20, 40, 44]]), 16)[0, 1].sum().backward()
    touched = images.grad[0, 0] != 0
    assert touched[20:44, 10:40].all()
    assert touched.sum() == 24 * 30


def test_regions_of_bytes_are_those_of_floats(m):
    images = torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)
    made = m.crop_regions(images, m.fixed_crops(64, 64), 26)
    assert made.is_floating_point()
    assert torch.equal(made, m.crop_regions(images.float(), m.fixed_crops(64, 64), 26))


def test_the_public_augmentation_crops_nothing_and_ours_does(m):
    image = torch.rand(1, 64, 64)
    a, b = [0, 0, 48, 48], [16, 16, 64, 64]
    assert torch.equal(m.crop_that_crops_nothing(image, a, 26), m.crop_that_crops_nothing(image, b, 26))
    ours = m.crop_regions(image[None], torch.tensor([a, b]), 26)[0]
    assert (ours[1] - ours[2]).abs().max() > 0.1


# The backbone


def test_iresnet50_has_the_blocks_and_parameters_of_public_code(m):
    net = m.iresnet50(in_channels=3)
    blocks = [sum(isinstance(part, m.IRBlock) for part in stage.modules()) for stage in net.parts[1:5]]
    assert blocks == [3, 4, 14, 3]
    expected = 3 * 64 * 9 + 3 * 64  # the stem: convolution, norm, PReLU

    def block(c, out, down):
        narrow = c * out + 2 * out if down else 0
        return 2 * c + 9 * c * out + 2 * out + out + 9 * out * out + 2 * out + narrow

    for (c, out), count in zip([(64, 64), (64, 128), (128, 256), (256, 512)], [3, 4, 14, 3], strict=True):
        expected += block(c, out, True) + (count - 1) * block(out, out, False)
    expected += 2 * 512 + 512 * 49 * 512 + 512 + 2 * 512
    assert sum(p.numel() for p in net.parameters()) == expected
    assert 43e6 < expected < 44e6


def test_iresnet18_and_narrow_give_512_features_at_any_size(m):
    assert [len(stage) for stage in m.iresnet18(width=8).parts[1:5]] == [2, 2, 2, 2]
    for side, channels in ((26, 1), (48, 3), (112, 1)):
        assert m.IResNet((1, 1, 1, 1), width=4, in_channels=channels).eval()(
            torch.rand(2, channels, side, side)
        ).shape == (2, 512)


def test_the_stem_keeps_the_resolution_and_every_stage_halves_it(m):
    x, sides = torch.rand(2, 1, 112, 112), []
    net = m.IResNet((1, 1, 1, 1), width=4).eval()
    for part in net.parts[:5]:
        x = part(x)
        sides.append(x.shape[-1])
    assert sides == [112, 56, 28, 14, 7]


def test_a_block_is_the_shortcut_where_its_last_norm_is_zero(m):
    block, x = m.IRBlock(6, 6, 1).eval(), torch.randn(2, 6, 5, 5)
    assert not torch.allclose(block(x), x)
    nn.init.zeros_(block.residual[-1].weight)
    close(block(x), x)
    kinds = [type(part).__name__ for part in block.residual]
    assert kinds == ["BatchNorm2d", "Conv2d", "BatchNorm2d", "PReLU", "Conv2d", "BatchNorm2d"]


def test_cosface_without_margin_is_softmax_and_its_margin_costs(m):
    model = m.People(Flat(512), 7)
    x, target = regions(8, 1)[:, 0], torch.arange(8) % 7
    logits = model(x)
    assert logits.abs().max() <= model.s + 1e-4
    close(m.cosface_loss(logits, target, model, m=0.0), F.cross_entropy(logits, target))
    by_hand = logits.clone()
    by_hand[torch.arange(8), target] -= model.s * 0.3
    close(m.cosface_loss(logits, target, model, m=0.3), F.cross_entropy(by_hand, target))
    assert m.cosface_loss(logits, target, model, m=0.3) > m.cosface_loss(logits, target, model, m=0.0)


# Attention


def test_zero_queries_give_mean_pooling(m):
    net, x = network(m, learnt=False), regions()
    mean = torch.stack([net.backbone(region) for region in x.unbind(1)]).mean(0)
    out = net(x)
    assert (out.mu == 0.5).all()
    assert (out.nu == 0.5).all()
    close(out.representation, torch.cat([mean, mean], 1))


def test_the_network_starts_at_mean_pooling(m):
    made = m.RegionAttentionNetwork(Flat(), D, 5)
    assert not made.q0.any()
    assert not made.q1.any()


@pytest.mark.parametrize("relation", [True, False])
def test_the_original_alone_gives_itself_twice(m, relation):
    net, x = network(m, relation), regions(r=1)
    feature = net.backbone(x[:, 0])
    close(net(x).representation, torch.cat([feature, feature], 1))


@pytest.mark.parametrize("relation", [True, False])
def test_permuting_crops_changes_neither_representation_nor_loss(m, relation):
    net, x = network(m, relation), regions()
    order = torch.tensor([0, 4, 2, 5, 1, 3])
    before, after = net(x), net(x[:, order])
    close(after.representation, before.representation)
    close(after.logits, before.logits)
    close(after.mu, before.mu[:, order])
    close(m.region_biased_loss(after.mu), m.region_biased_loss(before.mu))


def test_swapping_the_original_with_a_crop_changes_the_loss_but_not_the_pool(m):
    net, x = network(m), regions(40)
    before, after = net(x), net(x[:, [3, 1, 2, 0, 4, 5]])
    close(after.representation, before.representation)  # the pool has no favourite
    assert (m.region_biased_loss(after.mu, 0.5) - m.region_biased_loss(before.mu, 0.5)).abs() > 1e-3


def test_scaling_all_mu_leaves_the_pools_where_they_are(m):
    features, mu, nu = torch.randn(3, 6, D), torch.rand(3, 6) + 0.1, torch.rand(3, 6) + 0.1
    close(m.pool(features, 0.01 * mu), m.pool(features, mu))
    close(m.pool(features, 0.01 * mu * nu), m.pool(features, mu * nu))
    assert not torch.allclose(m.pool(features, mu**2), m.pool(features, mu), atol=1e-3)


def test_attention_follows_the_equations_written_out(m):
    net, x = network(m), regions(2)
    out = net(x)
    for b in range(2):
        f = [net.backbone(x[b, i : i + 1])[0] for i in range(6)]
        mu = [torch.sigmoid((v * net.q0).sum()) for v in f]
        pooled = sum(w * v for w, v in zip(mu, f, strict=True)) / sum(mu)
        pairs = [torch.cat([v, pooled]) for v in f]
        nu = [torch.sigmoid((pair * net.q1).sum()) for pair in pairs]
        p = sum(a * c * pair for a, c, pair in zip(mu, nu, pairs, strict=True))
        p = p / sum(a * c for a, c in zip(mu, nu, strict=True))
        close(out.mu[b], torch.stack(mu))
        close(out.nu[b], torch.stack(nu))
        close(out.representation[b], p)
        close(out.logits[b], net.classifier(p))


def test_shapes_and_the_share_of_each_region(m):
    out = network(m)(regions(4))
    assert (out.logits.shape, out.mu.shape, out.nu.shape) == ((4, 5), (4, 6), (4, 6))
    assert out.representation.shape == (4, 2 * D)
    close(out.weights.sum(1), torch.ones(4))
    close(out.weights, out.mu * out.nu / (out.mu * out.nu).sum(1, keepdim=True))


def test_without_relation_nu_is_one_and_the_pool_is_self_attention_alone(m):
    net, x = network(m, relation=False), regions()
    out = net(x)
    assert (out.nu == 1).all()
    _, pooled = m.self_attention(net.backbone(x.flatten(0, 1)).unflatten(0, x.shape[:2]), net.q0)
    close(out.representation, torch.cat([pooled, pooled], 1))
    with_relation = network(m)
    with_relation.load_state_dict(net.state_dict())
    assert not torch.allclose(with_relation(x).representation, out.representation, atol=1e-3)  # the ablation is another


def test_batched_equals_looped_in_eval_mode_and_not_in_training_mode(m):
    net = m.RegionAttentionNetwork(m.IResNet((1, 1, 1, 1), 4, cells=2), 512, 5).eval()
    x = torch.randn(5, 6, 1, 26, 26) * torch.arange(1, 7).view(6, 1, 1, 1)  # regions of different contrast

    def both():
        looped = torch.stack([net.backbone(region) for region in x.unbind(1)], 1)
        return looped, net.backbone(x.flatten(0, 1)).unflatten(0, (5, 6))

    with torch.no_grad():
        close(*both(), atol=1e-4, rtol=1e-4)
        net.train()
        looped, batched = both()
    assert (looped - batched).norm() / looped.norm() > 0.05


def test_weights_that_vanish_in_float32_give_the_mean_and_finite_gradients(m):
    net = network(m)
    with torch.no_grad():
        net.q0.fill_(-500.0)
        net.backbone.linear.weight.zero_()
        net.backbone.linear.bias.fill_(1.0)
    x = regions().requires_grad_()
    out = net(x)
    assert not out.mu.any()
    out.logits.sum().backward()
    assert torch.isfinite(out.logits).all()
    assert torch.isfinite(net.q0.grad).all()


# The region biased loss


def test_the_loss_is_zero_exactly_where_the_margin_holds(m):
    mu = torch.full((1, 6), 0.2)
    for crop, expected in ((0.4, 0.0), (0.35, 0.0), (0.25, 0.05), (0.3 - 1e-4, 1e-4)):
        mu[0, 3] = crop
        mu[0, 0] = 0.2
        close(m.region_biased_loss(mu, 0.1), torch.tensor(expected), atol=1e-5)


def test_the_loss_is_the_margin_where_all_weights_are_equal(m):
    for margin in (0.0, 0.02, 0.1, 0.5):
        close(m.region_biased_loss(torch.full((4, 6), 0.37), margin), torch.tensor(margin))


def test_the_margin_is_a_tenth_unless_told_and_the_batch_is_averaged(m):
    close(m.region_biased_loss(torch.full((3, 6), 0.5)), torch.tensor(0.1))
    rows = torch.rand(7, 6)
    close(m.region_biased_loss(rows), torch.stack([m.region_biased_loss(row[None]) for row in rows]).mean())


def reached(loss, mu):
    mu = mu.clone().requires_grad_()
    return torch.autograd.grad(loss(mu, 0.1), mu)[0]


HEAVY = torch.tensor([[0.9, 0.1, 0.2, 0.6, 0.2, 0.1]])  # the original outweighs every crop


def test_the_gradient_reaches_the_largest_crop_and_the_original_alone(m):
    assert reached(m.region_biased_loss, HEAVY).tolist() == [[1, 0, 0, -1, 0, 0]]


def test_the_forks_indexing_fails_the_same_tests(m):
    assert not reached(m.forked_loss, HEAVY).any()  # nothing pushes where pushing is needed
    last = torch.tensor([[0.1, 0.1, 0.1, 0.1, 0.1, 0.9]])
    assert m.region_biased_loss(last) == 0
    close(m.forked_loss(last), torch.tensor(0.1))  # the last crop is never seen
    many = torch.rand(500, 6)
    assert max(float(m.forked_loss(row[None])) for row in many) <= 0.1 + 1e-6
    assert max(float(m.region_biased_loss(row[None])) for row in many) > 0.5


def test_the_softmax_bounds_are_reached_and_never_left(m):
    low, high = 1 / (1 + 5 * math.e), math.e / (math.e + 5)
    assert (round(low, 4), round(high, 4), round((math.e - 1) / (math.e + 5), 4)) == (0.0685, 0.3522, 0.2226)
    net = network(m, kind=m.SoftmaxAfterSigmoid)
    with torch.no_grad():
        net.q0.mul_(1000)  # answers as sharp as can be
        mu = net(100 * regions(200)).mu
    assert mu.min() >= low - 1e-6
    assert mu.max() <= high + 1e-6
    close(mu.min(), torch.tensor(low))
    close(mu.max(), torch.tensor(high))
    close((mu.amax(1) - mu.amin(1)).max(), torch.tensor((math.e - 1) / (math.e + 5)))
    close(mu.sum(1), torch.ones(200))
    sharp = network(m)
    sharp.load_state_dict(net.state_dict())
    free = sharp(100 * regions(200)).mu
    assert free.min() < low
    assert free.max() > high  # the right form is not confined


# What the chapter measures with


def test_the_crop_that_is_covered_most_is_found(m):
    cover_map = torch.zeros(2, 64, 64)
    cover_map[0, :20, :20] = 1  # the upper left corner
    cover_map[1, 50:, 22:42] = 1  # below
    which, share = m.covered_most(cover_map, m.fixed_crops(64, 64))
    assert which.tolist() == [1, 3]
    assert 0.1 < share[0] < 0.3


def test_falling_attention_is_seen_where_it_falls(m):
    def attended(mu, nu):
        return m.Attended(torch.zeros(1, 2), torch.tensor([mu]), torch.tensor([nu]), torch.zeros(1, 4))

    before = attended([0.5, 0.5, 0.5], [0.6, 0.6, 0.6])
    after = attended([0.5, 0.4, 0.1], [0.5, 0.6, 0.6])
    for region, falls in ((0, [False, True, False]), (1, [True, False, False]), (2, [True, False, True])):
        fell = m.attention_falls(before, after, torch.tensor([region]))
        assert [bool(f) for f in fell] == falls


@pytest.mark.parametrize("profile", ["quick", "full", "paper"])
def test_plain_and_regions_cost_the_same_within_a_twentieth(m, profile):
    plan = m.PLANS[profile]
    net = m.RegionAttentionNetwork(m.narrow(plan), 512, 8)
    six = multiplications(net, torch.zeros(1, 6, 1, plan.size, plan.size))
    one = multiplications(net, torch.zeros(1, 1, 1, plan.side, plan.side))
    assert abs(six / one - 1) < 0.05


@pytest.mark.parametrize("variant", ["plain", "mean", "self", "self+relation", "full"])
def test_a_variant_learns_what_its_rule_says(m, variant):
    made = m.build(tiny(m).parts, 5, variant, seed=0)
    rule = m.VARIANTS[variant]
    assert (made.q0.requires_grad, made.q1.requires_grad) == (rule.learns_q0, rule.learns_q1)
    assert made.relation == rule.learns_q1


def test_a_backbone_learns_on_whatever_left_it(m):
    """`taught` returns averaged weights, which are fixed: the photographs' rows would train a classifier alone."""
    taught = tiny(m).requires_grad_(False)
    made = m.build(taught.parts, 5, "full", seed=0)
    assert all(weight.requires_grad for weight in made.backbone.parameters())
    assert not any(weight.requires_grad for weight in taught.parameters())  # a copy


def test_the_lesson_shows_the_face_and_one_crop_in_training_and_all_else(m):
    faces, plan = data.load("rendered", split="valid").grey().resize(48)[:8], m.PLANS["paper"]
    index, feed = torch.arange(8), m.live(m.SCHEME, plan, one=True)
    whole, labels = feed(faces, index, None)
    assert whole.shape == (8, 6, 1, plan.size, plan.size)
    assert torch.equal(labels, faces.labels)
    two, target = feed(faces, index, torch.Generator().manual_seed(1))
    assert two.shape == (8, 2, 1, plan.size, plan.size)
    assert not (two[:, 0] == two[:, 1]).flatten(1).all(1).any()  # a crop is not the whole face
    assert target.shape == (8, len(faces.classes))


def test_one_crop_is_one_of_the_five(m, monkeypatch):
    monkeypatch.setattr(m, "ALTER", None)
    faces, plan = data.load("rendered", split="valid").grey()[:12], m.PLANS["full"]._replace(hidden=0.0)
    five = m.regions_of(faces, None, m.SCHEME, plan)
    both = torch.stack([five, five.flip(-1)])  # half of them are mirrored
    two = m.regions_of(faces, torch.Generator().manual_seed(3), m.SCHEME, plan, one=True)
    same = (both[..., 1:, :, :, :] - two[:, 1:]).abs().flatten(3).amax(3) < 1e-5  # (2, 12, 5)
    assert same.any(0).any(1).all()
    assert same.any(0).float().argmax(1).unique().numel() > 2  # not always the same place


def test_a_share_of_the_training_faces_stands_behind_a_thing(m):
    faces = data.load("rendered", split="train").grey()[:40]
    index, plan = torch.arange(40), m.PLANS["full"]
    some = m.some_covered(faces, index, torch.Generator().manual_seed(0), plan).images
    changed = (some != faces.images).flatten(1).any(1)
    assert 0.2 < changed.float().mean() < 0.6
    assert torch.equal(some[changed], m.behind_things(faces)[changed])
    assert torch.equal(m.some_covered(faces, index, torch.Generator(), plan._replace(things=0.0)).images, faces.images)


def test_an_unknown_scheme_is_named(m):
    with pytest.raises(FerTeachError, match="'corner'"):
        m.regions_of(data.load("rendered", split="valid").grey()[:2], scheme="corner")


def test_a_split_is_read_once_by_each_network(m, monkeypatch):
    read, looks, test = [], {}, types.SimpleNamespace(split="test")
    monkeypatch.setattr(m, "fitted", lambda *given, **changes: (types.SimpleNamespace(best=changes), None))
    monkeypatch.setattr(m.evaluation, "predict", lambda *given, **options: read.append(given) or len(read))
    assert [m.said({}, looks, "quick", 0, test, **c) for c in ({}, {"margin": 0.1})] == [1, 1]  # the usual margin
    assert m.said({}, looks, "quick", 0, types.SimpleNamespace(split="valid")) == 2
    assert m.said({}, looks, "quick", 0, test, margin=0.2) == 3
    assert m.said({}, looks, "quick", 1, test) == 4


def test_a_single_region_has_no_biased_loss(m):
    mu = torch.full((3, 1), 0.4, requires_grad=True)
    loss = m.region_biased_loss(mu)
    loss.backward()
    assert loss == 0
    assert mu.grad.abs().sum() == 0


def test_a_network_in_double_precision_stays_there(m):
    network = m.RegionAttentionNetwork(tiny(m), 512, 8).double().eval()
    assert network(torch.rand(2, 6, 1, 26, 26, dtype=torch.float64)).logits.dtype == torch.float64


def cell(name):
    """The chapter's function of that name that a sweep runs, as code."""
    trees = [ast.parse(c.source) for c in chapters.cells("02_region_attention") if c.cell_type == "code"]
    (found,) = [n for tree in trees for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name]
    return found


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("judge", {"said", "prepare", "COPIES", "CLEAN", "clean_faces", "covered_faces"}),
        ("moves", {"prepare", "COPIES", "CLEAN", "SOME", "MUCH", "SQUARE", "covered_faces", "behind_parts"}),
        ("protocol", {"said", "prepare", "COPIES", "train_hard"}),
    ],
)
def test_the_key_of_a_kept_outcome_holds_all_that_it_was_measured_with(name, known):
    """What a cell reads is a parameter, a definition of a method cell, or made of the data by the package alone."""
    used = chapters.used_names(cell(name))
    methods = ast.parse(chapters.method_code("02_region_attention")).body
    reached = {n for node in chapters._reached(methods, used) for n in chapters._defined(node)}
    assert known <= reached
    assert not used & {"clean", "covered", "some", "cover_map", "cut", "trunk", "attended"} - reached - own_names(name)


def own_names(name):
    return {n.id for n in ast.walk(cell(name)) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def test_covered_faces_are_clean_ones_behind_a_thing(m, monkeypatch):
    monkeypatch.setitem(m.CLEAN, "quick", 12)
    monkeypatch.setitem(m.SOME, "quick", 3)
    test = data.load("rendered", split="test")[:40].grey()
    clean, (covered, cover_map) = m.clean_faces(test, "quick"), m.covered_faces(test, "quick")
    assert len(clean) == len(covered) == 12
    assert not m.hard_subsets(test)["hard"][clean].any()
    assert (covered.split, covered.labels.tolist()) == ("covered", test.labels[clean].tolist())
    same = (covered.images == test.images[clean])[:, 0]
    assert same[cover_map == 0].all()
    assert not same[cover_map > 0.9].all()
    much, which = m.much_covered(test, "quick")
    crops = m.crop_regions(cover_map[:, None], m.landmark_crops(test.landmarks[clean], 64, 64), 8)
    assert (crops[much, which].mean((1, 2, 3)) > m.MUCH).all()
    assert m.train_hard(test).split == "train_hard"
    assert m.hard_subsets(m.train_hard(test))["hard"].all()


def test_maps_are_made_once_when_they_are_first_read(m, monkeypatch, tmp_path):
    made, feeds = [], []
    monkeypatch.setattr(m, "keep", lambda *_, **__: tmp_path)
    monkeypatch.setattr(
        m, "prepare", lambda splits, profile, *which: made.append(which) or {"test": [torch.ones(2, 1)]}
    )
    monkeypatch.setattr(m, "train", lambda splits, feed, *_, **__: feeds.append(feed))
    looks, two = {}, data.load("rendered", split="test")[:2]
    for variant in ("full", "mean", "plain"):
        m.fitted({}, looks, "quick", 0, variant=variant)
    assert not made
    for feed in feeds:
        assert feed(two, torch.arange(2), None)[0].tolist() == [[1], [1]]
    assert made == [(m.SCHEME, "identities", 3), ("plain", "identities", 3)]


def test_dlib_has_a_row_only_where_its_points_are_not_the_data_sets_own(m):
    for profile, name in (("quick", "rendered"), ("paper", "rendered"), ("full", "ferplus"), ("paper", "ferplus")):
        assert "dlib" not in {scheme for _, scheme in m.schemes_for(profile, name)}
    assert ("plain", "upright") in m.schemes_for("paper", "ferplus")  # there dlib's points straighten
    assert m.schemes_for("full", "rendered") == m.SCHEMES


# Checks behind the exercises


def test_the_right_answers_pass():
    checks.softmax_bounds(lambda r: (1 / (1 + (r - 1) * math.e), math.e / (math.e + r - 1)))
    checks.reaches_crops(lambda mu, margin: F.relu(margin - (mu[:, :-1].amax(1) - mu[:, -1])).mean())
    checks.equal_cost_side(lambda size, regions: round(size * math.sqrt(regions)))
    checks.top_k_pool(right_top_k)


def right_top_k(features, weights, k):
    kept, index = weights.topk(k, dim=1)
    chosen = features.gather(1, index[..., None].expand(-1, -1, features.shape[-1]))
    return (kept[..., None] * chosen).sum(1) / kept.sum(1, keepdim=True)


def masked(features, weights, k):
    kept = torch.where(weights >= weights.topk(k, dim=1).values[:, -1:], weights, 0)
    return (kept[..., None] * features).sum(1)


@pytest.mark.parametrize(
    ("check", "answer", "words"),
    [
        ("softmax_bounds", lambda r: (1 / (1 + 5 * math.e), math.e / (math.e + 5)), "For 2 regions"),
        ("softmax_bounds", lambda r: (math.e / (math.e + r - 1), 1 / (1 + (r - 1) * math.e)), "lower one"),
        ("softmax_bounds", lambda r: None, "nothing yet"),
        ("reaches_crops", lambda mu, a: F.relu(a - (mu[:, 1:].amax(1) - mu[:, 0])).mean(), "Column 0 is a crop"),
        ("reaches_crops", lambda mu, a: F.relu(a - (mu.amax(1) - mu[:, -1])).mean(), "must cost 0.6"),
        ("reaches_crops", lambda mu, a: F.relu(a - (mu[:, :-1].amax(1) - mu[:, -1])).sum(), "mean over the batch"),
        ("reaches_crops", lambda mu, a: None, "nothing yet"),
        ("equal_cost_side", lambda size, regions: size * regions, "square of the side"),
        ("equal_cost_side", lambda size, regions: int(size * regions**0.5) - 3, "cost as much as one"),
        ("equal_cost_side", lambda size, regions: None, "nothing yet"),
        ("top_k_pool", lambda f, w, k: f.gather(1, w.topk(k, 1)[1][..., None].expand(-1, -1, 5)).mean(1), "plain mean"),
        ("top_k_pool", masked, "Divide by the sum"),
        ("top_k_pool", lambda f, w, k: (w[..., None] * f).sum(1) / w.sum(1, keepdim=True), "With k = 1"),
        ("top_k_pool", lambda f, w, k: None, "nothing yet"),
    ],
)
def test_wrong_answers_are_told_in_words(check, answer, words):
    with pytest.raises(checks.Wrong, match=words):
        getattr(checks, check)(answer)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("r", "margin"), [(2, 0.1), (6, 0.1), (6, 0.5), (9, 0.02)])
def test_value_and_gradient_of_the_loss_on_any_weights(m, seed, r, margin):
    mu = torch.rand(40, r, dtype=torch.float64, generator=torch.Generator().manual_seed(seed), requires_grad=True)
    crops, whole = mu.detach()[:, 1:], mu.detach()[:, 0]
    gap, loss = margin - (crops.amax(1) - whole), m.region_biased_loss(mu, margin)
    close(loss, gap.clamp(min=0).mean(), atol=1e-12)
    assert [float(m.region_biased_loss(mu.detach()[i : i + 1], margin)) == 0 for i in range(40)] == (gap <= 0).tolist()
    expected = torch.zeros_like(mu)
    expected[:, 0] = 1 / 40
    expected.scatter_(1, 1 + crops.argmax(1, keepdim=True), -1 / 40)
    close(torch.autograd.grad(loss, mu)[0], expected * (gap > 0)[:, None], atol=1e-12)


def test_the_network_agrees_with_a_loop_in_eval_mode_and_not_in_training(m):
    net, x = m.RegionAttentionNetwork(m.narrow(m.PLANS["quick"]), 512, 8), torch.randn(5, 6, 1, 26, 26)

    def looped():
        return torch.stack([net.backbone(r) for r in x.unbind(1)], 1).mean(1).repeat(1, 2)

    with torch.no_grad():
        net.eval()
        torch.testing.assert_close(net(x).representation, looped(), atol=1e-4, rtol=1e-4)
        net.train()
        out = net(x).representation
        batched = net.backbone(x.flatten(0, 1)).unflatten(0, (5, 6)).mean(1).repeat(1, 2)
        torch.testing.assert_close(out, batched, atol=1e-4, rtol=1e-4)
        assert (out - looped()).norm() / out.norm() > 0.02


@pytest.mark.parametrize("r", [1, 2, 6, 9])
def test_two_questions_of_zeros_pool_by_the_mean(m, r):
    net, x = network(m, learnt=False).eval(), regions(3, r)
    with torch.no_grad():
        mean = torch.stack([net.backbone(part) for part in x.unbind(1)], 1).mean(1)
        torch.testing.assert_close(net(x).representation, torch.cat([mean, mean], 1), atol=1e-5, rtol=0)


def test_an_upright_face_lies_as_the_mean_head_does(m):
    """Faces drawn as one bright spot a landmark, turned, scaled and moved: made upright, their spots lie where they do
    for the head itself."""
    head = m.mean_shape()[:, :2] * torch.tensor([0.9, -0.9]) + torch.tensor([0.0, 0.2])  # -1 to 1
    wanted = (head + 1) * 64 / 2 - 0.5
    for degrees, size, right in ((0.0, 1.0, 0.0), (25.0, 0.8, 3.0), (-40.0, 0.7, -5.0)):
        turn = torch.polar(torch.tensor(size).double(), torch.tensor(math.radians(degrees)).double())
        moved = torch.view_as_real(turn * torch.view_as_complex(wanted - 31.5)) + 31.5 + torch.tensor([right, 0.0])
        for k in (30, 36, 45, 48, 54):
            y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
            spot = (-((x - moved[k, 0]) ** 2 + (y - moved[k, 1]) ** 2) / 18).exp().float()
            straight = m.upright(spot[None, None], moved[None])[0, 0]
            centre = torch.stack([(straight * x).sum(), (straight * y).sum()]) / straight.sum()
            assert (centre - wanted[k]).norm() < 0.7


def test_whole_number_landmarks_and_double_images_are_cut_as_exactly(m):
    points = torch.randint(0, 60, (2, 68, 2))
    assert torch.equal(m.landmark_crops(points, 64, 64), m.landmark_crops(points.float(), 64, 64))
    image = torch.rand(1, 1, 64, 64, dtype=torch.float64)
    box = torch.tensor([[5, 9, 45, 60]])
    cut = F.interpolate(image[..., 9:60, 5:45], 26, mode="bilinear", antialias=True)
    torch.testing.assert_close(m.crop_regions(image, box, 26)[:, 1], cut, atol=1e-12, rtol=0)


def test_what_the_page_says_about_landmarks_stands_in_its_record():
    """On all faces it beats the plain network with true landmarks; at fixed places it loses, and with dlib's nothing is
    shown either way. To a plain network with a straightened picture it loses as well."""
    tables = record.result("02_region_attention", "full", "rendered")["tables"]
    plain = [row for row in tables["variants"] if row["variant"] == "plain"]
    gains = {}
    for scheme in ("landmark", "dlib", "fixed"):
        own = [row for row in tables["schemes"] if (row["scheme"], row["variant"]) == (scheme, "full")]
        gains[scheme] = differences.differences(own + plain, "variant", "full", "plain", "all")
    assert gains["landmark"].mean > 0
    assert gains["dlib"].low < 0 < gains["dlib"].high
    assert gains["fixed"].high < 0
    whole = [row for row in tables["variants"] if row["variant"] == "full"]
    straight = [row for row in tables["schemes"] if row["scheme"] == "upright"]
    assert differences.differences(whole + straight, "variant", "full", "plain", "all").high < 0


def test_what_the_page_says_about_mu_and_nu_stands_in_its_record():
    """Behind things and squares mu falls, in more than half of the pairs; nu does behind squares alone."""
    metrics = record.result("02_region_attention", "full", "rendered")["metrics"]
    for kind in ("thing", "square"):
        assert metrics[f"mu_behind_a_{kind}_falls"]["interval"][0] > 0.5
    assert metrics["nu_behind_a_square_falls"]["interval"][0] > 0.5
    assert metrics["nu_behind_a_thing_falls"]["interval"][0] < 0.5


def test_what_the_page_says_about_photographs_stands_in_its_record():
    """On FERPlus the share and the nu of what is hidden fall, in more than half of the pairs, and its mu does not."""
    metrics = record.result("02_region_attention", "paper", "ferplus")["metrics"]
    for kind in ("thing", "square"):
        assert metrics[f"share_behind_a_{kind}_falls"]["interval"][0] > 0.5
        assert metrics[f"nu_behind_a_{kind}_falls"]["interval"][0] > 0.5
        assert metrics[f"mu_behind_a_{kind}_falls"]["interval"][1] < 0.5

"""Proofs of chapter 03, written from the method's description and run on the chapter's own method cells."""

import math
import warnings

import numpy as np
import pytest
import set_layouts
import torch
import torch.nn.functional as F
from scipy.stats import ks_2samp

from fer_teach import chapters, checks, claims, data, evaluation, tables, training
from fer_teach.backgrounds import PHOTOGRAPHS, backgrounds, coco_backgrounds, hulls, with_masks
from fer_teach.data import FaceDataset
from fer_teach.errors import DataError, DataWarning, FerTeachError

CHAPTER = "03_feratt"


@pytest.fixture(scope="module")
def m():
    return chapters.load(CHAPTER)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(1618)


def drawing(seed=0):
    return torch.Generator().manual_seed(seed)


def faces(count=24, side=64, channels=1, classes=8, seed=0):
    """Faces of noise with a round mask."""
    generator = drawing(seed)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    mask = ((x - side / 2) ** 2 + (y - side / 2) ** 2) < (0.4 * side) ** 2
    images = torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8, generator=generator)
    labels = torch.arange(count) % classes
    names = tuple(f"class {c}" for c in range(classes))
    return FaceDataset("made", "train", images, labels, names, masks={"face": mask.expand(count, -1, -1).clone()})


# The generator


def test_compose_is_background_outside_and_face_inside(m):
    face, background = torch.rand(3, 16, 16), torch.rand(3, 16, 16)
    mask = torch.rand(16, 16) > 0.5
    for given in (mask, mask.float(), mask[None]):
        made = m.compose(face, given, background)
        assert torch.equal(made[:, mask], face[:, mask])
        assert torch.equal(made[:, ~mask], background[:, ~mask])
    half = m.compose(face, torch.full((16, 16), 0.5), background)
    torch.testing.assert_close(half, (face + background) / 2)


def test_compose_keeps_bytes_and_batches(m):
    face, background = (torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8) for _ in range(2))
    mask = torch.rand(5, 8, 8)
    made = m.compose(face, mask, background)
    assert made.dtype == torch.uint8
    for i in range(5):
        assert torch.equal(made[i], m.compose(face[i], mask[i], background[i]))
    assert torch.equal(m.compose(face, torch.zeros(5, 8, 8), background), background)
    assert torch.equal(m.compose(face, torch.ones(5, 8, 8), background), face)


@pytest.mark.parametrize("kind", ["bytes", "floats"])
def test_a_scene_is_background_where_the_mask_is_0_and_target_where_it_is_1(m, kind):
    held = faces()
    face, mask, background = held.images, held.masks["face"], backgrounds("train", 24)
    if kind == "floats":
        face, background = face / 255, background / 255
    image, target, moved = m.random_scene(face, mask, background, drawing())
    assert image.shape == target.shape == background.shape
    assert image.dtype == background.dtype
    assert moved.shape == (24, 64, 64)
    assert 0 <= moved.min() < moved.max() <= 1
    off, on = (moved == 0)[:, None], (moved == 1)[:, None]
    assert off.any() and on.any()  # noqa: PT018
    assert torch.equal(image[off], background[off])
    assert torch.equal(image[on], target[on])
    assert target[off].abs().max() == 0


def test_a_scene_depends_on_its_seed_alone(m):
    held, background = faces(), backgrounds("train", 24)
    first, same, other = (m.random_scene(held.images, held.masks["face"], background, drawing(s)) for s in (5, 5, 6))
    for a, b in zip(first, same, strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first[0], other[0])
    one, again = (m.random_scene(held.images[0], held.masks["face"][0], background[0], drawing(9)) for _ in range(2))
    assert [tuple(part.shape) for part in one] == [(1, 64, 64), (1, 64, 64), (64, 64)]
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))


def test_a_mask_may_have_one_channel(m):
    held, background = faces(4), backgrounds("train", 4)
    mask = held.masks["face"][:1].expand(4, -1, -1)
    for given, as_channel, face, back in (
        (mask, mask[:, None], held.images, background),
        (mask[0], mask[:1], held.images[0], background[0]),
    ):
        plain, other = (m.random_scene(face, each, back, drawing(2)) for each in (given, as_channel))
        assert all(torch.equal(a, b) for a, b in zip(plain, other, strict=True))


def test_mask_and_face_move_together(m):
    """A face that is bright exactly where its mask is 1 stays so, wherever it goes."""
    held = faces()
    mask = held.masks["face"].float()
    dark = torch.zeros(24, 1, 64, 64)
    image, _, moved = m.random_scene(mask[:, None], held.masks["face"], dark, drawing())
    lightness = (image[:, 0] * moved).sum((1, 2)) / moved.square().sum((1, 2))  # constant on the face, matched down
    assert (image[:, 0] - lightness[:, None, None] * moved**2).abs().mean() < 0.02
    centres = [(moved[i].nonzero().float().mean(0) - 31.5).abs().max() for i in range(24)]
    areas = moved.sum((1, 2)) / mask.sum((1, 2))
    assert max(centres) > 4
    assert areas.min() < 0.7 < areas.max()


def test_lightness_moves_towards_the_background(m):
    held = faces(64)
    face, white = torch.full((64, 1, 64, 64), 50.0), torch.full((64, 1, 64, 64), 200.0)
    image, _, moved = m.random_scene(face, held.masks["face"], white, drawing())
    level = torch.stack([image[i, 0][moved[i] == 1].mean() for i in range(64)])
    assert 50 <= level.min() < 70
    assert 110 < level.max() <= 50 + 0.6 * 150 + 1e-3


def test_scenes_of_keeps_labels_and_the_moved_masks(m):
    held = faces(20)
    made = m.scenes_of(held, backgrounds("held_out", 10), 4)
    assert torch.equal(made.labels, held.labels)
    assert made.masks["face"].dtype == torch.bool
    assert not torch.equal(made.masks["face"], held.masks["face"])
    assert torch.equal(made.images, m.scenes_of(held, backgrounds("held_out", 10), 4).images)


# Backgrounds and cut faces


def test_no_photograph_serves_both_parts_and_all_come_with_the_wheel():
    assert not PHOTOGRAPHS["train"].keys() & PHOTOGRAPHS["held_out"].keys()
    assert not {"astronaut.png", "camera.png", "coins.png", "lfw_subset.npy"} & {
        *PHOTOGRAPHS["train"],
        *PHOTOGRAPHS["held_out"],
    }
    for part in PHOTOGRAPHS:
        made = backgrounds(part, 12, 64, 3, seed=2)
        assert made.shape == (12, 3, 64, 64)
        assert made.dtype == torch.uint8
        assert torch.equal(made, backgrounds(part, 12, 64, 3, seed=2))
        assert not torch.equal(made, backgrounds(part, 12, 64, 3, seed=3))
    with pytest.raises(FerTeachError, match="held_out"):
        backgrounds("test", 1)


def test_coco_gives_backgrounds_where_it_lies(tmp_path, own_cache):
    assert coco_backgrounds("train", 4, root=tmp_path / "nowhere") is None
    set_layouts.write_coco(tmp_path / "coco")
    made = coco_backgrounds("train", 30, 64, 1, root=tmp_path / "coco")
    assert made.shape == (30, 1, 64, 64)


def test_coco_is_found_beside_the_faces_too(tmp_path, own_cache, monkeypatch):
    """`root` is often the face set's own folder; a COCO under $FER_TEACH_DATA is taken then."""
    set_layouts.write_ck48(tmp_path / "data" / "ck", people=2)
    assert coco_backgrounds("train", 4, root=tmp_path / "data" / "ck") is None
    set_layouts.write_coco(tmp_path / "data" / "coco")
    monkeypatch.setenv("FER_TEACH_DATA", str(tmp_path / "data"))
    made = coco_backgrounds("train", 4, root=tmp_path / "data" / "ck")
    assert torch.equal(made, coco_backgrounds("train", 4))
    table = tmp_path / "fer2013.csv"
    table.write_text("emotion,pixels,Usage\n")
    with pytest.warns(DataWarning, match="neither a folder nor an archive"):
        assert torch.equal(made, coco_backgrounds("train", 4, root=table))


def test_a_damaged_coco_is_no_missing_coco(tmp_path, own_cache):
    for name in ("coco", "photographs"):
        set_layouts.write_coco(tmp_path / name)
        (tmp_path / name / "annotations" / "instances_train2017.json").write_text("{")
        with pytest.raises(DataError, match="not JSON"):
            coco_backgrounds("train", 4, root=tmp_path / name)
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "aligned.zip").write_bytes(b"a face set's own")
    with pytest.warns(DataWarning, match="aligned.zip is damaged"):
        assert coco_backgrounds("train", 4, root=tmp_path / "packed") is None
    (tmp_path / "packed" / "coco.zip").write_bytes(b"cut off")
    (tmp_path / "packed" / "aligned.zip").unlink()
    with pytest.raises(DataError, match="coco.zip is damaged"):
        coco_backgrounds("train", 4, root=tmp_path / "packed")


def test_only_the_photographs_that_are_used_are_decoded(tmp_path, own_cache, monkeypatch):
    set_layouts.write_coco(tmp_path / "coco")  # 14 without people are for training
    asked, load = [], data.load
    monkeypatch.setattr(data, "load", lambda *a, **options: asked.append(options["n"]) or load(*a, **options))
    made = coco_backgrounds("train", 5, 64, 1, root=tmp_path / "coco")
    assert len(made.flatten(1).unique(dim=0)) == 5
    made = coco_backgrounds("train", 28, 64, 1, root=tmp_path / "coco")
    assert asked == [5, 14]
    assert made.flatten(1).unique(dim=0, return_counts=True)[1].tolist() == [2] * 14


def test_the_hull_holds_all_landmarks_and_a_forehead():
    held = data.load("rendered", split="valid")[:40]
    masks = hulls(held.landmarks, 64, 64)
    inside = held.landmarks.round().long()
    hits = [masks[i, y, x] for i in range(40) for x, y in inside[i].tolist() if 0 <= x < 64 and 0 <= y < 64]
    assert torch.tensor(hits).float().mean() > 0.95
    assert masks.sum() > hulls(held.landmarks, 64, 64, forehead=0).sum()
    true = held.masks["face"]
    iou = (masks & true).flatten(1).sum(1) / (masks | true).flatten(1).sum(1)
    assert iou.mean() > 0.6  # a hull is a rougher cut than the true mask, which holds ears and hair's edge


def test_faces_keep_true_masks_and_others_get_hulls(monkeypatch):
    held = data.load("rendered", split="valid")[:10]
    assert with_masks(held) is held
    held.masks = None
    assert torch.equal(with_masks(held).masks["face"], hulls(held.landmarks, 64, 64))
    points, held.landmarks = held.landmarks, None
    found = torch.arange(10) % 2 == 0
    monkeypatch.setattr("fer_teach.landmarks.find", lambda images, **_: (points, found))
    cut = with_masks(held)
    assert len(cut) == 5
    assert torch.equal(cut.labels, held.labels[found])
    assert torch.equal(cut.masks["face"], hulls(points[found], 64, 64))


# The attention loss


def test_attention_loss_has_its_closed_form(m):
    image, target = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    d = (target - image).abs().double().numpy()
    expected = np.mean(5 * (1 - np.exp(-6 * d)) / (1 + np.exp(-6 * d)))
    assert m.attention_loss(image, target).item() == pytest.approx(expected, rel=1e-5)
    assert m.attention_loss(image, target).item() == pytest.approx(m.attention_loss(target, image).item())


def test_attention_loss_is_0_at_0_bounded_and_finite(m):
    zero = torch.zeros(1, 3, 4, 4)
    assert m.attention_loss(zero, zero) == 0
    for d in (1e-3, 0.5, 15, 30, 100, 1e6):
        value = m.attention_loss(zero, zero + d)
        assert torch.isfinite(value)
        assert 0 < value <= 5
    assert m.attention_loss(zero, zero + 100) == 5
    image = torch.full((1, 3, 4, 4), 100.0, requires_grad=True)
    m.attention_loss(image, zero).backward()
    assert torch.isfinite(image.grad).all()


def test_written_with_exponentials_it_breaks():
    d = torch.tensor([15.0, 30.0, 100.0])
    up, down = (3 * d).exp(), (-3 * d).exp()
    assert torch.isnan(5 * (up - down) / (up + down)).any()
    single = torch.tensor(15.0) * 6  # e^(6 d), as a single exponential, overflows already here
    assert torch.isnan((single.exp() - 1) / (single.exp() + 1))


# The manifold loss


def test_two_points_of_one_dimension(m):
    """Two points at distance s, one a class: each pays 2 (1 - pi)^2 with pi = 1 / (1 + exp(-s^2 / 2 sigma^2))."""
    for s, sigma in ((0.3, 0.5), (1.0, 0.5), (2.0, 1.5)):
        z, y = torch.tensor([[0.0], [s]]), torch.eye(2)
        share = 1 / (1 + math.exp(-(s**2) / (2 * sigma**2)))
        assert m.gaussian_manifold_loss(z, y, sigma).item() == pytest.approx(2 * (1 - share) ** 2, rel=1e-5)


def test_separated_classes_pay_nothing(m):
    labels = torch.arange(5).repeat(4)
    z = 20 * F.one_hot(labels, 7).float() + 0.01 * torch.randn(20, 7)
    assert m.gaussian_manifold_loss(z, F.one_hot(labels, 5)).item() < 1e-6


def test_turning_and_moving_the_space_changes_nothing(m):
    z, y = torch.randn(30, 6, dtype=torch.float64).float(), F.one_hot(torch.arange(30) % 5, 8)
    turn = torch.linalg.qr(torch.randn(6, 6))[0]
    before = m.gaussian_manifold_loss(z, y)
    torch.testing.assert_close(m.gaussian_manifold_loss(z @ turn + torch.randn(6), y), before, atol=1e-4, rtol=1e-4)
    assert abs(m.gaussian_manifold_loss(2 * z, y) - before) > 1e-3  # scale does matter


@pytest.mark.parametrize("present", [2, 5, 8])
def test_an_enormous_sigma_gives_c_minus_1_over_c_of_the_present(m, present):
    y = F.one_hot(torch.arange(40) % present, 8)
    value = m.gaussian_manifold_loss(torch.randn(40, 4), y, sigma=1e5)
    assert value.item() == pytest.approx((present - 1) / present, abs=1e-5)


def test_absent_classes_do_not_count(m):
    z, labels = torch.randn(12, 3), torch.arange(12) % 3
    torch.testing.assert_close(
        m.gaussian_manifold_loss(z, F.one_hot(labels, 3)), m.gaussian_manifold_loss(z, F.one_hot(labels, 9))
    )
    shifted = F.one_hot(2 * labels + 1, 9)
    torch.testing.assert_close(m.gaussian_manifold_loss(z, shifted), m.gaussian_manifold_loss(z, F.one_hot(labels, 3)))


def test_the_manifold_loss_pulls_classes_apart(m):
    z, y = (0.1 * torch.randn(40, 8)).requires_grad_(), F.one_hot(torch.arange(40) % 4, 4)
    optimiser = torch.optim.Adam([z], 0.05)
    before = m.gaussian_manifold_loss(z, y).item()
    for _ in range(150):
        optimiser.zero_grad()
        loss = m.gaussian_manifold_loss(z, y)
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.05 < before


# Mixing


def test_mixed_targets_sum_to_1_and_follow_the_mixed_points(m):
    labels = torch.arange(50) % 6
    onehot = F.one_hot(labels, 6).float()
    z, y = m.beta_mixup(onehot.clone(), onehot, 2, 4, drawing())
    torch.testing.assert_close(y.sum(1), torch.ones(50))
    torch.testing.assert_close(z, y)  # the same lambda and the same partner for both
    assert y.min() >= 0
    again = m.beta_mixup(onehot.clone(), onehot, 2, 4, drawing())
    assert torch.equal(again[0], z)


def test_whole_number_one_hot_targets_mix_as_floating_ones(m):
    z, onehot = torch.randn(10, 3), F.one_hot(torch.arange(10) % 4)
    mixed, target = m.beta_mixup(z, onehot, 2, 4, drawing())
    assert all(
        torch.equal(a, b)
        for a, b in zip((mixed, target), m.beta_mixup(z, onehot.float(), 2, 4, drawing()), strict=True)
    )
    torch.testing.assert_close(target.sum(1), torch.ones(10))


def test_lambda_1_is_the_loss_without_mixing(m):
    z, y = torch.randn(30, 4), F.one_hot(torch.arange(30) % 5, 5).float()
    same, target = m.beta_mixup(z, y, 1e6, 1e-3, drawing())
    assert torch.equal(same, z)
    assert torch.equal(target, y)
    assert m.gaussian_manifold_loss(same, target) == m.gaussian_manifold_loss(z, y)


def shares(m, a, b, seed):
    """The smaller share of each mixed pair of unlike points."""
    y = F.one_hot(torch.arange(12000) % 2, 2).float()
    mixed = m.beta_mixup(y, y, a, b, drawing(seed))[1]
    return mixed[mixed.amax(1) < 1].amin(1).numpy()


@pytest.mark.parametrize(("a", "b"), [(2, 4), (0.7, 3)])
def test_a_b_and_b_a_give_the_same_unordered_pairs(m, a, b):
    assert ks_2samp(shares(m, a, b, 1), shares(m, b, a, 2)).pvalue > 0.001
    assert ks_2samp(shares(m, a, b, 1), shares(m, 1, 1, 3)).pvalue < 1e-6


def test_lambda_is_beta(m):
    from scipy.stats import beta, kstest

    z = torch.arange(9000.0)[:, None]
    mixed, _ = m.beta_mixup(z, z, 2, 4, drawing())
    order = None
    generator = drawing()
    for v in (2.0, 4.0):
        torch._standard_gamma(torch.full((9000, 1), v), generator=generator)
    order = torch.randperm(9000, generator=generator)
    far = (z - z[order]).abs()[:, 0] > 100
    weight = ((mixed - z[order]) / (z - z[order]))[far, 0]
    assert kstest(weight.numpy(), beta(2, 4).cdf).pvalue > 0.001


def test_whole_number_labels_leave_targets_empty(m):
    labels = torch.arange(8).repeat(20)
    order, weight = torch.randperm(160, generator=drawing()), torch.rand(160, 1, generator=drawing(1))
    numbers = m.number_targets(labels, weight, order, 8)
    cross = labels != labels[order]
    assert (numbers[cross].sum(1) == 0).float().mean() > 0.95
    same = m.number_targets(labels, torch.ones(160, 1), order, 8)
    assert torch.equal(same, F.one_hot(labels, 8).float())  # without mixing nothing is lost
    mu = 3 * torch.eye(8)
    z, y = (
        torch.lerp(mu[labels[order]], mu[labels], weight),
        torch.lerp(torch.eye(8)[labels[order]], torch.eye(8)[labels], weight),
    )
    assert m.paid(z, numbers, mu) > m.paid(z, y, mu) + 0.2  # perfectly separated, and punished all the same
    assert m.paid(mu[labels], torch.eye(8)[labels], mu) < 1e-6


# Networks


@pytest.mark.parametrize("encoder", ["small", "resnet34"])
def test_shapes_of_all_four_outputs(m, encoder):
    net = m.FERAtt(num_classes=7, channels=6, filters=16, encoder=encoder, blocks=1, width=8)
    out = net(torch.randn(2, 3, 64, 64))
    assert out.logits.shape == (2, 7)
    assert out.embedding.shape == (2, 32)
    assert out.attention.shape == (2, 6, 64, 64)
    assert out.image.shape == (2, 3, 64, 64)
    assert out.image.min() >= 0


def test_defaults_are_the_described_sizes(m):
    net = m.FERAtt()
    held = {c.id: c.value for c in claims.load(CHAPTER)}
    assert len(net.front.features.blocks) == held["code-residual-blocks"]
    assert net.classifier.embed.out_features == held["code-embedding"]
    assert net.classifier.embed.in_features == 512
    assert net.front.features.first[0].kernel_size == (9, 9)
    convolutions = [
        c for c in net.classifier.layers.modules() if isinstance(c, torch.nn.Conv2d) and c.kernel_size[0] == 3
    ]
    assert len(convolutions) + 1 == 18  # 17 convolutions and the classifier; shortcuts are not counted
    assert net.classifier.classify.out_features == 8


def test_an_unknown_encoder_is_refused(m):
    with pytest.raises(ValueError, match="encoder"):
        m.AttentionModule(encoder="vgg")


@pytest.mark.parametrize("encoder", ["small", "resnet34"])
def test_skip_connections_carry_detail(m, encoder):
    """With everything below the first stage silenced, single pixels still reach the attention."""
    module = m.AttentionModule(4, encoder).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for parameter in module.down[-1].parameters():
            parameter.zero_()
        changed = x.clone()
        changed[0, :, 20, 33] += 3
        difference = (module(x) - module(changed)).abs().sum(1)[0]
    assert difference[20, 33] > 0
    assert difference[18:23, 31:36].sum() > 0.05 * difference.sum()  # of 0.6 % of the area


def test_attention_sees_most_of_the_picture(m):
    module = m.AttentionModule(4).eval()
    x = torch.randn(1, 3, 64, 64, requires_grad=True)
    module(x)[0, :, 32, 32].sum().backward()
    reach = x.grad.abs().sum((0, 1)) > 0
    assert reach.any(0).float().mean() > 0.65
    assert reach.any(1).float().mean() > 0.65


def test_reconstruction_uses_features_where_attention_is_open(m):
    module = m.ReconstructionModule(4, 8).eval()
    x, features = torch.rand(1, 3, 16, 16), torch.rand(1, 4, 16, 16)
    shut, wide = torch.full((1, 4, 16, 16), -60.0), torch.full((1, 4, 16, 16), 2.0)
    torch.testing.assert_close(module(x, shut, features), module(x, shut, features + 5))
    assert (module.layers[0](torch.cat([wide.sigmoid() * features, x, wide], 1))
            - module.layers[0](torch.cat([wide.sigmoid() * (features + 5), x, wide], 1))).abs().max() > 0.1  # fmt: skip


@pytest.mark.parametrize(("size", "pixels"), [(32, 32), (16, 16), (8, 8), (4, 4)])
def test_feature_map_is_an_average_of_the_image(m, size, pixels):
    net, seen = m.PreActResNet18(feature_map=size, width=8).eval(), []
    net.layers[0].register_forward_hook(lambda _, given, __: seen.append(given[0]))
    x = torch.rand(2, 3, 64, 64)
    net(x)
    torch.testing.assert_close(seen[0], F.avg_pool2d(x, 64 // size))
    assert seen[0].shape[-1] == pixels
    torch.testing.assert_close(net(F.avg_pool2d(x, 2)).logits, net(x).logits, atol=1e-4, rtol=1e-4)  # 32 px is enough


def test_the_baseline_has_as_many_parameters(m):
    for options in ({"blocks": 1, "width": 8}, {"blocks": 2, "width": 24}):
        width = m.width_of_as_many(options, 8)
        networks = m.FERAtt(8, **options), *(m.PreActResNet18(8, width=w) for w in (width, width - 1))
        count = [sum(p.numel() for p in net.parameters()) for net in networks]
        assert count[2] < count[0] <= count[1]


# Losses together, feeds, training


def test_the_whole_objective_is_the_sum(m):
    net = m.FERAtt(blocks=1, width=8).eval()
    out, labels, image = net(torch.randn(6, 3, 64, 64)), torch.arange(6), torch.rand(6, 3, 64, 64)
    ce, att = F.cross_entropy(out.logits, labels), m.attention_loss(out.image, image)
    rep = m.gaussian_manifold_loss(out.embedding, F.one_hot(labels, 8))
    torch.testing.assert_close(m.feratt_loss(out, (labels, image), net), ce + att + rep)
    torch.testing.assert_close(m.feratt_loss(out, (labels, image), net, rep=False), ce + att)
    torch.testing.assert_close(m.feratt_loss(out, (labels, None), net, rep=False), ce)
    shares = F.one_hot(labels, 8).float()
    torch.testing.assert_close(m.feratt_loss(out, (shares, image), net), ce + att + rep)
    with torch.autocast("cpu", torch.bfloat16):  # distances stay in 32 bits
        torch.testing.assert_close(m.feratt_loss(out, (labels, image), net), ce + att + rep)
    net.train()
    assert m.feratt_loss(out, (labels, image), net) != ce + att + rep  # while training, pairs are mixed
    torch.testing.assert_close(m.feratt_loss(out, (labels, image), net, beta=None), ce + att + rep)


def test_the_feed_asks_to_draw_the_face_or_the_whole_picture(m):
    held, index = faces(8), torch.arange(8)
    x, (labels, image) = m.feed_for("scenes")(held, index, None)
    assert torch.equal(labels, held.labels)
    shown = held.images.float() / 255
    torch.testing.assert_close(image, (shown * held.masks["face"][:, None]).expand(-1, 3, -1, -1), atol=1e-6, rtol=0)
    torch.testing.assert_close((x + 1) / 2, shown.expand(-1, 3, -1, -1), atol=1e-6, rtol=0)
    x, (_, image) = m.feed_for("originals")(held, index, drawing())
    torch.testing.assert_close(image, (x + 1) / 2)  # on originals the target is the picture: no attention signal
    feed = m.feed_for("scenes", backgrounds("train", 5))
    first, second = feed(held, index, drawing(1))[0], feed(held, index, drawing(2))[0]
    assert not torch.equal(first, second)
    assert first.shape == (8, 3, 64, 64)
    colour = faces(4, channels=3)
    assert m.feed_for("scenes")(colour, torch.arange(4), None)[0].shape == (4, 3, 64, 64)


def test_a_front_learns_to_leave_the_background_out(m):
    held = faces(64)
    torch.manual_seed(0)
    front, recipe = m.Front(blocks=1), training.Recipe(epochs=5, batch=16, lr=1e-2, ema=0.9)
    feed, target = m.feed_for("scenes", backgrounds("train", 40)), None
    fit = training.fit(
        front, held, loss=lambda out, target, model: m.attention_loss(out.image.float(), target[1]), recipe=recipe,
        seed=0, feed=feed, progress=False,
    )  # fmt: skip
    losses = [row["train_loss"] for row in fit.history]
    assert losses[-1] < 0.75 * losses[0], (losses, target)


@pytest.fixture
def lab(m, monkeypatch, tmp_path):
    """A few faces of noise, trainings of a step or two an epoch, and a folder of their own to keep them in."""
    from fer_teach.record import begin

    monkeypatch.setenv("FER_TEACH_KEEP", str(tmp_path / "kept"))
    monkeypatch.setitem(m.PLAN, "quick", dict.fromkeys(m.PLAN["quick"], (32, 16)))
    splits = {name: faces(16, seed=i) for i, name in enumerate(("train", "valid", "test"))}
    begin(CHAPTER, "quick", splits, 0)
    return m.make_lab("", "quick", splits, {part: backgrounds(part, 10) for part in PHOTOGRAPHS}, 0)


@pytest.mark.parametrize("encoder", ["small", "resnet34"])
def test_the_encoder_that_the_profile_names_is_trained_and_joined(m, lab, monkeypatch, encoder):
    monkeypatch.setitem(m.NETWORK, "quick", {**m.SMALL, "encoder": encoder, "channels": 4})
    monkeypatch.setitem(m.PLAN, "quick", dict.fromkeys(m.PLAN["quick"], (16, 16)))
    front, _ = m.fitted_front(lab, "scenes", 0)
    assert len(front.attention.down) == {"small": 4, "resnet34": 5}[encoder]
    assert front.attention.last.out_channels == 4
    whole = m.joined(lab, "scenes", 0)
    assert [p.shape for p in whole.front.parameters()] == [p.shape for p in front.parameters()]


def test_every_seed_has_a_front_and_classifiers_look_through_their_own(m, lab, monkeypatch):
    monkeypatch.setitem(m.PLAN, "quick", dict.fromkeys(m.PLAN["quick"], (16, 16)))
    weights = [m.fitted_front(lab, "scenes", seed)[0].attention.last.weight for seed in (0, 1)]
    assert not torch.equal(*weights)
    asked, shown_to = [], m.shown_to
    monkeypatch.setattr(m, "shown_to", lambda *given, **more: asked.append(given[4]) or shown_to(*given, **more))
    m.fitted_classifier(lab, "FERAtt+Cls", "scenes", 1)
    m.probabilities(lab, "FERAtt+Cls", "scenes", 1, "test", "originals")
    assert asked == [1, 1]
    seen = [shown_to(lab, "scenes", "test", "front", seed).images for seed in (0, 1)]
    assert not torch.equal(*seen)
    assert torch.equal(*(shown_to(lab, "scenes", "test", "scene", seed).images for seed in (0, 1)))


def test_a_front_that_was_stopped_shows_every_epoch_once(m, lab, monkeypatch):
    """Stopped after an epoch, and after the last checkpoint: the next run goes on and has all that was drawn."""
    whole, fit = m.train_front(lab, "scenes", 32, 0)[1], training.fit
    assert len(whole) == 2
    assert [tuple(part.shape) for part in whole[0]] == [(16, 64, 64), (16, 64, 64)]

    def stopped_at_the_end(*given, **options):
        fit(*given, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "fit", stopped_at_the_end)
    with pytest.raises(KeyboardInterrupt):
        m.train_front(lab, "scenes", 16, 0)
    monkeypatch.setattr(training, "fit", fit)
    assert len(m.train_front(lab, "scenes", 16, 0)[1]) == 2

    from fer_teach.loop import Keep

    kept, loss = Keep.on_train_epoch_end, m.attention_loss

    def stopped_after_the_first(*given):
        kept(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(Keep, "on_train_epoch_end", stopped_after_the_first)
    with pytest.raises(KeyboardInterrupt):
        m.train_front(lab, "scenes", 8, 0)
    monkeypatch.setattr(Keep, "on_train_epoch_end", kept)
    assert m.attention_loss is loss
    assert len(m.train_front(lab, "scenes", 8, 0)[1]) == 2


def test_pictures_that_stand_in_training_too_are_left_out_of_a_second_accuracy(m, lab):
    given = F.one_hot(lab.originals["valid"].labels, 8).float()
    assert m.without_repeats(lab, given, "originals", "valid") == {}
    lab.originals["valid"].images[:4] = lab.originals["train"].images[2:6]  # faces and scenes are made of the same
    lab.memo.clear()
    assert m.first_shown(lab, "originals", "valid").tolist() == [False] * 4 + [True] * 12
    given[:8] = given[:8].roll(1, 1)  # wrong on four that repeat and four that do not
    for where in ("originals", "scenes"):
        (name, share), *_ = m.without_repeats(lab, given, where, "valid").items()
        assert name == f"{where}_valid_accuracy_unique"
        assert share == pytest.approx(8 / 12)


def test_overlap_and_masks(m):
    mask = torch.zeros(2, 10, 10, dtype=torch.bool)
    mask[:, 2:6, 2:6] = True
    half = mask.clone()
    half[:, 4:] = False
    assert m.overlap(mask, mask).tolist() == [1, 1]
    assert m.overlap(half, mask).tolist() == [0.5, 0.5]
    assert m.overlap(~mask, mask).tolist() == [0, 0]
    assert torch.equal(m.as_mask(mask.float(), 0.99)[0].nonzero().amin(0), torch.tensor([3, 3]))  # averaged over 3 by 3


# Collapse


@pytest.mark.parametrize("classes", [7, 8])
def test_a_constant_predictor_has_recall_1_over_c_and_fires_the_detector(classes):
    labels = torch.cat([torch.arange(classes), torch.zeros(9, dtype=torch.int64)])
    constant = torch.zeros(len(labels), classes)
    constant[:, 0] = 1
    with pytest.warns(evaluation.CollapseWarning):
        scored = evaluation.scores(constant, labels, tuple(map(str, range(classes))))
    assert scored.collapsed
    assert scored.recall == pytest.approx(1 / classes)
    assert scored.precision == pytest.approx(scored.accuracy / classes)


def test_the_detector_is_silent_for_a_predictor_of_two_classes():
    labels = torch.arange(8)
    some = F.one_hot(torch.tensor([0, 0, 0, 0, 0, 0, 0, 1]), 8).float()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not evaluation.scores(some, labels, tuple(map(str, range(8)))).collapsed


def test_the_printed_rows_are_one_word_predictors(m):
    """Accuracy a, recall 100/7 and precision a/7, as far as one printed digit tells."""
    for model, one_word in (("resnet", False), ("cls", True), ("rep-cls", True)):
        accuracy, precision, recall = (
            claims.get(CHAPTER, f"r2-ckplus-real-{model}-{k}").value for k in ("accuracy", "precision", "recall")
        )
        fits = abs(recall - 100 / 7) < 0.05 and abs(precision - accuracy / 7) < 0.06
        assert fits == one_word
        counts = [(k, n) for n in (35, 36) for k in range(n + 1) if round(100 * k / n, 1) == accuracy]
        assert counts == {"resnet": [(22, 35)], "cls": [(9, 36)], "rep-cls": [(4, 36)]}[model]


# CK+ in both layouts, by person


def sized(root, **options):
    return data.load("ckplus", root, split="all", **options).resize(64)


def test_ckplus_runs_by_person_in_the_original_layout(m, tmp_path, own_cache, monkeypatch):
    set_layouts.write_ck(tmp_path / "ck", people=4, points=True)
    monkeypatch.setenv("FER_TEACH_KEEP", str(tmp_path / "kept"))
    everybody = sized(tmp_path / "ck")
    assert len(everybody.classes) == 7
    (train, tested) = data.folds(everybody, 4)[0]
    assert not set(everybody.subjects[train].tolist()) & set(everybody.subjects[tested].tolist())
    people = {"train": everybody[train], "valid": everybody[train][:7], "test": everybody[tested]}
    pictures = {part: backgrounds(part, 10) for part in PHOTOGRAPHS}
    from fer_teach.record import begin

    begin(CHAPTER, "quick", people, 0)
    lab = m.make_lab("fold 0", "quick", people, pictures, 0)
    assert lab.scenes["train"].masks["face"].any()
    monkeypatch.setitem(m.PLAN, "quick", dict.fromkeys(m.PLAN["quick"], (16, 16)))
    for model, source in (("PreActResNet18", "originals"), ("FERAtt+Rep+Cls", "scenes")):
        got = m.probabilities(lab, model, source, 0, "test", "originals")
        assert got.shape == (len(people["test"]), 7)
        assert torch.isfinite(got).all()


def test_ckplus_of_48_pixels_gets_its_masks_from_dlib(m, tmp_path, own_cache, monkeypatch):
    set_layouts.write_ck48(tmp_path / "ck", people=3)
    everybody = sized(tmp_path / "ck")
    assert everybody.landmarks is None
    with pytest.raises(FerTeachError, match="no face"):
        with_masks(everybody)  # noise holds no faces, and the error says so
    points = data.load("rendered", split="valid").landmarks[:1].expand(len(everybody), -1, -1)
    found = torch.ones(len(points), dtype=torch.bool)
    monkeypatch.setattr("fer_teach.landmarks.find", lambda images, **_: (points, found))
    scenes = m.scenes_of(with_masks(everybody), backgrounds("train", 6), 0)
    assert scenes.images.shape == (len(everybody), 1, 64, 64)
    assert len(data.leave_one_subject_out(everybody)) == 3


def test_folds_by_person_are_as_many_as_the_people_allow(m):
    def of(people):
        held = faces(48)
        held.subjects = None if people is None else torch.arange(48) % people
        return held

    assert [m.folds_by_person(of(people), 5) for people in (None, 1, 2, 3, 4, 12)] == [0, 0, 0, 3, 4, 5]
    for people in (3, 4, 12):
        everybody, folds = of(people), m.folds_by_person(of(people), 5)
        tested = []
        for fold in range(folds):
            made = m.fold_of(everybody, fold, folds, 0)
            who = [set(held.subjects.tolist()) for held in made.values()]
            assert all(who)
            assert sum(map(len, who)) == people
            assert set.union(*who) == set(range(people))
            tested += made["test"].subjects.unique().tolist()
        assert sorted(tested) == list(range(people))


def test_rows_by_person_differ_in_one_thing_each(m):
    """Model, what the classifier sees, its loss, and the training set: from row to row one of them changes."""
    rows = [(source, *m.MODELS[model]) for model, source in m.BY_PERSON]
    assert [sum(a != b for a, b in zip(*pair, strict=True)) for pair in zip(rows, rows[1:], strict=False)] == [1, 1, 1]
    assert {model for model, _ in m.BY_PERSON} == {"PreActResNet18", "FERAtt+Cls", "FERAtt+Rep+Cls"}


def test_classes_are_counted_on_the_same_pictures_with_both_statistics(m):
    net, held = m.FERAtt(blocks=1, width=8).eval(), faces(16)
    x = m.feed_for("originals")(held, torch.arange(16), None)[0]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    named = m.classes_named(net, held)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    with torch.no_grad():
        assert named["with_running_means"] == len(net(x).logits.argmax(1).unique())
        assert named["with_batch_statistics"] == len(net.train()(x).logits.argmax(1).unique())


# Tables


def test_values_that_are_no_shares_are_shown_as_they_are(m, monkeypatch, tmp_path):
    import pandas

    from fer_teach import paths
    from fer_teach.record import begin

    monkeypatch.setattr(paths, "results", lambda: tmp_path)
    begin(CHAPTER, "quick", {"train": faces(4)}, 0)
    frame = pandas.DataFrame([{"row": "a", "seed": s, "right": 0.5 + s / 10, "loss": 2.0 + s} for s in range(3)])
    (table,) = tables.show("t", frame, ["row"], ["right", "loss"], 100, values=["loss"]).tables
    assert table.rows[0]["right"].startswith("60.0 [")
    assert table.rows[0]["loss"].startswith("3 [")
    (single,) = tables.show("t", frame[:1], ["row"], ["loss"], 100, values=["loss"]).tables
    assert single.rows[0]["loss"] == "2"


def test_the_words_on_photographs_fit_their_record():
    from fer_teach import record

    metrics = record.result(CHAPTER, "paper", "ferplus")["metrics"]
    assert metrics["mask_iou"]["interval"][0] > metrics["mask_iou_of_the_usual_place"]["interval"][1]


# Exercises


def test_one_word_is_checked(capsys):
    def right(accuracy, precision, recall, classes):
        return abs(recall - 100 / classes) <= 0.05 and abs(precision - accuracy / classes) <= 0.06

    checks.one_word(right)
    assert "Right" in capsys.readouterr().out
    for wrong, words in (
        (lambda *_: None, "nothing"),
        (lambda a, p, r, c: abs(r - 100 / c) <= 0.05, "12"),
        (lambda a, p, r, c: abs(p - a / c) <= 0.06, "20"),
        (lambda a, p, r, c: r == 14.3, "33.3"),
        (lambda a, p, r, c: p == a / c and r == 100 / c, "25.0"),
    ):
        with pytest.raises(checks.Wrong, match=words):
            checks.one_word(wrong)


def test_mirrored_is_checked(capsys):
    def right(image, mask, chosen):
        return (
            torch.where(chosen[:, None, None, None], image.flip(-1), image),
            torch.where(chosen[:, None, None], mask.flip(-1), mask),
        )

    checks.mirrored(right)
    assert "Right" in capsys.readouterr().out
    for wrong, words in (
        (lambda i, k, c: None, "two things"),
        (lambda i, k, c: (right(i, k, c)[0], k), "mask of a mirrored"),
        (lambda i, k, c: (i.flip(-1), k.flip(-1)), "not chosen has changed"),
        (lambda i, k, c: (i, right(i, k, c)[1]), "not its mirror"),
        (lambda i, k, c: (right(i, k, c)[0], k.flip(-1)), "mask of an image that was not"),
    ):
        with pytest.raises(checks.Wrong, match=words):
            checks.mirrored(wrong)


def test_stable_is_checked(capsys):
    checks.stable(lambda d: 5 * torch.tanh(3 * d.abs()))
    assert "Right" in capsys.readouterr().out
    for wrong, words in (
        (lambda d: None, "nothing"),
        (lambda d: 5 * ((6 * d.abs()).exp() - 1) / ((6 * d.abs()).exp() + 1), "finite"),
        (lambda d: 5 * torch.tanh(3 * d), "sign"),
        (lambda d: 5 * torch.sigmoid(3 * d.abs()), "At d = 0 "),
        (lambda d: 5 * torch.tanh(d.abs()), "0.5"),
    ):
        with pytest.raises(checks.Wrong, match=words):
            checks.stable(wrong)


def test_a_scene_shows_its_own_face_where_its_mask_says(m):
    side, count = 64, 16
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    mask = (x < 42) & (y > 14) & (x + y > 40)  # like none of its mirror images
    number = torch.arange(count).view(-1, 1, 1, 1).expand(-1, 1, side, side) / count
    place = (torch.stack([x, y]) / side).expand(count, -1, -1, -1)
    face = torch.cat([place, number, torch.full_like(number, 0.5)], 1)
    far = torch.full((count, 4, side, side), 5.0)
    far[..., ::2] = -5.0  # wide, so that nothing is clamped
    image, _, moved = m.random_scene(face, mask.expand(count, -1, -1), far, drawing())
    shown = image - image[:, 3:] + 0.5  # lightness moves all channels by one number
    for i in range(count):
        on = moved[i] == 1
        column, row = (side * shown[i, :2, on]).round().long().clamp(0, side - 1)
        assert mask[row, column].float().mean() > 0.97
        assert min(column.float().std(), row.float().std()) > 5
        torch.testing.assert_close(shown[i, 2, on], torch.full((int(on.sum()),), i / count), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("b", "d", "c", "sigma"), [(9, 2, 3, 0.5), (40, 16, 8, 0.5), (16, 5, 7, 1.5)])
def test_the_manifold_loss_and_its_gradient_are_those_of_the_equation(m, b, d, c, sigma):
    labels = torch.randint(0, c - 1, (b,))  # the last class is absent
    z = (0.4 * torch.randn(b, d, dtype=torch.float64)).requires_grad_()
    centres = torch.stack([z[labels == k].mean(0) for k in labels.unique()])
    near = torch.stack([torch.stack([(-(p - mu).square().sum() / (2 * sigma**2)).exp() for mu in centres]) for p in z])
    truth = (labels[:, None] == labels.unique()).double()
    expected = (near / near.sum(1, keepdim=True) - truth).square().sum() / b
    got = m.gaussian_manifold_loss(z, F.one_hot(labels, c), sigma)
    assert got.dtype == torch.float64
    torch.testing.assert_close(got, expected)
    wanted, given = (torch.autograd.grad(loss, z)[0] for loss in (expected, got))
    torch.testing.assert_close(given, wanted)


def test_the_attention_loss_has_the_gradient_of_its_equation(m):
    image, target = (2 * torch.randn(4, 3, 8, 8, dtype=torch.float64) for _ in range(2))
    image.requires_grad_()
    grad, d = torch.autograd.grad(m.attention_loss(image, target), image)[0], (target - image).detach()
    torch.testing.assert_close(grad, -15 * d.sign() / torch.cosh(3 * d) ** 2 / d.numel(), atol=1e-12, rtol=1e-9)

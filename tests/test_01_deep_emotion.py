"""Proofs of chapter 01, written from the method's description alone and run on the chapter's own method cells."""

import ast
import builtins
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fer_teach import chapters, claims, data, figures, record

NAME = "01_deep_emotion"
TRANSFORMS = ["image", "features", None]
SIDE = 48


@pytest.fixture(scope="module")
def m():
    return chapters.load(NAME)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(2718)


def images(count=3, channels=1, height=SIDE, width=SIDE, dtype=torch.float32):
    return torch.rand(count, channels, height, width, dtype=dtype) * 2 - 1


def warp(m, x, theta):
    """The chapter's own grid and sampler; theta: six numbers for every image, or (B, 2, 3)."""
    theta = torch.as_tensor(theta, dtype=x.dtype).reshape(-1, 2, 3).expand(len(x), 2, 3)
    return m.bilinear_sample(x, m.affine_grid(theta, *x.shape[-2:]))


def library_warp(x, theta, grid_corners=False, sampler_corners=False):
    grid = F.affine_grid(theta, list(x.shape), align_corners=grid_corners)
    return F.grid_sample(x, grid, align_corners=sampler_corners)


def parts(model, kind):
    return [part for part in model.modules() if isinstance(part, kind)]


def classifier_weights(m, model):
    """Names of the weights of fully connected layers outside the localisation network."""
    within = {id(p) for net in parts(model, m.LocalizationNetwork) for p in net.parameters()}
    linear = {id(layer.weight) for layer in parts(model, nn.Linear)} - within
    return {name for name, p in model.named_parameters() if id(p) in linear}


def moved(model):
    """The same network with a localisation network that answers something else than the identity."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


# The identity and align_corners


@pytest.mark.parametrize(("height", "width"), [(48, 48), (40, 56), (7, 5)])
def test_the_identity_returns_the_input(m, height, width):
    x = images(channels=2, height=height, width=width)
    torch.testing.assert_close(warp(m, x, [1, 0, 0, 0, 1, 0]), x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("corners", [False, True])
def test_matching_align_corners_return_the_input(corners):
    x = images()
    out = library_warp(x, torch.eye(2, 3).expand(3, 2, 3), corners, corners)
    torch.testing.assert_close(out, x, atol=1e-5, rtol=0)


def test_a_mismatched_pair_does_not_return_the_input(m):
    x, identity = images(), torch.eye(2, 3).expand(3, 2, 3)
    own_grid, corner_grid = m.affine_grid(identity, SIDE, SIDE), F.affine_grid(identity, [3, 1, SIDE, SIDE], True)
    for out in (
        m.bilinear_sample(x, corner_grid),
        F.grid_sample(x, own_grid, align_corners=True),
        library_warp(x, identity, True, False),
        library_warp(x, identity, False, True),
    ):
        assert (out - x).abs().max() > 0.1
        assert (out - x).abs().mean() > 0.01


# Shifts and turns


@pytest.mark.parametrize("k", [1, 5, -3, 47])
@pytest.mark.parametrize(("height", "width"), [(48, 48), (40, 56)])
def test_a_shift_in_theta_shifts_by_k_pixels(m, k, height, width):
    x = images(channels=2, height=height, width=width)
    for axis, side in ((3, width), (2, height)):
        if abs(k) >= side:
            continue
        theta = torch.eye(2, 3)
        theta[0 if axis == 3 else 1, 2] = 2 * k / side
        expected = torch.roll(x, -k, dims=axis)
        expected.narrow(axis, side - k if k > 0 else 0, abs(k)).zero_()
        torch.testing.assert_close(warp(m, x, theta), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("theta", "turns"), [([0, -1, 0, 1, 0, 0], 1), ([-1, 0, 0, 0, -1, 0], 2), ([0, 1, 0, -1, 0, 0], 3)]
)
def test_a_quarter_turn_equals_rot90(m, theta, turns):
    x = images(channels=2)
    torch.testing.assert_close(warp(m, x, theta), torch.rot90(x, turns, dims=(2, 3)), atol=1e-5, rtol=0)


# The chapter's own grid and sampler against the library's


@pytest.mark.parametrize(("height", "width"), [(48, 48), (9, 14)])
def test_own_grid_equals_affine_grid(m, height, width):
    theta = torch.randn(5, 2, 3)
    expected = F.affine_grid(theta, [5, 1, height, width], align_corners=False)
    torch.testing.assert_close(m.affine_grid(theta, height, width), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("source", "target"), [((48, 48), (48, 48)), ((9, 14), (20, 11))])
def test_own_sampler_equals_grid_sample(m, source, target):
    x = images(count=4, channels=3, height=source[0], width=source[1], dtype=torch.float64)
    grid = 1.3 * (2 * torch.rand(4, *target, 2, dtype=torch.float64) - 1)  # a good part reads outside
    expected = F.grid_sample(x, grid, align_corners=False)
    assert (grid.abs() > 1).any()
    torch.testing.assert_close(m.bilinear_sample(x, grid), expected, atol=1e-10, rtol=0)


def test_own_sampler_has_the_gradients_of_grid_sample(m):
    x = images(count=2, channels=2, height=6, width=7, dtype=torch.float64).requires_grad_()
    grid = (2.2 * torch.rand(2, 5, 4, 2, dtype=torch.float64) - 1.1).requires_grad_()
    weight = torch.randn(2, 2, 5, 4, dtype=torch.float64)
    own = torch.autograd.grad((weight * m.bilinear_sample(x, grid)).sum(), (x, grid))
    library = torch.autograd.grad((weight * F.grid_sample(x, grid, align_corners=False)).sum(), (x, grid))
    for ours, theirs in zip(own, library, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=0)


def test_gradcheck_for_theta_and_image(m):
    x = images(count=2, channels=2, height=5, width=6, dtype=torch.float64).requires_grad_()
    theta = torch.tensor([[[0.88, 0.10, 0.07], [-0.20, 1.08, -0.15]], [[0.59, -0.33, -0.17], [0.35, 0.57, 0.20]]])
    theta = theta.double().requires_grad_()
    pixels = (m.affine_grid(theta, 5, 6) + 1) * torch.tensor([6.0, 5.0]).double() / 2 - 0.5
    assert (pixels - pixels.round()).abs().min() > 0.02  # away from the kinks, where there is a derivative
    assert torch.autograd.gradcheck(lambda u, t: m.bilinear_sample(u, m.affine_grid(t, 5, 6)), (x, theta))


def test_gradcheck_through_the_spatial_transformer(m):
    module = m.SpatialTransformer().double()
    theta = torch.tensor([[[0.83, 0.12, 0.031], [-0.19, 0.71, 0.057]]], dtype=torch.float64, requires_grad=True)
    parts(module, m.LocalizationNetwork)[0].register_forward_hook(lambda *_: theta)
    x = images(count=1, dtype=torch.float64)
    patch = images(count=1, height=3, width=3, dtype=torch.float64).requires_grad_()

    def through(patch, theta_):
        assert theta_ is theta or torch.equal(theta_, theta)
        padded = x + F.pad(patch, (20, 25, 22, 23))
        return module(padded)[0][..., 14:26, 14:26]

    pixels = (F.affine_grid(theta, [1, 1, SIDE, SIDE], align_corners=False) + 1) * SIDE / 2 - 0.5
    assert (pixels - pixels.round())[0, 14:26, 14:26].abs().min() > 1e-5
    assert torch.autograd.gradcheck(through, (patch, theta))


def test_the_sliders_reach_every_theta_that_does_not_mirror(m):
    for _ in range(20):
        theta = torch.eye(2, 3) + 0.3 * torch.randn(2, 3)
        (a, b), (c, d) = theta[:, :2].tolist()
        stretch = (a**2 + c**2) ** 0.5
        if a * d - b * c < 0.1:
            continue
        tall = stretch / (a * d - b * c)  # scale_y
        found = m.theta_for(
            shift_x=theta[0, 2].item(),
            shift_y=theta[1, 2].item(),
            angle=math.degrees(math.atan2(c, a)),
            scale_x=1 / stretch,
            scale_y=tall,
            shear=(a * b + c * d) / stretch * tall,
        )
        torch.testing.assert_close(found, theta[None], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(m.theta_for(), torch.eye(2, 3)[None])


# The modules


def test_the_localisation_network_starts_at_the_identity(m):
    theta = m.LocalizationNetwork()(images(5))
    assert theta.shape == (5, 2, 3)
    torch.testing.assert_close(theta, torch.eye(2, 3).expand(5, 2, 3), atol=1e-6, rtol=0)


def test_the_spatial_transformer_starts_at_the_identity_and_returns_theta(m):
    x = images(4)
    warped, theta = m.SpatialTransformer()(x)
    torch.testing.assert_close(warped, x, atol=1e-5, rtol=0)
    torch.testing.assert_close(theta, torch.eye(2, 3).expand(4, 2, 3), atol=1e-6, rtol=0)


@pytest.mark.parametrize("k", [4, -7])
def test_the_spatial_transformer_obeys_theta(m, k):
    module, x = m.SpatialTransformer(), images(2)
    thetas = torch.tensor([[[1.0, 0, 2 * k / SIDE], [0, 1, 0]], [[0.0, -1, 0], [1, 0, 0]]])
    parts(module, m.LocalizationNetwork)[0].register_forward_hook(lambda *_: thetas)
    warped, theta = module(x)
    assert torch.equal(theta, thetas)
    inner = slice(max(0, -k), SIDE - max(0, k))
    torch.testing.assert_close(warped[0, ..., inner], torch.roll(x[0], -k, -1)[..., inner], atol=1e-4, rtol=0)
    torch.testing.assert_close(warped[1], torch.rot90(x[1], 1, dims=(1, 2)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("classes", [7, 8, 2])
def test_logits_and_theta_have_their_shapes(m, transform, classes):
    model = m.DeepEmotion(num_classes=classes, transform=transform)
    assert model(images(3)).shape == (3, classes)
    if transform is None:
        assert model.theta is None
    else:
        torch.testing.assert_close(model.theta, torch.eye(2, 3).expand(3, 2, 3), atol=1e-6, rtol=0)


def test_seven_classes_and_the_image_are_the_defaults(m):
    model = m.DeepEmotion()
    assert model(images(1)).shape == (1, 7)
    assert model.theta.shape == (1, 2, 3)


def test_theta_of_the_last_pass_is_kept(m):
    model = moved(m.DeepEmotion()).eval()
    first, second = images(2), images(3)
    model(first)
    kept = model.theta.clone()
    model(second)
    assert model.theta.shape == (3, 2, 3)
    model(first)
    torch.testing.assert_close(model.theta, kept)
    assert (kept - torch.eye(2, 3)).abs().max() > 1e-3


def test_an_unknown_transform_is_refused(m):
    with pytest.raises(ValueError, match="transform"):
        m.DeepEmotion(transform="pixels")


@pytest.mark.parametrize("transform", ["image", "features"])
def test_at_step_0_the_transformer_changes_nothing(m, transform):
    plain, warping = m.DeepEmotion(transform=None).eval(), m.DeepEmotion(transform=transform).eval()
    shared = plain.state_dict()
    assert set(shared) < set(warping.state_dict())
    assert not warping.load_state_dict(shared, strict=False).unexpected_keys
    x = images(8)
    torch.testing.assert_close(warping(x), plain(x), atol=1e-4, rtol=1e-4)
    moved_on = moved(warping)
    plain.load_state_dict({name: value for name, value in moved_on.state_dict().items() if name in shared})
    assert (moved_on(x) - plain(x)).abs().max() > 1e-3  # away from the identity the transformer does act


@pytest.mark.parametrize("transform", ["image", "features"])
def test_the_transformer_acts_where_it_should(m, transform):
    model, seen = m.DeepEmotion(transform=transform).eval(), []
    parts(model, m.SpatialTransformer)[0].register_forward_hook(lambda _, __, out: seen.append(out[0].shape))
    model(images(2))
    assert seen == [(2, 1, 48, 48) if transform == "image" else (2, 10, 9, 9)]


def test_the_gradient_reaches_the_localisation_network(m):
    model = m.DeepEmotion(transform="image")
    F.cross_entropy(model(images(4)), torch.arange(4)).backward()
    last = parts(parts(model, m.LocalizationNetwork)[0], nn.Linear)[-1]
    assert last.weight.grad.abs().max() > 0
    assert last.bias.grad.abs().min() > 0


# Sizes that the sources print


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameter_counts(m):
    batch_norm = count(nn.BatchNorm2d(10))  # the commonest re-implementation holds one, the description none
    assert count(m.DeepEmotion(7, transform="image")) == 66_877 - batch_norm
    assert count(m.LocalizationNetwork()) == 23_120
    assert count(m.DeepEmotion(7, transform=None)) == 66_877 - batch_norm - 23_120


def test_sizes_along_the_net(m):
    model, sides = m.DeepEmotion(transform=None).eval(), []
    for layer in parts(model, (nn.Conv2d, nn.MaxPool2d)):
        layer.register_forward_hook(lambda _, __, out: sides.append(out.shape[-1]))
    model(images(1))
    assert sides == [46, 44, 22, 20, 18, 9]
    assert [tuple(layer.weight.shape) for layer in parts(model, nn.Linear)] == [(50, 810), (7, 50)]


def test_width_sets_the_channels(m):
    model = m.DeepEmotion(width=16)
    outside = set(parts(model, nn.Conv2d)) - set(parts(parts(model, m.LocalizationNetwork)[0], nn.Conv2d))
    assert {layer.out_channels for layer in outside} == {16}
    assert model(images(1)).shape == (1, 7)


# The loss


def test_without_l2_the_loss_is_cross_entropy(m):
    model, logits, target = m.DeepEmotion(), torch.randn(6, 7), torch.arange(6)
    torch.testing.assert_close(m.deep_emotion_loss(logits, target, model, 0.0), F.cross_entropy(logits, target))
    soft = torch.softmax(torch.randn(6, 7), 1)
    torch.testing.assert_close(m.deep_emotion_loss(logits, soft, model, 0.0), F.cross_entropy(logits, soft))


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("l2", [0.25, 1e-4])
def test_the_l2_gradient_is_2_lambda_w_on_fully_connected_weights_alone(m, transform, l2):
    model = m.DeepEmotion(transform=transform).double().eval()
    x, target = images(4, dtype=torch.float64), torch.tensor([0, 1, 2, 3])
    gradients = []
    for value in (l2, 0.0):
        model.zero_grad()
        loss = m.deep_emotion_loss(model(x), target, model, value)
        assert loss.shape == ()
        loss.backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters()})
    chosen, seen = classifier_weights(m, model), 0
    assert len(chosen) == 2
    for name, parameter in model.named_parameters():
        expected = 2 * l2 * parameter.detach() if name in chosen else torch.zeros_like(parameter)
        torch.testing.assert_close(gradients[0][name] - gradients[1][name], expected, atol=1e-12, rtol=1e-7, msg=name)
        seen += name in chosen
    assert seen == 2


def test_the_l2_term_is_the_sum_of_squares(m):
    model, logits, target = m.DeepEmotion(), torch.randn(3, 7), torch.arange(3)
    squares = sum(model.get_parameter(name).square().sum() for name in classifier_weights(m, model))
    difference = m.deep_emotion_loss(logits, target, model, 2.0) - m.deep_emotion_loss(logits, target, model, 0.0)
    torch.testing.assert_close(difference, 2.0 * squares)


# The occlusion map


class LinearModel(nn.Module):
    """Logits linear in the pixels, so that the effect of a zeroed square is known in closed form."""

    def __init__(self, classes=7):
        super().__init__()
        self.weight = nn.Parameter(0.06 * torch.randn(classes, SIDE, SIDE))
        self.bias = nn.Parameter(torch.randn(classes))

    def forward(self, x):
        return torch.einsum("bchw,khw->bk", x, self.weight) + self.bias


def closed_form(model, x, targets, size, stride):
    """Drop and flip from window sums of weight times pixel: no image is ever covered here."""
    terms = (model.weight[None] * x).detach()  # (B, classes, 48, 48)
    lost = F.avg_pool2d(terms, size, stride) * size**2  # what the covered square had added to each logit
    before = model(x).detach()
    after = before[..., None, None] - lost
    index = targets[:, None, None, None].expand(-1, 1, *after.shape[-2:])
    drop = before.softmax(1)[torch.arange(len(x)), targets][:, None, None] - after.softmax(1).gather(1, index)[:, 0]
    margins = after.topk(2, dim=1).values
    return drop, after.argmax(1) != before.argmax(1)[:, None, None], (margins[:, 0] - margins[:, 1]).min()


@pytest.mark.parametrize(("size", "stride"), [(8, 8), (12, 5), (16, 7), (40, 1), (48, 1), (1, 13)])
def test_the_map_of_a_linear_model_equals_its_closed_form(m, size, stride):
    model, x = LinearModel(), images(5)
    targets = model(x).argmax(1)
    drop, flip = m.occlusion_map(model, x, targets, size, stride=stride)
    side = (SIDE - size) // stride + 1
    assert drop.shape == flip.shape == (5, side, side)
    assert flip.dtype == torch.bool
    expected_drop, expected_flip, margin = closed_form(model, x, targets, size, stride)
    assert margin > 1e-4  # no near ties: rounding cannot decide a label
    torch.testing.assert_close(drop, expected_drop, atol=1e-5, rtol=0)
    assert torch.equal(flip, expected_flip)


def test_the_closed_form_case_is_not_empty(m):
    model, x = LinearModel(), images(5)
    drop, flip = m.occlusion_map(model, x, model(x).argmax(1), 16, stride=4)
    assert drop.min() < -0.01
    assert drop.max() > 0.1
    assert flip.any()
    assert not flip.all()


def test_the_drop_belongs_to_the_true_class_right_or_wrong(m):
    model, x = LinearModel(), images(5)
    targets = (model(x).argmax(1) + torch.tensor([0, 1, 2, 3, 4])) % 7
    drop, flip = m.occlusion_map(model, x, targets, 12, stride=6)
    expected_drop, expected_flip, _ = closed_form(model, x, targets, 12, 6)
    torch.testing.assert_close(drop, expected_drop, atol=1e-5, rtol=0)
    assert torch.equal(flip, expected_flip)


def test_rows_of_the_map_are_rows_of_the_image(m):
    model = LinearModel()
    with torch.no_grad():
        model.weight.zero_()
        model.weight[3, 2, 40] = 5.0  # class 3 lives in one pixel at the upper right
    drop, _ = m.occlusion_map(model, torch.ones(1, 1, SIDE, SIDE), torch.tensor([3]), 8, stride=8)
    assert drop.abs().flatten().argmax() == 5  # first row, sixth column
    assert (drop.abs() > 1e-4).sum() == 1


def test_the_stride_is_1_unless_told(m):
    drop, _ = m.occlusion_map(LinearModel(), images(1), torch.tensor([0]), 46)
    assert drop.shape == (1, 3, 3)


def test_a_square_of_48_gives_one_value(m):
    model, x = LinearModel(), images(4)
    targets = torch.tensor([0, 1, 2, 3])
    drop, _ = m.occlusion_map(model, x, targets, SIDE)
    assert drop.shape == (4, 1, 1)
    nothing_left = model.bias.softmax(0)[targets]
    torch.testing.assert_close(drop[:, 0, 0], model(x).softmax(1)[range(4), targets] - nothing_left, atol=1e-5, rtol=0)


@pytest.mark.parametrize("transform", ["image", "features"])
def test_batched_equals_looped(m, transform):
    model, x = moved(m.DeepEmotion(transform=transform)).eval(), images(5)
    targets = torch.tensor([0, 6, 2, 2, 4])
    drop, flip = m.occlusion_map(model, x, targets, 12, stride=9)
    for i in range(5):
        one_drop, one_flip = m.occlusion_map(model, x[i : i + 1], targets[i : i + 1], 12, stride=9)
        torch.testing.assert_close(drop[i : i + 1], one_drop, atol=1e-5, rtol=0)
        assert torch.equal(flip[i : i + 1], one_flip)
    assert drop.std() > 0


def test_the_map_leaves_images_model_and_graph_alone(m):
    model, x = m.DeepEmotion(), images(2)
    before, weights = x.clone(), {name: value.clone() for name, value in model.state_dict().items()}
    drops = []
    for mode in (True, False):
        model.train(mode)
        drops.append(m.occlusion_map(model, x, torch.tensor([0, 1]), 24, stride=12)[0])
        assert model.training is mode
        assert not drops[-1].requires_grad
    assert torch.equal(*drops)  # without dropout, whatever the mode was
    assert torch.equal(x, before)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


# A test split that lacks classes, as small ones do


def test_a_chapter_without_a_happy_test_face_shows_the_others(m, monkeypatch):
    test = data.load("rendered", split="test").grey().resize(SIDE)
    gone = {test.classes.index(name) for name in ("neutral", "happiness")}
    test = test[torch.tensor([c not in gone for c in test.labels.tolist()])]
    shown = []
    monkeypatch.setattr(figures, "gallery", lambda images, titles, **_: shown.append((len(images), titles)))
    held = {"test": test, "classes": test.classes, "PROFILE": "quick", "model": m.DeepEmotion(8).eval()}
    held |= {"probabilities": F.one_hot(test.labels, 8), "evaluation": m.evaluation}
    run = {**vars(m), **held}
    for start in ("held = ", "right = ", "from captum", "happy = "):
        (code,) = (cell.source for cell in chapters.cells(NAME) if cell.source.startswith(start))
        exec(code, run)
    left = [name for name in test.classes if name not in ("neutral", "happiness")]
    assert shown == [(6, left)] * 3
    assert not run["happy"].any()


def test_a_chapter_without_a_turned_test_face_leaves_the_posed_out(m):
    test = data.load("rendered", split="test")
    test = test[test.attributes["yaw"].abs() <= 20][:8]
    told, run = [], {**vars(m), "hard": {"blurred": test}, "test": test, "PROFILE": "quick", "SEEDS": [0], "SEED": 0}
    run["sweep"] = lambda grid, cell: pd.DataFrame({"transform": [None, "image"], "seed": 0, "blurred": [0.5, 0.6]})
    run |= {"record_mean": lambda name, *_: told.append(name), "tables": SimpleNamespace(show=lambda *_, **__: None)}
    (code,) = (cell.source for cell in chapters.cells(NAME) if cell.source.startswith("def robustness"))
    exec(code, run)
    assert list(run["hard"]) == ["blurred"]
    assert told == ["stn_gain_blurred"]


def test_the_cells_of_a_sweep_use_only_what_their_keys_hold(m):
    """Faces drawn with the run's seed, or chosen by its first network, must not slip into cells of another seed."""
    for name in ("robustness", "occlusion_size"):
        (source,) = (cell.source for cell in chapters.cells(NAME) if cell.source.startswith(f"def {name}"))
        function = ast.parse(source).body[0]
        own = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        used = chapters.used_names(function) - own - {a.arg for a in function.args.args}
        allowed = {*vars(m), *dir(builtins), "splits", "test", "classes", "PROFILE", "happy"}
        assert used <= allowed, used - allowed


# Evaluation


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_two_evaluation_passes_are_bit_identical(m, transform):
    model, x = moved(m.DeepEmotion(transform=transform)).eval(), images(6)
    assert torch.equal(model(x), model(x))
    model.train()
    assert not torch.equal(model(x), model(x))  # dropout is there, and only in training


def test_the_dropout_rate_is_taken(m):
    model, x = m.DeepEmotion(dropout=0.0).train(), images(3)
    assert torch.equal(model(x), model(x))


def test_the_map_puts_the_mode_of_every_part_back(m):
    model = m.ResidualEmotion().train()
    model.features.eval()
    m.occlusion_map(model, images(1), torch.tensor([0]), 48)
    assert model.training
    assert not any(part.training for part in model.features.modules())


def test_the_transformer_reads_as_the_written_out_sampler_does(m):
    x = images(5, dtype=torch.float64)
    theta = torch.eye(2, 3, dtype=torch.float64) + 0.3 * torch.randn(5, 2, 3, dtype=torch.float64)
    module = m.SpatialTransformer().double()
    module.localization.register_forward_hook(lambda *_: theta)
    for signal in (None, torch.randn(5, 10, 9, 9, dtype=torch.float64)):
        read = x if signal is None else signal
        own = m.bilinear_sample(read, m.affine_grid(theta, *read.shape[-2:]))
        torch.testing.assert_close(module(x, signal)[0], own, atol=1e-10, rtol=0)


def test_one_seed_gives_one_beginning_with_any_transform(m):
    x, logits = images(4), []
    for transform in TRANSFORMS:
        torch.manual_seed(5)
        logits.append(m.DeepEmotion(transform=transform).eval()(x))
    for other in logits[:2]:
        torch.testing.assert_close(other, logits[2], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("transform", "wide", "kernels"), [("image", 640, [7, 5]), ("features", 90, [3, 3])])
def test_localisation_networks_are_those_of_code_and_figure_and_all_of_them_learns(m, transform, wide, kernels):
    model = m.DeepEmotion(transform=transform)
    net = model.transformer.localization
    assert [(layer.in_features, layer.out_features) for layer in parts(net, nn.Linear)] == [(wide, 32), (32, 6)]
    assert [layer.kernel_size[0] for layer in parts(net, nn.Conv2d)] == kernels
    nn.init.normal_(parts(net, nn.Linear)[-1].weight, std=0.1)  # away from the identity
    F.cross_entropy(model(images(4)), torch.arange(4)).backward()
    assert all(p.grad.abs().max() > 0 for p in net.parameters())


def test_in_the_figure_dropout_comes_first(m):
    model, zeros = m.DeepEmotion(transform="features"), []
    model.transformer.register_forward_hook(
        lambda _, given, named, out: zeros.append((named["signal"] == 0).float().mean()), with_kwargs=True
    )
    model.train()(images(2))
    model.eval()(images(2))
    assert zeros[0] > zeros[1] + 0.2


def test_what_the_page_says_about_the_ladder_stands_in_its_record():
    """The first rung above the printed number is the residual one; validation images do not prefer the one after it."""
    rows = [r for r in record.result(NAME, "paper", "fer2013")["tables"]["ladder"] if r["networks"] == 1]
    printed = claims.get(NAME, "fer2013-accuracy").value / 100
    assert next(row["rung"] for row in rows if row["test_shifts"] > printed) == "residual"

    def chosen(rung):
        return np.mean([row["valid_shifts"] for row in rows if row["rung"] == rung])

    assert chosen("regularised") <= chosen("residual")


def test_theta_keeps_its_digits_under_autocast(m):
    transformer = m.SpatialTransformer()
    with torch.no_grad():
        transformer.localization.fully_connected[-1].bias[0] = 1.003
        with torch.autocast("cpu", torch.bfloat16):
            theta = transformer(torch.zeros(1, 1, 48, 48))[1]
    assert theta[0, 0, 0] == torch.tensor(1.003)


@pytest.mark.parametrize("size", [0, 49])
def test_a_square_that_does_not_fit_is_refused(m, size):
    with pytest.raises(ValueError, match=f"between 1 and 48 pixels, not {size}"):
        m.occlusion_map(m.DeepEmotion(), torch.zeros(1, 1, 48, 48), torch.zeros(1, dtype=torch.int64), size)

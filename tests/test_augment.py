"""Augmentation: identities, bounds and closed forms."""

import pytest
import torch
import torch.nn.functional as F

from fer_teach.augment import affine_matrices, mix, move
from fer_teach.data import FaceDataset
from fer_teach.errors import FerTeachError
from fer_teach.training import Augment, augment_batch, augment_images, normalise

FULL = Augment(shift=0.05, rotate=5, scale=0.05, brightness=0.05, contrast=0.1, erase=0.3, mixup=0.2)


def bars(count, seed=0, channels=1, side=12):
    """Four classes: in which quarter of the rows the bright bar lies."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (count,), generator=generator)
    images = (torch.rand(count, channels, side, side, generator=generator) * 100).byte()
    for image, label in zip(images, labels.tolist(), strict=True):
        image[:, label * side // 4 : (label + 1) * side // 4] += 120
    return FaceDataset("bars", "train", images, labels, tuple("abcd"))


def test_normalise_range_and_type():
    x = normalise(torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3))
    torch.testing.assert_close(x.flatten(), torch.tensor([-1.0, -0.6, 1.0]))
    torch.testing.assert_close(x, (torch.tensor([0, 51, 255]).view(1, 1, 1, 3) / 255 - 0.5) / 0.5)
    with pytest.raises(FerTeachError, match="uint8"):
        normalise(x)


def test_augment_of_zeros_is_the_identity():
    images = bars(9).images
    generator = torch.Generator().manual_seed(3)
    assert torch.equal(augment_images(images, Augment(flip=0), generator), normalise(images))
    assert torch.equal(augment_images(images, None, generator), normalise(images))
    zero = affine_matrices(9, Augment(flip=0), generator)
    assert torch.equal(zero, torch.eye(2, 3).expand(9, 2, 3))
    torch.testing.assert_close(move(normalise(images), zero), normalise(images), atol=1e-5, rtol=0)


def test_certain_flip_mirrors_in_both_code_paths():
    images = bars(6, channels=3).images
    images[..., :3] = 0
    mirrored = normalise(images).flip(-1)
    assert torch.equal(augment_images(images, Augment(flip=1), torch.Generator()), mirrored)
    theta = affine_matrices(6, Augment(flip=1), torch.Generator())
    torch.testing.assert_close(move(normalise(images), theta), mirrored, atol=1e-5, rtol=0)


def test_move_agrees_with_the_library_on_a_rectangle():
    torch.manual_seed(0)
    images, theta = torch.randn(4, 3, 10, 14), torch.eye(2, 3) + 0.2 * torch.randn(4, 2, 3)
    grid = F.affine_grid(theta, [4, 3, 10, 14], align_corners=False)
    expected = F.grid_sample(images, grid, padding_mode="zeros", align_corners=False)
    torch.testing.assert_close(move(images, theta, "zeros"), expected, atol=1e-4, rtol=1e-4)


def test_affine_draws_stay_within_their_bounds():
    theta = affine_matrices(5000, Augment(flip=0, shift=0.1, rotate=20, scale=0.2), torch.Generator().manual_seed(0))
    size = theta[:, :, 1].norm(dim=1)
    angle = torch.rad2deg(torch.atan2(theta[:, 1, 0], theta[:, 0, 0]))
    assert theta[:, :, 2].abs().max() <= 0.2  # 0.1 of the width is 0.2 of [-1, 1]
    assert angle.abs().max() <= 20.001
    assert angle.abs().max() > 19
    assert (1 / 1.2001) <= size.min() <= size.max() <= 1 / 0.7999
    torch.testing.assert_close(torch.linalg.det(theta[:, :, :2]), size**2)


def test_erasing_overwrites_one_rectangle_of_the_stated_area():
    images = torch.full((300, 1, 48, 48), 255, dtype=torch.uint8)
    changed = augment_images(images, Augment(flip=0, erase=1), torch.Generator().manual_seed(0)) != 1
    for box in changed[:, 0]:
        rows, columns = box.any(1).nonzero()[:, 0], box.any(0).nonzero()[:, 0]
        tall, wide = int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1
        assert box.sum() >= 0.97 * tall * wide  # noise is hardly ever exactly white
        assert 0.01 < tall * wide / 48**2 < 0.24
    some = augment_images(images, Augment(flip=0, erase=0.25), torch.Generator().manual_seed(0)) != 1
    assert 0.15 < some.flatten(1).any(1).float().mean() < 0.35


def test_brightness_and_contrast():
    images = torch.full((500, 1, 2, 2), 191, dtype=torch.uint8)
    x = augment_images(images, Augment(flip=0, brightness=0.1), torch.Generator().manual_seed(0))
    offset = x[:, 0, 0, 0] - normalise(images)[:, 0, 0, 0]
    assert offset.abs().max() <= 0.2001
    assert offset.abs().max() > 0.19
    x = augment_images(images, Augment(flip=0, contrast=0.3), torch.Generator().manual_seed(0))
    gain = x[:, 0, 0, 0] / normalise(images)[:, 0, 0, 0]
    assert gain.min() >= 0.699
    assert gain.max() <= 1.301


def test_mixup_closed_form_and_targets_sum_to_one():
    images, targets = torch.randn(3, 1, 2, 2), torch.eye(3)
    x, y = mix(images, targets, 0.75, torch.tensor([1, 2, 0]))
    torch.testing.assert_close(x, 0.75 * images + 0.25 * images[[1, 2, 0]])
    torch.testing.assert_close(y, 0.75 * torch.eye(3) + 0.25 * torch.eye(3)[[1, 2, 0]])
    data = bars(50)
    x, y = augment_batch(data.images, data.labels, 4, FULL, 0.1, torch.Generator().manual_seed(0))
    assert x.shape == data.images.shape
    torch.testing.assert_close(y.sum(1), torch.ones(50))
    assert y.min() >= 0.1 / 4 - 1e-6


def test_targets_stay_labels_without_mixup_and_smoothing():
    data = bars(5)
    assert torch.equal(augment_batch(data.images, data.labels, 4, Augment(), 0.0, torch.Generator())[1], data.labels)
    smooth = augment_batch(data.images, data.labels, 4, None, 0.2, torch.Generator())[1]
    torch.testing.assert_close(smooth, 0.8 * torch.eye(4)[data.labels] + 0.05)


@pytest.mark.parametrize("bad", [{"flip": 1.5}, {"shift": -0.1}, {"scale": 1.0}, {"padding": "wrap"}, {"mixup": "no"}])
def test_bad_augment_is_refused(bad):
    with pytest.raises(FerTeachError, match=next(iter(bad))):
        Augment(**bad)

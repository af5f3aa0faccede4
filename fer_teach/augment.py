"""Augmentation on whole batches of tensors, every draw from the caller's generator; views to average over at a test."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F

from .errors import FerTeachError


@dataclass(frozen=True)
class Augment:
    """How far training images may be changed; zero switches a change off.

    flip: probability of mirroring left and right.
    shift: largest shift, as a share of width and height (0.1 on 48 pixels: up to 4.8 pixels each way).
    rotate: largest rotation in degrees, both ways.
    scale: largest relative change of size (0.1: from 0.9 to 1.1).
    brightness: largest offset, as a share of the range from black to white.
    contrast: largest relative change of contrast about mid-grey.
    erase: probability of overwriting one rectangle of 2 to 20 % of the area (sides 1:2 to 2:1) with noise
        (random erasing, Zhong et al. 2017).
    mixup: alpha of Beta(alpha, alpha); one weight per batch mixes images and targets (Zhang et al. 2018).
    padding: what lies outside a moved image: "border", "zeros" (mid-grey after normalising) or "reflection".
    """

    flip: float = 0.5
    shift: float = 0.0
    rotate: float = 0.0
    scale: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    erase: float = 0.0
    mixup: float = 0.0
    padding: str = "border"

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "padding" and not (isinstance(value, int | float) and 0 <= value < math.inf):
                raise FerTeachError(f"Augment.{field.name} must be a number of at least 0, not {value!r}")
        for name in ("flip", "erase", "shift"):
            if getattr(self, name) > 1:
                raise FerTeachError(f"Augment.{name} must lie between 0 and 1, not {getattr(self, name)!r}")
        if self.scale >= 1:
            raise FerTeachError(f"Augment.scale must be below 1, not {self.scale!r}")
        if self.padding not in ("border", "zeros", "reflection"):
            raise FerTeachError(f"Augment.padding must be border, zeros or reflection, not {self.padding!r}")


def normalise(images):
    """Map pixels to the range that every network here takes: x / 127.5 - 1.

    images: uint8 (..., H, W) in 0..255. Returns float32 of the same shape in [-1, 1].
    Raises FerTeachError if the images are not uint8: a batch normalised twice would go unnoticed.
    """
    if images.dtype != torch.uint8:
        raise FerTeachError(f"normalise takes uint8 images in 0..255, not {images.dtype}")
    return images.float().mul_(1 / 127.5).sub_(1.0)


def _uniform(count, reach, generator):
    """count draws from [-reach, reach)."""
    return (torch.rand(count, generator=generator) * 2 - 1) * reach


def affine_matrices(count, augment, generator):
    """One random similarity per image, as `affine_grid` takes it.

    Returns theta (count, 2, 3) that maps output coordinates in [-1, 1] to input coordinates: mirrored,
    rotated, enlarged and shifted. Width and height are taken as equal.
    """
    mirror = 1 - 2 * (torch.rand(count, generator=generator) < augment.flip).float()
    angle = _uniform(count, math.radians(augment.rotate), generator)
    size = 1 / (1 + _uniform(count, augment.scale, generator))
    shift = 2 * _uniform((count, 2), augment.shift, generator)
    cos, sin = torch.cos(angle) * size, torch.sin(angle) * size
    rows = torch.stack([cos * mirror, -sin, shift[:, 0], sin * mirror, cos, shift[:, 1]], dim=1)
    return rows.view(count, 2, 3)


def move(images, theta, padding="border"):
    """Resample every image through its own affine map.

    images: float (B, C, H, W); theta: (B, 2, 3), from output to input coordinates in [-1, 1] with pixel centres at
    (2 i + 1) / W - 1 (align_corners=False). Returns (B, C, H, W). The grid is one matrix product of all theta with
    the homogeneous coordinates, twenty times cheaper on a CPU than `affine_grid`.
    """
    count, _, height, width = images.shape
    y, x = torch.meshgrid(
        (torch.arange(height) * 2 + 1) / height - 1, (torch.arange(width) * 2 + 1) / width - 1, indexing="ij"
    )
    points = torch.stack([x, y, torch.ones_like(x)]).view(3, -1)
    grid = (theta.reshape(-1, 3) @ points).view(count, 2, height, width).permute(0, 2, 3, 1).to(images.device)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def _erase(images, probability, generator):
    """Overwrite one rectangle in each chosen image with uniform noise, in place."""
    height, width = images.shape[-2:]
    chosen = (torch.rand(len(images), generator=generator) < probability).nonzero()[:, 0]
    count = len(chosen)
    area = 0.02 + 0.18 * torch.rand(count, generator=generator)
    ratio = torch.exp(_uniform(count, math.log(2.0), generator))
    tall, wide = (area * ratio).sqrt() * height, (area / ratio).sqrt() * width
    top = torch.rand(count, generator=generator) * (height - tall)
    left = torch.rand(count, generator=generator) * (width - wide)
    y, x = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    rows = (y >= top[:, None]) & (y < (top + tall)[:, None])
    columns = (x >= left[:, None]) & (x < (left + wide)[:, None])
    box = (rows[:, :, None] & columns[:, None, :])[:, None].to(images.device)
    noise = _uniform((count, *images.shape[1:]), 1.0, generator).to(images.device)
    chosen = chosen.to(images.device)
    images[chosen] = torch.where(box, noise, images[chosen])
    return images


def mix(images, targets, weight, order):
    """Mixup: weight * a + (1 - weight) * b, where b is the batch in another order.

    images: float (B, C, H, W); targets: (B, K) probabilities; weight in [0, 1]; order: permutation (B,).
    Returns the mixed images and targets; the rows of the targets still sum to 1.
    """
    return torch.lerp(images[order], images, weight), torch.lerp(targets[order], targets, weight)


def augment_images(images, augment, generator):
    """Change every image of a batch at random, then normalise.

    images: uint8 (B, C, H, W); augment: Augment or None; generator: a CPU torch.Generator, from which every draw comes.
    Returns float32 (B, C, H, W), in [-1, 1] where neither brightness nor contrast is changed.
    """
    if augment is None:
        return normalise(images)
    count, device = len(images), images.device
    moved = augment.shift or augment.rotate or augment.scale
    if augment.flip and not moved:
        mirror = (torch.rand(count, generator=generator) < augment.flip).to(device)
        images = torch.where(mirror[:, None, None, None], images.flip(-1), images)
    x = normalise(images)
    if moved:
        x = move(x, affine_matrices(count, augment, generator), augment.padding)
    if augment.brightness or augment.contrast:
        gain = 1 + _uniform(count, augment.contrast, generator)
        offset = 2 * _uniform(count, augment.brightness, generator)
        x = x * gain.to(device)[:, None, None, None] + offset.to(device)[:, None, None, None]
    if augment.erase:
        x = _erase(x, augment.erase, generator)
    return x


def augment_batch(images, labels, classes, augment, smoothing, generator):
    """Augmented images and the targets that go with them.

    images: uint8 (B, C, H, W); labels: int64 (B,); classes: number of classes K; smoothing: label smoothing in [0, 1).
    Returns float32 images and targets: the labels as they are, or, with mixup or smoothing, probabilities (B, K).
    """
    x = augment_images(images, augment, generator)
    alpha = augment.mixup if augment is not None else 0.0
    if not alpha and not smoothing:
        return x, labels
    targets = F.one_hot(labels, classes).float() * (1 - smoothing) + smoothing / classes
    if alpha:
        gamma = torch._standard_gamma(torch.full((2,), float(alpha)), generator=generator)
        weight = float(gamma[0] / gamma.sum().clamp_min(1e-12))
        order = torch.randperm(len(x), generator=generator).to(x.device)
        x, targets = mix(x, targets, weight, order)
    return x, targets


def views_of(x, flips, shifts):
    """What a reading averages over: x, x moved by `shifts` pixels to each side, and, if `flips`, all of these mirrored.

    x: tuple of tensors; only the image-like ones, float (B, ..., H, W), change. Returns a list of such tuples.
    """
    if not (flips or shifts):
        return [x]
    sides = [(0, 0), (shifts, 0), (-shifts, 0), (0, shifts), (0, -shifts)] if shifts else [(0, 0)]
    changes = [(side, mirror) for side in sides for mirror in ((False, True) if flips else (False,))]
    return [tuple(_view(part, *change) for part in x) for change in changes]


def _view(part, side, mirror):
    if part.ndim < 4 or not part.is_floating_point():
        return part
    moved = shifted(part, *side)
    return moved.flip(-1) if mirror else moved


def shifted(x, down, right):
    """x (..., H, W) moved by whole pixels, or cells of a map; its edge is repeated."""
    rows, columns = (torch.arange(size, device=x.device) for size in x.shape[-2:])
    return x[..., (rows - down).clamp(0, len(rows) - 1)[:, None], (columns - right).clamp(0, len(columns) - 1)]

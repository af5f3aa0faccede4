"""Harder versions of test images: rotated, shifted, occluded."""

from __future__ import annotations

import torch

from .augment import Augment, augment_images
from .errors import FerTeachError

KINDS = ("upright", "rotated", "shifted", "occluded")
_MOVES = {"rotated": Augment(flip=0, rotate=40), "shifted": Augment(flip=0, shift=1 / 6)}


def harder(images: torch.Tensor, kind: str, seed: int = 0) -> torch.Tensor:
    """A harder version of each image. images: uint8 (N, C, H, W); the same seed gives the same result.

    kind: "rotated" by up to 40 degrees either way; "shifted" by up to a sixth of each side; "occluded" by one grey
    square of a third of the side; "upright", the images as they are. Raises FerTeachError for another kind.
    """
    if kind not in KINDS:
        raise FerTeachError(f"harder() knows {', '.join(KINDS)}, not {kind!r}")
    if kind == "upright":
        return images
    generator = torch.Generator().manual_seed(seed)
    if kind in _MOVES:
        return ((augment_images(images, _MOVES[kind], generator) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    height, width = images.shape[-2:]
    tall, wide = height // 3, width // 3
    hidden = images.clone()
    tops = torch.randint(0, height - tall + 1, (len(images),), generator=generator)
    lefts = torch.randint(0, width - wide + 1, (len(images),), generator=generator)
    for image, top, left in zip(hidden, tops.tolist(), lefts.tolist(), strict=True):
        image[:, top : top + tall, left : left + wide] = 127
    return hidden


def behind_squares(x: torch.Tensor, generator, part: float = 0.6) -> torch.Tensor:
    """Cover `part` of the faces with one square each, in a grey of its own (or, in three of ten, noise), for training.

    x: float (B, C, H, W) in [-1, 1]; the square has 25 to 55 % of the side, its centre anywhere. Returns (B, C, H, W).
    """
    count, _, height, width = x.shape
    draw = torch.rand(count, 6, 1, 1, generator=generator).unbind(1)  # six numbers (B, 1, 1) a face
    half = (0.25 + 0.3 * draw[0]) / 2
    rows = (torch.arange(height)[:, None] + 0.5) / height - draw[1]  # (B, H, 1)
    columns = (torch.arange(width) + 0.5) / width - draw[2]  # (B, 1, W)
    hidden = (rows.abs() < half) & (columns.abs() < half) & (draw[3] < part)
    noise = torch.rand(count, height, width, generator=generator) * 2 - 1
    fill = torch.where(draw[5] < 0.3, noise, 2 * draw[4] - 1 + 0.15 * noise)
    return torch.where(hidden[:, None], fill[:, None].to(x), x)


def behind_square(images: torch.Tensor, centres: torch.Tensor, side: int) -> torch.Tensor:
    """A mid-grey square over one place of every face. images: uint8 (N, C, H, W); centres: (N, 2), x and y in pixels
    as landmarks count them; side: pixels. Returns uint8 (N, C, H, W)."""
    height, width = images.shape[-2:]
    rows = (torch.arange(height) - centres[:, 1:]).abs() < side / 2  # (N, H)
    columns = (torch.arange(width) - centres[:, :1]).abs() < side / 2
    hidden = (rows[:, :, None] & columns[:, None])[:, None]
    return torch.where(hidden, torch.tensor(127, dtype=torch.uint8), images)

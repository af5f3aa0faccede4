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

"""Which faces are hard: occluded or turned, from a data set's own truth or by a rule on pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from . import landmarks
from .pose import head_pose

ODD = 0.95  # faces whose worst place is odder than in this share of faces look occluded
ANGLES = (30, 45)  # degrees of yaw


def oddness(images: torch.Tensor, components: int = 40) -> torch.Tensor:
    """How badly the worst place of each face fits the principal components of all of them.

    images: uint8 (N, C, H, W), N above `components`. Returns float (N,), the highest mean squared residual of a quarter
    of the side, of faces at 24 by 24 pixels with mean 0 and deviation 1.
    """
    small = F.adaptive_avg_pool2d(images.float().mean(1, keepdim=True), 24).flatten(1)
    small = (small - small.mean(1, keepdim=True)) / (small.std(1, keepdim=True) + 1)
    small = small - small.mean(0)
    vectors = torch.linalg.eigh(small.T @ small)[1][:, -components:]  # (576, components), the largest come last
    rest = (small - small @ vectors @ vectors.T).square().view(-1, 1, 24, 24)
    return F.avg_pool2d(rest, 6, 3).flatten(1).amax(1)


def by_rule(dataset) -> dict[str, torch.Tensor]:
    """Which faces look occluded or turned, from pixels alone: name -> bool (N,).

    occluded: dlib finds no face, or the face is odder than ODD of the faces; pose_30, pose_45: dlib finds a face, and
    its landmarks say a yaw above that many degrees.
    """
    points, found = landmarks.seen(dataset)
    yaw, odd = head_pose(points).yaw.abs(), oddness(dataset.images)
    return {"occluded": ~found | (odd > odd.quantile(ODD))} | {f"pose_{a}": found & (yaw > a) for a in ANGLES}


def hard_subsets(dataset) -> dict[str, torch.Tensor]:
    """all, clean, occluded, pose_30, pose_45 and hard (occluded or pose_30): name -> bool (N,).

    From the attributes occluded and yaw where the data set has them, else `by_rule`.
    """
    known = dataset.attributes or {}
    if {"occluded", "yaw"} <= set(known):
        found = {"occluded": known["occluded"]} | {f"pose_{a}": known["yaw"].abs() > a for a in ANGLES}
    else:
        found = by_rule(dataset)
    hard = found["occluded"] | found["pose_30"]
    return {"all": torch.ones_like(hard), "clean": ~hard, **found, "hard": hard}

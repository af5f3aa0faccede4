"""Masks of eyes and mouth: the data set's own, or drawn around five points or 68 landmarks."""

from __future__ import annotations

import numpy as np
import torch

from . import landmarks
from .errors import FerTeachError

_OUTLINES = {"eyes": ((36, 42), (42, 48)), "mouth": ((48, 60),)}  # places in dlib's order of 68
EYE = (0.28, 0.15)  # half-axes of an eye's ellipse, shares of the distance between the eyes
MOUTH = (0.05, 0.25, 0.05)  # likewise: how far the mouth's goes beyond a corner, up and down, and lies below their line


def outline_masks(points, size) -> dict[str, torch.Tensor]:
    """Masks of "eyes" and "mouth" from landmarks.

    points: (N, 68, 2), x and y in pixels, dlib's order; size: height and width. A part is the convex hull of its
    landmarks (each eye its own), widened on all sides by one pixel in 64, since lids and lips reach beyond the points.
    Returns dict of bool (N, H, W).
    """
    import cv2

    reach = 1 + 2 * max(1, round(size[0] / 64))
    points, masks = np.asarray(points, dtype=np.float32), {}
    for part, groups in _OUTLINES.items():
        drawn = np.zeros((len(points), *size), np.uint8)
        for mask, face in zip(drawn, points, strict=True):
            for first, last in groups:
                cv2.fillConvexPoly(mask, cv2.convexHull(face[first:last]).round().astype(np.int32), 1)
            mask[:] = cv2.dilate(mask, np.ones((reach, reach), np.uint8))
        masks[part] = torch.from_numpy(drawn).bool()
    return masks


def point_masks(points, size) -> dict[str, torch.Tensor]:
    """Masks of "eyes" and "mouth" from five points, as `FaceDataset.five_points` has them; size: height and width.

    Each eye is an ellipse around its point, level with the line through both; the mouth is one along the line between
    its corners, a little below it, since the lower lip is the fuller one. EYE and MOUTH say how large, in shares of the
    distance between the eyes: about what `outline_masks` draws, which also reaches beyond the lids and lips. A face
    with unknown points gets empty masks. Returns dict of bool (N, H, W).
    """
    points = torch.as_tensor(points, dtype=torch.float32)
    left, right, _, *corners = points.unbind(1)
    apart = (right - left).norm(dim=1)
    line = corners[1] - corners[0]
    down = torch.stack([-line[:, 1], line[:, 0]], 1) / line.norm(dim=1, keepdim=True).clamp(min=1e-6)
    middle = (corners[0] + corners[1]) / 2 + MOUTH[2] * apart[:, None] * down
    reach = line.norm(dim=1) / 2 + MOUTH[0] * apart
    eyes = [_ellipses(eye, EYE[0] * apart, EYE[1] * apart, right - left, size) for eye in (left, right)]
    return {"eyes": eyes[0] | eyes[1], "mouth": _ellipses(middle, reach, MOUTH[1] * apart, line, size)}


def _ellipses(centre, along, across, direction, size) -> torch.Tensor:
    """bool (N, H, W): pixels inside an ellipse. centre, direction: (N, 2); along, across: half-axes (N,), 1 or more."""
    y, x = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) for side in size), indexing="ij")
    angle = torch.atan2(direction[:, 1], direction[:, 0])
    inside = torch.zeros(len(centre), *size, dtype=torch.bool)
    for i, ((cx, cy), a, b, turn) in enumerate(
        zip(centre, along.clamp(min=1), across.clamp(min=1), angle, strict=True)
    ):
        u = (x - cx) * turn.cos() + (y - cy) * turn.sin()
        v = (y - cy) * turn.cos() - (x - cx) * turn.sin()
        inside[i] = (u / a) ** 2 + (v / b) ** 2 <= 1
    return inside


def part_masks(dataset):
    """Masks of eyes and mouth for as many faces as can be: (masks, index).

    masks: dict of bool (n, H, W), row i belongs to face index[i] of the data set. The data set's own masks, for every
    face; else drawn around its five points, for the faces that have them; else around its true landmarks, for every
    face; else around those that dlib finds, for the faces that it finds; (None, empty) if it finds none.
    """
    if dataset.masks:
        return dataset.masks, torch.arange(len(dataset))
    if dataset.five_points is not None:
        index = dataset.five_points.isfinite().flatten(1).all(1).nonzero()[:, 0]
        if len(index):
            return point_masks(dataset.five_points[index], dataset.size), index
    try:
        points, found = landmarks.known(dataset)
    except FerTeachError:
        return None, torch.arange(0)
    index = found.nonzero()[:, 0]
    return outline_masks(points[index], dataset.size), index

"""Masks of eyes and mouth: the data set's own, or drawn around landmarks."""

from __future__ import annotations

import numpy as np
import torch

from . import landmarks
from .errors import FerTeachError

_OUTLINES = {"eyes": ((36, 42), (42, 48)), "mouth": ((48, 60),)}  # places in dlib's order of 68


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


def part_masks(dataset):
    """Masks of eyes and mouth for as many faces as can be: (masks, index).

    masks: dict of bool (n, H, W), row i belongs to face index[i] of the data set. The data set's own masks, for every
    face; else drawn around the landmarks that dlib finds, for the faces that it finds; (None, empty) if it finds none.
    """
    if dataset.masks:
        return dataset.masks, torch.arange(len(dataset))
    try:
        points, found = landmarks.seen(dataset)
    except FerTeachError:
        return None, torch.arange(0)
    index = found.nonzero()[:, 0]
    return outline_masks(points[index], dataset.size), index

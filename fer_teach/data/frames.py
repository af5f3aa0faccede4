"""Faces in frames that show more than a face: where dlib sees them, and the squares that are cut out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from fer_teach import landmarks
from fer_teach.data.cache import cached
from fer_teach.data.ckplus_points import POINTS, move, square
from fer_teach.data.decoding import Form, decode, image_size
from fer_teach.data.listing import Listing
from fer_teach.data.pictures import content_key
from fer_teach.data.progress import progress

SMALLEST = 200  # pixels of a frame's shorter side; a set of smaller images is one of faces that somebody cut already


@dataclass(frozen=True)
class Cut:
    """What is cut out of N frames: a square around the face, the whole frame where dlib sees none.

    boxes   float64 (N, 4): left, upper, right, lower in the frame's pixels
    points  float32 (N, 68, 2) in the frame's pixels, dlib's order; NaN where found, bool (N,), is False
    """

    boxes: np.ndarray
    points: np.ndarray
    found: np.ndarray

    def fields(self, index: np.ndarray, to: Form, known: dict) -> dict:
        """`known` arguments of FaceDataset and two more for a subset: landmarks in the images as they are cut, and
        attributes["dlib_found"]. The mean shape of the found ones stands in for the others; without any, `known`."""
        found = self.found[index]
        if not found.any():
            return known
        points = move(self.points[index], self.boxes[index], to)
        points[~found] = points[found].mean(0)
        attributes = {**known.get("attributes", {}), landmarks.FOUND: torch.from_numpy(found)}
        return {**known, "landmarks": torch.from_numpy(points), "attributes": attributes}


def faces_in(listing: Listing) -> Cut | None:
    """What to cut out of each frame of a listing; None where the images are no frames or no face is found in any.

    dlib looks once, at each frame as it is, and the outcome is kept in the cache under the files' content. One frame is
    in memory at a time; about 0.1 s each. A DataWarning counts the frames without a face.
    """
    tree, files = listing.tree, listing.files
    with tree.reading(files) as read:

        def build():
            sizes = np.array([_size(read(name)) for name in files])
            points = np.full((len(files), POINTS, 2), np.nan, np.float32)
            if np.median(sizes.min(1)) >= SMALLEST:
                for i, name in enumerate(progress(files, f"Faces in {listing.name}")):
                    points[i] = _points(read(name), sizes[i])
            return {"sizes": sizes, "points": points}

        key = content_key(tree, files, read, [tree.where(name) for name in files])
        key.update(str(SMALLEST).encode())
        known = cached(f"{listing.name}-faces", key.hexdigest(), build)
    sizes, points = known["sizes"], np.array(known["points"])
    if np.median(sizes.min(1)) < SMALLEST:
        return None
    found = ~np.isnan(points[:, 0, 0])
    if not found.all():
        first = files[int(np.argmin(found))]
        listing.warn(
            f"dlib sees no face in {(~found).sum():,} of {len(files):,} frames ({first}); of these the middle is taken."
        )
    if not found.any():
        return None
    boxes = [
        square(at, *size) if seen else (0, 0, size[1], size[0])
        for at, size, seen in zip(points, sizes, found, strict=True)
    ]
    return Cut(np.array(boxes, np.float64), points, found)


def _size(data: bytes) -> tuple[int, int]:
    """Height and width; zeros for a damaged file, which is told of when it is decoded."""
    try:
        return image_size(data)
    except ValueError:
        return 0, 0


def _points(data: bytes, size) -> np.ndarray | float:
    """dlib's points of the largest face, NaN where there is none or the file is damaged."""
    try:
        face = landmarks.detect(decode(data, Form((int(size[0]), int(size[1])), 3)))
    except ValueError:
        return np.nan
    return np.nan if face is None else face[1]

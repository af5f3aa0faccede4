"""What scenes are made of: backgrounds without people, and masks of the faces that are pasted on them."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from .errors import ArchiveError, DataWarning, FerTeachError, NotFound

# Pictures inside scikit-image's wheel without people; nothing is downloaded. Licences as its documentation states them.
# No picture serves both training and held-out scenes.
PHOTOGRAPHS = {
    "train": {
        "brick.png": "CC0",
        "grass.png": "CC0",
        "chelsea.png": "CC0, Stefan van der Walt",
        "coffee.png": "CC0, Rachel Michetti",
        "ihc.png": "no known restriction, Center for Microscopy and Molecular Imaging",
        "rocket.jpg": "public domain, SpaceX",
    },
    "held_out": {
        "gravel.png": "CC0",
        "retina.jpg": "CC0, Mikael Häggström",
        "clock_motion.png": "public domain, Stefan van der Walt",
        "text.png": "public domain",
        "hubble_deep_field.jpg": "public domain, NASA",
    },
}


def backgrounds(part: str, count: int, size: int = 64, channels: int = 1, seed: int = 0) -> torch.Tensor:
    """Square cut-outs of scikit-image's photographs without people: uint8 (count, channels, size, size).

    part: "train" or "held_out", which share no photograph; channels: 1 (grey) or 3. Every photograph is used equally
    often; place, scale (a quarter of the shorter side to all of it) and mirroring are drawn from seed.
    """
    if part not in PHOTOGRAPHS:
        raise FerTeachError(f'backgrounds come as "train" or "held_out", not {part!r}')
    pictures, generator = _pictures(part), torch.Generator().manual_seed(seed)
    made = []
    for number in range(count):
        picture = pictures[number % len(pictures)]
        height, width = picture.shape[-2:]
        share, down, across, mirror = torch.rand(4, generator=generator).tolist()
        side = max(size // 2, int(min(height, width) * (0.25 + 0.75 * share)))
        top, left = int(down * (height - side)), int(across * (width - side))
        cut = picture[:, top : top + side, left : left + side]
        cut = cut.flip(-1) if mirror < 0.5 else cut
        made.append(F.interpolate(cut[None], (size, size), mode="bilinear", antialias=True)[0])
    stack = torch.stack(made)
    if channels == 1:
        stack = torch.einsum("nchw,c->nhw", stack, torch.tensor([0.299, 0.587, 0.114]))[:, None]
    return stack.round().clamp(0, 255).byte()[torch.randperm(count, generator=generator)]


def coco_backgrounds(part: str, count: int, size: int = 64, channels: int = 1, seed: int = 0, root=None):
    """The same from the user's COCO photographs without people, each used equally often; None where there is no COCO.

    root: looked at first, perhaps another data set's folder; then $FER_TEACH_DATA. At most `count` are decoded.
    Raises DataError where a COCO is found that is damaged.
    """
    from . import data

    split = "train" if part == "train" else "test"
    for place in dict.fromkeys((root, None)):
        there = _coco_photographs(place, split)
        if there is not None:
            found = data.load("coco", place, split, n=min(count, there), seed=seed, size=size)
            found = found.grey() if channels == 1 else found
            order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
            return found.images[order % len(found)]
    return None


def _coco_photographs(place, split: str) -> int | None:
    """How many photographs without people COCO's split has in a place; None where there is no COCO."""
    from .data import catalog, coco

    try:
        return int((coco.scan(catalog.roots("coco", place)).parts == split).sum())
    except NotFound:
        return None
    except ArchiveError as error:  # perhaps another data set's, which needs a password
        path = Path(error.args[0])
        if any(part.lower().startswith(catalog.entry("coco").folders) for part in path.parts):
            raise
        warnings.warn(f"While looking for COCO: {error}", DataWarning, stacklevel=3)
        return None


@cache
def _pictures(part: str) -> list[torch.Tensor]:
    import cv2
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    images = [cv2.imread(str(folder / name)) for name in PHOTOGRAPHS[part]]
    if any(image is None for image in images):
        raise FerTeachError(f"scikit-image's photographs are missing from {folder}: install scikit-image again")
    return [torch.from_numpy(np.ascontiguousarray(i[..., ::-1].transpose(2, 0, 1))).float() for i in images]


def hulls(points, height: int, width: int, forehead: float = 0.25) -> torch.Tensor:
    """Masks bool (N, height, width): the convex hull of 68 landmarks, raised over the brows.

    points: (N, 68, 2), x and y in pixels. The landmarks end at the brows; forehead: by which share of the distance from
    brows to chin they are raised.
    """
    import cv2

    made = np.zeros((len(points), height, width), np.uint8)
    for mask, face in zip(made, np.asarray(points, np.float32), strict=True):
        up = (face[17:27].mean(0) - face[8]) * forehead  # from the chin towards the brows
        outline = np.concatenate([face, face[17:27] + up])
        cv2.fillConvexPoly(mask, cv2.convexHull(outline).round().astype(np.int32), 1)
    return torch.from_numpy(made).bool()


def with_masks(dataset):
    """The faces of a data set that can be cut out, as FaceDataset with masks["face"].

    Rendered faces have their true masks. Others get the hull of their landmarks, or of dlib's where they have none;
    faces that dlib does not find are left out.
    """
    from dataclasses import replace

    if dataset.masks and "face" in dataset.masks:
        return dataset
    from .landmarks import FOUND, landmarked

    dataset = landmarked(dataset)
    found = (dataset.attributes or {}).get(FOUND)
    dataset = dataset if found is None else dataset[found]
    return replace(dataset, masks={"face": hulls(dataset.landmarks, *dataset.size)})

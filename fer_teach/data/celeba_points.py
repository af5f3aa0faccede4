"""Where CelebA's faces are: five points each, of eyes, nose and corners of the mouth (list_landmarks_align_celeba),
and the square that an aligned face fills."""

from __future__ import annotations

import math
from pathlib import PurePosixPath

import numpy as np
import torch

from fer_teach.data.celeba_rows import Content, find, one_of, read
from fer_teach.data.ckplus_points import move
from fer_teach.data.decoding import Form, image_size
from fer_teach.data.listing import Listing
from fer_teach.errors import DataError

POINTS = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")  # left as one looks at the image
COLUMNS = tuple(f"{point}_{axis}" for point in POINTS for axis in "xy")
ALIGNED = (218, 178)  # height and width of the images that the points of list_landmarks_align_celeba belong to
FACE = (25, 57, 153, 185)  # left, upper, right, lower there: eyes at about 40 % of the height, chin near the lower edge
CROPS = (None, "frame", "face")
_OUTSIDE = 0.05  # share of faces with points beyond the image from which on a table is another image's


def face_boxes(listing: Listing, chosen: np.ndarray, crop: str | None) -> np.ndarray | None:
    """What crop="face" cuts out, float (N, 4): left, upper, right, lower in pixels of each file; None: nothing is cut.

    Images in another size than the aligned ones, but of their shape, are cut likewise; others stay whole, and a
    DataWarning counts them. Errors: DataError for an unknown crop.
    """
    if crop not in CROPS:
        raise DataError(f"celeba: unknown crop {crop!r}. Known: frame, face.")
    if crop != "face":
        return None
    files = [listing.files[i] for i in chosen]
    sizes = _sizes(listing, files)
    aligned = _shaped(sizes) & np.array([not _wild(name) for name in files])
    if not aligned.all():
        listing.warn(
            f"{(~aligned).sum():,} of {len(files):,} images have not the shape {ALIGNED[1]} x {ALIGNED[0]} of the "
            "aligned ones, so nobody knows where the face is: crop='face' leaves them whole."
        )
    scale = np.tile((sizes / ALIGNED)[:, ::-1], 2)
    return np.where(aligned[:, None], np.array(FACE) * scale, np.concatenate([0 * sizes, sizes[:, ::-1]], 1))


def five_points(listing: Listing, chosen: np.ndarray, to: Form, boxes: np.ndarray | None = None) -> torch.Tensor | None:
    """float32 (N, 5, 2), x and y in pixels of the loaded images, NaN where an image has no row; None without a table.

    boxes: what was cut out of each file, as `face_boxes` gives it.

    The table of the images in the wild is read for those (folder img_celeba), that of the aligned ones for all others;
    copies of the aligned images in another size are known by their shape. Where the points cannot be the images', a
    DataWarning says so and the result is None. Errors: DataError naming file and row.
    """
    files = [listing.files[i] for i in chosen]
    content = _content(listing, files)
    if content is None:
        return None
    keys = [_key(name) for name in files]
    points = np.full((len(keys), len(COLUMNS)), np.nan, np.float32)
    known = [i for i, key in enumerate(keys) if key in content.values]
    if known:
        points[known] = [content.values[keys[i]] for i in known]
    absent = sorted(set(keys) - content.values.keys())
    if absent:
        listing.warn(
            f"{content.table} has no row for {len(absent):,} of {len(keys):,} images, such as {absent[0]}: no points."
        )
    points = points.reshape(-1, len(POINTS), 2)
    sizes = _sizes(listing, files)
    if not _wild(files[0]):
        scale = sizes / ALIGNED
        other = np.flatnonzero(~_shaped(sizes))
        if len(other):
            height, width = sizes[other[0]].astype(int)
            listing.warn(
                f"the points of {content.table} belong to images of {ALIGNED[1]} x {ALIGNED[0]}; {len(other):,} of "
                f"{len(files):,} have another shape, {files[other[0]]} {width} x {height}. The points are left out."
            )
            return None
        points = (points + 0.5) * scale[:, None, ::-1].astype(np.float32) - 0.5
    beyond = ((points < -1) | (points > sizes[:, None, ::-1])).any((1, 2))
    if beyond.sum() > _OUTSIDE * len(known):
        first = files[int(beyond.argmax())]
        listing.warn(
            f"{content.table} has points outside {int(beyond.sum()):,} of {len(known):,} images, such as {first}. They "
            "are those of other images and are left out."
        )
        return None
    boxes = np.concatenate([np.zeros_like(sizes), sizes[:, ::-1]], 1) if boxes is None else boxes
    return torch.from_numpy(move(points, boxes, to)) if known else None


def _content(listing: Listing, files: list[str]) -> Content | None:
    """The table of points for these files, known by its header; one that is the other images' is not read."""
    tables = []
    for name in find(listing.tree, "landmark", COLUMNS, len(COLUMNS)):
        stem = _key(name)
        other = "align" in stem if _wild(files[0]) else stem.startswith("list_landmarks_celeba")
        tables += [] if other else [listing.tree.table(name)]
    keys = {_key(name) for name in files}
    contents = [read(table, keys, COLUMNS, _columns, _pixels, "a number of pixels") for table in tables]
    return one_of(contents) if contents else None


def _columns(names: list[str]) -> list[str]:
    return [name for name in COLUMNS if name in names]


def _pixels(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _key(name: str) -> str:
    return PurePosixPath(name).stem.lower()


def _wild(name: str) -> bool:
    """Is the image an uncut one? Those lie in img_celeba, the aligned ones in img_align_celeba or elsewhere."""
    return "img_celeba" in name.lower()


def _shaped(sizes: np.ndarray) -> np.ndarray:
    """bool (N,): is an image of this height and width, to a pixel, an aligned one in some size?"""
    return np.abs(sizes[:, :1] / ALIGNED[0] * ALIGNED - sizes).max(1) <= 1


def _sizes(listing: Listing, files: list[str]) -> np.ndarray:
    """Height and width of each file, float (N, 2)."""
    with listing.tree.reading(files) as read_file:
        return np.array([image_size(read_file(name)) for name in files], np.float64)

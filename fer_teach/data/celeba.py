"""CelebA: 202,599 aligned faces, 178 x 218, of 10,177 people with 40 attributes each (Liu et al., "Deep learning face
attributes in the wild", ICCV 2015)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from fer_teach.data.catalog import roots
from fer_teach.data.celeba_points import face_boxes, five_points
from fer_teach.data.celeba_tables import Tables, recognise
from fer_teach.data.dataset import FaceDataset
from fer_teach.data.decoding import form
from fer_teach.data.groups import balanced as balanced_index
from fer_teach.data.groups import hashed_parts
from fer_teach.data.listing import Listing, locate
from fer_teach.errors import AbsentSplit, DataError

SIZE = 64
PARTS = ("train", "valid", "test")
STARTS = (162_771, 182_638)  # numbers of the images at which the published valid and test begin


def load(
    places: list[Path],
    split: str,
    label: str = "Smiling",
    attributes: Sequence[str] | None = None,
    balanced: str | None = None,
    n: int | None = None,
    seed: int = 0,
    size: int | tuple[int, int] = SIZE,
    fit: str = "crop",
    crop: str | None = None,
) -> FaceDataset:
    """One split, or "all", as RGB images with attributes; rows and images are matched by name, never by position.

    label       the attribute that becomes the label; classes ("not Smiling", "Smiling")
    attributes  names of those to give, default all; each an int64 (N,) of 0 and 1
    balanced    an attribute of which as many images have it as have not
    n           so many images, drawn from `seed`; default all (with `balanced`, as many as there can be)
    size        height and width, or one number. All 202,599 images take 2.5 GB at 64; they are mapped from the cache
    fit         "crop", "pad" or "stretch", for images of another shape: by default the middle 178 x 178
    crop        "face": of the aligned images, the square of 128 x 128 that the face fills, about as the rendered faces
                and FER2013's fill theirs; images of another shape stay whole. "frame", the default: the whole image

    Images are chosen before any is read, and only those are decoded. Splits: list_eval_partition.txt or .csv; without
    it the published ranges of numbers where images of all three are there; else, for a small part of the set, 80, 10
    and 10 in a hundred by a hash of the name, or of the person where identity_CelebA.txt is there. A partition file
    that lacks images, or gives some split none, is not used, and a DataWarning says so. subjects: with
    identity_CelebA.txt. five_points: with list_landmarks_align_celeba.txt or .csv, for the images in the wild with
    list_landmarks_celeba. An image without a row, or a row without an image, is counted in a DataWarning.
    Errors: DataError naming file and row.
    """
    listing = locate("celeba", places, recognise)
    tables: Tables = listing.more["tables"]
    wanted = tables.names if attributes is None else tuple(attributes)
    values = {name: tables.values(name) for name in dict.fromkeys((*wanted, label, *([balanced] if balanced else [])))}
    chosen = _split(listing, split)
    if balanced:
        chosen = chosen[balanced_index(values[balanced][chosen], n, seed, balanced).numpy()]
    elif n is not None:
        if not isinstance(n, int) or not 1 <= n <= len(chosen):
            raise DataError(
                f"celeba: n must be a whole number in 1..{len(chosen):,}, the size of {split!r}, not {n!r}."
            )
        chosen = np.sort(np.random.default_rng(seed).permutation(chosen)[:n])
    to = form("celeba", size, 3, fit)
    boxes = face_boxes(listing, chosen, crop)
    images = listing.images(chosen, to, f"-{split}", boxes)
    listing.labels, listing.classes = values[label], (f"not {label}", label)
    given = {name: torch.from_numpy(values[name][chosen]) for name in wanted}
    return listing.dataset(split, chosen, images, five_points=five_points(listing, chosen, to, boxes), attributes=given)


def attributes(
    name: str,
    n: int | None = None,
    seed: int = 0,
    root: str | os.PathLike | None = None,
    split: str = "train",
    **options,
) -> FaceDataset:
    """CelebA images of which half have the attribute, labelled by it; n, an even number, in all.

    The same as `load("celeba", root, split, label=name, balanced=name, n=n, seed=seed, **options)`: the choice depends
    on the names of the images and on `seed` alone. Errors: DataError, as there and for an unknown attribute.
    """
    return load(roots("celeba", root), split, label=name, balanced=name, n=n, seed=seed, **options)


def find(places: list[Path]) -> str:
    """The folder or archive that `load` would read. Errors: DataError where there is none."""
    return str(scan(places).tree.root)


def scan(places: list[Path]) -> Listing:
    """All images that have a row, before any is chosen; labels are Smiling, or the first attribute."""
    listing = locate("celeba", places, recognise)
    tables: Tables = listing.more["tables"]
    name = "Smiling" if "Smiling" in tables.names else tables.names[0]
    listing.labels, listing.classes = tables.values(name), (f"not {name}", name)
    return listing


def _split(listing: Listing, split: str) -> np.ndarray:
    """Indices of a split. Errors: DataError where it has no image."""
    if split == "all":
        return np.arange(len(listing.files))
    parts, why = _parts(listing)
    chosen = np.flatnonzero(parts == split)
    if not len(chosen):
        counts = ", ".join(f"{part} {int((parts == part).sum()):,}" for part in PARTS)
        raise AbsentSplit(
            f"{listing.tree.root}: split {split!r} of celeba has no image ({counts}, by {why}). "
            'Use split="all", or more images.'
        )
    return chosen


def _parts(listing: Listing) -> tuple[np.ndarray, str]:
    """ "train", "valid" or "test" an image, and what decided."""
    if listing.parts is not None:
        return listing.parts, "the partition file"
    stems = [Path(name).stem for name in listing.files]
    if all(stem.isdigit() for stem in stems):
        parts = np.array(PARTS)[np.searchsorted(STARTS, [int(stem) for stem in stems], side="right")]
        if set(parts) == set(PARTS):
            return parts, "the published ranges of numbers"
    return hashed_parts(listing.subjects or stems), "a hash of the name"

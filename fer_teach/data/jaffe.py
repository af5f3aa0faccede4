"""JAFFE: 213 grey images, 256 x 256, of ten women posing seven expressions (Lyons et al., "Coding facial expressions
with Gabor wavelets", FG 1998)."""

from __future__ import annotations

import re
from pathlib import Path

from fer_teach.data.dataset import FaceDataset
from fer_teach.data.decoding import form
from fer_teach.data.emotions import COMMON
from fer_teach.data.listing import Listing, load_by_subject, locate, named

CLASSES = COMMON[:-1]
SIZE = 256
PEOPLE = ("KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM")
_NAME = re.compile(rf"^({'|'.join(PEOPLE)})[._ -]+(AN|DI|FE|HA|NE|SA|SU)\d*(?=[._ -])", re.IGNORECASE)


def load(
    places: list[Path],
    split: str,
    size: int | tuple[int, int] = SIZE,
    fit: str = "crop",
    folds: int | None = None,
    fold: int = 0,
    seed: int = 0,
) -> FaceDataset:
    """One split by subject, or "all", as grey images; classes in FERPlus's order without contempt.

    Person and expression are read from the file names (KA.AN1.39.tiff: KA, anger), whatever folder they lie in.
    size                height and width, or one number
    fit                 "crop", "pad" or "stretch", for images of another shape
    folds, fold, seed   see `fer_teach.data.groups.subject_split`; default 7, 1 and 2 of the ten people

    Errors: DataError naming the file; a DataWarning where images beside these have other names.
    """
    return load_by_subject(scan(places), split, form("jaffe", size, 1, fit), seed=seed, folds=folds, fold=fold)


def find(places: list[Path]) -> str:
    """The folder or archive that `load` would read. Errors: DataError where there is none."""
    return str(scan(places).tree.root)


def scan(places: list[Path]) -> Listing:
    """What `load` takes, before decoding."""
    return locate("jaffe", places, lambda tree: named("jaffe", tree, _NAME, CLASSES))

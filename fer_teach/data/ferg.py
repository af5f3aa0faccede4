"""FERG: 55,767 rendered images of six drawn characters (Aneja et al., "Modeling stylized character expressions via deep
learning", ACCV 2016)."""

from __future__ import annotations

import re
from pathlib import Path

from fer_teach.data.dataset import FaceDataset
from fer_teach.data.decoding import form
from fer_teach.data.emotions import COMMON
from fer_teach.data.files import Tree
from fer_teach.data.listing import Listing, load_by_subject, locate, named

CLASSES = COMMON[:-1]
SIZE = 64
CHARACTERS = ("aia", "bonnie", "jules", "malcolm", "mery", "ray")
_NAME = re.compile(rf"^({'|'.join(CHARACTERS)})_(anger|disgust|fear|joy|neutral|sadness|surprise)_\d+\.", re.IGNORECASE)


def load(
    places: list[Path],
    split: str,
    size: int | tuple[int, int] = SIZE,
    fit: str = "crop",
    folds: int | None = None,
    fold: int = 0,
    seed: int = 0,
) -> FaceDataset:
    """One split by character, or "all", as RGB images; classes in FERPlus's order without contempt, joy = happiness.

    The files have 256 x 256 pixels; at that size the set would take 11 GB in memory, so the declared size is 64.
    size                height and width, or one number
    fit                 "crop", "pad" or "stretch", for images of another shape
    folds, fold, seed   see `fer_teach.data.groups.subject_split`; default 4, 1 and 1 of the six characters

    subjects are the characters, in alphabetical order. Errors: DataError naming the file.
    """
    return load_by_subject(scan(places), split, form("ferg", size, 3, fit), seed=seed, folds=folds, fold=fold)


def find(places: list[Path]) -> str:
    """The folder or archive that `load` would read. Errors: DataError where there is none."""
    return str(scan(places).tree.root)


def scan(places: list[Path]) -> Listing:
    """What `load` takes, before decoding."""
    return locate("ferg", places, _recognise)


def _recognise(tree: Tree) -> Listing | None:
    found = named("ferg", tree, _NAME, CLASSES)
    absent = sorted(set(CHARACTERS) - set(found.subjects)) if found else []
    if absent:
        found.warn(f"no image of {', '.join(absent)}. Unpack the data set again if they should be there.")
    return found

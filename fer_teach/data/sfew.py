"""SFEW 2.0: frames of films with one of seven labels (Dhall et al., "Video and image based emotion recognition
challenges in the wild: EmotiW 2015", ICMI 2015).

Train has 958, Val 436 and Test 372 frames; the labels of Test are not public.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import numpy as np

from fer_teach.data.dataset import FaceDataset
from fer_teach.data.decoding import form
from fer_teach.data.emotions import COMMON, common_name
from fer_teach.data.files import Tree, is_image
from fer_teach.data.frames import faces_in
from fer_teach.data.groups import assign
from fer_teach.data.listing import Listing, load_official, locate, once, parts_of, stem_of, warn_absent
from fer_teach.errors import AbsentSplit, DataError

CLASSES = COMMON[:-1]
CROPS = ("face", "frame")
SIZE = 100
_PART = re.compile(r"^(train|val|test)")
_FILM = re.compile(r"^(.+?)[_-]?\d{5,}")


def load(
    places: list[Path],
    split: str,
    size: int | tuple[int, int] = SIZE,
    fit: str = "crop",
    aligned: bool | None = None,
    crop: str = "face",
    official: bool = True,
    valid: float = 0.1,
    seed: int = 0,
) -> FaceDataset:
    """One split, or "all" (train and val), as RGB images; classes in FERPlus's order without contempt.

    "train" is Train, "valid" is Val; "test" needs a Test with class folders: its labels are not public.
    official   False (as `data.splits` asks): Val is "test", since papers report on it, and about a share `valid` of
    Train is
               "valid": whole films, drawn from `seed`, so that no film stands in both; the rest of Train is "train"
    aligned    True: the faces in the Aligned_Faces folders (143 x 181, fewer images); False: the frames. Default: the
               aligned ones where they are there
    crop       of frames, not of aligned faces. "face": a square around the landmarks that dlib finds, 1.3 times their
               extent, or the frame's middle where it finds none, told in a DataWarning; "frame": the whole frame
    size       height and width, or one number
    fit        "crop", "pad" or "stretch", for images of another shape

    attributes: "film", a number a film, from the file names. Of frames cut to the face also landmarks, and attribute
    "dlib_found"; where that is False the mean shape stands in. Errors: DataError naming the file.
    """
    if crop not in CROPS:
        raise DataError(f"sfew: unknown crop {crop!r}. Known: {', '.join(CROPS)}.")
    if not isinstance(valid, (int, float)) or not 0 <= valid < 1:
        raise DataError(f"sfew: valid must be a share from 0 to below 1, not {valid!r}.")
    found = scan(places, aligned)
    if official and split == "test" and "test" not in found.parts:
        raise AbsentSplit(
            f"{found.tree.root}: the labels of SFEW's Test are not public. The papers report on Val: load it as "
            'split="valid", or take data.splits("sfew", root), where Val is the test.'
        )
    train = np.flatnonzero(found.parts == "train")
    films = found.more["attributes"]["film"]
    held = np.zeros(len(found.files), bool)
    if valid and len(np.unique(films[train])) > 1:
        held[train] = assign(found.labels[train], films[train], [1 - valid, valid], seed) == 1
    cut = faces_in(found) if crop == "face" and not found.more["aligned"] else None
    return load_official(found, split, form("sfew", size, 3, fit), held, official, test="valid", cut=cut)


def find(places: list[Path]) -> str:
    """The folder or archive that `load` would read. Errors: DataError where there is none."""
    return str(scan(places).tree.root)


def scan(places: list[Path], aligned: bool | None = None) -> Listing:
    """What `load` takes, before decoding; official parts are "train", "valid" and, if it has labels, "test"."""
    return locate("sfew", places, lambda tree: _recognise(tree, aligned))


def _recognise(tree: Tree, aligned: bool | None) -> Listing | str | None:
    known, loose = {}, []
    for name in filter(is_image, tree.names):
        part = next((match[1] for folder in parts_of(name) if (match := _PART.match(stem_of(folder)))), None)
        word = common_name(PurePosixPath(name).parent.name)
        if part and word in CLASSES:
            known[name] = ({"val": "valid"}.get(part, part), word)
        elif part and part != "test":
            loose.append(name)
    cut = {name for name in known if "aligned" in name.lower()}
    if aligned and not cut and known:
        return f"no folder of aligned faces in {tree.root}"
    if aligned or (aligned is None and {known[name][0] for name in cut} >= {"train", "valid"}):
        files = sorted(cut)
    else:
        files = sorted(known.keys() - cut) or sorted(cut)
    parts = {known[name][0] for name in files}
    if not parts >= {"train", "valid"}:
        return (
            f"{tree.root} has a {parts.pop()} part with class folders, Train and Val must both be there"
            if parts
            else None
        )
    return _make(tree, files, known, loose, aligned=bool(cut) and files[0] in cut)


def _make(tree: Tree, files: list[str], known: dict, loose: list[str], aligned: bool) -> Listing:
    once(tree, files, lambda name: (known[name][0], PurePosixPath(name).stem.lower()), "An image has one class.")
    stems = [PurePosixPath(name).stem for name in files]
    films = [match[1].lower() if (match := _FILM.match(stem)) else stem.lower() for stem in stems]
    found = Listing(
        "sfew",
        tree,
        files,
        np.array([CLASSES.index(known[name][1]) for name in files], np.int64),
        CLASSES,
        parts=np.array([known[name][0] for name in files]),
        more={"attributes": {"film": np.unique(films, return_inverse=True)[1].astype(np.int64)}, "aligned": aligned},
    )
    if loose:
        found.warn(
            f"{len(loose):,} images of Train or Val lie in no class folder and are not loaded, such as {loose[0]}."
        )
    warn_absent(found)
    return found

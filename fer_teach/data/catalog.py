"""The data sets of the book: what each is for, who grants access, how its folder looks."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from fer_teach.data.kin import KIN, kin_places, plain
from fer_teach.data.tablefile import TAR
from fer_teach.errors import DataError, NotFound

SPLITS = ("train", "valid", "test")
_WITH_ALL = (*SPLITS, "all")


@dataclass(frozen=True)
class Entry:
    """One known data set. `module` is where its loader lies; `folders` are beginnings of names that its folder may
    have (lower case, letters and digits alone)."""

    name: str
    title: str
    chapters: str
    licence: str
    access: str
    layout: str
    module: str
    splits: tuple[str, ...] = SPLITS
    folders: tuple[str, ...] = ()
    published: tuple[str, ...] = ()  # the labelled parts where there are two; `fer_teach.data.splits` makes three


_FER2013_CSV = "fer2013.csv or icml_face_data.csv (plain, .gz, .bz2, .xz, .zip or .tar.gz)"
_FER2013_ACCESS = (
    "Kaggle, after signing in and accepting the competition's rules: "
    "kaggle.com/competitions/challenges-in-representation-learning-facial-expression-recognition-challenge"
)
_ENTRIES = (
    Entry(
        "rendered",
        "Rendered faces, 8 classes",
        "all",
        "MIT (part of the book)",
        "nothing to ask for",
        "inside the package;\n  or a folder that `fer-teach faces render --out` filled: shard-0000.npz ...",
        "rendered",
        splits=(*SPLITS, "gallery"),
    ),
    Entry(
        "ferplus",
        "FER2013's images with ten votes each, 8 classes",
        "01 to 05",
        "votes MIT; images for research",
        f"votes: github.com/microsoft/FERPlus; images: {_FER2013_ACCESS}",
        "FER2013Train/, FER2013Valid/, FER2013Test/, each with ferNNNNNNN.png and label.csv;\n"
        f"  or {_FER2013_CSV} beside fer2013new.csv",
        "ferplus",
        folders=("ferplus",),
    ),
    Entry(
        "fer2013",
        "FER2013, 7 classes",
        "01, 04, 05",
        "images for research",
        _FER2013_ACCESS,
        f"{_FER2013_CSV};\n"
        "  or FER2013Train/, FER2013Valid/, FER2013Test/ with PNG files and a csv with the columns image,Usage,emotion",
        "fer2013",
        folders=("fer2013",),
    ),
    Entry(
        "ckplus",
        "CK+, posed expressions, 7 or 8 classes",
        "01, 03, 04, 05",
        "research, no faces shown beyond those permitted",
        "its authors, on a signed agreement: jeffcohn.net/Resources",
        "cohn-kanade-images/S005/001/S005_001_00000011.png ... and Emotion/S005/001/S005_001_00000011_emotion.txt ...\n"
        "  (Landmarks/ and FACS/ are read where they are there);\n"
        "  or the 48 px form: anger/ ... surprise/, each with S010_004_00000017.png ...",
        "ckplus",
        _WITH_ALL,
        ("ck", "cohnkanade", "extendedcohnkanade"),
    ),
    Entry(
        "jaffe",
        "JAFFE, posed expressions of 10 women, 7 classes",
        "01, 04",
        "non-commercial research",
        "its authors, on request: doi.org/10.5281/zenodo.3451524",
        "KA.AN1.39.tiff ..., in one folder or in folders",
        "jaffe",
        _WITH_ALL,
        ("jaffe",),
    ),
    Entry(
        "ferg",
        "FERG, 6 drawn characters, 7 classes",
        "01",
        "non-commercial research",
        "University of Washington, on request: grail.cs.washington.edu/projects/deepexpr/ferg-2d-db.html",
        "aia/aia_anger/aia_anger_1.png ... for aia, bonnie, jules, malcolm, mery, ray",
        "ferg",
        _WITH_ALL,
        ("ferg",),
    ),
    Entry(
        "rafdb",
        "RAF-DB, basic: photographs, 7 classes",
        "02, 04, 05",
        "non-commercial research",
        "its authors, on a signed agreement: whdeng.cn/RAF",
        "train/1 ... train/7, test/1 ... test/7 with train_00001_aligned.jpg ...;\n"
        "  or list_patition_label.txt and aligned/train_00001_aligned.jpg ...",
        "rafdb",
        _WITH_ALL,
        ("raf",),
        published=("train", "test"),
    ),
    Entry(
        "sfew",
        "SFEW 2.0, frames of films, 7 classes",
        "02, 04",
        "research",
        "its authors, on a signed agreement: cs.anu.edu.au/few",
        "Train/Angry ... Train/Surprise and Val/Angry ... Val/Surprise;\n"
        "  or Train_Aligned_Faces/ and Val_Aligned_Faces/, by themselves or inside Train/ and Val/",
        "sfew",
        _WITH_ALL,
        ("sfew",),
        published=("train", "valid"),
    ),
    Entry(
        "celeba",
        "CelebA, faces with 40 attributes",
        "05",
        "non-commercial research",
        "the Chinese University of Hong Kong: mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        "img_align_celeba/000001.jpg ... and list_attr_celeba.txt (or list_attr_celeba.csv);\n"
        "  list_eval_partition.txt (or .csv) and identity_CelebA.txt are read where they are there",
        "celeba",
        _WITH_ALL,
        ("celeba",),
    ),
    Entry(
        "coco",
        "COCO, photographs without people as backgrounds",
        "03",
        "annotations CC BY 4.0; images under their Flickr licences",
        "nothing to ask for: cocodataset.org",
        "train2017/ and val2017/ with annotations/instances_train2017.json and instances_val2017.json;\n"
        "  or images/train2017/*.jpg with labels/train2017/*.txt in YOLO's form",
        "coco",
        _WITH_ALL,
        ("coco", "mscoco"),
    ),
)
CATALOG = {entry.name: entry for entry in _ENTRIES}


def names() -> tuple[str, ...]:
    """Names that `load` takes."""
    return tuple(CATALOG)


def entry(name: str) -> Entry:
    """The catalogue's entry. Errors: DataError for an unknown name."""
    if name not in CATALOG:
        raise DataError(f"Unknown data set {name!r}. Known: {', '.join(names())}.")
    return CATALOG[name]


def check_split(name: str, split: str) -> None:
    """Errors: DataError unless the data set has the split."""
    if split not in CATALOG[name].splits:
        raise DataError(f"Unknown split {split!r} of {name}. Splits: {', '.join(CATALOG[name].splits)}.")


def roots(name: str, root: str | os.PathLike | None) -> list[Path]:
    """Places to look for a data set: the given path or $FER_TEACH_DATA, and folders or archives of its name inside.

    Errors: DataError where neither is given, or the path does not exist, or may not be read.
    """
    given = root if root is not None else os.environ.get("FER_TEACH_DATA") or None
    if given is None:
        raise missing(name, ["(no folder given: pass root=, --root or set FER_TEACH_DATA)"])
    try:
        base = Path(os.fsdecode(given)).expanduser()
        if not base.exists():
            raise missing(name, [f"{base} (does not exist)"])
        if base.is_file():
            return [base]
        inside = sorted(base.iterdir())
        if name in KIN:
            return [base, *kin_places(name, inside, lambda folder: other_set(name, folder))]
        mine = [path for path in inside if _named(name, path.name)]
        folders = [path for path in mine if path.is_dir()]
        packed = [path for path in mine if path.is_file() and path.name.lower().endswith((".zip", *TAR))]
        return [*folders, base, *packed]
    except PermissionError as error:
        raise DataError(f"No permission to read {error.filename or base}. Give yourself read access to it.") from error
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise DataError(f"Cannot read {given}: {why}.") from error


def places(name: str, root: str | os.PathLike | None) -> list[Path] | None:
    """`roots`, or None where the faces that the package carries are meant: "rendered" without a root."""
    return None if name == "rendered" and root is None else roots(name, root)


def _named(name: str, folder: str) -> bool:
    """Does a folder's or archive's name begin like one of the data set's?"""
    return bool(CATALOG[name].folders) and plain(folder).startswith(CATALOG[name].folders)


def other_set(name: str, folder: str) -> bool:
    """Does the folder's name begin like one of another data set's, and not like this one's?"""
    return not _named(name, folder) and any(_named(other, folder) for other in CATALOG)


def missing(name: str, looked: list[str], what: str | None = None) -> DataError:
    """The error for a data set that is not there: what, where it was looked for, who grants access, the layout.

    NotFound where nothing of it was found (`what` is None or begins so), DataError where something was.
    """
    known = CATALOG[name]
    return (NotFound if (what or "not found").startswith("not found") else DataError)(
        f"{known.title} ({name}): {what or 'not found'}.\n"
        f"Looked in: {'; '.join(looked)}\n"
        f"Access: {known.access}\n"
        f"Lay it out as: {known.layout}\n"
        "Nothing is downloaded for you."
    )


def table(root: str | os.PathLike | None = None, only: str | None = None) -> list[dict[str, str]]:
    """Rows for `fer-teach data list`: name, what, chapters, licence, access, state (found and where, or why not).

    only  the name of the one data set to look for
    """
    return [
        {
            "name": known.name,
            "what": known.title,
            "chapters": known.chapters,
            "licence": known.licence,
            "access": known.access,
            "state": _state(known, root),
        }
        for known in _ENTRIES
        if only in (None, known.name)
    ]


def _state(known: Entry, root) -> str:
    try:
        looked = places(known.name, root)
        if looked is None:
            return "built in"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return f"found in {import_module(f'fer_teach.data.{known.module}').find(looked)}"
    except DataError:
        return "built in" if known.name == "rendered" else "not found"
    except PermissionError as error:
        return f"no permission to read {error.filename}"

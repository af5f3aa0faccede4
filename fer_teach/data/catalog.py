"""The data sets of the book: what each is for, who grants access, how its folder looks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from fer_teach.errors import DataError

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Entry:
    """One known data set. `module` is where its loader lies, None where it is not supported yet."""

    name: str
    title: str
    chapters: str
    licence: str
    access: str
    layout: str
    module: str | None = None


_FER2013_CSV = "fer2013.csv or icml_face_data.csv (plain, .gz, .zip or .tar.gz)"
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
        "made on first use",
        "rendered",
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
    ),
    Entry(
        "fer2013",
        "FER2013, 7 classes",
        "01",
        "images for research",
        _FER2013_ACCESS,
        f"{_FER2013_CSV};\n"
        "  or FER2013Train/, FER2013Valid/, FER2013Test/ with PNG files and a csv with the columns image,Usage,emotion",
        "fer2013",
    ),
    Entry(
        "ckplus",
        "Extended Cohn-Kanade (CK+)",
        "01, 03, 04",
        "research",
        "its authors, on a signed agreement",
        "anger/ ... surprise/",
    ),
    Entry("jaffe", "JAFFE", "01, 04", "research", "zenodo.org, on request", "*.tiff"),
    Entry(
        "ferg",
        "FERG, drawn characters",
        "01",
        "research",
        "University of Washington, on request",
        "one folder a character",
    ),
    Entry(
        "rafdb", "RAF-DB, basic", "02, 04, 05", "research", "whdeng.cn/RAF, on a signed agreement", "train|test/1..7"
    ),
    Entry("sfew", "SFEW 2.0", "02", "research", "its authors, on a signed agreement", "Train|Val/Class"),
    Entry("celeba", "CelebA", "03", "research", "mmlab.ie.cuhk.edu.hk/projects/CelebA.html", "img_align_celeba/"),
    Entry(
        "coco",
        "COCO, backgrounds without people",
        "03",
        "Flickr licences",
        "cocodataset.org",
        "images and instances json",
    ),
)
CATALOG = {entry.name: entry for entry in _ENTRIES}


def names(all_known: bool = False) -> tuple[str, ...]:
    """Names that `load` takes; with `all_known` also those of the design that have no loader yet."""
    return tuple(name for name, entry in CATALOG.items() if all_known or entry.module)


def entry(name: str) -> Entry:
    """The catalogue's entry. Errors: DataError for an unknown name or one without a loader."""
    if name not in CATALOG:
        raise DataError(f"Unknown data set {name!r}. Known: {', '.join(names())}.")
    if CATALOG[name].module is None:
        raise DataError(f"Data set {name!r} is not yet supported. Supported: {', '.join(names())}.")
    return CATALOG[name]


def check_split(name: str, split: str) -> None:
    """Errors: DataError unless `split` is train, valid or test."""
    if split not in SPLITS:
        raise DataError(f"Unknown split {split!r} of {name}. Splits: {', '.join(SPLITS)}.")


def roots(name: str, root: str | os.PathLike | None) -> list[Path]:
    """Places to look for a data set: the given path or $FER_TEACH_DATA, then folders of the set's name inside.

    Errors: DataError where neither is given, or the path does not exist, or may not be read.
    """
    given = root if root is not None else os.environ.get("FER_TEACH_DATA") or None
    if given is None:
        raise missing(name, ["(no folder given: pass root=, --root or set FER_TEACH_DATA)"])
    base = Path(given).expanduser()
    try:
        if not base.exists():
            raise missing(name, [f"{base} (does not exist)"])
        if base.is_file():
            return [base]
        next(base.iterdir(), None)
        return [base, *(base / inner for inner in _INNER.get(name, (name,)) if (base / inner).is_dir())]
    except PermissionError as error:
        raise DataError(f"No permission to read {error.filename or base}. Give yourself read access to it.") from error


_INNER = {"ferplus": ("ferplus", "FERPlus", "data", "fer2013"), "fer2013": ("fer2013", "ferplus", "FERPlus", "data")}


def missing(name: str, looked: list[str], what: str | None = None) -> DataError:
    """The error for a data set that is not there: what, where it was looked for, who grants access, the layout."""
    known = CATALOG[name]
    return DataError(
        f"{known.title} ({name}): {what or 'not found'}.\n"
        f"Looked in: {'; '.join(looked)}\n"
        f"Access: {known.access}\n"
        f"Lay it out as: {known.layout}\n"
        "Nothing is downloaded for you."
    )


def table(root: str | os.PathLike | None = None) -> list[dict[str, str]]:
    """Rows for `fer-teach data list`: name, what, chapters, licence, access, state (found and where, or why not)."""
    rows = []
    for known in _ENTRIES:
        rows.append(
            {
                "name": known.name,
                "what": known.title,
                "chapters": known.chapters,
                "licence": known.licence,
                "access": known.access,
                "state": _state(known, root),
            }
        )
    return rows


def _state(known: Entry, root) -> str:
    if known.module is None:
        return "not yet supported"
    if known.name == "rendered":
        return "built in"
    from importlib import import_module

    try:
        return f"found in {import_module(f'fer_teach.data.{known.module}').find(roots(known.name, root))}"
    except DataError:
        return "not found"

"""FER2013: 48 x 48 grey faces, seven classes (Goodfellow et al. 2013, "Challenges in Representation Learning").

Official split: Training = train, PublicTest = valid, PrivateTest = test; 28,709 / 3,589 / 3,589 images.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
import torch

from fer_teach.data import kaggle
from fer_teach.data.catalog import missing
from fer_teach.data.dataset import FaceDataset
from fer_teach.data.pictures import grey_images, warn_unlisted
from fer_teach.data.tablefile import TableFile
from fer_teach.data.unpacked import archives, unpacked
from fer_teach.errors import DataError

CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
FOLDERS = {
    "train": ("FER2013Train", "Training", "train"),
    "valid": ("FER2013Valid", "PublicTest", "valid"),
    "test": ("FER2013Test", "PrivateTest", "test"),
}
_COLUMNS = ["image", "Usage", "emotion"]


def load(places: list[Path], split: str) -> FaceDataset:
    """One split, from Kaggle's table (plain or packed), else from PNG folders with a csv `image,Usage,emotion`.

    The csv may have any name; the images stand in FER2013Train|Valid|Test, Training|PublicTest|PrivateTest,
    train|valid|test, images, or beside the csv. Errors: DataError naming file and row. Warnings: PNG files that the csv
    does not list, a split of another size than was published.
    """
    table = kaggle.find(places)
    if table is not None:
        arrays = kaggle.read(table)
        chosen = arrays["usage"] == list(kaggle.USAGES).index(split)
        if not chosen.any():
            raise kaggle.empty_split(table, split, arrays["usage"])
        kaggle.warn_short(table, split, arrays["usage"])
        return _dataset(split, arrays["images"][chosen], arrays["emotion"][chosen])
    looked: list[str] = []
    labels = _labels_file(places, looked) or _labels_file(unpacked(places, FOLDERS["train"][0]), looked)
    if labels is None:
        raise _absent(places, looked)
    return _from_folders(labels, split, places)


def find(places: list[Path]) -> str:
    """The file or archive that `load` would read. Errors: DataError where there is none."""
    looked: list[str] = []
    found = kaggle.find(places) or _labels_file(places, looked) or _packed(places)
    if found is None:
        raise _absent(places, looked)
    return str(found)


def _absent(places: list[Path], looked: list[str]) -> DataError:
    """The error for labels that are not there: all of the data set, or only they, beside their images."""
    folders = [place / name for place in places for names in FOLDERS.values() for name in names[:2]]
    there = any(any(folder.glob("*.png")) for folder in folders)
    what = "its images are there, but no table with the columns image, Usage, emotion" if there else None
    return missing("fer2013", looked, what)


def _dataset(split: str, images: np.ndarray, labels: np.ndarray) -> FaceDataset:
    return FaceDataset("fer2013", split, torch.from_numpy(images)[:, None], torch.from_numpy(labels), CLASSES)


def _labels_file(places: list[Path], looked: list[str]) -> TableFile | None:
    """The csv with the labels in the first place that has one; where it was looked for is added to `looked`."""
    for place in places:
        files = [place] if place.is_file() else sorted(place.glob("*.csv"))
        lacking = {file: _lacking(TableFile(file)) for file in files}
        fitting = [file for file in files if not lacking[file]]
        looked += [str(place), *(lacking[file] for file in files if lacking[file])]
        if len(fitting) > 1:
            named = [file for file in fitting if file.name == "fer2013_labels.csv"]
            if not named:
                raise DataError(
                    f"{place}: several csv files have the columns image, Usage, emotion: "
                    f"{', '.join(file.name for file in fitting)}. Keep one, or name it fer2013_labels.csv."
                )
            fitting = named
        if fitting:
            return TableFile(fitting[0])
    return None


def _packed(places: list[Path]) -> Path | None:
    """The first archive with the images' folders and, beside them, a csv with the labels."""
    for archive, tree, above in archives(places, FOLDERS["train"][0]):
        beside = [name for name in tree.names if PurePosixPath(name).parent == PurePosixPath(above)]
        if any(name.endswith(".csv") and not _lacking(tree.table(name)) for name in beside):
            return archive
    return None


def _lacking(table: TableFile) -> str:
    """Why a file is not the table of labels; "" for one that is."""
    try:
        header = [name.lower() for name in table.header()]
    except DataError as error:
        return str(error).rstrip(".")
    absent = [name for name in _COLUMNS if name.lower() not in header]
    return f"{table} (no column {', '.join(absent)})" if absent else ""


def _from_folders(table: TableFile, split: str, places: list[Path]) -> FaceDataset:
    names, labels, rows, usages = [], [], [], []
    seen: dict[str, int] = {}
    for row, (name, usage, emotion) in table.rows(_COLUMNS):
        where = f"{table}, row {row}"
        name = plain_name(name, where)
        if name in seen:
            raise DataError(f"{where}: image {name} was listed already in row {seen[name]}. Keep one of the two rows.")
        seen[name] = row
        usages.append(kaggle.parse_usage(usage, where))
        labels.append(kaggle.parse_emotion(emotion, where))
        names.append(name)
        rows.append(row)
    chosen = [i for i, usage in enumerate(usages) if usage == list(kaggle.USAGES).index(split)]
    if not chosen:
        raise kaggle.empty_split(table, split, np.array(usages, np.int64))
    folder = _folder(table.path.parent, split, names[chosen[0]], places)
    warn_unlisted(folder, names, table.path)
    kaggle.warn_short(table, split, np.array(usages, np.int64))
    listed = [names[i] for i in chosen]
    images = grey_images(f"fer2013-{split}", folder, listed, table.path, [rows[i] for i in chosen], kaggle.SIZE)
    return _dataset(split, images, np.array([labels[i] for i in chosen], np.int64))


def _folder(root: Path, split: str, first: str, places: list[Path]) -> Path:
    candidates = [root / name for name in (*FOLDERS[split], "images")]
    there = [folder for folder in candidates if folder.is_dir()]
    for folder in (*there, root):
        if (folder / first).exists():
            return folder
    for base in unpacked(places, FOLDERS[split][0]):  # only now: to list an archive takes seconds
        if (base / FOLDERS[split][0] / first).exists():
            return base / FOLDERS[split][0]
    if not there:
        raise missing(
            "fer2013", [str(folder) for folder in (*candidates, root)], f"no folder with the images of split {split!r}"
        )
    return there[0]


def plain_name(text: str, where: str) -> str:
    """A file name without folders. Errors: DataError beginning with `where`."""
    name = text.strip()
    if not name or "/" in name or "\\" in name or "\0" in name or name in (".", ".."):
        raise DataError(f"{where}: {text!r} is not the name of an image file.")
    return name

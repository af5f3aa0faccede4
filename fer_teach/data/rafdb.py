"""RAF-DB, basic: 15,339 aligned photographs, 100 x 100, with one of seven labels (Li, Deng, Du, "Reliable crowdsourcing
and deep locality-preserving learning for expression recognition in the wild", CVPR 2017)."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import numpy as np

from fer_teach.data.dataset import FaceDataset
from fer_teach.data.decoding import form
from fer_teach.data.emotions import common_name
from fer_teach.data.files import Tree, is_image
from fer_teach.data.groups import held_out
from fer_teach.data.listing import Listing, load_official, locate, once, parts_of, stem_of, warn_absent, warn_others
from fer_teach.data.tablefile import TableFile
from fer_teach.errors import AbsentSplit, DataError

CLASSES = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")  # folders and labels 1..7
SIZE = 100
_NAME = re.compile(r"^(train|test)_\d+(_aligned)?$", re.IGNORECASE)
_LIST = re.compile(r"^(list_par?tition_label\.txt|(train|test)_labels?\.csv)$", re.IGNORECASE)
_PARTS = {"train": "train", "training": "train", "train_set": "train", "test": "test", "testing": "test",
          "test_set": "test", "val": "test", "valid": "test", "val_set": "test", "validation": "test"}  # fmt: skip


def load(
    places: list[Path],
    split: str,
    size: int | tuple[int, int] = SIZE,
    fit: str = "crop",
    valid: float = 0.1,
    official: bool = True,
    seed: int = 0,
) -> FaceDataset:
    """One split, or "all", as RGB images; the seven classes in RAF-DB's own order.

    RAF-DB is published as 12,271 training and 3,068 test images, without a validation split.
    official   False (as `data.splits` asks): a share `valid` of every class of the training images, drawn from `seed`,
    is
               split "valid" and the rest "train", 1,225 and 11,046 images
    size       height and width, or one number
    fit        "crop", "pad" or "stretch", for images of another shape

    Labels come from list_patition_label.txt (or train_labels.csv and test_labels.csv) where it is there, else from the
    folders; both must agree. Images in val/ belong to the part that their name begins with, others there to test.
    Errors: DataError naming file and row.
    """
    if not isinstance(valid, (int, float)) or not 0 <= valid < 1:
        raise DataError(f"rafdb: valid must be a share from 0 to below 1, not {valid!r}.")
    if official and split == "valid":
        raise AbsentSplit('rafdb has no official split "valid". data.splits("rafdb", root) holds out a tenth of train.')
    found = scan(places)
    train = np.flatnonzero(found.parts == "train")
    held = np.zeros(len(found.files), bool)
    held[train] = held_out(found.labels[train], valid, seed)
    return load_official(found, split, form("rafdb", size, 3, fit), held, official, test="test")


def file_names(places: list[Path], split: str) -> list[str]:
    """The file names, such as "test_0001_aligned.jpg", of the published "train" or "test", in the order of `load`."""
    found = scan(places)
    return [PurePosixPath(file).name for file, part in zip(found.files, found.parts, strict=True) if part == split]


def find(places: list[Path]) -> str:
    """The folder or archive that `load` would read. Errors: DataError where there is none."""
    return str(scan(places).tree.root)


def scan(places: list[Path]) -> Listing:
    """What `load` takes, before decoding."""
    return locate("rafdb", places, _recognise)


def _recognise(tree: Tree) -> Listing | str | None:
    pictures = [name for name in tree.names if is_image(name)]
    by_folder = {name: where for name in pictures if (where := _folder(tree, name))}
    by_name = [name for name in pictures if _NAME.match(PurePosixPath(name).stem)]
    lists = [name for name in tree.names if _LIST.match(PurePosixPath(name).name)]
    if lists and by_name:
        return _from_lists(tree, lists, by_name, by_folder)
    if by_folder:
        return _from_folders(tree, by_folder)
    if lists:
        return f"{tree.where(lists[0])} is there, the images (train_00001_aligned.jpg ...) are not"
    if by_name:
        return f"images like {tree.where(by_name[0])} are there, list_patition_label.txt with their labels is not"
    return None


def _folder(tree: Tree, name: str) -> tuple[str, int] | None:
    """Part and label that the folders say (".../train/4/x.jpg"), None where they say nothing.

    A name such as train_00001_aligned.jpg knows its part better: somebody may have moved it to val/.
    """
    folders = parts_of(name)
    if len(folders) < 2 and not tree.root.is_file():
        folders = [tree.root.name, *folders]
    part = _PARTS.get(stem_of(folders[-2])) if len(folders) > 1 else None
    if part is None:
        return None
    if _NAME.match(PurePosixPath(name).stem):
        part = PurePosixPath(name).name[:5].lower().rstrip("_")
    if folders[-1].isdigit():
        return part, _label(folders[-1], tree.where(name))
    word = common_name(folders[-1])
    return (part, CLASSES.index(word)) if word in CLASSES else None


def _label(text: str, where: str) -> int:
    if not text.strip().isdigit() or not 1 <= int(text) <= len(CLASSES):
        raise DataError(
            f"{where}: label {text.strip()!r} is not one of 1..7. Use the basic set, as its publisher gives it."
        )
    return int(text) - 1


def _from_folders(tree: Tree, by_folder: dict[str, tuple[str, int]]) -> Listing:
    files = sorted(by_folder)
    once(tree, files, lambda name: (by_folder[name][0], PurePosixPath(name).stem.lower()), "An image has one label.")
    warn_others(tree, files)
    return _make(tree, files, [by_folder[name] for name in files], None)


def _make(tree: Tree, files: list[str], where: list[tuple[str, int]], listed: list[str] | None) -> Listing:
    labels = np.array([label for _, label in where], np.int64)
    parts = np.array([part for part, _ in where])
    found = Listing("rafdb", tree, files, labels, CLASSES, parts=parts, listed=listed)
    absent = [part for part in ("train", "test") if part not in parts]
    if absent:
        found.warn(f"no image of the {absent[0]} part. Unpack the data set again if it should be there.")
    warn_absent(found)
    return found


def _from_lists(tree: Tree, lists: list[str], by_name: list[str], by_folder: dict) -> Listing:
    """Rows and images matched by name; every row must have its image."""
    images = _images(tree, by_name)
    rows = sorted(row for name in lists for row in _rows(tree.table(name)))
    seen: dict[str, str] = {}
    files, where, listed, lost = [], [], [], []
    for stem, label, row in rows:
        if stem in seen:
            raise DataError(f"{row}: image {stem} was listed already in {seen[stem]}. Keep one of the two rows.")
        seen[stem] = row
        if stem not in images:
            lost.append(f"{row}: {stem}_aligned.jpg")
            continue
        said = by_folder.get(images[stem])
        if said and said[1] != label:
            raise DataError(f"{row}: label {label + 1}, but {tree.where(images[stem])} lies in the folder of another.")
        files.append(images[stem])
        where.append((stem.split("_")[0], label))
        listed.append(row)
    if lost:
        raise DataError(
            f"{lost[0]} is listed but missing in {tree.root} ({len(lost):,} such rows). Unpack the images again."
        )
    found = _make(tree, files, where, listed)
    extra = sorted(images.keys() - seen.keys())
    if extra:
        found.warn(f"{len(extra):,} images have no row in the lists and are not loaded, such as {images[extra[0]]}.")
    return found


def _images(tree: Tree, by_name: list[str]) -> dict[str, str]:
    """Image by its name without "_aligned"; where both forms are there, the aligned one."""
    aligned = [name for name in by_name if PurePosixPath(name).stem.lower().endswith("_aligned")]
    chosen = aligned or by_name
    once(tree, chosen, lambda name: PurePosixPath(name).stem.lower())
    return {PurePosixPath(name).stem.lower().removesuffix("_aligned"): name for name in chosen}


def _rows(table: TableFile):
    """(image without "_aligned", label 0..6, "list, row 3") of every row."""
    if str(table.member or table.path).lower().endswith(".csv"):
        rows = table.rows(["image", "label"])
    else:
        with table.open() as text:
            rows = [(row, line.split()) for row, line in enumerate(text, 1) if line.strip()]
    for row, values in rows:
        where = f"{table}, row {row}"
        stem = PurePosixPath(values[0].strip()).stem.lower().removesuffix("_aligned")
        if len(values) != 2 or not _NAME.match(stem):
            raise DataError(f"{where}: expected an image and its label, such as 'train_00001.jpg 5', not {values[:3]}.")
        yield stem, _label(values[1], where), where

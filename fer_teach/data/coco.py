"""COCO as a source of backgrounds: photographs on which nobody is marked (Lin et al., "Microsoft COCO", ECCV 2014)."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path, PurePosixPath

import numpy as np

from fer_teach.data.cache import cached, file_digest
from fer_teach.data.dataset import FaceDataset
from fer_teach.data.decoding import form
from fer_teach.data.files import Tree, is_image
from fer_teach.data.groups import hashed_parts, sample
from fer_teach.data.listing import Listing, locate, once, parts_of, stem_of, warn
from fer_teach.data.tablefile import TableFile
from fer_teach.errors import AbsentSplit, DataError

SIZE = 128
CLASSES = ("background",)
_INSTANCES = re.compile(r"^instances_.*\.json$", re.IGNORECASE)
_PART = re.compile(r"^(train|val)")


def load(
    places: list[Path],
    split: str,
    n: int | None = None,
    seed: int = 0,
    size: int | tuple[int, int] = SIZE,
    fit: str = "crop",
    unlabelled: bool = False,
) -> FaceDataset:
    """Photographs without people, as RGB images; one class, "background".

    A photograph is taken where instances_*.json lists it without an annotation of category person (by name; 1 where
    categories are not named), crowds included, or where its YOLO label file has no row of class 0. Where both are
    there, the json files decide.
    n           so many images, drawn from `seed`, default all; only those are decoded. train2017 has about 54,000
                without people: 2.7 GB at 128
    size        height and width, or one number
    fit         "crop", "pad" or "stretch": by default the middle square
    unlabelled  take images without a YOLO label file too; in COCO's own label files these have nothing marked

    Splits: train2017 is "train", val2017 half "valid" and half "test", by a hash of the name. Where only one of the two
    is there (COCO128), its images are split 80, 10 and 10 in a hundred by that hash.
    Errors: DataError naming the file; a DataWarning counts images without labels and listed images that are missing.
    """
    found = scan(places, unlabelled)
    chosen = np.arange(len(found.files)) if split == "all" else np.flatnonzero(found.parts == split)
    if not len(chosen):
        raise AbsentSplit(f"{found.tree.root}: split {split!r} of coco has no photograph without people.")
    chosen = sample("coco", chosen, n, seed)
    return found.dataset(split, chosen, found.images(chosen, form("coco", size, 3, fit), f"-{split}"))


def find(places: list[Path]) -> str:
    """The folder or archive that `load` would read. Errors: DataError where there is none."""
    return str(scan(places).tree.root)


def scan(places: list[Path], unlabelled: bool = False) -> Listing:
    """All photographs without people, before any is chosen."""
    return locate("coco", places, lambda tree: _recognise(tree, unlabelled))


def _recognise(tree: Tree, unlabelled: bool) -> Listing | str | None:
    pictures = [name for name in tree.names if is_image(name)]
    instances = [name for name in tree.names if _INSTANCES.match(PurePosixPath(name).name)]
    labels = {_label_key(name): name for name in tree.names if _is_label(name)}
    if not instances and not labels:
        return None
    if not pictures:
        return f"labels like {tree.where((instances or sorted(labels.values()))[0])} are there, the images are not"
    once(tree, pictures, lambda name: PurePosixPath(name).name.lower())
    if instances:
        free, unknown = _free_by_json(tree, instances, pictures)
    else:
        free, unknown = _free_by_labels(tree, labels, pictures, unlabelled)
    found = _make(tree, free)
    if unknown:
        found.warn(
            f"{len(unknown):,} of {len(pictures):,} images have no labels, so nobody knows whether people are on them; "
            f"they are not taken, such as {unknown[0]}."
        )
    return found


def _make(tree: Tree, files: list[str]) -> Listing:
    if not files:
        raise DataError(f"{tree.root}: people are on every image that has labels. Unpack more of COCO.")
    files = sorted(files, key=lambda name: PurePosixPath(name).name)
    stems = [PurePosixPath(name).stem for name in files]
    official = np.array([_part(name) or "train" for name in files])
    if set(official) == {"train", "val"}:
        parts, val = official.astype("<U5"), official == "val"
        parts[val] = hashed_parts([stem for stem, is_val in zip(stems, val, strict=True) if is_val], (0.5, 0), "test")
    else:
        parts = hashed_parts(stems)
    return Listing("coco", tree, files, np.zeros(len(files), np.int64), CLASSES, parts=parts)


def _part(name: str) -> str | None:
    """ "train" or "val" by the innermost folder that begins so."""
    return next((match[1] for folder in reversed(parts_of(name)) if (match := _PART.match(stem_of(folder)))), None)


def _free_by_json(tree: Tree, instances: list[str], pictures: list[str]) -> tuple[list[str], list[str]]:
    """Images without people, and images that no json file lists."""
    here = {PurePosixPath(name).name: name for name in pictures}
    listed, peopled = set(), set()
    for name in instances:
        files, people = _read_json(tree, name)
        listed.update(files)
        peopled.update(people)
    lost = sorted(listed - here.keys())
    if len(lost) == len(listed):
        raise DataError(
            f"{tree.where(instances[0])}: none of its images is in {tree.root}. Unpack the images that it belongs to."
        )
    free = [here[file] for file in sorted((listed - peopled) & here.keys())]
    if lost:
        warn(tree, f"{len(lost):,} of {len(listed):,} images listed in the json files are missing, such as {lost[0]}.")
    return free, sorted(here[file] for file in here.keys() - listed)


def _read_json(tree: Tree, name: str) -> tuple[list[str], list[str]]:
    """Names of the images that the file lists, and of those with people on them; read once, then from the cache."""
    table = tree.table(name)
    key = hashlib.sha256(f"{file_digest(table.path)} {table.member}".encode()).hexdigest()
    arrays = cached("coco-people", key, lambda: _parse_json(table, tree.where(name)))
    return arrays["listed"].tolist(), arrays["peopled"].tolist()


def _parse_json(table: TableFile, where: str) -> dict[str, np.ndarray]:
    with table.open() as text:
        try:
            content = json.load(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where} is not JSON or cut off ({error}). Unpack it again.") from error
    try:
        people = {entry["id"] for entry in content.get("categories", []) if entry["name"] == "person"} or {1}
        files = {entry["id"]: PurePosixPath(entry["file_name"]).name for entry in content["images"]}
        peopled = {entry["image_id"] for entry in content["annotations"] if entry["category_id"] in people}
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{where} lacks {error}: it needs images (id, file_name) and annotations (image_id, category_id). "
            "Use an instances_*.json file of COCO."
        ) from None
    stray = peopled - files.keys()
    if stray:
        raise DataError(
            f"{where}: an annotation names image {min(stray)}, which is not among its images. Unpack it again."
        )
    return {"listed": np.array([*files.values()], str), "peopled": np.array([files[i] for i in sorted(peopled)], str)}


def _is_label(name: str) -> bool:
    return name.lower().endswith(".txt") and any(stem_of(folder).startswith("labels") for folder in parts_of(name))


def _label_key(name: str) -> str:
    """The image's path behind images/ or labels/, without ending: "train2017/000000000009"."""
    folders = [stem_of(folder) for folder in parts_of(name)]
    starts = [i for i, folder in enumerate(folders) if folder.startswith(("images", "labels"))]
    inner = folders[starts[-1] + 1 :] if starts else folders
    return "/".join([*inner, PurePosixPath(name).stem.lower()])


def _free_by_labels(tree: Tree, labels: dict, pictures: list[str], unlabelled: bool) -> tuple[list[str], list[str]]:
    """Images without people, and images without a label file where those are not taken."""
    stems = {key.rpartition("/")[2]: name for key, name in labels.items()}
    files = {name: labels.get(_label_key(name)) or stems.get(PurePosixPath(name).stem.lower()) for name in pictures}
    lost = sorted(set(labels.values()) - set(files.values()))
    if len(lost) == len(labels):
        raise DataError(f"{tree.where(lost[0])}: no label file belongs to an image in {tree.root}. Unpack both again.")
    if lost:
        warn(tree, f"{len(lost):,} of {len(labels):,} label files have no image here, such as {lost[0]}.")
    free = [name for name, file in files.items() if (unlabelled if file is None else not _has_person(tree, file))]
    return free, [] if unlabelled else [name for name, file in files.items() if file is None]


def _has_person(tree: Tree, name: str) -> bool:
    """Does a YOLO label file have a row of class 0? Errors: DataError naming file and row."""
    people = False
    with tree.table(name).open() as text:
        for row, line in enumerate(text, 1):
            fields = line.split()
            if fields and (not fields[0].isdigit() or len(fields) < 5):
                raise DataError(
                    f"{tree.where(name)}, row {row}: {line.strip()[:40]!r} is not a class and a box. Unpack it again."
                )
            people = people or bool(fields) and int(fields[0]) == 0
    return people

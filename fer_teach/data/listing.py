"""What a data set holds before any image is decoded, and how a loader finds it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from fer_teach.data.catalog import missing, other_set
from fer_teach.data.dataset import FaceDataset
from fer_teach.data.decoding import Form
from fer_teach.data.emotions import common_name
from fer_teach.data.files import Tree, is_image
from fer_teach.data.groups import subject_split
from fer_teach.data.pictures import load_images
from fer_teach.errors import AbsentSplit, DataError, DataWarning


@dataclass
class Listing:
    """The images of a data set, in the order of their names.

    files     names in `tree`
    labels    int64 (N,), index into `classes`
    subjects  a code a person, one an image; None where unknown
    parts     the publisher's split of each image; None where there is none
    listed    where a table lists each image ("list.txt, row 3"); None where file names say it all
    more      whatever else the loader found; "attributes": arrays (N,) that go into the data set's attributes
    """

    name: str
    tree: Tree
    files: list[str]
    labels: np.ndarray
    classes: tuple[str, ...]
    subjects: list[str] | None = None
    parts: np.ndarray | None = None
    listed: list[str] | None = None
    more: dict | None = None

    def people(self) -> np.ndarray | None:
        """Subjects as numbers int64 (N,), in the order of their codes."""
        return None if self.subjects is None else np.unique(self.subjects, return_inverse=True)[1].astype(np.int64)

    def images(self, index: np.ndarray, to: Form, kind: str = "", boxes: np.ndarray | None = None) -> torch.Tensor:
        """Decoded images of a subset."""
        files = [self.files[i] for i in index]
        listed = None if self.listed is None else [self.listed[i] for i in index]
        decoded = load_images(f"{self.name}{kind}", self.tree, files, to, boxes, listed)
        return torch.from_numpy(decoded)

    def dataset(self, split: str, index: np.ndarray, images: torch.Tensor, **fields) -> FaceDataset:
        """The subset as FaceDataset, with `images` decoded for it. Errors: DataError where it is empty."""
        people = self.people()
        if people is not None:
            fields["subjects"] = torch.from_numpy(people[index])
        return FaceDataset(self.name, split, images, torch.from_numpy(self.labels[index]), self.classes, **fields)

    def fields(self, index: np.ndarray) -> dict:
        """Attributes in `more`, for a subset, as arguments of FaceDataset."""
        known = (self.more or {}).get("attributes")
        return {"attributes": {key: torch.from_numpy(value[index]) for key, value in known.items()}} if known else {}

    def warn(self, what: str) -> None:
        """A DataWarning about this set."""
        warn(self.tree, what)


def warn(tree: Tree, what: str) -> None:
    """A DataWarning about the files of a place."""
    warnings.warn(f"{tree.root}: {what}", DataWarning, stacklevel=3)


def locate(name: str, places: Sequence[Path], recognise: Callable[[Tree], Listing | str | None]) -> Listing:
    """The first listing that `recognise` makes of the files in a place, unpacked ones first, then those in archives.

    recognise  gives a Listing, or what is lacking as a sentence where part of the set is there, or None.
    Errors: DataError saying where it was looked for and what was found of it.
    """
    lacking, seen = [], []
    for archives in (False, True):
        for place in places:
            if place.is_file() and archives:
                continue
            tree = Tree(place, archives, skip=lambda folder: other_set(name, folder))
            if archives and not tree.packed:
                continue
            found = recognise(tree)
            if isinstance(found, Listing):
                return found
            if found:
                lacking.append(found)
            seen += [tree.where(other) for other in tree.unreadable]
    looked = [str(place) for place in places]
    if seen and not lacking:
        lacking.append(f"not found; {seen[0]} cannot be read here: unpack it yourself")
    raise missing(name, looked, lacking[0] if lacking else None)


def parts_of(name: str) -> list[str]:
    """Folders of a file's name, outermost first."""
    return list(PurePosixPath(name).parts[:-1])


def stem_of(folder: str) -> str:
    """A folder's or archive's name in lower case without an archive's ending: "Train.zip" gives "train"."""
    return re.sub(r"\.(zip|tar(\.\w+)?|tgz|tbz2?|txz)$", "", folder.lower())


def once(tree: Tree, files: Sequence[str], key: Callable[[str], object], remedy: str = "Keep one of the two.") -> None:
    """Errors: DataError naming two files with the same key."""
    seen: dict[object, str] = {}
    for file in files:
        other = seen.setdefault(key(file), file)
        if other != file:
            raise DataError(f"{tree.where(file)} and {tree.where(other)} are the same image by name. {remedy}")


def warn_others(tree: Tree, taken: Sequence[str]) -> None:
    """A DataWarning about files that stand beside the images and were not taken; a readme is none of them."""
    folders, known = {str(PurePosixPath(file).parent) for file in taken}, set(taken)
    beside = [name for name in tree.names if name not in known and str(PurePosixPath(name).parent) in folders]
    others = [name for name in beside if not re.search("readme|licen[cs]e", name.rpartition("/")[2].lower())]
    if others:
        warn(
            tree,
            f"{len(others):,} files beside the images are not loaded ({sum(map(is_image, others)):,} of "
            f"them images), the first is {others[0]}. Their names do not fit the data set.",
        )


def warn_absent(listing: Listing) -> None:
    """A DataWarning naming the classes without a single image."""
    counts = np.bincount(listing.labels, minlength=len(listing.classes))
    absent = [name for name, count in zip(listing.classes, counts, strict=True) if not count]
    if absent:
        listing.warn(f"no image of {', '.join(absent)}. Unpack the data set again if it should have some.")


def named(name: str, tree: Tree, pattern: re.Pattern, classes: tuple[str, ...]) -> Listing | None:
    """The images whose own names `pattern` matches; its two groups are the person and a word for the class."""
    base = {file: file.rpartition("/")[2] for file in tree.names}
    files = sorted((file for file in tree.names if is_image(file) and pattern.match(base[file])), key=base.get)
    if not files:
        return None
    once(tree, files, lambda file: re.sub(r"[\W_]+", ".", PurePosixPath(file).stem.lower()))
    warn_others(tree, files)
    parsed = [pattern.match(base[file]).groups() for file in files]
    labels = np.array([classes.index(common_name(word)) for _, word in parsed], np.int64)
    found = Listing(name, tree, files, labels, classes, subjects=[person.lower() for person, _ in parsed])
    warn_absent(found)
    return found


def load_by_subject(found: Listing, split: str, to: Form, **options) -> FaceDataset:
    """A split by subject, with `options` of `subject_split`; the whole set is decoded once, whatever the split."""
    chosen = subject_split(found.name, found.labels, found.subjects, split, **options)
    images = found.images(np.arange(len(found.files)), to)
    return found.dataset(split, chosen, images if split == "all" else images[torch.from_numpy(chosen)])


def load_official(
    found: Listing, split: str, to: Form, held: np.ndarray, official: bool, test: str, cut=None
) -> FaceDataset:
    """A split of a set without three published ones that have labels.

    With `official`, the publisher's part of that name. Without, `held` (N,) bool, a part of the published train, is
    valid, the rest of it train, and the published part named `test` is test. "all" is everything. `cut`: a
    `fer_teach.data.frames.Cut` of the listing, for sets of frames.
    """
    wanted = {"all": np.ones(len(held), bool), "train": (found.parts == "train") & ~held, "valid": held}
    wanted["test"] = found.parts == test
    if official and split != "all":
        wanted[split] = found.parts == split
    chosen = np.flatnonzero(wanted[split])
    if not len(chosen):
        parts = {part: int((found.parts == part).sum()) for part in sorted(set(found.parts))}
        have = ", ".join(f"{part} {count:,}" for part, count in parts.items())
        raise AbsentSplit(
            f"{found.tree.root}: split {split!r} of {found.name} has no labelled images{' (official)' * official}. "
            f"Published parts that are there: {have}."
        )
    boxes, fields = None, found.fields(chosen)
    if cut is not None:
        boxes, fields = cut.boxes[chosen], cut.fields(chosen, to, fields)
    return found.dataset(split, chosen, found.images(chosen, to, f"-{split}", boxes), **fields)

"""Data sets of faces, all loaded to the same FaceDataset."""

from __future__ import annotations

import os
from importlib import import_module

from fer_teach.data.catalog import SPLITS, check_split, entry, names, places
from fer_teach.data.dataset import FaceDataset, duplicates, unseen
from fer_teach.data.emotions import COMMON, common, common_name
from fer_teach.data.groups import balanced, folds, last_frames, leave_one_subject_out
from fer_teach.data.hard_lists import hard_lists
from fer_teach.errors import DataError, DataWarning

__all__ = [
    "COMMON", "DataError", "DataWarning", "FaceDataset", "attributes", "balanced", "common", "common_name",
    "duplicates", "folds", "hard_lists", "last_frames", "leave_one_subject_out", "load", "names", "splits",
    "summary", "unseen",
]  # fmt: skip


def load(name: str, root: str | os.PathLike | None = None, split: str = "train", **options) -> FaceDataset:
    """Load one split of a data set: "train", "valid" or "test"; "all" too where the publisher gives no three splits.

    name     one of `names()`
    root     folder (or csv file, or archive) that holds the data; default $FER_TEACH_DATA. "rendered" comes with the
             package; with a root it is the faces that `fer-teach faces render --out` left there
    options  as `load` in `fer_teach.data.<name>` says; most sets of files take size and fit

    Images are decoded once, into a memory-mapped cache keyed by their content. Nothing is downloaded.
    Errors: DataError, naming file and row, where the data are missing, damaged or laid out otherwise than documented.
    """
    loader = import_module(f"fer_teach.data.{entry(name).module}")
    check_split(name, split)
    try:
        return loader.load(places(name, root), split, **options)
    except TypeError as error:
        if "unexpected keyword argument" in str(error) and error.__traceback__.tb_next is None:
            raise DataError(f"{name}: {error.args[0].partition(' got an ')[2] or error}") from error
        raise
    except PermissionError as error:
        raise DataError(f"No permission to read {error.filename}. Give yourself read access to it.") from error


def splits(name: str, root: str | os.PathLike | None = None, **options) -> dict[str, FaceDataset]:
    """Three splits without a common image: "train" to learn, "valid" to choose, "test" once at the end.

    The publisher's own where there are three. Where there are two (RAF-DB, SFEW) a tenth of train is held out as valid,
    and the published other part is the test. Where the images are frames of sequences (CK+), valid and test hold the
    last frame of each, see `last_frames`. Options and errors as `load`.
    """
    own = {"official": False} if entry(name).published else {}
    parts = {split: load(name, root, split, **own, **options) for split in SPLITS}
    return {split: part if split == "train" else last_frames(part) for split, part in parts.items()}


def attributes(name: str, n: int | None = None, seed: int = 0, root: str | os.PathLike | None = None, **options):
    """CelebA images of which half have the attribute `name`; see `fer_teach.data.celeba.attributes`."""
    from fer_teach.data import celeba

    return celeba.attributes(name, n, seed, root, **options)


def summary(name: str, root: str | os.PathLike | None = None, **options):
    """A figure of the user's own copy of a data set; see `fer_teach.data.overview.summary`."""
    return import_module("fer_teach.data.overview").summary(name, root, **options)

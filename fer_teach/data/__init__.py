"""Data sets of faces, all loaded to the same FaceDataset."""

from __future__ import annotations

import os
from importlib import import_module

from fer_teach.data.catalog import check_split, entry, names, roots
from fer_teach.data.dataset import FaceDataset, duplicates
from fer_teach.errors import DataError

__all__ = ["DataError", "FaceDataset", "duplicates", "load", "names"]


def load(name: str, root: str | os.PathLike | None = None, split: str = "train", **options) -> FaceDataset:
    """Load one split of a data set: "train", "valid" or "test".

    name     one of `names()`
    root     folder (or csv file, or archive) that holds the data; default $FER_TEACH_DATA; not used by "rendered"
    options  for "ferplus": rule, drop_single_votes, min_votes (see `fer_teach.data.ferplus.load`)

    Images are decoded once, into a memory-mapped cache keyed by their content. Nothing is downloaded.
    Errors: DataError, naming file and row, where the data are missing, damaged or laid out otherwise than documented.
    """
    loader = import_module(f"fer_teach.data.{entry(name).module}")
    check_split(name, split)
    places = None if name == "rendered" else roots(name, root)
    try:
        return loader.load(places, split, **options)
    except TypeError as error:
        if "unexpected keyword argument" in str(error) and error.__traceback__.tb_next is None:
            raise DataError(f"{name}: {error.args[0].partition(' got an ')[2] or error}") from error
        raise
    except PermissionError as error:
        raise DataError(f"No permission to read {error.filename}. Give yourself read access to it.") from error

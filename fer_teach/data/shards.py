"""Folders of rendered faces: the shards that `fer-teach faces render` writes, read as one."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np

from fer_teach.data.cache import cached, file_digest
from fer_teach.errors import DataError, DataWarning

NOTE = "arguments.json"  # what the faces were rendered with
_KEYS = {"images", "labels", "subjects", "votes", "action_units", "landmarks"}
_MORE = re.compile(r"(mask|attribute)_[a-z_]+")
_DAMAGE = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, NotImplementedError, RuntimeError)


def stored(file: Path, remedy: str) -> dict[str, np.ndarray]:
    """All arrays of an .npz file. Errors: DataError, with the remedy, where it is damaged or may not be read."""
    try:
        if not zipfile.is_zipfile(file):
            raise DataError(f"{file} is damaged or missing. {remedy}")
        with np.load(file, allow_pickle=False) as content:
            return dict(content)
    except PermissionError as error:
        raise DataError(f"No permission to read {file}. Give yourself read access to it.") from error
    except _DAMAGE as error:
        raise DataError(f"{file} is damaged ({error}). {remedy}") from error


def files(folder: Path) -> list[Path]:
    """The shards of a folder, in order. Errors: DataError where there is none, or one between two others is gone."""
    found = sorted(folder.glob("shard-*.npz"), key=lambda file: (len(file.name), file.name))
    if not found:
        raise DataError(f"{folder} holds no rendered faces. Render some: fer-teach faces render --out {folder}")
    for number, file in enumerate(found):
        if file.name != f"shard-{number:04d}.npz":
            raise DataError(f"{folder}: shard-{number:04d}.npz is missing. {_again(folder)}")
    return found


def read(folder: Path) -> dict[str, np.ndarray]:
    """All shards as one dictionary of arrays, as `fer_teach.faces.produce.arrays` says.

    Errors: DataError where a shard is damaged, missing, or does not fit the others.
    """
    found = files(folder)
    parts = [stored(file, f"Remove it. {_again(folder)}") for file in found]
    first = {key: (value.shape[1:], value.dtype) for key, value in parts[0].items()}
    for file, part in zip(found, parts, strict=True):
        if not _is_shard(part):
            raise DataError(f"{file} is no shard of rendered faces. Remove it. {_again(folder)}")
        if {key: (value.shape[1:], value.dtype) for key, value in part.items()} != first:
            raise DataError(f"{file} holds other faces than {found[0].name}, such as another size. Keep them apart.")
    arrays = {key: np.concatenate([part[key] for part in parts]) for key in first}
    count = _count(folder)
    if count is not None and count != len(arrays["labels"]):
        raise DataError(f"{folder} holds {len(arrays['labels']):,} of {count:,} faces. {_again(folder)}")
    return arrays


def load(folder: Path) -> dict[str, np.ndarray]:
    """`read`, once: memory-mapped from the cache from then on. Errors: as `read`, and where the cache has no room."""
    found = files(folder)
    note = folder / NOTE
    if not note.is_file():
        warnings.warn(
            f"{folder} has no {NOTE}, so nobody knows whether its last shards are missing.", DataWarning, stacklevel=5
        )
    try:
        digests = [file_digest(file) for file in (*found, *([note] if note.is_file() else []))]
    except OSError as error:
        raise DataError(f"Cannot read {error.filename}: {error.strerror}. Give yourself read access to it.") from error
    key = hashlib.sha256(f"{len(found)} {digests}".encode()).hexdigest()
    return cached("rendered", key, lambda: read(folder))


def _is_shard(part: dict[str, np.ndarray]) -> bool:
    """Known names, none lacking, all of one length."""
    known = all(key in _KEYS or _MORE.fullmatch(key) for key in part)
    lengths = {value.shape[:1] for value in part.values()}
    return known and part.keys() >= _KEYS and len(lengths) == 1 and () not in lengths


def _count(folder: Path) -> int | None:
    """Number of faces that were asked for, None where nobody noted it."""
    note = folder / NOTE
    try:
        return int(json.loads(note.read_text())["count"]) if note.is_file() else None
    except (ValueError, TypeError, KeyError):
        raise DataError(f"{note} is damaged. Render the faces anew, into another folder.") from None


def _again(folder: Path) -> str:
    return f"Start the same `fer-teach faces render --out {folder}` again: it renders what is missing."

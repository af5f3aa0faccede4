"""Decoded arrays on disk, memory-mapped, keyed by the content they were made from.

An entry is a folder `<cache>/data/<kind>-<key>/` with one .npy an array and `meta.json` (version, checksums). It is
written beside its place and moved there whole, so nobody reads half an entry and two processes may build at once.
An entry that is damaged or of another version is built again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_teach import paths
from fer_teach.errors import DataError

VERSION = 1
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Rows:
    """An array that is written piece by piece and never stands in memory as a whole.

    shape   of the whole array
    pieces  uint8 arrays; joined along the first axis they have that shape
    """

    shape: tuple[int, ...]
    pieces: Iterable[np.ndarray]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape)

    def save(self, file) -> None:
        """Write it in NumPy's format to an open binary file."""
        header = {"descr": "|u1", "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(file, header)
        for piece in self.pieces:
            file.write(np.ascontiguousarray(piece, np.uint8).data)


def cached(kind: str, key: str, build: Callable[[], dict[str, np.ndarray | Rows]]) -> Arrays:
    """The arrays of entry (kind, key), memory-mapped copy-on-write; `build()` makes them when they are not there.

    key: hexadecimal digest of everything the arrays depend on.
    Errors: DataError where the cache folder cannot be written or its disk is full; whatever `build` raises.
    """
    folder = paths.cache() / "data"
    entry = folder / f"{kind}-{key[:32]}"
    found = _read(entry)
    if found is not None:
        return found
    arrays = build()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        work = Path(tempfile.mkdtemp(prefix=".building-", dir=folder))
        try:
            _write(work, arrays)
            _move(work, entry)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise _explain(error, folder, sum(a.nbytes for a in arrays.values())) from error
    found = _read(entry)
    if found is None and any(isinstance(array, Rows) for array in arrays.values()):
        raise DataError(f"{entry} was written and cannot be read again. Check the disk, or set FER_TEACH_CACHE.")
    return found or arrays


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(folder: Path, arrays: dict[str, np.ndarray | Rows]) -> None:
    files = {}
    for name, array in arrays.items():
        with open(folder / f"{name}.npy", "wb") as file:
            if isinstance(array, Rows):
                array.save(file)
            else:
                np.save(file, array, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        files[name] = file_digest(folder / f"{name}.npy")
    (folder / "meta.json").write_text(json.dumps({"version": VERSION, "files": files}), encoding="utf-8")


def _read(entry: Path) -> Arrays | None:
    """The entry's arrays, or None where it is missing, damaged or of another version."""
    try:
        meta = json.loads((entry / "meta.json").read_text(encoding="utf-8"))
        if meta["version"] != VERSION:
            return None
        arrays = {}
        for name, digest in meta["files"].items():
            if file_digest(entry / f"{name}.npy") != digest:
                return None
            arrays[name] = np.load(entry / f"{name}.npy", mmap_mode="c", allow_pickle=False)
        return arrays
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _move(work: Path, entry: Path) -> None:
    for _ in range(5):
        try:
            os.replace(work, entry)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
        if _read(entry) is not None:
            return
        aside = Path(tempfile.mkdtemp(prefix=".building-", dir=entry.parent))
        try:
            os.replace(entry, aside / "old")
        except FileNotFoundError:
            pass
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _sweep(folder: Path, age: float = 86400.0) -> None:
    """Remove what killed processes left behind a day ago or earlier."""
    for left in folder.glob(".building-*"):
        try:
            if time.time() - left.stat().st_mtime > age:
                shutil.rmtree(left, ignore_errors=True)
        except FileNotFoundError:
            continue


def _explain(error: OSError, folder: Path, size: int) -> DataError:
    need = f"{size / 2**20:.0f} MiB"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DataError(
            f"The disk is full: {need} are needed for decoded images in {folder}. "
            "Free some space there, or set FER_TEACH_CACHE to a folder on another disk."
        )
    return DataError(
        f"Cannot write decoded images ({need}) to {folder}: {error.strerror or error}. "
        "Make the folder writable, or set FER_TEACH_CACHE to one that is."
    )

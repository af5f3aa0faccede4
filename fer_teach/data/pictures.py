"""Image files to arrays: decoded in parallel, once, every damaged file named."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from fer_teach import paths
from fer_teach.data.cache import Rows, cached, file_digest
from fer_teach.data.decoding import Form, decode, decode_grey
from fer_teach.data.files import Tree, is_junk, read_file
from fer_teach.data.progress import progress
from fer_teach.errors import DataError, DataWarning

_CHUNK = 256


def load_images(
    name: str,
    tree: Tree,
    names: Sequence[str],
    to: Form,
    boxes: np.ndarray | None = None,
    listed: Sequence[str] | None = None,
) -> np.ndarray:
    """Images uint8 (N, C, H, W) in the order of `names`, memory-mapped from the cache; N >= 1.

    name    first part of the cache entry's name
    boxes   float (N, 4): left, upper, right, lower in pixels of each file, cut out before anything else
    listed  where each image is listed ("list.txt, row 3"), for the error

    Palette, grey, colour, CMYK, 16-bit and transparent files (laid on white) all become `to`. Every file's content
    is part of the cache's key; archives count as a whole. Errors: DataError naming the first file that is missing,
    empty, no image, truncated, damaged or far too large, and how many more there are.
    """
    wheres = [tree.where(file) + (f" ({listed[i]})" if listed else "") for i, file in enumerate(names)]
    with tree.reading(names) as read:

        def build():
            done = _chunks(lambda i: decode(read(names[i]), to, None if boxes is None else boxes[i]), len(names), what)
            return {"images": Rows((len(names), to.channels, *to.size), _stacked(done, wheres))}

        what = f"Decoding {name}"
        key = content_key(tree, names, read, wheres)
        key.update(repr((to, None if boxes is None else boxes.tolist())).encode())
        return cached(name, key.hexdigest(), build)["images"]


def content_key(tree: Tree, names: Sequence[str], read: Callable, wheres: list[str]):
    """SHA-256 of the files' names and contents. Errors: DataError naming a file of `wheres` that cannot be read."""
    archives = [tree.archive(name) for name in names]
    plain = [i for i, archive in enumerate(archives) if archive is None]
    key = hashlib.sha256("\n".join(names).encode(errors="surrogateescape"))
    for archive in sorted(set(archives) - {None}):
        key.update(file_digest(archive).encode())
    done = _chunks(lambda k: hashlib.sha256(read(names[plain[k]])).digest(), len(plain), "Reading")
    for digests in _checked(done, [wheres[i] for i in plain]):
        key.update(b"".join(digests))
    return key


def _stacked(done: Iterator, wheres: list[str]) -> Iterator[np.ndarray]:
    return (np.stack(images) for images in _checked(done, wheres) if images)


def _checked(done: Iterator, wheres: Sequence[str]) -> Iterator[list]:
    """The chunks' results. Errors: DataError at the end where any failed, naming the first."""
    failures = []
    for results, failed in done:
        failures += failed
        if not failures:
            yield results
    if failures:
        i, problem = failures[0]
        more = f" {len(failures) - 1:,} more files of this set have a problem too." if len(failures) > 1 else ""
        raise DataError(f"{wheres[i]} {problem}{more}")


def grey_images(
    kind: str, folder: Path, names: Sequence[str], table: Path, rows: Sequence[int], size: tuple[int, int]
) -> np.ndarray:
    """Grey images uint8 (N, H, W), memory-mapped from the cache; N >= 1.

    kind    first part of the cache entry's name
    folder  where the N files `names` stand
    table   the file that lists them, in its N `rows`, for the error
    size    height and width that every image must have

    Palette, colour and 16-bit files become 8-bit grey. Errors: DataError naming the first file that is missing, empty,
    no image, truncated, damaged or of another size, and how many more there are.
    """
    files = [f"{folder}{os.sep}{name}" for name in names]
    wheres = [f"{file} ({table.name}, row {row})" for file, row in zip(files, rows, strict=True)]

    def every(work, what):
        return [one for part in _checked(_chunks(lambda i: work(files[i]), len(files), what), wheres) for one in part]

    digests = every(lambda file: hashlib.sha256(read_file(file)).digest(), "Reading")
    key = hashlib.sha256(f"{size}\n".encode() + "\n".join(names).encode() + b"\n" + b"".join(digests))

    def build():
        return {"images": np.stack(every(lambda file: decode_grey(read_file(file), size), f"Decoding {kind}"))}

    return cached(kind, key.hexdigest(), build)["images"]


def warn_unlisted(folder: Path, names: Sequence[str], table: Path) -> None:
    """A DataWarning about PNG files in a folder that the table beside them does not list."""
    listed = set(names)
    extra = sorted(n for n in os.listdir(folder) if n.lower().endswith(".png") and n not in listed and not is_junk(n))
    if extra:
        warnings.warn(
            f"{folder}: {len(extra):,} PNG files are not listed in {table.name} and not loaded, the first is "
            f"{extra[0]}. If {table.name} was cut off, unpack it again.",
            DataWarning,
            stacklevel=5,
        )


def _chunks(work: Callable[[int], object], count: int, what: str) -> Iterator[tuple[list, list[tuple[int, str]]]]:
    """For every 256 of work(0) ... work(count - 1), in order: results, and (index, problem) of those that failed."""

    def chunk(start):
        done, failed = [], []
        for i in range(start, min(start + _CHUNK, count)):
            try:
                done.append(work(i))
            except (OSError, ValueError, MemoryError) as error:
                failed.append((i, _problem(error)))
        return done, failed

    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool, progress([], what, count) as bar:
        waiting = deque()
        for start in range(0, count, _CHUNK):
            waiting.append(pool.submit(chunk, start))
            if len(waiting) > 16:
                yield _next(waiting, bar)
        while waiting:
            yield _next(waiting, bar)


def _next(waiting: deque, bar) -> tuple[list, list]:
    done, failed = waiting.popleft().result()
    bar.update(len(done))
    return done, failed


def _problem(error: Exception) -> str:
    """What is wrong with a file, and the remedy."""
    if isinstance(error, FileNotFoundError):
        for folder in Path(str(error.filename)).parents:
            if folder.parent == paths.cache() / "data":  # where this package unpacks archives
                return f"is listed but missing. Delete {folder} to unpack again; if that does not help, download again."
        return "is listed but missing. Unpack the data set again; some of its files were lost."
    if isinstance(error, IsADirectoryError):
        return "is a folder, not an image. Unpack the data set again."
    if isinstance(error, PermissionError):
        return "may not be read (no permission). Give yourself read access to it."
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror or error}). Check the disk."
    return f"{error}. Replace it by an undamaged copy: unpack the data set again."

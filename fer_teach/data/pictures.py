"""Image files to arrays: decoded in parallel, once, every damaged file named."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from fer_teach.data.cache import cached
from fer_teach.data.progress import progress
from fer_teach.errors import DataError

_CHUNK = 256


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

    def every(work, what):
        with warnings.catch_warnings():  # the size is checked below
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            done, failures = _parallel(work, files, what)
        if failures:
            i, problem = failures[0]
            more = f" {len(failures) - 1:,} more files of this split have a problem too." if len(failures) > 1 else ""
            raise DataError(f"{files[i]} ({table.name}, row {rows[i]}) {problem}{more}")
        return done

    digests = every(lambda file: hashlib.sha256(_read(file)).digest(), None)
    key = hashlib.sha256(f"{size}\n".encode() + "\n".join(names).encode() + b"\n" + b"".join(digests))

    def build():
        return {"images": np.stack(every(lambda file: decode_grey(_read(file), size), f"Decoding {kind}"))}

    return cached(kind, key.hexdigest(), build)["images"]


def decode_grey(data: bytes, size: tuple[int, int]) -> np.ndarray:
    """Bytes of an image file -> uint8 (H, W). Errors: ValueError saying what is wrong with them."""
    if not data:
        raise ValueError("is empty (0 bytes)")
    try:
        image = Image.open(io.BytesIO(data))
        if (image.height, image.width) != size:
            raise ValueError(f"is {image.width} x {image.height} pixels instead of {size[1]} x {size[0]}")
        if image.format == "PNG":
            _check_chunks(data)
        image.load()
    except UnidentifiedImageError:
        raise ValueError(f"is not an image (it starts with {data[:12]!r})") from None
    except Image.DecompressionBombError:
        raise ValueError(f"is far larger than {size[1]} x {size[0]} pixels") from None
    except (OSError, SyntaxError, EOFError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"is truncated or damaged ({error})") from None
    if image.mode.startswith("I"):
        return np.clip(np.rint(np.asarray(image, np.float64) / 257), 0, 255).astype(np.uint8)
    return np.array(image if image.mode == "L" else image.convert("L"))


def _check_chunks(data: bytes) -> None:
    """Errors: ValueError unless a PNG file is whole: every chunk's checksum right, the end chunk there."""
    at = 8
    while at + 12 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(data):
            break
        if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise ValueError(f"is truncated or damaged (checksum of {kind!r})")
        if kind == b"IEND":
            return
        at = end
    raise ValueError("is truncated or damaged (it ends too early)")


def _read(file: str) -> bytes:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        parts = []
        while part := os.read(descriptor, 1 << 20):
            parts.append(part)
    finally:
        os.close(descriptor)
    return b"".join(parts)


def _parallel(work: Callable, files: Sequence[str], what: str | None) -> tuple[list, list[tuple[int, str]]]:
    """work(file) of every file, in order, and (index, problem and remedy) of those that failed; a bar if `what`."""

    def chunk(start):
        done, failed = [], []
        for i in range(start, min(start + _CHUNK, len(files))):
            try:
                done.append(work(files[i]))
            except FileNotFoundError:
                failed.append((i, "is listed but missing. Unpack the data set again; some of its files were lost."))
            except IsADirectoryError:
                failed.append((i, "is a folder, not an image. Unpack the data set again."))
            except PermissionError:
                failed.append((i, "may not be read (no permission). Give yourself read access to it."))
            except OSError as error:
                failed.append((i, f"cannot be read ({error.strerror or error}). Check the disk."))
            except ValueError as error:
                failed.append((i, f"{error}. Replace it by an undamaged copy: unpack the data set again."))
        return done, failed

    results, failures = [], []
    bar = progress([], what, len(files)) if what else None
    with ThreadPoolExecutor(min(8, 2 * (os.cpu_count() or 1))) as pool:
        for done, failed in pool.map(chunk, range(0, len(files), _CHUNK)):
            results += done
            failures += failed
            if bar is not None:
                bar.update(len(done))
    if bar is not None:
        bar.close()
    return results, failures

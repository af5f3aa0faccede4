"""Image files to arrays: decoded in parallel, once, every damaged file named."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import warnings
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from fer_teach.data.cache import Rows, cached, file_digest
from fer_teach.data.files import Tree, read_file
from fer_teach.data.progress import progress
from fer_teach.errors import DataError

FITS = ("crop", "pad", "stretch")
_CHUNK = 256
_PIXELS = 50_000_000  # an image with more is taken for a bomb: the largest of these sets has under a million
_DAMAGE = (OSError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)


@dataclass(frozen=True)
class Form:
    """What every image of a data set is brought to.

    size      height and width in pixels
    channels  1 (grey) or 3 (RGB)
    fit       for an image of another shape: "crop" cuts the sides that stick out, "pad" adds black, "stretch" distorts
    """

    size: tuple[int, int]
    channels: int
    fit: str = "crop"


def form(name: str, size: int | tuple[int, int], channels: int, fit: str = "crop") -> Form:
    """A Form from a loader's options. Errors: DataError for a size outside 1..4096 or an unknown fit."""
    sides = (size, size) if isinstance(size, (int, np.integer)) and not isinstance(size, bool) else size
    if (
        not isinstance(sides, (tuple, list))
        or len(sides) != 2
        or not all(isinstance(side, (int, np.integer)) and 1 <= side <= 4096 for side in sides)
    ):
        raise DataError(f"{name}: size must be one or two whole numbers in 1..4096 (height, width), not {size!r}.")
    if fit not in FITS:
        raise DataError(f"{name}: unknown fit {fit!r}. Known: {', '.join(FITS)}.")
    return Form((int(sides[0]), int(sides[1])), channels, fit)


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
        key = _content_key(tree, names, read, wheres)
        key.update(repr((to, None if boxes is None else boxes.tolist())).encode())
        return cached(name, key.hexdigest(), build)["images"]


def _content_key(tree: Tree, names: Sequence[str], read: Callable, wheres: list[str]):
    """SHA-256 of the files' names and contents."""
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


def decode(data: bytes, to: Form, box: Sequence[float] | None = None) -> np.ndarray:
    """Bytes of an image file -> uint8 (C, H, W). Errors: ValueError saying what is wrong with them."""
    image = _open(data)
    image = _eight_bits(image, "L" if to.channels == 1 else "RGB")
    left, upper, right, lower = box if box is not None else (0, 0, image.width, image.height)
    height, width = to.size
    if to.fit == "pad":
        scale = min(width / (right - left), height / (lower - upper))
        inner = max(1, round((right - left) * scale)), max(1, round((lower - upper) * scale))
        small = image.resize(inner, Image.Resampling.BILINEAR, (left, upper, right, lower))
        image = Image.new(image.mode, (width, height))
        image.paste(small, ((width - inner[0]) // 2, (height - inner[1]) // 2))
    else:
        if to.fit == "crop":
            left, upper, right, lower = crop_box(left, upper, right, lower, width / height)
        if (left, upper, right, lower, image.width, image.height) != (0, 0, width, height, width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR, (left, upper, right, lower))
    pixels = np.asarray(image)
    return pixels[None] if to.channels == 1 else pixels.transpose(2, 0, 1)


def crop_box(left: float, upper: float, right: float, lower: float, aspect: float) -> tuple[float, ...]:
    """The largest box of the aspect (width over height) in the middle of a box."""
    width, height = right - left, lower - upper
    if width > height * aspect:
        middle, half = (left + right) / 2, height * aspect / 2
        return middle - half, upper, middle + half, lower
    middle, half = (upper + lower) / 2, width / aspect / 2
    return left, middle - half, right, middle + half


def image_size(data: bytes) -> tuple[int, int]:
    """Height and width from an image file's header. Errors: ValueError saying what is wrong with it."""
    image = _header(data)
    return image.height, image.width


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


def decode_grey(data: bytes, size: tuple[int, int]) -> np.ndarray:
    """Bytes of an image file -> uint8 (H, W). Errors: ValueError saying what is wrong with them."""
    image = _open(data, size)
    return np.array(_eight_bits(image, "L"))


def _header(data: bytes) -> Image.Image:
    if not data:
        raise ValueError("is empty (0 bytes)")
    try:
        with warnings.catch_warnings():  # the size is checked by _open
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        raise ValueError(f"is not an image (it starts with {data[:12]!r})") from None
    except Image.DecompressionBombError:
        raise ValueError("is far larger than any image of this set") from None
    except _DAMAGE as error:
        raise ValueError(f"is truncated or damaged ({error})") from None


def _open(data: bytes, size: tuple[int, int] | None = None) -> Image.Image:
    """The decoded image; `size`: height and width that it must have."""
    image = _header(data)
    if size is None and image.width * image.height > _PIXELS:
        raise ValueError(f"is {image.width:,} x {image.height:,} pixels, far larger than any image of this set")
    if size is not None and (image.height, image.width) != size:
        raise ValueError(f"is {image.width} x {image.height} pixels instead of {size[1]} x {size[0]}")
    try:
        if image.format == "PNG":
            _check_chunks(data)
        if image.format == "JPEG" and b"\xff\xd9" not in data:
            raise ValueError("is truncated or damaged (it ends too early)")
        image.load()
    except _DAMAGE as error:
        raise ValueError(f"is truncated or damaged ({error})") from None
    return image


def _eight_bits(image: Image.Image, mode: str) -> Image.Image:
    """The image in mode "L" or "RGB"; 16 bits are scaled to 8, what is transparent lies on white."""
    if image.mode.startswith("I"):
        image = Image.fromarray(np.clip(np.rint(np.asarray(image, np.float64) / 257), 0, 255).astype(np.uint8))
    elif image.mode == "F":
        values = np.nan_to_num(np.asarray(image, np.float64))
        scale = 255 if values.max() <= 1 else 1
        image = Image.fromarray(np.clip(np.rint(values * scale), 0, 255).astype(np.uint8))
    elif image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        solid = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", solid.size, "white"), solid).convert("RGB")
    return image if image.mode == mode else image.convert(mode)


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
        return "is listed but missing. Unpack the data set again; some of its files were lost."
    if isinstance(error, IsADirectoryError):
        return "is a folder, not an image. Unpack the data set again."
    if isinstance(error, PermissionError):
        return "may not be read (no permission). Give yourself read access to it."
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror or error}). Check the disk."
    return f"{error}. Replace it by an undamaged copy: unpack the data set again."

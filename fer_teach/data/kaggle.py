"""Kaggle's FER2013 table: one row an image, 48 x 48 grey values as text (fer2013.csv, icml_face_data.csv)."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import numpy as np

from fer_teach.data.cache import Arrays, cached, file_digest
from fer_teach.data.progress import progress
from fer_teach.data.published import warn_count
from fer_teach.data.tablefile import TableFile, find_table
from fer_teach.errors import AbsentSplit, DataError

NAMES = ("fer2013.csv", "icml_face_data.csv")
USAGES = {"train": "Training", "valid": "PublicTest", "test": "PrivateTest"}
SIZE = (48, 48)
EMOTIONS = 7
_USAGE_CODE = {usage: code for code, usage in enumerate(USAGES.values())}
_ROWS = 35_887


def find(places: list[Path]) -> TableFile | None:
    """Kaggle's table in one of `places`, plain or packed; a place that is a csv file may have any name."""
    found = find_table(places, NAMES)
    if found is None and places[0].is_file() and places[0].suffix.lower() == ".csv":
        table = TableFile(places[0])
        return table if "pixels" in (name.lower() for name in table.header()) else None
    return found


def read(table: TableFile) -> Arrays:
    """All rows of the table, decoded once, memory-mapped from then on.

    images uint8 (N, 48, 48); emotion int64 (N,) in 0..6; usage int64 (N,), index into USAGES; row int64 (N,), the row
    of the file (its header is row 1). Errors: DataError naming file and row for missing columns, a pixel string that is
    not 2,304 whole numbers in 0..255, an emotion outside 0..6, an unknown Usage.
    """
    try:
        digest = file_digest(table.path)
    except PermissionError as error:
        raise DataError(f"No permission to read {table.path}. Give yourself read access to it.") from error
    key = hashlib.sha256(f"{digest} {table.member}".encode()).hexdigest()
    return cached("fer2013-table", key, lambda: _decode(table))


def _decode(table: TableFile) -> Arrays:
    images, emotions, usages, numbers = [], [], [], []
    rows = table.rows(["emotion", "pixels", "Usage"])
    for row, (emotion, pixels, usage) in progress(rows, f"Decoding {table.path.name}", _ROWS, "row"):
        where = f"{table}, row {row}"
        images.append(parse_pixels(pixels, where))
        emotions.append(parse_emotion(emotion, where))
        usages.append(parse_usage(usage, where))
        numbers.append(row)
    if not images:
        raise DataError(f"{table} has a header but no rows. Download it again.")
    return {
        "images": np.stack(images),
        "emotion": np.array(emotions, np.int64),
        "usage": np.array(usages, np.int64),
        "row": np.array(numbers, np.int64),
    }


def parse_pixels(text: str, where: str) -> np.ndarray:
    """2,304 whole numbers in 0..255, separated by blanks -> uint8 (48, 48). Errors: DataError, `where` first."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            values = np.fromstring(text, dtype=np.int64, sep=" ") if text.strip() else np.empty(0, np.int64)
    except (ValueError, DeprecationWarning, OverflowError):
        raise DataError(f"{where}: the pixel string holds more than whole numbers. Download the file again.") from None
    if len(values) != SIZE[0] * SIZE[1]:
        raise DataError(
            f"{where}: the pixel string has {len(values):,} numbers instead of 2,304. Download the file again."
        )
    if values.min() < 0 or values.max() > 255:
        wrong = int(values[(values < 0) | (values > 255)][0])
        raise DataError(f"{where}: pixel value {wrong} is outside 0..255. Download the file again.")
    return values.astype(np.uint8).reshape(SIZE)


def parse_emotion(text: str, where: str) -> int:
    """FER2013's label 0..6. Errors: DataError beginning with `where`."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if not 0 <= value < EMOTIONS:
        raise DataError(
            f"{where}: emotion {text.strip()!r} is not one of 0..6. Use the labels as their publisher gives them."
        )
    return value


def parse_usage(text: str, where: str) -> int:
    """Index of the split in USAGES. Errors: DataError beginning with `where`."""
    code = _USAGE_CODE.get(text.strip())
    if code is None:
        raise DataError(f"{where}: Usage {text.strip()!r} is not one of {', '.join(USAGES.values())}.")
    return code


def warn_short(table: TableFile, split: str, usages: np.ndarray) -> None:
    """A CountWarning where the table holds another number of rows of a split than was published, as when cut off."""
    warn_count("fer2013", split, int((usages == list(USAGES).index(split)).sum()), table)


def empty_split(source: object, split: str, usages: np.ndarray) -> AbsentSplit:
    """The error for a split without a single row."""
    counts = dict(zip(USAGES.values(), np.bincount(usages, minlength=3).tolist(), strict=True))
    have = ", ".join(f"{usage} {n:,}" for usage, n in counts.items())
    return AbsentSplit(
        f"{source}: no rows with Usage {USAGES[split]}, so split {split!r} is empty. Rows by Usage: {have}."
    )

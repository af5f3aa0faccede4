"""Landmarks and action units of CK+, from its Landmarks/ and FACS/ trees."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import numpy as np

from fer_teach.data.decoding import Form, crop_box, image_size
from fer_teach.data.listing import Listing
from fer_teach.data.tablefile import TableFile
from fer_teach.errors import DataError

POINTS = 68
MARGIN = 1.3
_SEQUENCE = re.compile(r"^(S\d+_\d+)_", re.IGNORECASE)


def landmarks(listing: Listing) -> np.ndarray | None:
    """float32 (N, 68, 2), x and y in pixels of the frame; None where the tree has no landmark files.

    Where some frames lack theirs, a DataWarning counts them and the result is None. Errors: DataError naming a file
    that does not hold 68 pairs of numbers.
    """
    known = _by_stem(listing, "_landmarks.txt")
    if not known:
        return None
    wanted = [PurePosixPath(name).stem.upper() for name in listing.files]
    absent = [stem for stem in wanted if stem not in known]
    if absent:
        listing.warn(
            f"{len(absent):,} of {len(wanted):,} frames have no landmarks, such as {absent[0]}; "
            "the files with landmarks are left out."
        )
        return None
    return np.stack([_points(listing.tree.table(known[stem])) for stem in wanted])


def action_units(listing: Listing) -> dict[str, np.ndarray] | None:
    """float32 (N,) for every unit ("AU12"): 1 where the coders saw it on the sequence's last frame; else None.

    None where the tree has no FACS files; where some sequences lack theirs, also, with a DataWarning. Neutral first
    frames have none. Errors: DataError naming a file that holds something else than pairs of numbers.
    """
    known = {_SEQUENCE.match(stem).group(1): name for stem, name in _by_stem(listing, "_facs.txt").items()}
    if not known:
        return None
    sequences = [_SEQUENCE.match(PurePosixPath(name).name.upper()).group(1) for name in listing.files]
    absent = sorted(set(sequences) - known.keys())
    if absent:
        listing.warn(f"{len(absent):,} sequences have no FACS file, such as {absent[0]}; action units are left out.")
        return None
    shown = {sequence: _units(listing.tree.table(known[sequence])) for sequence in sorted(set(sequences))}
    posed = np.array([listing.classes[label] != "neutral" for label in listing.labels])
    return {
        f"AU{unit}": (np.array([unit in shown[sequence] for sequence in sequences]) & posed).astype(np.float32)
        for unit in sorted(set().union(*shown.values()))
    }


def face_boxes(listing: Listing, points: np.ndarray, crop: str) -> np.ndarray:
    """float (N, 4): left, upper, right, lower of what is cut out of each frame, inside the frame.

    "frame": everything; "face": a `square` around the landmarks.
    """
    boxes = []
    with listing.tree.reading(listing.files) as read:
        for name, at in zip(listing.files, points, strict=True):
            try:
                height, width = image_size(read(name))
            except (OSError, ValueError) as error:
                raise DataError(f"{listing.tree.where(name)} {error}. Unpack the data set again.") from error
            boxes.append((0, 0, width, height) if crop == "frame" else square(at, height, width))
    return np.array(boxes, np.float64)


def move(points: np.ndarray, boxes: np.ndarray, to: Form) -> np.ndarray:
    """The landmarks after the boxes were cut out and brought to the form; pixel centres at whole numbers."""
    height, width = to.size
    moved = np.empty_like(points)
    for i, (left, upper, right, lower) in enumerate(boxes):
        if to.fit == "crop":
            left, upper, right, lower = crop_box(left, upper, right, lower, width / height)
        scale = np.array([width / (right - left), height / (lower - upper)])
        shift = np.zeros(2)
        if to.fit == "pad":
            box = np.array([right - left, lower - upper])
            inner = np.maximum(1, np.round(box * scale.min()))  # as `decode` rounds it
            scale = inner / box
            shift = np.floor((np.array([width, height]) - inner) / 2)
        moved[i] = (points[i] + 0.5 - (left, upper)) * scale + shift - 0.5
    return moved


def square(points: np.ndarray, height: int, width: int) -> tuple[float, ...]:
    """Left, upper, right, lower of a square around points, MARGIN times their larger extent, moved inside the frame."""
    low, high = points.min(0), points.max(0)
    side = min(MARGIN * float((high - low).max()), height, width)
    left, upper = np.clip((low + high) / 2 - side / 2, 0, (width - side, height - side))
    return left, upper, left + side, upper + side


def _by_stem(listing: Listing, ending: str) -> dict[str, str]:
    """Files with an ending, under the frame's name before it in upper case ("S005_001_00000011")."""
    files = [name for name in listing.tree.names if name.lower().endswith(ending)]
    return {PurePosixPath(name).name[: -len(ending)].upper(): name for name in files}


def _points(table: TableFile) -> np.ndarray:
    numbers = _pairs(table)
    if len(numbers) != POINTS:
        raise DataError(f"{table} holds {len(numbers)} points instead of {POINTS}. Unpack the landmarks again.")
    return numbers


def _units(table: TableFile) -> set[int]:
    return {int(unit) for unit, _ in _pairs(table)}


def _pairs(table: TableFile) -> np.ndarray:
    """float32 (M, 2), one pair a line; blank lines are nothing. Errors: DataError naming file and row."""
    found = []
    with table.open() as text:
        for row, line in enumerate(text, 1):
            try:
                pair = [float(word) for word in line.split()]
            except ValueError:
                pair = [np.nan]
            if pair and (len(pair) != 2 or not np.isfinite(pair).all()):
                raise DataError(f"{table}, row {row}: {line.strip()[:40]!r} is not a pair of numbers. Unpack it again.")
            found += [pair] if pair else []
    return np.array(found, np.float32).reshape(-1, 2)

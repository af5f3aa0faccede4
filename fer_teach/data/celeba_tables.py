"""CelebA's tables: attributes, partition and identities, as text or csv, matched to the images by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from fer_teach.data.celeba_rows import (
    ATTRIBUTES,
    BINARY,
    Content,
    find,
    image_name,
    image_place,
    is_index,
    lines,
    one_of,
    plain,
    read,
)
from fer_teach.data.files import Tree, is_image
from fer_teach.data.listing import Listing, once
from fer_teach.data.tablefile import TableFile
from fer_teach.errors import DataError

_ATTRIBUTES = re.compile(r"^(list_)?attr(ibutes)?(_celeba)?\.(txt|csv)$", re.IGNORECASE)
_PARTITION = re.compile(r"^list_eval_partition.*\.(txt|csv)$", re.IGNORECASE)
_IDENTITY = re.compile(r"^identity_celeba.*\.(txt|csv)$", re.IGNORECASE)
_PARTS = {"0": "train", "1": "valid", "2": "test", "train": "train", "valid": "valid", "val": "valid", "test": "test"}
_OTHERS = "celebid id identity person personid subject subjectid split partition part fold set usage"


@dataclass
class Tables:
    """Attribute rows in the order of the images: `names` of the attributes, `table` int8 (N, attributes) of 0 and 1."""

    source: str
    names: tuple[str, ...]
    table: np.ndarray

    def values(self, name: str) -> np.ndarray:
        """One attribute, int64 (N,). Errors: DataError for an unknown one."""
        if name not in self.names:
            raise DataError(f"{self.source} has no attribute {name!r}. It has: {', '.join(self.names)}.")
        return self.table[:, self.names.index(name)].astype(np.int64)


def recognise(tree: Tree) -> Listing | str | None:
    """CelebA's images that have a row, in the order of their names."""
    named = [name for name in tree.names if _ATTRIBUTES.match(PurePosixPath(name).name)]
    tables = named or find(tree, "attr", ATTRIBUTES, 1)
    images = _image_files(tree)
    if not tables:
        if any("img_align_celeba" in name.lower() for name in images.values()):
            return f"images are in {tree.root}, list_attr_celeba.txt or .csv is not"
        return None
    if not images:
        return f"{tree.where(tables[0])} is there, the images (img_align_celeba/000001.jpg ...) are not"
    expected = "1, -1 or 0 (or True, False)"
    contents = [
        read(tree.table(name), images, ATTRIBUTES, _attributes, BINARY.__getitem__, expected) for name in tables
    ]
    return _match(tree, images, one_of(contents))


def _attributes(names: list[str]) -> list[str]:
    """The columns that are attributes: the published ones where most of those are there."""
    published = [name for name in names if name in ATTRIBUTES]
    if 2 * len(published) > len(ATTRIBUTES):
        return published
    return [name for name in names if plain(name) not in _OTHERS.split()]


def _image_files(tree: Tree) -> dict[str, str]:
    """Images by their own name: those of folders named img_align_celeba, else all."""
    pictures = [name for name in tree.names if is_image(name)]
    aligned = [name for name in pictures if "img_align_celeba" in name.lower()]
    once(tree, aligned or pictures, lambda name: PurePosixPath(name).stem.lower())
    return {PurePosixPath(name).stem.lower(): name for name in aligned or pictures}


def _match(tree: Tree, images: dict[str, str], content: Content) -> Listing:
    table, rows = content.table, content.rows
    _check_zeros(images, content)
    keys = sorted(set(images) & set(rows))
    if not keys:
        some = next(iter(images)), next(iter(rows), "none")
        raise DataError(
            f"{table}: none of its {len(rows):,} rows names one of the {len(images):,} images (images such as "
            f"{some[0]}, rows such as {some[1]}). Use the table that belongs to the images."
        )
    values = np.array([content.values[key] for key in keys], np.int8)
    found = Listing(
        "celeba",
        tree,
        [images[key] for key in keys],
        np.zeros(len(keys), np.int64),
        (),
        listed=[f"{table}, row {rows[key]}" for key in keys],
        more={"tables": Tables(str(table), content.columns, values)},
    )
    for these, those, what in (
        (images, rows, f"images have no row in {table} and are not loaded"),
        (rows, images, f"rows of {table} have no image here"),
    ):
        alone = sorted(these.keys() - those.keys())
        if alone:
            found.warn(f"{len(alone):,} of {len(these):,} {what}, such as {alone[0]}.")
    if content.unread:
        found.warn(f"columns of {table} that are no attributes are not read: {', '.join(content.unread)}.")
    _add_tables(found, keys)
    return found


def _check_zeros(images: dict[str, str], content: Content) -> None:
    """Errors: DataError for a row that names no image and whose number, 5, an image has in another form, 000005."""
    numbers = {int(name): name for name in images if name.isdecimal()}
    for name, row in content.rows.items():
        if name not in images and name.isdecimal() and int(name) in numbers:
            raise DataError(
                f"{content.table}, row {row}: there is no image {name}, but an image {numbers[int(name)]}. Write the "
                "names as the files have them, with their zeros, so that no row can slip."
            )


def _add_tables(found: Listing, keys: list[str]) -> None:
    """Partition and identities, where their files are there and tell enough; else a DataWarning."""
    partition = _other(found, _PARTITION, keys, _PARTS.__getitem__, "0, 1 or 2", "splits are made without it")
    if partition:
        parts = np.array([partition[key] for key in keys])
        empty = [part for part in dict.fromkeys(_PARTS.values()) if part not in parts]
        if empty:
            found.warn(f"the partition file leaves {' and '.join(empty)} without an image; splits are made without it.")
        else:
            found.parts = parts
    identity = _other(found, _IDENTITY, keys, int, "a whole number", "people are left out")
    if identity:
        found.subjects = [f"{identity[key]:06}" for key in keys]


def _other(
    found: Listing, pattern: re.Pattern, keys: list[str], value: Callable, expected: str, without: str
) -> dict | None:
    """Value by image name from a table of two columns; None where there is none, or an image has no row."""
    files = [name for name in found.tree.names if pattern.match(PurePosixPath(name).name)]
    if not files:
        return None
    content = one_of([_pairs(found.tree.table(name), set(keys), value, expected) for name in files])
    absent = [key for key in keys if key not in content.rows]
    if absent:
        found.warn(
            f"{content.table} has no row for {len(absent):,} of {len(keys):,} images, such as {absent[0]}; {without}."
        )
        return None
    return {name: value for name, (value,) in content.values.items()}


def _pairs(table: TableFile, images: set[str], value: Callable, expected: str) -> Content:
    """A table of images' names and one value each, with or without a header."""
    rows, values, name_at, value_at, width = {}, {}, 0, 1, 2
    for row, fields in lines(table):
        where = f"{table}, row {row}"
        if not rows and image_place(fields) is not None and not any(map(is_image, fields)):
            name_at, width = image_place(fields), len(fields)
            value_at = next((at for at, name in enumerate(fields) if at != name_at and not is_index(name)), width)
            continue
        try:
            one = value(fields[value_at]) if len(fields) == width else None
        except (KeyError, ValueError, IndexError):
            one = None
        if one is None:
            raise DataError(f"{where}: expected an image's name and {expected}, not {' '.join(fields)[:60]!r}.")
        name = image_name(fields[name_at], where, images)
        if values.setdefault(name, one) != one:
            raise DataError(f"{where}: image {name} was listed already with another value. Keep one of the two rows.")
        rows.setdefault(name, row)
    return Content(table, ("value",), rows, {name: [values[name]] for name in images & rows.keys()}, [])

"""CelebA's tables: attributes, partition and identities, as text or csv, matched to the images by name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from fer_teach.data.files import Tree, is_image
from fer_teach.data.listing import Listing, once
from fer_teach.data.tablefile import TableFile
from fer_teach.errors import DataError

_ATTRIBUTES = re.compile(r"^(list_)?attr(ibutes)?(_celeba)?\.(txt|csv)$", re.IGNORECASE)
_PARTITION = re.compile(r"^list_eval_partition\.(txt|csv)$", re.IGNORECASE)
_IDENTITY = re.compile(r"^identity_celeba\.(txt|csv)$", re.IGNORECASE)
_VALUES = {"1": 1, "-1": 0, "0": 0}
_NAME_COLUMNS = ("image_id", "image", "image_name", "filename", "file_name", "file", "name")
_INDEX_COLUMNS = ("", "unnamed: 0", "index")  # what saving a data frame leaves
_KNOWN = {"Smiling", "Male", "Eyeglasses", "Mouth_Slightly_Open"}


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
    tables = [name for name in tree.names if _ATTRIBUTES.match(PurePosixPath(name).name)] or _by_header(tree)
    images = _image_files(tree)
    if not tables:
        if any("img_align_celeba" in name.lower() for name in images.values()):
            return f"images are in {tree.root}, list_attr_celeba.txt or .csv is not"
        return None
    if not images:
        return f"{tree.where(tables[0])} is there, the images (img_align_celeba/000001.jpg ...) are not"
    if len(tables) > 1:
        raise DataError(
            f"{tree.where(tables[0])} and {tree.where(tables[1])} both hold attributes. Keep one of the two."
        )
    return _match(tree, images, tree.table(tables[0]))


def _by_header(tree: Tree) -> list[str]:
    """Csv files under another name whose header has a published attribute."""
    return [
        name
        for name in tree.names
        if name.lower().endswith(".csv") and name.count("/") < 3 and _KNOWN & set(tree.table(name).header())
    ]


def _image_files(tree: Tree) -> dict[str, str]:
    """Images by their own name: those of folders named img_align_celeba, else all."""
    pictures = [name for name in tree.names if is_image(name)]
    aligned = [name for name in pictures if "img_align_celeba" in name.lower()]
    once(tree, aligned or pictures, lambda name: PurePosixPath(name).stem.lower())
    return {PurePosixPath(name).stem.lower(): name for name in aligned or pictures}


def _match(tree: Tree, images: dict[str, str], table: TableFile) -> Listing:
    names, rows, values = _attributes(table)
    keys = sorted(set(images) & set(rows))
    if not keys:
        some = next(iter(images)), next(iter(rows), "none")
        raise DataError(
            f"{table}: none of its {len(rows):,} rows names one of the {len(images):,} images (images such as "
            f"{some[0]}, rows such as {some[1]}). Use the table that belongs to the images."
        )
    at = {key: i for i, key in enumerate(rows)}
    found = Listing(
        "celeba",
        tree,
        [images[key] for key in keys],
        np.zeros(len(keys), np.int64),
        (),
        listed=[f"{table}, row {rows[key]}" for key in keys],
        more={"tables": Tables(str(table), names, values[[at[key] for key in keys]])},
    )
    for these, those, what in (
        (images, rows, f"images have no row in {table} and are not loaded"),
        (rows, images, f"rows of {table} have no image here"),
    ):
        alone = sorted(these.keys() - those.keys())
        if alone:
            found.warn(f"{len(alone):,} of {len(these):,} {what}, such as {alone[0]}.")
    _add_tables(found, keys)
    return found


def _add_tables(found: Listing, keys: list[str]) -> None:
    """Partition and identities, where their files are there; both must know every image."""
    partition = _other(found.tree, _PARTITION, keys, lambda text: text in ("0", "1", "2"), "0, 1 or 2")
    if partition:
        found.parts = np.array([("train", "valid", "test")[int(partition[key])] for key in keys])
    identity = _other(found.tree, _IDENTITY, keys, str.isdigit, "a whole number")
    if identity:
        found.subjects = [f"{int(identity[key]):06}" for key in keys]


def _attributes(table: TableFile) -> tuple[tuple[str, ...], dict[str, int], np.ndarray]:
    """Names of the attributes, row by image name (lower case, no ending), and int8 (rows, attributes)."""
    lines = _lines(table)
    promised, columns, name_at = _header(table, lines)
    width = len(columns) + 1 if promised is not None else max(*columns.values(), name_at) + 1
    rows: dict[str, int] = {}
    values: list[list[int]] = []
    for row, fields in lines:
        where = f"{table}, row {row}"
        if len(fields) < width:
            raise DataError(f"{where}: {len(fields)} values instead of {width}. Download the file again.")
        name = _image_name(fields[name_at], where)
        if name in rows:
            raise DataError(f"{where}: image {name} was listed already in row {rows[name]}. Keep one of the two rows.")
        rows[name] = row
        try:
            values.append([_VALUES[fields[at]] for at in columns.values()])
        except KeyError as error:
            wrong = next(name for name, at in columns.items() if fields[at] not in _VALUES)
            raise DataError(f"{where}: {wrong} is {error.args[0]!r}; 1, -1 or 0 was expected.") from None
    if not rows or promised not in (None, len(rows)):
        raise DataError(
            f"{table} holds {len(rows):,} rows{f', its first line promises {promised:,}' if promised else ''}. "
            "It is cut off; download it again."
        )
    return tuple(columns), rows, np.array(values, np.int8)


def _header(table: TableFile, lines: Iterator) -> tuple[int | None, dict[str, int], int]:
    """Promised number of rows (None in a csv), attribute -> place in a row, and the place of the image's name.

    The published text file begins with the number of rows, then the attributes' names without one for the first
    column. A csv names every column.
    """
    row, fields = next(lines, (1, []))
    promised = None
    if len(fields) == 1 and fields[0].isdigit():
        promised = int(fields[0])
        row, fields = next(lines, (2, []))
    names = [field.lower() for field in fields]
    name_at = next((names.index(column) for column in _NAME_COLUMNS if column in names), None)
    if name_at is None:
        name_at, fields = 0, fields if names[:1] in [[column] for column in _INDEX_COLUMNS] else ["", *fields]
    columns = {field: at for at, field in enumerate(fields) if at != name_at and field.lower() not in _INDEX_COLUMNS}
    wrong = [name for name in columns if name in _VALUES or is_image(name)]
    if not columns or wrong or len(set(fields)) != len(fields):
        what = f"{wrong[0]!r} is no attribute's name" if wrong else "names of attributes are missing or doubled"
        raise DataError(
            f"{table}, row {row}: {what}. A column image_id must hold the images' names, the others their attributes; "
            "use the file as its publisher gives it."
        )
    return promised, columns, name_at


def _lines(table: TableFile) -> Iterator[tuple[int, list[str]]]:
    """(row, fields) of a csv file, or of one with blanks between the fields; blank rows left out."""
    if str(table.member or table.path).lower().endswith(".csv"):
        for row, fields in table.rows():
            yield row, [field.strip() for field in fields]
        return
    with table.open() as text:
        for row, line in enumerate(text, 1):
            if line.strip():
                yield row, line.split()


def _image_name(text: str, where: str) -> str:
    name = PurePosixPath(text.strip().lower()).name
    if not is_image(name):
        raise DataError(
            f"{where}: {text!r} is not the name of an image. The first column must hold the names; use the file as its "
            "publisher gives it."
        )
    return PurePosixPath(name).stem


def _other(tree: Tree, pattern: re.Pattern, keys: list[str], fits, expected: str) -> dict[str, str] | None:
    """Value by image name from a table of two columns; None where there is no such file."""
    files = [name for name in tree.names if pattern.match(PurePosixPath(name).name)]
    if not files:
        return None
    table, values = tree.table(files[0]), {}
    for row, fields in _lines(table):
        where = f"{table}, row {row}"
        if row == 1 and not is_image(fields[0]) and fields[0].lower() in _NAME_COLUMNS:
            continue
        if len(fields) != 2 or not fits(fields[1]):
            raise DataError(f"{where}: expected an image's name and {expected}, not {' '.join(fields)[:60]!r}.")
        name = _image_name(fields[0], where)
        if values.setdefault(name, fields[1]) != fields[1]:
            raise DataError(f"{where}: image {name} was listed already with another value. Keep one of the two rows.")
    absent = [key for key in keys if key not in values]
    if absent:
        raise DataError(
            f"{table} has no row for {len(absent):,} of the images, such as {absent[0]}. Use the whole file."
        )
    return values

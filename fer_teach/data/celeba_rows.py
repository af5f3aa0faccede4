"""Rows of CelebA's tables, as text or csv: names and values brought to one spelling, every row under its image."""

from __future__ import annotations

import csv
import itertools
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from fer_teach.data.files import Tree, is_image
from fer_teach.data.tablefile import TableFile
from fer_teach.errors import DataError

_PUBLISHED = (
    "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair "
    "Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male "
    "Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks "
    "Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace "
    "Wearing_Necktie Young"
)
ATTRIBUTES = tuple(_PUBLISHED.split())
_BINARY = {"1": 1, "-1": 0, "0": 0, "1.0": 1, "-1.0": 0, "0.0": 0, "true": 1, "false": 0}
BINARY = {form: value for word, value in _BINARY.items() for form in (word, word.upper(), word.title())}
_IMAGE = "image imageid imagename imagefile imagepath img imgid imgname imgpath filename file files filepath path name"
_NAME_COLUMNS = tuple(_IMAGE.split())  # letters and digits alone, as `plain` gives them
_SEPARATORS = ",;\t"


@dataclass
class Content:
    """What a table says of images.

    columns  names of the values, in one spelling
    rows     row of the file by the image's name (lower case, no ending)
    values   of the images there are, a list each in the order of `columns`
    unread   columns that are left aside
    """

    table: TableFile
    columns: tuple[str, ...]
    rows: dict[str, int]
    values: dict[str, list]
    unread: list[str]

    def said(self) -> dict[str, dict[str, float]]:
        """Image -> column -> value."""
        return {name: dict(zip(self.columns, values, strict=True)) for name, values in self.values.items()}


def plain(name: str) -> str:
    """A column's name without case, blanks and signs."""
    return re.sub(r"[\W_]+", "", name.lower())


def spelled(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """Names in the spelling of `known`, where they differ from one of those in case, blanks and signs only."""
    published = {plain(name): name for name in known}
    return [published.get(plain(name), name) for name in names]


def is_index(name: str) -> bool:
    """True for a column that saving a data frame leaves."""
    return name.lower() in ("", "index") or name.lower().startswith("unnamed:")


def lines(table: TableFile) -> Iterator[tuple[int, list[str]]]:
    """(row, fields) of the rows that are not blank; commas, semicolons or tabs between the fields, else blanks."""
    with table.open() as text:
        head = list(itertools.islice(text, 5))
        counts = [sum(line.count(mark) for line in head) for mark in _SEPARATORS]
        text = itertools.chain(head, text)
        if not any(counts):
            yield from ((row, line.split()) for row, line in enumerate(text, 1) if line.strip())
            return
        reader = csv.reader(text, delimiter=_SEPARATORS[counts.index(max(counts))])
        for fields in reader:
            fields = [field.strip() for field in fields]
            if any(fields):
                yield reader.line_num, fields


def find(tree: Tree, hint: str, known: Sequence[str], least: int) -> list[str]:
    """Text and csv files whose header has at least so many of the known columns, with values below.

    Those with the hint in their name; else any others that lie three folders deep at most, and in no folder with more
    than a hundred of them.
    """
    tables = [name for name in tree.names if name.lower().endswith((".txt", ".csv"))]
    crowd = Counter(PurePosixPath(name).parent for name in tables)
    named = [name for name in tables if hint in PurePosixPath(name).name.lower()]
    others = [name for name in tables if name.count("/") < 3 and crowd[PurePosixPath(name).parent] <= 100]
    found = [name for name in named if _has(tree.table(name), known, least)]
    return found or [name for name in others if _has(tree.table(name), known, least)]


def _has(table: TableFile, known: Sequence[str], least: int) -> bool:
    try:
        first = [fields for _, fields in itertools.islice(lines(table), 3)]
    except DataError:
        return False
    head, row, *_ = [*(first[1:] if first and _promised(first[0]) else first), [], []]
    found = len(set(spelled(head, known)) & set(known))
    values = sum(bool(re.fullmatch(r"[-+.\d]+|true|false", field.lower())) for field in row)
    prose = str(table).lower().rstrip(")").endswith(".txt") and 2 * found < len(head)
    return least <= found <= values and not prose


def read(
    table: TableFile,
    images: Collection[str],
    known: Sequence[str],
    take: Callable[[list[str]], list[str]],
    value: Callable[[str], float],
    expected: str,
) -> Content:
    """All rows of a table.

    images    names (lower case, no ending) of the images there are; only their values are looked at
    known     published names of columns
    take      those of a header's columns that are values
    value     a value from its text; KeyError or ValueError where it is none, and `expected` says what would be one
    Errors: DataError naming file and row.
    """
    source = lines(table)
    promised, columns, name_at, unread = _header(table, source, known, take)
    width = max(*columns.values(), name_at) + 1
    rows: dict[str, int] = {}
    values: dict[str, list] = {}
    for row, fields in source:
        where = f"{table}, row {row}"
        if len(fields) < width:
            raise DataError(f"{where}: {len(fields)} values instead of {width}. Download the file again.")
        name = image_name(fields[name_at], where, images)
        if name in rows:
            raise DataError(f"{where}: image {name} was listed already in row {rows[name]}. Keep one of the two rows.")
        rows[name] = row
        try:
            if name in images:
                values[name] = [value(fields[at]) for at in columns.values()]
        except (KeyError, ValueError):
            wrong = next((name, fields[at]) for name, at in columns.items() if _fails(value, fields[at]))
            raise DataError(f"{where}: {wrong[0]} is {wrong[1]!r}; {expected} was expected.") from None
    if not rows or (promised not in (None, len(rows)) and set(images) - rows.keys()):
        raise DataError(
            f"{table} holds {len(rows):,} rows{f', its first line promises {promised:,}' if promised else ''}. "
            "It is cut off; download it again."
        )
    return Content(table, tuple(columns), rows, values, unread)


def _fails(value: Callable, text: str) -> bool:
    try:
        value(text)
    except (KeyError, ValueError):
        return True
    return False


def _promised(fields: list[str]) -> int | None:
    """The number of rows, where that is all that a line says."""
    filled = [field for field in fields if field]
    return int(filled[0]) if len(filled) == 1 and filled[0].isdecimal() else None


def _header(table: TableFile, source: Iterator, known: Sequence[str], take: Callable) -> tuple:
    """Promised number of rows (None in a csv), value -> place in a row, the image's place, columns that are left aside.

    The published text file begins with the number of rows, then the values' names without one for the first column.
    A csv names every column.
    """
    row, fields = next(source, (1, []))
    promised = _promised(fields)
    if promised is not None:
        row, fields = next(source, (2, []))
    while fields and not fields[-1]:
        fields = fields[:-1]
    fields = spelled(fields, known)
    name_at = image_place(fields)
    if name_at is None:
        named = is_index(fields[0]) or (fields[0] not in known and set(fields) & set(known)) if fields else False
        name_at, fields = 0, fields if named else ["", *fields]
    places = [(field, at) for at, field in enumerate(fields) if at != name_at and not is_index(field)]
    names = [name for name, _ in places]
    wrong = [name for name in names if name in BINARY or is_image(name)]
    taken = take(names)
    if not taken or wrong or len(set(names)) != len(names):
        what = f"{wrong[0]!r} is no column's name" if wrong else "names of columns are missing or doubled"
        raise DataError(
            f"{table}, row {row}: {what}. A column image_id must hold the images' names, the others what is said of "
            "them; use the file as its publisher gives it."
        )
    columns = {name: dict(places)[name] for name in taken}
    return promised, columns, name_at, [name for name in names if name not in taken]


def image_place(fields: Sequence[str]) -> int | None:
    """The place of the column that a header says to hold the images' names."""
    names = [plain(field) for field in fields]
    return next((names.index(column) for column in _NAME_COLUMNS if column in names), None)


def image_name(text: str, where: str, images: Collection[str]) -> str:
    """An image's name without folder and ending, in lower case. Errors: DataError where the text is none."""
    name = text.lower().replace("\\", "/").rpartition("/")[2].strip()
    if is_image(name):
        return PurePosixPath(name).stem
    if not name or (name in BINARY and name not in images):
        raise DataError(
            f"{where}: {text!r} is not the name of an image. The first column must hold the names, or one called "
            "image_id; use the file as its publisher gives it."
        )
    return name


def one_of(contents: Sequence[Content]) -> Content:
    """The table that knows most of the images. Errors: DataError where another says something else of them."""
    first, *others = sorted(contents, key=lambda content: -len(content.values))
    known = first.said() if others else {}
    for other in others:
        said = other.said()
        if said != known:
            name = min(name for name in known.keys() | said.keys() if said.get(name) != known.get(name))
            raise DataError(
                f"{first.table} and {other.table} say different things of image {name}. Keep one of the two."
            )
    return first

"""Tables of comma-separated values, plain, compressed (.gz, .bz2, .xz), or in a .zip or .tar, read row by row."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fer_teach.errors import DataError

TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz")
_COMPRESSED = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
_ARCHIVES = (*_COMPRESSED, ".zip", *TAR)


@dataclass(frozen=True)
class TableFile:
    """A table's file; `member` is its name inside a zip or tar archive."""

    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return f"{self.path} ({self.member})" if self.member else str(self.path)

    @contextmanager
    def open(self) -> Iterator[io.TextIOBase]:
        """The table as text. Errors: DataError where the file or archive is damaged, no text, or may not be read."""
        try:
            with self._bytes() as stream, io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
                yield text
        except PermissionError as error:
            raise DataError(f"No permission to read {self.path}. Give yourself read access to it.") from error
        except FileNotFoundError as error:
            raise DataError(f"{self.path} is missing. Unpack or download the data set again.") from error
        except UnicodeDecodeError as error:
            raise DataError(f"{self} is not a text file. Replace it by an undamaged copy.") from error
        except csv.Error as error:
            raise DataError(f"{self} is not a table of comma-separated values ({error}).") from error
        except (
            zipfile.BadZipFile,
            tarfile.TarError,
            zlib.error,
            lzma.LZMAError,
            EOFError,
            RuntimeError,
            OSError,
        ) as error:
            raise DataError(f"{self} is damaged or cut off ({error}). Download it again.") from error

    @contextmanager
    def _bytes(self):
        if self.member and self.path.suffix.lower() == ".zip":
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as stream:
                yield stream
        elif self.member:
            with tarfile.open(self.path) as archive:
                yield archive.extractfile(self.member)
        else:
            with _COMPRESSED.get(self.path.suffix.lower(), open)(self.path, "rb") as stream:
                yield stream

    def header(self) -> list[str]:
        """First row, blanks around the names removed."""
        with self.open() as text:
            return [name.strip() for name in next(csv.reader(text), [])]

    def rows(self, columns: list[str] | None = None) -> Iterator[tuple[int, list[str]]]:
        """(row, values) of every row that is not blank; the first row of a file is row 1.

        columns: names (case and surrounding blanks aside) that the first row must hold; values come in that order.
        Without columns the first row is data. Errors: DataError for a missing column or a row that is too short.
        """
        with self.open() as text:
            reader = csv.reader(text)
            pick = self._columns(next(reader, []), columns) if columns else None
            while True:
                try:
                    values = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    raise DataError(f"{self}, row {reader.line_num}: {error}. The file is damaged.") from error
                if not values or (len(values) == 1 and not values[0].strip()):
                    continue
                if pick is None:
                    yield reader.line_num, values
                elif len(values) > max(pick):
                    yield reader.line_num, [values[i] for i in pick]
                else:
                    raise DataError(
                        f"{self}, row {reader.line_num}: {len(values)} values where the header needs at least "
                        f"{max(pick) + 1}. The file is cut off or damaged; download it again."
                    )

    def _columns(self, header: list[str], columns: list[str]) -> list[int]:
        found = [name.strip().lower() for name in header]
        absent = [name for name in columns if name.lower() not in found]
        if absent:
            has = ", ".join(name.strip() for name in header)
            raise DataError(
                f"{self}, row 1: missing column{'s' * (len(absent) > 1)} {', '.join(absent)}; it has: "
                f"{has if len(has) < 200 else has[:200] + ' ...'}. Use the file as its publisher gives it."
            )
        return [found.index(name.lower()) for name in columns]


def find_table(places: list[Path], names: tuple[str, ...]) -> TableFile | None:
    """The first of `names` that stands in a place, plain or packed, or in an archive there, or is a place itself."""
    for place in places:
        if place.is_file():
            found = _as_table(place, names)
            if found:
                return found
            continue
        for name in names:
            for ending in ("", *_ARCHIVES):
                stem = name.removesuffix(".csv")
                for candidate in (place / (name + ending), place / (stem + ending)):
                    found = _as_table(candidate, names) if candidate.is_file() else None
                    if found:
                        return found
        for archive in sorted(p for p in place.iterdir() if p.name.lower().endswith((".zip", *TAR)) and p.is_file()):
            found = _as_table(archive, names)
            if found:
                return found
    return None


def _as_table(path: Path, names: tuple[str, ...]) -> TableFile | None:
    lower = path.name.lower()
    if not lower.endswith((".zip", *TAR)):
        plain = lower.removesuffix(next(filter(lower.endswith, _COMPRESSED), ""))
        return TableFile(path) if plain in names or plain + ".csv" in names else None
    try:
        if lower.endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                members = archive.namelist()
        else:
            with tarfile.open(path) as archive:
                members = [member.name for member in archive if member.isfile()]
    except PermissionError as error:
        raise DataError(f"No permission to read {path}. Give yourself read access to it.") from error
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError) as error:
        if any(lower.startswith(name.removesuffix(".csv")) for name in names):
            raise DataError(f"{path} is damaged or cut off ({error}). Download it again.") from error
        return None
    for name in names:
        for member in members:
            if PurePosixPath(member).name == name and not member.startswith("__MACOSX"):
                return TableFile(path, member)
    return None

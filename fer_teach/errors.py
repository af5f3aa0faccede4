"""Errors meant for the reader: the command line prints their message alone, without a traceback."""

from __future__ import annotations


class FerTeachError(Exception):
    """Something the user can put right; the message says what and how."""


class DataError(FerTeachError):
    """A data set is missing, damaged, or not laid out as documented; the message names file and row."""


class AbsentSplit(DataError):
    """The data are sound and do not have the split that was asked for."""


class NotFound(DataError):
    """A data set is not where it was looked for."""


class ArchiveError(DataError):
    """An archive that cannot be read: ArchiveError(path, what is wrong with it)."""

    def __str__(self) -> str:
        return " ".join(map(str, self.args))


class DataWarning(UserWarning):
    """Something in a data set that is odd but loses nothing."""


class CountWarning(DataWarning):
    """A split has another number of images than was published."""

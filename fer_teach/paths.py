"""Where the book's parts lie: in a checkout beside the package, in an installed package inside it."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from .errors import FerTeachError

_PACKAGE = Path(__file__).resolve().parent


def in_checkout() -> bool:
    """True where the package lies in a checkout of the book, so that its folders can be written."""
    return (_PACKAGE.parent / "pyproject.toml").is_file() and (_PACKAGE.parent / "notebooks").is_dir()


def root() -> Path:
    """The folder that holds notebooks/, claims/, results/ and baselines/."""
    return _PACKAGE.parent if in_checkout() else _PACKAGE / "_book"


def notebooks() -> Path:
    """Chapters, one .py each."""
    return root() / "notebooks"


def claims() -> Path:
    """Printed numbers, one .json a chapter."""
    return root() / "claims"


def results() -> Path:
    """Committed full and paper records: <chapter>/<profile>-<data>.json."""
    return root() / "results"


def baselines() -> Path:
    """Expected quick records, one .json a chapter."""
    return root() / "baselines"


def build() -> Path:
    """Everything that a run leaves and that can be made again."""
    return root() / "_build" if in_checkout() else Path.cwd() / "_build"


def writable(folder: str | os.PathLike) -> Path:
    """The folder, made where it is not there. Errors: FerTeachError where it cannot be made or written to."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        what = "it is no folder" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
        raise FerTeachError(f"Cannot write to {folder}: {what}. Choose another folder.") from error


def given(text: str) -> Path:
    """A path as a user gives it, absolute and with `~` expanded. Errors: ValueError where there can be no such path."""
    try:
        path = Path(text).expanduser().absolute()
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):  # told where it is used
            path.stat()
        return path.parent.resolve() / path.name  # a link keeps its own name: its ending says what it is
    except (OSError, RuntimeError) as error:  # too long a name, a link to itself; an unknown user
        raise ValueError(f"{text}: {getattr(error, 'strerror', None) or error}") from None


def cache() -> Path:
    """Decoded data sets: $FER_TEACH_CACHE, or fer_teach under the user's cache folder."""
    chosen = os.environ.get("FER_TEACH_CACHE")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "fer_teach"

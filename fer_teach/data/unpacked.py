"""Archives of FERPlus's folders, unpacked once beside the cache and used from there."""

from __future__ import annotations

import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from fer_teach import paths
from fer_teach.data.cache import file_digest
from fer_teach.data.files import ARCHIVES, Tree
from fer_teach.data.progress import progress
from fer_teach.errors import DataError


def archives(places: Sequence[Path], folder: str) -> Iterator[tuple[Path, Tree, str]]:
    """Archives in `places` that hold `folder`: archive, files, and what stands before the folder in names.

    Errors: DataError for an archive that is damaged, or has members that are links or lead out of it.
    """
    for place in places:
        inside = [place] if place.is_file() else sorted(place.iterdir())
        for archive in inside:
            if archive.is_file() and archive.name.lower().endswith(ARCHIVES):
                tree = Tree(archive)
                first = next((name for name in tree.names if f"/{folder}/" in f"/{name}"), None)
                if first is not None:
                    yield archive, tree, f"/{first}".partition(f"/{folder}/")[0][1:]


def unpacked(places: Sequence[Path], folder: str) -> list[Path]:
    """Folders with the contents of the archives in `places` that hold `folder`, which stands directly in each.

    An archive is unpacked on first use, under a key of its content. Errors: DataError as `archives`, or where there is
    no room.
    """
    return [_unpack(archive, tree) / above for archive, tree, above in archives(places, folder)]


def _unpack(archive: Path, tree: Tree) -> Path:
    target = paths.cache() / "data" / f"unpacked-{file_digest(archive)[:32]}"
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".building-", dir=target.parent))
        try:
            with tree.reading(tree.names) as read:
                for name in progress(tree.names, f"Unpacking {archive.name}", len(tree.names)):
                    (work / name).parent.mkdir(parents=True, exist_ok=True)
                    (work / name).write_bytes(read(name))
            if not target.is_dir():  # another process may have been quicker
                os.replace(work, target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except ValueError as error:
        raise DataError(f"{archive} {error}. Download it again.") from error
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(
            f"Cannot unpack {archive} in {target.parent}: {getattr(error, 'strerror', None) or error}. "
            "Free some space there, or set FER_TEACH_CACHE to a folder on another disk."
        ) from error
    return target

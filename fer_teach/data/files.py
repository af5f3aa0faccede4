"""The files of a data set as one list of names: in folders, in an archive, or in archives inside a folder."""

from __future__ import annotations

import itertools
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath

from fer_teach import paths
from fer_teach.data.tablefile import TAR, TableFile
from fer_teach.errors import ArchiveError, DataError

IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".pgm", ".ppm", ".gif", ".webp", ".jp2")
ARCHIVES = (".zip", *TAR)
UNREADABLE = (".rar", ".7z")
_JUNK = ("__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information")
_DEEPEST = 8
_LARGEST = 1 << 28  # bytes of one file; no image of these sets comes near
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, OSError)


def is_image(name: str) -> bool:
    """True for a name with an image's ending."""
    return name.lower().endswith(IMAGES)


def is_junk(name: str) -> bool:
    """True for what operating systems leave beside files: names with a leading dot, Thumbs.db, __MACOSX."""
    return any(part.startswith(".") or part.lower() in _JUNK for part in name.split("/"))


class Tree:
    """Names, with "/" and relative to `root`, of all files below a folder or in an archive, sorted; junk left out.

    root      a folder, or a zip or tar archive (also compressed)
    archives  look into the archives that a folder holds too; their members' names begin with the archive's name. An
              archive whose files also lie unpacked in the folder, by their names, is not looked into
    skip      names (lower case) of folders directly in root that are left out

    Errors: DataError for an archive that is damaged, encrypted, or has members that are links or lead out of it, and
    for a folder or archive that may not be read.
    """

    def __init__(self, root: Path, archives: bool = False, skip: Callable[[str], bool] = lambda name: False):
        self.root = root
        self._packs: dict[str, _Pack] = {}
        if root.is_file():
            self._packs[""] = _Pack(root)
            self.names = sorted(self._packs[""].members)
            self.packed = self.unreadable = []
            return
        found = sorted(walk(root, skip))
        self.packed = [name for name in found if name.lower().endswith(ARCHIVES)]
        self.unreadable = [name for name in found if name.lower().endswith(UNREADABLE)]
        self.names = [name for name in found if not name.lower().endswith(ARCHIVES)]
        if archives:
            unpacked = {_base(name) for name in self.names}
            for name in self.packed:
                pack = _Pack(root / name)
                if _share(pack.members, unpacked) < 0.9:
                    self._packs[f"{name}/"] = pack
                    self.names += [f"{name}/{member}" for member in pack.members]
            self.names.sort()

    def where(self, name: str) -> str:
        """The file's full path for messages; a member's path goes on behind that of its archive."""
        return f"{self.root}{os.sep}{name}"

    def archive(self, name: str) -> Path | None:
        """The archive that holds the file, None where it lies unpacked."""
        pack, _ = self._member(name)
        return pack.path if pack else None

    def table(self, name: str) -> TableFile:
        """The file as a table or text."""
        pack, member = self._member(name)
        return TableFile(pack.path, pack.members[member]) if pack else TableFile(self.root / name)

    @contextmanager
    def reading(self, names: Sequence[str]) -> Iterator[Callable[[str], bytes]]:
        """A function from any of `names` to the file's bytes, for use in several threads.

        Members of tar archives are unpacked beside the cache first and removed at the end.
        """
        with ExitStack() as stack:
            readers = {}
            for mount, pack in self._packs.items():
                wanted = [name[len(mount) :] for name in names if name.startswith(mount)]
                if wanted:
                    readers[pack.path] = stack.enter_context(pack.reading(wanted))

            def read(name: str) -> bytes:
                pack, member = self._member(name)
                return readers[pack.path](member) if pack else read_file(self.where(name))

            yield read

    def _member(self, name: str) -> tuple[_Pack | None, str]:
        for mount, pack in self._packs.items():
            if name.startswith(mount):
                return pack, name[len(mount) :]
        return None, name


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _share(members: Collection[str], known: set[str]) -> float:
    """Share of the members whose own names are known, from at most 1,000 of them."""
    some = [_base(member) for member in itertools.islice(members, 1000)]
    return sum(name in known for name in some) / max(1, len(some))


class _Pack:
    """An archive: `members` maps clean names to names as stored."""

    def __init__(self, path: Path):
        self.path = path
        self.zip = path.name.lower().endswith(".zip")
        if not path.name.lower().endswith(ARCHIVES):
            raise ArchiveError(path, f"is neither a folder nor an archive ({', '.join(ARCHIVES)}).")
        with _explained(path):
            self.members = dict(self._zip_members() if self.zip else self._tar_members())

    def _zip_members(self):
        with zipfile.ZipFile(self.path) as archive:
            for info in archive.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)
                clean = self._clean(info.filename, link=kind == stat.S_IFLNK)
                if info.is_dir() or is_junk(clean):
                    continue
                if info.flag_bits & 1:
                    raise ArchiveError(self.path, "is encrypted. Unpack it with the password that came with it.")
                yield clean, info.filename

    def _tar_members(self):
        with tarfile.open(self.path) as archive:
            for info in archive:
                clean = self._clean(info.name, link=not (info.isfile() or info.isdir()))
                if info.isfile() and not is_junk(clean):
                    yield clean, info.name

    def _clean(self, name: str, link: bool) -> str:
        """The name with single slashes. Errors: DataError where it leads out of the archive or is a link."""
        parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
        outside = name.startswith(("/", "\\")) or ".." in parts or (parts and parts[0].endswith(":"))
        if outside or link:
            what = "is a link" if link and not outside else "points outside the folder"
            raise ArchiveError(
                self.path,
                f"holds {name!r}, which {what}. Such an archive is not read. "
                "Fetch the data set again from its publisher.",
            )
        return "/".join(parts)

    @contextmanager
    def reading(self, wanted: Collection[str]) -> Iterator[Callable[[str], bytes]]:
        """A function from a member's name to its bytes."""
        with ExitStack() as stack:
            with _explained(self.path):
                if self.zip:
                    archive = stack.enter_context(zipfile.ZipFile(self.path))
                else:
                    folder = self._unpack(set(wanted), stack)
            if self.zip:
                yield lambda member: self._read_zip(archive, member)
            else:
                yield lambda member: read_file(str(folder / member))

    def _read_zip(self, archive: zipfile.ZipFile, member: str) -> bytes:
        info = archive.getinfo(self.members[member])
        if info.file_size > _LARGEST:
            raise ValueError(f"is far too large for an image ({info.file_size:,} bytes)")
        try:
            return archive.read(info)
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError) as error:
            raise ValueError(f"is damaged in its archive ({error})") from None

    def _unpack(self, wanted: set[str], stack: ExitStack) -> Path:
        """The wanted members of a tar archive in a folder of their own, which goes when the stack is closed."""
        cache = paths.cache() / "data"
        try:
            cache.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=".building-", dir=cache))
        except OSError as error:
            raise _no_room(self.path, cache, error) from error
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stored = {self.members[member]: member for member in wanted}
        with tarfile.open(self.path) as archive:
            for info in archive:
                if info.isfile() and info.name in stored:
                    _unpack_one(archive, info, folder / PurePosixPath(stored[info.name]))
        return folder


def _unpack_one(archive: tarfile.TarFile, info: tarfile.TarInfo, target: Path) -> None:
    if info.size > _LARGEST:
        raise DataError(f"{archive.name} holds {info.name!r} of {info.size:,} bytes, far too large for an image.")
    content = archive.extractfile(info).read()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    except OSError as error:
        raise _no_room(archive.name, target.parent, error) from error


def _no_room(archive: Path | str, folder: Path, error: OSError) -> DataError:
    return DataError(
        f"Cannot unpack {archive} in {folder}: {error.strerror or error}. "
        "Free some space there, or set FER_TEACH_CACHE to a folder on another disk."
    )


@contextmanager
def _explained(path: Path):
    try:
        yield
    except PermissionError as error:
        raise DataError(f"No permission to read {path}. Give yourself read access to it.") from error
    except RuntimeError as error:
        raise ArchiveError(path, f"cannot be read ({error}). Unpack it yourself.") from error
    except _DAMAGE as error:
        raise ArchiveError(path, f"is damaged or cut off ({error}). Download it again.") from error


def read_file(file: str) -> bytes:
    """The bytes of an unpacked file. Errors: OSError; ValueError where it is a pipe or far too large for an image."""
    descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))  # pipes wait
    try:
        status = os.fstat(descriptor)
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise ValueError("is a pipe or a device, not a file")
        if status.st_size > _LARGEST:
            raise ValueError(f"is far too large for an image ({status.st_size:,} bytes)")
        parts = []
        while part := os.read(descriptor, 1 << 20):
            parts.append(part)
    finally:
        os.close(descriptor)
    return b"".join(parts)


def walk(root: Path, skip: Callable[[str], bool] = lambda name: False, pass_over: bool = False) -> Iterator[str]:
    """Relative names of all files below root; folders that links lead to are entered once.

    A link to nowhere or to itself counts as a file. pass_over: leave out folders that may not be read. Errors:
    DataError for such a folder otherwise.
    """
    entered = set()
    waiting = [(str(root), "", 0)]
    while waiting:
        folder, prefix, depth = waiting.pop()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                for entry in entries:
                    if is_junk(entry.name) or (not depth and skip(entry.name)):
                        continue
                    if not _is_folder(entry):
                        yield prefix + entry.name
                    elif depth < _DEEPEST:
                        waiting.append((entry.path, f"{prefix}{entry.name}/", depth + 1))
        except PermissionError as error:
            if pass_over:
                continue
            raise DataError(f"No permission to read {folder}. Give yourself read access to it.") from error


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except PermissionError:
        raise
    except OSError:
        return False

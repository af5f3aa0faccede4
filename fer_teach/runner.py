"""Run chapters: jupytext makes a notebook, papermill executes it, and it leaves a record."""

from __future__ import annotations

import ast
import hashlib
import json
import multiprocessing.connection
import os
import re
import shutil
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from . import chapters, paths, processor
from . import record as records
from .errors import FerTeachError
from .sweep import VARIABLE as KEEP


@dataclass(frozen=True)
class Settings:
    """The parameters of a run: profile, data set name, the user's data folder, seed; more: (name, value) of others."""

    profile: str = "quick"
    data: str = "rendered"
    root: str | None = None
    seed: int = 0
    more: tuple[tuple[str, object], ...] = ()

    def parameters(self) -> dict:
        """What papermill injects after the chapter's parameters cell."""
        common = {"PROFILE": self.profile, "DATA": self.data, "DATA_ROOT": self.root, "SEED": self.seed}
        return common | dict(self.more)


def further(names: list[str], words: list[str]) -> tuple[tuple[str, object], ...]:
    """The `more` of Settings from words NAME=VALUE: parameters that each of the chapters `names` has, besides the four.

    A value that is no Python literal is text; that of a name that ends in _ROOT becomes an absolute path. Raises
    FerTeachError for a word without `=`, for a name that a chapter does not have and for a path that cannot be.
    """
    common, found = set(Settings().parameters()), {}
    for word in words:
        name, equals, text = word.partition("=")
        for chapter in names:
            known = [other for other in chapters.parameters(chapter) if other not in common]
            if not equals or name not in known:
                have = f"has {', '.join(known)}" if known else "has no parameters of its own"
                raise FerTeachError(f"--set {word}: NAME=VALUE is needed, and {chapter} {have}.")
        try:
            found[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            found[name] = str(_absolute(name, text)) if name.endswith("_ROOT") else text
    return tuple(found.items())


def _absolute(name: str, text: str) -> Path:
    try:
        return paths.given(text)
    except ValueError as error:
        raise FerTeachError(f"--set {name}: {error}") from None


def run_all(names: list[str], settings: Settings, out: Path, *, jobs: int = 1, **options) -> list[dict]:
    """Execute chapters, `jobs` at a time, each in a process of its own, and return their records in the order of names.

    The processor's cores are shared out evenly. Two chapters with a core each are done sooner than one after the other
    with two: their networks are small. options: as for `run`. Raises the first FerTeachError, after the chapters that
    had started are done; the others are not started.
    """
    jobs = min(jobs, len(names))
    if jobs <= 1:
        return [run(name, settings, out, **options) for name in names]
    _warm_up(settings)
    options.setdefault("threads", max(1, (os.cpu_count() or 1) // jobs))
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _end_with_parent) as pool:
        started = [pool.submit(run, name, settings, out, **options) for name in names]
        try:
            return [job.result() for job in started]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _end_with_parent() -> None:
    """End this worker when its parent is gone, however that ended: a killed run leaves nothing behind."""

    def watch():
        multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run(
    chapter: str,
    settings: Settings,
    out: Path,
    *,
    force: bool = False,
    keep: Path | None = None,
    threads: int | None = None,
    say=print,
) -> dict:
    """Execute one chapter and return its record.

    out gets CHAPTER.ipynb (executed) and CHAPTER.json (the record). A chapter whose `fingerprint` did not change since
    it was executed there is not executed again, unless force; of two processes one waits. keep: where
    finished cells and checkpoints lie, so that an interrupted run goes on (default: out/kept; force empties that).
    threads: of the processor, that the chapter computes with (default: what OMP_NUM_THREADS says, or all). Raises
    FerTeachError with the failing cell's source, the error and the path of the partial notebook.
    """
    paths.writable(out)
    if keep:
        paths.writable(keep)
    lock = FileLock(out / f".{chapter}.lock")
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        say(f"{chapter}: waiting for another run of it in {out}")
        held = lock.acquire()
    with held:
        return _run(chapter, settings, out, force, keep, threads, say)


def _run(chapter, settings, out, force, keep, threads, say) -> dict:
    notebook, record = out / f"{chapter}.ipynb", out / f"{chapter}.json"
    stamp = out / f".{chapter}.fingerprint"
    print_of = fingerprint(chapter, settings)
    if not force and stamp.is_file() and stamp.read_text() == print_of and notebook.is_file() and record.is_file():
        say(f"{chapter}: unchanged since it was executed ({notebook})")
        return records.read(record)
    stamp.unlink(missing_ok=True)
    record.unlink(missing_ok=True)
    if force and keep is None:
        shutil.rmtree(out / "kept" / chapter, ignore_errors=True)
    _warm_up(settings)
    say(f"{chapter}: executing, profile {settings.profile}, data {settings.data}, seed {settings.seed}")
    start = time.monotonic()
    told = {records.VARIABLE: record.resolve(), KEEP: (keep or out / "kept").resolve()}
    with _environment(**told, **({"OMP_NUM_THREADS": threads} if threads else {})):
        _execute(chapter, settings, notebook, say)
    if not record.is_file():
        raise FerTeachError(f"{chapter} ran to its end and left no record: it never called fer_teach.record.begin().")
    content = records.read(record)
    content["seconds"] = round(time.monotonic() - start, 1)
    records.write(content, record)
    stamp.write_text(print_of)
    say(f"{chapter}: done in {content['seconds']:.0f} s, {len(content['metrics'])} metrics -> {record}")
    return content


def _warm_up(settings: Settings) -> None:
    """Decode the user's data set once, here, where its progress is seen and its errors are the user's."""
    if (settings.data, settings.root) != ("rendered", None):  # the package's own is read in a second, by the kernel
        from . import data

        data.splits(settings.data, root=settings.root)


@contextmanager
def _environment(**values):
    before = {name: os.environ.get(name) for name in values}
    os.environ.update({name: str(value) for name, value in values.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _execute(chapter: str, settings: Settings, notebook: Path, say) -> None:
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    plain = notebook.with_suffix(".input.ipynb")
    plain.write_text(chapters.as_notebook(chapter))
    try:
        papermill.execute_notebook(
            str(plain),
            str(notebook),
            parameters=settings.parameters(),
            kernel_name="python3",
            progress_bar={"desc": chapter},
            log_output=False,
            cwd=str(notebook.parent),
            extra_arguments=["--log-level=ERROR"],  # without ipykernel's notice about its ports, which are local
        )
    except PapermillExecutionError as error:
        raise FerTeachError(
            f"{chapter} failed in cell {error.exec_count}:\n\n{_indent(error.source)}\n\n"
            f"{error.ename}: {error.evalue}\n\nThe notebook up to there: {notebook}"
        ) from None
    except DeadKernelError:
        raise FerTeachError(
            f"{chapter}: its kernel died, for want of memory or in a library's own code (`dmesg` may tell). "
            f"Start the same command again: finished trainings are kept. The notebook up to there: {notebook}"
        ) from None
    finally:
        plain.unlink(missing_ok=True)
    for warning in _tidy(notebook):
        if warning.startswith("Collapse"):  # those about data were said when the data set was decoded
            say(f"{chapter}: {warning}")


def _tidy(notebook: Path) -> list[str]:
    """Drop what a page must not show: papermill's injected cell, and stderr but for this book's own warnings.

    Those become a line of the cell's text each, without the place in the code, and are returned.
    """
    import nbformat

    content, warnings = nbformat.read(notebook, as_version=4), []
    for cell in content.cells:
        if cell.cell_type != "code":
            continue
        said = [o for o in cell.outputs if o.output_type == "stream" and o.name == "stderr"]
        found = list(dict.fromkeys(re.findall(rf"\b((?:{_WARNINGS}): .+)", "".join(o.text for o in said))))
        cell.outputs = [o for o in cell.outputs if o not in said]
        if found:
            cell.outputs.append(nbformat.v4.new_output("stream", name="stdout", text="\n".join(found) + "\n"))
            warnings += found
    content.cells = [c for c in content.cells if "injected-parameters" not in c.metadata.get("tags", [])]
    nbformat.write(content, notebook)
    return warnings


_WARNINGS = "CollapseWarning|DataWarning|CountWarning"


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def fingerprint(chapter: str, settings: Settings) -> str:
    """A hash of all that an execution depends on: chapter, package, lock, results, claims, parameters, user's data,
    versions installed, vector instructions.

    The data by names, sizes and times, wherever the loader would look. Errors: DataError where they are not there.
    """
    machine = records.versions(), processor.allowed()
    digest = hashlib.sha256(json.dumps([asdict(settings), machine], sort_keys=True).encode())
    package = Path(__file__).parent
    own = (p for p in package.rglob("*") if p.suffix in _SOURCES and "_book" not in p.relative_to(package).parts)
    kept = [chapters.source(chapter), *sorted(own)]
    kept += sorted((paths.results() / chapter).glob("*.json")) + sorted(paths.claims().glob("*.json"))
    kept += [paths.root() / "requirements.lock"]
    for path in kept:
        if path.is_file():
            digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    for path in _data_files({**chapters.parameters(chapter), **settings.parameters()}):
        status = os.stat(path) if os.path.exists(path) else None
        digest.update(f"{path} {status and (status.st_size, status.st_mtime_ns)}".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _data_files(parameters: dict) -> list[str]:
    """Every file in the places where the user's data may lie; none for the faces that the package carries.

    Of each data set among the parameters: NAME says which, NAME_ROOT where.
    """
    sets = [(name, parameters[f"{key}_ROOT"]) for key, name in parameters.items() if f"{key}_ROOT" in parameters]
    sets = [(name, root) for name, root in sets if name is not None and (name, root) != ("rendered", None)]
    if not sets:
        return []  # without the time that it takes to import data
    from .data.catalog import entry, places
    from .data.files import walk

    found = set()
    for name, root in sets:
        for place in places(entry(name).name, root):
            if place.is_dir():
                found.update(f"{place}{os.sep}{file}" for file in walk(place, pass_over=True))
            else:
                found.add(str(place))
    return sorted(found)


_SOURCES = {".py", ".json", ".mplstyle", ".npz", ".npy", ".webp", ".css", ".js"}

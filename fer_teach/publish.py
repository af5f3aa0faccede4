"""Executed chapters and the book's own pages, made into a static site by jupyter-book with execution off."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from fer_teach import claims, paths, verdicts
from fer_teach.errors import FerTeachError

_BUILDERS = ("jupyter-book", "Sphinx", "myst-nb", "sphinx-book-theme", "pydata-sphinx-theme", "sphinxcontrib-bibtex")
_STAMP = ".published.json"


def publish(executed: Path, site: Path | None = None, *, force: bool = False) -> Path:
    """Build the pages from executed chapters and return the path of the first one.

    executed: the folder that holds NN_name.ipynb, with outputs, of every chapter in _toc.yml.
    site: the folder that gets the pages, `_build/html` unless told; replaced once the build has succeeded.
    force: build even where no page, chapter, setting or builder has changed since the last time.
    Raises FerTeachError where a chapter has not been executed, where the builder reports a warning or an error, and
    where site holds anything but a book that was published there.
    """
    site = Path(site) if site else paths.build() / "html"
    site = paths.writable(site).resolve()
    own = (site / _STAMP).is_file() or site == (paths.build() / "html").resolve()
    if not own and any(site.iterdir()):
        raise FerTeachError(f"{site} holds something else than a published book. Give an empty or a new folder.")
    stage = paths.writable(paths.build()) / "stage"
    _stage(Path(executed), stage)
    stamp = {"inputs": _fingerprint(stage)}
    index = site / "index.html"
    if not force and index.is_file() and _read(site / _STAMP) == stamp:
        print(f"Nothing has changed; the book is at {index}")
        return index
    print(f"Publishing {len(pages())} pages ...", flush=True)
    built = _build(stage, paths.build() / "sphinx")
    (built / _STAMP).write_text(json.dumps(stamp))
    shutil.rmtree(site, ignore_errors=True)
    site.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(built, site)
    print(f"The book is at {index}")
    return index


def chapters() -> list[str]:
    """Names of the chapters that _toc.yml lists, in its order: ["01_deep_emotion", ...]."""
    return [Path(name).name for name in pages() if name.startswith("notebooks/")]


def pages() -> list[str]:
    """Every page that _toc.yml lists, the title page first, as paths without an ending."""
    return list(_files(yaml.safe_load((_sources() / "_toc.yml").read_text())))


def repository() -> tuple[str, str]:
    """Address and branch of the repository, as _config.yml states them."""
    setting = yaml.safe_load((_sources() / "_config.yml").read_text())["repository"]
    return setting["url"], setting["branch"]


def _sources() -> Path:
    root = paths.root()
    if not (root / "_toc.yml").is_file():
        raise FerTeachError(f"the book's pages are not in {root}; publish from a checkout of the repository")
    return root


def _stage(executed: Path, stage: Path) -> None:
    """Lay out beside each other what the builder reads: pages, settings with execution off, executed chapters."""
    missing = [name for name in chapters() if not (executed / f"{name}.ipynb").is_file()]
    if missing:
        names = ", ".join(missing)
        raise FerTeachError(f"not executed yet: {names} (looked in {executed}); run: fer-teach run {' '.join(missing)}")
    root = _sources()
    shutil.rmtree(stage, ignore_errors=True)
    shutil.copytree(root / "book", stage / "book", ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    pictures_alone = shutil.ignore_patterns("*.py", "*.ipynb", "__pycache__", ".ipynb_checkpoints")
    shutil.copytree(root / "notebooks", stage / "notebooks", ignore=pictures_alone)
    for name in chapters():
        shutil.copyfile(executed / f"{name}.ipynb", stage / "notebooks" / f"{name}.ipynb")
    config = yaml.safe_load((root / "_config.yml").read_text())
    config["execute"]["execute_notebooks"] = "off"
    config["exclude_patterns"] = []
    (stage / "_config.yml").write_text(yaml.safe_dump(config, sort_keys=False))
    (stage / "book" / "claims.md").write_text(claims.page())
    (stage / "book" / "verdicts.md").write_text(verdicts.page())
    # The title page becomes index.html itself, not a page that index.html sends the reader to.
    toc = yaml.safe_load((root / "_toc.yml").read_text())
    (stage / toc["root"]).with_suffix(".md").rename(stage / "index.md")
    toc["root"] = "index"
    (stage / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False))


def _build(stage: Path, scratch: Path) -> Path:
    """Run the builder from nothing, so that a page with a warning cannot pass unread the second time."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    run = "from jupyter_book.cli.main import main; main()"
    options = ["build", str(stage), "--path-output", str(scratch), "-W", "-n", "--keep-going"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "ignore", "PYTHONUNBUFFERED": "1"}
    status, said = _follow([sys.executable, "-c", run, *options], environment)
    built = scratch / "_build" / "html"
    if status or not (built / "index.html").is_file():
        raise FerTeachError("jupyter-book could not publish the book:\n" + "\n".join(said))
    return built


def _follow(command: list[str], environment: dict[str, str]) -> tuple[int, list[str]]:
    """Run the builder, show how far it is with the pages, and return its exit status and what it said besides."""
    said = []
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, env=environment, text=True, errors="replace", **pipes) as running:
        for line in running.stdout:
            line = _COLOUR.sub("", line).rstrip()
            if _SHOWN.match(line):
                print(line, flush=True)
            elif line and not _COUNTER.match(line):
                said.append(line)
    return running.returncode, said


_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_COUNTER = re.compile(r"[a-z ]+\.\.\. *\[ *\d+%\]")
_SHOWN = re.compile(r"(reading sources|writing output)\.\.\. *\[|making the site light")


def _files(toc: dict) -> Iterator[str]:
    """Every page that a table of contents names, its root first."""
    yield toc["root"]
    pending = [toc]
    while pending:
        entry = pending.pop(0)
        for child in [*entry.get("parts", []), *entry.get("chapters", []), *entry.get("sections", [])]:
            if "file" in child:
                yield child["file"]
            pending.append(child)


def _fingerprint(stage: Path) -> str:
    """Hash of every staged file's path and contents and of the builders' versions."""
    digest = hashlib.sha256(repr([(name, importlib.metadata.version(name)) for name in _BUILDERS]).encode())
    for path in sorted(path for path in stage.rglob("*") if path.is_file()):
        digest.update(path.relative_to(stage).as_posix().encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _read(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None

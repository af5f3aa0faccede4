"""Tables as grids of independent cells, each run once.

A cell is a function of plain parameters that returns a dict of metrics. Its outcome is kept under a key made of the
parameters, the code behind it and the data, so a sweep that was stopped goes on where it was, a finished one costs
nothing, and two processes that run the same sweep share its cells if they run with the same number of threads and
the same vector instructions.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import itertools
import json
import os
import textwrap
import time
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path

from filelock import FileLock, Timeout

from . import chapters, paths, processor
from . import record as records

VARIABLE = "FER_TEACH_KEEP"
_LIBRARIES = ("torch", "torchvision", "numpy", "lightning", "opencv-contrib-python", "dlib-bin")
_CELL_CODE = (
    "training.py",
    "loop.py",
    "augment.py",
    "devices.py",
    "evaluation.py",
    "harder.py",
    "landmarks.py",
    "frozen.py",
    "hardfaces.py",
    "parts.py",
    "pose.py",
    "faces/head.py",
    "faces/occluders.py",
    "faces/person.py",
    "data/dataset.py",
    "kernels.py",
    "paired.py",
    "contrasts.py",
)  # what a cell computes with


def sweep(grid, cell, *, name: str | None = None):
    """Run the cells of a grid that have no outcome yet; return a pandas frame, one row a cell, in the grid's order.

    grid: dict parameter -> list of values (their product is run), or a list of dicts. Values are plain (they are
    written as JSON). cell(**parameters) -> dict of metrics. name: the table's name, by default the cell's. Columns: the
    parameters, the metrics, `seconds`. Needs `record.begin` before: chapter, profile and data are part of each key.
    Whatever else the cell depends on must be a parameter or a definition in a method cell.
    """
    import pandas as pd
    from tqdm.auto import tqdm

    rows = expand(grid)
    chapter = records.current()["chapter"]
    folder = _kept() / "cells" / (name or cell.__name__)
    code = _code_key(chapter, cell)
    files = [folder / f"{_key(code, parameters)}.json" for parameters in rows]
    records.reuse(*files)
    pending = [pair for pair in zip(rows, files, strict=True) if not pair[1].is_file()]
    bar = tqdm(total=len(rows), initial=len(rows) - len(pending), desc=name or cell.__name__, leave=False)
    with bar:
        elsewhere = []
        for parameters, path in pending:
            with _claim(path, wait=False) as mine:
                if mine:
                    _run(cell, parameters, path)
                    bar.update()
                else:
                    elsewhere.append((parameters, path))
        for parameters, path in elsewhere:
            with _claim(path, wait=True):
                _run(cell, parameters, path)
                bar.update()
    outcomes = [json.loads(path.read_text()) for path in files]
    return pd.DataFrame([{**o["parameters"], **o["metrics"], "seconds": o["seconds"]} for o in outcomes])


def keep(function, **parameters) -> Path:
    """A folder for what `function(**parameters)` leaves, checkpoints say; the same content, the same folder."""
    folder = _kept() / "fits" / _key(_code_key(records.current()["chapter"], function), parameters)
    records.reuse(folder / "checkpoint.ckpt")
    return folder


def _kept() -> Path:
    """Where outcomes are kept: the runner says it, so that runs into different folders share nothing."""
    return Path(os.environ.get(VARIABLE, paths.build() / "kept")) / records.current()["chapter"]


def expand(grid) -> list[dict]:
    """The cells of a grid: the product of a dict of lists, or the list itself."""
    if isinstance(grid, dict):
        return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    return [dict(row) for row in grid]


def _run(cell, parameters: dict, path: Path) -> None:
    if path.is_file():  # another process was quicker
        return
    start = time.monotonic()
    metrics = {key: records.plain(value) for key, value in cell(**parameters).items()}
    seconds = round(time.monotonic() - start, 1)
    records.write({"parameters": parameters, "metrics": metrics, "seconds": seconds}, path)


@contextmanager
def _claim(path: Path, wait: bool):
    """Hold a cell's lock; the system lets it go when a process dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _code_key(chapter: str, cell) -> dict:
    import torch

    tree = ast.parse(textwrap.dedent(inspect.getsource(cell)))
    return {
        "cell": chapters.behaviour(tree),
        "method": chapters.method_hash(chapter, chapters.used_names(tree)),
        "package": _package_key(),
        "data": [records.current()["data"]["hash"], records.knowledge(), _packed_faces()],
        "profile": records.current()["profile"],
        "threads": torch.get_num_threads(),  # the last digits depend on it, and on the kernels
        "kernels": processor.allowed(),
        "versions": {name: _version(name) for name in _LIBRARIES},
    }


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:  # installed under another name
        return None


@cache
def _packed_faces() -> str:
    """Of the rendered faces in the package, from which some chapters learn first, whatever the run's data."""
    from .data.rendered import SPLITS, file_of

    return hashlib.sha256(b"".join(file_of(split).read_bytes() for split in SPLITS)).hexdigest()[:16]


@cache
def _package_key() -> str:
    """Of the package's code, read once: what is written to its files later, this process does not run."""
    package = Path(__file__).parent
    code = "".join(chapters.behaviour(ast.parse((package / file).read_text())) for file in _CELL_CODE)
    return hashlib.sha256(code.encode()).hexdigest()


def _key(code: dict, parameters: dict) -> str:
    content = json.dumps([code, parameters], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]

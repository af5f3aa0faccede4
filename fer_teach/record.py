"""Records: what one run of one chapter measured, as JSON.

A chapter calls `begin` once, then `record` and `table`. The record is written after every call, so that a run that
breaks off leaves what it had. Where it is written is the runner's affair (environment variable FER_TEACH_RECORD);
without it, in Colab say, the record stays in memory and `current()` shows it.
"""

from __future__ import annotations

import csv
import datetime
import json
import math
import numbers
import os
import platform
import subprocess
import time
from importlib import metadata, resources
from pathlib import Path

from . import paths, processor
from .errors import FerTeachError

VARIABLE = "FER_TEACH_RECORD"
TIME_FIELDS = ("date", "seconds", "reused", "reused_seconds", "revision")
_PACKAGES = ("fer_teach", "torch", "torchvision", "numpy", "opencv-contrib-python", "lightning", "scikit-image")
_state: dict = {}


def begin(chapter: str, profile: str, data: dict, seed: int) -> None:
    """Start the record of this run.

    chapter: such as "01_deep_emotion"; profile: "quick", "full" or "paper"; data: split -> FaceDataset;
    seed: the run's seed. Anything recorded before in this process is dropped.
    """
    from .data import rendered

    splits = list(data.values())
    _state.clear()
    _state.update(
        started=time.monotonic(),
        begun=time.time(),
        reused={},
        knowledge=_joined(getattr(dataset, "knowledge", "") for dataset in splits),
        record={
            "schema": 1,
            "chapter": chapter,
            "profile": profile,
            "data": {
                "name": splits[0].name,
                "counts": {split: len(dataset) for split, dataset in data.items()},
                "hash": _joined(dataset.fingerprint for dataset in splits),
                "edition": rendered.edition(),
            },
            "seed": int(seed),
            "versions": versions(),
            "device": device(),
            "revision": revision(),
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "seconds": 0.0,
            "reused": 0,
            "reused_seconds": 0.0,
            "metrics": {},
            "tables": {},
        },
    )
    _write()


def record(*, n: int | None = None, interval: tuple[float, float] | None = None, **metrics: float) -> None:
    """State numbers of this run: `record(accuracy=0.71, n=1200, interval=(0.68, 0.74))`.

    n: how many cases stand behind each value; interval: its 95 % interval. Values must be finite. Under the runner a
    name that was recorded before raises FerTeachError, since a page must not say two things under one name; by hand a
    cell may be run again.
    """
    held = current()["metrics"]
    for name, value in metrics.items():
        if name in held and VARIABLE in os.environ:
            raise FerTeachError(f"The metric {name!r} was recorded before in this run.")
        bounds = None if interval is None else [_number(name, bound) for bound in interval]
        held[name] = {"value": _number(name, value), "n": None if n is None else int(n), "interval": bounds}
    _write()


def record_rate(name: str, values, n: int) -> None:
    """State under `name` the mean over seeds of a share of n images, with the interval of `evaluation.rate`.

    values: one share in [0, 1] a seed.
    """
    from .evaluation import rate  # brings torch, which the runner does without

    mean, *bounds = rate(values, n)
    record(**{name: mean}, n=n, interval=bounds)


def record_mean(name: str, values, n: int) -> None:
    """State under `name` the mean over seeds of a number measured on n cases, or on n seeds, with its t interval.

    values: one finite number a seed, such as a difference of paired trainings; one seed alone has no interval.
    """
    from .evaluation import seed_interval

    mean, *bounds = seed_interval(values)
    record(**{name: mean}, n=n, interval=bounds if len(values) > 1 else None)


def table(name: str, rows) -> None:
    """State a table of this run: rows is a list of dicts or a pandas frame, with plain values."""
    if hasattr(rows, "to_dict"):
        rows = rows.to_dict(orient="records")
    current()["tables"][name] = [{column: plain(value) for column, value in row.items()} for row in rows]
    _write()


def reuse(*files: Path) -> None:
    """Count those outcomes that an earlier run left, and the time in which they were made, not held in `seconds`.

    files: cells of a sweep, which say their seconds, and checkpoints of trainings, whose history.csv says them. Time in
    which two were made, such as a cell and the training in it, counts once.
    """
    held = _state["reused"]
    for file in files:
        if file not in held and file.is_file() and file.stat().st_mtime < _state["begun"]:
            held[file] = file.stat().st_mtime, _seconds(file)
    total, until = 0.0, -math.inf
    for end, seconds in sorted(held.values(), key=lambda made: made[0] - made[1]):
        total, until = total + max(0.0, end - max(until, end - seconds)), max(until, end)
    current().update(reused=len(held), reused_seconds=round(total, 1))
    _write()


def _seconds(outcome: Path) -> float:
    """How long a cell or a training took; 0 where a training was stopped before it could say so."""
    if outcome.suffix == ".json":
        return json.loads(outcome.read_text())["seconds"]
    history = outcome.with_name("history.csv")
    if not history.is_file():
        return 0.0
    with open(history, newline="", encoding="utf-8") as file:
        return sum(float(row["seconds"]) for row in csv.DictReader(file))


def current() -> dict:
    """The record so far; raises FerTeachError before `begin`."""
    if not _state:
        raise FerTeachError("No record was begun. Run the chapter from its first cell, which calls begin().")
    return _state["record"]


def knowledge() -> str:
    """16 hex digits of what the run's data sets know beside images and labels, which `data.hash` does not hold."""
    current()
    return _state["knowledge"]


def _joined(digests) -> str:
    """16 hex digits of several, in order."""
    import hashlib

    return hashlib.sha256("".join(digests).encode()).hexdigest()[:16]


def _number(name: str, value) -> float:
    value = value.item() if hasattr(value, "item") else value
    if not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise FerTeachError(f"The metric {name!r} is {value!r}, which is no finite number.")
    return float(value)


def plain(value):
    """A value as JSON can hold it: tensors and numpy scalars become numbers, tuples lists, NaN None."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return list(map(plain, value)) if isinstance(value, tuple | list) else value


def _write() -> None:
    target = os.environ.get(VARIABLE)
    if not target:
        return
    _state["record"]["seconds"] = round(time.monotonic() - _state["started"], 1)
    write(_state["record"], Path(target))


def write(content: dict, path: Path) -> None:
    """Write a record or baseline atomically, with sorted keys, so that a diff of two shows numbers alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    part.replace(path)


def read(path: Path) -> dict:
    """Read a record and check it against the schema; FerTeachError says what is wrong in which file."""
    import jsonschema

    try:
        content = json.loads(Path(path).read_text())
        jsonschema.validate(content, schema("record"))
    except FileNotFoundError:
        raise FerTeachError(f"There is no record at {path}.") from None
    except (json.JSONDecodeError, jsonschema.ValidationError) as error:
        raise FerTeachError(f"{path} is no record: {str(error).splitlines()[0]}") from None
    return content


def schema(name: str) -> dict:
    """The JSON schema of that name ("record", "claims")."""
    return json.loads((resources.files("fer_teach") / "schemas" / f"{name}.json").read_text())


def result(chapter: str, profile: str, data: str) -> dict | None:
    """The committed record of a full or paper run, or None where there is none yet."""
    path = paths.results() / chapter / f"{profile}-{data}.json"
    return read(path) if path.is_file() else None


EARLIER = "an earlier edition of the faces"  # what a page says of a record that is superseded


def superseded(held: dict) -> bool:
    """Whether a record used rendered faces, alone or beside others, that look different now (see `data.edition`)."""
    from .data import rendered

    of = held["data"]
    used = of["name"] == "rendered" or any(split.startswith("rendered") for split in of["counts"])
    return used and of.get("edition") != rendered.edition()


def versions() -> dict[str, str]:
    """Versions of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def device() -> dict:
    """What the numbers were computed on: kind, processor, vector instructions, threads."""
    import torch

    return {
        "kind": "cuda" if torch.cuda.is_available() else "cpu",
        "processor": torch.cuda.get_device_name() if torch.cuda.is_available() else processor.model(),
        "instructions": " ".join(processor.instructions()) or torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
    }


def revision() -> str:
    """The git revision, with "+" where the tree had changes; "unknown" outside a checkout."""
    if not paths.in_checkout():
        return "unknown"
    git = ["git", "-C", str(paths.root())]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        dirty = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")

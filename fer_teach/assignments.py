"""Hand out a chapter without its solutions, and grade what comes back.

A student's functions run in a process of their own with a time limit, in the namespace of the chapter's method cells.
That keeps an endless loop from stopping the rest; it is no protection against code that means harm. Grade strangers'
notebooks in a container.
"""

from __future__ import annotations

import ast
import contextlib
import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from . import chapters
from .errors import FerTeachError

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
STUB = 'raise NotImplementedError("yours to write")'
MISSING, SLOW = "not handed in", "took longer than {} seconds"


class Exercise(NamedTuple):
    """A function to write, and the statement of the chapter that checks it."""

    name: str
    statement: str


class Mark(NamedTuple):
    """What became of one exercise of one notebook. message: the check's own words, or the error; "" where right."""

    notebook: str
    chapter: str
    exercise: str
    right: bool
    message: str


def exercises(chapter: str) -> list[Exercise]:
    """The exercises of a chapter that have a function and a check, in order. Raises FerTeachError for no chapter."""
    code = [c for c in chapters.cells(chapter) if c.cell_type == "code"]
    tagged = [(c.metadata.get("tags", []), ast.parse(c.source).body) for c in code]
    functions = (node for tags, body in tagged if "exercise" in tags for node in body)
    asked = {node.name for node in functions if isinstance(node, ast.FunctionDef)}
    found = []
    for node in (node for tags, body in tagged if "check" in tags for node in body):
        call = node.value if isinstance(node, ast.Expr) else None
        if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("checks."):
            found += [Exercise(a.id, ast.unparse(node)) for a in call.args if isinstance(a, ast.Name) and a.id in asked]
    return found


def without_solutions(source: str) -> str:
    """A cell's text with each solution replaced by an error that says whose it is to write."""
    kept, inside = [], False
    for line in source.splitlines():
        if line.strip() == BEGIN:
            kept.append(line[: line.index(BEGIN)] + STUB)
        inside = line.strip() == BEGIN or inside
        kept += [] if inside else [line]
        inside = inside and line.strip() != END
    return "\n".join(kept)


def handout(chapter: str, folder: Path) -> Path:
    """Write CHAPTER.ipynb without solutions into a folder, and return where it lies."""
    notebook = json.loads(chapters.as_notebook(chapter))
    for cell in notebook["cells"]:
        cell["source"] = without_solutions("".join(cell["source"]))
    path = folder / f"{chapter}.ipynb"
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")
    return path


def grade(path: Path, seconds: float = 60) -> list[Mark]:
    """The marks of one notebook that came back: one for each exercise of its chapter.

    The chapter is the one whose exercises it holds. seconds: how long all checks of a notebook may take; the one that
    is running then counts as too slow, and the others go on. Raises FerTeachError for a file that is no notebook and
    for a notebook without any of the book's exercises.
    """
    sources = _sources(path)
    book = {chapter: exercises(chapter) for chapter in chapters.names()}
    answers = {chapter: _answers(sources, asked) for chapter, asked in book.items()}
    chapter = max(answers, key=lambda name: len(answers[name]))
    asked, given = book[chapter], answers[chapter]
    if not given:
        raise FerTeachError(f"{path}: none of the book's exercises is in this notebook.")
    marks = {e.name: (False, MISSING) for e in asked if e.name not in given}
    while waiting := [e for e in asked if e.name not in marks]:
        marks |= _checked(chapter, [(given[e.name], *e) for e in waiting], seconds)
    return [Mark(path.name, chapter, e.name, *marks[e.name]) for e in asked]


def write_marks(marks: list[Mark], path: Path) -> None:
    """The marks as a table of comma-separated values, a row an exercise."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(Mark._fields)
        table.writerows([*mark[:3], int(mark.right), mark.message] for mark in marks)


def _sources(path: Path) -> list[str]:
    """The text of a notebook's code cells."""
    try:
        cells = json.loads(path.read_text())["cells"]
        return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except OSError as error:
        raise FerTeachError(f"{path}: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError):
        raise FerTeachError(f"{path} is no notebook (.ipynb).") from None


def _answers(sources: list[str], asked: list[Exercise]) -> dict[str, str]:
    """Exercise's name -> the last cell that defines its function, or that tries to and cannot be read."""
    found = {}
    for source in sources:
        found |= {e.name: source for e in asked if f"def {e.name}(" in source}
    return found


def _checked(chapter: str, tasks: list[tuple[str, str, str]], seconds: float) -> dict[str, tuple[bool, str]]:
    """Run the checks of (cell, name, statement) in one process: name -> (right, message). At least one comes back."""
    command = [sys.executable, "-m", __name__, chapter]
    try:
        done = subprocess.run(command, input=json.dumps(tasks), capture_output=True, text=True, timeout=seconds)
        told, ending = done.stdout, done.stderr.strip().rpartition("\n")[2] or f"ended with {done.returncode}"
    except subprocess.TimeoutExpired as error:
        told, ending = (error.stdout or b"").decode(), SLOW.format(f"{seconds:g}")
    lines = [json.loads(line) for line in told.splitlines() if line.startswith('["')]
    marks = {name: (right, message) for name, right, message in lines}
    unfinished = [name for _, name, _ in tasks if name not in marks]
    return marks | ({unfinished[0]: (False, ending)} if unfinished else {})


def check(chapter: str, source: str, statement: str) -> tuple[bool, str]:
    """Run a cell with an exercise's function and the statement that checks it, here: (right, message)."""
    from . import checks

    space = {**vars(chapters.load(chapter)), "checks": checks}
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(source, "<exercise>", "exec"), space)
            exec(compile(statement, "<check>", "exec"), space)
    except (checks.Wrong, NotImplementedError) as error:
        return False, str(error) or "not written"
    except Exception as error:  # whatever a student's code may raise
        return False, f"{type(error).__name__}: {error}"
    return True, ""


def _main() -> None:
    """Read tasks from the standard input; print a JSON line for each, as soon as it is done."""
    for source, name, statement in json.load(sys.stdin):
        print(json.dumps([name, *check(sys.argv[1], source, statement)]), flush=True)


if __name__ == "__main__":
    _main()

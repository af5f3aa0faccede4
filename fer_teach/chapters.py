"""Chapters as code: find them, and run a chapter's method cells alone as a module."""

from __future__ import annotations

import ast
import hashlib
import linecache
import sys
import types
from functools import cache
from pathlib import Path

from . import paths
from .errors import FerTeachError

KERNELSPEC = {"name": "python3", "display_name": "Python 3", "language": "python"}


def names() -> list[str]:
    """The chapters that exist, in reading order."""
    return sorted(path.stem for path in paths.notebooks().glob("[0-9][0-9]_*.py"))


def source(name: str) -> Path:
    """The chapter's .py; raises FerTeachError that lists the chapters where there is none of this name."""
    found = paths.notebooks() / f"{name}.py"
    if name not in names():
        raise FerTeachError(f"There is no chapter {name!r}. Chapters: {', '.join(names()) or 'none'}.")
    return found


def cells(name: str) -> list:
    """The chapter's cells as jupytext reads them (nbformat cells)."""
    return _read(source(name)).cells


@cache
def _read(path: Path):
    import jupytext

    return jupytext.read(path)


def parameters(name: str) -> dict[str, object]:
    """Names and values of the chapter's cell tagged `parameters`, in order."""
    tagged = (c.source for c in cells(name) if "parameters" in c.metadata.get("tags", []))
    return {node.targets[0].id: ast.literal_eval(node.value) for text in tagged for node in ast.parse(text).body}


def method_code(name: str) -> str:
    """The text of the cells tagged `method`, in order."""
    return "\n\n".join(c.source for c in cells(name) if "method" in c.metadata.get("tags", []))


def method_hash(name: str, roots: set[str] | None = None) -> str:
    """16 hex digits of what the method cells do: docstrings, comments and layout do not count.

    roots: names; then only these definitions count, and those that they use, directly or through others. So a long
    training stays valid when a drawing function beside it changes. What a reader changes in a notebook counts too.
    """
    body = ast.parse(method_code(name)).body + edited(name)
    kept = body if roots is None else _reached(body, set(roots))
    return hashlib.sha256("\n".join(behaviour(node) for node in kept).encode()).hexdigest()[:16]


def edited(name: str) -> list[ast.stmt]:
    """The definitions of method cells that this notebook session has changed, as they stand there; none elsewhere."""
    known = {word for node in _statements(method_code(name)) for word in _defined(node)}
    printed = {behaviour(node) for c in cells(name) if c.cell_type == "code" for node in _statements(c.source)}
    last = {}
    for text in getattr(sys.modules.get("__main__"), "In", ()):  # IPython's list of the cells that were run
        for node in _statements(text):
            last |= dict.fromkeys(known & set(_defined(node)), node)
    return [last[word] for word in sorted(last) if behaviour(last[word]) not in printed]


def _statements(code: str) -> list[ast.stmt]:
    try:
        return ast.parse(code).body
    except SyntaxError:  # a cell with a magic command
        return []


def behaviour(tree: ast.AST) -> str:
    """A dump of the code without docstrings: equal for two texts that do the same, word for word."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            node.body = body[1:] or [ast.Pass()]
    return ast.dump(tree)


def used_names(tree: ast.AST) -> set[str]:
    """Every plain name that the code reads."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _reached(body: list[ast.stmt], wanted: set[str]) -> list[ast.stmt]:
    definers: dict[str, list[ast.stmt]] = {}
    for node in body:
        for name in _defined(node):
            definers.setdefault(name, []).append(node)
    reached, queue = set(), list(wanted)
    while queue:
        name = queue.pop()
        if name in definers and name not in reached:
            reached.add(name)
            queue += [used for node in definers[name] for used in used_names(node)]
    return [node for node in body if reached & set(_defined(node))]


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Assign):
        return [leaf.id for target in node.targets for leaf in ast.walk(target) if isinstance(leaf, ast.Name)]
    if isinstance(node, ast.AnnAssign):
        return [node.target.id]
    return [node.name] if hasattr(node, "name") else []


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def load(name: str) -> types.ModuleType:
    """Run the method cells of a chapter and return them as a module.

    name: such as "01_deep_emotion". The rest of the chapter does not run. Loading twice gives the same module unless
    the cells changed. A method cell that is not import, constant, class or function raises FerTeachError.
    """
    code = method_code(name)
    if not code:
        raise FerTeachError(f"{source(name).name} has no cell tagged 'method'.")
    full_name = f"fer_teach.chapters.{name}"
    known = sys.modules.get(full_name)
    if known is not None and known.__dict__.get("__code__") == code:
        return known
    tree = ast.parse(code)
    for node in tree.body:
        if not isinstance(node, _ALLOWED) and not _is_text(node):
            raise FerTeachError(f"{source(name).name}: a method cell runs something: {ast.unparse(node)[:80]!r}")
    module = types.ModuleType(full_name, f"Method cells of {name}.")
    module.__dict__.update(__file__=str(source(name)), __code__=code)
    sys.modules[full_name] = module
    filename = f"<method cells of {name}>"
    linecache.cache[filename] = (len(code), None, code.splitlines(keepends=True), filename)  # tracebacks show lines
    exec(compile(tree, filename, "exec"), module.__dict__)
    return module


_ALLOWED = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def as_notebook(name: str) -> str:
    """The chapter as .ipynb text without outputs, the form that Colab opens; the same text every time."""
    import jupytext

    notebook = jupytext.read(source(name))
    notebook.metadata["kernelspec"] = KERNELSPEC
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"{name[:2]}-{number:03d}"
    return jupytext.writes(notebook, fmt="ipynb")


def write_notebooks(check: bool = False) -> list[Path]:
    """Write CHAPTER.ipynb beside each CHAPTER.py where it differs; return those that differed. check: write nothing."""
    stale = []
    for name in names():
        target, text = source(name).with_suffix(".ipynb"), as_notebook(name)
        if not target.is_file() or target.read_text() != text:
            stale.append(target)
            if not check:
                target.write_text(text)
    return stale

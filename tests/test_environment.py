"""`make env` where Python lacks ensurepip, pip or both; a fake Python plays that, so nothing is installed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parent.parent
# What this Python can do stands in $CAN; it writes what it was asked into $ASKED.
PYTHON = r"""#!/bin/bash
echo "python $*" >> "$ASKED"
case "$*" in scripts/check_env.py) exit "${CHECK:-0}" ;; esac
can() { [[ " $CAN " == *" $1 "* ]]; }
environment() { mkdir -p "$1/bin" && cp "$0" "$1/bin/python" && touch "$1/bin/pip-is-here"; }
case "$*" in
  *"import sys; print("*) echo python3.12-venv ;;
  -c*) ;;
  "-m venv "*)
      if can ensurepip || [ -f "$ASKED.package" ]; then environment "$3"; exit; fi
      mkdir -p "$3/bin"; cp "$0" "$3/bin/python";
      echo "ensurepip is not available"; echo "Failing command: $0"; exit 1 ;;
  "-m pip --version") [ -f "$(dirname "$0")/pip-is-here" ] ;;
  "-m pip install"*"--target"*) can pip || { echo "No module named pip" >&2; exit 1; }; mkdir -p "${*: -2:1}" ;;
  "-m virtualenv"*) [ -d "$PYTHONPATH" ] && environment "${@: -1}" ;;
  "-m pip install -r"*) echo "Requirement already satisfied: torch"; echo "Collecting numpy"
      can install || { echo "ERROR: no space left"; exit 1; } ;;
esac
"""
ID = '#!/bin/bash\necho "$USER_ID"\n'
APT = '#!/bin/bash\necho "apt-get $*" >> "$ASKED"\nif [ "$1" = install ]; then touch "$ASKED.package"; fi\n'


@pytest.fixture
def make(tmp_path):
    """make(what this Python can do, user) -> the finished `make env`, what was asked for."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "tools").mkdir()
    for name in (
        "Makefile",
        "scripts/make_venv.sh",
        "scripts/check_env.py",
        "scripts/system_libraries.py",
        "requirements.lock",
        "pyproject.toml",
    ):
        (tmp_path / name).write_text((ROOT / name).read_text())
    for name, text in (("python3", PYTHON), ("id", ID), ("apt-get", APT)):
        (tmp_path / "tools" / name).write_text(text)
        (tmp_path / "tools" / name).chmod(0o755)

    def run(can, user=1000, check=0):
        alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        told = {"CAN": can, "USER_ID": str(user), "CHECK": str(check), "ASKED": str(tmp_path / "asked")}
        told["PATH"] = f"{tmp_path / 'tools'}:{os.environ['PATH']}"
        command = ["make", "env", f"PYTHON={tmp_path / 'tools/python3'}"]
        done = subprocess.run(command, cwd=tmp_path, env=alone | told, capture_output=True, text=True)
        assert not (tmp_path / ".venv.virtualenv").exists()
        return done, (tmp_path / "asked").read_text().splitlines()

    return run


def test_a_python_with_ensurepip_needs_nothing_else(make, tmp_path):
    done, asked = make("ensurepip install")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / ".venv/.ready").is_file()
    assert not any("virtualenv" in line.replace(".venv.virtualenv", "") or "apt-get" in line for line in asked)
    assert "Collecting numpy" in done.stdout
    assert "already satisfied" not in done.stdout


def test_without_ensurepip_virtualenv_steps_in_beside_the_user_s_python(make, tmp_path):
    done, asked = make("pip install")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / ".venv/.ready").is_file()
    assert any("pip install" in line and "--target .venv.virtualenv virtualenv" in line for line in asked)
    assert not any("apt-get" in line for line in asked)


def test_without_pip_root_gets_debian_s_package(make, tmp_path):
    done, asked = make("install", user=0)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / ".venv/.ready").is_file()
    assert "apt-get install -y -q --no-install-recommends python3.12-venv" in asked


def test_where_no_way_leads_on_one_message_says_so_and_nothing_half_made_stays(make, tmp_path):
    done, asked = make("install")
    assert done.returncode != 0
    assert not (tmp_path / ".venv").exists()
    assert "Install the package python3.12-venv (Debian, Ubuntu) or name another Python" in done.stderr
    for said in ("venv: ensurepip is not available", "virtualenv: No module named pip", "package: not root"):
        assert said in done.stderr
    assert not any("apt-get" in line or "-r requirements.lock" in line for line in asked)


def test_a_failed_install_fails_and_is_completed_the_next_time(make, tmp_path):
    done, _ = make("ensurepip")
    assert done.returncode != 0
    assert "no space left" in done.stdout
    assert not (tmp_path / ".venv/.ready").exists()
    done, asked = make("ensurepip install")
    assert done.returncode == 0, done.stderr
    assert sum("-m venv" in line for line in asked) == 1


def test_an_environment_that_is_whole_is_left_alone(make):
    make("ensurepip install")
    done, asked = make("ensurepip install")
    assert done.returncode == 0, done.stderr
    assert [line for line in asked if "install -r" in line or "check_env" in line][1:] == [
        "python scripts/check_env.py"
    ]


@pytest.mark.parametrize(("check", "made"), [(1, 1), (3, 2)], ids=["packages missing", "made elsewhere"])
def test_an_environment_that_is_not_whole_is_completed_or_made_anew(make, tmp_path, check, made):
    make("ensurepip install")
    done, asked = make("ensurepip install", check=check)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / ".venv/.ready").is_file()
    assert sum("-m venv" in line for line in asked) == made
    assert sum("install -r requirements.lock" in line for line in asked) == 2


def test_without_python_the_stamp_does_not_count(make, tmp_path):
    make("ensurepip install")
    (tmp_path / ".venv/bin/python").unlink()
    done, asked = make("ensurepip install")
    assert done.returncode == 0, done.stderr
    assert sum("-m venv" in line for line in asked) == 2


@pytest.fixture
def check(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import check_env

    return check_env


@pytest.mark.parametrize(("url", "editable", "whole"), [(ROOT.as_uri(), True, True), (ROOT.as_uri(), False, False),
                                                         ("file:///elsewhere", True, False)])  # fmt: skip
def test_this_folder_must_be_installed_editable(check, monkeypatch, url, editable, whole):
    origin = json.dumps({"url": url, "dir_info": {"editable": True} if editable else {}})
    monkeypatch.setattr(check.metadata, "distribution", lambda name: SimpleNamespace(read_text=lambda file: origin))
    assert (check.wrong("") == "") == whole


def test_what_is_installed_is_compared_with_the_lock(check, monkeypatch):
    origin = json.dumps({"url": ROOT.as_uri(), "dir_info": {"editable": True}})
    monkeypatch.setattr(check.metadata, "distribution", lambda name: SimpleNamespace(read_text=lambda file: origin))
    monkeypatch.setattr(check.metadata, "version", lambda name: {"numpy": "2.1", "pytest": "9.0"}[name])
    assert check.wrong('numpy>=1\n# a comment\n\ntorch>=2 ; sys_platform == "nowhere"\n') == ""
    assert check.wrong("pytest==0.1\n") == "pytest is 9.0, not ==0.1"
    monkeypatch.undo()
    assert check.wrong("no-such-thing==1\n") == "no-such-thing is not installed"


def test_programs_that_call_another_python_are_found(check, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
    assert not check.moved(here)
    for called, found in ((here / "python3", False), (there / "python3", True), (tmp_path / "gone" / "python", True)):
        (here / "fer-teach").write_text(f"#!{called}\nimport sys\n")
        assert check.moved(here) == found


# OpenCV's libraries

BROKEN = """import os
if not os.path.exists(os.environ["ASKED"]):
    raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")
"""
HELPS = '#!/bin/bash\necho "$*" >> "$ASKED"\n'


def loading(tmp_path, module, tools):
    """scripts/system_libraries.py with this cv2 and these programs alone; what it said, what apt was asked."""
    (tmp_path / "cv2.py").write_text(module)
    for name, text in tools.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "sh").symlink_to("/bin/sh")
    (tmp_path / "bash").symlink_to("/bin/bash")
    asked = tmp_path / "asked"
    told = {"PYTHONPATH": str(tmp_path), "PATH": str(tmp_path), "ASKED": str(asked)}
    script = [sys.executable, str(ROOT / "scripts/system_libraries.py")]
    done = subprocess.run(script, env=told, capture_output=True, text=True)
    return done, asked.read_text() if asked.exists() else ""


SUDO = '#!/bin/bash\nshift\n"$@"\n'


def test_missing_libraries_of_opencv_are_installed(tmp_path):
    done, asked = loading(tmp_path, BROKEN, {"apt-get": HELPS, "sudo": SUDO})
    assert done.returncode == 0, done.stderr
    assert "install -y -q --no-install-recommends libgl1 libglib2.0-0 libxcb1" in asked


def test_where_they_cannot_be_installed_one_sentence_names_them(tmp_path):
    done, _ = loading(tmp_path, BROKEN, {})
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert "libGL.so.1" in said
    assert "Install libgl1, libglib2.0-0, libxcb1" in said


def test_another_fault_of_opencv_asks_for_no_package(tmp_path):
    done, asked = loading(tmp_path, 'raise ImportError("numpy is too new")', {"apt-get": HELPS, "sudo": SUDO})
    assert done.returncode == 1
    assert asked == ""
    assert "numpy is too new" in done.stderr
    assert "libgl1" not in done.stderr

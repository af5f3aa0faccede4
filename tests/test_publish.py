"""Publishing: what is seen while the builder works, and what is told where it fails."""

import sys

import pytest

from fer_teach import publish
from fer_teach.errors import FerTeachError

BUILDER = r"""
import sys
print("\x1b[01mRunning Sphinx\x1b[39;49;00m")
print("\x1b[01mreading sources... \x1b[39;49;00m[ 50%] \x1b[35mbook/index\x1b[39;49;00m")
print("book/index.md:3: WARNING: nothing is there", file=sys.stderr, flush=True)
print("  it says why on a second line")
print("copying images... [ 10%] face.png")
print("writing output... [100%] notebooks/01_deep_emotion")
sys.exit(int(sys.argv[1]))
"""


def test_the_builder_s_counters_are_shown_and_the_rest_is_kept(capsys):
    status, said = publish._follow([sys.executable, "-u", "-c", BUILDER, "3"], {})
    shown = capsys.readouterr().out.splitlines()
    assert status == 3
    assert shown == ["reading sources... [ 50%] book/index", "writing output... [100%] notebooks/01_deep_emotion"]
    warned = ["book/index.md:3: WARNING: nothing is there", "  it says why on a second line"]
    assert said == ["Running Sphinx", *warned]


def test_a_failed_build_tells_everything_that_was_said(monkeypatch, tmp_path):
    monkeypatch.setattr(publish, "_follow", lambda command, environment: (1, ["first", "x: WARNING: y", "last"]))
    with pytest.raises(FerTeachError, match="first\nx: WARNING: y\nlast"):
        publish._build(tmp_path, tmp_path / "sphinx")


def test_a_folder_with_something_else_is_left_alone(monkeypatch, tmp_path):
    def build(stage, scratch):
        (scratch / "html").mkdir(parents=True)
        (scratch / "html" / "index.html").write_text("new")
        return scratch / "html"

    monkeypatch.setattr(publish.paths, "build", lambda: tmp_path / "_build")
    monkeypatch.setattr(publish, "_stage", lambda executed, stage: stage.mkdir(exist_ok=True))
    monkeypatch.setattr(publish, "_build", build)
    site = tmp_path / "site"
    for _ in range(2):  # a new folder, and the book that was published there
        assert publish.publish(tmp_path, site, force=True).read_text() == "new"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(FerTeachError, match="mine holds something else than a published book"):
        publish.publish(tmp_path, tmp_path / "mine", force=True)
    assert (tmp_path / "mine" / "thesis.txt").is_file()

"""Handing chapters out and grading them."""

from __future__ import annotations

import csv
import json

import pytest

from fer_teach import assignments, chapters, cli


def solved(chapter):
    """The text of each exercise's cell, solution included."""
    code = [c.source for c in chapters.cells(chapter) if "exercise" in c.metadata.get("tags", [])]
    return {e.name: next(c for c in code if f"def {e.name}(" in c) for e in assignments.exercises(chapter)}


def handed_in(folder, name, cells):
    path = folder / name
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "source": c, "metadata": {}} for c in cells]}))
    return path


@pytest.mark.parametrize("chapter", chapters.names())
def test_every_exercise_can_be_graded_and_the_handout_lacks_its_solution(chapter, tmp_path):
    texts = solved(chapter)
    assert len(texts) >= 3
    for exercise in assignments.exercises(chapter):
        assert assignments.check(chapter, texts[exercise.name], exercise.statement) == (True, "")
        empty = assignments.without_solutions(texts[exercise.name])
        assert assignments.check(chapter, empty, exercise.statement) == (False, "yours to write")
    text = assignments.handout(chapter, tmp_path).read_text()
    assert "SOLUTION" not in text
    assert text.count("yours to write") == chapters.as_notebook(chapter).count(assignments.BEGIN)


def test_grading_goes_on_after_an_endless_loop_and_names_what_is_missing(tmp_path, capsys):
    texts = solved("01_deep_emotion")
    endless = "def quarter_turn():\n    while True:\n        pass"
    path = handed_in(tmp_path, "ada.ipynb", [endless, "%time 1", texts["possible_counts"]])
    marks = assignments.grade(path, seconds=30)
    assert [(m.exercise, m.right) for m in marks] == [
        ("quarter_turn", False), ("nearest_sample", False), ("possible_counts", True),
    ]  # fmt: skip
    assert [m.message for m in marks] == ["took longer than 30 seconds", assignments.MISSING, ""]


def test_the_command_writes_marks_and_says_which_files_it_cannot_read(tmp_path, capsys):
    wrong = "def plurality(votes):\n    return votes.argmin(1)"
    raises = "def held_out(*given):\n    return given[99]"
    good = handed_in(tmp_path, "bo.ipynb", [wrong, raises, solved("00_faces")["faces_needed"]])
    other = handed_in(tmp_path, "none.ipynb", ["1 + 1"])
    broken = tmp_path / "broken.ipynb"
    broken.write_text("{")
    table = tmp_path / "marks.csv"
    assert cli.main(["grade", *map(str, (good, other, broken, tmp_path / "gone.ipynb")), "--out", str(table)]) == 2
    said = capsys.readouterr()
    assert "1 of 3 right" in said.out
    for why in ("none of the book's exercises", "is no notebook", "No such file"):
        assert why in said.err
    rows = list(csv.DictReader(table.open()))
    assert [row["right"] for row in rows] == ["0", "1", "0"]
    assert "IndexError" in rows[2]["message"]


def test_the_command_hands_out(tmp_path, capsys):
    assert cli.main(["handout", "00_faces", "01_deep_emotion", "--out", str(tmp_path / "new")]) == 0
    assert {p.name for p in (tmp_path / "new").iterdir()} == {"00_faces.ipynb", "01_deep_emotion.ipynb"}
    assert cli.main(["handout", "09_none", "--out", str(tmp_path)]) == 2

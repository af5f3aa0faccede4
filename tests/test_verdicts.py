"""The page that says what holds: one rule, asked of records alone."""

import math

import pytest

from fer_teach import claims, paths, record, verdicts
from fer_teach.verdicts import answer, asked_of, verdict

QUESTIONS = [(name, asked) for name in claims.chapters() for asked in claims.content(name).get("questions", [])]


@pytest.mark.parametrize(
    ("low", "high", "above", "word"),
    [
        (0.001, 0.02, 0.0, "holds"),
        (-0.02, -0.001, 0.0, "does not hold"),
        (-0.001, 0.02, 0.0, "not shown"),
        (0.0, 0.02, 0.0, "not shown"),
        (0.45, 0.55, 0.5, "not shown"),
        (0.51, 0.55, 0.5, "holds"),
        (math.nan, math.nan, 0.0, "not shown"),
    ],
)
def test_the_rule(low, high, above, word):
    assert verdict(low, high, above) == word


def test_an_answer_comes_from_the_record(monkeypatch):
    rows = [{"seed": s, "variant": v, "hard": 0.6 + 0.01 * s + 0.05 * (v == "a")} for s in range(3) for v in "ab"]
    rows[0]["hard"] += 0.001
    held = {
        "metrics": {"share": {"value": 0.8, "interval": [0.7, 0.9]}, "bar": {"value": 0.95, "interval": None}},
        "tables": {"made": rows},
    }
    monkeypatch.setattr(record, "result", lambda chapter, profile, data: held)
    chapter, rows = "04_attentive_hybrid", {"table": "made", "by": "variant", "a": "a", "b": "b", "metric": "hard"}
    by_seed = {"says": "a beats b", "rows": rows}
    word, ours = answer(chapter, by_seed)
    assert word == "holds"
    assert ours.startswith("+5.0 points [")
    assert answer(chapter, {"says": "", "metric": "share", "above": 0.5}) == ("holds", "80.0 % [70.0, 90.0]")
    assert answer(chapter, {"says": "", "metric": "share", "above": "bar"})[0] == "does not hold"
    printed = {"says": "", "metric": "share", "above": "fer2013-accuracy", "on": "fer2013"}  # 70.02 %, just above 70
    assert answer("01_deep_emotion", printed) == ("not shown", "80.0 % [70.0, 90.0]")
    held["metrics"]["share"]["interval"] = [0.7003, 0.9]
    assert answer("01_deep_emotion", printed)[0] == "holds"
    monkeypatch.setattr(record, "result", lambda chapter, profile, data: None)
    assert answer(chapter, by_seed) == ("not run yet", "")


@pytest.mark.parametrize(("chapter", "question"), QUESTIONS)
def test_every_question_finds_its_numbers(chapter, question):
    for name in question.get("printed", ()):
        assert claims.get(chapter, name).unit == "%"
    if asked_of(chapter, question):
        assert answer(chapter, question)[0] in ("holds", "does not hold", "not shown")


def test_the_page_asks_every_question():
    page = verdicts.page()
    assert verdicts.MARKER not in page
    assert page.count("\n- **") == len(QUESTIONS)
    assert (paths.root() / "_toc.yml").read_text().count("book/verdicts") == 1

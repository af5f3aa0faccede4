"""Does it hold? What each paper says (`questions` in claims/*.json), asked of this book's records by one rule."""

from __future__ import annotations

import math

from . import claims, differences, paths, record

MARKER = "<!-- verdicts -->"
NOT_YET = "not run yet"


def verdict(low: float, high: float, above: float = 0.0) -> str:
    """The rule: "holds" if the whole 95 % interval lies above, "does not hold" if it lies below, else "not shown"."""
    if math.isnan(low) or math.isnan(high):
        return "not shown"
    return "holds" if low > above else "does not hold" if high < above else "not shown"


def answer(chapter: str, question: dict) -> tuple[str, str]:
    """The verdict on one question, and our number with its interval, as text ("" where no record is committed)."""
    return _answer(chapter, question, asked_of(chapter, question))


def _answer(chapter: str, question: dict, held: dict | None) -> tuple[str, str]:
    if held is None:
        return NOT_YET, ""
    value, low, high = _measured(question, held)
    above = _bar(chapter, question.get("above", 0), held)
    sign, unit = ("", "%") if above else ("+", "points")
    value_, low_, high_ = (f"{100 * number:{sign}.1f}" for number in (value, low, high))
    return verdict(low, high, above), f"{value_} {unit} [{low_}, {high_}]"


def asked_of(chapter: str, question: dict) -> dict | None:
    """The committed record that answers: of the paper profile on the photographs named, else the full one."""
    profile, data = ("paper", question["on"]) if "on" in question else ("full", "rendered")
    return record.result(chapter, profile, data)


def _bar(chapter: str, above: float | str, held: dict) -> float:
    """What a number must exceed: given, or a metric of the record, or a claim in per cent."""
    if not isinstance(above, str):
        return float(above)
    if above in held["metrics"]:
        return float(held["metrics"][above]["value"])
    return float(claims.get(chapter, above).value) / 100


def _measured(question: dict, held: dict) -> tuple[float, float, float]:
    if "rows" in question:
        asked = question["rows"]
        rows = held["tables"][asked["table"]]
        pair = differences.differences(rows, *(asked[name] for name in ("by", "a", "b", "metric")))
        return pair.mean, pair.low, pair.high
    metric = held["metrics"][question["metric"]]
    return metric["value"], *(metric["interval"] or (math.nan, math.nan))


def _printed(chapter: str, question: dict) -> str:
    with_it, without = (claims.get(chapter, name) for name in question["printed"])
    data = claims.DATA.get(with_it.data, with_it.data)
    return f"{float(with_it.value) - float(without.value):+.2f} points on {data}"


def _item(chapter: str, question: dict) -> str:
    held = asked_of(chapter, question)
    word, ours = _answer(chapter, question, held)
    said = [f"- **{word.capitalize()}.** {question['says']}."]
    where = f"On {claims.DATA.get(question['on'], question['on'])}" if "on" in question else "Here"
    bar = question.get("above")
    printed = bar in {claim.id for claim in claims.load(chapter)}
    beside = f" beside {claims.cite(chapter, bar)}" if printed else ""
    older = f", on {record.EARLIER}" if held and record.superseded(held) else ""
    said += [f"{where}{older}: {ours}{beside}."] if ours else []
    said += [f"Printed: {_printed(chapter, question)}."] if "printed" in question else []
    return " ".join(said)


def page() -> str:
    """book/verdicts.md with its marker replaced by a list for every chapter whose claims ask questions."""
    parts = []
    for chapter in claims.chapters():
        asked = claims.content(chapter).get("questions", [])
        if asked:
            title = f"## [{claims.content(chapter)['title']}](/notebooks/{chapter}.ipynb)"
            parts += [title, "\n".join(_item(chapter, question) for question in asked)]
    return (paths.root() / "book" / "verdicts.md").read_text().replace(MARKER, "\n\n".join(parts))

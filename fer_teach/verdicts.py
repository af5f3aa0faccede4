"""Does it hold? What each paper says (`questions` in claims/*.json), asked of this book's full records by one rule."""

from __future__ import annotations

import math

from . import claims, differences, paths, record
from .htmltable import Table

MARKER = "<!-- verdicts -->"
NOTHING, NOT_YET = "–", "not run yet"


def verdict(low: float, high: float, above: float = 0.0) -> str:
    """The rule: "holds" if the whole 95 % interval lies above, "does not hold" if it lies below, else "not shown"."""
    if math.isnan(low) or math.isnan(high):
        return "not shown"
    return "holds" if low > above else "does not hold" if high < above else "not shown"


def answer(chapter: str, question: dict) -> dict[str, str]:
    """One row of the page: what is said, what was printed, what we measured, and the verdict, as text."""
    row = {"Statement": question["says"], "Printed": _printed(chapter, question), "Ours": NOTHING, "Verdict": NOT_YET}
    held = record.result(chapter, "full", "rendered")
    if held is None:
        return row
    value, low, high = _measured(question, held)
    above = question.get("above", 0)
    above = float(held["metrics"][above]["value"] if isinstance(above, str) else above)
    ours = f"{100 * value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
    if not above:  # a gain
        ours = f"{100 * value:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
    return {**row, "Ours": ours, "Verdict": verdict(low, high, above)}


def _measured(question: dict, held: dict) -> tuple[float, float, float]:
    if "rows" in question:
        asked = question["rows"]
        rows = held["tables"][asked["table"]]
        pair = differences.differences(rows, *(asked[name] for name in ("by", "a", "b", "metric")))
        return pair.mean, pair.low, pair.high
    metric = held["metrics"][question["metric"]]
    return metric["value"], *(metric["interval"] or (math.nan, math.nan))


def _printed(chapter: str, question: dict) -> str:
    if "printed" not in question:
        return NOTHING
    with_it, without = (claims.get(chapter, name) for name in question["printed"])
    return f"{float(with_it.value) - float(without.value):+.2f} points\n{claims.DATA.get(with_it.data, with_it.data)}"


def tables() -> dict[str, Table]:
    """A table for every chapter whose claims ask questions."""
    about = "Gains in points of accuracy and shares in per cent, with 95 % intervals."
    made = {}
    for chapter in claims.chapters():
        asked = claims.content(chapter).get("questions", [])
        if asked:
            rows = [answer(chapter, question) for question in asked]
            made[chapter] = Table(claims.content(chapter)["title"], about, rows)
    return made


def page() -> str:
    """book/verdicts.md with its marker replaced by every chapter's table."""
    parts = [
        f"## {table.caption}\n\n{table.html()}\n\n[How it was measured](/notebooks/{chapter}.ipynb)"
        for chapter, table in tables().items()
    ]
    return (paths.root() / "book" / "verdicts.md").read_text().replace(MARKER, "\n\n".join(parts))

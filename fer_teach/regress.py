"""Baselines: what quick runs should measure. Compare the two, on the terminal and as HTML."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from pathlib import Path

from . import paths
from . import record as records
from .errors import FerTeachError

_HEAD = ("metric", "expected", "got", "tolerance", "verdict")


@dataclass(frozen=True)
class Drift:
    """One line of a comparison. verdict: "ok", "drift", "missing" (expected, not measured) or "new"."""

    metric: str
    expected: float | None
    got: float | None
    tolerance: float | None
    verdict: str


def compare(baseline: dict, measured: dict) -> list[Drift]:
    """Compare a record with its baseline, metric by metric, in alphabetical order."""
    expected, got = baseline["metrics"], measured["metrics"]
    lines = []
    for name in sorted(expected | got):
        if name not in got:
            lines.append(Drift(name, expected[name]["value"], None, expected[name]["tolerance"], "missing"))
        elif name not in expected:
            lines.append(Drift(name, None, got[name]["value"], None, "new"))
        else:
            value, tolerance = expected[name]["value"], expected[name]["tolerance"]
            close = abs(got[name]["value"] - value) <= tolerance + 1e-9
            lines.append(Drift(name, value, got[name]["value"], tolerance, "ok" if close else "drift"))
    return lines


def baseline_from(measured: dict, old: dict | None = None) -> dict:
    """Make a baseline of a record.

    A tolerance that the old baseline holds is kept. A new metric with an interval gets the interval's width (a second
    training elsewhere is another draw from it); one without gets 0: it must come out the same everywhere.
    """
    kept = (old or {}).get("metrics", {})

    def tolerance(name: str, metric: dict) -> float:
        if name in kept:
            return kept[name]["tolerance"]
        return round(metric["interval"][1] - metric["interval"][0], 4) if metric["interval"] else 0.0

    return {
        "schema": 1,
        "chapter": measured["chapter"],
        "profile": measured["profile"],
        "data": measured["data"],
        "seed": measured["seed"],
        "metrics": {
            name: {"value": metric["value"], "tolerance": tolerance(name, metric)}
            for name, metric in measured["metrics"].items()
        },
    }


def baseline_path(chapter: str) -> Path:
    """The file that holds a chapter's baseline."""
    return paths.baselines() / f"{chapter}.json"


def read_baseline(chapter: str) -> dict | None:
    """A chapter's baseline, or None where there is none yet. Errors: FerTeachError where the file is no baseline."""
    import jsonschema

    path = baseline_path(chapter)
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text())
        jsonschema.validate(content, records.schema("baseline"))
    except (ValueError, jsonschema.ValidationError) as error:
        raise FerTeachError(f"{path} is no baseline: {str(error).splitlines()[0]}") from None
    return content


def lines_for(chapter: str, measured: dict) -> list[Drift]:
    """Compare a quick record with the chapter's baseline; FerTeachError where the two cannot be compared."""
    expected = read_baseline(chapter)
    if expected is None:
        raise FerTeachError(f"{chapter} has no baseline. Look at its numbers, then: fer-teach baseline {chapter}")
    for field in ("profile", "data", "seed"):
        if expected[field] != measured[field]:
            raise FerTeachError(
                f"{chapter}: the baseline was made with {field} {expected[field]}, this run has {measured[field]}."
            )
    return compare(expected, measured)


def as_text(chapter: str, lines: list[Drift]) -> str:
    """The comparison as a table for the terminal."""
    rows = [_HEAD, *(_cells(line) for line in lines)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    body = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    bad = sum(line.verdict != "ok" for line in lines)
    return "\n".join([chapter, *body, f"{len(lines) - bad} of {len(lines)} as expected"])


def as_html(tables: dict[str, list[Drift]]) -> str:
    """All comparisons as one page without any outside resource."""
    parts = []
    for chapter, lines in tables.items():
        head = "".join(f'<th scope="col">{cell}</th>' for cell in _HEAD)
        body = "".join(
            f'<tr class="{line.verdict}">' + "".join(f"<td>{html.escape(c)}</td>" for c in _cells(line)) + "</tr>"
            for line in lines
        )
        parts.append(f"<table><caption>{html.escape(chapter)}</caption><tr>{head}</tr>{body}</table>")
    style = (
        ":root{color-scheme:light dark}body{font:16px/1.5 sans-serif;margin:2rem}table{margin-bottom:2rem}"
        "td,th{padding:.2em .8em;text-align:left}caption{font-weight:bold;text-align:left}"
        "tr:not(.ok) td{font-weight:bold}"
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Regression report</title><style>{style}</style><h1>Regression report</h1>{''.join(parts)}</html>\n"
    )


def _cells(line: Drift) -> tuple[str, ...]:
    digits = ".7g" if line.verdict == "drift" else ".4g"  # with tolerance 0 the fifth may be what differs
    numbers = ["-" if x is None else f"{x:{digits}}" for x in (line.expected, line.got, line.tolerance)]
    return (line.metric, *numbers, line.verdict)

"""Compare quick runs with their baselines, on the terminal and as HTML."""

from __future__ import annotations

import html
import json
from pathlib import Path

from . import paths
from . import record as records
from .errors import FerTeachError

_HEAD = ("metric", "expected", "got", "tolerance", "verdict")


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


def lines_for(chapter: str, measured: dict) -> list[records.Drift]:
    """Compare a quick record with the chapter's baseline; FerTeachError where the two cannot be compared."""
    expected = read_baseline(chapter)
    if expected is None:
        raise FerTeachError(f"{chapter} has no baseline. Look at its numbers, then: fer-teach baseline {chapter}")
    for field in ("profile", "data", "seed"):
        if expected[field] != measured[field]:
            raise FerTeachError(
                f"{chapter}: the baseline was made with {field} {expected[field]}, this run has {measured[field]}."
            )
    return records.compare(expected, measured)


def as_text(chapter: str, lines: list[records.Drift]) -> str:
    """The comparison as a table for the terminal."""
    rows = [_HEAD, *(_cells(line) for line in lines)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEAD))]
    body = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    bad = sum(line.verdict != "ok" for line in lines)
    return "\n".join([chapter, *body, f"{len(lines) - bad} of {len(lines)} as expected"])


def as_html(tables: dict[str, list[records.Drift]]) -> str:
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


def _cells(line: records.Drift) -> tuple[str, ...]:
    digits = ".7g" if line.verdict == "drift" else ".4g"  # with tolerance 0 the fifth may be what differs
    numbers = ["-" if x is None else f"{x:{digits}}" for x in (line.expected, line.got, line.tolerance)]
    return (line.metric, *numbers, line.verdict)

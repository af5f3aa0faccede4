"""Claims: what papers and course reports print, in tables beside what this book measured.

The printed numbers are data (fer_teach.printed, claims/*.json); ours come from the committed records alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import paths, record
from .errors import FerTeachError
from .htmltable import Table
from .printed import DATA, Claim, Ours, chapters, cite, content, digits, get, load

__all__ = ["Claim", "Measured", "Ours", "Table", "chapters", "cite", "get", "load", "measured", "page", "table"]
MARKER = "<!-- claims -->"
NOT_YET = "not yet run"
NOTHING = "–"


@dataclass(frozen=True)
class Measured:
    """Our number beside a claim, as text: value, interval, n and protocol; ran: False where no record holds it."""

    value: str
    interval: str = NOTHING
    n: str = NOTHING
    protocol: str = ""
    ran: bool = False


def measured(claim: Claim) -> list[Measured]:
    """What our records say about a claim: one entry for each of its `ours`, or one that says why there is none.

    A claim in % expects a fraction in the record; a value outside 0 to 1 raises FerTeachError.
    """
    if not claim.ours:
        asked = claim.kind == "result" and claim.by not in ("literature", "users")
        return [Measured(NOT_YET if asked else NOTHING)]
    return [_measured(claim, ours) for ours in claim.ours]


def _measured(claim: Claim, ours: Ours) -> Measured:
    label = f" ({ours.label})" if ours.label else ""
    result = record.result(claim.chapter, ours.profile, ours.data)
    if result is None:
        return Measured(NOT_YET + label)
    if ours.metric not in result["metrics"]:
        return Measured("not in the record" + label)
    metric = result["metrics"][ours.metric]
    share = claim.unit == "%"
    if share and not 0 <= metric["value"] <= 1:
        raise FerTeachError(f"{ours.metric} of {claim.chapter} is {metric['value']}; a share is recorded as 0 to 1.")

    def shown(value: float) -> str:
        return f"{100 * value:.2f}" if share else digits(value)

    bounds, older = metric["interval"], ", an earlier edition" if record.superseded(result) else ""
    return Measured(
        f"{shown(metric['value'])} {claim.unit}".strip() + label,
        NOTHING if bounds is None else _range(*map(shown, bounds)),
        NOTHING if metric["n"] is None else f"{metric['n']:,}",
        f"{ours.profile} profile, {DATA.get(ours.data, ours.data)}{older}, seed {result['seed']}, "
        f"revision {result['revision']}, {result['date'][:10]}",
        True,
    )


def tables(chapter: str) -> list[Table]:
    """Every table of a chapter's claims, in order."""
    return [table(chapter, group) for group in content(chapter)["groups"]]


def table(chapter: str, group: str | None = None) -> Table:
    """Reported numbers beside ours: value, by whom, ours, interval, n, protocol.

    group: one table of the chapter; None: all its claims in one list. FerTeachError where there is no such group.
    """
    whole, held = content(chapter), load(chapter)
    if group is None:
        return Table(f"{whole['title']}: every claim", f"Paper and {whole['report']}.", _list(held))
    if group not in whole["groups"]:
        raise FerTeachError(f"claims/{chapter}.json has no group {group!r}. Groups: {', '.join(whole['groups'])}.")
    about = whole["groups"][group]
    rows = (_grid if about.get("layout") == "grid" else _list)([claim for claim in held if claim.group == group])
    return Table(f"{whole['title']}, {group}", " ".join([about["about"], *_shared(rows)]), rows)


def _shared(rows: list[dict[str, str]]) -> list[str]:
    """Take what is the same in every row out of the rows, to be said once in the caption."""
    said = []
    for column in ("Measure", "Data"):
        values = {row.get(column) for row in rows}
        if len(values) == 1 and len(rows) > 1 and None not in values:
            said.append(f"{column}: {values.pop()}.")
            for row in rows:
                del row[column]
    return said


def _range(low: str, high: str) -> str:
    return f"{low}\u00a0to\u00a0{high}"  # never broken over two lines


def _reported(claim: Claim) -> str:
    if claim.interval is None:
        return claim.text
    low, high = claim.interval
    return f"{claim.text}\n{_range(f'{low:.2f}', f'{high:.2f}')}\nn\u00a0=\u00a0{claim.n:,}"


def _list(held: list[Claim]) -> list[dict[str, str]]:
    return [
        {
            "Method": claim.method,
            "Measure": claim.what,
            "Data": _data(claim),
            "Reported": _reported(claim),
            "By whom": claim.provenance,
            "Ours": ours.value,
            "95 % interval": ours.interval,
            "n": ours.n,
            "Protocol": _protocol(claim, ours),
        }
        for claim in held
        for ours in measured(claim)
    ]


def _grid(held: list[Claim]) -> list[dict[str, str]]:
    """One row a method and data set, one column a measure; where there is one measure, one column a data set."""
    by_data = len({claim.what for claim in held}) == 1
    columns = list(dict.fromkeys(_data(claim) if by_data else claim.what for claim in held))
    grouped: dict[tuple, dict[str, Claim]] = {}
    for claim in held:
        key = (claim.method,) if by_data else (claim.method, _data(claim))
        grouped.setdefault(key, {})[_data(claim) if by_data else claim.what] = claim
    return [_grid_row(key, row, columns) for key, row in grouped.items()]


def _grid_row(key: tuple, row: dict[str, Claim], columns: list[str]) -> dict[str, str]:
    found = {column: measured(claim)[0] for column, claim in row.items()}
    first = next(iter(row.values()))
    ran = [f"{column}: {ours.value} ({ours.interval}, n = {ours.n})" for column, ours in found.items() if ours.ran]
    return {
        **dict(zip(("Method", "Data"), key, strict=False)),
        **{column: _reported(row[column]) if column in row else NOTHING for column in columns},
        "By whom": first.provenance,
        "Ours": "\n".join(ran) or found[next(iter(row))].value,
        "Protocol": _protocol(first, next((ours for ours in found.values() if ours.ran), found[next(iter(row))])),
    }


def _protocol(claim: Claim, ours: Measured) -> str:
    parts = [claim.source, claim.protocol, claim.note, f"Ours: {ours.protocol}" if ours.protocol else ""]
    return "\n".join(part for part in parts if part)


def _data(claim: Claim) -> str:
    return ", ".join(DATA.get(name, name) for name in claim.data.split(", "))


def page() -> str:
    """The book's page of claims in MyST markdown: book/claims.md with its marker line replaced by every table."""
    text = (paths.root() / "book" / "claims.md").read_text()
    if text.count(MARKER) != 1:
        raise FerTeachError(f"book/claims.md needs the line {MARKER} once; it marks where the tables go.")
    parts = []
    for chapter in chapters():
        whole = content(chapter)
        parts += [f"## {whole['title']}", _source(whole)]
        parts += [one.html() for one in tables(chapter)]
    return text.replace(MARKER, "\n\n".join(parts))


def _source(whole: dict) -> str:
    paper = whole["paper"]
    link = f" ([arXiv {paper['arxiv']}](https://arxiv.org/abs/{paper['arxiv']}))" if paper["arxiv"] else ""
    named = f"{paper['authors']}, *{paper['title']}*, {paper['venue']} {paper['year']}{link}"
    return f"Paper: {named}. Course report: {whole['report']}."

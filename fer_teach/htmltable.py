"""One accessible HTML table, for claims, sweeps and shapes alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

_STAYS = '<span style="display:inline-block;position:sticky;left:0;max-width:min(40rem,85vw)">'


@dataclass(frozen=True)
class Table:
    """Rows of equal columns, as text. A notebook shows them as HTML; `frame` gives them to pandas."""

    caption: str
    about: str
    rows: list[dict[str, str]] = field(default_factory=list)

    @property
    def frame(self):
        """The rows as a pandas frame of text."""
        import pandas

        return pandas.DataFrame(self.rows)

    def html(self) -> str:
        """One HTML table with a caption and scoped headers, in a box that scrolls by itself and takes the focus."""
        columns = list(self.rows[0])
        head = "".join(f'<th scope="col">{_text(name)}</th>' for name in columns)
        lines = [
            f'<div role="region" tabindex="0" aria-label="{escape(self.caption)}" style="overflow-x:auto">',
            '<table class="table">',
            f'<caption style="text-align:left">{_STAYS}',
            f"<strong>{escape(self.caption)}.</strong> {escape(self.about)}</span></caption>",
            f"<thead><tr>{head}</tr></thead>",
            "<tbody>",
        ]
        for row in self.rows:
            first, *rest, last = (_text(row[name]) for name in columns)
            wide = ' style="min-width:15rem"' if len(last) > 40 else ""
            cells = "".join(f"<td>{cell}</td>" for cell in rest) + f"<td{wide}>{last}</td>"
            whole = ' style="white-space:nowrap"' if len(first) <= 20 else ""
            lines.append(f'<tr><th scope="row"{whole}>{first}</th>{cells}</tr>')
        return "\n".join([*lines, "</tbody>", "</table>", "</div>"])

    _repr_html_ = html


def _text(cell: str) -> str:
    return escape(cell).replace("\n", "<br>")

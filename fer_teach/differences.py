"""Tables of paired differences: is one variant better than another under the same seeds?"""

from __future__ import annotations

import math

from . import record as records
from .evaluation import paired_seeds
from .htmltable import Table
from .tables import Stack, recorded_tables, word


def show(table: str, by: str, pairs: list[tuple], metrics: list[str]) -> Stack:
    """Paired differences of a table that `tables.show` recorded, for this run and for the recorded ones.

    table: its name; by: the column that names variants; pairs: (a, b) stands for a - b; metrics: shares. Differences
    in points with Student's 95 % interval over the seeds that both have, and the p value of the paired t test.
    """
    current = records.current()
    shown = [_table(current["tables"][table], by, pairs, metrics, f"This run: {current['profile']} profile")]
    shown += [_table(rows, by, pairs, metrics, caption) for rows, caption in recorded_tables(table)]
    return Stack([one for one in shown if one.rows])


def differences(rows: list[dict], by: str, a: str, b: str, metric: str):
    """PairedSeeds of one metric over the seeds that both variants have, or None where there are none."""
    held = {
        name: {r["seed"]: r[metric] for r in rows if r[by] == name and r.get(metric) is not None} for name in (a, b)
    }
    seeds = sorted(held[a].keys() & held[b].keys())
    return paired_seeds([held[a][s] for s in seeds], [held[b][s] for s in seeds]) if seeds else None


def _table(rows, by, pairs, metrics, caption) -> Table:
    lines = []
    for a, b in pairs:
        found = {metric: differences(rows, by, a, b, metric) for metric in metrics}
        if any(found.values()):
            cells = {metric.replace("_", " "): _text(value) for metric, value in found.items()}
            seeds = max(value.n for value in found.values() if value)
            lines.append({"difference": f"{word(a)} - {word(b)}", **cells, "seeds": str(seeds)})
    about = (
        "Points, with the 95 % interval over seeds and the p value of the paired t test; above 0 the first is better."
    )
    return Table(f"Paired differences. {caption}", about, lines)


def _text(value) -> str:
    if value is None:
        return "not measured"
    mean = f"{100 * value.mean:+.1f}"
    if math.isnan(value.low):
        return mean
    return f"{mean} [{100 * value.low:+.1f}, {100 * value.high:+.1f}]\np = {value.pvalue:.3f}"

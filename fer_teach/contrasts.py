"""Paired comparisons of trainings that answered the same test images: image by image and seed by seed."""

from __future__ import annotations

from statistics import mean, median

import numpy as np

from . import evaluation
from . import record as records
from .errors import FerTeachError
from .htmltable import Table
from .tables import Stack, recorded_tables


def pack(right) -> str:
    """Truth values (N,) as hex digits, four images a digit, so that a table's cell can hold them."""
    return np.packbits(np.asarray(right, dtype=bool)).tobytes().hex()


def unpack(digits: str, n: int) -> np.ndarray:
    """The n truth values that `pack` wrote. Raises FerTeachError where the digits are not those of n values."""
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(digits), np.uint8))
    if len(bits) - n not in range(8) or bits[n:].any():
        raise FerTeachError(f"{len(digits)} hex digits do not hold {n} truth values")
    return bits[:n].astype(bool)


def pairs(frame, choices: dict[str, tuple[dict, dict]], n: int) -> list[dict]:
    """One row a contrast and seed: both accuracies, the images that only a or only b read right, McNemar's p.

    frame: from a sweep, with columns `seed` and `right` (see `pack`). choices: a contrast's name -> (a, b), the values
    of the columns that select the rows of either side. Seeds that only one side has are left out. Raises FerTeachError
    where a side matches no row, or several of one seed, and where the sides share no seed.
    """
    rows = []
    for name, sides in choices.items():
        a, b = ({seed: unpack(right, n) for seed, right in _side(frame, side, name)} for side in sides)
        shared = sorted(set(a) & set(b))
        if not shared:
            raise FerTeachError(f"the sides of {name!r} have no seed in common")
        for seed in shared:
            test = evaluation.mcnemar(a[seed], b[seed])
            rows.append(
                {
                    "contrast": name, "seed": seed, "a": float(a[seed].mean()), "b": float(b[seed].mean()), "n": n,
                    "only_a": test.only_a, "only_b": test.only_b, "pvalue": test.pvalue,
                }
            )  # fmt: skip
    return rows


def _side(frame, side: dict, name: str) -> list[tuple[int, str]]:
    chosen = frame
    for column, value in side.items():
        chosen = chosen[chosen[column] == value]
    if not len(chosen) or chosen["seed"].duplicated().any():
        raise FerTeachError(f"{side} of {name!r} matches {len(chosen)} rows; it needs one a seed")
    return list(zip(chosen["seed"].tolist(), chosen["right"].tolist(), strict=True))


def show(name: str, rows: list[dict]) -> Stack:
    """Record the rows of `pairs` as the table `name`; show them above the recorded full and paper runs of it."""
    current = records.current()
    records.table(name, rows)
    tables = [_table(rows, f"This run: {current['profile']} profile, {current['data']['name']}")]
    return Stack([*tables, *(_table(kept, caption) for kept, caption in recorded_tables(name))])


def _table(rows: list[dict], caption: str) -> Table:
    groups: dict[str, list[dict]] = {}
    for row in rows:
        groups.setdefault(row["contrast"], []).append(row)
    n = rows[0]["n"]
    about = (
        f"a less b on the same {n:,} test images. Seeds: mean difference, Student's 95 % interval, paired t test. "
        "Images: right in one alone, mean over the seeds, and McNemar's p, median. One seed alone has no interval."
    )
    return Table(caption, about, [_line(name, members) for name, members in groups.items()])


def _line(name: str, rows: list[dict]) -> dict[str, str]:
    test = evaluation.paired_seeds([row["a"] for row in rows], [row["b"] for row in rows])
    known = test.pvalue == test.pvalue
    spread = f" [{100 * test.low:+.1f}, {100 * test.high:+.1f}]" if known else ""
    return {
        "Contrast, a : b": name,
        "Points": f"{100 * test.mean:+.1f}{spread}",
        "p over seeds": p(test.pvalue) if known else "–",
        "Right in a alone : b alone": " : ".join(
            f"{mean(row[key] for row in rows):.3g}" for key in ("only_a", "only_b")
        ),
        "p over images": p(median(row["pvalue"] for row in rows)),
        "Seeds": str(len(rows)),
    }


def p(value: float) -> str:
    """A p value as text, with two digits that count and no zeros that pretend."""
    return "below 0.001" if value < 0.001 else f"{value:.2g}"

"""Tables of a chapter: this run's numbers, and beside them the recorded ones with where they come from.

Nothing here is typed: values come from a sweep's frame or from a committed record.
"""

from __future__ import annotations

from . import evaluation, paths
from . import record as records
from .errors import FerTeachError
from .htmltable import Table


class Stack:
    """Several tables, one under another; a Stack among them stands for its own."""

    def __init__(self, tables: list[Table | Stack]):
        self.tables = [table for given in tables for table in (given.tables if isinstance(given, Stack) else [given])]

    def _repr_html_(self) -> str:
        return "".join(table._repr_html_() for table in self.tables)

    def __repr__(self) -> str:
        return "\n\n".join(map(repr, self.tables))


def show(name: str, frame, by: list[str], metrics: list[str], n: int | dict[str, int], values=(), means=()) -> Stack:
    """Record a sweep's frame as the table `name` and show it above the recorded full and paper runs of the same table.

    frame: from `sweep`, a row a cell, with a `seed` column where cells were repeated; by: the columns that name a row;
    metrics: shares (0..1), shown in per cent; n: the images behind each share, one number or one a metric. A row of
    one seed shows its value and Wilson's interval over the n images; a row of two their mean and both; a row of more
    mean and 95 % interval over the seeds (Student t), or the value alone where all agree. values: those of the metrics
    that are no shares (a loss, points): shown as they are, with an interval over the seeds alone. means: those that
    are means over classes (macro precision), in per cent; they count no images, so one seed has no interval.
    """
    n = n if isinstance(n, dict) else dict.fromkeys(metrics, n)
    current = records.current()
    records.table(name, [{**row, "n": n} for row in frame.to_dict(orient="records")])
    rows = current["tables"][name]  # plain values: None again where pandas made it nan
    tables = [
        _table(
            rows, by, metrics, n, f"This run: {current['profile']} profile, {current['data']['name']}", values, means
        )
    ]
    for kept, caption in recorded_tables(name):
        columns = [metric for metric in metrics if any(metric in row for row in kept)]
        tables.append(_table(kept, by, columns, kept[0]["n"], caption, values, means))
    return Stack(tables)


def recorded_tables(name: str) -> list[tuple[list[dict], str]]:
    """(rows, provenance) of a table in each committed record of this chapter but those of this profile and data."""
    current, found = records.current(), []
    for path in sorted((paths.results() / current["chapter"]).glob("*.json")):
        held = records.read(path)
        if held["tables"].get(name) and _origin(held) != _origin(current):
            found.append((held["tables"][name], provenance(held)))
    return found


def _origin(record: dict) -> tuple:
    return record["profile"], record["data"]["name"]


def confusion(name: str, matrix, classes) -> Stack:
    """Record a confusion matrix as the table `name`; show those of the recorded full and paper runs.

    matrix: counts (K, K), a row a true class; classes: K names. Shown in per cent of each row, with its images.
    """
    records.table(
        name,
        [{"true": c, **dict(zip(classes, map(int, row), strict=True))} for c, row in zip(classes, matrix, strict=True)],
    )
    about, shown = "A row is a true class, a column an answer; per cent of the row.", []
    for rows, caption in recorded_tables(name):
        lines = []
        for row in rows:
            counts = {column: value for column, value in row.items() if column != "true"}
            n = sum(counts.values())
            lines.append(
                {
                    "true": row["true"],
                    **{c: f"{100 * k / max(1, n):.0f}" for c, k in counts.items()},
                    "images": f"{n:,}",
                }
            )
        shown.append(Table(caption, about, lines))
    return Stack(shown)


def provenance(recorded: dict) -> str:
    """Where a record comes from, in a line: profile, data, date, revision, machine, duration."""
    device, minutes = recorded["device"], recorded["seconds"] / 60
    threads = "1 thread" if device["threads"] == 1 else f"{device['threads']} threads"
    faces = f" ({records.EARLIER})" if records.superseded(recorded) else ""
    earlier = f", besides {recorded['reused']} results kept from earlier runs" if recorded.get("reused") else ""
    if recorded.get("reused_seconds", 0) >= 30:
        earlier += f" ({recorded['reused_seconds'] / 60:.0f} minutes of computing)"
    return (
        f"Recorded: {recorded['profile']} profile, {recorded['data']['name']}{faces}, {recorded['date'][:10]}, "
        f"revision {recorded['revision']}, {device['processor']} ({threads}), "
        f"{minutes:.0f} minutes{earlier}"
    )


def _table(
    rows: list[dict], by: list[str], metrics: list[str], n: dict[str, int], caption: str, values, means
) -> Table:
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        groups.setdefault(tuple(row[column] for column in by), []).append(row)
    lines, seeds = [], set()
    for key, members in groups.items():
        cells = []
        for metric in metrics:
            known = [m[metric] for m in members if _is_number(m.get(metric))]
            counts_images = metric not in values and metric not in means
            seeds.add(0 if len(known) == 1 and not counts_images else min(len(known), 3))
            cells.append(value(known) if metric in values else share(known, n[metric] if counts_images else None))
        lines.append([word(key[0]), *map(word, key[1:]), *cells, str(len(members))])
    heads = [*(column.replace("_", " ") for column in (*by, *metrics)), "seeds"]
    shares = [metric for metric in metrics if metric not in values]
    most = max(n[metric] for metric in metrics)
    fewer = ", ".join(f"{n[metric]:,} for {metric.replace('_', ' ')}" for metric in metrics if n[metric] != most)
    unit = "Per cent" if shares else "Values"
    plain = f"; {', '.join(m.replace('_', ' ') for m in values)} as they are" if shares and values else ""
    about = f"{unit}{plain}; {most:,} images{fewer and f', but {fewer}'}."
    about += "".join(f" {text}." for count, text in _BRACKETS.items() if count in seeds)
    return Table(caption, about, [dict(zip(heads, line, strict=True)) for line in lines])


_BRACKETS = {
    1: "One seed: with Wilson's 95 % interval over the images",
    2: "Two seeds: mean and both values",
    3: "More seeds: mean with Student's 95 % interval over them",
}


def share(values: list[float], n: int | None) -> str:
    """Shares of n images as text in per cent: one with Wilson's interval, or alone without n; two with their mean; more
    with Student's interval over the seeds, cut at 0 and 100."""
    interval = ()
    if len(values) > 2:  # rows read the same images, so only the seeds set them apart
        interval = evaluation.seed_interval(values)[1:]
    elif len(values) == 1 and n:
        interval = evaluation.wilson(round(values[0] * n), n)
    return _text([100 * share for share in values], [100 * min(max(bound, 0), 1) for bound in interval], "{:.1f}")


def value(values: list[float]) -> str:
    """Numbers that are no shares as text: one as it is, two with their mean, more as mean and t interval."""
    return _text(values, evaluation.seed_interval(values)[1:] if len(values) > 2 else (), "{:.3g}")


def _text(values: list[float], interval, form: str) -> str:
    if not values:
        return "not measured"
    mean = form.format(sum(values) / len(values))
    if len(values) == 2 and values[0] != values[1]:
        return f"{mean} ({', '.join(map(form.format, values))})"
    alike = len(values) > 1 and len(set(values)) == 1
    return mean if alike or not interval else f"{mean} [{', '.join(map(form.format, interval))}]"


def _is_number(value) -> bool:
    return value is not None and value == value  # nan differs from itself


def word(value) -> str:
    """A value that names a row, as text."""
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def shapes(model, images) -> Table:
    """The shape of every tensor along a network, in the order of its layers. images: what the network takes."""
    rows, handles = [_layer("input", "", images)], []
    for name, layer in model.named_modules():
        if not list(layer.children()):
            handles.append(layer.register_forward_hook(_noting(rows, name)))
    was_training = model.training
    model.eval()(images)
    model.train(was_training)
    for handle in handles:
        handle.remove()
    return Table("Shapes along the network", "In the order in which the layers run; B is the batch.", rows)


def _noting(rows: list, name: str):
    return lambda layer, _, output: rows.append(_layer(name, type(layer).__name__, output))


def _layer(name: str, kind: str, output) -> dict[str, str]:
    return {"Layer": name, "Kind": kind, "Output": f"(B, {', '.join(map(str, output.shape[1:]))})"}


class Prose:
    """A paragraph whose numbers were filled in."""

    def __init__(self, text: str):
        self.text = text

    def _repr_markdown_(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text


def say(profile: str, data: str, template: str) -> Prose:
    """A paragraph with numbers from claims and the chapter's committed record, or a run's own if it is of that kind.

    template: text with {name}, where name is a metric of the record (what has an interval is shown in per cent with
    it, other numbers as they are) or a claim's id (shown with its source). {name:%} asks for per cent, {name:points}
    for a difference of shares in points, {name:plain} for a number with its interval as they are. Without such a record
    the paragraph says so and how to make one. Another unit, and a name that is neither a metric of the record nor a
    claim, raise FerTeachError.
    """
    import re

    from . import claims

    current = records.current()
    mine = (profile, data) == (current["profile"], current["data"]["name"])
    recorded = current if mine else records.result(current["chapter"], profile, data)
    if recorded is None:
        root = "" if data == "rendered" else f" --data {data} --root FOLDER"
        command = f"fer-teach run {current['chapter']} --profile {profile}{root}"
        return Prose(f"*There is no record of the {profile} profile on {data} yet: `{command}` makes one.*")
    printed = current["chapter"] in claims.chapters()  # a chapter without a paper has no claims
    ids = {claim.id for claim in claims.load(current["chapter"])} if printed else set()

    def fill(match) -> str:
        name, unit = match[1], match[2]
        if unit not in (None, "%", "points", "plain"):
            raise FerTeachError(f"{match[0]}: the unit is %, points or plain.")
        if name in recorded["metrics"]:
            return number(recorded["metrics"][name], unit)
        if name in ids:
            return claims.cite(current["chapter"], name)
        raise FerTeachError(f"{{{name}}} is neither a metric of {current['chapter']} nor one of its claims.")

    older = f" (Recorded on {records.EARLIER}.)" if records.superseded(recorded) else ""
    return Prose(re.sub(r"{([\w-]+)(?::([^}]*))?}", fill, template) + older)


def number(metric: dict, unit: str | None = None) -> str:
    """A recorded metric as text, with its interval. unit: "%", "points", "plain" or None, as `say` takes them."""
    value, interval = metric["value"], metric["interval"]
    if unit == "plain" or not (unit or interval):
        plain = f"{value:,.0f}" if value == int(value) else f"{value:.3g}"
        return f"{plain} [{interval[0]:.3g}, {interval[1]:.3g}]" if interval else plain
    fine = interval and any(0 < abs(bound) < 0.0005 for bound in interval)  # on which side of zero does it end?
    form = f"{{:.{2 if fine else 1}f}}"
    bounds = f" [{', '.join(form.format(100 * bound) for bound in interval)}]" if interval else ""
    return f"{form.format(100 * value)} {unit or '%'}{bounds}"

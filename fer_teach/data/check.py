"""What `fer-teach data check` and `fer-teach data list` show: counts, duplicates across splits, anything odd."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from itertools import combinations

import torch

from fer_teach import data
from fer_teach.data.catalog import SPLITS, entry, roots, table
from fer_teach.data.dataset import FaceDataset, pixel_keys
from fer_teach.data.decoding import image_size
from fer_teach.data.published import STANDARD, compare
from fer_teach.errors import AbsentSplit, CountWarning, DataError


@dataclass(frozen=True)
class Shared:
    """Images of two splits with equal pixels: how many distinct ones, and how many images they are in each split."""

    first: str
    second: str
    distinct: int
    in_first: int
    in_second: int


@dataclass
class Report:
    """What stands in a data set.

    counts    split -> class -> images, by the loader's standard rule; sizes: split -> images before any rule
    shared    duplicates between two splits, over `sizes`' images; unique: distinct images over all splits
    subjects  split -> number of people, empty where unknown
    missing   split -> why it could not be loaded
    failed    those of `missing` that are damaged, or that the set must have to be whole
    people    number of people over all splits, None where unknown
    doubled   images that stand more than once within one split, pixel for pixel
    files     (height, width) -> files of that size, of those looked at; empty for sets in one table
    agree     sentences about what agrees with the published numbers
    odd       sentences about everything unexpected
    """

    name: str
    source: str
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    subjects: dict[str, int] = field(default_factory=dict)
    shared: list[Shared] = field(default_factory=list)
    unique: int = 0
    missing: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    people: int | None = None
    doubled: int = 0
    files: Counter = field(default_factory=Counter)
    agree: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        splits = list(self.counts)
        classes = list(next(iter(self.counts.values())))
        rows = [["class", *splits, "all"]]
        for name in classes:
            row = [self.counts[split][name] for split in splits]
            rows.append([name, *row, sum(row)])
        totals = [sum(self.counts[split].values()) for split in splits]
        rows.append(["all", *totals, sum(totals)])
        if totals != [self.sizes[split] for split in splits]:
            rows.append(["before the vote rule", *self.sizes.values(), sum(self.sizes.values())])
        if self.subjects:
            rows.append(["subjects", *self.subjects.values(), self.people])
        lines = [f"{self.name}: {self.source}", "", *_align(rows), ""]
        lines.append(f"{self.unique:,} of {sum(self.sizes.values()):,} images are unique, pixel for pixel.")
        for pair in self.shared:
            lines.append(
                f"{pair.first} and {pair.second} share {pair.distinct:,} distinct images: "
                f"{pair.in_first:,} images of {pair.first}, {pair.in_second:,} of {pair.second}."
            )
        if self.files:
            sizes = ", ".join(f"{width} x {height} ({n:,})" for (height, width), n in self.files.most_common(5))
            more = f" and {len(self.files) - 5} other sizes" if len(self.files) > 5 else ""
            lines.append(f"Width x height of {self.files.total():,} files: {sizes}{more}.")
        if self.doubled:
            lines.append(f"{self.doubled:,} images repeat another one of the same split.")
        lines += [sentence[0].upper() + sentence[1:] for sentence in self.agree]
        lines += [f"No split {split!r}: {why}" for split, why in self.missing.items()]
        lines += [f"Odd: {sentence}" for sentence in self.odd] or ["Nothing odd."]
        return "\n".join(lines)


def check(name: str, root: str | os.PathLike | None = None) -> Report:
    """Load every split, count, compare the splits pixel for pixel and with the published numbers.

    A split that cannot be loaded is reported and the others are still checked; where none can, "all" is, for the sets
    that have it. A split that sound data need not have (RAF-DB's valid; any of a part of a set that its publisher does
    not split in three) is not among those that failed. Errors: DataError where nothing loads.
    """
    report, known = Report(name, _source(name, root)), entry(name)
    whole: dict[str, FaceDataset] = {}
    needed = known.published or (() if "all" in known.splits else SPLITS)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for split in (*SPLITS, *known.splits[len(SPLITS) :]):
            if split == "all" and whole:
                break
            try:
                standard = data.load(name, root, split)
                whole[split] = data.load(name, root, split, rule="all") if name == "ferplus" else standard
            except DataError as error:
                if split in needed or not isinstance(error, AbsentSplit):
                    report.failed.append(split)
                if split in report.failed or split in (known.published or SPLITS):
                    report.missing[split] = str(error)
                continue
            report.counts[split] = standard.counts()
            report.sizes[split] = len(whole[split])
            if standard.subjects is not None:
                report.subjects[split] = len(standard.subjects.unique())
    if not whole:
        raise DataError("\n".join(dict.fromkeys(report.missing.values())))
    everybody = [dataset.subjects for dataset in whole.values() if dataset.subjects is not None]
    report.people = len(torch.cat(everybody).unique()) if everybody else None
    told = [warning for warning in caught if issubclass(warning.category, UserWarning)]
    report.odd += dict.fromkeys(str(w.message) for w in told if not issubclass(w.category, CountWarning))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the splits have told everything
        report.files = file_sizes(name, root)
    _compare_splits(report, whole)
    _compare_published(report)
    return report


def file_sizes(name: str, root: str | os.PathLike | None = None, most: int = 500) -> Counter:
    """(height, width) -> files of that size, of up to `most` image files evenly over the set; empty where unknown.

    Sets that lie in one table, and those whose loader does not list its files, give nothing.
    """
    module = import_module(f"fer_teach.data.{entry(name).module}")
    if not hasattr(module, "scan"):
        return Counter()
    found = module.scan(roots(name, root))
    some = found.files[:: max(1, len(found.files) // most)][:most]
    with found.tree.reading(some) as read:
        return Counter(filter(None, (_size(read, file) for file in some)))


def _size(read: Callable[[str], bytes], file: str) -> tuple[int, int] | None:
    """None for a damaged file: whoever loads it says so."""
    try:
        return image_size(read(file))
    except (OSError, ValueError):
        return None


def list_text(root: str | os.PathLike | None = None) -> str:
    """Known data sets as text: name, what it is, chapters, licence, state; then who grants access to each."""
    known = table(root)
    columns = ("name", "what", "chapters", "licence", "state")
    lines = _align([list(columns), *([row[column] for column in columns] for row in known)])
    return "\n".join([*lines, "", "Access", *(f"  {row['name']}: {row['access']}" for row in known)])


def _source(name: str, root) -> str:
    return next((row["state"] for row in table(root, only=name)), "unknown")


def _compare_splits(report: Report, whole: dict[str, FaceDataset]) -> None:
    keys = {split: Counter(pixel_keys(dataset.images)) for split, dataset in whole.items()}
    report.unique = len(set().union(*keys.values()))
    report.doubled = sum(sum(counter.values()) - len(counter) for counter in keys.values())
    for first, second in combinations(keys, 2):
        both = keys[first].keys() & keys[second].keys()
        in_first, in_second = (sum(keys[split][key] for key in both) for split in (first, second))
        report.shared.append(Shared(first, second, len(both), in_first, in_second))
    for split, dataset in whole.items():
        flat = dataset.images.flatten(1)
        constant = int((flat.amin(1) == flat.amax(1)).sum())
        if constant:
            report.odd.append(f"{constant:,} image{'s' * (constant > 1)} of {split} show one grey value only.")
        absent = [name for name, n in report.counts[split].items() if n == 0]
        if absent:
            report.odd.append(f"{split} has no image of {', '.join(absent)}.")


def _compare_published(report: Report) -> None:
    whole = {split: {"": size} for split, size in report.sizes.items()} if report.name in STANDARD else report.counts
    report.agree, differ = compare(report.name, whole, report.people)
    if report.name in STANDARD:
        agree, more = STANDARD[report.name].compare(report.counts, None)
        report.agree += agree
        differ += more
    report.odd += differ


def _align(rows: list[list]) -> list[str]:
    """Columns of equal width: numbers to the right, words to the left."""
    text = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*text, strict=True)]
    right = [any(isinstance(row[i], int) for row in rows) for i in range(len(widths))]
    return [
        "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)).rstrip()
        for row in text
    ]

"""A figure of the user's own copy of a data set. It is made on the user's machine and never part of the book."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from fer_teach import data, paths
from fer_teach.data.catalog import entry
from fer_teach.data.check import file_sizes
from fer_teach.data.dataset import FaceDataset
from fer_teach.errors import DataError

FEWEST = 20  # images behind a mean face: a mean of fewer may show a person


def summary(name: str, root: str | os.PathLike | None = None, **options):
    """A matplotlib Figure: images per class and split, sizes of the files, mean face of every class.

    The splits are those of `data.splits`.
    options  as `load` takes them. A class with fewer than 20 images in train gets no mean face. Errors: as `load`.
    """
    from matplotlib.figure import Figure

    entry(name)
    splits = data.splits(name, root, **options)
    classes = splits["train"].classes
    figure = Figure(figsize=(max(8, 1.1 * len(classes)), 7), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(3, 2))
    counts, sizes = above.subplots(1, 2, width_ratios=(2, 1))
    _draw_counts(counts, splits)
    _draw_sizes(sizes, name, root, splits["train"])
    for axes, label in zip(below.subplots(1, len(classes), squeeze=False)[0], range(len(classes)), strict=True):
        _draw_mean(axes, splits["train"], label)
    below.suptitle("Mean of the training images of each class", fontsize="medium")
    figure.suptitle(f"{entry(name).title}: {sum(map(len, splits.values())):,} images")
    return figure


def write(name: str, root: str | os.PathLike | None, out: Path, **options) -> Path:
    """`summary` as a picture file. Errors: DataError for a place inside the book's own folders, or not writable."""
    target = out.expanduser().resolve()
    book, build = paths.root().resolve(), paths.build().resolve()
    if paths.in_checkout() and target.is_relative_to(book) and not target.is_relative_to(build):
        raise DataError(f"{out} is inside the book. Means of research data do not belong there: choose another --out.")
    figure = summary(name, root, **options)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(target, dpi=120)
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot write {out}: {error}. Choose another --out, such as {name}.png.") from error
    return target


def _draw_counts(axes, splits: dict[str, FaceDataset]) -> None:
    left = np.zeros(len(splits["train"].classes))
    for split, dataset in splits.items():
        numbers = np.array(list(dataset.counts().values()))
        axes.barh(range(len(left)), numbers, left=left, label=f"{split} {len(dataset):,}")
        left += numbers
    axes.set_yticks(range(len(left)), splits["train"].classes)
    axes.invert_yaxis()
    axes.set_xlabel("images")
    axes.legend(fontsize="small", ncols=len(splits), loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)


def _draw_sizes(axes, name: str, root, train: FaceDataset) -> None:
    counts = file_sizes(name, root) or Counter([train.size])
    most = counts.most_common(8)
    axes.barh(range(len(most)), [number for _, number in most], height=min(0.8, 0.2 * len(most)), color="0.6")
    axes.set_ylim(-0.5, len(most) - 0.5)
    axes.set_yticks(range(len(most)), [f"{width} x {height}" for (height, width), _ in most])
    axes.invert_yaxis()
    axes.set_xlabel(f"of {sum(counts.values()):,} files: width x height")


def _draw_mean(axes, train: FaceDataset, label: int) -> None:
    chosen = train.labels == label
    axes.set_axis_off()
    axes.set_title(train.classes[label], fontsize="small")
    if int(chosen.sum()) < FEWEST:
        axes.text(0.5, 0.5, f"fewer than\n{FEWEST} images", ha="center", va="center", fontsize="x-small")
        return
    total = sum(part.sum(0, dtype=torch.float64) for part in train.images[chosen].split(1024))
    mean = (total / int(chosen.sum())).permute(1, 2, 0).numpy() / 255
    axes.imshow(mean[:, :, 0] if mean.shape[2] == 1 else mean, cmap="gray", vmin=0, vmax=1)

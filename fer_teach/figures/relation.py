"""Figures of attention maps and of the weights of parts."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

from .base import done, show


def maps_over_time(images, snapshots, titles):
    """Maps as they change: a row an image, a column a moment. snapshots: one (N, h, w) a moment; titles: one each."""
    size = 1.35
    shape = len(images), len(snapshots)
    figure, axes = plt.subplots(*shape, figsize=(shape[1] * size, shape[0] * size + 0.3), squeeze=False)
    for row, image in zip(range(shape[0]), images, strict=True):
        for column, moment in enumerate(snapshots):
            show(axes[row, column], image, moment[row])
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=11, loc="center", pad=3)
    return done(figure)


def histograms(image, outline, patch, descriptor, strokes, cell, block):
    """What a SIFT descriptor and a HOG block hold, in four panels.

    image: (H, W) with outline (4, 2), the corners of the descriptor's square; patch: (h, w), the square set upright;
    descriptor: (4, 4, 8), cells by directions from 0 degrees on; strokes: HOG's picture (H, W); cell: its pixels;
    block: (2, 2, 9), the block whose first cell lies in the middle of the image.
    """
    figure, axes = plt.subplots(1, 4, figsize=(10.4, 2.9))
    titles = (
        "one key point's square",
        "SIFT: 4 x 4 cells, 8 directions",
        "HOG's cells, one block",
        "its 2 x 2 cells, 9 directions",
    )
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, fontsize=11)
        axis.set(xticks=[], yticks=[])
    orange = "#e8590c"
    axes[0].imshow(image, cmap="gray")
    axes[0].plot(*np.concatenate([outline, outline[:1]]).T, color=orange, lw=2)
    axes[1].imshow(patch, cmap="gray", extent=(0, 4, 4, 0), alpha=0.45)
    _strokes(axes[1], descriptor, np.arange(8) * 45, both_ways=False)
    axes[2].imshow(strokes, cmap="gray", vmax=np.percentile(strokes, 99))
    corner = [side // cell // 2 * cell - 0.5 for side in image.shape]
    axes[2].add_patch(plt.Rectangle(corner[::-1], 2 * cell, 2 * cell, fill=False, color=orange, lw=2))
    _strokes(axes[3], block, np.arange(9) * 20 + 10 + 90, both_ways=True)  # along the edge, across its gradient
    return done(figure)


def _strokes(axis, cells, degrees, both_ways):
    """Each cell's histogram (rows, columns, bins) as strokes from its middle, the longest half a cell long."""
    across, up = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    for row, column in np.ndindex(*cells.shape[:2]):
        length = 0.48 * cells[row, column] / cells.max()
        start = column + 0.5, row + 0.5
        for dx, dy in zip(length * across, -length * up, strict=True):
            first = (start[0] - dx, start[1] - dy) if both_ways else start
            axis.plot([first[0], start[0] + dx], [first[1], start[1] + dy], color="#1f5a8a", lw=1.6)
    rows, columns = cells.shape[:2]
    axis.set(xlim=(0, columns), ylim=(rows, 0), aspect="equal", facecolor="white")
    for line in range(1, max(rows, columns)):
        axis.axhline(line, color="#8a8a8a", lw=0.6)
        axis.axvline(line, color="#8a8a8a", lw=0.6)


def part_shares(names, parts, means, lows, highs, ylabel: str):
    """Shares of parts for each name, with intervals. means, lows, highs: (names, parts); nan where there is none."""
    means, lows, highs = (np.asarray(v, dtype=float) for v in (means, lows, highs))
    figure, axis = plt.subplots(figsize=(1.6 + 0.9 * len(names), 3.6))
    colours, markers = ("#1f5a8a", "#c4572b", "#6b6b6b"), "o^s"
    for k, part in enumerate(parts):
        at = np.arange(len(names)) + (k - (len(parts) - 1) / 2) * 0.2
        reach = np.nan_to_num(np.stack([means[:, k] - lows[:, k], highs[:, k] - means[:, k]]))
        axis.errorbar(at, means[:, k], reach, fmt=markers[k % 3], color=colours[k % 3], ms=6, lw=1.6, label=part)
    axis.axhline(1 / len(parts), color="#8a8a8a", lw=0.8, zorder=0)
    axis.set(xticks=range(len(names)), xticklabels=names, ylabel=ylabel)
    axis.tick_params(axis="x", rotation=30)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return done(figure)


def rate_range(rates, losses):
    """Loss against the learning rate of each step, smoothed over five steps, with a line at ln 2."""
    losses = np.asarray(losses, dtype=float)
    smooth = np.convolve(np.pad(losses, 2, mode="edge"), np.ones(5) / 5, mode="valid")
    figure, axis = plt.subplots(figsize=(7.2, 3.2))
    axis.plot(rates, losses, color="#8a8a8a", lw=0.8, label="one batch")
    axis.plot(rates, smooth, color="#1f5a8a", marker="o", markevery=max(1, len(rates) // 8), label="mean of five")
    axis.axhline(np.log(2), color="#c4572b", ls="--", lw=1.2, label="ln 2")
    axis.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(0, min(float(smooth.max()) * 1.1, 2.0)))
    axis.legend(loc="upper left")
    return done(figure)

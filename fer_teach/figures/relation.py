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

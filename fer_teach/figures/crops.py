"""Figures of regions: landmarks, boxes, and how much each region weighs."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

from .base import done, show

COLOURS = ("#1f5a8a", "#c4572b", "#3d7f4e", "#7a5195", "#8a6d1f", "#4a4a4a")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))


def landmarks_on(images, detections, size: float = 1.95):
    """Images with what `fer_teach.landmarks.detect` returned for each: (box, (68, 2)) or None."""
    figure, axes = plt.subplots(1, len(images), figsize=(size * len(images), size), squeeze=False)
    for axis, image, detection in zip(axes.flat, images, detections, strict=True):
        show(axis, image)
        axis.axis("off")
        if detection is None:
            axis.set_title("no face found", fontsize=11, loc="center")
            continue
        (left, top, right, bottom), points = detection
        height, width = image.shape[-2:]
        axis.add_patch(plt.Rectangle((left, top), right - left, bottom - top, fill=False, ec="#4fa3e0", lw=1.8))
        axis.scatter(points[:, 0] + 0.5, points[:, 1] + 0.5, s=9, color="#ff7a1a", edgecolors="none")
        axis.set(xlim=(0, width), ylim=(height, 0))
    return done(figure)


def crop_schemes(image, schemes: dict, regions: dict, size: float = 0.72):
    """A row a scheme: the image with the scheme's boxes (k, 4) drawn on it, then its regions (1 + k, C, s, s)."""
    most = max(len(found) for found in regions.values())
    figure, axes = plt.subplots(
        len(schemes), 1 + most, figsize=(size * (1.9 + most), size * 2.0 * len(schemes)), squeeze=False,
        width_ratios=(1.9, *[1] * most),
    )  # fmt: skip
    for row, (name, boxes) in zip(axes, schemes.items(), strict=True):
        show(row[0], image)
        row[0].set_title(name, fontsize=12, loc="center", pad=3)
        for i, (x0, y0, x1, y1) in enumerate(np.asarray(boxes)):
            style = {"ec": COLOURS[(i + 1) % 6], "ls": _DASHES[(i + 1) % 6]}
            row[0].add_patch(plt.Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, lw=1.8, **style))
        for i, (axis, region) in enumerate(zip(row[1:], regions[name], strict=False)):
            show(axis, region)
            axis.set_title("whole" if i == 0 else str(i), fontsize=11, loc="center", pad=3, color=COLOURS[i % 6])
        for axis in row:
            axis.axis("off")
    return done(figure)


def region_weights(images, weights, titles, names, limit: float | None = None):
    """A face a column, and under it how much each of its regions weighs. weights: (N, R), rows sum to 1; limit: the end
    of the scale, by default just above the highest weight."""
    weights = np.asarray(weights)
    figure, axes = plt.subplots(
        2, len(images), figsize=(0.9 + 1.8 * len(images), 4.0), sharey="row", height_ratios=(1.9, 2.0), squeeze=False
    )
    for (top, bottom), image, row, title in zip(axes.T, images, weights, titles, strict=True):
        show(top, image)
        top.axis("off")
        top.set_title(title, fontsize=12, loc="center")
        at = np.arange(len(row))[::-1]
        bottom.barh(at, row, color=[COLOURS[i % 6] for i in range(len(row))])
        bottom.axvline(1 / len(row), color="#8a8a8a", lw=1, ls="--")
        bottom.set(xlim=(0, limit or weights.max() * 1.05), yticks=at, yticklabels=names)
        bottom.xaxis.get_major_locator().set_params(nbins=3)
        bottom.set_xlabel("weight")
    return done(figure)


def weight_change(change, rows, columns, label: str = "change of the region's weight, in points"):
    """How much each region's weight changes, in points. change: (P, R) for P places of an occluder and R regions."""
    import seaborn

    change = 100 * np.asarray(change, dtype=float)
    reach = max(1.0, np.abs(change).max())
    figure, axis = plt.subplots(figsize=(2.6 + 0.75 * len(columns), 1.6 + 0.42 * len(rows)))
    seaborn.heatmap(
        change, annot=np.array([[f"{v:+.1f}" for v in row] for row in change]), fmt="", cmap="PuOr_r", vmin=-reach,
        vmax=reach, linewidths=0.6, linecolor="#fbfaf7", xticklabels=columns, yticklabels=rows, ax=axis,
        annot_kws={"fontsize": 11}, cbar_kws={"label": label},
    )  # fmt: skip
    axis.tick_params(axis="x", rotation=30)
    axis.tick_params(axis="y", rotation=0)
    return done(figure)

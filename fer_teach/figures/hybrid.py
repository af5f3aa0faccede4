"""Figures of aligned regions, of a margin between angles, and of recurrent states."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

from .base import done, show

_ORANGE, _BLUE = "#d55e00", "#1f5a8a"


def regions(images, points, outlines, crops: dict, names):
    """Faces with landmarks and outlines of their regions, and beside each its crops, cut in one or more ways.

    images: (B, 1, H, W) in [-1, 1]; points: (B, 68, 2) and outlines: (B, K, 4, 2), corners, in pixels; crops: the way
    -> (B, K, 1, s, s); names: K regions.
    """
    ways, count = list(crops), len(names)
    figure, axes = plt.subplots(
        len(ways) * len(images), 1 + count, figsize=(1.42 * (1 + count), 1.42 * len(ways) * len(images)), squeeze=False
    )
    for axis in axes.flat:
        axis.axis("off")
    for i, image in enumerate(images):
        rows = axes[i * len(ways) : (i + 1) * len(ways)]
        show(rows[0][0], image)
        side = image.shape[-1]
        rows[0][0].plot(*(np.asarray(points[i]) + 0.5).T, ".", ms=2.2, color="#e8590c")
        for corners in np.asarray(outlines[i]) + 0.5:
            rows[0][0].plot(*np.append(corners, corners[:1], 0).T, lw=1.1, color="#56b4e9")
        rows[0][0].set(xlim=(0, side), ylim=(side, 0))
        for row, way in zip(rows, ways, strict=True):
            for axis, crop, name in zip(row[1:], crops[way][i], names, strict=True):
                show(axis, crop)
                axis.set_title(f"{name}\n{way}" if i == 0 else way, fontsize=10, loc="center", pad=2)
    return done(figure)


def margin(scale: float, margin: float):
    """Two classes on the unit circle under CosFace: the arcs on which either satisfies its loss, the gap between them,
    and the probability of class 1 along the upper half, as training sees it (target 1, with margin) and without."""
    with plt.rc_context({"figure.constrained_layout.use": False}):
        figure, (left, right) = plt.subplots(1, 2, figsize=(6.6, 3.1), gridspec_kw={"width_ratios": (1, 1.35)})
        figure.subplots_adjust(0.02, 0.18, 0.98, 0.8, wspace=0.28)
    at = np.radians([140.0, 40.0])  # directions of the two classes
    angle = np.linspace(0, np.pi, 721)
    cosines = np.cos(angle[None] - at[:, None])  # (2, angles)
    around = np.linspace(0, 2 * np.pi, 361)
    left.plot(np.cos(around), np.sin(around), color="#8a8a8a", lw=0.8)
    for first, colour, label in ((0, _ORANGE, "1"), (1, _BLUE, "2")):
        won = cosines[first] - margin > cosines[1 - first]
        left.plot(np.cos(angle[won]), np.sin(angle[won]), color=colour, lw=5, solid_capstyle="butt")
        left.annotate(
            "",
            (np.cos(at[first]), np.sin(at[first])),
            (0, 0),
            arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.8},
        )
        left.text(
            1.2 * np.cos(at[first]),
            1.2 * np.sin(at[first]),
            f"$w_{label}$",
            color=colour,
            ha="center",
            va="center",
            fontsize=13,
        )
    left.set(xlim=(-1.35, 1.35), ylim=(-0.3, 1.35), aspect="equal")
    left.axis("off")
    left.set_title("who is satisfied", loc="center")
    for cost, style, label in ((margin, "-", "with the margin"), (0.0, "--", "without")):
        lead = scale * (cosines[0] - cost - cosines[1])
        right.plot(
            np.degrees(angle), 1 / (1 + np.exp(-np.clip(lead, -60, 60))), style, color=_ORANGE, lw=2, label=label
        )
    right.set(xlabel="angle of the feature in degrees", xlim=(180, 0), ylim=(-0.04, 1.04), xticks=(140, 90, 40))
    right.set_title("probability of class 1", loc="center")
    right.legend(loc="upper right", fontsize=10)
    figure.suptitle(f"scale {scale:g}, margin {margin:g}", fontsize=12, y=0.99)
    return done(figure)


def states(images, titles, values, names):
    """What an LSTM holds after each part it read: values (B, K, H) in -1..1 as shades, one panel an image.

    images: (B, 1, H, W) in [-1, 1]; titles: B strings; names: of the K parts, in the order read.
    """
    values = np.asarray(values, dtype=float)
    figure, axes = plt.subplots(
        len(images), 2, figsize=(7.6, 1.25 * len(images) + 0.5), gridspec_kw={"width_ratios": (1, 5.2)}, squeeze=False
    )
    for (left, right), image, title, value in zip(axes, images, titles, values, strict=True):
        show(left, image)
        left.set_ylabel(title, fontsize=11)
        shades = right.imshow(value, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
        right.set(yticks=range(len(names)), yticklabels=names, xticks=[])
        right.grid(False)
    axes[-1, 1].set_xlabel("hidden units")
    figure.colorbar(shades, ax=axes[:, 1], label="state", shrink=0.7, pad=0.02)
    return done(figure)

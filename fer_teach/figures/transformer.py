"""Figures of spatial transformers."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

from .base import done, show


def mesh(axis, grid, image=None, step: int = 6) -> None:
    """Draw a sampling grid (H, W, 2), x and y in -1..1, as a mesh over the image that it reads from."""
    grid = np.asarray(grid)
    height, width = grid.shape[:2]
    if image is not None:
        show(axis, image)
    x, y = (grid[..., 0] + 1) * width / 2, (grid[..., 1] + 1) * height / 2
    lines = sorted({*range(0, height, step), height - 1})
    for i in lines:
        axis.plot(x[i], y[i], color="#e8590c", lw=0.9)
        axis.plot(x[:, i], y[:, i], color="#e8590c", lw=0.9)
    margin = 0.3
    axis.set(xlim=(-margin * width, (1 + margin) * width), ylim=((1 + margin) * height, -margin * height))
    axis.set_aspect("equal")
    axis.axis("off")


def transform_panel(image, grid, warped, theta):
    """One state of a spatial transformer: the mesh over the input, what it reads, and theta (2, 3) above."""
    with plt.rc_context({"figure.constrained_layout.use": False}):
        figure, (left, right) = plt.subplots(1, 2, figsize=(3.7, 2.5))
        figure.subplots_adjust(0.02, 0.02, 0.98, 0.72, wspace=0.06)
    mesh(left, grid, image)
    left.set_title("where it reads", loc="center", fontsize=11)
    show(right, warped)
    right.set_title("what it reads", loc="center", fontsize=11)
    rows = ("  ".join(f"{value:5.2f}" for value in row) for row in np.asarray(theta).round(2) + 0.0)  # no -0.00
    figure.suptitle("\n".join(rows), fontsize=11, family="monospace")
    return done(figure)


def thetas(before: dict, after: dict):
    """Theta less the identity per group of images, before and after training: mean and one standard deviation.

    before, after: group's name -> (N, 2, 3).
    """
    names = [rf"$\theta_{{{i}{j}}}$" for i in (1, 2) for j in (1, 2, 3)]
    figure, axes = plt.subplots(1, 2, figsize=(8.6, 3.4), sharey=True)
    for axis, held, title in zip(axes, (before, after), ("before training", "after training"), strict=True):
        for number, (group, theta) in enumerate(held.items()):
            off = np.asarray(theta).reshape(len(theta), 6) - np.eye(2, 3).ravel()
            at = np.arange(6) + (number - (len(held) - 1) / 2) * 0.16
            axis.errorbar(at, off.mean(0), off.std(0), fmt="osD^vP"[number], ms=5, lw=1.4, label=group)
        axis.axhline(0, color="#8a8a8a", lw=0.8, zorder=0)
        axis.set(xticks=range(6), xticklabels=names, title=title)
    axes[0].set_ylabel("difference from the identity")
    axes[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return done(figure)

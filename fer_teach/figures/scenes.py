"""Figures of chapter 03's theme: mixing weights, embeddings."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np

from .base import done, emotion_style


def beta_panel(a: float, b: float):
    """Densities of lambda ~ Beta(a, b) and of the smaller of lambda and 1 - lambda."""
    from scipy.stats import beta

    x = np.linspace(0.005, 0.995, 200)
    half = x[x <= 0.5]
    figure, axes = plt.subplots(1, 2, figsize=(6.4, 2.5), sharey=True)
    drawn = ((x, beta.pdf(x, a, b)), (half, beta.pdf(half, a, b) + beta.pdf(1 - half, a, b)))
    for axis, (at, height), label in zip(axes, drawn, ("lambda", "smaller share of a pair"), strict=True):
        axis.fill_between(at, height, color="#1f5a8a", alpha=0.25)
        axis.plot(at, height, color="#1f5a8a")
        axis.set(xlabel=label, ylim=(0, 6), xlim=(0, at[-1]))
    axes[0].set_ylabel("density")
    figure.suptitle(f"Beta({a:g}, {b:g})", fontsize=12)
    return done(figure)


def embeddings(points: dict, labels, classes):
    """Points in the plane, one panel a name, coloured by class. points: name -> (N, 2); labels: int (N,)."""
    labels = np.asarray(labels)
    figure, axes = plt.subplots(1, len(points), figsize=(4.4 * len(points), 3.9), squeeze=False)
    for axis, (name, where) in zip(axes.flat, points.items(), strict=True):
        where = np.asarray(where)
        for c, label in enumerate(classes):
            mine = where[labels == c]
            axis.scatter(mine[:, 0], mine[:, 1], s=16, alpha=0.7, lw=0, label=label, **emotion_style(label))
        axis.set(title=name, xticks=[], yticks=[])
    axes[0, -1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return done(figure)

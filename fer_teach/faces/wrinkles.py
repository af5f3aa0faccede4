"""Folds of the skin that come with action units, and with age.

A fold is a crease along a curve on the base face: a narrow valley with raised flanks. Its depth follows the action
units that make it (FACS lists them among the signs of each unit) and, a little, the age.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.interpolate import PchipInterpolator

from fer_teach.faces.facs import INDEX
from fer_teach.faces.skin import plane, step

SIGNS = (
    # points of the subject's left side (x, y); width; driving units; depth from age; depth; taper
    ([(0.17, 6.93), (0.29, 6.82), (0.35, 6.67), (0.355, 6.54)], 0.050,
     "AU12 1.2 AU9 .88 AU10 1. AU6 .33 AU15 .62 AU20 .5 AU17 .2", 0.4, 1.1, 0.3),
    ([(0.20, 7.19), (0.33, 7.15), (0.47, 7.20)], 0.017, "AU6 .77 AU7 .55 AU12 .18", 0.45, 1.0, 0.3),
    ([(0.20, 7.10), (0.33, 7.045), (0.46, 7.08)], 0.020, "AU6 .44 AU9 .44", 0.3, 0.7, 0.3),
    ([(0.50, 7.302), (0.58, 7.32), (0.66, 7.328)], 0.012, "AU6 .99 AU7 .33", 0.4, 0.8, 0.3),
    ([(0.50, 7.239), (0.58, 7.23), (0.66, 7.224)], 0.012, "AU6 .99 AU7 .33", 0.4, 0.8, 0.3),
    ([(0.50, 7.204), (0.58, 7.18), (0.66, 7.094)], 0.012, "AU6 .99 AU7 .33", 0.4, 0.8, 0.3),
    ([(0.0, 7.64), (0.14, 7.628), (0.27, 7.655)], 0.026, "AU1 1.25", 0.2, 0.45, 0.15),
    ([(0.0, 7.74), (0.14, 7.728), (0.27, 7.755)], 0.026, "AU1 1.25", 0.2, 0.45, 0.15),
    ([(0.0, 7.83), (0.14, 7.818), (0.26, 7.845)], 0.026, "AU1 1.", 0.2, 0.4, 0.15),
    ([(0.2, 7.645), (0.36, 7.66), (0.52, 7.59)], 0.026, "AU2 1.25", 0.18, 0.5, 0.3),
    ([(0.2, 7.745), (0.36, 7.76), (0.52, 7.69)], 0.026, "AU2 1.25", 0.18, 0.5, 0.3),
    ([(0.2, 7.835), (0.36, 7.85), (0.50, 7.79)], 0.026, "AU2 1.", 0.18, 0.4, 0.3),
    ([(0.055, 7.38), (0.06, 7.46), (0.075, 7.57)], 0.018, "AU4 1.75 AU9 .62", 0.15, 1.2, 0.3),
    ([(0.11, 7.36), (0.13, 7.42), (0.20, 7.50)], 0.020, "AU4 1.12", 0.0, 0.6, 0.3),
    ([(0.0, 7.288), (0.05, 7.29), (0.10, 7.30)], 0.014, "AU4 1. AU9 1.12", 0.1, 1.0, 0.05),
    ([(0.03, 7.22), (0.10, 7.16), (0.15, 7.08)], 0.012, "AU9 1.75", 0.0, 1.0, 0.3),
    ([(0.04, 7.15), (0.11, 7.09), (0.16, 7.01)], 0.012, "AU9 1.5", 0.0, 1.0, 0.3),
    ([(0.0, 6.455), (0.09, 6.448), (0.17, 6.42)], 0.025, "AU17 .9 AU24 .25", 0.2, 1.1, 0.05),
    ([(0.31, 6.70), (0.335, 6.62), (0.31, 6.53)], 0.014, "AU14 1.1 AU24 .5 AU12 .3", 0.1, 1.1, 0.3),
    ([(0.29, 6.56), (0.33, 6.45), (0.34, 6.34)], 0.018, "AU15 1.25 AU20 .5 AU17 .2", 0.35, 1.0, 0.3),
)  # fmt: skip
LID = ([(0.17, 7.315), (0.24, 7.385), (0.33, 7.405), (0.43, 7.385), (0.51, 7.31)], 0.011)


@dataclass(frozen=True)
class Fold:
    """rows, columns: the patch of the texture; height float32 (h, w); side: 0 left; drivers (units,); age; lid."""

    rows: slice
    columns: slice
    height: np.ndarray
    side: int
    drivers: np.ndarray
    age: float
    lid: bool


@cache
def folds(density: int) -> tuple[Fold, ...]:
    """All folds of both sides at `density` pixels a decimetre."""
    made = []
    for points, width, text, age, depth, taper in SIGNS:
        words = text.split()
        drivers = np.zeros(len(INDEX), np.float32)
        for code, weight in zip(words[::2], words[1::2], strict=True):
            drivers[INDEX[code]] = float(weight)
        for side in (0, 1):
            made.append(_fold(density, points, width, side, drivers, age, depth, taper))
    for side in (0, 1):
        drivers = np.zeros(len(INDEX), np.float32)
        drivers[INDEX["AU5"]] = -0.5
        made.append(_fold(density, *LID, side, drivers, 1.0, 1.0, 0.25, lid=True))
    return tuple(made)


def _fold(density, points, width, side, drivers, age, depth, taper, lid=False):
    p = plane(density)
    points = np.array(points) * ((1 if side == 0 else -1), 1)
    along = np.r_[0, np.cumsum(np.hypot(*np.diff(points, axis=0).T))]
    t = np.linspace(0, 1, 60)
    curve = np.stack([PchipInterpolator(along / along[-1], points[:, k])(t) for k in (0, 1)], 1)
    inside = (abs(p.x - curve[:, 0].mean()) < np.ptp(curve[:, 0]) / 2 + 5 * width) & (
        abs(p.y - (curve[:, 1].max() + curve[:, 1].min()) / 2) < np.ptp(curve[:, 1]) / 2 + 5 * width
    )
    rows, columns = (np.nonzero(inside.any(axis))[0] for axis in (1, 0))
    rows, columns = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    place = np.stack([p.x[rows, columns], p.y[rows, columns]], -1)
    far = ((place[:, :, None] - curve) ** 2).sum(-1)
    nearest, far = t[far.argmin(-1)], np.sqrt(far.min(-1))
    ends = (step(0, taper, nearest) if points[0, 0] else 1.0) * step(0, taper, 1 - nearest)
    if not points[0, 0]:  # the two halves meet in the middle
        ends = ends * ((place[..., 0] > 0) == (side == 0))
    height = -np.exp(-((far / width) ** 2)) + 0.45 * np.exp(-(((far - 2 * width) / (1.2 * width)) ** 2))
    return Fold(rows, columns, (depth * ends * height).astype(np.float32), side, drivers, age, lid)


def relief(action: np.ndarray, old: float, child: float, lid_crease: float, density: int) -> np.ndarray:
    """Height and its slopes right and up, float32 (H, W, 3); -1 is a full crease. action: (units, 2)."""
    p = plane(density)
    height = np.zeros_like(p.x)
    for fold in folds(density):
        amount = float(fold.drivers @ action[:, fold.side])
        if fold.lid:
            amount = lid_crease + amount
        else:
            amount = amount * (0.65 + 0.6 * old - 0.35 * child) + fold.age * (0.1 + 0.8 * old)
        if amount > 0.03:
            height[fold.rows, fold.columns] += min(amount, 1.5) * fold.height
    down, right = np.gradient(height)
    return np.stack([height, right, -down], -1)

"""The stand-in's geometry: 68 points of a face in 3-D, moved by identity and action units, turned and projected."""

from __future__ import annotations

import numpy as np

SEED = 20260


class Person:
    """What stays the same over all pictures of one subject."""

    def __init__(self, subject: int):
        rng = np.random.default_rng([SEED, 7, subject])
        self.width, self.height = rng.uniform(0.88, 1.08), rng.uniform(0.92, 1.1)
        self.eye_x, self.eye_width, self.eye_open = (
            rng.uniform(0.41, 0.49),
            rng.uniform(0.17, 0.22),
            rng.uniform(0.05, 0.095),
        )
        self.brow_y, self.brow_tilt, self.brow_bend = (
            rng.uniform(-0.62, -0.52),
            rng.normal(0, 0.05),
            rng.uniform(0.02, 0.1),
        )
        self.brow_thick, self.nose_long, self.nose_wide = (
            rng.uniform(0.05, 0.11),
            rng.uniform(0.2, 0.34),
            rng.uniform(0.15, 0.24),
        )
        self.mouth_width, self.lip, self.mouth_y = (
            rng.uniform(0.31, 0.43),
            rng.uniform(0.06, 0.12),
            rng.uniform(0.6, 0.7),
        )
        self.corner = rng.normal(0, 0.02)
        self.skin, self.hair, self.hairline = rng.integers(105, 225), rng.integers(10, 110), rng.uniform(-0.95, -0.72)
        self.bald, self.glasses, self.beard = rng.random() < 0.15, rng.random() < 0.15, rng.random() < 0.12


def landmarks(person: Person, au: dict[str, float], side: int) -> np.ndarray:
    """68 points (68, 3) of the frontal face in half-widths: x right, y down, z towards the viewer; dlib's order."""
    angle = np.pi * np.arange(17) / 16
    jaw_y = -0.15 + np.sin(angle) ** 0.85 * (1.25 * person.height + 0.14 * au["AU26"])
    jaw = np.stack([-np.cos(angle) * person.width, jaw_y, 0.5 * np.sin(angle) - 0.4], 1)
    t = np.linspace(0, 1, 5)  # outer to inner end of the left brow
    brow_y = (
        person.brow_y - person.brow_tilt * (t - 0.5) - person.brow_bend * np.sin(np.pi * t)
        - 0.2 * au["AU1"] * t**1.5 - 0.19 * au["AU2"] * (1 - t) + 0.16 * au["AU4"] * (0.3 + t) + 0.07 * au["AU9"] * t
    )  # fmt: skip
    brow_x = -0.78 + 0.57 * t + 0.07 * au["AU4"] * t
    brow = np.stack([brow_x, brow_y, 0.05 + 0.25 * t], 1)
    nose = np.stack(
        [np.zeros(4), np.linspace(-0.32, person.nose_long - 0.06 * au["AU9"], 4), [0.3, 0.38, 0.47, 0.56]], 1
    )
    wing = np.linspace(-1, 1, 5)
    base = np.stack(
        [wing * (person.nose_wide + 0.04 * au["AU9"]), nose[3, 1] + 0.12 - 0.04 * abs(wing), 0.42 - 0.12 * abs(wing)], 1
    )
    upper = person.eye_open * (1 + 0.9 * au["AU5"] - 0.55 * au["AU7"] - 0.2 * au["AU6"])
    lower = person.eye_open * (0.8 - 0.55 * au["AU7"] - 0.5 * au["AU6"] - 0.3 * au["AU9"])
    eye = np.array([[-1, 0], [-0.4, -upper], [0.4, -upper], [1, 0], [0.4, lower], [-0.4, lower]])
    eye = np.stack([eye[:, 0] * person.eye_width - person.eye_x, eye[:, 1] - 0.28, np.full(6, 0.18)], 1)
    return np.concatenate(
        [
            jaw,
            brow,
            mirror(brow, np.arange(5)[::-1]),
            nose,
            base,
            eye,
            mirror(eye, [3, 2, 1, 0, 5, 4]),
            mouth(person, au, side),
        ]
    )


def mouth(person: Person, au: dict[str, float], side: int) -> np.ndarray:
    """Landmarks 48 to 67 (20, 3)."""
    half = person.mouth_width * (1 + 0.3 * au["AU12"] + 0.3 * au["AU20"] - 0.2 * au["AU26"] - 0.18 * au["AU23"])
    lip = person.lip * (1 - 0.6 * au["AU23"] - 0.2 * au["AU12"])
    gap = 0.1 * au["AU25"] + 0.36 * au["AU26"] + 0.06 * au["AU10"]
    top, bottom = -0.3 * gap - 0.09 * au["AU10"], 0.7 * gap

    def lift(x):  # the corners' height at x in -1..1: smile, droop, one-sided pull
        return (
            x**2 * (person.corner - 0.19 * au["AU12"] + 0.17 * au["AU15"])
            - 0.22 * au["AU14"] * np.clip(side * x, 0, 1) ** 2
        )

    outer_x = np.array([-1, -0.6, -0.25, 0, 0.25, 0.6, 1, 0.6, 0.25, 0, -0.25, -0.6])
    bow = np.array([0, 0.75, 1, 0.85, 1, 0.75, 0, 0.75, 1, 1, 1, 0.75])
    outer_y = lift(outer_x) + bow * np.where(np.arange(12) < 6, top - lip, bottom + 1.2 * lip)
    inner_x = np.array([-0.85, -0.3, 0, 0.3, 0.85, 0.3, 0, -0.3])
    inner_y = lift(inner_x) + np.array([0, top, top, top, 0, bottom, bottom, bottom])
    x, y = np.concatenate([outer_x, inner_x]), np.concatenate([outer_y, inner_y])
    shift = 0.06 * au["AU14"] * side * np.clip(side * x, 0, 1)
    return np.stack([x * half + shift, y + person.mouth_y - 0.04 * au["AU10"], 0.32 - 0.18 * x**2], 1)


def mirror(points: np.ndarray, order) -> np.ndarray:
    return (points * (-1, 1, 1))[np.asarray(order)]


def project(points: np.ndarray, yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Turn (M, 3) by degrees and drop depth: yaw > 0 moves the nose right, pitch > 0 up, roll > 0 is clockwise."""
    a, b, c = np.radians((yaw, pitch, roll), dtype=np.float64)
    x, y, z = points[:, 0], points[:, 1] - 0.1, points[:, 2]
    x, z = x * np.cos(a) + z * np.sin(a), z * np.cos(a) - x * np.sin(a)
    y = y * np.cos(b) - z * np.sin(b)
    return np.stack([x * np.cos(c) - y * np.sin(c), x * np.sin(c) + y * np.cos(c)], 1)

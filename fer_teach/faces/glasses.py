"""Spectacles: two rims, a bridge, two temples, two lenses."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fer_teach.faces.sheets import sheet


class Glasses(NamedTuple):
    """Frame and lenses as vertices (N, 3) and triangles (T, 3), decimetres, and the frame's linear RGB."""

    frame: np.ndarray
    frame_triangles: np.ndarray
    lens: np.ndarray
    lens_triangles: np.ndarray
    colour: np.ndarray


def _tube(points, radius, closed, around=5):
    """A tube along points (n, 3): vertices and triangles."""
    points = np.asarray(points, float)
    n = len(points)
    way = np.roll(points, -1, 0) - np.roll(points, 1, 0)
    if not closed:
        way[0], way[-1] = points[1] - points[0], points[-1] - points[-2]
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    across = np.cross(way, [0.0, 0.0, 1.0])
    length = np.linalg.norm(across, axis=1, keepdims=True)
    across = np.where(length < 0.2, [0.0, 1.0, 0.0], across / np.maximum(length, 1e-6))
    over = np.cross(across, way)
    angles = np.arange(around) * 2 * np.pi / around
    rings = np.concatenate([points + radius * (np.cos(a) * across + np.sin(a) * over) for a in angles])
    once_more = sheet(around + 1, n, closed).swapaxes(0, 1).reshape(-1, 3)  # the last row is the first again
    return rings, once_more % len(rings)


def glasses(eyes: np.ndarray, bridge: float, rng: np.random.Generator) -> Glasses:
    """A pair that fits. eyes (2, 3): the centres of the eyes; bridge: z of the nose's root; rng: shape and colour."""
    width, height = rng.uniform(0.22, 0.29), rng.uniform(0.14, 0.23)
    roundness, radius = rng.choice([2.0, 2.6, 4.0]), rng.choice([0.007, 0.010, 0.017])
    centre, level = abs(eyes[:, 0]).mean() + 0.01, eyes[:, 1].mean() - rng.uniform(0, 0.06)
    front = bridge + 0.07
    angle = np.arange(28) / 28 * 2 * np.pi
    rim_x = np.sign(np.cos(angle)) * abs(np.cos(angle)) ** (2 / roundness) * width
    rim_y = np.sign(np.sin(angle)) * abs(np.sin(angle)) ** (2 / roundness) * height

    def curve(x):
        return front - 0.28 * np.maximum(abs(x) - 0.1, 0) ** 1.7

    frame, lens = [], []
    for side in (1, -1):
        x = side * centre + rim_x
        rim = np.stack([x, level + rim_y, curve(x)], 1)
        frame.append(_tube(rim, radius, True))
        fan = np.array([[i, (i + 1) % 28, 28] for i in range(28)])
        lens.append((np.concatenate([rim, rim.mean(0)[None]]), fan))
        hinge = centre + width
        temple = [
            [side * hinge, level + 0.4 * height, curve(hinge)],
            [side * 0.74, level + 0.4 * height, 1.05],
            [side * 0.80, level + 0.08, 0.5],
        ]
        frame.append(_tube(temple, radius, False))
    inner = centre - width
    bow = [
        [-inner, level + 0.3 * height, front],
        [0, level + 0.45 * height, front + 0.02],
        [inner, level + 0.3 * height, front],
    ]
    frame.append(_tube(bow, radius, False))
    colours = np.array([[0.01, 0.01, 0.01], [0.05, 0.03, 0.02], [0.3, 0.3, 0.32]])
    return Glasses(*_join(frame), *_join(lens), colours[rng.integers(3)])


def _join(meshes):
    offsets = np.cumsum([0, *(len(vertices) for vertices, _ in meshes[:-1])])
    vertices = np.concatenate([vertices for vertices, _ in meshes]).astype(np.float32)
    triangles = np.concatenate([t + offset for (_, t), offset in zip(meshes, offsets, strict=True)])
    return vertices, triangles.astype(np.int32)

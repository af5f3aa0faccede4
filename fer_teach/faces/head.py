"""The head model: a CC0 MakeHuman head with 53 expression units and 288 shape targets (see scripts/build_head.py)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("head.npz")
SKIN, LEFT_EYE, RIGHT_EYE, UPPER_TEETH, LOWER_TEETH, TONGUE, LASHES = range(7)  # numbers in `part`; left: the subject's


@dataclass(frozen=True)
class Head:
    """Unit: decimetre; x to the subject's left (the picture's right), y up, z towards the viewer.

    vertices float32 (N, 3); triangles int32 (T, 3); part int32 (T,); masks float32 (N, 4) in 0..1: lips, eyelids,
    inside of the mouth, ears; landmarks int64 (68,), the nearest vertices in dlib's order (`places` is exact); units
    float32 (U, N, 3), the moves of `unit_names`; shapes: name -> (vertex ids, moves (n, 3)).
    """

    vertices: np.ndarray
    triangles: np.ndarray
    part: np.ndarray
    masks: np.ndarray
    landmarks: np.ndarray
    brows: tuple[np.ndarray, np.ndarray]
    unit_names: tuple[str, ...]
    units: np.ndarray
    shapes: dict[str, tuple[np.ndarray, np.ndarray]]

    def of_part(self, *parts: int) -> np.ndarray:
        """Ids of the vertices of these parts."""
        return _of_part(parts)

    def places(self, vertices: np.ndarray) -> np.ndarray:
        """The 68 landmarks of a face, (68, D), in dlib's order. vertices (N, D): in space or on the screen.

        The mesh is coarse at the brows, so their ten points (17 to 26) lie between the vertices `brows[0]` (10, 3),
        with the weights `brows[1]`.
        """
        points = vertices[self.landmarks]
        corners, weights = self.brows
        points[17:27] = (vertices[corners] * weights[..., None]).sum(1)
        return points

    def add_shape(self, vertices: np.ndarray, name: str, amount: float) -> None:
        """Move `vertices` (N, 3) in place by a shape target. A negative amount takes the opposite target if any."""
        ids, moves = self.shapes.get(name + ("+" if amount > 0 else "-"), (None, None))
        if ids is not None:
            vertices[ids] += np.float32(abs(amount)) * moves


@cache
def head() -> Head:
    """The head, read once."""
    with np.load(FILE) as file:
        units = _targets(file, "unit")
        dense = np.zeros((len(units), len(file["vertices"]), 3), np.float32)
        for row, (ids, moves) in zip(dense, units.values(), strict=True):
            row[ids] = moves
        return Head(
            file["vertices"],
            file["triangles"].astype(np.int32),
            file["part"].astype(np.int32),
            file["masks"].astype(np.float32) / 255,
            file["landmarks"].astype(np.int64),
            (file["brow_corners"].astype(np.int64), file["brow_weights"]),
            tuple(units),
            dense,
            _targets(file, "shape"),
        )


@cache
def _of_part(parts):
    return np.unique(head().triangles[np.isin(head().part, parts)])


def _targets(file, prefix):
    lengths = file[f"{prefix}_lengths"]
    cuts = np.cumsum(lengths)[:-1]
    ids = np.split(file[f"{prefix}_ids"].astype(np.int64), cuts)
    moves = np.split(file[f"{prefix}_moves"].astype(np.float32), cuts)
    names, scales = file[f"{prefix}_names"].tolist(), file[f"{prefix}_scales"]
    return {name: (i, m * scale) for name, i, m, scale in zip(names, ids, moves, scales, strict=True)}

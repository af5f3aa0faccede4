"""The triangles between rows and columns of vertices: hair, clothes, the tubes of spectacles."""

from __future__ import annotations

import numpy as np


def sheet(rows: int, columns: int, closed: bool = False) -> np.ndarray:
    """The two triangles of every cell of a sheet of rows x columns vertices: int32 (rows - 1, cells, 2, 3).

    closed: the last column joins the first. Flatten the triangles in one order and keep it: normals are sums over them.
    """
    here = np.arange(rows * columns).reshape(rows, columns)
    there = np.roll(here, -1, 1)
    if not closed:
        here, there = here[:, :-1], there[:, :-1]
    a, b, c, d = here[:-1], there[:-1], there[1:], here[1:]
    return np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)], 2).astype(np.int32)

"""Hair and clothes as meshes over the head, placed in front of the camera and shaded."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fer_teach.faces import hair, kernels, shading
from fer_teach.faces.clothes import clothes
from fer_teach.faces.head import head


class Layer(NamedTuple):
    """A placed mesh: triangles (T, 3); cap and base as `shading.shade_hair` takes them; placed, normals (N, 3) in
    camera space; points (N, 3) on the screen; strands: what it is made of."""

    triangles: np.ndarray
    cap: int
    base: np.ndarray
    placed: np.ndarray
    normals: np.ndarray
    points: np.ndarray
    strands: shading.Strands

    def rasterise(self, side: int):
        """Triangle ids (S, S), weights (S, S, 2) and depth (S, S)."""
        return kernels.rasterise(self.points, self.triangles, True, side)

    def shade(self, ids, weights, open_sky, light, shadows) -> np.ndarray:
        """Linear RGB and opacity, float32 (S, S, 4)."""
        return shading.shade_hair(
            ids, weights, self.triangles, self.base, self.cap, self.placed, self.normals,
            open_sky, self.strands, light, shadows,
        )  # fmt: skip


def _layer(camera, vertices, triangles, base, cap, strands):
    placed = camera.place(vertices)
    return Layer(
        triangles, cap, base, placed, kernels.vertex_normals(placed, triangles), camera.screen(placed), strands
    )


def hair_layer(person, vertices, upright, camera) -> Layer | None:
    """Hair, beanie or headscarf; None on a bald head. vertices, upright: the face as it is now, and its normals."""
    if person.style == "bald":
        return None
    strands = hair.strands(person)
    lifted, triangles = hair.cap(person, vertices, upright, strands)
    base, cap = head().vertices, len(triangles)
    if person.style in ("mid", "long", "headscarf"):
        more, more_triangles, more_base = hair.curtain(person)
        triangles = np.concatenate([triangles, more_triangles + len(lifted)])
        lifted, base = np.concatenate([lifted, more]), np.concatenate([base, more_base])
    return _layer(camera, lifted, triangles, base, cap, strands)


def clothes_layer(person, camera) -> Layer:
    """The cloth around neck and shoulders."""
    vertices, triangles, base, cloth = clothes(person)
    return _layer(camera, vertices, triangles, base, 0, cloth)

"""What a person wears below the head: a ring of cloth around the neck that widens to the shoulders."""

from __future__ import annotations

import numpy as np

from fer_teach.faces.head import SKIN, head
from fer_teach.faces.person import Person
from fer_teach.faces.shading import Strands
from fer_teach.faces.sheets import sheet

COLUMNS = 28
PROFILE = np.array(  # from the collar down: height below it (decimetres), then width and depth beyond the neck's
    [(0.0, 0.03, 0.03), (0.07, 0.06, 0.05), (0.16, 0.16, 0.10), (0.28, 0.45, 0.22), (0.45, 0.9, 0.35),
     (0.8, 1.25, 0.45), (1.6, 1.35, 0.5)]
)  # fmt: skip


def clothes(person: Person):
    """vertices (N, 3) around the upright neck, triangles (T, 3), base (N, 3) for `shading.shade_hair`; the cloth."""
    rng = np.random.default_rng([person.seed, 13])
    skin = head().of_part(SKIN)
    neck = person.vertices[skin[head().vertices[skin, 1] < 5.95]]
    middle, reach = (neck.max(0) + neck.min(0)) / 2, np.ptp(neck, axis=0) / 2
    top = neck[:, 1].max() + rng.uniform(0, 0.12)
    angle = np.linspace(0, 2 * np.pi, COLUMNS, endpoint=False)
    down, wide, deep = PROFILE.T[..., None]
    fall = top - down + 0.06 * np.cos(angle) * (down > 0.3)  # shoulders slope forward
    x = middle[0] + (reach[0] + wide) * np.sin(angle)
    z = middle[2] + (reach[2] + deep) * np.cos(angle)
    vertices = np.stack([x, fall, z], -1).reshape(-1, 3)
    base = np.stack([np.broadcast_to(angle * 0.2, x.shape), fall, np.full(x.shape, 9.0)], -1).reshape(-1, 3)
    triangles = sheet(*x.shape, closed=True).reshape(-1, 3)
    colour = rng.uniform(0.08, 0.8, 3) ** 2
    colour = colour.mean() + rng.uniform(0, 0.7) * (colour - colour.mean())
    cloth = Strands(
        colour, np.array([0.0, 180.0]), np.zeros(2), 0.0, 0.0, 0.0, 0.01, 0.0, 1.0, float(person.seed % 991)
    )
    return vertices.astype(np.float32), triangles, base.astype(np.float32), cloth

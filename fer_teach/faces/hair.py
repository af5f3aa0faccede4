"""Hair, beanie and headscarf: a cap that stands off the scalp, and a curtain that hangs around the head."""

from __future__ import annotations

import numpy as np

from fer_teach.faces.head import SKIN, head
from fer_teach.faces.person import Person
from fer_teach.faces.shading import Strands
from fer_teach.faces.sheets import sheet

AXIS = 0.45  # z of the upright axis of the skull, decimetres
KNOTS = np.array([0.0, 28, 48, 62, 80, 100, 180])  # degrees around the head, 0 in front


def strands(person: Person) -> Strands:
    """What the shader must know of a person's hair or cloth."""
    front, temple, side = person.hairline
    heights = np.array([front, front - 0.03, temple, temple - 0.32, side, 7.25, 6.25])
    cloth = person.style in ("beanie", "headscarf")
    if person.style == "beanie":
        heights = np.array([7.83, 7.82, 7.78, 7.68, 7.5, 7.3, 7.0])
    if person.style == "headscarf":
        heights = np.array([7.86, 7.84, 7.70, 7.3, 6.3, 5.0, 5.0])
    curly = person.style == "curly"
    return Strands(
        colour=person.cloth if cloth else person.hair,
        knots=KNOTS,
        heights=heights,
        fringe=0.0 if cloth or person.style in ("tied", "swept") else person.fringe,
        parting=person.parting,
        tips=0.0 if cloth else 0.07 if curly else 0.05,
        edge=0.01 if cloth else 0.05 if curly else 0.035,
        frizz=1.0 if curly else 0.15 if person.seed % 3 else 0.4,
        cloth=float(cloth),
        seed=float(person.seed % 997),
    )


def _line(place, strand):
    """The hairline's height around the head, without the uneven tips."""
    angle = np.degrees(np.arctan2(abs(place[:, 0]), place[:, 2] - AXIS))
    height = np.interp(angle, strand.knots, strand.heights)
    if strand.fringe > 0:
        lean = min(abs(strand.parting), 1)
        across = np.clip(place[:, 0] * np.sign(strand.parting) + 0.5, 0, 1)
        height = height - (angle < 60) * strand.fringe * (across * lean + 1 - lean)
    return height


def cap(person: Person, vertices: np.ndarray, normals: np.ndarray, strand: Strands):
    """The skin's triangles under the hair, lifted: vertices (N, 3), triangles (T, 3).

    vertices, normals: the face as it is now, before it is turned.
    """
    model = head()
    base = model.vertices
    cover = np.clip((base[:, 1] - _line(base, strand)) / 0.3 + 0.5, 0, 1)
    if person.style != "headscarf":
        cover[(model.masks[:, 3] > 0.3) & (abs(base[:, 0]) > 0.7)] = 0
    triangles = model.triangles[model.part == SKIN]
    triangles = triangles[cover[triangles].max(1) > 0.02]
    lumps = 1 + 0.2 * np.sin(base[:, 0] * 9 + person.seed % 7) * np.cos(base[:, 2] * 7 + person.seed % 5)
    if person.style == "curly":
        lumps = lumps + 0.25 * np.sin(base[:, 0] * 31 + person.seed % 11) * np.cos(base[:, 1] * 29 + base[:, 2] * 23)
    lift = (person.thickness * np.clip(2 * cover - 0.9, 0, 1) ** 0.8 * lumps + 0.012)[
        :, None
    ] * normals  # 0 at the edge
    if person.style in ("short", "swept", "curly"):
        lift[:, 1] += 0.6 * person.thickness * cover * np.clip((base[:, 1] - 7.9) / 0.4, 0, 1)
    return (vertices + lift).astype(np.float32), triangles


def curtain(person: Person):
    """Hair or cloth that hangs from the temples around the back: vertices, triangles, and base (N, 3).

    base holds what the shader reads instead of a place on the face: around, along, and distance from the lower edge.
    """
    rng = np.random.default_rng([person.seed, 9])
    columns, rows = 30, 12
    scarf = person.style == "headscarf"
    start = rng.uniform(38, 46) if scarf else rng.uniform(46, 60)
    bottom = 5.6 if scarf else rng.uniform(5.7, 6.2) if person.style == "long" else rng.uniform(6.3, 6.9)
    angle = np.radians(np.linspace(start, 360 - start, columns))
    side = head().vertices
    near = (side[:, 1] > 7.1) & (side[:, 1] < 7.7) & (side[:, 2] < 0.9)
    wide = np.percentile(abs(person.vertices[near, 0]), 95) + 0.5 * person.thickness + 0.04
    bell = rng.uniform(-0.12, 0.02) if scarf else rng.uniform(0, 0.14)
    waves = rng.normal(0, 0.012 if scarf else 0.025, (rows, columns))
    drift = np.cumsum(rng.normal(0, 0.03, rows)) * (0.3 if scarf else 1)
    places, base = [], []
    for row, y in enumerate(np.linspace(8.3, bottom, rows)):
        down = max(0.0, 7.95 - y) / 1.6
        high = np.clip((y - 7.7) / 0.65, 0, 1)
        radius = wide * (1 - 0.38 * high * high * (3 - 2 * high)) * (1 + bell * down)
        turn = angle + drift[row] * np.cos(angle / 2)
        out = radius + waves[row]
        x, z = out * np.sin(turn), AXIS - 0.05 + (1.05 * out + 0.05) * np.cos(turn)
        places.append(np.stack([x, np.full(columns, y) + 0.02 * waves[row], z], 1))
        lower = np.full(columns, (rows - 1 - row) * 0.8)
        base.append(np.stack([np.arange(columns) * 0.22, np.full(columns, y), lower], 1))
    return (
        np.concatenate(places).astype(np.float32),
        sheet(rows, columns).swapaxes(1, 2).reshape(-1, 3),
        np.concatenate(base).astype(np.float32),
    )

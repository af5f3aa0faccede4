"""Paint a person's skin: complexion, freckles, make-up, brows and beard, in the plane of the frontal base face.

The texture is a picture of the base head seen from the front, from (LEFT, TOP) right and down, `density` pixels a
decimetre. Every point of the skin finds its colour by its place on the base head, so paint moves with the skin.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from fer_teach.faces.person import Person

LEFT, TOP, WIDTH, HEIGHT = -1.1, 8.65, 2.2, 2.8  # decimetres
SCALES = (0.005, 0.010, 0.020, 0.040, 0.080, 0.180)  # of the noise, decimetres


@dataclass(frozen=True)
class Plane:
    """Pixel centres of a texture: x and y float32 (H, W) in decimetres, and |x|."""

    density: int
    x: np.ndarray
    y: np.ndarray
    side: np.ndarray


@cache
def plane(density: int) -> Plane:
    """The plane at `density` pixels a decimetre."""
    columns, rows = round(WIDTH * density), round(HEIGHT * density)
    x = (np.arange(columns, dtype=np.float32) + 0.5) / density + LEFT
    y = TOP - (np.arange(rows, dtype=np.float32) + 0.5) / density
    x, y = np.meshgrid(x, y)
    return Plane(density, x, y, abs(x))


@cache
def _noise_bank(density: int, scale: int, count: int = 6) -> np.ndarray:
    shape = plane(density).x.shape
    rng = np.random.default_rng([7, density, scale])
    fields = []
    for _ in range(count):
        field = rng.standard_normal(shape, dtype=np.float32)
        field = np.pad(field, 40, mode="wrap")
        field = cv2.GaussianBlur(field, (0, 0), max(SCALES[scale] * density, 0.4))[40:-40, 40:-40]
        fields.append(field / field.std())
    return np.stack(fields)


def noise(density: int, scale: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise (H, W) of mean 0 and deviation 1; scale: index into SCALES."""
    bank = _noise_bank(density, scale)
    field = bank[rng.integers(len(bank))]
    field = np.roll(field, (int(rng.integers(field.shape[0])), int(rng.integers(field.shape[1]))), (0, 1))
    return field[:, ::-1] if rng.random() < 0.5 else field


def step(low, high, x):
    """0 below `low`, 1 above `high`, smooth between (Hermite)."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def paint(person: Person, density: int = 96) -> np.ndarray:
    """The skin's colour, linear RGB float32 (H, W, 3)."""
    rng = np.random.default_rng(person.seed)
    p = plane(density)
    grain = 1 + 0.05 * noise(density, 5, rng) + 0.04 * noise(density, 3, rng)
    grain = grain + (0.03 + 0.03 * person.old) * noise(density, 1, rng)
    colour = person.skin.astype(np.float32) * grain[..., None]
    _tint(colour, _ruddy(p) * rng.uniform(0.1, 0.9) * (1 - 0.6 * person.tone), (0.02, 0.25, 0.22))
    _tint(colour, _shaded(p, rng), (0.7, 0.9, 0.8))
    _tint(colour, _nostrils(p), (0.85, 0.95, 0.95))
    if person.freckles:
        spots = step(1.1, 2.0, noise(density, 1, rng)) * _bump(p.x, p.y - 7, 0.5, 0.22)
        _tint(colour, spots * person.freckles, (0.3, 0.45, 0.5))
    if person.eye_shadow:
        lid = np.exp(-(((p.side - 0.34) / 0.17) ** 4) - ((p.y - 7.38) / 0.07) ** 2)
        _tint(colour, lid * rng.uniform(0.3, 0.8), 1 - rng.choice([0.25, 0.5, 0.7], 3))
    _cover(colour, _brows(p, person, rng), person.hair * 0.8 + np.array([0.006, 0.004, 0.003]))
    if person.beard:
        _cover(colour, _beard(p, person, rng), person.hair * 0.9 + 0.004)
    return np.ascontiguousarray(colour, np.float32)


def _bump(x, y, width, height):
    return np.exp(-((x / width) ** 2) - (y / height) ** 2)


def _tint(colour, amount, loss):
    """Take `loss` (per channel) of the colour away where `amount` is 1."""
    colour *= 1 - amount[..., None] * np.asarray(loss, np.float32)


def _cover(colour, alpha, paint_colour):
    colour *= 1 - alpha[..., None]
    colour += alpha[..., None] * np.asarray(paint_colour, np.float32)


def _ruddy(p):
    """Cheeks, tip of the nose, chin."""
    return (
        0.8 * _bump(p.side - 0.42, p.y - 6.93, 0.17, 0.16)
        + 0.7 * _bump(p.x, p.y - 6.98, 0.12, 0.1)
        + 0.3 * _bump(p.x, p.y - 6.3, 0.2, 0.1)
    )


def _shaded(p, rng):
    """Rings under the eyes, their inner corners, the lids."""
    return (
        _bump(p.side - 0.31, p.y - 7.14, 0.16, 0.06) * rng.uniform(0, 0.2)
        + _bump(p.side - 0.15, p.y - 7.27, 0.06, 0.09) * rng.uniform(0.1, 0.35)
        + _bump(p.side - 0.30, p.y - 7.38, 0.24, 0.08) * rng.uniform(0.3, 0.7)
    )


def _nostrils(p):
    """The openings of the nose, the grooves around its wings, the shade under it."""
    return (
        0.95 * _bump(p.side - 0.062, p.y - 6.865, 0.045, 0.04)
        + 0.3 * _bump(p.side - 0.13, p.y - 6.87, 0.025, 0.06)
        + 0.25 * _bump(p.x, p.y - 6.78, 0.12, 0.035)
    )


def _brows(p, person, rng):
    """Opacity of both brows: an arched band, fringed and streaked like hair."""
    brow, alpha = person.brow, np.zeros_like(p.x)
    for sign in (1, -1):
        x = sign * p.x
        s = (x - brow["inner"]) / (brow["outer"] - brow["inner"])
        centre = 7.465 + brow["height"] + sign * brow["unequal"] + brow["slope"] * (s - 0.5)
        centre = centre + brow["arch"] * np.sin(np.clip(s, 0, 1) ** 0.9 * np.pi * 0.95) - 0.08 * np.clip(s - 0.55, 0, 1)
        half = brow["half_width"] * (step(-0.08, 0.12, s) * 0.85 + 0.15) * (1 - 0.75 * step(0.5, 1.05, s))
        edge = abs(p.y - centre) / half + 0.13 * noise(p.density, 1, rng)
        band = (1 - step(0.55, 1.25, edge)) * step(-0.06, 0.06, s) * (1 - step(0.95, 1.06, s))
        streaks = np.sin((x * np.cos(0.9 - s) - p.y * np.sin(0.9 - 1.4 * s)) * 330 + 1.5 * noise(p.density, 2, rng))
        alpha = np.maximum(alpha, band * (0.86 + 0.14 * streaks))
    return np.clip(alpha * brow["density"], 0, 1)


def _beard(p, person, rng):
    """Opacity of stubble or beard."""
    line = np.interp(p.side, [0, 0.12, 0.26, 0.42, 0.62, 0.8], [6.46, 6.48, 6.56, 6.66, 6.92, 7.25])
    jaw = 1 - step(-0.05, 0.05, p.y - line + 0.04 * noise(p.density, 3, rng))
    lip = step(6.685, 6.71, p.y) * (1 - step(6.80, 6.85, p.y + 0.25 * p.side)) * (1 - step(0.27, 0.36, p.side))
    lip = lip + _bump(p.side - 0.32, p.y - 6.60, 0.05, 0.12)
    where = {"full": jaw + lip, "moustache": lip, "goatee": jaw * (1 - step(0.2, 0.3, p.side)) + lip}
    density = 0.75 + 0.15 * np.clip(noise(p.density, 1, rng), -1.5, 1.5)
    strength = 0.35 + 0.6 * person.beard if person.beard > 0.4 else 1.2 * person.beard
    return np.clip(np.clip(where[person.beard_style], 0, 1) * density * strength, 0, 0.93)


def lip_colour(person: Person) -> np.ndarray:
    """Linear RGB of the lips, bare or painted."""
    if person.lipstick:
        return person.lip * 0.8 + 0.1 * person.skin
    return person.skin * np.array([0.80, 0.42, 0.42]) * (0.9 - 0.1 * person.tone)

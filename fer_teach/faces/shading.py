"""Compiled shading: what colour a covered pixel has. Colours are linear RGB.

Skin is lit as a diffuse surface whose light wraps around the terminator, more in red than in blue (a stand-in for
scattering under the skin), with a soft highlight; eyes, teeth and hair have rules of their own.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fer_teach.faces.kernels import compiled, lit, mix, read, unit, value_noise


class Light(NamedTuple):
    """key, fill: unit vectors towards the lights, in camera space; *_power: strength; *_colour: (3,) around 1; slope:
    how the ambient light varies with direction; soft: 0 hard shadows to 1 none; wrap: how far light wraps around."""

    key: np.ndarray
    key_power: float
    key_colour: np.ndarray
    fill: np.ndarray
    fill_power: float
    ambient_power: float
    ambient_colour: np.ndarray
    slope: np.ndarray
    soft: float
    wrap: float


class Shadows(NamedTuple):
    """Depth map seen from the key light: axes (3, 3) turns camera space to it, scale: pixels a decimetre."""

    depth: np.ndarray
    axes: np.ndarray
    scale: float


class Look(NamedTuple):
    """Colours and textures of a person's skin, eyes and mouth.

    colour (H, W, 3) and relief (H, W, 3) are textures, `density` pixels a decimetre from (left, top); up and right:
    camera-space directions of the base face's axes; eyes (2, 3) centres, gaze (3,), eye_radius and iris_radius in
    decimetres.
    """

    colour: np.ndarray
    relief: np.ndarray
    density: float
    left: float
    top: float
    right: np.ndarray
    up: np.ndarray
    lip: np.ndarray
    lip_cover: float
    lip_shine: float
    iris: np.ndarray
    eyes: np.ndarray
    gaze: np.ndarray
    eye_radius: float
    iris_radius: float
    oily: float
    rough: float
    old: float


class Strands(NamedTuple):
    """Hair or cloth. colour (3,); knots, heights: the hairline's height at angles (degrees) around the head; fringe:
    fall of the hair over the forehead, parting -1..1 to which side; tips: unevenness of the edge; edge: softness;
    frizz: 0 straight to 1 curly; cloth: 1 for cloth; seed."""

    colour: np.ndarray
    knots: np.ndarray
    heights: np.ndarray
    fringe: float
    parting: float
    tips: float
    edge: float
    frizz: float
    cloth: float
    seed: float


LID = 0.5  # so much darker are the lids than the skin around: lashes and hollows finer than a pixel


@compiled
def _step(low, high, x):
    t = min(max((x - low) / (high - low), 0.0), 1.0)
    return t * t * (3 - 2 * t)


@compiled
def illuminate(normal, position, albedo, shine, rough, wrap, open_sky, light, shadows, out):
    """Light leaving towards the camera, written to `out` (3,)."""
    nx, ny, nz = normal[0], normal[1], normal[2]
    px, py, pz = position[0] + 0.025 * nx, position[1] + 0.025 * ny, position[2] + 0.025 * nz
    axes, middle = shadows.axes, shadows.depth.shape[0] / 2
    x = middle + (axes[0, 0] * px + axes[0, 1] * py + axes[0, 2] * pz) * shadows.scale
    y = middle - (axes[1, 0] * px + axes[1, 1] * py + axes[1, 2] * pz) * shadows.scale
    z = axes[2, 0] * px + axes[2, 1] * py + axes[2, 2] * pz
    shadow = lit(x, y, z, shadows.depth, 0.06) * (1 - light.soft) + light.soft
    facing = nx * light.key[0] + ny * light.key[1] + nz * light.key[2]
    fill = nx * light.fill[0] + ny * light.fill[1] + nz * light.fill[2]
    slope = nx * light.slope[0] + ny * light.slope[1] + nz * light.slope[2]
    fill = max(0.0, (fill + 0.3) / 1.3) * light.fill_power * open_sky
    ambient = light.ambient_power * max(0.05, 1 + slope) * open_sky
    between = math.sqrt(2 + 2 * light.key[2])  # length of key + direction of the camera
    glint = min(max((facing + nz) / between, 0.0), 1.0)
    grazing = 0.04 + 0.6 * (1 - min(max(nz, 0.0), 1.0)) ** 4
    sharp = math.exp(rough * math.log(glint)) if glint > 0.3 else 0.0
    mirror = sharp * (rough + 8) / 25 * 0.10 * shadow * light.key_power
    mirror = (mirror + grazing * 0.25 * light.ambient_power * open_sky) * shine
    for k in range(3):
        bend = (0.42, 0.25, 0.18)[k] * wrap * light.wrap
        diffuse = max(0.0, (facing + bend) / (1 + bend)) * shadow * light.key_power * light.key_colour[k]
        arriving = diffuse + ambient * light.ambient_colour[k] + fill
        out[k] = albedo[k] * arriving * (0.2 + 0.8 * open_sky) + mirror * light.key_colour[k]


@compiled
def _skin(base, masks, normal, look, albedo, scratch):
    """Colour and bumps of skin, lips and the mouth's inside; changes `normal` and `albedo`, returns the shine."""
    x, y = (base[0] - look.left) * look.density, (look.top - base[1]) * look.density
    read(look.colour, x, y, albedo)
    lip, inside = masks[0], masks[2] * (1 - masks[0])
    for k in range(3):
        albedo[k] += look.lip_cover * lip * (look.lip[k] - albedo[k])
        albedo[k] += inside * ((0.06, 0.012, 0.012)[k] - albedo[k])
        albedo[k] *= 1 - LID * masks[1]
    if base[2] > 0.6:
        read(look.relief, x, y, scratch)
        part = (1 - masks[2]) * (1 - 0.7 * lip)
        for k in range(3):
            normal[k] -= 1.1 * part * (scratch[1] * look.right[k] + scratch[2] * look.up[k])
            albedo[k] *= 1 - 0.4 * min(max(-scratch[0] * part, 0.0), 1.4)
        unit(normal)
    return 0.5 * look.oily + look.lip_shine * lip


@compiled
def _eye(which, position, look, albedo):
    """Iris, pupil and sclera by the direction from the eyeball's centre. Returns the shine."""
    way = position - look.eyes[which]
    unit(way)
    away = 0.0
    for k in range(3):
        away += (way[k] - look.gaze[k]) ** 2
    away = math.sqrt(away) * look.eye_radius
    white = _step(look.iris_radius * 0.92, look.iris_radius * 1.08, away)
    rays = math.sin(math.atan2(way[1] - look.gaze[1], way[0] - look.gaze[0]) * 23)
    ring = 1 - 0.6 * _step(look.iris_radius * 0.8, look.iris_radius, away)
    for k in range(3):
        coloured = look.iris[k] * (1.2 + (0.6 if way[1] < look.gaze[1] else 0.0) + 0.4 * rays) * ring
        if away < look.iris_radius * 0.42:
            coloured = 0.004
        albedo[k] = coloured * (1 - white) + (0.26, 0.24, 0.23)[k] * (1 - 0.12 * look.old) * white
    return 0.15


@compiled
def shade_head(ids, weights, triangles, part, base, masks, positions, normals, open_sky, look, light, shadows):
    """Linear RGB float32 (S, S, 3) of skin, eyes, teeth and tongue; nothing where ids is -1."""
    size = ids.shape[0]
    out = np.zeros((size, size, 3), np.float32)
    albedo, scratch, colour, normal, position, place = np.zeros((6, 3), np.float32)
    mask = np.zeros(4, np.float32)
    for row in range(size):
        for column in range(size):
            t = ids[row, column]
            if t < 0:
                continue
            u, v = weights[row, column, 0], weights[row, column, 1]
            mix(normals, triangles[t], u, v, normal)
            unit(normal)
            mix(positions, triangles[t], u, v, position)
            mix(base, triangles[t], u, v, place)
            seen, wrap, rough = open_sky[row, column], 0.15, 20.0
            if part[t] == 0:
                mix(masks, triangles[t], u, v, mask)
                shine = _skin(place, mask, normal, look, albedo, scratch)
                wrap, rough = 1.0, look.rough
            elif part[t] <= 2:
                shine = _eye(part[t] - 1, position, look, albedo)
                rough = 120.0
            elif part[t] <= 4:
                gaps = 0.88 + 0.12 * abs(math.sin(place[0] * 44))
                gaps *= 1 - 0.6 * _step(0.12, 0.27, abs(place[0]))  # back teeth lie in the dark
                for c in range(3):
                    albedo[c] = (0.95, 0.89, 0.78)[c] * (1.0 if part[t] == 3 else 0.6) * gaps
                shine, seen = 0.3, 0.85 + 0.15 * seen
            else:
                albedo[0], albedo[1], albedo[2] = 0.22, 0.07, 0.06
                shine = 0.3
            illuminate(normal, position, albedo, shine, rough, wrap, seen, light, shadows, colour)
            for c in range(3):
                out[row, column, c] = colour[c]
    return out


@compiled
def _hairline(place, strands):
    """Height of the hairline (decimetres on the base head) above or below this place."""
    angle = math.degrees(math.atan2(abs(place[0]), place[2] - 0.45))
    height = np.interp(angle, strands.knots, strands.heights)
    if angle < 60 and strands.fringe > 0:
        lean = min(abs(strands.parting), 1.0)
        across = min(max(place[0] * (1 if strands.parting > 0 else -1) + 0.5, 0.0), 1.0)
        height -= strands.fringe * (across * lean + 1 - lean)
    swing = math.atan2(place[0], place[2] - 0.45) * 14
    tips = value_noise(swing + strands.seed, 0.5) + 0.6 * value_noise(swing * 2.7 + strands.seed, 3.5)
    return height + strands.tips * (tips - 0.8)


@compiled
def shade_hair(ids, weights, triangles, base, cap, positions, normals, open_sky, strands, light, shadows):
    """Linear RGB and opacity, float32 (S, S, 4), of hair or cloth. cap: triangles before this number lie on the
    scalp."""
    size = ids.shape[0]
    out = np.zeros((size, size, 4), np.float32)
    albedo, colour, normal, position, place = np.zeros((5, 3), np.float32)
    for row in range(size):
        for column in range(size):
            t = ids[row, column]
            if t < 0:
                continue
            u, v = weights[row, column, 0], weights[row, column, 1]
            mix(base, triangles[t], u, v, place)
            if t < cap:
                alpha = _step(-strands.edge, strands.edge, place[1] - _hairline(place, strands))
            else:
                alpha = _step(0.0, 0.5, place[2] + 0.6 * value_noise(place[0] * 9 + strands.seed, place[1] * 1.5) - 0.3)
                place[2] = 0.0
            if alpha < 0.02:
                continue
            mix(normals, triangles[t], u, v, normal)
            if normal[2] < 0:
                for c in range(3):
                    normal[c] = -normal[c]
            mix(positions, triangles[t], u, v, position)
            unit(normal)
            if t < cap:
                around, along = math.atan2(place[0], place[2] - 0.45) * 9, place[1] + place[2] * 0.6
            else:
                around, along = place[0] * 9, place[1]
            bend = 3 * value_noise(around * 0.4 + strands.seed, along * 2) + strands.frizz * 5 * value_noise(
                around * 2, along * 9 + strands.seed
            )
            fine = value_noise((around + 0.3 * bend) * 6, along * (1.5 + 20 * strands.frizz) + strands.seed)
            coarse = value_noise((around + 0.3 * bend) * 1.8, along * (1 + 6 * strands.frizz) - strands.seed)
            streak = 0.35 + 0.8 * fine + 0.5 * coarse
            if strands.cloth > 0.5:
                streak = 0.9 + 0.2 * coarse
            for c in range(3):
                albedo[c] = strands.colour[c] * streak
            normal[0] += (coarse - 0.5) * 0.9 * (1 - 0.6 * strands.cloth)
            normal[1] += (fine - 0.5) * 0.5 * (1 - strands.cloth)
            unit(normal)
            shine = 0.02 if strands.cloth > 0.5 else 0.16
            illuminate(normal, position, albedo, shine, 14.0, 0.6, open_sky[row, column], light, shadows, colour)
            out[row, column, 0], out[row, column, 1], out[row, column, 2] = colour[0], colour[1], colour[2]
            out[row, column, 3] = alpha
    return out

"""Compiled loops: which triangle covers a pixel, how far away it is, and how much of the sky it sees.

Screen coordinates: x right, y down, in pixels; pixel (row, column) has its centre at (column + 0.5, row + 0.5); z in
decimetres towards the camera. No fast-math: the same input gives the same bytes.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

FAR = -1e9
compiled = njit(cache=True, nogil=True)


@compiled
def rasterise(points, triangles, both_sides, size):
    """The nearest triangle at each pixel's centre.

    points float32 (N, 3) screen; triangles int32 (T, 3). Returns triangle ids int32 (size, size), -1 where none;
    weights float32 (size, size, 2) of the first two corners; z float32 (size, size), FAR where none.
    """
    ids = np.full((size, size), -1, np.int32)
    weights = np.zeros((size, size, 2), np.float32)
    depth = np.full((size, size), FAR, np.float32)
    for t in range(triangles.shape[0]):
        a, b, c = points[triangles[t, 0]], points[triangles[t, 1]], points[triangles[t, 2]]
        area = (b[1] - c[1]) * (a[0] - c[0]) + (c[0] - b[0]) * (a[1] - c[1])
        if abs(area) < 1e-9 or (area > 0 and not both_sides):
            continue
        left = max(0, int(math.floor(min(a[0], b[0], c[0]) - 0.5)))
        right = min(size - 1, int(math.ceil(max(a[0], b[0], c[0]) - 0.5)))
        top = max(0, int(math.floor(min(a[1], b[1], c[1]) - 0.5)))
        bottom = min(size - 1, int(math.ceil(max(a[1], b[1], c[1]) - 0.5)))
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                x, y = column + 0.5 - c[0], row + 0.5 - c[1]
                u = ((b[1] - c[1]) * x + (c[0] - b[0]) * y) / area
                v = ((c[1] - a[1]) * x + (a[0] - c[0]) * y) / area
                w = 1 - u - v
                if u >= -1e-4 and v >= -1e-4 and w >= -1e-4:
                    z = u * a[2] + v * b[2] + w * c[2]
                    if z > depth[row, column]:
                        depth[row, column], ids[row, column] = z, t
                        weights[row, column, 0], weights[row, column, 1] = u, v
    return ids, weights, depth


@compiled
def vertex_normals(points, triangles):
    """Unit normals float32 (N, 3), the area-weighted mean over the triangles around a vertex; zero where none."""
    normals = np.zeros_like(points)
    for t in range(triangles.shape[0]):
        a, b, c = points[triangles[t, 0]], points[triangles[t, 1]], points[triangles[t, 2]]
        ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in range(3):
            i = triangles[t, k]
            normals[i, 0] += nx
            normals[i, 1] += ny
            normals[i, 2] += nz
    for i in range(normals.shape[0]):
        length = math.sqrt(normals[i, 0] ** 2 + normals[i, 1] ** 2 + normals[i, 2] ** 2) + 1e-12
        for k in range(3):
            normals[i, k] /= length
    return normals


TAPS = 20  # per pixel, on two rings
_TURN = (np.arange(4)[None, :] * 4 + np.arange(4)[:, None] * 5 % 4 + 0.5 * np.arange(4)[:, None]) / 16 * 2 * np.pi
_ANGLE = _TURN.reshape(16, 1) + np.tile(np.arange(TAPS // 2), 2) * 2.399963  # (16, TAPS), the golden angle apart
_REACH = np.tile(np.sqrt((np.arange(TAPS // 2) + 0.5) / (TAPS // 2)), 2)


def sky(depth, near, far, strength, unit):
    """Ambient occlusion in screen space: the open share of the sky, float32 (S, S), 1 where nothing is.

    depth: z of each pixel; near, far: two radii in pixels; unit: decimetres a pixel; strength: how dark hollows get.
    The 20 taps turn from pixel to pixel, in a pattern that repeats every 4; `smooth` takes it out again.
    """
    reach = _REACH * np.repeat([near, far], TAPS // 2)
    rows = np.trunc(reach * np.sin(_ANGLE)).astype(np.int32)
    columns = np.trunc(reach * np.cos(_ANGLE)).astype(np.int32)
    return _sky(depth, rows, columns, ((reach * unit) ** 2 + 1e-6).astype(np.float32), np.float32(strength))


@compiled
def _sky(depth, rows, columns, away, strength):
    size = depth.shape[0]
    out = np.ones((size, size), np.float32)
    for row in range(size):
        for column in range(size):
            here = depth[row, column]
            if here <= FAR:
                continue
            hidden, turn = np.float32(0), (row % 4) * 4 + column % 4
            for k in range(TAPS):
                y, x = row + rows[turn, k], column + columns[turn, k]
                if y < 0 or x < 0 or y >= size or x >= size:
                    continue
                rise = depth[y, x] - here
                if rise > 0:
                    slope = rise / math.sqrt(rise * rise + away[k])
                    if slope > 0.15:
                        hidden += (slope - 0.15) * (1.0 if rise < 0.5 else 0.3)
            out[row, column] = max(0.0, 1 - strength * hidden / TAPS)
    return out


@compiled
def smooth(values, ids):
    """Mean over 4 by 4 pixels that show something (the pattern of `sky` repeats every 4)."""
    size = values.shape[0]
    out = values.copy()
    for row in range(size):
        for column in range(size):
            if ids[row, column] < 0:
                continue
            total, count = 0.0, 0
            for y in range(max(row - 2, 0), min(row + 2, size)):
                for x in range(max(column - 2, 0), min(column + 2, size)):
                    if ids[y, x] >= 0:
                        total += values[y, x]
                        count += 1
            out[row, column] = total / count
    return out


@compiled
def lit(x, y, z, depth, bias):
    """Share of light at a point, from nine places within two pixels of it in a depth map seen from the light."""
    size = depth.shape[0]
    column, row = int(x), int(y)
    total = 0
    for j in range(-2, 3, 2):
        for i in range(-2, 3, 2):
            r, c = row + j, column + i
            if r < 0 or c < 0 or r >= size or c >= size or depth[r, c] < z + bias:
                total += 1
    return total / 9


@compiled
def read(texture, x, y, out):
    """Bilinear value of texture (H, W, C) at pixel coordinates (x, y), written to `out` (C,)."""
    height, width = texture.shape[0], texture.shape[1]
    x, y = min(max(x - 0.5, 0.0), width - 1.001), min(max(y - 0.5, 0.0), height - 1.001)
    column, row = int(x), int(y)
    fx, fy = x - column, y - row
    for k in range(texture.shape[2]):
        upper = texture[row, column, k] * (1 - fx) + texture[row, column + 1, k] * fx
        lower = texture[row + 1, column, k] * (1 - fx) + texture[row + 1, column + 1, k] * fx
        out[k] = upper * (1 - fy) + lower * fy


@compiled
def mix(values, triangle, u, v, out):
    """Values (N, C) of a triangle's corners, weighted u, v and the rest, written to `out` (C,)."""
    w = np.float32(1) - u - v
    for k in range(values.shape[1]):
        out[k] = u * values[triangle[0], k] + v * values[triangle[1], k] + w * values[triangle[2], k]


@compiled
def unit(vector):
    """Give a vector (3,) the length 1, in place."""
    length = math.sqrt(vector[0] ** 2 + vector[1] ** 2 + vector[2] ** 2) + 1e-9
    for k in range(3):
        vector[k] /= length


@compiled
def regions(ids, weights, triangles, part, base, masks):
    """What each pixel shows, as flags uint8 (S, S): 1 face, 2 eyes, 4 brows, 8 mouth. Found by place on the base
    head."""
    size = ids.shape[0]
    out = np.zeros((size, size), np.uint8)
    place, mask = np.zeros(3, np.float32), np.zeros(4, np.float32)
    for row in range(size):
        for column in range(size):
            t = ids[row, column]
            if t < 0:
                continue
            u, v = weights[row, column, 0], weights[row, column, 1]
            mix(base, triangles[t], u, v, place)
            mix(masks, triangles[t], u, v, mask)
            skin, x, y = part[t] == 0, abs(place[0]), place[1]
            flags = 0
            if part[t] == 1 or part[t] == 2 or (skin and mask[1] > 0.5):
                flags = 1 | 2
            elif part[t] >= 3 or (skin and (mask[0] > 0.5 or mask[2] > 0.5)):
                flags = 1 | 8
            elif (x / 0.82) ** 2 + ((y - 7.2) / 1.02) ** 2 < 1 and place[2] > 0.35:
                flags = 1
                arch = 7.465 + 0.03 * math.sin((x - 0.1) / 0.5 * math.pi)
                if 0.1 < x < 0.6 and abs(y - arch) < 0.06:
                    flags |= 4
            out[row, column] = flags
    return out


@compiled
def _hash(i, j):
    h = (i * 374761393 + j * 668265263) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    return ((h ^ (h >> 16)) & 0xFFFF) / 65535.0


@compiled
def value_noise(x, y):
    """Smooth noise in 0..1 with one random value at every pair of whole numbers."""
    i, j = math.floor(x), math.floor(y)
    fx, fy = x - i, y - j
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    i, j = int(i), int(j)
    upper = _hash(i, j) * (1 - fx) + _hash(i + 1, j) * fx
    lower = _hash(i, j + 1) * (1 - fx) + _hash(i + 1, j + 1) * fx
    return upper * (1 - fy) + lower * fy

"""Things in front of a face: a hand, a mask, a scarf, or any object. Drawn on the finished picture."""

from __future__ import annotations

import cv2
import numpy as np

from fer_teach.faces.person import skin_colour

KINDS = ("hand", "mask", "scarf", "object")
FINE = 4  # drawn this much larger, then averaged


def occlude(image: np.ndarray, landmarks: np.ndarray, kind: str, rng: np.random.Generator):
    """Put a thing in front. image: sRGB float (S, S, 3); landmarks (68, 2). Returns the picture and its cover (S,
    S)."""
    size = image.shape[0]
    points = (landmarks + 0.5) * FINE
    alpha, colour = {"hand": _hand, "mask": _mask, "scarf": _scarf, "object": _object}[kind](size * FINE, points, rng)
    small = (size, size)
    alpha, colour = (cv2.resize(a.astype(np.float32), small, interpolation=cv2.INTER_AREA) for a in (alpha, colour))
    return image * (1 - alpha[..., None]) + alpha[..., None] * np.clip(colour, 0, 1), alpha


def cover(images, landmarks, seed: int = 0, kinds=KINDS, least: float = 0.03):
    """The same faces with a thing in front of each. images: uint8 (N, C, S, S), C 1 or 3; landmarks: (N, 68, 2).

    kinds: what to draw from; least: the share of the picture that the thing must hide (it is drawn again, up to 20
    times). Returns uint8 images of the same shape and what the things cover, float32 (N, S, S) in 0..1.
    """
    import torch

    rng, made, covers = np.random.default_rng(seed), [], []
    for image, points in zip(images.numpy(), landmarks.numpy(), strict=True):
        picture = np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0) / 255.0
        for _ in range(20):
            hidden, alpha = occlude(picture, points, str(rng.choice(kinds)), rng)
            if alpha.mean() >= least:
                break
        hidden = hidden @ np.array([[0.299], [0.587], [0.114]]) if len(image) == 1 else hidden
        made.append(np.rint(255 * hidden).clip(0, 255).astype(np.uint8).transpose(2, 0, 1))
        covers.append(alpha)
    return torch.from_numpy(np.stack(made)), torch.from_numpy(np.stack(covers).astype(np.float32))


def _rounded(shape, colour, rng, depth):
    """Shade a flat shape as if it bulged: lighter in the middle and on one side, with some grain."""
    inside = cv2.distanceTransform((shape > 0).astype(np.uint8), cv2.DIST_L2, 3)
    bulge = np.minimum(inside / depth, 1) ** 0.6
    row, column = np.mgrid[: shape.shape[0], : shape.shape[1]] / shape.shape[0] - 0.5
    slope = rng.normal(0, 0.5) * row + rng.normal(0, 0.5) * column
    grain = cv2.resize(rng.normal(0, 0.05, (24, 24)).astype(np.float32), shape.shape, interpolation=cv2.INTER_CUBIC)
    level = (0.55 + 0.45 * bulge) * np.clip(1 + slope, 0.4, 1.5) * (1 + grain)
    return shape > 0, level[..., None] * np.asarray(colour)


def _hand(side, points, rng):
    """Palm and four fingers across a cheek, the mouth or the chin; the near edge of the palm leaves the picture."""
    face = np.ptp(points[:17, 0])
    target = points[[4, 12, 8, 57, 62][rng.integers(5)]] + rng.normal(0, 0.08, 2) * face
    angle = np.arctan2(*(points[30] - target)[::-1]) + rng.normal(0, 0.5)
    way = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-way[1], way[0]])
    width, tone = face * rng.uniform(0.10, 0.13), skin_colour(rng.random()) ** (1 / 2.2)
    shape, level = np.zeros((side, side), np.uint8), np.zeros((side, side, 3))
    palm = target - way * face * 0.35
    parts = [(palm - way * face * 0.9, palm, 4.4 * width)]
    for k in range(4):
        start = palm + across * width * (k - 1.5) * 1.12
        parts.append((start, start + way * face * (0.42 + 0.06 * (k in (1, 2)) + rng.normal(0, 0.02)), width))
    for start, end, thick in parts:
        one = np.zeros_like(shape)
        cv2.line(one, tuple(start.astype(int).tolist()), tuple(end.astype(int).tolist()), 255, int(thick), cv2.LINE_AA)
        where, shaded = _rounded(one, tone, rng, thick * 0.4)
        level[where], shape = shaded[where], shape | one
    return shape > 0, level


def _mask(side, points, rng):
    """A cloth mask over nose and mouth, with bands to the ears."""
    outline = np.concatenate([points[2:15], points[[28]] + rng.normal(0, 1, 2)])
    shape = np.zeros((side, side), np.uint8)
    cv2.fillPoly(shape, [outline.astype(np.int32)], 255)
    for ear, edge in ((1, 3), (15, 13)):
        ends = [tuple(points[i].astype(int).tolist()) for i in (ear, edge)]
        cv2.line(shape, *ends, 255, max(2, side // 100))
    colours = ([0.55, 0.72, 0.85], [0.9, 0.9, 0.9], [0.08, 0.08, 0.09], rng.random(3))
    alpha, colour = _rounded(shape, colours[rng.integers(4)], rng, side * 0.15)
    pleats = 1 - 0.1 * (np.sin(np.arange(side) / side * 2 * np.pi * rng.uniform(14, 22)) > 0.9)
    return alpha, colour * pleats[:, None, None]


def _scarf(side, points, rng):
    """Knitted cloth from below, up to the chin, the mouth or the nose."""
    top = points[[8, 57, 33][rng.choice(3, p=[0.5, 0.35, 0.15])], 1]
    x = np.linspace(0, side, 9)
    edge = top + rng.normal(0, 0.03, 9) * side + 0.10 * side * ((x / side - 0.5) * 2) ** 2 * rng.choice([-1, 1])
    shape = np.zeros((side, side), np.uint8)
    cv2.fillPoly(shape, [np.concatenate([np.stack([x, edge], 1), [[side, side], [0, side]]]).astype(np.int32)], 255)
    alpha, colour = _rounded(shape, rng.random(3) ** 1.3, rng, side * 0.08)
    row, column = np.mgrid[:side, :side] / side
    knit = np.sin((row + 0.4 * np.sin(column * 7)) * rng.uniform(60, 120)) * np.sin(column * rng.uniform(60, 140))
    return alpha, colour * (0.85 + 0.15 * knit[..., None])


def _object(side, points, rng):
    """A blob, a bar or a box anywhere, mostly near the edge."""
    shape = np.zeros((side, side), np.uint8)
    edge = rng.random() < 0.7
    centre = rng.uniform(0, 1, 2)
    if edge:
        centre[rng.integers(2)] = rng.choice([rng.uniform(-0.05, 0.15), rng.uniform(0.85, 1.05)])
    centre, kind, turn = centre * side, rng.integers(3), float(rng.uniform(0, 180))
    long, short = rng.uniform(0.1, 0.3) * side, rng.uniform(0.05, 0.15) * side
    place = (float(centre[0]), float(centre[1]))
    if kind == 0:
        cv2.ellipse(shape, (place, (2 * long, 2 * short), turn), 255, -1)
    else:
        box = (4 * side, 0.7 * short) if kind == 1 else (2 * long, 2 * short)
        corners = cv2.boxPoints((place, box, turn))
        cv2.fillPoly(shape, [corners.astype(np.int32)], 255)
    return _rounded(shape, rng.random(3) ** 1.5, rng, short)

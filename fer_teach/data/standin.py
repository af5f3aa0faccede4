"""A small stand-in for rendered faces: cartoon-like grey faces of 64 px, drawn in 2-D with OpenCV.

`standin(split)` is the only entry; whatever replaces it returns the same dictionary of arrays. 68 points in 3-D are
moved by action units and identity, turned by yaw, pitch and roll, projected, and drawn as polygons, so landmarks and
masks are exact. Subjects are disjoint across splits. The same source gives the same bytes.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from fer_teach.data import standin_shape
from fer_teach.data.cache import cached
from fer_teach.data.progress import progress
from fer_teach.data.standin_shape import SEED, Person, landmarks, mirror, project

SIZE, SUPER, SHIFT = 64, 2, 4  # output pixels; drawn this much larger; fractional bits of OpenCV's points
SPLITS = {"train": (0, 4000), "valid": (400, 800), "test": (480, 1200)}  # first subject, images; ten a subject
CLASSES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
UNITS = (
    "AU1",
    "AU2",
    "AU4",
    "AU5",
    "AU6",
    "AU7",
    "AU9",
    "AU10",
    "AU12",
    "AU14",
    "AU15",
    "AU20",
    "AU23",
    "AU25",
    "AU26",
)
EXPRESSIONS = {
    "neutral": {},
    "happiness": {"AU6": 0.7, "AU12": 1.0, "AU25": 0.5},
    "surprise": {"AU1": 0.9, "AU2": 0.9, "AU5": 0.8, "AU26": 0.9},
    "sadness": {"AU1": 0.8, "AU4": 0.5, "AU15": 0.9},
    "anger": {"AU4": 1.0, "AU5": 0.3, "AU7": 0.7, "AU23": 0.8},
    "disgust": {"AU4": 0.4, "AU9": 1.0, "AU10": 0.8, "AU15": 0.3},
    "fear": {"AU1": 0.9, "AU2": 0.4, "AU4": 0.6, "AU5": 0.8, "AU20": 0.9, "AU25": 0.6},
    "contempt": {"AU14": 1.0},
}
CONFUSED = {  # what a rater takes the expression for when not for itself
    "neutral": ("sadness", "contempt"), "happiness": ("neutral", "contempt"), "surprise": ("fear", "happiness"),
    "sadness": ("neutral", "fear"), "anger": ("disgust", "neutral"), "disgust": ("anger", "contempt"),
    "fear": ("surprise", "sadness"), "contempt": ("neutral", "happiness"),
}  # fmt: skip


def standin(split: str) -> dict[str, np.ndarray]:
    """Arrays of one split, drawn on first use and memory-mapped from then on.

    images uint8 (N, 1, 64, 64); labels, subjects int64 (N,); votes int64 (N, 10); landmarks float32 (N, 68, 2);
    mask_face, mask_eyes, mask_mouth bool (N, 64, 64); units float32 (N, 15) in UNITS' order; yaw, pitch, roll float32
    degrees (N,); occluded bool (N,). Masks and landmarks are those of the whole face, seen or covered.
    """
    key = hashlib.sha256(f"{SEED} {cv2.__version__} {np.__version__}".encode())
    for file in (__file__, standin_shape.__file__):
        key.update(Path(file).read_bytes())
    return cached(f"rendered-{split}", key.hexdigest(), lambda: draw_split(split))


def draw_split(split: str, limit: int | None = None) -> dict[str, np.ndarray]:
    """Draw a split afresh, the first `limit` faces only where given."""
    first, count = SPLITS[split]
    order = np.random.default_rng([SEED, first]).permutation(count)[:limit]

    def one(i):
        return draw_face(first + int(i) // 10, int(i) % len(CLASSES), np.random.default_rng([SEED, first, int(i)]))

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        faces = list(
            progress(pool.map(one, order, chunksize=50), f"Drawing rendered faces ({split})", len(order), "face")
        )
    return {key: np.stack([face[key] for face in faces]) for key in faces[0]}


def draw_face(subject: int, label: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """One face of `subject` showing class `label`; every other choice is drawn from `rng`."""
    person = Person(subject)
    strength = rng.uniform(0.5, 1.0)
    units = {unit: strength * level * rng.uniform(0.6, 1.1) for unit, level in EXPRESSIONS[CLASSES[label]].items()}
    units = {unit: float(np.clip(units.get(unit, 0.0) + abs(rng.normal(0, 0.05)), 0, 1)) for unit in UNITS}
    side = 1 if rng.random() < 0.5 else -1
    yaw, pitch, roll = np.clip(rng.normal(0, (13, 8, 7)), -40, 40).astype(np.float32)
    scale = SUPER * rng.uniform(20.5, 24.5)
    centre = SUPER * (SIZE / 2 + rng.uniform(-2.5, 2.5, 2) + (0, -1.5))

    def place(points):
        return project(points, yaw, pitch, roll) * scale + centre

    points = place(landmarks(person, units, side))
    canvas, outline = paint(person, units, points, place, scale, rng)
    occluded = rng.random() < 0.12
    if occluded:
        corner, extent = rng.uniform(0.1, 0.7, 2) * SIZE * SUPER, rng.uniform(0.2, 0.4, 2) * SIZE * SUPER
        cv2.rectangle(canvas, *[tuple(map(int, p)) for p in (corner, corner + extent)], int(rng.integers(0, 256)), -1)
    image = cv2.resize(canvas, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (3, 3), 0)
    level = (image.astype(np.float32) - 128) * rng.uniform(0.6, 1.15) + 128 + rng.uniform(-25, 25)
    image = np.clip(np.rint(level + rng.normal(0, rng.uniform(2, 9), image.shape)), 0, 255).astype(np.uint8)
    return {
        "images": image[None],
        "labels": np.int64(label),
        "subjects": np.int64(subject),
        "votes": votes(label, strength, rng),
        "landmarks": ((points + 0.5) / SUPER - 0.5).astype(np.float32),
        "mask_face": mask(outline),
        "mask_eyes": mask(*[points[i : i + 6] for i in (36, 42)], grow=2 * SUPER),
        "mask_mouth": mask(points[48:60], grow=SUPER),
        "units": np.array([units[unit] for unit in UNITS], np.float32),
        "yaw": yaw,
        "pitch": pitch,
        "roll": roll,
        "occluded": np.bool_(occluded),
    }


def paint(
    person: Person, au: dict[str, float], p: np.ndarray, place, scale: float, rng
) -> tuple[np.ndarray, np.ndarray]:
    """The drawing uint8 (128, 128) and the outline of the face (K, 2) on it. p: placed landmarks."""
    side = SIZE * SUPER
    ramp = np.add.outer(
        np.linspace(-1, 1, side) * rng.uniform(-40, 40), np.linspace(-1, 1, side) * rng.uniform(-40, 40)
    )
    backdrop = (
        ramp + rng.uniform(40, 215) + cv2.resize(rng.normal(0, 18, (5, 5)), (side, side), interpolation=cv2.INTER_CUBIC)
    )
    canvas = np.clip(backdrop, 0, 255).astype(np.uint8)
    angle = np.pi * np.linspace(0, 1, 13)[1:-1]
    top = np.stack([np.cos(angle) * person.width, -0.15 - np.sin(angle) * 1.0, 0.5 * np.sin(angle) - 0.4], 1)
    outline = np.concatenate([p[:17], place(top)])
    skull = place(
        np.concatenate(
            [
                top * (1.12, 1.16, 1),
                mirror(top, range(11))[:1] * (1.12, -1.2, 1),
                mirror(top, range(11))[-1:] * (1.12, -1.2, 1),
            ]
        )
    )
    skin, hair, dark = int(person.skin), int(person.hair), int(person.skin * 0.45)
    if not person.bald:
        fill(canvas, skull, hair)
    fill(canvas, outline, skin)
    if not person.bald:
        fringe = np.array(
            [
                [0.98, -0.25, -0.5],
                [0.75, person.hairline + 0.2, 0],
                [0, person.hairline, 0.1],
                [-0.75, person.hairline + 0.2, 0],
                [-0.98, -0.25, -0.5],
            ]
        )
        fill(canvas, np.concatenate([place(top), place(fringe * (person.width, 1, 1))[::-1]]), hair)
    if person.beard:
        fill(canvas, np.concatenate([p[3:14], p[[54, 53, 52, 51, 50, 49, 48]] + (0, -0.1 * scale)]), (skin + hair) // 2)
    light = rng.uniform(-1, 1)
    for points, tone in ((p[[27, 30, 33, 35 if light > 0 else 31]], 0.82), (p[[31, 33, 35, 30]], 0.9)):
        fill(canvas, points, int(skin * tone))
    canvas = cv2.GaussianBlur(canvas, (5, 5), 0)
    for a, b in ((31, 48), (35, 54)):  # the fold from nose to mouth, the wrinkles beside the nose
        depth = max(au["AU12"], au["AU9"], 0.8 * au["AU10"])
        line(canvas, [p[a], 0.5 * (p[a] + p[b]) + (p[b] - p[51]) * 0.2], int(skin * (1 - 0.35 * depth)), 0.03 * scale)
        line(
            canvas,
            [p[27] * 0.5 + p[a] * 0.5, p[39 if a == 31 else 42] * 0.6 + p[a] * 0.4],
            int(skin * (1 - 0.4 * au["AU9"])),
            0.03 * scale,
        )
    for first, sign in ((36, -1), (42, 1)):
        eye(canvas, p[first : first + 6], skin, scale, rng)
        brow = p[17:22] if sign < 0 else p[22:27]
        line(canvas, brow, hair if not person.bald else dark, person.brow_thick * scale)
    if person.glasses:
        for first in (36, 42):
            centre = p[first : first + 6].mean(0)
            cv2.circle(
                canvas, fixed(centre), int(0.3 * scale * 2**SHIFT), 25, max(1, int(0.04 * scale)), cv2.LINE_AA, SHIFT
            )
    fill(canvas, p[48:60], int(skin * 0.68))
    fill(canvas, p[60:68], 35)
    if au["AU25"] > 0.2 and au["AU12"] + au["AU20"] > 0.3:
        fill(canvas, np.concatenate([p[60:65], 0.5 * (p[65:68] + p[[63, 62, 61]])]), 225)
    line(canvas, np.concatenate([p[60:65]]), 30, 0.03 * scale)
    shade = (
        1 + light * 0.3 * np.linspace(-1, 1, side)[None] + rng.uniform(-0.15, 0.15) * np.linspace(-1, 1, side)[:, None]
    )
    return np.clip(canvas * shade, 0, 255).astype(np.uint8), outline


def eye(canvas: np.ndarray, points: np.ndarray, skin: int, scale: float, rng) -> None:
    """White, iris cut to the lids' opening, lids."""
    white, inside = canvas.copy(), np.zeros_like(canvas)
    fill(inside, points, 255)
    fill(white, cv2.convexHull(points.astype(np.float32))[:, 0], min(255, skin + 60))
    cv2.circle(white, fixed(points.mean(0)), int(0.085 * scale * 2**SHIFT), 30, -1, cv2.LINE_AA, SHIFT)
    np.copyto(canvas, white, where=inside > 127)
    line(canvas, points[:4], int(skin * 0.3), 0.035 * scale)
    line(canvas, points[[3, 4, 5, 0]], int(skin * 0.65), 0.02 * scale)


def fixed(points: np.ndarray):
    """Pixels as OpenCV's fixed-point integers."""
    whole = np.rint(np.asarray(points) * 2**SHIFT).astype(np.int32)
    return tuple(map(int, whole)) if whole.ndim == 1 else whole


def fill(canvas: np.ndarray, points: np.ndarray, tone: int) -> None:
    cv2.fillPoly(canvas, [fixed(points)], int(tone), cv2.LINE_AA, SHIFT)


def line(canvas: np.ndarray, points, tone: int, thick: float) -> None:
    cv2.polylines(canvas, [fixed(np.stack(list(points)))], False, int(tone), max(1, round(thick)), cv2.LINE_AA, SHIFT)


def mask(*polygons: np.ndarray, grow: int = 0) -> np.ndarray:
    """Bool (64, 64): at least half of the pixel lies inside a polygon, grown by `grow` drawn pixels."""
    canvas = np.zeros((SIZE * SUPER, SIZE * SUPER), np.uint8)
    for points in polygons:
        fill(canvas, points, 255)
        if grow:
            cv2.polylines(canvas, [fixed(points)], True, 255, 2 * grow, cv2.LINE_AA, SHIFT)
    return cv2.resize(canvas, (SIZE, SIZE), interpolation=cv2.INTER_AREA) >= 128


def votes(label: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Counts (10,) of ten raters, surer the stronger the expression: eight classes, unknown, NF."""
    sure = 0.4 + 0.55 * strength
    p = np.full(10, (1 - sure) * 0.04)
    p[9] = 0
    p[label] += sure
    for other in CONFUSED[CLASSES[label]]:
        p[CLASSES.index(other)] += (1 - sure) * 0.3
    return rng.multinomial(10, p / p.sum()).astype(np.int64)

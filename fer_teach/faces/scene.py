"""What is around the face: light, background, and what the camera does to the picture."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import cv2
import numpy as np

from fer_teach.faces.shading import Light

PHOTOGRAPHS = {  # of scikit-image, without people; licence as its authors state it
    "brick.png": "CC0",
    "grass.png": "CC0",
    "gravel.png": "CC0",
    "coffee.png": "CC0, Rachel Michetti",
    "rocket.jpg": "CC0, SpaceX",
    "hubble_deep_field.jpg": "public domain, NASA",
}


def _unit(vector):
    vector = np.asarray(vector, np.float32)
    return vector / np.linalg.norm(vector)


def sample_light(rng: np.random.Generator) -> Light:
    """One main light anywhere in front, a weaker one from the other side, and light from all around."""
    azimuth, height = rng.normal(0, 1.0), float(np.clip(rng.normal(0.65, 0.4), -0.3, 1.3))
    key = _unit([np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)])
    total, ratio = np.exp(rng.normal(0.75, 0.2)), np.exp(rng.normal(1.1, 0.7))
    ambient = total / (1 + ratio)
    warm = rng.normal(0, 0.08)
    return Light(
        key=key,
        key_power=float(0.85 * (total - ambient)),
        key_colour=np.array([1 + warm, 1, 1 - 1.3 * warm], np.float32),
        fill=_unit([-np.sign(azimuth) * rng.uniform(0.4, 1), rng.normal(0, 0.2), rng.uniform(0.1, 0.8)]),
        fill_power=float(rng.uniform(0, 0.25) * total),
        ambient_power=float(0.95 * ambient),
        ambient_colour=np.array([1 - 0.5 * warm, 1, 1 + warm], np.float32),
        slope=(rng.normal(size=3) * [0.25, 0.25, 0.1] + [0, 0.4, 0.15]).astype(np.float32),
        soft=float(rng.uniform(0, 0.35)),
        wrap=float(rng.uniform(0.4, 1.0)),
    )


@cache
def _photographs():
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    found = []
    for name in PHOTOGRAPHS:
        image = cv2.imread(str(folder / name))
        if image is not None:
            found.append((image[..., ::-1].astype(np.float32) / 255) ** 2.2)
    return found


def sample_background(size: int, rng: np.random.Generator) -> np.ndarray:
    """Linear RGB float32 (size, size, 3): plain, shaded, a made-up room out of focus, or part of a photograph."""
    kind = rng.choice(["bright", "dark", "shaded", "room", "photograph"], p=[0.2, 0.1, 0.2, 0.27, 0.23])
    if kind == "bright":
        return np.full((size, size, 3), rng.uniform(0.7, 1.2), np.float32)
    if kind == "dark":
        return np.full((size, size, 3), rng.uniform(0.002, 0.03), np.float32)
    if kind == "shaded":
        colour = rng.random(3) ** 2 * 0.8
        row, column = np.mgrid[:size, :size] / size - 0.5
        level = np.clip(1 + rng.normal(0, 0.5) * row + rng.normal(0, 0.5) * column, 0.1, 3)
        return ((0.3 * colour + 0.7 * colour.mean()) * level[..., None]).astype(np.float32)
    return _room(size, rng) if kind == "room" else _cut(size, rng)


def _room(size, rng):
    """Boxes and lamps out of focus."""
    image = np.full((size, size, 3), rng.uniform(0.02, 0.5) * (0.7 + 0.3 * rng.random(3)), np.float32)
    for _ in range(rng.integers(4, 14)):
        (x, y), (w, h) = rng.uniform(-0.2, 1, 2) * size, rng.uniform(0.05, 0.7, 2) * size
        level = rng.uniform(0.01, 0.8) ** 1.5
        colour = level * (0.75 + 0.25 * rng.random(3))
        if rng.random() < 0.75:
            cv2.rectangle(image, (int(x), int(y)), (int(x + w), int(y + h)), colour.tolist(), -1)
        else:
            cv2.circle(image, (int(x), int(y)), int(0.15 * w) + 1, (1.5 * colour).tolist(), -1)
    return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.005, 0.05) * size)


def _cut(size, rng):
    """A square of a photograph, more or less in focus, often nearly grey."""
    photographs = _photographs()
    if not photographs:
        return _room(size, rng)
    image = photographs[rng.integers(len(photographs))]
    side = int(rng.uniform(0.2, 0.9) * min(image.shape[:2]))
    top, left = (int(rng.integers(length - side)) for length in image.shape[:2])
    image = cv2.resize(image[top : top + side, left : left + side], (size, size), interpolation=cv2.INTER_AREA)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.04 * size))
    if rng.random() < 0.5:
        image = 0.3 * image + 0.7 * image.mean(-1, keepdims=True)
    return (image * rng.uniform(0.3, 1.2)).astype(np.float32)


def photograph(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a camera adds to sRGB float (S, S, 3) in 0..1: blur or sharpening, contrast, noise, JPEG. Returns uint8."""
    size = image.shape[0]
    fine = (size / 64) ** 0.5
    if rng.random() < 0.15:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.0) * fine)
    else:  # cameras sharpen
        image = image + rng.uniform(0.0, 1.3) * (image - cv2.GaussianBlur(image, (0, 0), fine))
    if rng.random() < 0.7:
        low, high = np.percentile(image, [rng.uniform(0.2, 4), rng.uniform(95, 99.8)])
        image = (image - low) / (high - low + 1e-3) * rng.uniform(0.75, 1.05) + rng.uniform(0, 0.12)
    grain = rng.standard_normal((size, size, 1), np.float32) * rng.uniform(0, 0.014)
    pixels = (np.clip(image + grain, 0, 1) * 255).round().astype(np.uint8)
    if rng.random() < 0.4:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 95))]
        pixels = cv2.imdecode(cv2.imencode(".jpg", pixels[..., ::-1], quality)[1], cv2.IMREAD_COLOR)[..., ::-1]
    return np.ascontiguousarray(pixels)

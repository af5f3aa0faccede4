"""The sampling plan: one seed and one number give one face with all its labels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fer_teach.faces import occluders, scene, skin
from fer_teach.faces.expressions import CLASSES, sample_expression, sample_votes
from fer_teach.faces.facs import CODES
from fer_teach.faces.head import head
from fer_teach.faces.person import Person, sample_person
from fer_teach.faces.render import DENSITY, View, pose_mesh, render

SHARES = (0.31, 0.25, 0.12, 0.11, 0.08, 0.045, 0.045, 0.04)  # near FERPlus's, but no class under 4 %
PER_PERSON = 6  # faces of one identity
ATTRIBUTES = (  # bool unless said; the names follow CelebA's where it has one
    "eyes_closed",
    "narrow_eyes",
    "wide_eyes",
    "mouth_open",
    "smiling",
    "eyeglasses",
    "sunglasses",
    "lipstick",
    "beard",
    "hat",
    "male",
    "occluded",
)
MEASURES = ("yaw", "pitch", "roll", "years", "tone", "eye_opening", "mouth_opening")  # float32
PARTS = ("face", "eyes", "brows", "mouth")


@dataclass
class Face:
    """One face. image uint8 (S, S, 3); the rest as in the data set `rendered` (see `fer_teach.data.rendered`)."""

    image: np.ndarray
    label: int
    subject: int
    votes: np.ndarray
    action: np.ndarray
    landmarks: np.ndarray
    masks: dict[str, np.ndarray]
    attributes: dict[str, bool | float]


def person_of(seed: int, subject: int) -> Person:
    """The person with this number."""
    return sample_person(np.random.default_rng([seed, subject]))


def openings(vertices: np.ndarray) -> tuple[float, float]:
    """How far eyes and mouth are open, as shares of their widths: the mean gap of both eyes, the gap of the lips.

    vertices (N, 3): the upright face, so that no turn of the head changes the answer.
    """
    p = vertices[head().landmarks]

    def gap(upper, lower, left, right):
        return np.maximum(p[upper, 1] - p[lower, 1], 0).mean() / np.linalg.norm(p[left] - p[right])

    eyes = np.mean([gap([37, 38], [41, 40], 36, 39), gap([43, 44], [47, 46], 42, 45)])
    return float(eyes), float(gap([61, 62, 63], [67, 66, 65], 48, 54))


def sample_view(expression, rng: np.random.Generator) -> View:
    """Pose, gaze and framing; half of the people look into the camera."""
    yaw = float(np.clip(rng.normal(0, 14 if rng.random() < 0.9 else 30), -55, 55))
    pitch = float(np.clip(expression.pitch + rng.normal(0, 7), -28, 25))
    right, up = rng.normal(0, 8), expression.look + rng.normal(0, 4)
    if rng.random() < 0.5:
        right, up = right * 0.3 - 0.8 * yaw, up - 0.6 * pitch
    return View(
        yaw=yaw,
        pitch=pitch,
        roll=float(rng.normal(0, 6)),
        gaze=(float(np.clip(right, -32, 32)), float(np.clip(up, -22, 18))),
        distance=float(rng.uniform(5, 14)),
        shift=(float(rng.normal(0, 0.035)), float(rng.normal(0, 0.04))),
        zoom=float(np.exp(rng.normal(0.04, 0.13))),
    )


def make_face(
    seed: int,
    subject: int,
    take: int,
    label: int,
    size: int = 64,
    zoom: float = 1.0,
    person: Person | None = None,
    texture: np.ndarray | None = None,
) -> Face:
    """Face number `take` of person `subject`, showing class `label`. The same arguments give the same bytes.

    size: pixels. zoom: 1 frames the face as tightly as FERPlus does, 1.3 leaves a margin around it. person, texture:
    `person_of(seed, subject)` and `skin.paint(person, render.DENSITY)`, to spare making them again.
    """
    person = person_of(seed, subject) if person is None else person
    rng = np.random.default_rng([seed, subject, take, label])
    expression = sample_expression(label, rng)
    view = sample_view(expression, rng)
    view = replace(view, zoom=view.zoom * zoom)
    exposure = float(np.exp(rng.normal(-0.2, 0.33)) * (1 + 0.35 * person.tone))
    light, background = scene.sample_light(rng), scene.sample_background(2 * size, rng)
    made = render(person, expression.action, view, light, background, size, texture=texture, exposure=exposure)
    image, covered = made.image, made.covered
    occluded = rng.random() < 0.09
    if occluded:
        kind = str(rng.choice(occluders.KINDS, p=[0.4, 0.15, 0.15, 0.3]))
        image, thing = occluders.occlude(image, made.landmarks, kind, rng)
        covered = np.maximum(covered, thing)
    eye_opening, mouth_opening = openings(pose_mesh(person, expression.action))
    strength = dict(zip(CODES, expression.action.mean(1).tolist(), strict=True))
    attributes = {
        "eyes_closed": eye_opening < 0.06,
        "narrow_eyes": eye_opening < 0.19,
        "wide_eyes": strength["AU5"] > 0.4,
        "mouth_open": mouth_opening > 0.08,
        "smiling": strength["AU12"] > 0.38,
        "eyeglasses": person.glasses != "none",
        "sunglasses": person.glasses == "dark",
        "lipstick": person.lipstick,
        "beard": person.beard > 0.4,
        "hat": person.style in ("beanie", "headscarf"),
        "male": person.male,
        "occluded": bool(occluded),
        "yaw": view.yaw,
        "pitch": view.pitch,
        "roll": view.roll,
        "years": person.years,
        "tone": person.tone,
        "eye_opening": eye_opening,
        "mouth_opening": mouth_opening,
    }
    for part in PARTS:
        mask = made.masks[part]
        attributes[f"visible_{part}"] = float(1 - covered[mask].mean()) if mask.any() else 0.0
    return Face(
        scene.photograph(image, rng),
        label,
        subject,
        sample_votes(expression.chances, label, rng),
        expression.action.mean(1),
        made.landmarks,
        made.masks,
        attributes,
    )


def labels_for(count: int, seed: int, balanced: bool = False) -> np.ndarray:
    """Class of each of `count` faces, int64, in SHARES (or evenly), shuffled by `seed`."""
    shares = np.full(len(CLASSES), 1 / len(CLASSES)) if balanced else np.array(SHARES)
    exact = shares * count
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact)[: count - counts.sum()]] += 1
    return np.random.default_rng([seed, count, 77]).permutation(np.repeat(np.arange(len(CLASSES)), counts))


def make_faces(seed: int, subjects, labels, size: int = 64, zoom: float = 1.0):
    """Yield the faces of several people, PER_PERSON each; labels: one class for each face, in that order."""
    for at, subject in enumerate(subjects):
        person = person_of(seed, subject)
        texture = skin.paint(person, DENSITY)
        for take in range(PER_PERSON):
            if at * PER_PERSON + take < len(labels):
                label = int(labels[at * PER_PERSON + take])
                yield make_face(seed, subject, take, label, size, zoom, person, texture)

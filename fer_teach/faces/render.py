"""Render one face: person + action + view + light -> picture, masks and landmarks."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import cv2
import numpy as np

from fer_teach.faces import facs, kernels, layers, shading, skin, wrinkles
from fer_teach.faces.glasses import glasses
from fer_teach.faces.head import LASHES, LEFT_EYE, LOWER_TEETH, RIGHT_EYE, UPPER_TEETH, head
from fer_teach.faces.person import Person
from fer_teach.faces.shading import Light, Look, Shadows

SHADOW_MAP = 112  # pixels a side
EYE_RADIUS = 0.14
DENSITY = 96  # of the skin's texture, pixels a decimetre


@dataclass(frozen=True)
class View:
    """Where the head and the camera are.

    yaw, pitch, roll: degrees; yaw above 0 turns the face to the picture's right, pitch above 0 lifts the chin, roll
    above 0 tips the head to the picture's left. gaze (2,): degrees right and up, against the head. distance: of the
    camera, decimetres. shift (2,): of the face in the picture, as a share of its width, right and down. zoom: above 1
    the face is smaller.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)
    distance: float = 9.0
    shift: tuple[float, float] = (0.0, 0.0)
    zoom: float = 1.0


DAYLIGHT = Light(
    key=np.array([0.34, 0.42, 0.84], np.float32),
    key_power=1.7,
    key_colour=np.array([1.0, 0.97, 0.92], np.float32),
    fill=np.array([-0.70, 0.12, 0.70], np.float32),
    fill_power=0.3,
    ambient_power=0.8,
    ambient_colour=np.array([0.95, 1.0, 1.05], np.float32),
    slope=np.array([0.0, 0.3, 0.1], np.float32),
    soft=0.3,
    wrap=1.0,
)


@dataclass
class Rendering:
    """What `render` returns.

    image float32 (S, S, 3): sRGB in 0..1. landmarks float32 (68, 2): x, y in pixels, centres at whole numbers, dlib's
    order. masks: bool (S, S) of "face", "eyes", "brows", "mouth", where nothing but the face itself may hide them.
    covered float32 (S, S): how much of each pixel hair, cloth, frames or dark glasses hide.
    """

    image: np.ndarray
    landmarks: np.ndarray
    masks: dict[str, np.ndarray]
    covered: np.ndarray = field(repr=False)


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """(3, 3): first yaw, then pitch, then roll, all in degrees."""
    (cy, cp, cr), (sy, sp, sr) = (f(np.radians([yaw, pitch, roll])) for f in (np.cos, np.sin))
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    tip = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return (tip @ nod @ turn).astype(np.float32)


def pose_mesh(person: Person, action: np.ndarray) -> np.ndarray:
    """Vertices float32 (N, 3) of a person showing an action, the head upright."""
    model = head()
    vertices = person.vertices + np.tensordot(facs.mesh_units(action), model.units, 1)
    teeth, lower = model.of_part(UPPER_TEETH, LOWER_TEETH), model.of_part(LOWER_TEETH)
    vertices[teeth] -= np.array([0, 0, 0.06], np.float32)  # else they pierce the lips
    vertices[teeth, 0] *= 0.92
    vertices[lower, 0] *= 0.92
    vertices[lower] -= np.array([0, 0.05, 0.04], np.float32)
    return vertices


class _Camera:
    """Turns the head, then projects: `place` to camera space, `screen` to pixels."""

    def __init__(self, person, vertices, view, size):
        model = head()
        self.eyes = np.stack([vertices[model.of_part(part)].mean(0) for part in (LEFT_EYE, RIGHT_EYE)])
        self.turn = rotation(view.yaw, view.pitch, view.roll)
        self.pivot = np.array([0, self.eyes[:, 1].mean() - 0.35, 0.7], np.float32)
        self.distance = view.distance
        chin = person.vertices[model.landmarks[8], 1]
        self.scale = size / ((self.eyes[:, 1].mean() - chin) * 1.53 * view.zoom)  # pixels a decimetre
        eyes = self.place(self.eyes)
        self.middle = (eyes[:, :2] * (self.distance / (self.distance - eyes[:, 2:]))).mean(0)
        self.middle[0] -= np.clip(np.tan(np.radians(view.yaw)), -0.9, 0.9) * 0.22
        self.origin = size * (np.array([0.5, 0.385]) + view.shift)

    def place(self, points):
        return ((points - self.pivot) @ self.turn.T).astype(np.float32)

    def screen(self, placed):
        near = (self.distance / (self.distance - placed[:, 2:]))[:, :1]
        flat = (placed[:, :2] * near - self.middle) * (self.scale, -self.scale) + self.origin
        return np.concatenate([flat, placed[:, 2:]], 1).astype(np.float32)


def render(
    person: Person,
    action: np.ndarray,
    view: View = View(),  # noqa: B008  (frozen)
    light: Light = DAYLIGHT,
    background: np.ndarray | float = 0.25,
    size: int = 64,
    supersample: int = 2,
    texture: np.ndarray | None = None,
    exposure: float = 1.0,
) -> Rendering:
    """Render a face.

    action (units, 2) from `facs` or `expressions`; background: linear RGB (S, S, 3) with S = size * supersample, or one
    grey; texture: what `skin.paint(person, density)` returned, painted here if None; exposure: multiplies all light.
    """
    side = size * supersample
    model, vertices = head(), pose_mesh(person, action)
    camera = _Camera(person, vertices, view, side)
    texture = skin.paint(person, DENSITY) if texture is None else texture
    placed = camera.place(vertices)
    points = camera.screen(placed)
    triangles, part = _solid()
    ids, weights, depth = kernels.rasterise(points, triangles, False, side)
    worn = layers.clothes_layer(person, camera)
    cloth_ids, cloth_weights, cloth_depth = worn.rasterise(side)
    dressed = (cloth_ids >= 0) & (cloth_depth > depth)
    cloth_ids[~dressed], ids[dressed], depth[dressed] = -1, -1, cloth_depth[dressed]
    upright = kernels.vertex_normals(vertices, triangles)
    normals = np.ascontiguousarray(upright @ camera.turn.T)

    locks = layers.hair_layer(person, vertices, upright, camera)
    shadows = _shadow_map(light, placed, triangles, locks)
    front = depth
    if locks is not None:
        lock_ids, lock_weights, lock_depth = locks.rasterise(side)
        lock_ids[lock_depth < depth - 0.02] = -1
        front = np.where(lock_ids >= 0, np.maximum(depth, lock_depth), depth)
    open_sky = kernels.sky(front, 0.06 * camera.scale, 0.22 * camera.scale, 1.45, 1 / camera.scale)
    solid = np.maximum(ids, cloth_ids)
    open_sky = kernels.smooth(open_sky, solid if locks is None else np.maximum(solid, lock_ids))

    look = _look(person, action, view, camera, texture)
    colour = shading.shade_head(
        ids, weights, triangles, part, model.vertices, model.masks, placed, normals, open_sky, look, light, shadows
    )
    image = np.broadcast_to(np.asarray(background, np.float32), (side, side, 3)).copy()
    image[ids >= 0] = colour[ids >= 0]
    image[dressed] = worn.shade(cloth_ids, cloth_weights, open_sky, light, shadows)[dressed, :3]
    covered = np.zeros((side, side), np.float32)
    _draw_lashes(image, person, points, depth)
    if locks is not None:
        layer = locks.shade(lock_ids, lock_weights, open_sky, light, shadows)
        alpha = layer[..., 3:]
        image = image * (1 - alpha) + layer[..., :3] * alpha
        covered = np.maximum(covered, alpha[..., 0])
    if person.glasses != "none":
        image, covered = _draw_glasses(image, covered, person, vertices, camera, depth)
    image = image * exposure
    image = np.clip(image / (1 + 0.18 * image), 0, 1) ** (1 / 2.2)
    landmarks = (model.places(points[:, :2]) / supersample - 0.5).astype(np.float32)
    flags = kernels.regions(ids, weights, triangles, part, model.vertices, model.masks)
    masks = {name: flags & bit > 0 for name, bit in (("face", 1), ("eyes", 2), ("brows", 4), ("mouth", 8))}
    return Rendering(
        _shrink(image, supersample),
        landmarks,
        {name: _shrink(mask.astype(np.float32), supersample) >= 0.5 for name, mask in masks.items()},
        _shrink(covered, supersample),
    )


def _shadow_map(light, placed, triangles, locks):
    """Depth seen from the key light, over head and hair."""
    across = np.cross([0, 1, 0], light.key)
    across /= np.linalg.norm(across)
    axes = np.stack([across, np.cross(light.key, across), light.key]).astype(np.float32)
    scale = SHADOW_MAP / 2.6
    depth = np.full((SHADOW_MAP, SHADOW_MAP), kernels.FAR, np.float32)
    casts = [(placed, triangles)] + ([(locks.placed, locks.triangles)] if locks else [])
    for points, faces in casts:
        seen = points @ axes.T
        seen[:, 0] = SHADOW_MAP / 2 + seen[:, 0] * scale
        seen[:, 1] = SHADOW_MAP / 2 - seen[:, 1] * scale
        depth = np.maximum(depth, kernels.rasterise(seen.astype(np.float32), faces, True, SHADOW_MAP)[2])
    return Shadows(depth, axes, float(scale))


def _look(person, action, view, camera, texture):
    density = texture.shape[1] / skin.WIDTH
    right, up = np.radians(view.gaze)
    gaze = camera.turn @ np.array([np.sin(right) * np.cos(up), np.sin(up), np.cos(right) * np.cos(up)], np.float32)
    return Look(
        colour=texture,
        relief=wrinkles.relief(action, person.old, person.child, person.lid_crease, round(density)),
        density=float(density),
        left=skin.LEFT,
        top=skin.TOP,
        right=np.ascontiguousarray(camera.turn[:, 0]),
        up=np.ascontiguousarray(camera.turn[:, 1]),
        lip=skin.lip_colour(person),
        lip_cover=0.95 if person.lipstick else 0.75,
        lip_shine=0.9 if person.lipstick else 0.3,
        iris=person.iris,
        eyes=camera.place(camera.eyes),
        gaze=gaze.astype(np.float32),
        eye_radius=EYE_RADIUS,
        iris_radius=0.056 + 0.01 * (person.seed % 11) / 10,
        oily=float(person.oily),
        rough=10.0 + person.seed % 30,
        old=person.old,
    )


@cache
def _solid():
    """Triangles and parts of everything but the lashes."""
    model = head()
    solid = model.part != LASHES
    return model.triangles[solid], model.part[solid]


@cache
def _lashes():
    """Triangles of the upper and of the lower lashes."""
    model = head()
    triangles = model.triangles[model.part == LASHES]
    above = model.vertices[triangles, 1].mean(1) > model.vertices[model.of_part(LASHES), 1].mean()
    return triangles[above], triangles[~above]


def _draw_lashes(image, person, points, depth):
    """Upper lashes dark, lower ones faint. points: of the head, on the screen."""
    for triangles, alpha in zip(_lashes(), (0.35 + 0.65 * person.lashes, 0.4 * person.lashes), strict=True):
        ids, _, z = kernels.rasterise(points, triangles, True, image.shape[0])
        seen = (ids >= 0) & (z > depth - 0.03)
        image[seen] = image[seen] * (1 - alpha) + alpha * (person.hair * 0.25 + 0.003)


def _draw_glasses(image, covered, person, vertices, camera, depth):
    model, rng = head(), np.random.default_rng([person.seed, 5])
    nose = model.landmarks[27]
    worn = glasses(camera.eyes, float(vertices[nose, 2]), rng)
    glint = rng.random() < 0.5
    side = image.shape[0]
    ids, _, z = kernels.rasterise(camera.screen(camera.place(worn.lens)), worn.lens_triangles, True, side)
    behind = (ids >= 0) & (z > depth)
    through = 0.05 if person.glasses == "dark" else 0.9
    row, column = np.mgrid[:side, :side] / side
    streak = np.exp(-(((0.8 * column + row - 0.45 - 0.3 * rng.random()) / 0.05) ** 2)) * 0.25 * glint
    image[behind] = image[behind] * through + streak[behind][:, None]
    if person.glasses == "dark":
        covered = np.where(behind, 1.0, covered).astype(np.float32)
    ids, _, z = kernels.rasterise(camera.screen(camera.place(worn.frame)), worn.frame_triangles, True, side)
    seen = (ids >= 0) & (z > depth)
    image[seen] = worn.colour * 0.8 + 0.03
    return image, np.where(seen, 1.0, covered).astype(np.float32)


def _shrink(image, factor):
    side = image.shape[0] // factor
    return cv2.resize(np.ascontiguousarray(image, np.float32), (side, side), interpolation=cv2.INTER_AREA)

"""How a head is turned, from its 68 landmarks: a mean shape, turned and scaled until it fits."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch

# Points that move little with an expression and are seen from the side: the bridge and the foot of the nose, the
# corners of the eyes, the corners of the mouth, the chin.
RIGID = (27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 39, 42, 45, 48, 54, 8)
_STEPS = 12


class Pose(NamedTuple):
    """yaw, pitch, roll: float32 (N,) in degrees, signs as in the rendered faces: yaw above 0 turns the face to the
    picture's right, pitch above 0 lifts the chin. misfit: (N,), root mean square distance between the points and the
    turned shape, as a share of the distance between the outer corners of its eyes seen from the front."""

    yaw: torch.Tensor
    pitch: torch.Tensor
    roll: torch.Tensor
    misfit: torch.Tensor


@cache
def mean_shape() -> torch.Tensor:
    """(68, 3) landmarks of the book's base head, centred; x to the picture's right, y up, z to the viewer; the outer
    corners of the eyes are 1 apart."""
    from .faces.head import head

    model = head()
    points = torch.from_numpy(model.vertices[model.landmarks]).double()
    points = points - points[list(RIGID)].mean(0)
    return points / (points[36] - points[45]).norm()


def head_pose(landmarks: torch.Tensor) -> Pose:
    """Fit the mean shape to landmarks under scaled orthographic projection (DeMenthon & Davis 1995).

    landmarks: (N, 68, 2), x right and y down in pixels. The best affine camera is found by least squares, then the
    nearest rotation with one scale, refined by alternating depth and rotation. Hidden landmarks count as given.
    """
    shape = mean_shape()[list(RIGID)]  # (P, 3), centred
    seen = landmarks[:, list(RIGID)].double() * torch.tensor([1.0, -1.0]).double()  # y up
    seen = seen - seen.mean(1, keepdim=True)
    camera = torch.linalg.pinv(shape) @ seen  # (N, 3, 2): seen = shape @ camera
    right, up = camera.unbind(2)
    ahead = torch.linalg.cross(right, up) / (right.norm(dim=1) * up.norm(dim=1)).sqrt()[:, None]
    turn, scale = _nearest_rotation(torch.stack([right, up, ahead], 2))
    for _ in range(_STEPS):  # complete the picture by the depths that the last turn gives, then solve the full problem
        depth = (shape @ turn)[..., 2:] * scale[:, None, None]
        full = torch.cat([seen, depth], 2)  # (N, P, 3)
        turn, scale = _nearest_rotation(shape.T @ full, (shape**2).sum())
    made = scale[:, None, None] * (shape @ turn)[..., :2]
    misfit = ((made - seen) ** 2).sum(2).mean(1).sqrt() / scale
    return Pose(*_angles(turn.mT), misfit.float())


def _nearest_rotation(matrix: torch.Tensor, size=None):
    """The rotation (N, 3, 3) nearest to each matrix (Kabsch 1976), and the scale (N,) that goes with it."""
    u, s, vt = torch.linalg.svd(matrix)
    sign = torch.linalg.det(u @ vt)
    flip = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], 1)
    scale = (s * flip).sum(1) / size if size is not None else s[:, :2].mean(1)
    return u @ (flip[:, :, None] * vt), scale


def _angles(turn: torch.Tensor):
    """Yaw, pitch and roll in degrees of rotations (N, 3, 3) of column vectors: yaw first, then pitch, then roll."""
    pitch = torch.asin((-turn[:, 2, 1]).clamp(-1, 1))
    yaw = torch.atan2(-turn[:, 2, 0], turn[:, 2, 2])
    roll = torch.atan2(-turn[:, 0, 1], turn[:, 1, 1])
    return tuple(torch.rad2deg(angle).float() for angle in (yaw, pitch, roll))

"""The 68 landmarks in dlib's order, as vertices of the base head, and those of the brows between vertices. Used once,
when the head is derived.

Order (Sagonas et al. 2013): 17 points along the jaw from the subject's right ear to the left one, five for each brow,
four down the bridge of the nose, five under it, six for each eye, twelve around the lips, eight inside them. x grows
to the subject's left, which is the right of the picture; y up; z towards the viewer; unit: decimetre.
"""

from __future__ import annotations

import numpy as np


def pick_landmarks(vertices, triangles, part, masks, units):
    """Vertex ids (68,). vertices (N, 3); triangles (T, 3); part (T,); masks (N, 4) lips first; units: name -> (N,
    3)."""
    skin = np.unique(triangles[part == 0])
    front = skin[vertices[skin, 2] > 0.35]
    lips = skin[masks[skin, 0] > 150]
    return np.array(
        [
            *_jaw(vertices, front),
            *_brows(vertices, front),
            *_nose(vertices, front),
            *_eyes(vertices, np.unique(triangles[part == 6]), skin),
            *_lips(vertices, lips, units["jawOpen"]),
        ]
    )


def _near(vertices, among, x, y, z=None):
    """The vertex nearest to (x, y, z); without z the one in front wins."""
    place = vertices[among]
    far = (place[:, 0] - x) ** 2 + (place[:, 1] - y) ** 2
    far = far - 0.02 * place[:, 2] if z is None else far + (place[:, 2] - z) ** 2
    return int(among[far.argmin()])


JAW = (  # (x, y, z) of one side, from the ear to the chin, where dlib's predictor sees them on the base face
    (0.745, 7.30, 0.42), (0.72, 7.10, 0.47), (0.69, 6.905, 0.58), (0.635, 6.757, 0.70), (0.546, 6.605, 0.82),
    (0.453, 6.436, 1.0), (0.322, 6.302, 1.16), (0.172, 6.20, 1.30), (0.0, 6.173, 1.38),
)  # fmt: skip


def _jaw(vertices, front):
    for k in range(17):
        x, y, z = JAW[min(k, 16 - k)]
        place = vertices[front]
        far = (place[:, 0] - (-x if k < 8 else x)) ** 2 + (place[:, 1] - y) ** 2 + 0.2 * (place[:, 2] - z) ** 2
        yield int(front[far.argmin()])


def _brows(vertices, front):
    for x, y in brow_points():
        yield _near(vertices, front, x, y)


def brow_points():
    """(x, y) of the ten points along both brows of the base face, where dlib's predictor sees them."""
    for side in (-1, 1):
        for along in np.linspace(1, 0, 5)[::-side]:
            arch = 0.05 * np.sin(along * np.pi * 0.95) - 0.25 * max(0, along - 0.75)
            yield side * (0.12 + 0.46 * along), 7.465 + arch


def between_vertices(vertices, triangles, points):
    """Corners (n, 3) and weights (n, 3) of the triangle that shows at each (x, y), seen from the front."""
    corners, weights = [], []
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    across, up = b[:, :2] - a[:, :2], c[:, :2] - a[:, :2]
    area = across[:, 0] * up[:, 1] - across[:, 1] * up[:, 0]
    area[area < 1e-9] = np.inf  # turned away: never inside
    for point in points:
        to = np.array(point) - a[:, :2]
        v = (to[:, 0] * up[:, 1] - to[:, 1] * up[:, 0]) / area
        w = (across[:, 0] * to[:, 1] - across[:, 1] * to[:, 0]) / area
        inside = np.flatnonzero((v > 0) & (w > 0) & (v + w < 1))
        front = inside[a[inside, 2].argmax()]
        corners.append(triangles[front])
        weights.append((1 - v[front] - w[front], v[front], w[front]))
    return np.array(corners), np.array(weights)


def _nose(vertices, front):
    for y in (7.30, 7.18, 7.06, 6.93):
        yield _near(vertices, front, 0, y)
    for x in (-0.13, -0.07, 0, 0.07, 0.13):
        yield _near(vertices, front, x, 6.825 - 0.03 * (1 - abs(x) / 0.13))


def _eyes(vertices, lashes, skin):
    """Six a side around the opening, from the roots of the lashes (their hindmost vertices)."""
    for side in (-1, 1):
        mine = lashes[vertices[lashes, 0] * side > 0]
        place = vertices[mine]
        x = abs(place[:, 0])
        outer, inner = x.max() - 0.06, x.min() + 0.005
        middle = place[:, 1].mean()

        def at(where, above, mine=mine, x=x, place=place, middle=middle):
            half = mine if above is None else mine[(place[:, 1] > middle) == above]
            cost = abs(abs(vertices[half, 0]) - where) - 0.15 * (1.5 - vertices[half, 2])
            root = vertices[half[cost.argmin()]]
            return int(skin[((vertices[skin] - root) ** 2).sum(1).argmin()])  # the rim of the lid

        third = (outer - inner) / 3
        far, near = at(outer - 0.02, True), at(inner, None)
        upper = [at(outer - third, True), at(inner + third, True)]
        lower = [at(inner + third, False), at(outer - third, False)]
        yield from (far, *upper, near, *lower) if side < 0 else (near, *upper[::-1], far, *lower[::-1])


def _lips(vertices, lips, jaw_open):
    place = vertices[lips]
    sinks = -jaw_open[lips, 1]

    def rim(x, top):
        near = lips[abs(place[:, 0] - x) < 0.035]
        return int(near[vertices[near, 1].argmax() if top else vertices[near, 1].argmin()])

    def seam(x, top):
        half = lips[sinks < 0.05] if top else lips[sinks > 0.12]
        half = half[abs(vertices[half, 0] - x) < 0.04]
        return (
            int(half[vertices[half, 1].argmin() if top else vertices[half, 1].argmax()]) if len(half) else rim(x, top)
        )

    def corner(side):
        """Where the lips part, a little inside their corner."""
        tip = lips[(side * place[:, 0]).argmax()]
        near = lips[abs(side * place[:, 0] - side * vertices[tip, 0] + 0.045) < 0.03]
        return int(near[abs(vertices[near, 1] - vertices[tip, 1]).argmin()])

    right = int(lips[place[:, 0].argmin()])
    left = int(lips[((place - vertices[right] * (-1, 1, 1)) ** 2).sum(1).argmin()])
    yield right
    yield from (rim(x, True) for x in (-0.16, -0.05, 0, 0.05, 0.16))
    yield left
    yield from (rim(x, False) for x in (0.2, 0.09, 0, -0.09, -0.2))
    yield corner(-1)
    yield from (seam(x, True) for x in (-0.1, 0, 0.1))
    yield corner(1)
    yield from (seam(x, False) for x in (0.05, 0, -0.05))

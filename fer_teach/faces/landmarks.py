"""The 68 landmarks in dlib's order, as vertices of the base head. Used once, when the head is derived.

Order (Sagonas et al. 2013): 17 points along the jaw from the subject's right ear to the left one, five for each brow,
four down the bridge of the nose, five under it, six for each eye, twelve around the lips, eight inside them. x grows
to the subject's left, which is the right of the picture; y up; z towards the viewer; unit: decimetre.
"""

from __future__ import annotations

import numpy as np


def pick_landmarks(vertices, triangles, part, masks, units):
    """Vertex ids (68,). vertices (N, 3); triangles (T, 3); part (T,); masks (N, 4) lips first; units: name -> (N, 3)."""
    skin = np.unique(triangles[part == 0])
    front = skin[vertices[skin, 2] > 0.35]
    lips = skin[masks[skin, 0] > 128]
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


def _jaw(vertices, front):
    for angle in np.radians(np.linspace(-90, 90, 17)):
        side, down = np.sin(angle), np.cos(angle)
        yield _near(vertices, front, 0.72 * side, 7.26 - 1.06 * down**0.8, 1.36 - 0.92 * abs(side) ** 1.6)


def _brows(vertices, front):
    for side in (-1, 1):
        for x in np.linspace(0.56, 0.13, 5)[::-side]:
            along = (x - 0.13) / 0.43
            yield _near(vertices, front, side * x, 7.46 + 0.045 * np.sin(along * np.pi * 0.95) - 0.06 * max(0, along - 0.55))


def _nose(vertices, front):
    for y in (7.26, 7.17, 7.08, 6.985):
        yield _near(vertices, front, 0, y)
    for x in (-0.13, -0.07, 0, 0.07, 0.13):
        yield _near(vertices, front, x, 6.90 - 0.025 * (1 - abs(x) / 0.13))


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
            return int(half[cost.argmin()])

        third = (outer - inner) / 3
        far, near = at(outer, None), at(inner, None)
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
        return int(half[vertices[half, 1].argmin() if top else vertices[half, 1].argmax()]) if len(half) else rim(x, top)

    right, left = int(lips[place[:, 0].argmin()]), int(lips[place[:, 0].argmax()])
    yield right
    yield from (rim(x, True) for x in (-0.16, -0.07, 0, 0.07, 0.16))
    yield left
    yield from (rim(x, False) for x in (0.16, 0.07, 0, -0.07, -0.16))
    yield right
    yield from (seam(x, True) for x in (-0.1, 0, 0.1))
    yield left
    yield from (seam(x, False) for x in (0.1, 0, -0.1))

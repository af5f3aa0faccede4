"""What do rendered faces look like, class by class, beside photographs? dlib's landmarks and mean pictures of both.

    python benchmarks/looks.py --root DIR [--out FILE]

DIR holds FERPlus. Compared are its training split and the packed one, those faces in which dlib finds one. First the
landmarks: for each measure of `MEASURES` the mean of a class of rendered faces less that of the photographs, as a share
of the photographs' standard deviation in that class. Then the pixels: every face is brought to one place by its eyes
and mouth, and to mean 0 and deviation 1; a class's *signal* is its mean picture less the mean of all class means.
`alike` correlates both signals, `size` says how strong the rendered one is along the photographs' (1: as strong). Only
means over classes are kept; they are numbers, never pictures.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F

from fer_teach import data, landmarks

SIDE, CORE = 96, (slice(20, 86), slice(16, 80))  # the aligned picture, and its part that holds brows, eyes, nose, mouth
PLACES = torch.complex(torch.tensor([30.0, 66.0, 48.0]), torch.tensor([34.0, 34.0, 74.0]))  # eyes and mouth there
EYES, MOUTH = (slice(36, 42), slice(42, 48)), slice(48, 60)


def middles(points):
    """Middles of both eyes and of the mouth as complex numbers x + iy. (N, 68, 2) -> (N, 3)."""
    parts = [points[:, part].mean(1) for part in (*EYES, MOUTH)]
    return torch.view_as_complex(torch.stack(parts, 1).contiguous())


def upright(points):
    """Landmarks turned until the eyes are level, from their middle, in units of their distance; up positive."""
    left, right, _ = middles(points).unbind(1)
    z = torch.view_as_complex(points.contiguous())
    level = (z - (left + right)[:, None] / 2) / (right - left)[:, None]
    return torch.stack([level.real, -level.imag], -1)


def gap(p, upper, lower):
    """Mean height of some points above others."""
    return p[:, upper, 1].mean(1) - p[:, lower, 1].mean(1)


MEASURES = {  # of upright landmarks, in the eyes' distance
    "inner brows above the eyes": lambda p: p[:, [21, 22], 1].mean(1),
    "outer brows above the eyes": lambda p: p[:, [17, 18, 25, 26], 1].mean(1),
    "between the brows": lambda p: p[:, 22, 0] - p[:, 21, 0],
    "eyes open": lambda p: gap(p, [37, 38, 43, 44], [41, 40, 47, 46]),
    "length of the nose": lambda p: -p[:, 33, 1],
    "mouth below the eyes": lambda p: -p[:, MOUTH, 1].mean(1),
    "width of the mouth": lambda p: (p[:, 54] - p[:, 48]).norm(dim=1),
    "lips apart": lambda p: gap(p, [61, 62, 63], [67, 66, 65]),
    "corners above the lips' middle": lambda p: gap(p, [48, 54], [51, 57]),
    "chin below the eyes": lambda p: -p[:, 8, 1],
}


def aligned(images, points):
    """Faces (N, 1, H, W) brought to PLACES by the nearest similarity, standardised over CORE: (N, SIDE, SIDE)."""
    middle, size, made = PLACES.mean(), torch.tensor([images.shape[-1], images.shape[-2]]), []
    spread = PLACES - middle
    row, column = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    there = torch.complex(column.float(), row.float()) - middle
    for chosen, at in zip(images.split(512), points.split(512), strict=True):
        z = middles(at)
        a = ((z - z.mean(1, keepdim=True)) * spread.conj()).sum(1) / spread.abs().square().sum()  # from there to here
        here = torch.view_as_real(a[:, None, None] * there + z.mean(1)[:, None, None])  # (B, SIDE, SIDE, 2) pixels
        grid = (2 * here + 1) / size - 1
        x = F.grid_sample(chosen.float(), grid, padding_mode="border", align_corners=False)[:, 0]
        core = x[:, *CORE].flatten(1)
        made.append((x - core.mean(1)[:, None, None]) / (core.std(1)[:, None, None] + 5))
    return torch.cat(made)


def described(dataset):
    """Per class: mean and deviation of every measure (K, M), and the mean picture's CORE (K, P); and counts (K,)."""
    points, found = landmarks.find(dataset.images)
    labels, points, images = dataset.labels[found], points[found], dataset.images[found]
    level = upright(points)
    values = torch.stack([measure(level) for measure in MEASURES.values()], 1)  # (N, M)
    pictures = aligned(images, points)[:, *CORE].flatten(1)
    rows = [(values[labels == c], pictures[labels == c]) for c in range(len(dataset.classes))]
    mean, deviation = (torch.stack([getattr(v, name)(0) for v, _ in rows]) for name in ("mean", "std"))
    return mean, deviation, torch.stack([p.mean(0) for _, p in rows]), [len(v) for v, _ in rows]


def compared(drawn, real):
    """What main() writes, from two FaceDatasets of one channel with the same classes."""
    (mean, _, pictures, n), (real_mean, deviation, real_pictures, real_n) = described(drawn), described(real)
    off = (mean - real_mean) / deviation
    signal, wanted = (x - x.mean(0) for x in (pictures, real_pictures))
    alike = F.cosine_similarity(signal - signal.mean(1, keepdim=True), wanted - wanted.mean(1, keepdim=True))
    size = (signal * wanted).sum(1) / wanted.square().sum(1)
    return {
        "classes": list(real.classes),
        "faces": n,
        "photographs": real_n,
        "off": {name: [round(v, 3) for v in off[:, k].tolist()] for k, name in enumerate(MEASURES)},
        "alike": [round(v, 3) for v in alike.tolist()],
        "size": [round(v, 3) for v in size.tolist()],
        "apart": round(float((pictures - real_pictures).square().mean().sqrt()), 4),
        "data": {"rendered": drawn.fingerprint, "photographs": real.fingerprint},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True, help="the folder where FERPlus lies")
    parser.add_argument("--out", type=Path, default=Path("_build/transfer/looks.json"))
    options = parser.parse_args()
    drawn, real = data.load("rendered", split="train").grey(), data.load("ferplus", options.root, "train").grey()
    found = compared(drawn, real)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=1) + "\n")
    print(" " * 32, *(f"{name[:5]:>6}" for name in found["classes"]))
    for name, values in {**found["off"], "signals alike": found["alike"], "size of the signal": found["size"]}.items():
        print(f"{name:32}", *(f"{v:+6.2f}" for v in values))


if __name__ == "__main__":
    main()

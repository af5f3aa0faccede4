"""Miniature data sets in the publishers' layouts, written out for the tests."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from PIL import Image

USAGES = {"train": "Training", "valid": "PublicTest", "test": "PrivateTest"}
FOLDERS = {"train": "FER2013Train", "valid": "FER2013Valid", "test": "FER2013Test"}
COLUMNS = ["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF"]
VOTES = [  # (counts, label by the standard rule or None)
    ([9, 1, 0, 0, 0, 0, 0, 0, 0, 0], 0),
    ([0, 10, 0, 0, 0, 0, 0, 0, 0, 0], 1),
    ([1, 1, 1, 1, 1, 1, 2, 1, 1, 0], 6),  # the single votes fall away
    ([5, 0, 0, 5, 0, 0, 0, 0, 0, 0], None),  # a tie
    ([4, 3, 3, 0, 0, 0, 0, 0, 0, 0], None),  # no more than half
    ([1, 0, 0, 0, 0, 0, 0, 0, 9, 0], None),  # unknown
    ([0, 0, 0, 0, 0, 0, 0, 7, 3, 0], 7),
]
PER_SPLIT = len(VOTES)


def faces(count: int, seed: int = 0) -> np.ndarray:
    """Noise (count, 48, 48) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (count, 48, 48), dtype=np.uint8)


def png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def write_rows(path: Path, rows) -> Path:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def write_ferplus(root: Path) -> dict[str, np.ndarray]:
    """FER2013Train|Valid|Test/ferNNNNNNN.png with label.csv; returns the images by split."""
    written = {}
    for i, (split, folder) in enumerate(FOLDERS.items()):
        (root / folder).mkdir(parents=True)
        written[split] = faces(PER_SPLIT, i)
        rows = []
        for k, image in enumerate(written[split]):
            name = f"fer{i * PER_SPLIT + k:07}.png"
            (root / folder / name).write_bytes(png(image))
            rows.append([name, "(0, 0, 48, 48)", *VOTES[k][0]])
        write_rows(root / folder / "label.csv", rows)
    return written


def write_fer2013_labels(root: Path) -> None:
    """fer2013_labels.csv beside write_ferplus's folders: emotion = position in the split."""
    rows = [["image", "Usage", "emotion"]]
    for i, usage in enumerate(USAGES.values()):
        rows += [[f"fer{i * PER_SPLIT + k:07}.png", usage, k] for k in range(PER_SPLIT)]
    write_rows(root / "fer2013_labels.csv", rows)


def kaggle_rows(icml: bool = False) -> tuple[list[list], dict[str, np.ndarray]]:
    """Rows of fer2013.csv or icml_face_data.csv (7 a split, emotion = position in the split), images by split."""
    rows = [["emotion", " Usage", " pixels"] if icml else ["emotion", "pixels", "Usage"]]
    written = {}
    for i, (split, usage) in enumerate(USAGES.items()):
        written[split] = faces(PER_SPLIT, i)
        for k, image in enumerate(written[split]):
            pixels = " ".join(map(str, image.ravel()))
            rows.append([k, usage, pixels] if icml else [k, pixels, usage])
    return rows, written


def new_rows(blank: tuple[int, ...] = ()) -> list[list]:
    """Rows of fer2013new.csv for kaggle_rows; positions in `blank` (0-based, header aside) have no image name."""
    rows = [["Usage", "Image name", *COLUMNS]]
    for i, usage in enumerate(USAGES.values()):
        for k in range(PER_SPLIT):
            at = i * PER_SPLIT + k
            rows.append([usage, "" if at in blank else f"fer{at:07}.png", *VOTES[k][0]])
    return rows

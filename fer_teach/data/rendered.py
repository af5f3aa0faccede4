"""The data set `rendered`: faces made by the book itself, with masks, landmarks, action units and pose known."""

from __future__ import annotations

from pathlib import Path

import torch

from fer_teach.data.dataset import FaceDataset
from fer_teach.data.standin import CLASSES, UNITS, standin


def load(places: list[Path] | None, split: str) -> FaceDataset:
    """Grey faces of 64 px in FERPlus's eight classes, subjects disjoint across splits; `places` is not used.

    Sizes: train 4,000, valid 800, test 1,200. votes: ten simulated raters. masks: "face", "eyes", "mouth", of the whole
    face even where covered. attributes: "yaw", "pitch", "roll" in degrees, "occluded" bool.
    """
    arrays = {key: torch.from_numpy(value) for key, value in standin(split).items()}
    return FaceDataset(
        "rendered",
        split,
        arrays["images"],
        arrays["labels"],
        CLASSES,
        subjects=arrays["subjects"],
        votes=arrays["votes"],
        landmarks=arrays["landmarks"],
        masks={part: arrays[f"mask_{part}"] for part in ("face", "eyes", "mouth")},
        action_units=dict(zip(UNITS, arrays["units"].T, strict=True)),
        attributes={key: arrays[key] for key in ("yaw", "pitch", "roll", "occluded")},
    )

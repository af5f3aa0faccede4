"""The data set `rendered`: faces that `fer_teach.faces` made, every label known exactly; those packed into the package,
or a folder of the user's own."""

from __future__ import annotations

import hashlib
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import torch

from fer_teach.data import shards
from fer_teach.data.dataset import FaceDataset
from fer_teach.data.groups import SHARES, subject_split
from fer_teach.data.packed import unpack
from fer_teach.errors import AbsentSplit, DataError

CLASSES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
UNITS = (  # as fer_teach.faces.facs.CODES; a test keeps them equal
    "AU1", "AU2", "AU4", "AU5", "AU6", "AU7", "AU9", "AU10", "AU12", "AU14", "AU15", "AU16", "AU17", "AU18", "AU20",
    "AU22", "AU23", "AU24", "AU25", "AU26", "AU27", "AU28", "AU34", "AU19", "AU30", "AU43",
)  # fmt: skip
SPLITS = ("train", "valid", "test", "gallery")


def file_of(split: str) -> Path:
    """Where a split lies."""
    return Path(__file__).with_name("faces") / f"{split}.npz"


@cache
def edition() -> str:
    """16 hex digits of the packed files: faces that look different have another edition."""
    return hashlib.sha256(b"".join(file_of(split).read_bytes() for split in SPLITS)).hexdigest()[:16]


@lru_cache(maxsize=1)  # the last one alone: whoever loads three splits holds them already
def _stored(split):
    return unpack(file_of(split))


def load(places: list[Path] | None, split: str) -> FaceDataset:
    """Faces of 64 px, grey, in FERPlus's eight classes, about 10,000 in train, valid and test; no person stands in two
    splits. `gallery`: 240 faces of 192 px in colour, every class equally often.

    places   a folder that `fer-teach faces render --out` filled, of any size, grey or colour; None: the packed faces.
             Its people are split: about 70, 10 and 20 in a hundred faces are train, valid and test. It has no gallery.
             Errors: DataError where the folder holds no shards, fewer than three people, or not all of its faces.

    votes: ten simulated raters. landmarks: 68, exact, also where hidden. masks: "face", "eyes" (with lids), "brows",
    "mouth", as far as the face itself does not hide them. action_units: AU1 ... in 0..1. attributes, bool:
    eyes_closed, narrow_eyes, wide_eyes, mouth_open, smiling, eyeglasses, sunglasses, lipstick, beard, hat, male,
    occluded; float32: yaw, pitch, roll (degrees), years, tone (0 light to 1 dark skin), eye_opening and mouth_opening
    (gap over width), visible_face, visible_eyes, visible_brows, visible_mouth (share that nothing covers).
    """
    found = _own(places[0], split) if places else {key: value.copy() for key, value in _stored(split).items()}
    arrays = {key: torch.from_numpy(value) for key, value in found.items()}

    def starting(prefix):
        return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}

    return FaceDataset(
        "rendered",
        split,
        arrays["images"],
        arrays["labels"],
        CLASSES,
        subjects=arrays["subjects"],
        votes=arrays["votes"],
        landmarks=arrays["landmarks"],
        masks=starting("mask_"),
        action_units=dict(zip(UNITS, arrays["action_units"].T, strict=True)),
        attributes=starting("attribute_"),
    )


def find(places: list[Path] | None) -> str:
    """The folder of shards that `load` would read. Errors: DataError where there is none."""
    return str(shards.files(places[0])[0].parent)


def _own(folder: Path, split: str) -> dict[str, np.ndarray]:
    """The user's faces of a split."""
    arrays = shards.load(folder)
    if split not in SHARES:
        raise AbsentSplit(f"{folder}: rendered faces of your own have no split {split!r}, only {', '.join(SHARES)}.")
    people = len(np.unique(arrays["subjects"]))
    if people < len(SHARES):
        raise DataError(
            f"{folder} shows {people} {'people' if people > 1 else 'person'}, too few for {', '.join(SHARES)} without "
            "a person in two of them. Render more, into another folder: fer-teach faces render --count 1000"
        )
    if arrays["action_units"].shape[1:] != (len(UNITS),):
        raise DataError(f"{folder} was rendered by another version of fer_teach. Render the faces anew.")
    chosen = subject_split("rendered", arrays["labels"], arrays["subjects"], split)
    return {key: np.asarray(value)[chosen] for key, value in arrays.items()}

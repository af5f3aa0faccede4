"""The book's eight common classes, and what each data set calls them."""

from __future__ import annotations

import warnings

import torch

from fer_teach.data.dataset import FaceDataset
from fer_teach.errors import DataError, DataWarning

COMMON = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
_WORDS = {
    "neutral": ("neutral", "neutrality", "ne"),
    "happiness": ("happiness", "happy", "joy", "ha"),
    "surprise": ("surprise", "surprised", "su"),
    "sadness": ("sadness", "sad", "sa"),
    "anger": ("anger", "angry", "an"),
    "disgust": ("disgust", "disgusted", "di"),
    "fear": ("fear", "fearful", "afraid", "fe"),
    "contempt": ("contempt", "contemptuous"),
}
_NAMES = {word: name for name, words in _WORDS.items() for word in words}


def common_name(word: str) -> str | None:
    """The common class that a data set's word means (happy, Joy, HA: happiness), None where there is none."""
    return _NAMES.get(word.strip().lower())


def common(dataset: FaceDataset) -> FaceDataset:
    """The same faces labelled with the eight common classes, in FERPlus's order.

    Images whose class has no counterpart (such as "unknown") are left out, with a DataWarning that counts them.
    Classes that the data set does not have keep their place without images. Errors: DataError where no class has a
    counterpart.
    """
    numbers = [COMMON.index(common_name(name)) if common_name(name) else -1 for name in dataset.classes]
    if max(numbers, default=-1) < 0:
        raise DataError(f"{dataset.name} has none of the common classes; it has: {', '.join(dataset.classes)}.")
    labels = torch.tensor(numbers)[dataset.labels]
    known = labels >= 0
    if not known.all():
        lost = ", ".join(name for name, number in zip(dataset.classes, numbers, strict=True) if number < 0)
        warnings.warn(
            f"{dataset.name}: {int((~known).sum()):,} images of {lost} have no common class and are left out.",
            DataWarning,
            stacklevel=2,
        )
    part = dataset[known]
    fields = {key: getattr(part, key) for key in _KEPT}
    return FaceDataset(part.name, part.split, part.images, labels[known], COMMON, **fields)


_KEPT = ("subjects", "votes", "landmarks", "five_points", "masks", "action_units", "attributes")

"""The numbers that publishers and papers give for each data set, and how a user's copy compares with them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

from fer_teach.errors import CountWarning

_SPLITS = ("train", "valid", "test")
Counts = dict[str, dict[str, int]]  # split -> class -> images


@dataclass(frozen=True)
class Published:
    """One form of a data set as published. What is None or empty is not compared.

    form      which form it is, for the sentence
    parts     published name -> (the loader's split, images)
    classes   published name of a part, or "all" for the whole set -> class -> images
    total     images in all; subjects: people in all
    """

    form: str = ""
    parts: dict[str, tuple[str, int]] = field(default_factory=dict)
    classes: dict[str, dict[str, int]] = field(default_factory=dict)
    total: int | None = None
    subjects: int | None = None

    def compare(self, counts: Counts, subjects: int | None) -> tuple[list[str], list[str]]:
        """Sentences about what agrees and about what differs."""
        agree, differ = [], []

        def say(who: str, found: int, unit: str, expected: int) -> None:
            of = self.form and f" for {self.form}"
            if found == expected:
                agree.append(f"{who} has {found:,} {unit}, as published{of}.")
            else:
                differ.append(f"{who} has {found:,} {unit}, {expected:,} were published{of}.")

        def images(splits: tuple[str, ...], name: str | None = None) -> int:
            return sum(n for split in splits for key, n in counts[split].items() if name in (None, key))

        def say_classes(who: str, splits: tuple[str, ...], classes: dict[str, int]) -> None:
            wrong = {name: number for name, number in classes.items() if images(splits, name) != number}
            for name, number in wrong.items():
                say(who, images(splits, name), f"images of {name}", number)
            if classes and not wrong:
                agree.append(f"{who} has as many images of each class as were published.")

        for part, (split, expected) in self.parts.items():
            if split in counts:
                who = split if split == part else f"{split}, the published {part},"
                say(who, images((split,)), "images", expected)
                say_classes(who, (split,), self.classes.get(part, {}))
        every = ("all",) if "all" in counts else _SPLITS
        if counts.keys() >= set(every):
            say_classes("the set", every, self.classes.get("all", {}))
            if self.total is not None:
                say("the set", images(every), "images", self.total)
            if self.subjects is not None and subjects is not None:
                say("the set", subjects, "subjects", self.subjects)
        return agree, differ


def _split(train: int, valid: int, test: int, form: str = "") -> Published:
    return Published(form, {name: (name, n) for name, n in zip(_SPLITS, (train, valid, test), strict=True)})


_CK = {"anger": 135, "contempt": 54, "disgust": 177, "fear": 75, "happiness": 207, "sadness": 84, "surprise": 249}
_JAFFE = {"anger": 30, "disgust": 29, "fear": 32, "happiness": 31, "neutral": 30, "sadness": 31, "surprise": 30}
_RAF = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
_RAF_TRAIN = dict(zip(_RAF, (1_290, 281, 717, 4_772, 1_982, 705, 2_524), strict=True))
_RAF_TEST = dict(zip(_RAF, (329, 74, 160, 1_185, 478, 162, 680), strict=True))
PUBLISHED: dict[str, tuple[Published, ...]] = {
    "ferplus": (_split(28_558, 3_579, 3_573),),
    "fer2013": (_split(28_709, 3_589, 3_589),),
    "ckplus": (Published("327 sequences of three frames", {}, {"all": _CK}, 981, 118),),
    "jaffe": (Published("", {}, {"all": _JAFFE}, 213, 10),),
    "ferg": (Published("", total=55_767, subjects=6),),
    "rafdb": (
        Published(
            "",
            {"train": ("train", 12_271), "test": ("test", 3_068)},
            {"train": _RAF_TRAIN, "test": _RAF_TEST},
        ),
    ),
    "sfew": (
        Published("the frames", {"Train": ("train", 958), "Val": ("valid", 436)}),
        Published("the aligned faces", {"Train": ("train", 891), "Val": ("valid", 431)}),
    ),
    "celeba": (
        Published("", {name: (name, n) for name, n in zip(_SPLITS, (162_770, 19_867, 19_962), strict=True)},
                  total=202_599, subjects=None),
    ),
}  # fmt: skip
STANDARD = {"ferplus": _split(25_045, 3_191, 3_137, "the standard rule")}  # after the majority rule


def warn_count(name: str, split: str, found: int, source: object) -> None:
    """A CountWarning where `source` holds another number of images of the split than was published."""
    expected = PUBLISHED[name][0].parts[split][1]
    if found != expected:
        warnings.warn(
            f"{source}: {split} has {found:,} images, {expected:,} were published for {name}. "
            "If that is no choice of yours, fetch the data set again.",
            CountWarning,
            stacklevel=4,
        )


def compare(name: str, counts: Counts, subjects: int | None = None) -> tuple[list[str], list[str]]:
    """Sentences about what agrees with the publisher's numbers and what differs, by the form that differs least."""
    results = [form.compare(counts, subjects) for form in PUBLISHED.get(name, ())]
    return min(results, key=lambda result: len(result[1]), default=([], []))

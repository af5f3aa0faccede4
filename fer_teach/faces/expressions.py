"""Eight expressions as distributions over action units.

Each class is a few *patterns*; a pattern gives a range of intensity for each of its units, at full strength. The
patterns follow the prototypes and major variants of the FACS Investigator's Guide (Ekman, Friesen & Hager 2002) and of
EMFACS. A draw scales the pattern by a strength, turns the two sides unequal, may blend in a second class, and adds
small movements that mean nothing. Ranges were set by eye and with the help of a network trained on FERPlus
photographs as a judge of class means; no single photograph was used. The datasheet tells what that implies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fer_teach.faces.facs import CODES, INDEX

CLASSES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")


@dataclass(frozen=True)
class Pattern:
    """share: how often among its class; units: code -> (low, high); pitch: the head's tilt in degrees, up positive;
    look: the gaze, up positive, in degrees; one_sided: units that one side shows alone."""

    share: float
    units: dict[str, tuple[float, float]]
    pitch: tuple[float, float] = (0, 0)
    look: tuple[float, float] = (0, 0)
    one_sided: tuple[str, ...] = ()


def _pattern(share, text, pitch=(0, 0), look=(0, 0), one_sided=""):
    """A pattern from a line such as "AU6 .4-.9, AU12 .7-1"."""
    units = {}
    for item in text.split(","):
        if item.strip():
            code, span = item.split()
            low, _, high = span.partition("-")
            units[code] = (float(low), float(high or low))
    return Pattern(share, units, pitch, look, tuple(one_sided.split()))


PATTERNS = {
    "neutral": (
        _pattern(0.56, ""),
        _pattern(0.12, "AU25 .12-.53"),
        _pattern(0.08, "AU25 .18-.47, AU26 .06-.28"),
        _pattern(0.10, "AU24 .1-.5, AU17 0-.3"),
        _pattern(0.10, "AU4 .03-.19, AU7 0-.27"),
        _pattern(0.04, "AU12 .04-.25, AU6 0-.18"),
    ),
    "happiness": (
        _pattern(0.20, "AU6 .18-.64, AU12 .42-.79"),
        _pattern(0.50, "AU6 .36-.91, AU12 .58-.88, AU25 .59-.94, AU10 .23-.54, AU26 .06-.28"),
        _pattern(0.30, "AU6 .45-.91, AU12 .67-.92, AU25 .59-.94, AU10 .23-.62, AU16 .18-.55, AU26 .22-.61, AU43 0-.4"),
    ),
    "surprise": (
        _pattern(0.45, "AU1 .4-.67, AU2 .54-.85, AU5 .46-.85, AU26 .5-.89, AU18 .4-.9, AU22 .3-.8, AU25 0-.24"),
        _pattern(0.45, "AU1 .4-.67, AU2 .54-.85, AU5 .46-.85, AU27 .5-.92, AU18 .4-.9, AU22 .3-.8"),
        _pattern(0.10, "AU1 .4-.67, AU2 .54-.85, AU5 .46-.85, AU25 .18-.47, AU26 .11-.28"),
    ),
    "sadness": (
        _pattern(
            0.20,
            "AU1 .53-.8, AU4 .31-.56, AU15 .67-.87, AU17 .3-.9, AU7 0-.36, AU20 0-.29, AU43 .2-.45",
            (-14, -2),
            (-14, 0),
        ),
        _pattern(
            0.20, "AU1 .53-.8, AU4 .31-.56, AU15 .67-.87, AU17 .2-.7, AU20 .07-.36, AU43 .4-.65", (-16, -3), (-18, -4)
        ),
        _pattern(
            0.60, "AU1 .53-.8, AU4 .37-.62, AU15 .6-.87, AU20 .36-.71, AU17 .1-.6, AU25 .18-.53, AU43 .3-.7", (-10, 3)
        ),
    ),
    "anger": (
        _pattern(
            0.22, "AU4 .69-.94, AU5 .15-.38, AU7 .27-.64, AU9 .13-.4, AU15 .2-.53, AU24 .2-.6, AU17 .3-.9", (-12, -1)
        ),
        _pattern(
            0.33,
            "AU4 .62-.87, AU5 .15-.46, AU7 .18-.55, AU9 .27-.6, AU10 .46-.77, AU16 .45-.91, AU25 .35-.65, AU26 .06-.28",
            (-12, 0),
        ),
        _pattern(
            0.45,
            "AU4 .62-.87, AU5 .15-.54, AU7 .18-.55, AU9 .2-.53, AU10 .38-.77, AU16 .45-.91, AU25 .35-.65, AU26 .5-1",
            (-12, 2),
        ),
    ),
    "disgust": (
        _pattern(
            0.70, "AU9 .67-.93, AU10 .54-.85, AU6 .45-.91, AU7 .45-.91, AU15 .13-.4, AU17 .4-1, AU43 .1-.35", (-4, 8)
        ),
        _pattern(
            0.30,
            "AU9 .67-.93, AU10 .62-.92, AU6 .45-.91, AU7 .45-.91, AU17 .1-.4, AU25 .12-.29, AU43 .1-.35, AU19 0-.6",
            (-4, 8),
        ),
    ),
    "fear": (
        _pattern(
            0.60,
            "AU1 .67-.93, AU2 .08-.38, AU4 .19-.44, AU5 .62-.92, AU20 .64-.93, AU25 .41-.71, AU26 .11-.39",
            (0, 12),
        ),
        _pattern(
            0.40,
            "AU1 .67-.93, AU2 .15-.54, AU4 .19-.37, AU5 .62-.92, AU20 .64-.93, AU25 .35-.65, AU26 .39-.72, AU15 0-.27",
            (0, 12),
        ),
    ),
    "contempt": (
        _pattern(0.50, "AU10 .46-.92, AU14 .3-.8, AU12 .08-.33", (-6, 8), one_sided="AU10 AU14 AU12"),
        _pattern(0.50, "AU10 .38-.85, AU14 .3-.8, AU17 .1-.5, AU2 .23-.62", (-6, 8), one_sided="AU10 AU14 AU2"),
    ),
}
CONFUSED = {  # what a rater may take each class for, and how readily
    "neutral": {"sadness": 0.35, "happiness": 0.25, "anger": 0.15, "contempt": 0.15, "surprise": 0.1},
    "happiness": {"neutral": 0.6, "surprise": 0.2, "contempt": 0.2},
    "surprise": {"fear": 0.45, "happiness": 0.35, "neutral": 0.2},
    "sadness": {"neutral": 0.55, "fear": 0.2, "anger": 0.15, "disgust": 0.1},
    "anger": {"neutral": 0.35, "disgust": 0.3, "sadness": 0.2, "surprise": 0.15},
    "disgust": {"anger": 0.5, "sadness": 0.25, "contempt": 0.25},
    "fear": {"surprise": 0.6, "sadness": 0.25, "disgust": 0.15},
    "contempt": {"neutral": 0.5, "happiness": 0.25, "disgust": 0.25},
}
AGREED = {  # share of the raters who agree on a clear face, about as in FERPlus
    "neutral": 0.85, "happiness": 1.0, "surprise": 0.86, "sadness": 0.80, "anger": 0.80, "disgust": 0.62, "fear": 0.66,
    "contempt": 0.67,
}  # fmt: skip
IDLE = ("AU1", "AU2", "AU4", "AU6", "AU7", "AU12", "AU14", "AU15", "AU17", "AU18", "AU23", "AU24", "AU25")


@dataclass(frozen=True)
class Expression:
    """action (len(UNITS), 2); chances (8,) that a rater chooses each class; pitch and look in degrees, up positive."""

    action: np.ndarray
    chances: np.ndarray
    pitch: float
    look: float


def sample_expression(label: int, rng: np.random.Generator) -> Expression:
    """An expression of class `label` (index into CLASSES)."""
    name = CLASSES[label]
    strength = float(np.clip(rng.normal(0.98, 0.21), 0.35, 1.3))
    shown, pitch, look = _draw(name, rng)
    shown *= strength
    chances = np.zeros(len(CLASSES))
    doubt = 1 - AGREED[name] * min(1.0, 0.35 + 0.65 * strength)
    for other, share in CONFUSED[name].items():
        chances[CLASSES.index(other)] = doubt * share
    if rng.random() < 0.12:
        second = rng.choice(list(CONFUSED[name]), p=list(CONFUSED[name].values()))
        amount = rng.uniform(0.15, 0.4)
        shown = (1 - 0.5 * amount) * shown + amount * _draw(second, rng)[0]
        chances[CLASSES.index(second)] += 0.7 * amount
    for code in rng.choice(IDLE, 3, replace=False):
        shown[INDEX[code]] += abs(rng.normal(0, 0.06))
    shown *= 1 + rng.normal(0, 0.08) * np.array([1, -1]) + rng.normal(0, 0.04, shown.shape)
    shown[INDEX["AU43"]] += max(0.0, rng.normal(0.02, 0.08))
    if rng.random() < 0.025:
        shown[INDEX["AU43"]] = 1.0
    chances = np.minimum(chances, 0.4)  # of the others, so that the class stays the likeliest word
    chances[label] = max(0.45, 1 - chances.sum())
    return Expression(np.clip(shown, 0, 1).astype(np.float32), chances / chances.sum(), pitch, look)


def _draw(name, rng):
    """One draw of a class at full strength: action, pitch, look."""
    patterns = PATTERNS[name]
    pattern = patterns[rng.choice(len(patterns), p=[p.share for p in patterns])]
    shown, side = np.zeros((len(CODES), 2)), rng.integers(2)
    for code, (low, high) in pattern.units.items():
        whole = rng.random() < 0.97  # now and then a unit is faint, or left out
        shown[INDEX[code]] = rng.uniform(low, high) * (1 if whole else rng.uniform(0, 0.6))
        if code in pattern.one_sided:
            shown[INDEX[code], 1 - side] *= rng.uniform(0, 0.2)
    return shown, rng.uniform(*pattern.pitch), rng.uniform(*pattern.look)


def sample_votes(chances: np.ndarray, label: int, rng: np.random.Generator) -> np.ndarray:
    """Ten simulated raters: int64 (10,) counts in FERPlus's columns (eight classes, unknown, not a face).

    As there, more raters say `label` than any other word: draws in which they do not are drawn again.
    """
    unknown = 0.02
    while True:
        votes = np.append(rng.multinomial(10, np.append(chances * (1 - unknown), unknown)), 0).astype(np.int64)
        if votes[label] > np.delete(votes, label).max():
            return votes

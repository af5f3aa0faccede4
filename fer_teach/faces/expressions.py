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
        _pattern(0.44, ""),
        _pattern(0.10, "AU25 .2-.9"),
        _pattern(0.08, "AU25 .3-.8, AU26 .1-.5"),
        _pattern(0.10, "AU24 .1-.6, AU17 0-.4"),
        _pattern(0.10, "AU4 .1-.5, AU7 0-.4"),
        _pattern(0.08, "AU15 .1-.5, AU17 0-.4, AU43 0-.3", (-10, 2), (-10, 0)),
        _pattern(0.06, "AU12 .05-.3, AU6 0-.3"),
        _pattern(0.04, "AU1 .1-.5, AU2 .1-.5"),
    ),
    "happiness": (
        _pattern(0.20, "AU6 .2-.8, AU12 .5-1"),
        _pattern(0.10, "AU6 .1-.5, AU12 .4-.8, AU25 .3-.9"),
        _pattern(0.40, "AU6 .4-1, AU12 .7-1.1, AU25 .8-1.4, AU10 .1-.5, AU26 0-.35"),
        _pattern(0.30, "AU6 .5-1, AU12 .75-1.1, AU25 .9-1.5, AU10 .2-.7, AU26 .3-1, AU43 0-.4"),
    ),
    "surprise": (
        _pattern(0.45, "AU1 .6-1.1, AU2 .7-1.1, AU5 .8-1.3, AU26 1.1-1.8, AU25 .1-.4, AU18 0-.4, AU22 0-.4"),
        _pattern(0.47, "AU1 .6-1.1, AU2 .7-1.1, AU5 .8-1.3, AU27 .8-1.2, AU25 0-.3, AU18 0-.4, AU22 .1-.7"),
        _pattern(0.08, "AU1 .8-1.1, AU2 .9-1.2, AU5 .8-1.2, AU25 .3-.8, AU26 .2-.5"),
    ),
    "sadness": (
        _pattern(0.46, "AU1 .5-1.1, AU4 .5-1, AU15 1-1.8, AU17 .2-.9, AU7 .2-.6, AU20 0-.6, AU43 .2-.5", (-14, 2), (-16, 0)),
        _pattern(0.22, "AU1 .4-.9, AU4 .3-.8, AU15 .9-1.7, AU17 0-.6, AU43 .4-.7", (-18, -4), (-20, -4)),
        _pattern(0.12, "AU1 .5-1.1, AU4 .5-.9, AU15 .9-1.6, AU25 .3-.7, AU26 0-.2, AU43 .2-.5", (-10, 4), (-12, 2)),
        _pattern(
            0.20,
            "AU1 .5-1.1, AU4 .8-1.3, AU6 .6-1, AU7 .3-.7, AU15 1-1.7, AU17 .1-.6, AU20 .6-1.2, AU25 .3-.8, AU43 .4-.8",
            (-8, 8),
        ),
    ),
    "anger": (
        _pattern(0.32, "AU4 1-1.5, AU5 .1-.5, AU7 .4-.9, AU9 .3-.8, AU15 .3-.8, AU24 .3-.9, AU17 .3-.9", (-12, 2)),
        _pattern(0.33, "AU4 1-1.5, AU5 .2-.6, AU7 .3-.8, AU9 .6-1.2, AU10 .7-1.1, AU16 .5-1, AU25 .6-1.1, AU26 0-.4", (-12, 2)),
        _pattern(0.35, "AU4 1-1.5, AU5 .2-.6, AU7 .3-.8, AU9 .5-1.1, AU10 .7-1.2, AU16 .5-1, AU25 .6-1.1, AU26 .6-1.6", (-10, 6)),
    ),
    "disgust": (
        _pattern(0.60, "AU9 1.1-1.7, AU10 .8-1.2, AU4 .3-.8, AU6 .5-1, AU7 .5-1, AU15 .2-.6, AU17 .4-1, AU43 .1-.35", (-4, 8)),
        _pattern(
            0.40,
            "AU9 1.1-1.7, AU10 .9-1.3, AU4 .3-.8, AU6 .5-1, AU7 .5-1, AU16 .1-.4, AU25 .3-.7, AU43 .1-.35, AU19 0-.6",
            (-4, 8),
        ),
    ),
    "fear": (
        _pattern(0.50, "AU1 1-1.5, AU2 .3-.8, AU4 0-.35, AU5 1-1.4, AU15 .1-.6, AU20 .6-1.2, AU10 .2-.6, AU16 .3-.8, AU25 .7-1.2, AU26 0-.5", (-2, 10)),
        _pattern(
            0.50,
            "AU1 1-1.5, AU2 .3-.8, AU4 0-.35, AU5 1-1.4, AU10 .2-.6, AU16 .2-.7, AU15 .1-.5, AU20 .7-1.3, AU25 .7-1.2, AU26 .3-1",
            (-2, 10),
        ),
    ),
    "contempt": (
        _pattern(0.60, "AU14 .8-1.5, AU12 0-.25, AU24 .7-1.4, AU15 .2-.7, AU17 .2-.7, AU4 0-.4, AU7 .1-.5", (-6, 6), one_sided="AU14 AU12"),
        _pattern(0.40, "AU14 .8-1.5, AU24 .6-1.2, AU17 .2-.7, AU2 .4-1, AU4 0-.3, AU7 0-.4", (-6, 6), one_sided="AU14 AU2"),
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
    strength = float(np.clip(rng.normal(1.0, 0.18), 0.5, 1.3))
    shown, pitch, look = _draw(name, rng)
    shown *= strength
    chances = np.zeros(len(CLASSES))
    sure = 1.0 if name == "neutral" else np.clip((strength - 0.15) / 0.6, 0.45, 1.0)
    for other, share in CONFUSED[name].items():
        chances[CLASSES.index(other)] = (1 - 0.9 * sure) * share
    if rng.random() < 0.12:
        second = rng.choice(list(CONFUSED[name]), p=list(CONFUSED[name].values()))
        amount = rng.uniform(0.15, 0.4)
        shown += amount * _draw(second, rng)[0]
        chances[CLASSES.index(second)] += 0.7 * amount
    for code in rng.choice(IDLE, 3, replace=False):
        shown[INDEX[code]] += abs(rng.normal(0, 0.12 if name == "neutral" else 0.06))
    shown *= 1 + rng.normal(0, 0.08) * np.array([1, -1]) + rng.normal(0, 0.04, shown.shape)
    shown[INDEX["AU43"]] += max(0.0, rng.normal(0.02, 0.08))
    if rng.random() < 0.025:
        shown[INDEX["AU43"]] = 1.0
    chances[label] += max(0.3, 1 - chances.sum())
    return Expression(np.clip(shown, 0, 1.8).astype(np.float32), chances / chances.sum(), pitch, look)


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


def sample_votes(chances: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Ten simulated raters: int64 (10,) counts in FERPlus's columns (eight classes, unknown, not a face)."""
    unknown = 0.02
    return np.append(rng.multinomial(10, np.append(chances * (1 - unknown), unknown)), 0).astype(np.int64)

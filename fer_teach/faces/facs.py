"""Action units of the Facial Action Coding System (Ekman, Friesen & Hager 2002) and the mesh units that show them.

An *action* is an array (len(UNITS), 2) of intensities, the subject's left side first; 0 is absent, 1 the strongest
that FACS scores (E). The weights turn an intensity of 1 into the head's units; they were set by eye against the
manual's descriptions, since the raw brow units move only 5 to 7 mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from fer_teach.faces.head import head


@dataclass(frozen=True)
class Unit:
    """One action unit: number as in FACS, name, muscles, and weights of the head's units (`*`: Left and Right)."""

    code: str
    name: str
    muscles: str
    weights: dict[str, float]


UNITS = (
    Unit("AU1", "inner brow raiser", "frontalis, medial part", {"browInnerUp": 3.3, "browAngle": 0.52}),
    Unit("AU2", "outer brow raiser", "frontalis, lateral part", {"browOuterUp*": 2.6}),
    Unit("AU4", "brow lowerer", "corrugator, depressor supercilii", {"browDown*": 2.8, "browAngle": -0.48}),
    Unit("AU5", "upper lid raiser", "levator palpebrae superioris", {"eyeWide*": 1.95}),
    Unit("AU6", "cheek raiser", "orbicularis oculi, orbital part", {"cheekSquint*": 1.21, "eyeSquint*": 0.39}),
    Unit("AU7", "lid tightener", "orbicularis oculi, palpebral part", {"eyeSquint*": 1.1}),
    Unit("AU9", "nose wrinkler", "levator labii superioris alaeque nasi", {"noseSneer*": 3.45, "mouthUpperUp*": 0.52}),
    Unit("AU10", "upper lip raiser", "levator labii superioris", {"mouthUpperUp*": 1.95}),
    Unit("AU12", "lip corner puller", "zygomaticus major", {"mouthSmile*": 1.38}),
    Unit("AU14", "dimpler", "buccinator", {"mouthDimple*": 0.7}),
    Unit("AU15", "lip corner depressor", "depressor anguli oris", {"mouthFrown*": 3.45}),
    Unit("AU16", "lower lip depressor", "depressor labii inferioris", {"mouthLowerDown*": 1.32}),
    Unit("AU17", "chin raiser", "mentalis", {"mouthShrugLower": 1.1, "mouthShrugUpper": 0.2}),
    Unit("AU18", "lip pucker", "incisivii labii", {"mouthPucker": 1.0}),
    Unit("AU20", "lip stretcher", "risorius", {"mouthStretch*": 2.66}),
    Unit("AU22", "lip funneler", "orbicularis oris", {"mouthFunnel": 1.0}),
    Unit(
        "AU23", "lip tightener", "orbicularis oris", {"mouthRollLower": 0.5, "mouthRollUpper": 0.4, "mouthPress*": 0.5}
    ),
    Unit("AU24", "lip pressor", "orbicularis oris", {"mouthPress*": 0.5, "mouthRollLower": 0.5, "mouthRollUpper": 0.4}),
    Unit(
        "AU25",
        "lips part",
        "relaxed mentalis, orbicularis oris",
        {"mouthLowerDown*": 0.59, "mouthUpperUp*": 0.51, "jawOpen": 0.14},
    ),
    Unit("AU26", "jaw drop", "relaxed masseter and temporalis", {"jawOpen": 0.94}),
    Unit("AU27", "mouth stretch", "pterygoids, digastric", {"jawOpen": 1.32}),
    Unit("AU28", "lip suck", "orbicularis oris", {"mouthRollLower": 1.0, "mouthRollUpper": 1.0}),
    Unit("AU34", "cheek puff", "buccinator, lips closed", {"cheekPuff": 1.0}),
    Unit("AU19", "tongue show", "genioglossus", {"tongueOut": 1.0}),
    Unit("AU30", "jaw sideways", "pterygoids, one side", {"jaw*": 0.8}),
    Unit("AU43", "eyes closed", "relaxed levator palpebrae", {"eyeBlink*": 0.85}),
)
CODES = tuple(unit.code for unit in UNITS)
INDEX = {code: i for i, code in enumerate(CODES)}


@cache
def _matrix():
    """(U, len(UNITS), 2): the head's units made by either side of every action unit."""
    names = head().unit_names
    matrix = np.zeros((len(names), len(UNITS), 2), np.float32)
    for column, unit in enumerate(UNITS):
        for name, weight in unit.weights.items():
            if name.endswith("*"):
                for side, word in enumerate(("Left", "Right")):
                    matrix[names.index(name[:-1] + word), column, side] = weight
            else:
                matrix[names.index(name), column] = weight / 2
    return matrix


MOST = {  # the head's units beyond which the skin folds through itself
    "browInnerUp": 2.8, "browDownLeft": 1.9, "browDownRight": 1.9, "noseSneerLeft": 2.6, "noseSneerRight": 2.6,
    "eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0,
}  # fmt: skip
SHUT = 0.8  # a blink so strong is meant; a weaker one leaves the eye open a little, however tight the lids


def mesh_units(action: np.ndarray) -> np.ndarray:
    """The head's units, float32 (U,), for an action (len(UNITS), 2), none beyond MOST."""
    units = np.einsum("uas,as->u", _matrix(), action.astype(np.float32))
    at = {name: k for k, name in enumerate(head().unit_names)}
    for side in ("Left", "Right"):
        blink, squint = at[f"eyeBlink{side}"], units[at[f"eyeSquint{side}"]]
        if units[blink] < SHUT:
            units[blink] = min(units[blink], max(SHUT - 0.5 * squint, 0.0))
    for name, most in MOST.items():
        units[at[name]] = min(units[at[name]], most)
    return units


def action(**intensities: float | tuple[float, float]) -> np.ndarray:
    """An action from intensities by code, such as action(AU12=0.8, AU14=(0.0, 1.0)); a pair is (left, right)."""
    made = np.zeros((len(UNITS), 2), np.float32)
    for code, value in intensities.items():
        made[INDEX[code]] = value
    return made

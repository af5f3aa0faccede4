"""Who is in the picture: the shape of the head, skin, brows, eyes, hair, beard, make-up and glasses of one identity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fer_teach.faces.head import LEFT_EYE, RIGHT_EYE, head

RACES = ("caucasian", "african", "asian")  # MakeHuman's three shape targets; every person is a mixture
TONES = np.array(  # linear RGB, light to dark
    [
        [0.66, 0.47, 0.38],
        [0.54, 0.36, 0.27],
        [0.40, 0.255, 0.18],
        [0.26, 0.155, 0.105],
        [0.16, 0.092, 0.063],
        [0.085, 0.05, 0.036],
    ]
)
HAIR_COLOURS = np.array(
    [
        [0.024, 0.021, 0.019],
        [0.038, 0.028, 0.021],
        [0.080, 0.050, 0.032],
        [0.150, 0.090, 0.050],
        [0.250, 0.160, 0.080],
        [0.160, 0.055, 0.020],
    ]
)
GREY_HAIR = np.array([0.30, 0.29, 0.28])
IRISES = np.array(
    [[0.03, 0.018, 0.01], [0.08, 0.04, 0.02], [0.08, 0.07, 0.03], [0.09, 0.125, 0.15], [0.07, 0.10, 0.065]]
)
LIPSTICKS = np.array([[0.45, 0.04, 0.05], [0.35, 0.06, 0.09], [0.50, 0.16, 0.16], [0.25, 0.03, 0.05]])
BEARDS = ("full", "moustache", "goatee")
TYPICAL = {  # where the mean of a local target lies, so that the mean face has a photographed face's proportions
    "head/head-scale-vert-incr": -0.2,
    "nose/nose-scale-vert-incr": -0.3,
    "mouth/mouth-scale-horiz-incr": -0.25,
    "mouth/mouth-trans-up": 0.15,
}
STYLES = ("bald", "short", "swept", "curly", "mid", "long", "tied", "beanie", "headscarf")


@dataclass
class Person:
    """One identity. Colours are linear RGB; lengths in decimetres on the base head.

    vertices float32 (N, 3): the resting face. male: bool. years: age. mixture (3,): shares of RACES. tone: 0 light to
    1 dark; skin, hair, iris, lip: colours. brow: the band's parameters. beard: 0 none to 1 thick, of style
    `beard_style`. style: of the hair, one of STYLES. hairline: height above forehead, temple and side. fringe: how far
    it falls. glasses: "none", "clear" or "dark". seed: for what is painted.
    """

    vertices: np.ndarray
    male: bool
    years: float
    mixture: np.ndarray
    tone: float
    skin: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    lip: np.ndarray
    brow: dict[str, float]
    beard: float
    beard_style: str
    lipstick: bool
    eye_shadow: bool
    style: str
    hairline: tuple[float, float, float]
    fringe: float
    parting: float
    thickness: float
    cloth: np.ndarray
    glasses: str
    oily: float
    freckles: float
    lid_crease: float
    lashes: float
    seed: int

    @property
    def child(self) -> float:
        """Share of MakeHuman's child shape."""
        return float(np.clip((21 - self.years) / 16, 0, 0.7))

    @property
    def old(self) -> float:
        """Share of MakeHuman's old shape; also how deep wrinkles are at rest."""
        return float(np.clip((self.years - 32) / 45, 0, 1))

    @property
    def age_group(self) -> str:
        """child (under 16), adult or old (from 60)."""
        return "child" if self.years < 16 else "old" if self.years >= 60 else "adult"


def skin_colour(tone: float) -> np.ndarray:
    """Linear RGB between the six TONES; tone in 0..1."""
    place = np.clip(tone, 0, 1) * (len(TONES) - 1.001)
    k, rest = int(place), place % 1
    return TONES[k] * (1 - rest) + TONES[k + 1] * rest


def sample_person(rng: np.random.Generator) -> Person:
    """A person by chance: sex, age and descent are drawn evenly, so that no group is rare."""
    mixture = rng.dirichlet([0.5, 0.4, 0.45])
    if rng.random() < 0.6:
        mixture = 0.25 * mixture + 0.75 * np.eye(3)[mixture.argmax()]
    maleness = float(np.clip(rng.beta(0.45, 0.45), 0.02, 0.98))
    years = float(rng.uniform(6, 16) if rng.random() < 0.12 else 16 + 64 * rng.beta(1.1, 1.9))
    male = maleness > 0.5
    tone = float(np.clip(mixture @ [0.17, 0.76, 0.27] + rng.normal(0, 0.09), 0, 1))
    person = Person(
        vertices=head().vertices,
        male=male,
        years=years,
        mixture=mixture,
        tone=tone,
        skin=skin_colour(tone),
        hair=_hair_colour(mixture, years, rng),
        iris=IRISES[rng.choice(5, p=[0.15, 0.2, 0.2, 0.3, 0.15])] if mixture[0] > 0.5 else IRISES[rng.choice(2)],
        lip=LIPSTICKS[rng.integers(len(LIPSTICKS))],
        brow=_brow(male, rng),
        beard=0.0,
        beard_style=str(rng.choice(BEARDS, p=[0.55, 0.2, 0.25])),
        lipstick=bool(not male and years > 16 and rng.random() < 0.4),
        eye_shadow=False,
        style=_style(male, years, rng),
        hairline=(7.97 + rng.normal(0, 0.09), 7.7 + rng.normal(0, 0.09), rng.uniform(6.95, 7.2)),
        fringe=float(rng.random() < 0.25) * rng.uniform(0.1, 0.4),
        parting=rng.normal(0, 0.6),
        thickness=0.0,
        cloth=rng.uniform(0.02, 0.6, 3) ** 1.5,
        glasses=str(rng.choice(["none", "clear", "dark"], p=[0.85, 0.13, 0.02])),
        oily=rng.uniform(0.25, 1.1),
        freckles=float(rng.random() < 0.15) * rng.random(),
        lid_crease=float(np.clip(1.1 - mixture[2] * rng.uniform(0.3, 1.1), 0.1, 1.2)),
        lashes=rng.uniform(0.25, 0.5) if male else rng.uniform(0.4, 1.0),
        seed=int(rng.integers(1 << 31)),
    )
    if male and years > 17:
        person.beard = float(rng.choice([0, rng.uniform(0.1, 0.4), rng.uniform(0.5, 1)], p=[0.5, 0.3, 0.2]))
    person.eye_shadow = bool(person.lipstick and rng.random() < 0.6)
    spans = {
        "short": (0.04, 0.16),
        "swept": (0.12, 0.3),
        "curly": (0.12, 0.42),
        "mid": (0.08, 0.2),
        "long": (0.07, 0.18),
    }
    person.thickness = float(rng.uniform(*spans.get(person.style, (0.03, 0.08))))
    if male and years > 35:  # hair recedes
        back = rng.beta(1.2, 3) * (0.1 + 0.5 * person.old)
        person.hairline = (person.hairline[0] + back, person.hairline[1] + 0.8 * back, person.hairline[2])
    person.vertices = _shape(person, maleness, rng)
    return person


def _hair_colour(mixture, years, rng):
    few = (
        rng.choice(6, p=[0.3, 0.25, 0.2, 0.13, 0.08, 0.04]) if mixture[0] > 0.5 else rng.choice(3, p=[0.55, 0.3, 0.15])
    )
    grey = np.clip((years - 40) / 30, 0, 1) * rng.random()
    return HAIR_COLOURS[few] * (1 - grey) + GREY_HAIR * grey


def _brow(male, rng):
    return {
        "half_width": rng.uniform(0.030, 0.052) if male else rng.uniform(0.017, 0.038),
        "arch": rng.uniform(0.0, 0.05) if male else rng.uniform(0.02, 0.08),
        "height": rng.normal(0, 0.014),
        "inner": rng.uniform(0.11, 0.16),
        "outer": rng.uniform(0.52, 0.60),
        "slope": rng.normal(0, 0.022),
        "density": rng.uniform(0.5, 0.96),
        "unequal": rng.normal(0, 0.006),
    }


def _style(male, years, rng):
    shares = {
        "bald": 0.09 if male and years > 25 else 0.0,
        "short": 0.42 if male else 0.1,
        "swept": 0.18 if male else 0.12,
        "curly": 0.12,
        "mid": 0.1 if male else 0.24,
        "long": 0.03 if male else 0.24,
        "tied": 0.02 if male else 0.12,
        "beanie": 0.05,
        "headscarf": 0.0 if male else 0.05,
    }
    chances = np.array([shares[name] for name in STYLES])
    return str(rng.choice(STYLES, p=chances / chances.sum()))


def _shape(person, maleness, rng):
    """The resting face: descent, sex, age and weight, then every local target a little, then a common size."""
    model = head()
    v = model.vertices.copy()
    weight = float(np.clip(rng.normal(0, 0.45), -1, 1))
    extreme = "maxweight" if weight > 0 else "minweight"
    ages = {"child": person.child, "young": 1 - person.child - person.old, "old": person.old}
    for sex, share in (("male", maleness), ("female", 1 - maleness)):
        for age, part in ages.items():
            if share * part < 1e-3:
                continue
            for race, much in zip(RACES, person.mixture, strict=True):
                model.add_shape(v, f"macro/{race}-{sex}-{age}", share * part * much)
            model.add_shape(v, f"macro/averageweight-{sex}-{age}", share * part * (1 - abs(weight)))
            model.add_shape(v, f"macro/{extreme}-{sex}-{age}", share * part * abs(weight))
    for name in dict.fromkeys(name[:-1] for name in model.shapes if not name.startswith("macro")):
        spread = 0.21 if name.startswith(("mouth/", "eyebrows/")) else 0.19
        if name.startswith(("neck", "asym")):
            spread = 0.1
        elif "eye-scale" in name or "eye-height" in name:
            spread = 0.14
        model.add_shape(v, name, float(np.clip(rng.normal(TYPICAL.get(name, 0), spread), -0.85, 0.85)))
    return _common_size(v)


def _common_size(v):
    """Scale and move so that the eyes' middle and the distance from eyes to chin are those of the base head."""
    model = head()
    eyes = model.of_part(LEFT_EYE, RIGHT_EYE)
    chin = model.landmarks[8]
    middle, base = v[eyes].mean(0), model.vertices[eyes].mean(0)
    scale = np.clip((base[1] - model.vertices[chin, 1]) / (middle[1] - v[chin, 1]), 0.6, 1.8)
    return ((v - middle) * scale + base).astype(np.float32)

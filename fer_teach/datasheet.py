"""What the set `rendered` consists of, counted from the packed files: the tables of its datasheet."""

from __future__ import annotations

from .data import rendered
from .htmltable import Table


def composition() -> list[Table]:
    """Two tables: images, people, size and classes of every split; and who and what is in the pictures."""
    splits = {name: rendered.load(None, name) for name in rendered.SPLITS}
    return [
        Table("Images", "Counted from the packed files.", [_images(name, split) for name, split in splits.items()]),
        Table("In the pictures", "Per cent of each split's images.", _shares(splits)),
    ]


def html() -> str:
    """Both tables for the page."""
    return "\n\n".join(table.html() for table in composition())


def _images(name, split) -> dict[str, str]:
    channels, height, width = split.images.shape[1:]
    return {
        "Split": name,
        "Images": f"{len(split):,}",
        "People": f"{len(split.subjects.unique()):,}",
        "Pixels": f"{height} x {width}",
        "Colour": "RGB" if channels == 3 else "grey",
        **{label: f"{count:,}" for label, count in split.counts().items()},
    }


def _shares(splits) -> list[dict[str, str]]:
    """One row a property, one column a split."""
    found = {name: _properties(split) for name, split in splits.items()}
    return [
        {"Property": row, **{name: f"{100 * share[row].double().mean():.1f}" for name, share in found.items()}}
        for row in found["train"]
    ]


def _properties(split) -> dict:
    a = split.attributes
    years, tone, yaw = a["years"], a["tone"], a["yaw"].abs()
    return {
        "women": ~a["male"],
        "men": a["male"],
        "under 16 years": years < 16,
        "16 to 59 years": (years >= 16) & (years < 60),
        "60 years and over": years >= 60,
        "skin in the light third of the scale": tone < 1 / 3,
        "in the middle third": (tone >= 1 / 3) & (tone < 2 / 3),
        "in the dark third": tone >= 2 / 3,
        "eyeglasses": a["eyeglasses"],
        "sunglasses": a["sunglasses"],
        "beard": a["beard"],
        "lipstick": a["lipstick"],
        "hat or scarf": a["hat"],
        "something in front of the face": a["occluded"],
        "turned by more than 20 degrees": yaw > 20,
        "turned by more than 45 degrees": yaw > 45,
        "eyes closed": a["eyes_closed"],
    }

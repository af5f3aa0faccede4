"""Folders that may hold FER2013 or FERPlus. The two share files, so each also looks under the other's name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from fer_teach.data.files import is_junk

KIN = {"ferplus": ("ferplus", "data", "fer2013"), "fer2013": ("fer2013", "ferplus", "data")}
_PARTS = ("train", "valid", "test")


def kin_places(name: str, inside: Sequence[Path], skip: Callable[[str], bool]) -> list[Path]:
    """Of what a folder holds: folders with a name of the set's kin, then such folders in those, then in all others.

    A name of the kin begins like one of KIN[name], in capitals or not; `data` must be the whole name, and counts in
    folders of the kin and at the top alone. skip: names of other sets' folders, which are not looked into.
    """
    near = _kin(name, inside)
    others = [path for path in inside if os.path.isdir(path) and path not in near]
    others = [path for path in others if not (_passed_over(path.name) or skip(path.name))]
    deeper = [folder for path in near for folder in _kin(name, _inside(path))]
    far = [folder for path in others for folder in _kin(name, _inside(path)) if plain(folder.name) != "data"]
    return [*near, *deeper, *far]


def plain(name: str) -> str:
    """A name's letters and digits, in lower case."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _kin(name: str, inside: Sequence[Path]) -> list[Path]:
    """Folders of `inside` with a name of the kin, the likeliest first."""
    ranked = []
    for path in inside:
        short = plain(path.name)
        fits = [short == kin or (kin != "data" and short.startswith(kin)) for kin in KIN[name]]
        if any(fits) and not _passed_over(path.name) and os.path.isdir(path):
            ranked.append((fits.index(True), len(short), path))
    return [path for *_, path in sorted(ranked)]


def _passed_over(folder: str) -> bool:
    """Is it junk or, like FER2013Train, the folder of one split?"""
    return is_junk(folder) or plain(folder).endswith(_PARTS)


def _inside(path: Path) -> list[Path]:
    """What a folder holds; nothing where it may not be read."""
    try:
        return list(path.iterdir())
    except PermissionError:
        return []

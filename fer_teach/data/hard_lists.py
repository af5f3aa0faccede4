"""The hard test images that the authors of the region attention network listed by hand (Wang et al., "Region attention
networks for pose and occlusion robust facial expression recognition", IEEE TIP 2020)."""

from __future__ import annotations

import os
import re
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor

from fer_teach.data.catalog import entry, roots
from fer_teach.errors import DataError

SOURCE = "github.com/kaiwang960112/Challenge-condition-FER-dataset"  # folders FERplus_dir and RAF_DB_dir
LISTS = {
    "ferplus": {
        "listed_occluded": "jianfei_occlusion_list.txt",
        "listed_pose_30": "pose_30_ferplus_list.txt",
        "listed_pose_45": "pose_45_ferplus_list.txt",
    },
    "rafdb": {
        "listed_occluded": "rafdb_occlusion_list.txt",
        "listed_pose_30": "val_raf_db_list.txt",
        "listed_pose_45": "val_raf_db_list_45.txt",
    },
}
_IMAGE = re.compile(r"(fer\d{7}|test_\d+)")


def hard_lists(name: str, root: str | os.PathLike | None = None) -> dict[str, Tensor]:
    """Which images of `load(name, root, "test")` stand in the authors' lists: list -> bool (N,).

    The lists name occluded faces and faces turned by more than 30 and 45 degrees, of FERPlus and RAF-DB. They are not
    part of the package: download them from SOURCE, and put them beside the images or in a folder there. A list that is
    not there is left out, so without any the answer is empty. Listed images that `load` leaves out, such as those
    without a majority, have no row.
    Errors: DataError where a row names no image, or a list no image of the test split.
    """
    if name not in LISTS:
        return {}
    places = roots(name, root)
    folders = [place if place.is_dir() else place.parent for place in places]
    found = {key: path for key, file in LISTS[name].items() if (path := _find(folders, file))}
    if not found:
        return {}
    loader = import_module(f"fer_teach.data.{entry(name).module}")
    images = [_image(file, file) for file in loader.file_names(places, "test")]
    return {key: _rows(path, images) for key, path in found.items()}


def _find(folders: list[Path], file: str) -> Path | None:
    """The first such file in one of the folders, or in a folder there."""
    return next((path for folder in folders for where in (file, f"*/{file}") for path in folder.glob(where)), None)


def _image(text: str, where: str) -> str:
    named = _IMAGE.search(text)
    if named is None:
        raise DataError(f"{where}: expected the name of an image, such as fer0032220.png, not {text.strip()[:40]!r}.")
    return named[0]


def _rows(path: Path, images: list[str]) -> Tensor:
    lines = enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    listed = {_image(line, f"{path}, row {row}") for row, line in lines if line.strip()}
    if not listed.intersection(images):
        raise DataError(f"{path} names no image of the test split. Download it again from {SOURCE}.")
    return torch.tensor([image in listed for image in images])

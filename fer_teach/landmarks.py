"""Where dlib sees a face and its 68 landmarks (Kazemi & Sullivan 2014; King 2009), kept on disk once found."""

from __future__ import annotations

import hashlib
import importlib.util
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from .data.cache import cached
from .data.progress import progress
from .errors import FerTeachError

_FILE = "shape_predictor_68_face_landmarks.dat"
_RIM = 0.1  # with 0.1 and 256 pixels dlib finds more of FERPlus's validation faces than with 0 and 192
_PIECE = 256  # images a task
FOUND = "dlib_found"  # the attribute of `landmarked`


class Landmarks(NamedTuple):
    """points: float32 (N, 68, 2), x right and y down in the images' own pixels, pixel centres at whole numbers, dlib's
    order; found: bool (N,), False where no face was detected and the points are the stand-in."""

    points: torch.Tensor
    found: torch.Tensor


def predictor_file() -> Path:
    """The 68-point predictor inside the package face-recognition-models.

    The package is not imported: that would need the removed module pkg_resources. Raises FerTeachError without it.
    """
    found = importlib.util.find_spec("face_recognition_models")
    path = Path(next(iter(found.submodule_search_locations)), "models", _FILE) if found else None
    if path is None or not path.is_file():
        raise FerTeachError(f"{_FILE} is missing. It comes with: pip install face-recognition-models")
    return path


@cache
def tools():
    """dlib's frontal face detector and 68-point predictor, loaded once (100 MB)."""
    import dlib

    return dlib.get_frontal_face_detector(), dlib.shape_predictor(str(predictor_file()))


def detect(image, side: int = 256):
    """The largest face in one image: ((left, top, right, bottom), points (68, 2)) in the image's pixels, or None.

    image: uint8 (C, H, W). It is enlarged until its shorter side has `side` pixels, since the detector knows faces from
    80 pixels on, and its edges are continued by a tenth of that, since tight crops cut chins off.
    """
    import cv2

    detector, predictor = tools()
    picture = np.ascontiguousarray(np.asarray(image).transpose(1, 2, 0))
    picture = picture[..., 0] if picture.shape[2] == 1 else picture
    factor = max(1.0, side / min(picture.shape[:2]))
    if factor > 1:
        picture = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    rim = int(_RIM * side)
    picture = cv2.copyMakeBorder(picture, rim, rim, rim, rim, cv2.BORDER_REPLICATE)
    boxes = detector(picture, 0)
    if not boxes:
        return None
    box = max(boxes, key=lambda b: b.area())
    points = np.array([[p.x, p.y] for p in predictor(picture, box).parts()], np.float32)
    corners = np.array([box.left(), box.top(), box.right(), box.bottom()], np.float32)
    return tuple(float(v) for v in (corners - rim + 0.5) / factor - 0.5), (points - rim + 0.5) / factor - 0.5


def find(images: torch.Tensor, side: int = 256, stand_in: torch.Tensor | None = None) -> Landmarks:
    """dlib's landmarks of many images.

    images: uint8 (N, C, H, W), one face each; side: see `detect`. stand_in: (68, 2) points in pixels for images without
    a detected face, by default the mean of the faces found in `images`. Found once, the points are kept in the cache
    (FER_TEACH_CACHE) under the images' content. About 10 ms an image.
    Raises FerTeachError if no face is found in any image and there is no stand_in.
    """
    array = np.ascontiguousarray(images.numpy())
    key = hashlib.sha256(array)
    key.update(f"{array.shape} {side} {predictor_file().stat().st_size}".encode())
    points = torch.from_numpy(
        np.array(cached("landmarks", key.hexdigest(), lambda: {"points": _all(array, side)})["points"])
    )
    found = ~points[:, 0, 0].isnan()
    if stand_in is None:
        if not found.any():
            raise FerTeachError(f"dlib finds no face in any of {len(images)} images; give a stand_in")
        stand_in = points[found].mean(0)
    points[~found] = stand_in.to(points)
    return Landmarks(points, found)


def seen(dataset) -> Landmarks:
    """dlib's landmarks of a FaceDataset: those that `landmarked` gave it, else found now in its images.

    For what dlib sees and misses; true landmarks do not count here. Where the parts of the face are: `known`.
    """
    found = (dataset.attributes or {}).get(FOUND)
    return find(dataset.images) if found is None else Landmarks(dataset.landmarks, found)


def known(dataset) -> Landmarks:
    """Landmarks of a FaceDataset, its own true ones, found everywhere, else dlib's (`seen`)."""
    if dataset.landmarks is not None and FOUND not in (dataset.attributes or {}):
        return Landmarks(dataset.landmarks, torch.ones(len(dataset), dtype=torch.bool))
    return seen(dataset)


def landmarked(dataset, always: bool = False, stand_in: torch.Tensor | None = None):
    """A FaceDataset with landmarks: its own, or dlib's where it has none (always: dlib's in any case).

    dlib's are those of `find`, stand_in included, and attributes["dlib_found"], bool (N,), tells where it saw a face.
    Look before you resize: then all chapters share what was found once in the images as they are.
    """
    if dataset.landmarks is not None and not always:
        return dataset
    points, found = find(dataset.images, stand_in=stand_in)
    return replace(dataset, landmarks=points, attributes={**(dataset.attributes or {}), FOUND: found})


def _all(array, side: int):
    pieces = [array[start : start + _PIECE] for start in range(0, len(array), _PIECE)]
    if len(pieces) < 4:
        return np.concatenate([_points(piece, side) for piece in progress(pieces, "landmarks", unit="batch")])
    with ProcessPoolExecutor(
        os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count(),
        mp_context=multiprocessing.get_context("spawn"),
    ) as pool:
        done = pool.map(_points, pieces, [side] * len(pieces))
        return np.concatenate(list(progress(done, "landmarks", total=len(pieces), unit="batch")))


def _points(piece, side: int):
    seen = [detect(image, side) for image in piece]
    return np.stack([np.full((68, 2), np.nan, np.float32) if s is None else s[1].astype(np.float32) for s in seen])

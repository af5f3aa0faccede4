"""The file format of the faces that the package carries: small on disk, quick to read.

An .npz file. Images lie in mosaics of 8 by 8 faces, each a WebP picture; masks in mosaics of bit flags, lossless WebP;
landmarks as 16-bit steps of 1/32 pixel from their mean; action units as 8-bit steps of 1/200; everything else as it
is.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from fer_teach.data.shards import stored
from fer_teach.errors import DataError

SIDE = 8  # faces a side of a mosaic
LANDMARK_STEP, UNIT_STEP = 1 / 32, 1 / 200
VERSION = 1
_KEYS = {
    "version", "shape", "mask_names", "images_bytes", "images_ends", "flags_bytes", "flags_ends", "landmarks_mean",
    "landmarks", "action_units", "votes", "labels", "subjects",
}  # fmt: skip


def pack(arrays: dict[str, np.ndarray], file: str | os.PathLike, quality: int = 88) -> int:
    """Write arrays as `fer_teach.faces.produce.collect` returns them. quality: WebP's, 1 to 100. Returns the bytes."""
    images = arrays["images"]
    masks = {key: value for key, value in arrays.items() if key.startswith("mask_")}
    flags = sum((mask.astype(np.uint8) << bit for bit, mask in enumerate(masks.values())), np.uint8(0))
    mean = arrays["landmarks"].mean(0)
    packed = {
        "version": np.array(VERSION),
        "shape": np.array(images.shape),
        "mask_names": np.array(list(masks)),
        **_mosaics("images", images.transpose(0, 2, 3, 1), quality),
        **_mosaics("flags", flags[..., None], 101),
        "landmarks_mean": mean,
        "landmarks": np.rint((arrays["landmarks"] - mean) / LANDMARK_STEP).astype(np.int16),
        "action_units": np.rint(arrays["action_units"] / UNIT_STEP).astype(np.uint8),
        "votes": arrays["votes"].astype(np.uint8),
        "labels": arrays["labels"].astype(np.uint8),
        "subjects": arrays["subjects"].astype(np.int32),
    }
    for key, value in arrays.items():
        if key.startswith("attribute_"):
            packed[key] = value if value.dtype == bool else value.astype(np.float16)
    np.savez_compressed(file, **packed)
    return os.path.getsize(file)


def unpack(file: str | os.PathLike) -> dict[str, np.ndarray]:
    """Read what `pack` wrote: the same arrays, images with the losses of WebP. Errors: DataError for a damaged
    file or another version."""
    packed = stored(Path(file), "Install fer_teach again.")
    if int(packed.get("version", VERSION)) != VERSION:
        raise DataError(
            f"{file} has format {packed['version']}, this fer_teach reads {VERSION}. Install one that fits."
        )
    if not packed.keys() >= _KEYS:
        raise DataError(f"{file} holds no packed faces: it lacks {', '.join(sorted(_KEYS - packed.keys()))}.")
    shape = tuple(packed["shape"])
    images = _faces("images", packed, shape[0], shape[1])
    flags = _faces("flags", packed, shape[0], 1)[:, 0]
    arrays = {
        "images": images,
        "labels": packed["labels"].astype(np.int64),
        "subjects": packed["subjects"].astype(np.int64),
        "votes": packed["votes"].astype(np.int64),
        "landmarks": (packed["landmarks"] * np.float32(LANDMARK_STEP) + packed["landmarks_mean"]).astype(np.float32),
        "action_units": packed["action_units"].astype(np.float32) * np.float32(UNIT_STEP),
    }
    for bit, name in enumerate(packed["mask_names"].tolist()):
        arrays[name] = (flags >> bit & 1).astype(bool)
    for key, value in packed.items():
        if key.startswith("attribute_"):
            arrays[key] = value if value.dtype == bool else value.astype(np.float32)
    return arrays


def _mosaics(name, pictures, quality):
    """pictures uint8 (N, S, S, C), C 1 or 3: the bytes of all mosaics, one after the other, and where each ends."""
    count, size, _, channels = pictures.shape
    cells = np.zeros((-(-count // SIDE**2) * SIDE**2, size, size, channels), np.uint8)
    cells[:count] = pictures
    encoded = []
    for group in cells.reshape(-1, SIDE, SIDE, size, size, channels):
        mosaic = group.transpose(0, 2, 1, 3, 4).reshape(SIDE * size, SIDE * size, channels)
        mosaic = mosaic[..., ::-1] if channels == 3 else np.repeat(mosaic, 3, 2)
        encoded.append(cv2.imencode(".webp", np.ascontiguousarray(mosaic), [cv2.IMWRITE_WEBP_QUALITY, quality])[1])
    return {f"{name}_bytes": np.concatenate(encoded), f"{name}_ends": np.cumsum([len(e) for e in encoded])}


def _faces(name, packed, count, channels):
    """The pictures of all mosaics: uint8 (count, channels, S, S)."""
    parts = []
    for data in np.split(packed[f"{name}_bytes"], packed[f"{name}_ends"][:-1]):
        mosaic = cv2.imdecode(data, cv2.IMREAD_COLOR)
        size = mosaic.shape[0] // SIDE
        mosaic = mosaic[..., ::-1] if channels == 3 else mosaic[..., 1:2]
        cells = mosaic.reshape(SIDE, size, SIDE, size, channels).transpose(0, 2, 4, 1, 3)
        parts.append(cells.reshape(SIDE**2, channels, size, size))
    return np.ascontiguousarray(np.concatenate(parts)[:count])

"""Bytes of an image file to an array of the declared form."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from fer_teach.errors import DataError

FITS = ("crop", "pad", "stretch")
_BEGINNINGS = (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"GIF8", b"RIFF")
_PIXELS = 50_000_000  # an image with more is taken for a bomb: the largest of these sets has under a million
_DAMAGE = (OSError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)


@dataclass(frozen=True)
class Form:
    """What every image of a data set is brought to.

    size      height and width in pixels
    channels  1 (grey) or 3 (RGB)
    fit       for an image of another shape: "crop" cuts the sides that stick out, "pad" adds black, "stretch" distorts
    """

    size: tuple[int, int]
    channels: int
    fit: str = "crop"


def form(name: str, size: int | tuple[int, int], channels: int, fit: str = "crop") -> Form:
    """A Form from a loader's options. Errors: DataError for a size outside 1..4096 or an unknown fit."""
    sides = (size, size) if isinstance(size, (int, np.integer)) and not isinstance(size, bool) else size
    if (
        not isinstance(sides, (tuple, list))
        or len(sides) != 2
        or not all(isinstance(side, (int, np.integer)) and 1 <= side <= 4096 for side in sides)
    ):
        raise DataError(f"{name}: size must be one or two whole numbers in 1..4096 (height, width), not {size!r}.")
    if fit not in FITS:
        raise DataError(f"{name}: unknown fit {fit!r}. Known: {', '.join(FITS)}.")
    return Form((int(sides[0]), int(sides[1])), channels, fit)


def decode(data: bytes, to: Form, box: Sequence[float] | None = None) -> np.ndarray:
    """Bytes of an image file -> uint8 (C, H, W). Errors: ValueError saying what is wrong with them."""
    image = _open(data)
    image = _eight_bits(image, "L" if to.channels == 1 else "RGB")
    left, upper, right, lower = box if box is not None else (0, 0, image.width, image.height)
    height, width = to.size
    if to.fit == "pad":
        scale = min(width / (right - left), height / (lower - upper))
        inner = max(1, round((right - left) * scale)), max(1, round((lower - upper) * scale))
        small = image.resize(inner, Image.Resampling.BILINEAR, (left, upper, right, lower))
        image = Image.new(image.mode, (width, height))
        image.paste(small, ((width - inner[0]) // 2, (height - inner[1]) // 2))
    else:
        if to.fit == "crop":
            left, upper, right, lower = crop_box(left, upper, right, lower, width / height)
        if (left, upper, right, lower, image.width, image.height) != (0, 0, width, height, width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR, (left, upper, right, lower))
    pixels = np.asarray(image)
    return pixels[None] if to.channels == 1 else pixels.transpose(2, 0, 1)


def crop_box(left: float, upper: float, right: float, lower: float, aspect: float) -> tuple[float, ...]:
    """The largest box of the aspect (width over height) in the middle of a box."""
    width, height = right - left, lower - upper
    if width > height * aspect:
        middle, half = (left + right) / 2, height * aspect / 2
        return middle - half, upper, middle + half, lower
    middle, half = (upper + lower) / 2, width / aspect / 2
    return left, middle - half, right, middle + half


def image_size(data: bytes) -> tuple[int, int]:
    """Height and width from an image file's header. Errors: ValueError saying what is wrong with it."""
    image = _header(data)
    return image.height, image.width


def decode_grey(data: bytes, size: tuple[int, int]) -> np.ndarray:
    """Bytes of an image file -> uint8 (H, W). Errors: ValueError saying what is wrong with them."""
    image = _open(data, size)
    return np.array(_eight_bits(image, "L"))


def _header(data: bytes) -> Image.Image:
    if not data:
        raise ValueError("is empty (0 bytes)")
    try:
        return Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        if data.startswith(_BEGINNINGS):
            raise ValueError("is truncated or damaged (its header cannot be read)") from None
        raise ValueError(f"is not an image (it starts with {data[:12]!r})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError("is far larger than any image of this set") from None
    except _DAMAGE as error:
        raise ValueError(f"is truncated or damaged ({error})") from None


def _open(data: bytes, size: tuple[int, int] | None = None) -> Image.Image:
    """The decoded image; `size`: height and width that it must have."""
    image = _header(data)
    if size is None and image.width * image.height > _PIXELS:
        raise ValueError(f"is {image.width:,} x {image.height:,} pixels, far larger than any image of this set")
    if size is not None and (image.height, image.width) != size:
        raise ValueError(f"is {image.width} x {image.height} pixels instead of {size[1]} x {size[0]}")
    try:
        if image.format == "PNG":
            _check_chunks(data)
        if image.format == "JPEG" and b"\xff\xd9" not in data:
            raise ValueError("is truncated or damaged (it ends too early)")
        image.load()
    except _DAMAGE as error:
        raise ValueError(f"is truncated or damaged ({error})") from None
    return image


def _eight_bits(image: Image.Image, mode: str) -> Image.Image:
    """The image in mode "L" or "RGB"; 16 bits are scaled to 8, what is transparent lies on white."""
    if image.mode.startswith("I"):
        image = Image.fromarray(np.clip(np.rint(np.asarray(image, np.float64) / 257), 0, 255).astype(np.uint8))
    elif image.mode == "F":
        values = np.nan_to_num(np.asarray(image, np.float64))
        scale = 255 if values.max() <= 1 else 1
        image = Image.fromarray(np.clip(np.rint(values * scale), 0, 255).astype(np.uint8))
    elif image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        solid = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", solid.size, "white"), solid).convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def _check_chunks(data: bytes) -> None:
    """Errors: ValueError unless a PNG file is whole: every chunk's checksum right, the end chunk there."""
    at = 8
    while at + 12 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(data):
            break
        if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise ValueError(f"is truncated or damaged (checksum of {kind!r})")
        if kind == b"IEND":
            return
        at = end
    raise ValueError("is truncated or damaged (it ends too early)")

"""FaceDataset: every data set of the book as tensors in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields, replace

import numpy as np
import torch
from torch import Tensor

from fer_teach.errors import DataError

_TENSORS = ("images", "labels", "subjects", "votes", "landmarks", "five_points")
_MAPPINGS = ("masks", "action_units", "attributes")


@dataclass(eq=False)
class FaceDataset:
    """N faces and what is known about them. Fields that a data set does not have are None.

    name, split    the arguments of `load`
    images         uint8 (N, C, H, W), C = 1 (grey) or 3 (RGB)
    labels         int64 (N,), index into `classes`
    classes        names of the classes, in the data set's own order
    subjects       int64 (N,), one number a person
    votes          int64 (N, 10) raw counts: the eight FERPlus emotions, unknown, NF (not a face)
    landmarks      float32 (N, 68, 2), x right and y down in pixels, pixel centres at whole numbers, dlib's order
    five_points    float32 (N, 5, 2), likewise: left eye, right eye, nose, left and right corner of the mouth, left as
                   one looks at it; NaN where unknown
    masks          bool (N, H, W) under "face", "eyes", "mouth"
    action_units   float32 (N,) in 0..1, one entry a unit, such as "AU12"
    attributes     (N,), such as "yaw", "pitch", "roll" in degrees

    `dataset[index]` takes a slice, a list, an index tensor or a bool mask and returns the subset, every field
    included. Errors: DataError where the fields' lengths, types or shapes disagree.
    """

    name: str
    split: str
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    subjects: Tensor | None = None
    votes: Tensor | None = None
    landmarks: Tensor | None = None
    five_points: Tensor | None = None
    masks: dict[str, Tensor] | None = None
    action_units: dict[str, Tensor] | None = None
    attributes: dict[str, Tensor] | None = None
    _fingerprint: str | None = field(default=None, init=False, repr=False)

    def __post_init__(self):
        self.classes = tuple(self.classes)
        if self.images.ndim != 4 or self.images.dtype != torch.uint8:
            raise DataError(f"{self.name}: images must be uint8 (N, C, H, W), not {_describe(self.images)}")
        if self.labels.ndim != 1 or self.labels.dtype != torch.int64:
            raise DataError(f"{self.name}: labels must be int64 (N,), not {_describe(self.labels)}")
        for key, value in self._tensors():
            if len(value) != len(self.images):
                raise DataError(f"{self.name}: {key} has {len(value)} rows, images has {len(self.images)}")
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.classes):
            raise DataError(f"{self.name}: labels must lie in 0..{len(self.classes) - 1}")

    def _tensors(self):
        for key in _TENSORS:
            if getattr(self, key) is not None:
                yield key, getattr(self, key)
        for key in _MAPPINGS:
            for entry, value in (getattr(self, key) or {}).items():
                yield f"{key}[{entry!r}]", value

    def _map(self, change) -> FaceDataset:
        """A copy in which every tensor is replaced by change(tensor)."""
        new = {key: change(getattr(self, key)) for key in _TENSORS if getattr(self, key) is not None}
        for key in _MAPPINGS:
            if getattr(self, key) is not None:
                new[key] = {entry: change(value) for entry, value in getattr(self, key).items()}
        return replace(self, **new)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index) -> FaceDataset:
        if isinstance(index, (int, np.integer)) and not isinstance(index, bool):
            if not -len(self) <= index < len(self):
                raise IndexError(f"index {index} is out of range for {len(self)} faces")
            index = [int(index)]
        if not isinstance(index, slice):
            index = torch.as_tensor(index)
            index = index if index.dtype == torch.bool else index.long()
        return self._map(lambda tensor: tensor[index])

    def __repr__(self) -> str:
        known = [
            f.name for f in fields(self) if f.name in _TENSORS[2:] + _MAPPINGS and getattr(self, f.name) is not None
        ]
        shape = " x ".join(map(str, self.images.shape[1:]))
        return (
            f"FaceDataset({self.name} {self.split}: {len(self):,} faces of {shape}, {len(self.classes)} classes"
            + (f"; {', '.join(known)}" if known else "")
            + ")"
        )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return tuple(self.images.shape[-2:])

    def resize(self, size: int | tuple[int, int]) -> FaceDataset:
        """The same faces at `size` (height, width; one number for a square).

        Images: antialiased bilinear. Masks: a pixel is set where at least half of it was covered. Landmarks and five
        points move along.
        """
        height, width = (size, size) if isinstance(size, int) else size
        if min(height, width) < 1:
            raise DataError(f"size must be at least 1 pixel, not {size}")
        if (height, width) == self.size:
            return replace(self)
        new = {"images": _resample(self.images, height, width, lambda x: x.round().clamp(0, 255).byte())}
        if self.masks is not None:
            new["masks"] = {
                key: _resample(mask[:, None], height, width, lambda x: x >= 0.5)[:, 0]
                for key, mask in self.masks.items()
            }
        scale = torch.tensor([width / self.size[1], height / self.size[0]])
        for key in ("landmarks", "five_points"):
            if getattr(self, key) is not None:
                new[key] = (getattr(self, key) + 0.5) * scale - 0.5
        return replace(self, **new)

    def grey(self) -> FaceDataset:
        """One channel: Y = 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601). Grey images are returned as they are."""
        if self.images.shape[1] == 1:
            return replace(self)
        weights = torch.tensor([0.299, 0.587, 0.114])
        luma = (torch.einsum("nchw,c->nhw", part.float(), weights) for part in self.images.split(1024))
        return replace(self, images=torch.cat([part.round().clamp(0, 255).byte() for part in luma])[:, None])

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits from the images' and labels' content, shapes and classes; not from name or split."""
        if self._fingerprint is None:
            digest = hashlib.sha256(repr((tuple(self.images.shape), self.classes)).encode())
            digest.update(np.ascontiguousarray(self.images.numpy()))
            digest.update(np.ascontiguousarray(self.labels.numpy()))
            self._fingerprint = digest.hexdigest()[:16]
        return self._fingerprint

    @property
    def knowledge(self) -> str:
        """16 hexadecimal digits from all that is known beside images and labels: votes, landmarks, masks and so on."""
        digest = hashlib.sha256()
        for key, value in self._tensors():
            if key not in ("images", "labels"):
                digest.update(key.encode())
                digest.update(np.ascontiguousarray(value.numpy()))
        return digest.hexdigest()[:16]

    def counts(self) -> dict[str, int]:
        """Class name -> number of images, in class order, zeros included."""
        return dict(zip(self.classes, torch.bincount(self.labels, minlength=len(self.classes)).tolist(), strict=True))

    def soft_labels(self, index) -> Tensor:
        """Targets of the rows `index`: float (B, K), the share of the votes for each class; rows sum to 1.

        Single votes are left out, as the common rule does, and so are "unknown" and "not a face". Where there are no
        votes, in all or for a row, the label counts as 1.
        """
        hard = torch.nn.functional.one_hot(self.labels[index], len(self.classes)).float()
        if self.votes is None:
            return hard
        votes = self.votes[index, : len(self.classes)].float()
        votes = votes * (votes > 1)
        total = votes.sum(1, keepdim=True)
        return torch.where(total > 0, votes / total.clamp(min=1), hard)


def duplicates(a: FaceDataset, b: FaceDataset) -> Tensor:
    """Indices (int64, ascending) of the images in `a` whose pixels also stand, all equal, in `b`.

    None match where the two differ in size or channels.
    """
    if a.images.shape[1:] != b.images.shape[1:]:
        return torch.empty(0, dtype=torch.int64)
    known = set(pixel_keys(b.images))
    return torch.tensor([i for i, key in enumerate(pixel_keys(a.images)) if key in known], dtype=torch.int64)


def unseen(a: FaceDataset, b: FaceDataset) -> Tensor:
    """bool (N,): which images of `a` do not stand in `b`, pixel for pixel."""
    keep = torch.ones(len(a), dtype=torch.bool)
    keep[duplicates(a, b)] = False
    return keep


def pixel_keys(images: Tensor) -> list[bytes]:
    """One 16-byte digest an image: equal exactly where all pixels are equal."""
    rows = np.ascontiguousarray(images.numpy()).reshape(len(images), -1)
    return [hashlib.blake2b(row, digest_size=16).digest() for row in rows]


def _resample(images: Tensor, height: int, width: int, finish) -> Tensor:
    parts = [
        finish(torch.nn.functional.interpolate(part.float(), (height, width), mode="bilinear", antialias=True))
        for part in images.split(1024)
    ]
    return torch.cat(parts) if parts else finish(images.new_zeros((0, images.shape[1], height, width)).float())


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"

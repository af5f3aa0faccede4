"""CK+: posed expressions from a neutral face to the peak (Lucey et al., "The extended Cohn-Kanade dataset (CK+)", CVPR
Workshops 2010). 327 of its 593 sequences carry a label; they show 118 of its 123 people."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from fer_teach.data.ckplus_points import action_units, face_boxes, landmarks, move
from fer_teach.data.dataset import FaceDataset
from fer_teach.data.decoding import form
from fer_teach.data.emotions import COMMON, common_name
from fer_teach.data.files import Tree, is_image
from fer_teach.data.frames import faces_in
from fer_teach.data.groups import subject_split
from fer_teach.data.listing import Listing, locate, once, warn_absent, warn_others
from fer_teach.errors import DataError

CLASSES = COMMON
CODES = ("neutral", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")  # 0..7 in *_emotion.txt
CROPS = ("face", "frame")
SIZES = {"48": 48, "original": 128}
_FRAME = re.compile(r"^(S\d+)_(\d+)_(\d+)", re.IGNORECASE)
_EMOTION = re.compile(r"^(S\d+)_(\d+)_(\d+)_emotion\.txt$", re.IGNORECASE)


def load(
    places: list[Path],
    split: str,
    frames: int = 3,
    neutral: bool = False,
    size: int | tuple[int, int] | None = None,
    fit: str = "crop",
    crop: str | None = None,
    folds: int | None = None,
    fold: int = 0,
    seed: int = 0,
) -> FaceDataset:
    """One split by subject, or "all", as grey images; classes in FERPlus's order, without neutral where there is none.

    frames     so many last frames of every labelled sequence (original tree; the 48 px form has three as it comes)
    neutral    also the first frame of every labelled sequence, as class neutral (original tree)
    size       height and width, or one number; default 48 for the 48 px form, 128 for the original tree
    fit        "crop", "pad" or "stretch", for images of another shape
    crop       "face": a square around the landmarks, 1.3 times their extent; "frame": the whole frame. Default: "face"
               in the original tree. Where a taken frame lacks its landmark file, dlib looks in all frames
    folds, fold, seed   see `fer_teach.data.groups.subject_split`; default 70 / 10 / 20 in a hundred images, by subject

    Where both layouts are there, the original is read. subjects always; landmarks (dlib's order) with Landmarks/, or
    those that dlib sees, and then attributes["dlib_found"]: where that is False, the frame's middle is taken and the
    mean shape stands in. action_units with FACS/: 1 where the coders saw the unit on the sequence's last frame.
    attributes: "sequence", a number a sequence, and "frame", as in the file's name. Errors: DataError naming the file.
    """
    _check_options(frames, neutral, crop)
    listing = _listing(places, frames, neutral)
    chosen = subject_split("ckplus", listing.labels, listing.subjects, split, seed, folds, fold)
    to = form("ckplus", SIZES[listing.more["layout"]] if size is None else size, 1, fit)
    points = landmarks(listing)
    cut = faces_in(listing) if points is None and crop != "frame" and listing.more["layout"] == "original" else None
    if crop == "face" and points is None and cut is None:
        raise DataError(
            f"{listing.tree.root}: crop='face' needs Landmarks/ with a file for every frame that is taken, "
            "or frames in which dlib sees a face."
        )
    boxes = None if cut is None else cut.boxes
    fields = {"attributes": {key: torch.from_numpy(listing.more[key][chosen]) for key in ("sequence", "frame")}}
    if cut is not None:
        fields = cut.fields(chosen, to, fields)
    if points is not None:
        boxes = face_boxes(listing, points, crop or "face")
        fields["landmarks"] = torch.from_numpy(move(points, boxes, to)[chosen])
    everything = listing.images(np.arange(len(listing.files)), to, boxes=boxes)
    images = everything if split == "all" else everything[torch.from_numpy(chosen)]
    units = action_units(listing)
    fields["action_units"] = units and {unit: torch.from_numpy(values[chosen]) for unit, values in units.items()}
    return listing.dataset(split, chosen, images, **fields)


def find(places: list[Path]) -> str:
    """The folder or archive that `load` would read. Errors: DataError where there is none."""
    return str(_listing(places, 3, False).tree.root)


def scan(places: list[Path]) -> Listing:
    """What `load` takes by default, before decoding."""
    return _listing(places, 3, False)


def _check_options(frames: int, neutral: bool, crop: str | None) -> None:
    if not isinstance(frames, int) or isinstance(frames, bool) or frames < 1:
        raise DataError(f"ckplus: frames must be a whole number from 1, not {frames!r}.")
    if crop is not None and crop not in CROPS:
        raise DataError(f"ckplus: unknown crop {crop!r}. Known: {', '.join(CROPS)}.")


def _listing(places: list[Path], frames: int, neutral: bool) -> Listing:
    return locate("ckplus", places, lambda tree: _recognise(tree, frames, neutral))


def _recognise(tree: Tree, frames: int, neutral: bool) -> Listing | str | None:
    pictures = [name for name in tree.names if is_image(name) and _FRAME.match(PurePosixPath(name).name)]
    in_classes = [name for name in pictures if common_name(PurePosixPath(name).parent.name)]
    emotions = [name for name in tree.names if _EMOTION.match(PurePosixPath(name).name)]
    loose = sorted(set(pictures) - set(in_classes))
    if emotions and loose:
        return _original(tree, loose, emotions, frames, neutral)
    if in_classes:
        return _class_folders(tree, in_classes)
    if loose:
        return f"images like {tree.where(loose[0])} are there, no labels (Emotion/.../S005_001_00000011_emotion.txt)"
    if emotions:
        return f"labels like {tree.where(emotions[0])} are there, no images (cohn-kanade-images/S005/001/...)"
    return None


def _parse(name: str) -> tuple[str, str, int]:
    """Subject, sequence and frame from a file's name."""
    subject, sequence, frame = _FRAME.match(PurePosixPath(name).name).groups()
    return subject.upper(), sequence, int(frame)


def _class_folders(tree: Tree, files: list[str]) -> Listing:
    once(tree, files, lambda name: PurePosixPath(name).stem.upper(), "An image has one class: keep one of the two.")
    warn_others(tree, files)
    words = [common_name(PurePosixPath(name).parent.name) for name in files]
    found = _make(tree, files, words, "48")
    warn_absent(found)
    return found


def _original(tree: Tree, pictures: list[str], emotions: list[str], frames: int, neutral: bool) -> Listing:
    once(tree, pictures, lambda name: PurePosixPath(name).stem.upper())
    once(tree, emotions, lambda name: _parse(name)[:2], "A sequence has one label: keep one of the two.")
    sequences: dict[tuple[str, str], dict[int, str]] = defaultdict(dict)
    for name in pictures:
        *sequence, frame = _parse(name)
        sequences[tuple(sequence)][frame] = name
    files, words, unlabelled = [], [], []
    for label_file in emotions:
        subject, sequence, peak = _parse(label_file)
        code = _read_code(tree, label_file)
        known = sequences.get((subject, sequence), {})
        if peak not in known:
            raise DataError(
                f"{tree.where(label_file)}: the labelled frame {subject}_{sequence}_{peak:08} has no image. "
                "Unpack cohn-kanade-images again; some of its files were lost."
            )
        if code == 0:
            unlabelled.append(label_file)
            continue
        order = sorted(frame for frame in known if frame <= peak)
        first = [order[0]] if neutral and len(order) > 1 else []
        last = [frame for frame in order[-frames:] if frame not in first]
        files += [known[frame] for frame in first + last]
        words += ["neutral"] * len(first) + [CODES[code]] * len(last)
    if not files:
        raise DataError(f"{tree.root}: no sequence has a label in 1..7. Unpack Emotion_labels again.")
    found = _make(tree, files, words, "original")
    if unlabelled:
        found.warn(f"{len(unlabelled)} sequences labelled 0 (no expression) are left out, such as {unlabelled[0]}.")
    warn_absent(found)
    return found


def _read_code(tree: Tree, name: str) -> int:
    """The label 1..7 (0: none) of an emotion file. Errors: DataError naming it."""
    with tree.table(name).open() as text:
        content = text.read(1000).strip()
    try:
        value = float(content)
    except ValueError:
        value = -1
    if value not in range(len(CODES)):
        raise DataError(
            f"{tree.where(name)}: {content[:40]!r} is not one of 0..7. Unpack the labels as their publisher gives them."
        )
    return int(value)


def _make(tree: Tree, files: list[str], words: list[str], layout: str) -> Listing:
    order = sorted(range(len(files)), key=lambda i: PurePosixPath(files[i]).name.upper())
    files, words = [files[i] for i in order], [words[i] for i in order]
    classes = CLASSES if "neutral" in words else CLASSES[1:]
    parsed = [_parse(name) for name in files]
    sequences = np.unique([f"{subject}_{sequence}" for subject, sequence, _ in parsed], return_inverse=True)[1]
    more = {"layout": layout, "sequence": sequences, "frame": np.array([frame for *_, frame in parsed], np.int64)}
    labels = np.array([classes.index(word) for word in words], np.int64)
    return Listing("ckplus", tree, files, labels, classes, subjects=[subject for subject, *_ in parsed], more=more)

"""FERPlus: FER2013's faces labelled by ten raters each (Barsoum et al., "Training deep networks for facial expression
recognition with crowd-sourced label distribution", ICMI 2016)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from fer_teach.data import kaggle
from fer_teach.data.catalog import missing
from fer_teach.data.dataset import FaceDataset
from fer_teach.data.fer2013 import plain_name
from fer_teach.data.pictures import grey_images, warn_unlisted
from fer_teach.data.published import warn_count
from fer_teach.data.tablefile import TableFile, find_table
from fer_teach.data.unpacked import archives, unpacked
from fer_teach.errors import DataError

CLASSES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
COLUMNS = (*CLASSES, "unknown", "NF")
FOLDERS = {"train": "FER2013Train", "valid": "FER2013Valid", "test": "FER2013Test"}
RULES = ("majority", "plurality", "all")
RATERS = 10
_VOTES_TABLE = ("fer2013new.csv",)
_HAPPY = 3  # FER2013's label
_ENOUGH = 100  # happy faces, to tell by their votes whether two tables are in one order


def load(
    places: list[Path], split: str, rule: str = "majority", drop_single_votes: bool = True, min_votes: int = 0
) -> FaceDataset:
    """One split, from FER2013Train|Valid|Test with label.csv, else from Kaggle's table beside fer2013new.csv.

    rule               "majority": the winner must hold more than half of the votes; "plurality": more than any other;
                       "all": keeps every image under its most voted column (the first of equals), with a ninth class
                       "unknown" that also takes not-a-face
    drop_single_votes  a column's single vote counts as none (not with rule "all")
    min_votes          the winner must hold at least so many votes

    The first two rules leave out images won by "unknown" or "NF". From the folders the standard rule (the defaults)
    gives 25,045 / 3,191 / 3,137 images, rule "all" 28,558 / 3,579 / 3,573. fer2013new.csv names four images twice and
    has other votes than label.csv for 1,601 images: from the tables it is 25,060 / 3,199 / 3,153 and 28,561 / 3,579 /
    3,574. votes: all ten counts as published, before any rule.
    Errors: DataError naming file and row; where no image is left.
    """
    images, votes, _, labels = _decided(places, split, rule, drop_single_votes, min_votes)
    keep = labels >= 0
    images = images if keep.all() else images[keep]
    classes = (*CLASSES, "unknown") if rule == "all" else CLASSES
    return FaceDataset(
        "ferplus",
        split,
        torch.from_numpy(images)[:, None],
        torch.from_numpy(labels[keep]),
        classes,
        votes=torch.from_numpy(votes[keep]),
    )


def file_names(places: list[Path], split: str, rule="majority", drop_single_votes=True, min_votes=0) -> list[str]:
    """The file names, such as "fer0032220.png", of the images that `load` gives, in its order."""
    _, _, names, labels = _decided(places, split, rule, drop_single_votes, min_votes)
    return [name for name, label in zip(names, labels, strict=True) if label >= 0]


def _decided(places: list[Path], split: str, rule: str, drop_single_votes: bool, min_votes: int):
    """A whole split: images uint8 (N, 48, 48), votes int64 (N, 10), file names, labels as `decide` gives them."""
    if rule not in RULES:
        raise DataError(f"Unknown rule {rule!r} for ferplus. Rules: {', '.join(RULES)}.")
    if not isinstance(min_votes, int) or not 0 <= min_votes <= RATERS:
        raise DataError(f"min_votes must be a whole number in 0..{RATERS}, not {min_votes!r}.")
    images, votes, names, source = _read(places, split)
    labels = decide(votes, rule, drop_single_votes, min_votes)
    if not (labels >= 0).any():
        raise DataError(f"{source}: none of the {len(votes):,} images of split {split!r} has a winner by this rule.")
    return images, votes, names, labels


def decide(votes: np.ndarray, rule: str, drop_single_votes: bool = True, min_votes: int = 0) -> np.ndarray:
    """Labels int64 (N,) from votes (N, 10); -1 where the rule leaves the image out."""
    if rule == "all":
        labels = np.minimum(votes.argmax(1), len(CLASSES))
        return np.where(votes.max(1) >= min_votes, labels, -1)
    counted = np.where(votes <= 1, 0, votes) if drop_single_votes else votes
    winner, most = counted.argmax(1), counted.max(1)
    alone = (most > 0) & ((counted == most[:, None]).sum(1) == 1)
    wins = 2 * most > counted.sum(1) if rule == "majority" else alone
    return np.where(wins & (winner < len(CLASSES)) & (most >= min_votes), winner, -1)


def find(places: list[Path]) -> str:
    """The folder or file that `load` would read. Errors: DataError where there is none."""
    root = _folders(places)
    if root is None and kaggle.find(places) is None:
        root = next((archive for archive, _, _ in archives(places, FOLDERS["train"])), None)
    return str(root or _tables(places)[0])


def _folders(places: list[Path]) -> Path | None:
    """The first place with label.csv and PNG files in one of the three folders."""
    for place in places:
        listed = [place / folder for folder in FOLDERS.values() if (place / folder / "label.csv").is_file()]
        if any(next(folder.glob("*.png"), None) for folder in listed):
            return place
    return None


def _tables(places: list[Path]) -> tuple[TableFile, TableFile]:
    looked = [str(place) for place in places]
    first = places[0]
    if first.name in FOLDERS.values():
        raise DataError(f"{first} is the folder of one split. Give the folder that holds it: {first.parent}")
    images = kaggle.find(places)
    if images is None:
        bare = [place for place in places if (place / FOLDERS["train"] / "label.csv").is_file()]
        what = f"label.csv is in {bare[0]}, the PNG files beside it are not" if bare else None
        raise missing("ferplus", looked, what)
    beside = [images.path.parent, *places]
    votes = find_table([place for place in beside if place.is_dir()], _VOTES_TABLE)
    if votes is None:
        raise missing("ferplus", looked, f"{images.path.name} is there, fer2013new.csv with the votes is not")
    return images, votes


def _read(places: list[Path], split: str) -> tuple[np.ndarray, np.ndarray, list[str], str]:
    """Images uint8 (N, 48, 48), votes int64 (N, 10), file names, and where they came from."""
    root = _folders(places)
    if root is None and kaggle.find(places) is None:
        root = _folders(unpacked(places, FOLDERS["train"]))
    if root is None:
        return _read_tables(*_tables(places), split)
    folder = root / FOLDERS[split]
    if not folder.is_dir():
        raise missing("ferplus", [str(folder)], f"the folder of split {split!r} not found")
    table = TableFile(folder / "label.csv")
    if not table.path.is_file():
        raise missing("ferplus", [str(table)], f"label.csv of split {split!r} not found")
    names, votes, rows = _read_labels(table)
    warn_unlisted(folder, names, table.path)
    warn_count("ferplus", split, len(names), table)
    return grey_images(f"ferplus-{split}", folder, names, table.path, rows, kaggle.SIZE), votes, names, str(table)


def _read_labels(table: TableFile) -> tuple[list[str], np.ndarray, list[int]]:
    """label.csv: file name, face box (not used: always the whole image), ten counts; no header."""
    names, votes, rows = [], [], []
    seen: dict[str, int] = {}
    for row, values in table.rows():
        where = f"{table}, row {row}"
        if len(values) != 2 + len(COLUMNS):
            raise DataError(f"{where}: {len(values)} values instead of 12 (file name, box, ten vote counts).")
        name = plain_name(values[0], where)
        if name in seen:
            raise DataError(f"{where}: image {name} was listed already in row {seen[name]}. Keep one of the two rows.")
        seen[name] = row
        names.append(name)
        votes.append(parse_votes(values[2:], where))
        rows.append(row)
    if not names:
        raise DataError(f"{table} has no rows, so the split is empty. Unpack or generate the data set again.")
    return names, np.array(votes, np.int64), rows


def _read_tables(images: TableFile, votes: TableFile, split: str) -> tuple[np.ndarray, np.ndarray, list[str], str]:
    """Both tables have the same row order; a blank image name marks a removed image."""
    pixels = kaggle.read(images)
    names, counts = [], []
    for row, (usage, name, *values) in votes.rows(["Usage", "Image name", *COLUMNS]):
        i, where = len(names), f"{votes}, row {row}"
        if i < len(pixels["usage"]) and kaggle.parse_usage(usage, where) != pixels["usage"][i]:
            raise DataError(
                f"{where}: Usage {usage.strip()} differs from {images}, row {pixels['row'][i]}. "
                "The two files must have the same rows in the same order; use both as published."
            )
        names.append(name.strip())
        counts.append(parse_votes(values, where) if names[-1] else [0] * len(COLUMNS))
    if len(names) != len(pixels["images"]):
        raise DataError(
            f"{votes} has {len(names):,} rows, {images} has {len(pixels['images']):,}. "
            "The two files must have the same rows in the same order; use both as published."
        )
    named, counts = np.array([bool(name) for name in names]), np.array(counts, np.int64)
    _check_order(images, votes, counts[named & (pixels["emotion"] == _HAPPY), COLUMNS.index("happiness")])
    chosen = (pixels["usage"] == list(kaggle.USAGES).index(split)) & named
    if not chosen.any():
        raise kaggle.empty_split(images, split, pixels["usage"])
    kaggle.warn_short(images, split, pixels["usage"])
    return pixels["images"][chosen], counts[chosen], list(np.array(names)[chosen]), str(votes)


def _check_order(images: TableFile, votes: TableFile, happy: np.ndarray) -> None:
    """Errors: DataError where the faces that FER2013 calls happy got few votes for it. happy: those votes, int (N,).

    In the published tables they are 87 % of such faces' votes; faces with another label gave happiness 9 % at most.
    """
    if len(happy) >= _ENOUGH and happy.mean() < RATERS / 2:
        raise DataError(
            f"{votes}: the faces that {images} calls happy have {happy.mean():.1f} votes of {RATERS} for happiness, on "
            "average. The two files must have the same rows in the same order; use both as published."
        )


def parse_votes(values: list[str], where: str) -> list[int]:
    """Ten counts in 0..10, of one to ten votes in all. Errors: DataError beginning with `where`."""
    counts = [int(value) if value.strip().isdecimal() and len(value.strip()) < 4 else -1 for value in values]
    for name, count, value in zip(COLUMNS, counts, values, strict=True):
        if not 0 <= count <= RATERS:
            raise DataError(f"{where}: {name} has {value.strip()!r} votes; a whole number in 0..10 was expected.")
    if not 1 <= sum(counts) <= RATERS:
        raise DataError(f"{where}: {sum(counts)} votes in all; 1 to 10 were expected. Download the file again.")
    return counts

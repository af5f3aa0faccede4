"""Splits that keep every person on one side: shares and folds of a data set by subject."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fer_teach.data.dataset import FaceDataset
from fer_teach.errors import AbsentSplit, DataError

SHARES = {"train": 0.7, "valid": 0.1, "test": 0.2}
Fold = tuple[Tensor, Tensor]


def folds(dataset: FaceDataset, k: int, seed: int = 0) -> list[Fold]:
    """k pairs (train_index, test_index), int64 and ascending; nobody stands on both sides of a pair.

    Every image is in exactly one test part. The subjects are dealt out, the ones with most images first and equals in
    an order drawn from `seed`, each to the fold that lacks its classes most, so that classes stay balanced as far as
    people can be kept whole. Errors: DataError where no subjects are known or k is outside 2..number of subjects.
    """
    subjects = _subjects(dataset)
    people = len(np.unique(subjects))
    if not isinstance(k, (int, np.integer)) or not 2 <= k <= people:
        raise DataError(f"{dataset.name}: k must be a whole number in 2..{people}, the number of subjects, not {k!r}.")
    fold = assign(dataset.labels.numpy(), subjects, [1 / k] * k, seed)
    return [_pair(fold == i) for i in range(k)]


def leave_one_subject_out(dataset: FaceDataset) -> list[Fold]:
    """One pair (train_index, test_index) a subject, in the order of the subjects' numbers: `folds` at its finest."""
    subjects = _subjects(dataset)
    return [_pair(subjects == subject) for subject in np.unique(subjects)]


def last_frames(dataset: FaceDataset) -> FaceDataset:
    """The last frame of every class in every recorded sequence; the data set itself where no sequences are known.

    To test on: frames of one sequence are right or wrong together, so an interval over single frames is too narrow.
    Sequences are those of attributes["sequence"], int64 (N,), ordered by attributes["frame"].
    """
    known = dataset.attributes or {}
    if "sequence" not in known:
        return dataset
    sequences, labels = known["sequence"].tolist(), dataset.labels.tolist()
    rows = torch.argsort(known["frame"], stable=True).tolist()
    last = {(sequences[row], labels[row]): row for row in rows}  # a later frame takes an earlier one's place
    return dataset[torch.tensor(sorted(last.values()), dtype=torch.int64)]


def assign(labels: np.ndarray, groups: Sequence, shares: Sequence[float], seed: int) -> np.ndarray:
    """Part (N,) int64 of each image in 0..len(shares) - 1, every group whole, no part empty, sizes close to `shares`.

    Needs at least as many groups as parts. A group goes where the sum over classes of (images - wanted)^2 / wanted
    grows least.
    """
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    classes = np.unique(labels, return_inverse=True)[1]
    table = np.zeros((group.max() + 1, classes.max() + 1))
    np.add.at(table, (group, classes), 1)
    wanted = np.outer(shares, table.sum(0))
    order = np.random.default_rng(seed).permutation(len(table))
    order = order[np.argsort(-table[order].sum(1), kind="stable")]
    have, part = np.zeros_like(wanted), np.empty(len(table), np.int64)
    taken = np.zeros(len(shares), bool)
    for left, one in zip(range(len(order), 0, -1), order, strict=True):
        growth = ((have + table[one] - wanted) ** 2 - (have - wanted) ** 2) / np.maximum(wanted, 1e-9)
        cost = growth.sum(1)
        if left <= (~taken).sum():
            cost[taken] = np.inf
        part[one] = best = int(cost.argmin())
        have[best] += table[one]
        taken[best] = True
    return part[group]


def subject_split(
    name: str,
    labels: np.ndarray,
    subjects: Sequence[str],
    split: str,
    seed: int = 0,
    folds: int | None = None,
    fold: int = 0,
) -> np.ndarray:
    """Indices of a split of a set without an official one: no person in two splits.

    Without `folds`, about 70, 10 and 20 in a hundred images are train, valid and test. With folds=k, fold number `fold`
    is test, the next one valid, the others train. "all" is everything.
    """
    if split == "all":
        return np.arange(len(labels))
    people, parts = len(set(subjects)), folds or len(SHARES)
    if folds is not None and (not isinstance(folds, int) or folds < 3 or not 0 <= fold < folds):
        raise DataError(f"{name}: folds must be a whole number from 3 and fold one in 0..folds - 1.")
    if people < parts:
        raise AbsentSplit(
            f"{name}: {people} subject{'s' * (people != 1)} cannot be split {parts} ways without a person in two "
            'splits. Use split="all", fewer folds, or the complete data set.'
        )
    if folds is None:
        part = assign(labels, subjects, list(SHARES.values()), seed)
        return np.flatnonzero(part == list(SHARES).index(split))
    part = (assign(labels, subjects, [1 / folds] * folds, seed) - fold) % folds
    return np.flatnonzero({"test": part == 0, "valid": part == 1, "train": part > 1}[split])


def held_out(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """True (N,) for a share of each class, rounded down, drawn from `seed`."""
    chosen = np.zeros(len(labels), bool)
    random = np.random.default_rng(seed)
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        chosen[members[: int(share * len(members) + 1e-9)]] = True
    return chosen


def sample(name: str, chosen: np.ndarray, n: int | None, seed: int) -> np.ndarray:
    """n of the indices, ascending, drawn from `seed`; all for None. Errors: DataError for an n out of range."""
    if n is None:
        return chosen
    if not isinstance(n, (int, np.integer)) or isinstance(n, bool) or not 1 <= n <= len(chosen):
        raise DataError(f"{name}: n must be a whole number in 1..{len(chosen):,}, the images there are, not {n!r}.")
    return np.sort(np.random.default_rng(seed).permutation(chosen)[:n])


def hashed_parts(keys: Sequence[str], shares: tuple[float, float] = (0.1, 0.1), rest: str = "train") -> np.ndarray:
    """ "train", "valid" or "test" a key; equal keys stay together, and the order of the keys does not matter.

    shares  of the distinct keys, for valid and test: at least one each where there are three keys. The keys are ordered
            by their SHA-256, the first are valid, the next test, the others `rest`.
    """
    order = sorted(set(keys), key=lambda key: hashlib.sha256(key.encode()).digest())
    valid, test = (max(len(order) > 2, int(share * len(order))) for share in shares)
    names = ["valid"] * valid + ["test"] * test + [rest] * len(order)
    part = dict(zip(order, names, strict=False))
    return np.array([part[key] for key in keys])


def balanced(values: Tensor | np.ndarray, n: int | None = None, seed: int = 0, what: str = "the attribute") -> Tensor:
    """Indices (int64, ascending) of n images, half with the value 1 and half with 0, drawn from `seed`.

    values  (N,), 0/1 or bool;  n  an even number; None takes as many as there can be
    Errors: DataError where n is odd, below 2, or more than the data hold; `what` names the values.
    """
    values = np.asarray(values).astype(bool)
    sides = [np.flatnonzero(~values), np.flatnonzero(values)]
    most = 2 * min(map(len, sides))
    n = most if n is None else n
    if not isinstance(n, (int, np.integer)) or n % 2 or not 2 <= n <= most:
        raise DataError(
            f"Cannot take {n} images with {what} balanced: n must be even, from 2 to {most:,} "
            f"({len(sides[1]):,} images have it, {len(sides[0]):,} have not)."
        )
    random = np.random.default_rng(seed)
    return torch.from_numpy(np.sort(np.concatenate([random.permutation(side)[: n // 2] for side in sides])))


def _subjects(dataset: FaceDataset) -> np.ndarray:
    if dataset.subjects is None:
        raise DataError(f"{dataset.name} does not say who is on its images, so it has no folds by subject.")
    return dataset.subjects.numpy()


def _pair(test: np.ndarray) -> Fold:
    return torch.from_numpy(np.flatnonzero(~test)), torch.from_numpy(np.flatnonzero(test))

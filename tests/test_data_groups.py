"""Folds by subject, balanced choices, the common classes; properties over miniature layouts."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import set_layouts as lay
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_teach import data
from fer_teach.data import COMMON, DataError, DataWarning, FaceDataset
from fer_teach.data.emotions import common_name
from fer_teach.data.files import Tree
from fer_teach.data.groups import assign, hashed_parts, held_out

FEW = settings(max_examples=25, deadline=None)


def make(labels, subjects=None, classes=COMMON):
    labels = torch.tensor(labels, dtype=torch.int64)
    images = torch.arange(len(labels) * 4).reshape(-1, 1, 2, 2).to(torch.uint8)
    subjects = None if subjects is None else torch.tensor(subjects)
    return FaceDataset("toy", "all", images, labels, classes, subjects=subjects)


@st.composite
def people(draw, least=3):
    """Labels and subjects of up to 80 images of at least `least` people."""
    number = draw(st.integers(least, 12))
    subjects = [*range(number), *draw(st.lists(st.integers(0, number - 1), max_size=60))]
    labels = draw(st.lists(st.integers(0, 7), min_size=len(subjects), max_size=len(subjects)))
    return labels, subjects


@FEW
@given(people(), st.integers(2, 12), st.integers(0, 5))
def test_folds_keep_people_together(pair, k, seed):
    dataset = make(*pair)
    count = len(set(pair[1]))
    if k > count:
        with pytest.raises(DataError, match=rf"2\.\.{count}"):
            data.folds(dataset, k, seed)
        return
    parts = data.folds(dataset, k, seed)
    assert len(parts) == k
    assert sorted(torch.cat([test for _, test in parts]).tolist()) == list(range(len(dataset)))
    for train, test in parts:
        assert len(test) > 0
        assert not set(dataset.subjects[train].tolist()) & set(dataset.subjects[test].tolist())
        assert sorted([*train.tolist(), *test.tolist()]) == list(range(len(dataset)))
        assert train.dtype == test.dtype == torch.int64
    again = data.folds(dataset, k, seed)
    assert all(torch.equal(a[1], b[1]) for a, b in zip(parts, again, strict=True))


def test_folds_are_balanced_where_people_allow_it():
    labels = [label for _ in range(20) for label in range(7)]
    subjects = [person for person in range(20) for _ in range(7)]
    for train, test in data.folds(make(labels, subjects), 5):
        assert len(test) == 28
        assert torch.bincount(torch.tensor(labels)[test]).tolist() == [4] * 7
        assert len(train) == 112


def test_folds_depend_on_the_seed_and_leave_one_out_on_nothing():
    dataset = make([0, 1] * 10, [i // 2 for i in range(20)])
    tests = {tuple(data.folds(dataset, 5, seed)[0][1].tolist()) for seed in range(6)}
    assert len(tests) > 1
    alone = data.leave_one_subject_out(dataset)
    assert [test.tolist() for _, test in alone] == [[2 * i, 2 * i + 1] for i in range(10)]


def test_no_folds_without_people():
    for call in (lambda one: data.folds(one, 2), data.leave_one_subject_out):
        with pytest.raises(DataError, match="who is on its images"):
            call(make([0, 1]))


@FEW
@given(people(least=4), st.integers(0, 5))
def test_shares_are_filled(pair, seed):
    part = assign(np.array(pair[0]), pair[1], [0.7, 0.1, 0.2], seed)
    assert set(part.tolist()) == {0, 1, 2}
    for person in set(pair[1]):
        assert len(set(part[np.array(pair[1]) == person])) == 1


@FEW
@given(st.lists(st.integers(0, 3), min_size=1, max_size=100), st.floats(0, 0.9), st.integers(0, 3))
def test_held_out_takes_a_share_of_every_class(labels, share, seed):
    labels = np.array(labels)
    chosen = held_out(labels, share, seed)
    for label in set(labels.tolist()):
        assert chosen[labels == label].sum() == int(share * (labels == label).sum() + 1e-9)


@FEW
@given(st.lists(st.text("abc", min_size=1, max_size=3), min_size=3, max_size=40), st.randoms())
def test_hashed_parts_do_not_depend_on_the_order(keys, random):
    part = dict(zip(keys, hashed_parts(keys), strict=True))
    shuffled = random.sample(keys, len(keys))
    assert dict(zip(shuffled, hashed_parts(shuffled), strict=True)) == part
    if len(part) > 2:
        assert set(part.values()) == {"train", "valid", "test"}


@FEW
@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(-1, 60), st.integers(0, 3))
def test_balanced_is_half_and_half(values, n, seed):
    values = torch.tensor(values)
    most = 2 * int(min(values.sum(), (~values).sum()))
    if n % 2 or not 2 <= n <= most:
        with pytest.raises(DataError, match=f"from 2 to {most}"):
            data.balanced(values, n, seed)
    else:
        index = data.balanced(values, n, seed)
        assert len(index.unique()) == n
        assert int(values[index].sum()) == n // 2
        assert index.tolist() == sorted(index.tolist())
        assert torch.equal(index, data.balanced(values, n, seed))


# Common classes -------------------------------------------------------------------------------------------------------


def test_common_names():
    words = {"Happy": "happiness", "joy": "happiness", " SAD": "sadness", "Angry": "anger", "NE": "neutral"}
    assert {word: common_name(word) for word in words} == words
    assert common_name("unknown") is None
    assert all(common_name(name) == name for name in COMMON)


def test_common_relabels_and_counts_what_is_left_out():
    dataset = make([0, 1, 2, 3, 0], [1, 2, 3, 4, 5], ("sad", "unknown", "joy", "angry"))
    with pytest.warns(DataWarning, match="1 images of unknown"):
        shared = data.common(dataset)
    assert shared.classes == COMMON
    assert [COMMON[label] for label in shared.labels] == ["sadness", "happiness", "anger", "sadness"]
    assert shared.subjects.tolist() == [1, 3, 4, 5]
    assert torch.equal(shared.images, dataset.images[[0, 2, 3, 4]])
    with pytest.raises(DataError, match="none of the common classes"):
        data.common(make([0], classes=("background",)))


def test_every_set_of_expressions_has_a_mapping(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_TEACH_CACHE", str(tmp_path / "cache"))
    for name in ("ckplus", "jaffe", "ferg", "rafdb", "sfew"):
        lay.WRITERS[name](tmp_path / name)
        dataset = data.load(name, tmp_path, "all", size=16)
        shared = data.common(dataset)
        assert len(shared) == len(dataset)
        assert {name: n for name, n in shared.counts().items() if n} == dataset.counts()


# Properties over layouts ----------------------------------------------------------------------------------------------

words = st.sampled_from(sorted(lay.CK_WORDS))
stems = st.tuples(st.integers(5, 9), st.integers(1, 3), st.integers(1, 4))


@FEW
@given(st.dictionaries(stems, words, min_size=1, max_size=12), st.sampled_from(["", "CK+48", "a/b"]), st.booleans())
def test_any_ck48_is_read_as_written(frames, nest, capitals):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_TEACH_CACHE", f"{folder}/cache")
        root, expected = Path(folder) / "data", {}
        for i, ((person, sequence, frame), word) in enumerate(sorted(frames.items())):
            name = f"S{person:03}_{sequence:03}_{frame:08}.png"
            place = root / nest / (word.upper() if capitals else word) / name
            expected[name] = lay.put(place, lay.pixels(i, (48, 48))), common_name(word), person
        with pytest.warns(DataWarning, match="no image of") if len(set(frames.values())) < 7 else _nothing():
            dataset = data.load("ckplus", root, "all")
        assert len(dataset) == len(expected)
        for i, (image, word, _) in enumerate(expected[name] for name in sorted(expected)):
            assert (dataset.images[i, 0].numpy() == image).all()
            assert dataset.classes[dataset.labels[i]] == word
        people = [expected[name][2] for name in sorted(expected)]
        assert dataset.subjects.tolist() == np.unique(people, return_inverse=True)[1].tolist()


def _nothing():
    return pytest.MonkeyPatch.context()


@FEW
@given(st.permutations(range(1, 9)), st.sets(st.integers(1, 8), min_size=1), st.sampled_from(["txt", "csv", "01"]))
def test_any_order_of_celeba_rows(order, here, table):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_TEACH_CACHE", f"{folder}/cache")
        root = Path(folder) / "data"
        for number in here:
            lay.put(root / "img_align_celeba" / f"{number:06}.png", np.full((9, 8), number, np.uint8))
        lay.write_celeba_table(root, order, table)
        with pytest.warns(DataWarning, match="have no image here") if len(here) < 8 else _nothing():
            dataset = data.load("celeba", root, "all", size=(9, 8))
        for i, number in enumerate(sorted(here)):
            assert int(dataset.images[i].max()) == number
            expected = lay.celeba_values(number)
            assert [int(dataset.attributes[name][i]) for name in lay.CELEBA_NAMES] == expected


@FEW
@given(st.lists(st.text("ab.é /\\", min_size=1, max_size=8), min_size=1, max_size=6))
def test_no_name_in_an_archive_leads_out_of_it(names):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name in dict.fromkeys(names):
                archive.writestr(name, b"x")
        inside = [name for name in names if name[0] not in "/\\" and ".." not in name.replace("\\", "/").split("/")]
        if len(inside) == len(names):
            assert not any(".." in name.split("/") for name in Tree(path).names)
        else:
            with pytest.raises(DataError, match="points outside"):
                Tree(path)

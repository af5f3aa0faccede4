"""FER2013: Kaggle's table in every packing, PNG folders with a labels csv, every kind of damage."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import tarfile
import warnings
import zipfile

import numpy as np
import pytest
import torch
from data_layouts import FOLDERS, PER_SPLIT, kaggle_rows, new_rows, write_fer2013_labels, write_ferplus, write_rows
from hypothesis import given
from hypothesis import strategies as st

from fer_teach import data
from fer_teach.data import DataError, DataWarning, published
from fer_teach.data.kaggle import parse_pixels

CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


pytestmark = pytest.mark.usefixtures("own_cache")


def refused(root, *parts, split="train"):
    with pytest.raises(DataError) as caught:
        data.load("fer2013", root, split)
    for part in parts:
        assert part in str(caught.value)


def write_kaggle(folder, icml=False, change=None):
    rows, images = kaggle_rows(icml)
    if change:
        change(rows)
    name = "icml_face_data.csv" if icml else "fer2013.csv"
    return write_rows(folder / name, rows), images


def packings():
    def pressed(ending, compress):
        return lambda path: (path.parent / (path.name + ending)).write_bytes(compress(path.read_bytes()))

    def zipped(name, member):
        def pack(path):
            with zipfile.ZipFile(path.parent / name, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.write(path, member)

        return pack

    def tarred(name, member):
        def pack(path):
            with tarfile.open(path.parent / name, "w:gz") as archive:
                archive.add(path, member)

        return pack

    return {
        "fer2013.csv.gz": pressed(".gz", gzip.compress),
        "fer2013.csv.bz2": pressed(".bz2", bz2.compress),
        "fer2013.csv.xz": pressed(".xz", lzma.compress),
        "fer2013.csv.zip": zipped("fer2013.csv.zip", "fer2013.csv"),
        "archive.zip": zipped("archive.zip", "data/fer2013.csv"),
        "fer2013.tar.gz": tarred("fer2013.tar.gz", "fer2013/fer2013.csv"),
        "all.tgz": tarred("all.tgz", "./fer2013.csv"),
    }


@pytest.mark.parametrize("split", FOLDERS)
@pytest.mark.parametrize("icml", [False, True], ids=["fer2013", "icml"])
def test_kaggle_table(tmp_path, icml, split):
    _, images = write_kaggle(tmp_path, icml)
    dataset = data.load("fer2013", tmp_path, split)
    assert dataset.classes == CLASSES
    assert dataset.labels.tolist() == list(range(PER_SPLIT))
    assert torch.equal(dataset.images, torch.from_numpy(images[split])[:, None])


@pytest.mark.parametrize("name", packings())
@pytest.mark.parametrize("direct", [False, True], ids=["folder", "file"])
def test_packed_table(tmp_path, name, direct):
    table, images = write_kaggle(tmp_path)
    packings()[name](table)
    table.unlink()
    dataset = data.load("fer2013", tmp_path / name if direct else tmp_path)
    assert torch.equal(dataset.images, torch.from_numpy(images["train"])[:, None])


def test_csv_given_by_any_name(tmp_path):
    table, _ = write_kaggle(tmp_path)
    assert len(data.load("fer2013", table.rename(tmp_path / "mine.csv"))) == PER_SPLIT


def test_unpacked_folder_inside_the_root(tmp_path):
    (tmp_path / "fer2013").mkdir()
    write_kaggle(tmp_path / "fer2013")
    assert len(data.load("fer2013", tmp_path, "test")) == PER_SPLIT


@pytest.mark.parametrize("folder", ["FER2013", "fer2013-kaggle", "kaggle/fer2013", "FERPlus-master/data"])
def test_unpacked_folders_of_like_names_and_deeper(tmp_path, folder):
    (tmp_path / folder).mkdir(parents=True)
    write_kaggle(tmp_path / folder)
    write_rows(tmp_path / folder / "fer2013new.csv", new_rows())
    assert len(data.load("fer2013", tmp_path, "test")) == PER_SPLIT
    assert len(data.load("ferplus", tmp_path, "test", rule="all")) == PER_SPLIT


@pytest.mark.parametrize("folder", ["jaffe/fer2013", "other/data", "FER2013Train", ".fer2013"])
def test_folders_that_are_not_looked_into(tmp_path, folder):
    (tmp_path / folder).mkdir(parents=True)
    write_kaggle(tmp_path / folder)
    refused(tmp_path, "not found")


@pytest.mark.parametrize("name", ["fer2013_labels.csv", "what_ever.csv"])
@pytest.mark.parametrize("folders", ["ferplus", "usage", "images", "beside"])
def test_png_folders_with_labels(tmp_path, name, folders):
    images = write_ferplus(tmp_path)
    write_fer2013_labels(tmp_path)
    (tmp_path / "fer2013_labels.csv").rename(tmp_path / name)
    usages = {"FER2013Train": "Training", "FER2013Valid": "PublicTest", "FER2013Test": "PrivateTest"}
    if folders != "ferplus":
        for old, usage in usages.items():
            new = tmp_path / {"usage": usage, "images": "images", "beside": "."}[folders]
            new.mkdir(exist_ok=True)
            for file in (tmp_path / old).glob("*.png"):
                file.rename(new / file.name)
            (tmp_path / old / "label.csv").unlink()
            (tmp_path / old).rmdir()
    for split in FOLDERS:
        dataset = data.load("fer2013", tmp_path, split)
        assert dataset.labels.tolist() == list(range(PER_SPLIT))
        assert torch.equal(dataset.images, torch.from_numpy(images[split])[:, None])


def change(row, column, value):
    def apply(rows):
        rows[row - 1][column] = value(rows[row - 1][column]) if callable(value) else value

    return apply


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (change(5, 1, lambda p: p[:100]), ("row 5", "numbers instead of 2,304")),
        (change(5, 1, ""), ("row 5", "0 numbers")),
        (change(5, 1, lambda p: p + " 7"), ("row 5", "2,305 numbers")),
        (change(3, 1, lambda p: "256 " + p.split(" ", 1)[1]), ("row 3", "256 is outside 0..255")),
        (change(3, 1, lambda p: "-1 " + p.split(" ", 1)[1]), ("row 3", "-1 is outside 0..255")),
        (change(3, 1, lambda p: "12x " + p.split(" ", 1)[1]), ("row 3", "whole numbers")),
        (change(3, 1, lambda p: "1.5 " + p.split(" ", 1)[1]), ("row 3", "whole numbers")),
        (change(4, 0, 7), ("row 4", "emotion '7'", "0..6")),
        (change(4, 0, -1), ("row 4", "emotion '-1'")),
        (change(4, 0, "happy"), ("row 4", "emotion 'happy'")),
        (change(4, 2, "Test"), ("row 4", "Usage 'Test'", "PublicTest")),
        (change(1, 1, "pixel"), ("row 1", "missing column pixels", "pixel, Usage")),
        (lambda rows: [row.pop() for row in rows], ("row 1", "missing column Usage")),
        (lambda rows: rows[5].pop(), ("row 6", "2 values")),
        (lambda rows: rows[6].clear() or rows[6].append("4"), ("row 7", "1 values")),
        (lambda rows: rows.__delitem__(slice(1, None)), ("no rows",)),
        (lambda rows: rows.clear(), ("row 1", "missing columns emotion, pixels, Usage")),
        (lambda rows: rows.__delitem__(slice(1, 8)), ("Usage Training", "'train' is empty", "PublicTest 7")),
    ],
)
def test_bad_table(tmp_path, edit, words):
    write_kaggle(tmp_path, change=edit)
    refused(tmp_path, "fer2013.csv", *words)


def test_swapped_columns_are_read_by_name(tmp_path):
    _, images = write_kaggle(tmp_path, change=lambda rows: [row.reverse() for row in rows])
    assert torch.equal(data.load("fer2013", tmp_path).images, torch.from_numpy(images["train"])[:, None])


def test_text_that_is_no_table(tmp_path):
    (tmp_path / "fer2013.csv").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    refused(tmp_path, "fer2013.csv", "not a text file")


@pytest.mark.parametrize(
    "name", ["fer2013.csv.gz", "fer2013.csv.bz2", "fer2013.csv.xz", "fer2013.csv.zip", "fer2013.tar.gz"]
)
def test_archive_cut_off(tmp_path, name):
    table, _ = write_kaggle(tmp_path)
    packings()[name](table)
    table.unlink()
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    refused(tmp_path, name, "damaged or cut off")


@given(st.text(max_size=40))
def test_any_text_for_pixels_gives_a_data_error(text):
    with pytest.raises(DataError, match="^here: "):
        parse_pixels(text, "here")


@given(
    st.integers(2303, 2305),
    st.lists(st.tuples(st.integers(0, 2302), st.integers(-3, 300)), max_size=4),
    st.sampled_from([" ", "  "]),
)
def test_pixels_are_read_or_refused(count, changes, gap):
    values = [i % 256 for i in range(count)]
    for at, value in changes:
        values[at] = value
    text = gap.join(map(str, values))
    if len(values) == 2304 and min(values) >= 0 and max(values) <= 255:
        assert (parse_pixels(text, "here") == np.reshape(values, (48, 48))).all()
    else:
        with pytest.raises(DataError, match="^here: "):
            parse_pixels(text, "here")


def labels(tmp_path, edit):
    write_ferplus(tmp_path)
    write_fer2013_labels(tmp_path)
    path = tmp_path / "fer2013_labels.csv"
    lines = path.read_text().splitlines()
    edit(lines)
    path.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("fer0000001.png,Training,9", ("row 3", "emotion '9'")),
        ("fer0000001.png,Train,1", ("row 3", "Usage 'Train'")),
        ("fer0000000.png,Training,1", ("row 3", "listed already in row 2")),
        ("fer0000001.png,Training", ("row 3", "2 values")),
        ("../../x.png,Training,1", ("row 3", "not the name of an image file")),
        ("fer0009999.png,Training,1", ("row 3", "listed but missing", "fer0009999.png")),
        (",Training,1", ("row 3", "not the name of an image file")),
    ],
)
def test_bad_labels(tmp_path, line, words):
    labels(tmp_path, lambda lines: lines.__setitem__(2, line))
    refused(tmp_path, "fer2013_labels.csv", *words)


def test_labels_without_a_column_or_a_split_or_folders(tmp_path):
    labels(tmp_path, lambda lines: lines.__setitem__(0, "image,Usage,label"))
    refused(tmp_path, "its images are there", "fer2013_labels.csv (no column emotion)", "kaggle.com")
    (tmp_path / "fer2013_labels.csv").write_bytes(b"\xff\xfe\x00i\x00")
    refused(tmp_path, "its images are there", "fer2013_labels.csv is not a text file")
    (tmp_path / "fer2013_labels.csv").write_text("image,Usage,emotion\nfer0000000.png,Training,0\n")
    assert len(data.load("fer2013", tmp_path)) == 1
    refused(tmp_path, "'valid' is empty", split="valid")
    for folder in FOLDERS.values():
        (tmp_path / folder).rename(tmp_path / f"old {folder}")
    refused(tmp_path, "no folder with the images of split 'train'", "FER2013Train")


def test_a_labels_csv_cut_at_a_row_is_told(tmp_path):
    labels(tmp_path, lambda lines: lines.__delitem__(slice(-2, None)))
    with pytest.warns(DataWarning) as caught:
        assert len(data.load("fer2013", tmp_path, "test")) == PER_SPLIT - 2
    unlisted, count = (str(warning.message) for warning in caught)
    assert "FER2013Test: 2 PNG files are not listed in fer2013_labels.csv and not loaded" in unlisted
    assert "test has 5 images, 3,589 were published for fer2013" in count


def test_images_of_other_splits_in_one_folder_are_listed(tmp_path):
    labels(tmp_path, lambda lines: None)
    (tmp_path / "images").mkdir()
    for file in tmp_path.glob("FER2013*/*.png"):
        file.rename(tmp_path / "images" / file.name)
    for folder in FOLDERS.values():
        shutil.rmtree(tmp_path / folder)
    with pytest.warns(DataWarning) as caught:
        data.load("fer2013", tmp_path)
    assert not any("not listed" in str(warning.message) for warning in caught)


@pytest.mark.parametrize("name", ["fer2013", "ferplus"])
def test_a_table_without_its_last_rows_is_told_once(tmp_path, name):
    write_kaggle(tmp_path, change=lambda rows: rows.__delitem__(slice(-2, None)))
    write_rows(tmp_path / "fer2013new.csv", new_rows()[:-2])
    with pytest.warns(DataWarning, match="test has 5 images, 3,589 were published for fer2013") as caught:
        data.load(name, tmp_path, "test")
    assert len(caught) == 1


def test_a_table_of_the_published_size_is_no_warning(tmp_path, monkeypatch):
    write_kaggle(tmp_path)
    whole = published._split(PER_SPLIT, PER_SPLIT, PER_SPLIT)
    monkeypatch.setitem(published.PUBLISHED, "fer2013", (whole,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.load("fer2013", tmp_path)


def test_two_labels_files_are_ambiguous(tmp_path):
    labels(tmp_path, lambda lines: None)
    (tmp_path / "fer2013_labels.csv").rename(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_bytes((tmp_path / "a.csv").read_bytes())
    refused(tmp_path, "a.csv, b.csv", "Keep one")


def test_nothing_there(tmp_path):
    refused(tmp_path, "fer2013", str(tmp_path), "fer2013.csv", "image,Usage,emotion", "Nothing is downloaded")

"""FERPlus: layouts, vote rules, every kind of damage."""

from __future__ import annotations

import gzip
import os
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
import torch
from data_layouts import FOLDERS, PER_SPLIT, VOTES, faces, kaggle_rows, new_rows, png, write_ferplus, write_rows
from hypothesis import given
from hypothesis import strategies as st

from fer_teach import data
from fer_teach.data import DataError, DataWarning
from fer_teach.data.ferplus import decide

KEPT = [k for k, (_, label) in enumerate(VOTES) if label is not None]


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def root(tmp_path):
    write_ferplus(tmp_path / "ferplus")
    return tmp_path / "ferplus"


def refused(root, *parts, split="train", **options):
    """The DataError's message, which must hold every part."""
    with pytest.raises(DataError) as caught:
        data.load("ferplus", root, split, **options)
    message = str(caught.value)
    for part in parts:
        assert part in message
    return message


@pytest.mark.parametrize("split", FOLDERS)
def test_folder_layout(tmp_path, split):
    images = write_ferplus(tmp_path / "x")[split]
    dataset = data.load("ferplus", tmp_path / "x", split)
    assert dataset.labels.tolist() == [VOTES[k][1] for k in KEPT]
    assert torch.equal(dataset.images, torch.from_numpy(images[KEPT])[:, None])
    assert dataset.votes.tolist() == [VOTES[k][0] for k in KEPT]
    assert dataset.classes[0] == "neutral"
    assert dataset.classes[7] == "contempt"


@pytest.mark.parametrize("place", ["root", "parent", "environment"])
def test_root_may_be_the_folder_its_parent_or_the_environment(root, place, monkeypatch):
    if place == "environment":
        monkeypatch.setenv("FER_TEACH_DATA", str(root.parent))
    given_root = {"root": root, "parent": str(root.parent), "environment": None}[place]
    assert len(data.load("ferplus", given_root)) == len(KEPT)


def pack(path, member, how):
    content = path.read_bytes()
    path.unlink()
    if how == "gz":
        (path.parent / f"{path.name}.gz").write_bytes(gzip.compress(content))
    elif how == "zip":
        with zipfile.ZipFile(path.parent / "archive.zip", "a") as archive:
            archive.writestr(member, content)
    else:
        (path.parent / path.name).write_bytes(content)
        with tarfile.open(path.parent / f"{path.stem}.tar.gz", "w:gz") as archive:
            archive.add(path, member)
        path.unlink()


@pytest.mark.parametrize("icml", [False, True], ids=["fer2013", "icml"])
@pytest.mark.parametrize("how", ["plain", "gz", "zip", "tar.gz"])
def test_kaggle_layout(tmp_path, icml, how):
    rows, images = kaggle_rows(icml)
    table = write_rows(tmp_path / ("icml_face_data.csv" if icml else "fer2013.csv"), rows)
    votes = write_rows(tmp_path / "fer2013new.csv", new_rows(blank=(1, 7)))
    if how != "plain":
        pack(table, f"fer2013/{table.name}", how)
        pack(votes, votes.name, how)
    train, valid = data.load("ferplus", tmp_path), data.load("ferplus", tmp_path, "valid")
    kept = [k for k in KEPT if k != 1]
    assert train.labels.tolist() == [VOTES[k][1] for k in kept]
    assert torch.equal(train.images, torch.from_numpy(images["train"][kept])[:, None])
    assert train.votes.tolist() == [VOTES[k][0] for k in kept]
    assert len(valid) == len(KEPT) - 1
    assert len(data.load("ferplus", tmp_path, rule="all")) == PER_SPLIT - 1


def test_a_removed_row_needs_no_votes(tmp_path):
    write_rows(tmp_path / "fer2013.csv", kaggle_rows()[0])
    rows = new_rows(blank=(1,))
    rows[2][2:] = [0] * 10
    write_rows(tmp_path / "fer2013new.csv", rows)
    assert len(data.load("ferplus", tmp_path, rule="all")) == PER_SPLIT - 1


def test_rules(root):
    assert data.load("ferplus", root, rule="plurality").labels.tolist() == [0, 1, 6, 0, 7]
    everything = data.load("ferplus", root, rule="all")
    assert everything.labels.tolist() == [0, 1, 6, 0, 0, 8, 7]
    assert everything.classes[8] == "unknown"
    assert data.load("ferplus", root, min_votes=8).labels.tolist() == [0, 1]
    assert data.load("ferplus", root, drop_single_votes=False).labels.tolist() == [0, 1, 7]


@given(st.lists(st.lists(st.integers(0, 10), min_size=10, max_size=10), min_size=1, max_size=20), st.integers(0, 10))
def test_majority_holds_more_than_half_of_what_is_left(votes, least):
    votes = np.array(votes)
    for row, label in zip(votes, decide(votes, "majority", True, least), strict=True):
        left = [int(n) if n > 1 else 0 for n in row]
        winners = [i for i in range(8) if 2 * left[i] > sum(left) and left[i] >= least]
        assert [label] == (winners or [-1])


def test_options_are_checked(root):
    refused(root, "Unknown rule 'median'", "majority", rule="median")
    refused(root, "0..10", min_votes=11)
    refused(root, "unexpected keyword argument 'colour'", colour=1)
    refused(root, "Unknown split 'val'", "train, valid, test", split="val")


def test_unknown_names():
    with pytest.raises(DataError, match=r"Unknown data set 'fer'.*rendered, ferplus, fer2013"):
        data.load("fer")
    assert data.names()[:3] == ("rendered", "ferplus", "fer2013")


def test_missing_data_say_what_where_who_and_how(tmp_path):
    message = refused(
        tmp_path, "ferplus", "not found", str(tmp_path), "microsoft/FERPlus", "label.csv", "Nothing is downloaded"
    )
    assert "kaggle.com" in message
    refused(tmp_path / "nowhere", "does not exist", "nowhere")
    refused(None, "FER_TEACH_DATA")
    refused(3, "Cannot read 3")
    refused(str(tmp_path).encode(), "not found", str(tmp_path))


def test_votes_without_images_table(tmp_path):
    write_rows(tmp_path / "fer2013.csv", kaggle_rows()[0])
    refused(tmp_path, "fer2013new.csv")


def test_one_split_given_as_root(root):
    (root / "FER2013Train" / "label.csv").rename(root / "label.csv")
    refused(root / "FER2013Train", "folder of one split", str(root))


def test_labels_without_images_fall_back_to_the_tables(root):
    for path in root.glob("*/*.png"):
        path.unlink()
    refused(root, "label.csv is in", "the PNG files beside it are not")
    write_rows(root / "fer2013.csv", kaggle_rows()[0])
    write_rows(root / "fer2013new.csv", new_rows())
    assert len(data.load("ferplus", root)) == len(KEPT)


def test_split_folder_or_labels_missing(root):
    (root / "FER2013Test" / "label.csv").unlink()
    refused(root, "label.csv", "FER2013Test", split="test")
    os.rename(root / "FER2013Valid", root / "elsewhere")
    refused(root, "FER2013Valid", "valid", split="valid")


def bomb(whole):
    """A PNG whose header claims 30,000 x 30,000 pixels."""
    header = b"IHDR" + struct.pack(">II", 30_000, 30_000) + whole[24:29]
    return whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]


def spoil(path, how):
    whole = path.read_bytes()
    if how == "missing":
        path.unlink()
        return
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    path.write_bytes(
        {
            "truncated": whole[: len(whole) // 2],
            "last byte gone": whole[:-1],
            "head only": whole[:20],
            "damaged": bytes(flipped),
            "empty": b"",
            "text": b"<html>404 not found</html>",
            "size": png(faces(1)[0][:40]),
            "bomb": bomb(whole),
        }[how]
    )


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("truncated", "truncated or damaged"),
        ("last byte gone", "truncated or damaged"),
        ("head only", "truncated or damaged"),
        ("damaged", "truncated or damaged"),
        ("empty", "is empty (0 bytes)"),
        ("text", "is not an image"),
        ("size", "is 48 x 40 pixels instead of 48 x 48"),
        ("missing", "is listed but missing"),
        ("bomb", "far larger"),
    ],
)
def test_damaged_image(root, how, words):
    spoil(root / "FER2013Train" / "fer0000002.png", how)
    message = refused(root, words, str(root / "FER2013Train" / "fer0000002.png"), "label.csv, row 3")
    assert "more files" not in message
    spoil(root / "FER2013Train" / "fer0000004.png", "missing" if how == "missing" else "empty")
    refused(root, "fer0000002.png", "1 more file")


def test_a_file_lost_from_the_user_s_own_folder_is_not_the_cache_s(tmp_path):
    root = tmp_path / "unpacked-ferplus"
    write_ferplus(root)
    (root / "FER2013Train" / "fer0000002.png").unlink()
    assert "Delete" not in refused(root, "is listed but missing. Unpack the data set again")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes among files here")
def test_a_pipe_in_place_of_an_image_is_refused(root):
    path = root / "FER2013Train" / "fer0000002.png"
    path.unlink()
    os.mkfifo(path)
    refused(root, "is a pipe or a device", "label.csv, row 3")


def test_damage_after_caching_is_noticed(root):
    before = data.load("ferplus", root).fingerprint
    path = root / "FER2013Train" / "fer0000000.png"
    path.write_bytes(png(faces(1, 99)[0]))
    assert data.load("ferplus", root).fingerprint != before
    spoil(path, "truncated")
    refused(root, "fer0000000.png")


def test_colour_palette_and_16_bit_files_become_grey(root):
    from PIL import Image

    image = faces(1, 5)[0]
    folder = root / "FER2013Train"
    Image.fromarray(image).convert("RGB").save(folder / "fer0000000.png")
    Image.fromarray(image).convert("P").save(folder / "fer0000001.png")
    Image.fromarray(image.astype(np.uint16) * 257).save(folder / "fer0000002.png")
    loaded = data.load("ferplus", root, rule="all").images[:3, 0].numpy()
    assert (loaded == image).all()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('fer0000001.png,"(0, 0, 48, 48)",11,0,0,0,0,0,0,0,0,0', ("row 2", "neutral has '11' votes")),
        ('fer0000001.png,"(0, 0, 48, 48)",0,-1,0,0,0,0,0,0,0,0', ("row 2", "happiness has '-1' votes")),
        ('fer0000001.png,"(0, 0, 48, 48)",0,0,many,0,0,0,0,0,0,0', ("row 2", "surprise has 'many' votes")),
        ('fer0000001.png,"(0, 0, 48, 48)",\u00b2,8,0,0,0,0,0,0,0,0', ("row 2", "neutral has '\u00b2' votes")),
        ('fer0000001.png,"(0, 0, 48, 48)",0,0,0,0,0,0,0,0,0,0', ("row 2", "0 votes in all")),
        ('fer0000001.png,"(0, 0, 48, 48)",10,10,10,10,10,10,10,10,10,10', ("row 2", "100 votes in all")),
        ('fer0000001.png,"(0, 0, 48, 48)",0,0', ("row 2", "4 values instead of 12")),
        ('fer0000000.png,"(0, 0, 48, 48)",9,0,0,0,0,0,0,0,0,0', ("row 2", "listed already in row 1")),
        ('../fer0000001.png,"(0, 0, 48, 48)",9,0,0,0,0,0,0,0,0,0', ("row 2", "not the name of an image file")),
    ],
)
def test_bad_row_in_label_csv(root, line, words):
    path = root / "FER2013Train" / "label.csv"
    lines = path.read_text().splitlines()
    lines[1] = line
    path.write_text("\n".join(lines))
    refused(root, "label.csv", *words)


def test_a_label_csv_cut_at_a_row_is_told(root):
    path = root / "FER2013Train" / "label.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    with pytest.warns(DataWarning) as caught:
        data.load("ferplus", root)
    unlisted, count = (str(warning.message) for warning in caught)
    assert "FER2013Train: 1 PNG files are not listed in label.csv and not loaded" in unlisted
    assert "train has 6 images, 28,558 were published for ferplus" in count


def test_empty_label_csv(root):
    (root / "FER2013Train" / "label.csv").write_text("")
    refused(root, "label.csv", "empty")


def test_binary_label_csv(root):
    (root / "FER2013Train" / "label.csv").write_bytes(bytes(range(128, 256)) * 10)
    refused(root, "label.csv", "not a text file")


def test_unlisted_images_are_pointed_out(root):
    path = root / "FER2013Train" / "label.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-2]))
    with pytest.warns(UserWarning, match="2 PNG files are not listed.*fer0000005.png"):
        data.load("ferplus", root)


def test_tables_must_agree(tmp_path):
    write_rows(tmp_path / "fer2013.csv", kaggle_rows()[0])
    rows = new_rows()
    write_rows(tmp_path / "fer2013new.csv", rows[:-1])
    refused(tmp_path, "20 rows", "21")
    write_rows(tmp_path / "fer2013new.csv", [rows[0], *rows[2:9], rows[1], *rows[9:]])
    refused(tmp_path, "fer2013new.csv, row 8", "same order")
    write_rows(tmp_path / "fer2013new.csv", [row[:-1] for row in rows])
    refused(tmp_path, "fer2013new.csv, row 1", "missing column NF")
    rows[5][4] = 12
    write_rows(tmp_path / "fer2013new.csv", rows)
    refused(tmp_path, "fer2013new.csv, row 6", "surprise has '12' votes")


def test_tables_of_different_order_within_a_split_are_refused(tmp_path):
    pixels = " ".join(["0"] * 48 * 48)
    emotions = [3, 4] * 100
    happy, sad = [1, 9, *[0] * 8], [1, 0, 0, 9, *[0] * 6]
    votes = [["Training", f"fer{k:07}.png", *(happy if e == 3 else sad)] for k, e in enumerate(emotions)]
    write_rows(tmp_path / "fer2013.csv", [["emotion", "pixels", "Usage"], *([e, pixels, "Training"] for e in emotions)])
    write_rows(tmp_path / "fer2013new.csv", [new_rows()[0], *votes])
    assert len(data.load("ferplus", tmp_path)) == 200
    write_rows(tmp_path / "fer2013new.csv", [new_rows()[0], *votes[1:], votes[0]])
    refused(tmp_path, "fer2013new.csv", "0.0 votes of 10 for happiness", "same order")

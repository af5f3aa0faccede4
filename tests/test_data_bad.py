"""Every kind of damage to the licensed sets: one error that names the file, the row and the remedy; nothing lost."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import stat
import struct
import tarfile
import warnings
import zipfile
import zlib

import numpy as np
import pytest
import set_layouts as lay

from fer_teach import data
from fer_teach.data import DataError, DataWarning, cache

NAMES = tuple(lay.WRITERS)
SMALL = {"size": 16}


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def root(tmp_path):
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine"


def refused(name, root, *parts, split="all", **options):
    """The DataError's message, which must hold every part and no traceback's words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(DataError) as caught:
            data.load(name, root, split, **{**SMALL, **options})
    message = str(caught.value)
    for part in parts:
        assert part in message, message
    return message


def pictures(root):
    found = (path for path in root.rglob("*") if path.suffix in (".png", ".jpg", ".tiff"))
    return sorted(path for path in found if "Test" not in str(path))


# Nothing, or half -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_nothing_there(name, root):
    message = refused(name, root, str(root), "Access:", "Lay it out as:", "Nothing is downloaded for you.")
    assert message.count("Looked in") == 1
    refused(name, root / "nowhere", "does not exist", "nowhere")
    refused(name, None, "FER_TEACH_DATA", "--root")
    lay.write_text(root / "notes.txt", "text")
    refused(name, root / "notes.txt", "neither a folder nor an archive")
    (root / f"{name}.rar").write_bytes(b"Rar!")
    refused(name, root, f"{name}.rar", "unpack it yourself")


def test_half_extracted(root):
    lay.write_ck(root / "a")
    (root / "a" / "Emotion").rename(root / "Emotion")
    refused("ckplus", root / "a", "images like", "no labels", "Emotion")
    lay.write_text(root / "b" / "S010_001_00000005_emotion.txt", "1")
    refused("ckplus", root / "b", "labels like", "no images")
    lay.write_raf(root / "c", "list", 2, 1)
    (root / "c" / "EmoLabel" / "list_patition_label.txt").rename(root / "list_patition_label.txt")
    refused("rafdb", root / "c", "list_patition_label.txt with their labels is not")
    (root / "d").mkdir()
    (root / "list_patition_label.txt").rename(root / "d" / "list_patition_label.txt")
    refused("rafdb", root / "d", "is there, the images", "are not")
    lay.write_sfew(root / "e")
    (root / "e" / "Val").rename(root / "Val")
    refused("sfew", root / "e", "has a train part", "Train and Val must both be there")
    lay.write_celeba(root / "f")
    (root / "f" / "img_align_celeba").rename(root / "faces")
    refused("celeba", root / "f", "list_attr_celeba.txt is there, the images", "are not")
    (root / "g").mkdir()
    (root / "faces").rename(root / "g" / "img_align_celeba")
    refused("celeba", root / "g", "list_attr_celeba.txt or .csv is not")
    lay.write_coco(root / "h")
    for part in ("train2017", "val2017"):
        (root / "h" / part).rename(root / part)
    refused("coco", root / "h", "labels like", "the images are not")


@pytest.mark.parametrize("name", ["ckplus", "jaffe", "ferg", "rafdb", "sfew"])
def test_a_class_without_images_is_told(name, root):
    lay.WRITERS[name](root)
    for path in pictures(root):
        if any(word in str(path.relative_to(root)).lower() for word in ("fear", ".fe", "/2/")):
            path.unlink()
    with pytest.warns(DataWarning, match="no image of fear"):
        data.load(name, root, "all", **SMALL)


def test_a_missing_part_or_character_is_told(root):
    lay.write_raf(root / "a", "folders", 2, 0)
    with pytest.warns(DataWarning, match="no image of the test part"):
        assert len(data.load("rafdb", root / "a", "train", **SMALL)) == 14
    refused("rafdb", root / "a", "split 'test' of rafdb has no labelled images", "train 14", split="test")
    lay.write_ferg(root / "b")
    for path in (root / "b" / "ray").rglob("*.png"):
        path.unlink()
    with pytest.warns(DataWarning, match="no image of ray"):
        data.load("ferg", root / "b", "all", **SMALL)


# Images ---------------------------------------------------------------------------------------------------------------


def bomb():
    """A PNG of a few bytes whose header claims 30,000 x 30,000 pixels."""
    whole = lay.encoded(lay.pixels(0, (8, 8)))
    header = b"IHDR" + struct.pack(">II", 30_000, 30_000) + whole[24:29]
    return whole[:12] + header + struct.pack(">I", zlib.crc32(header)) + whole[33:]


def large():
    """A true image of 8,000 x 8,000 pixels, larger than any of these sets."""
    return lay.encoded(np.zeros((8_000, 8_000), np.uint8))


DAMAGES = {
    "empty": (lambda whole: b"", "is empty (0 bytes)"),
    "half": (lambda whole: whole[: len(whole) // 2], "is truncated or damaged"),
    "without its end": (lambda whole: whole[:-8], "is truncated or damaged"),
    "text": (lambda whole: b"<html>not found</html>", "is not an image (it starts with b'<html>not fo')"),
    "bomb": (lambda whole: bomb(), "far larger than any image"),
    "large": (lambda whole: large(), "8,000 x 8,000 pixels, far larger"),
}


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("name", NAMES)
def test_damaged_image(name, root, how):
    lay.WRITERS[name](root)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = len(data.load(name, root, "all", **SMALL))
    chosen = pictures(root)
    assert loaded <= len(chosen)
    damage, words = DAMAGES[how]
    path = chosen[0]
    if how == "without its end" and path.suffix == ".tiff":
        damage = lambda whole: whole[:1000]  # noqa: E731
    path.write_bytes(damage(path.read_bytes()))
    message = refused(name, root, words, str(path), "unpack the data set again")
    assert "more files" not in message
    if name == "celeba":
        assert "list_attr_celeba.txt, row 32" in message
    if how == "empty":
        chosen[1].write_bytes(b"")
        chosen[3].write_bytes(b"")
        assert "more file" in refused(name, root, str(path))


def test_damaged_image_in_an_archive(tmp_path):
    lay.write_ck48(tmp_path / "CK+48")
    next((tmp_path / "CK+48" / "anger").iterdir()).write_bytes(b"")
    archive = lay.pack(tmp_path / "CK+48", tmp_path / "CK+48.zip")
    refused("ckplus", archive, "CK+48.zip", "CK+48/anger", "is empty (0 bytes)")


@pytest.mark.parametrize("name", ["ckplus", "jaffe", "ferg", "rafdb"])
def test_files_that_do_not_fit_are_told(name, root):
    lay.WRITERS[name](root)
    lay.write_text(pictures(root)[0].parent / "holiday.txt", "x")
    lay.put(pictures(root)[0].parent / "holiday.tiff", lay.pixels(0, (9, 9)), "TIFF")
    if name == "rafdb":
        pictures(root)[0].with_name("holiday.tiff").unlink()  # any image in a class folder of RAF-DB is taken
    with pytest.warns(DataWarning, match=r"beside the images are not loaded .*holiday"):
        data.load(name, root, "all", **SMALL)


@pytest.mark.parametrize("name", NAMES)
def test_doubled_images(name, root):
    lay.WRITERS[name](root)
    path = pictures(root)[0]
    copy = path.parent / "copy" / path.name if name not in ("ckplus", "rafdb", "sfew") else path.parent.parent / (
        {"ckplus": "fear", "rafdb": "7", "sfew": "Fear"}[name]) / path.name  # fmt: skip
    copy.parent.mkdir(exist_ok=True)
    copy.write_bytes(path.read_bytes())
    refused(name, root, "are the same image by name", str(path), str(copy))


# Labels and tables ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["9.0", "-1", "", "happy", "1.5", "nan", "1 2"])
def test_ck_label_out_of_range(root, content):
    lay.write_ck(root)
    path = lay.write_text(root / "Emotion" / "S011" / "003" / "S011_003_00000005_emotion.txt", content)
    refused("ckplus", root, str(path), "is not one of 0..7")


def test_ck_label_zero_is_told(root):
    lay.write_ck(root)
    lay.write_text(root / "Emotion" / "S011" / "003" / "S011_003_00000005_emotion.txt", "0.0")
    with pytest.warns(DataWarning, match="1 sequences labelled 0"):
        assert len(data.load("ckplus", root, "all", **SMALL)) == 81


def test_ck_sequences(root):
    lay.write_ck(root)
    frame = root / "cohn-kanade-images" / "S010" / "001" / "S010_001_00000005.png"
    frame.rename(root / "away.png")
    refused("ckplus", root, "S010_001_00000005_emotion.txt", "has no image", "Unpack")
    (root / "away.png").rename(frame)
    lay.write_text(root / "Emotion" / "S010" / "001" / "S010_001_00000004_emotion.txt", "3.0")
    refused("ckplus", root, "S010_001_00000004_emotion.txt", "A sequence has one label")


@pytest.mark.parametrize(("content", "words"), [("1 2\n", "holds 1 points instead of 68"), ("1 x\n", "row 1: '1 x'")])
def test_ck_points(root, content, words):
    lay.write_ck(root, points=True)
    path = lay.write_text(root / "Landmarks" / "S010" / "001" / "S010_001_00000005_landmarks.txt", content)
    refused("ckplus", root, str(path), words)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("train_00003.jpg 8", "label '8' is not one of 1..7"),
        ("train_00003.jpg 0", "label '0' is not one of 1..7"),
        ("5 train_00003.jpg", "expected an image and its label"),
        ("train_00003.jpg", "expected an image and its label"),
        ("train_00001.jpg 1", "was listed already in"),
        ("train_99999.jpg 1", "train_99999_aligned.jpg is listed but missing"),
    ],
)
def test_raf_list(root, row, words):
    lay.write_raf(root, "list", 2, 1)
    path = root / "EmoLabel" / "list_patition_label.txt"
    lines = path.read_text().splitlines()
    lines[4] = row
    lay.write_text(path, "\n".join(lines))
    assert ", row " in refused("rafdb", root, str(path), words)


def test_raf_folders_and_lists_must_agree(root):
    lay.write_raf(root, "folders", 2, 1)
    lay.write_text(root / "train_labels.csv", "image,label\ntrain_00001_aligned.jpg,3\n")
    refused("rafdb", root, "train_labels.csv, row 2: label 3", "lies in the folder of another")
    (root / "train_labels.csv").unlink()
    (root / "train" / "7").rename(root / "train" / "8")
    refused("rafdb", root, "label '8' is not one of 1..7")


def edit(root, row, change):
    path = next(root.glob("list_attr_celeba.*"))
    lines = path.read_text().splitlines()
    lines[row - 1] = change(lines[row - 1])
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("table", "row", "change", "words"),
    [
        ("txt", 7, lambda line: line + " 1", None),
        ("txt", 7, lambda line: line.rsplit(maxsplit=1)[0], "row 7: 4 values instead of 5"),
        ("csv", 7, lambda line: line.rsplit(",", 1)[0], "row 7: 4 values instead of 5"),
        ("txt", 7, lambda line: line.rsplit(maxsplit=1)[0] + " 2", "row 7: Smiling is '2'; 1, -1 or 0"),
        ("csv", 7, lambda line: line.rsplit(",", 1)[0] + ",yes", "row 7: Smiling is 'yes'"),
        ("csv", 7, lambda line: ",".join(line.split(",")[::-1]), "is not the name of an image"),
        ("csv", 1, lambda line: ",".join(line.split(",")[::-1]), "row 2: '"),
        ("csv", 1, lambda line: "000001.jpg,1,1,-1,-1", "row 1: '000001.jpg' is no column's name"),
        ("csv", 7, lambda line: "000001.jpg,1,1,-1,-1", "was listed already in row 7"),
        ("txt", 7, lambda line: "", "holds 29 rows, its first line promises 30"),
        ("txt", 2, lambda line: "", "row 3"),
    ],
)
def test_celeba_table(root, table, row, change, words):
    lay.write_celeba(root, table=table)
    edit(root, row, change)
    if words:
        refused("celeba", root, "list_attr_celeba", words)


def test_celeba_tables_that_do_not_belong(root):
    lay.write_celeba(root)
    lay.write_celeba_table(root, list(range(500, 510)))
    refused("celeba", root, "none of its 10 rows names one of the 30 images")
    lay.write_celeba_table(root, list(range(1, 31)), "csv")
    refused("celeba", root, "list_attr_celeba.csv", "list_attr_celeba.txt", "Keep one")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("000001.jpg 3\n", "row 1: expected an image's name and 0, 1 or 2"),
        ("000001.jpg 0\n000001.jpg 1\n", "row 2: image 000001 was listed already"),
        ("0 000001.jpg\n", "row 1: expected an image's name"),
    ],
)
def test_celeba_partition(root, content, words):
    lay.write_celeba(root)
    lay.write_text(root / "list_eval_partition.txt", content)
    refused("celeba", root, "list_eval_partition.txt", words)


def test_celeba_split_without_images(root):
    lay.write_celeba(root, range(1, 3))
    refused("celeba", root, "split 'valid' of celeba has no image (train 2", "a hash of the name", split="valid")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON or cut off"),
        ("[]", "lacks"),
        ('{"images": []}', "lacks 'annotations'"),
        ('{"images": [{"id": 1}], "annotations": []}', "lacks 'file_name'"),
        ('{"images": [], "annotations": [{"image_id": 5, "category_id": 1}]}', "an annotation names image 5"),
        (json.dumps({"images": [{"id": 1, "file_name": "x.jpg"}], "annotations": []}), "none of its images is in"),
    ],
)
def test_coco_json(root, content, words):
    lay.write_coco(root, val=0)
    lay.write_text(root / "annotations" / "instances_train2017.json", content)
    refused("coco", root, "instances_train2017.json", words)


def test_coco_labels(root):
    lay.write_coco(root, "yolo")
    path = lay.write_text(root / "labels" / "train2017" / "000000000001.txt", "16 0.5 0.5 0.1 0.1\nperson 1 1 1 1\n")
    refused("coco", root, f"{path}, row 2", "is not a class and a box")
    (root / "labels" / "train2017").rename(root / "labels" / "train2014")
    for path in (root / "labels").rglob("*.txt"):
        path.rename(path.with_name("x" + path.name))
    refused("coco", root, "no label file belongs to an image")


def test_coco_with_people_only(root):
    lay.write_coco(root, "yolo", 3, 0)
    for path in (root / "labels").rglob("*.txt"):
        path.write_text("0 0.5 0.5 0.1 0.1\n")
    refused("coco", root, "people are on every image")


# Archives -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../evil.png", "/etc/evil.png", "a/../../evil.png", "C:/evil.png", "..\\evil.png"])
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_members_that_point_outside(tmp_path, name, kind):
    lay.write_ck48(tmp_path / "in" / "CK+48")
    archive = lay.pack(tmp_path / "in" / "CK+48", tmp_path / "in" / f"CK.{kind}")
    if kind == "zip":
        with zipfile.ZipFile(archive, "a") as target:
            target.writestr(name, b"x")
    else:
        with tarfile.open(archive, "w:gz") as target:
            target.addfile(tarfile.TarInfo(name))
    for root in (archive, archive.parent):
        refused("ckplus", root, str(archive), "points outside the folder", "is not read")
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_in_archives(tmp_path, kind):
    with tarfile.open(tmp_path / "CK.tar", "w") as target:
        info = tarfile.TarInfo("anger/S010_001_00000001.png")
        info.type, info.linkname = kind, "/etc/passwd"
        target.addfile(info)
    refused("ckplus", tmp_path, "CK.tar", "is a link")
    (tmp_path / "CK.tar").unlink()
    with zipfile.ZipFile(tmp_path / "CK.zip", "w") as target:
        info = zipfile.ZipInfo("anger/S010_001_00000001.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        target.writestr(info, "/etc/passwd")
    refused("ckplus", tmp_path, "CK.zip", "is a link")


@pytest.mark.parametrize("kind", lay.PACKINGS)
def test_archive_cut_off(tmp_path, kind):
    lay.write_ck48(tmp_path / "CK+48")
    archive = lay.pack(tmp_path / "CK+48", tmp_path / f"CK+48.{kind}")
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    refused("ckplus", archive, str(archive))
    archive.write_bytes(b"<html>")
    refused("ckplus", archive, str(archive), "damaged or cut off", "Download it again")


def test_encrypted_archive(tmp_path):
    lay.write_ck48(tmp_path / "CK+48")
    archive = lay.pack(tmp_path / "CK+48", tmp_path / "CK+48.zip")
    content = bytearray(archive.read_bytes())
    at = content.find(b"PK\x01\x02")
    content[at + 8] |= 1
    archive.write_bytes(bytes(content))
    refused("ckplus", archive, "CK+48.zip is encrypted", "password")


# Disk and cache -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packing", ["", "zip", "tar"])
def test_full_disk_while_caching(tmp_path, monkeypatch, packing):
    lay.write_ck48(tmp_path / "CK+48")
    root = lay.pack(tmp_path / "CK+48", tmp_path / f"CK+48.{packing}") if packing else tmp_path

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(cache.Rows, "save", full)
        refused("ckplus", root, "disk is full", "FER_TEACH_CACHE")
    assert list((tmp_path / "cache" / "data").iterdir()) == []
    assert len(data.load("ckplus", root, "all")) == 84


def test_no_room_to_unpack(tmp_path, monkeypatch):
    lay.write_ck48(tmp_path / "CK+48")
    archive = lay.pack(tmp_path / "CK+48", tmp_path / "CK+48.tar")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FER_TEACH_CACHE", str(tmp_path / "file"))
    refused("ckplus", archive, "Cannot unpack", "FER_TEACH_CACHE")


@pytest.mark.parametrize("damage", ["bit", "version", "cut"])
def test_damaged_cache_is_made_again(root, damage):
    lay.write_ck48(root)
    before = data.load("ckplus", root, "all").fingerprint
    (entry,) = (root.parent / "cache" / "data").iterdir()
    path = entry / "images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    if damage == "bit":
        path.write_bytes(bytes(content))
    elif damage == "cut":
        path.write_bytes(bytes(content[:-100]))
    else:
        meta = json.loads((entry / "meta.json").read_text())
        (entry / "meta.json").write_text(json.dumps(meta | {"version": 0}))
    assert data.load("ckplus", root, "all").fingerprint == before


def load_ck(root):
    assert len(data.load("ckplus", root, "all")) == 84


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", ["", "zip", "tar.gz"])
def test_processes_decode_at_once(tmp_path, kind):
    lay.write_ck48(tmp_path / "CK+48")
    root = lay.pack(tmp_path / "CK+48", tmp_path / f"CK+48.{kind}") if kind else tmp_path / "CK+48"
    running = [multiprocessing.get_context("fork").Process(target=load_ck, args=(root,)) for _ in range(3)]
    for process in running:
        process.start()
    for process in running:
        process.join(60)
        assert process.exitcode == 0
    assert len(list((tmp_path / "cache" / "data").iterdir())) == 1


def test_changed_image_is_noticed(root):
    lay.write_ck48(root)
    before = data.load("ckplus", root, "all").fingerprint
    lay.put(root / "anger" / "S010_001_00000015.png", lay.pixels(999, (48, 48)))
    assert data.load("ckplus", root, "all").fingerprint != before


@pytest.mark.parametrize("closed", [".", "anger", "anger/S010_001_00000015.png", "CK.zip"])
def test_no_permission(tmp_path, closed, request):
    root = tmp_path / "mine"
    lay.write_ck48(root)
    if closed == "CK.zip":
        lay.pack(root, tmp_path / "CK.zip").rename(root / "CK.zip")
    for path in (tmp_path, *tmp_path.parents[:2]):
        if not os.geteuid():
            os.chmod(path, 0o755)
    os.chmod(root / closed, 0)
    request.getfixturevalue("nobody")
    message = refused("ckplus", root, "ermission")
    assert str(root / closed) in message

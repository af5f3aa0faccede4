"""The licensed data sets in their layouts: right images, labels, people and splits, however nested or packed."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import set_layouts as lay
import torch
from PIL import Image

from fer_teach import data
from fer_teach.data import DataError, DataWarning

SPLITS = ("train", "valid", "test")
SUBJECT_SETS = ("ckplus", "jaffe", "ferg")


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def root(tmp_path):
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine"


def match(dataset, written, channels=1):
    """Every image stands in the data set under its class; returns subject code -> number."""
    keys = {dataset.images[i].numpy().tobytes(): i for i in range(len(dataset))}
    assert len(dataset) == len(written) == len(keys)
    people = {}
    for word, person, image in written.values():
        expected = image[None] if channels == 1 else image.transpose(2, 0, 1)
        i = keys[np.ascontiguousarray(expected).tobytes()]
        assert dataset.classes[dataset.labels[i]] == word
        assert people.setdefault(person, int(dataset.subjects[i])) == int(dataset.subjects[i])
    assert len(set(people.values())) == len(people)
    return people


# CK+ ------------------------------------------------------------------------------------------------------------------


def test_ck48(root):
    written = lay.write_ck48(root)
    dataset = data.load("ckplus", root, "all")
    match(dataset, written)
    assert dataset.classes == data.COMMON[1:]
    assert dataset.images.shape == (4 * 7 * 3, 1, 48, 48)
    assert len(dataset.attributes["sequence"].unique()) == 28
    assert set(dataset.attributes["frame"].tolist()) == {15, 16, 17}


def test_ck48_in_capitals_and_with_a_neutral_folder(root):
    lay.write_ck48(root / "CK+48")
    for folder in list((root / "CK+48").iterdir()):
        folder.rename(folder.parent / folder.name.capitalize())
    lay.put(root / "CK+48" / "Neutral" / "S010_009_00000001.png", lay.pixels(99, (48, 48)))
    dataset = data.load("ckplus", root, "all")
    assert dataset.classes == data.COMMON
    assert dataset.counts()["neutral"] == 1


@pytest.mark.parametrize(("frames", "neutral"), [(3, False), (1, False), (3, True), (9, True)])
def test_ck_original(root, frames, neutral):
    written = lay.write_ck(root)
    dataset = data.load("ckplus", root, "all", frames=frames, neutral=neutral)
    each = min(frames, 5 - neutral)
    assert len(dataset) == len(written) * (each + neutral)
    counts = dataset.counts()
    assert all(counts[word] == 4 * each for word in data.COMMON[1:])
    assert counts.get("neutral") == (28 if neutral else None)
    assert dataset.images.shape[1:] == (1, 128, 128)
    assert len(dataset.subjects.unique()) == 4
    assert dataset.landmarks is None


def test_ck_takes_the_last_frames(root):
    lay.write_ck(root, people=3)
    dataset = data.load("ckplus", root, "all", frames=2, size=(49, 64))
    assert set(dataset.attributes["frame"].tolist()) == {4, 5}
    expected = lay.pixels(10 + 4, (49, 64))
    assert any((image[0].numpy() == expected).all() for image in dataset.images)


@pytest.mark.parametrize("crop", ["face", "frame", None])
def test_ck_landmarks_and_action_units(root, crop):
    lay.write_ck(root, people=3, points=True)
    dataset = data.load("ckplus", root, "all", crop=crop, neutral=True)
    assert dataset.landmarks.shape == (len(dataset), 68, 2)
    assert dataset.landmarks.dtype == torch.float32
    extent = dataset.landmarks[0].amax(0) - dataset.landmarks[0].amin(0)
    wanted = 128 / 1.3 if crop != "frame" else 30 * 128 / 49
    assert float(extent.max()) == pytest.approx(wanted, rel=1e-3)
    assert 0 <= float(dataset.landmarks.min()) <= float(dataset.landmarks.max()) <= 127
    neutral = dataset.labels == 0
    assert dataset.action_units["AU25"][~neutral].eq(1).all()
    assert dataset.action_units["AU25"][neutral].eq(0).all()
    happy = dataset.labels == dataset.classes.index("happiness")
    assert dataset.action_units["AU17"].nonzero()[:, 0].tolist() == happy.nonzero()[:, 0].tolist()


def test_ck_landmarks_move_with_the_image(root):
    lay.write_ck(root, people=3, points=True)
    at = np.array([[30, 20]] * 34 + [[40, 30]] * 34, float)
    for path in (root / "Landmarks").rglob("*.txt"):
        lay.write_points(path, at)
    for path in (root / "cohn-kanade-images").rglob("*.png"):
        image = np.zeros((49, 64), np.uint8)
        image[20, 30] = image[30, 40] = 255
        path.write_bytes(lay.encoded(image))
    for options in ({"crop": "face"}, {"crop": "frame"}, {"crop": "frame", "fit": "pad"},
                    {"crop": "frame", "fit": "stretch", "size": (100, 60)}):  # fmt: skip
        dataset = data.load("ckplus", root, "all", frames=1, **options)
        bright = (dataset.images[0, 0].float() > 60).nonzero().float()
        for i in (0, 67):
            x, y = dataset.landmarks[0, i]
            assert ((bright[:, 1] - x) ** 2 + (bright[:, 0] - y) ** 2).min() < 1.2, options


def test_ck_sequences_without_points_lose_all_points_with_a_warning(root):
    lay.write_ck(root, people=3, points=True)
    next((root / "Landmarks").rglob("S010_001_00000005*")).unlink()
    next((root / "FACS").rglob("S010_001*")).unlink()
    with pytest.warns(DataWarning) as caught:
        dataset = data.load("ckplus", root, "all")
    assert dataset.landmarks is None
    assert dataset.action_units is None
    assert any("S010_001_00000005" in str(warning.message) for warning in caught)
    with pytest.raises(DataError, match="needs Landmarks"), pytest.warns(DataWarning):
        data.load("ckplus", root, "all", crop="face")


def test_held_out_splits_show_each_sequence_once(root):
    """The frames of a sequence are one reading: counted three times they would make an interval too narrow."""
    lay.write_ck48(root)
    parts, whole = data.splits("ckplus", root), data.load("ckplus", root, "test")
    for split in ("valid", "test"):
        assert set(parts[split].attributes["frame"].tolist()) == {17}
        assert len(parts[split].attributes["sequence"].unique()) == len(parts[split])
    assert len(whole) == 3 * len(parts["test"])
    assert set(parts["train"].attributes["frame"].tolist()) == {15, 16, 17}


def test_the_last_frame_is_taken_of_each_class_of_a_sequence():
    marks = {"sequence": torch.tensor([4, 4, 4, 7, 7]), "frame": torch.tensor([9, 1, 8, 3, 5])}
    images = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).repeat(1, 1, 4, 4)
    labels = torch.tensor([2, 0, 2, 1, 1])
    faces = data.FaceDataset("x", "test", images, labels, ("a", "b", "c"), attributes=marks)
    assert data.last_frames(faces).images[:, 0, 0, 0].tolist() == [0, 1, 4]
    plain = data.FaceDataset("x", "test", images, labels, ("a", "b", "c"))
    assert data.last_frames(plain) is plain


# JAFFE and FERG -------------------------------------------------------------------------------------------------------


def test_jaffe(root):
    written = lay.write_jaffe(root)
    dataset = data.load("jaffe", root, "all")
    assert match(dataset, written) == {name: i for i, name in enumerate(lay.JAFFE_PEOPLE)}
    assert dataset.classes == data.COMMON[:-1]
    assert dataset.images.shape == (70, 1, 256, 256)


def test_jaffe_odd_names(root):
    written = lay.write_jaffe(root, 64)
    names = list(written)
    odd = {names[0]: "KA.AN1..1.tiff", names[1]: "ka.di1.2.TIF", names[2]: "KA-FE1-3.tiff", names[3]: "KA.HA.4.tiff"}
    for old, new in odd.items():
        (root / old).rename(root / new)
        written[new] = written.pop(old)
    lay.write_text(root / "README_FIRST.txt", "x")
    match(data.load("jaffe", root, "all", size=64), written)


def test_ferg(root):
    written = lay.write_ferg(root)
    dataset = data.load("ferg", root, "all")
    people = match(dataset, written, 3)
    assert dataset.classes == data.COMMON[:-1]
    assert people == {name: i for i, name in enumerate(lay.FERG_PEOPLE)}


# Splits by subject ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"seed": 3}, {"folds": 3}, {"folds": 3, "fold": 2}])
@pytest.mark.parametrize("name", SUBJECT_SETS)
def test_no_person_in_two_splits(root, name, options):
    lay.WRITERS[name](root)
    parts = {split: data.load(name, root, split, size=32, **options) for split in SPLITS}
    whole = data.load(name, root, "all", size=32)
    assert sum(map(len, parts.values())) == len(whole)
    people = [set(part.subjects.tolist()) for part in parts.values()]
    assert all(people)
    assert sum(map(len, people)) == len(set().union(*people)) == len(whole.subjects.unique())
    for part in parts.values():
        assert min(part.counts().values()) > 0
        for person in part.subjects.unique():
            assert torch.equal(part.images[part.subjects == person], whole.images[whole.subjects == person])


def test_every_fold_is_test_once(root):
    lay.write_jaffe(root, 16)
    tests = [set(data.load("jaffe", root, "test", folds=5, fold=i, size=16).subjects.tolist()) for i in range(5)]
    assert sorted(person for test in tests for person in test) == list(range(10))


def test_too_few_people_to_split(root):
    lay.write_ck48(root, people=2)
    with pytest.raises(DataError, match='2 subjects cannot be split 3 ways.*split="all"'):
        data.load("ckplus", root)
    assert len(data.load("ckplus", root, "all")) == 42
    for options in ({"folds": 2}, {"folds": 4, "fold": 4}):
        with pytest.raises(DataError, match="folds"):
            data.load("ckplus", root, **options)


# RAF-DB ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["folders", "list"])
def test_rafdb(root, layout):
    written = lay.write_raf(root, layout)
    parts = data.splits("rafdb", root)
    assert {split: len(part) for split, part in parts.items()} == {"train": 63, "valid": 7, "test": 14}
    assert parts["valid"].counts() == dict.fromkeys(lay.RAF_CLASSES, 1)
    assert parts["train"].classes == lay.RAF_CLASSES
    assert parts["train"].images.shape[1:] == (3, 100, 100)
    assert len(data.load("rafdb", root, "all")) == len(written) == 84
    assert data.duplicates(parts["train"], parts["valid"]).tolist() == []
    assert len(data.load("rafdb", root, "train")) == 70
    assert len(data.load("rafdb", root, "test")) == 14
    with pytest.raises(DataError, match="no official split"):
        data.load("rafdb", root, "valid")


def test_rafdb_layouts_agree(tmp_path):
    lay.write_raf(tmp_path / "a", "folders")
    lay.write_raf(tmp_path / "b", "list")
    for split in SPLITS:
        a, b = (data.splits("rafdb", tmp_path / name)[split] for name in "ab")
        assert sorted(a.images.flatten(1).float().mean(1).tolist()) == sorted(
            b.images.flatten(1).float().mean(1).tolist()
        )
        assert a.counts() == b.counts()


def test_rafdb_of_kaggle(root):
    written = lay.write_raf(root / "DATASET", "folders", train=3, test=1)
    for part in ("train", "test"):
        rows = [f"{stem}_aligned.jpg,{label}" for stem, (its, label) in written.items() if its == part]
        lay.write_text(root / f"{part}_labels.csv", "\n".join(["image,label", *rows]))
    assert len(data.load("rafdb", root, "train")) == 21
    assert len(data.load("rafdb", root, "test")) == 7


def test_rafdb_images_moved_to_val_stay_in_their_part(root):
    lay.write_raf(root, "folders", train=3, test=1)
    (root / "val").mkdir()
    (root / "train" / "4").rename(root / "val" / "4")
    assert data.load("rafdb", root, "train").counts()["happiness"] == 3


# SFEW -----------------------------------------------------------------------------------------------------------------

SFEW_FORMS = (
    "{part}/{word}",
    "{part}/{part}_Aligned_Faces/{word}",
    "{part}_Aligned_Faces/{word}",
    "SFEW/{part}/{word}",
)


@pytest.mark.parametrize("form", SFEW_FORMS)
def test_sfew(root, form):
    lay.write_sfew(root, form)
    official = {split: data.load("sfew", root, split) for split in ("train", "valid")}
    assert {split: len(part) for split, part in official.items()} == {"train": 42, "valid": 14}
    assert official["train"].classes == data.COMMON[:-1]
    assert official["train"].images.shape[1:] == (3, 100, 100)
    parts = data.splits("sfew", root)
    assert {split: len(part) for split, part in parts.items()} == {"train": 35, "valid": 7, "test": 14}
    assert parts["test"].fingerprint == official["valid"].fingerprint
    films = [set(parts[split].attributes["film"].tolist()) for split in ("train", "valid")]
    assert not films[0] & films[1]
    with pytest.raises(DataError, match="not public"):
        data.load("sfew", root, "test")


def test_sfew_lower_case_and_labelled_test(root):
    lay.write_sfew(root, "{part}/{word}")
    for part in ("Train", "Val"):
        for folder in list((root / part).iterdir()):
            folder.rename(folder.parent / folder.name.lower())
        (root / part).rename(root / f"x{part}")
        (root / f"x{part}").rename(root / part.lower())
    lay.put(root / "test" / "angry" / "Film_000000001_1.png", lay.pixels(5, (57, 72, 3)))
    assert len(data.load("sfew", root, "test")) == 1


def test_sfew_prefers_aligned_faces(root):
    lay.write_sfew(root, "{part}/{word}")
    aligned = lay.write_sfew(root, "{part}/{part}_Aligned_Faces/{word}", films=3, size=(181, 143))
    assert len(data.load("sfew", root, "all")) == len(aligned)
    assert len(data.load("sfew", root, "all", aligned=False)) == 56


# CelebA ---------------------------------------------------------------------------------------------------------------


def number_of(image: torch.Tensor, numbers) -> int:
    """The image's number, from its grey value."""
    return min(numbers, key=lambda number: abs(number * 7 % 256 - float(image.float().mean())))


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("table", ["txt", "csv", "01"])
def test_celeba_rows_are_matched_by_name(root, table, nested):
    lay.write_celeba(root, table=table, nested=nested)
    dataset = data.load("celeba", root, "all", label="Male")
    assert dataset.classes == ("not Male", "Male")
    assert dataset.images.shape == (30, 3, 64, 64)
    for i in range(30):
        expected = lay.celeba_values(number_of(dataset.images[i], range(1, 31)))
        assert [int(dataset.attributes[name][i]) for name in lay.CELEBA_NAMES] == expected
        assert int(dataset.labels[i]) == expected[1]
    assert sum(len(data.load("celeba", root, split)) for split in SPLITS) == 30


def test_celeba_options(root):
    lay.write_celeba(root)
    few = data.load("celeba", root, "all", n=10, attributes=["Male"], size=(32, 24))
    assert (len(few), few.size, list(few.attributes)) == (10, (32, 24), ["Male"])
    assert few.fingerprint == data.load("celeba", root, "all", n=10, attributes=["Male"], size=(32, 24)).fingerprint
    half = data.load("celeba", root, "all", balanced="Smiling", n=8, seed=1)
    assert half.attributes["Smiling"].sum() == 4
    chosen = data.attributes("Eyeglasses", 6, root=root, split="all")
    assert chosen.counts() == {"not Eyeglasses": 3, "Eyeglasses": 3}
    assert len(data.attributes("Eyeglasses", root=root, split="all")) == 30
    for options, words in (
        ({"label": "Smile"}, "no attribute 'Smile'.*Smiling"),
        ({"balanced": "Male", "n": 7}, "n must be even"),
        ({"balanced": "Male", "n": 1000}, "Male balanced.*from 2 to"),
        ({"n": 31}, r"n must be a whole number in 1\.\.30"),
    ):
        with pytest.raises(DataError, match=words):
            data.load("celeba", root, "all", **options)


def test_celeba_faces_are_cut_out_with_their_points(root):
    """A picture whose red is its column and whose green is its row tells which pixels were loaded."""
    lay.write_celeba(root, range(1, 5))
    y, x = np.mgrid[:218, :178]
    ramp = np.stack([x, y, 0 * x], 2).astype(np.uint8)
    small = np.ascontiguousarray(ramp[::2, ::2])  # the same picture in half the size
    other = ramp[:178]
    for number, picture in ((1, ramp), (2, ramp), (3, small), (4, other)):
        (root / "img_align_celeba" / f"{number:06}.jpg").unlink()
        lay.put(root / "img_align_celeba" / f"{number:06}.png", picture)
    with pytest.warns(DataWarning, match="1 of 4 images have not the shape 178 x 218"):
        faces = data.load("celeba", root, "all", size=128, crop="face")
    for image, step in zip(faces.images[:3], (1, 1, 2), strict=True):
        assert abs(int(image[0, 0, 0]) - 25) <= step
        assert abs(int(image[0, 0, -1]) - 152) <= step
        assert abs(int(image[1, 0, 0]) - 57) <= step
        assert abs(int(image[1, -1, 0]) - 184) <= step
    assert int(faces.images[3, 0, 0, 0]) == 0  # left whole
    (root / "img_align_celeba" / "000004.png").unlink()
    lay.write_celeba_points(root / "list_landmarks_align_celeba.txt", range(1, 4))
    lay.write_celeba_table(root, [1, 2, 3])
    at = data.load("celeba", root, "all", size=128, crop="face").five_points[:2]
    wanted = np.stack([lay.celeba_points(number) for number in (1, 2)]) - (25, 57)
    np.testing.assert_allclose(at, wanted, atol=1e-3)
    with pytest.raises(DataError, match="unknown crop 'tight'"):
        data.load("celeba", root, "all", crop="tight")


def test_celeba_decodes_only_what_is_chosen(root):
    lay.write_celeba(root)
    chosen = data.load("celeba", root, "all", n=3)
    kept = {number_of(image, range(1, 31)) for image in chosen.images}
    for number in set(range(1, 31)) - kept:
        (root / "img_align_celeba" / f"{number:06}.jpg").write_bytes(b"broken")
    assert data.load("celeba", root, "all", n=3).fingerprint == chosen.fingerprint


@pytest.mark.parametrize("table", ["txt", "csv"])
def test_celeba_partition_and_identities(root, table):
    lay.write_celeba(root)
    head, gap = ("image_id,partition\n", ",") if table == "csv" else ("", " ")
    rows = "".join(f"{number:06}.jpg{gap}{number % 3}\n" for number in range(1, 203))
    lay.write_text(root / f"list_eval_partition.{table}", head + rows)
    lay.write_text(root / "identity_CelebA.txt", "".join(f"{i:06}.jpg {i // 4}\n" for i in range(1, 203)))
    for i, split in enumerate(SPLITS):
        dataset = data.load("celeba", root, split)
        assert len(dataset) == 10
        assert {number_of(image, range(1, 31)) % 3 for image in dataset.images} == {i}
    assert len(data.load("celeba", root, "all").subjects.unique()) == 8


def test_celeba_published_ranges(root):
    lay.write_celeba(root, [1, 162_770, 162_771, 182_637, 182_638, 202_599])
    assert [len(data.load("celeba", root, split)) for split in SPLITS] == [2, 2, 2]


def test_celeba_subsets_are_counted(root):
    lay.write_celeba(root)
    lay.write_celeba_table(root, list(range(5, 101)))
    with pytest.warns(DataWarning) as caught:
        assert len(data.load("celeba", root, "all")) == 26
    told = " ".join(str(warning.message) for warning in caught)
    assert "4 of 30 images have no row" in told
    assert "70 of 96 rows" in told


def test_celeba_csv_of_any_name_order_and_with_an_index(root):
    lay.write_celeba(root, table="01")
    lines = (root / "list_attr_celeba.csv").read_text().splitlines()
    rows = [[str(i - 1) if i else "", *line.split(",")[:0:-1], line.split(",")[0]] for i, line in enumerate(lines)]
    lay.write_text(root / "celeba_small.csv", "\n".join(map(",".join, rows)))
    before = data.load("celeba", root, "all", attributes=lay.CELEBA_NAMES)
    (root / "list_attr_celeba.csv").unlink()
    after = data.load("celeba", root, "all", attributes=lay.CELEBA_NAMES)
    assert all(torch.equal(before.attributes[name], after.attributes[name]) for name in lay.CELEBA_NAMES)


# COCO -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["json", "yolo"])
def test_coco_without_people(root, layout):
    free = lay.write_coco(root, layout)
    parts = {split: data.load("coco", root, split, size=32) for split in SPLITS}
    assert len(parts["train"]) == 14
    assert sum(map(len, parts.values())) == len(free) == len(data.load("coco", root, "all", size=32))
    assert parts["train"].classes == ("background",)
    assert len(data.load("coco", root, "train", n=3, size=(24, 32))) == 3


def test_coco128(root):
    lay.write_coco(root / "coco128", "yolo", train=30, val=0)
    sizes = [len(data.load("coco", root, split, size=16)) for split in SPLITS]
    assert sum(sizes) == 20
    assert min(sizes) > 0


def test_coco_images_without_labels(root):
    lay.write_coco(root, "yolo")
    for stem in ("000000000001", "000000000003"):
        (root / "labels" / "train2017" / f"{stem}.txt").unlink()
    with pytest.warns(DataWarning, match="2 of 28 images have no labels"):
        assert len(data.load("coco", root, "train", size=16)) == 13
    assert len(data.load("coco", root, "train", size=16, unlabelled=True)) == 15


def test_coco_json_and_images_that_do_not_meet(root):
    lay.write_coco(root)
    (root / "train2017" / "000000000001.jpg").unlink()
    lay.put(root / "train2017" / "000000000999.jpg", lay.pixels(1, (20, 20, 3)), "JPEG")
    with pytest.warns(DataWarning) as caught:
        assert len(data.load("coco", root, "train", size=16)) == 13
    told = " ".join(str(warning.message) for warning in caught)
    assert "1 of 28 images listed in the json files are missing, such as 000000000001.jpg" in told
    assert "000000000999.jpg" in told


# Places and packings --------------------------------------------------------------------------------------------------

SMALL = {"celeba": {"attributes": []}}


def whole(name, root):
    return data.load(name, root, "all", size=16, **SMALL.get(name, {}))


@pytest.mark.parametrize("name", lay.WRITERS)
def test_junk_and_nesting_change_nothing(root, name, monkeypatch):
    lay.WRITERS[name](root / "a")
    before = whole(name, root / "a").fingerprint
    some = next(path for path in sorted((root / "a").rglob("*")) if path.suffix in (".png", ".jpg", ".tiff"))
    for junk in (some.parent / f"._{some.name}", some.parent / "Thumbs.db", root / "a" / "__MACOSX" / some.name):
        junk.parent.mkdir(exist_ok=True)
        junk.write_bytes(b"\x00\x05\x16\x07")
    assert whole(name, root / "a").fingerprint == before
    nested = root / "b" / name.upper() / "x" / "y"
    nested.parent.mkdir(parents=True)
    (root / "a").rename(nested)
    lay.write_ferg(root / "b" / "FERG_DB_256")
    lay.write_jaffe(root / "b" / "jaffedbase", 16)
    monkeypatch.setenv("FER_TEACH_DATA", str(root / "b"))
    if name not in ("ferg", "jaffe"):
        assert whole(name, None).fingerprint == before


PACKED = [(name, kind) for name in lay.WRITERS for kind in ("zip", "tar.gz")]
PACKED += [(name, kind) for name in ("ckplus", "celeba") for kind in ("tar", "tar.bz2", "tar.xz")]


@pytest.mark.parametrize("how", ["root", "inside"])
@pytest.mark.parametrize(("name", "packing"), PACKED)
def test_packed(tmp_path, name, packing, how):
    lay.WRITERS[name](tmp_path / "plain" / "set")
    before = whole(name, tmp_path / "plain").fingerprint
    archive = lay.pack(tmp_path / "plain" / "set", tmp_path / f"set.{packing}")
    shutil.rmtree(tmp_path / "plain")
    assert whole(name, archive if how == "root" else tmp_path).fingerprint == before
    assert not list((tmp_path / "cache" / "data").glob(".building-*"))


def test_an_archive_beside_its_unpacked_files_is_left_alone(tmp_path):
    lay.write_ck(tmp_path, people=3)
    plain = data.load("ckplus", tmp_path, "all").fingerprint
    for folder in ("cohn-kanade-images", "Emotion"):
        shutil.copytree(tmp_path / folder, tmp_path / "copy" / folder)
        lay.pack(tmp_path / "copy" / folder, tmp_path / f"{folder}.zip")
    shutil.rmtree(tmp_path / "copy")
    assert data.load("ckplus", tmp_path, "all").fingerprint == plain
    shutil.rmtree(tmp_path / "Emotion")
    assert data.load("ckplus", tmp_path, "all").fingerprint == plain


def test_links_to_folders_are_followed_once(tmp_path):
    lay.write_ck48(tmp_path / "far")
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "CK+48").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "anger" / "loop").symlink_to(tmp_path / "far")
    assert len(data.load("ckplus", tmp_path / "near", "all")) == 84


def test_a_link_to_itself_is_passed_over(tmp_path):
    lay.write_jaffe(tmp_path, 16)
    (tmp_path / "notes").symlink_to(tmp_path / "notes")
    assert len(data.load("jaffe", tmp_path, "all")) == 70


# Forms of images ------------------------------------------------------------------------------------------------------


def test_every_kind_of_image_becomes_the_declared_form(root):
    written = lay.write_jaffe(root, 64)
    names = list(written)
    image = written[names[1]][2]
    forms = {
        1: Image.fromarray(image).convert("RGB"),
        2: Image.fromarray(image.astype(np.uint16) * 257),
        3: Image.fromarray(np.dstack([image] * 3 + [np.full_like(image, 255)])),
        4: Image.fromarray(image).convert("LA"),
        5: Image.fromarray(image).convert("P"),
        6: Image.fromarray(image.astype(np.float32) / 255),
        7: Image.merge("CMYK", [*[Image.new("L", (64, 64))] * 3, Image.fromarray(255 - image)]),
    }
    for i, other in forms.items():
        other.save(root / names[i])
    dataset = data.load("jaffe", root, "all", size=64)
    assert sum(bool((one[0].numpy() == image).all()) for one in dataset.images) == 7


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_fit(root, fit):
    lay.write_ck48(root)
    path = root / "anger" / "S010_001_00000015.png"
    wide = np.zeros((40, 80), np.uint8)
    wide[:, 20:60] = 200
    path.write_bytes(lay.encoded(wide))
    image = data.load("ckplus", root, "all", size=40, fit=fit).images[0, 0]
    if fit == "crop":
        assert (image == 200).all()
    elif fit == "pad":
        assert (image[10:30, 11:29] == 200).all()
        assert (image[:9] == 0).all()
    else:
        assert (image[:, 11:29] == 200).all()
        assert (image[:, :9] == 0).all()


@pytest.mark.parametrize("options", [{"size": 0}, {"size": "big"}, {"size": (1, 2, 3)}, {"fit": "zoom"}])
def test_wrong_forms(root, options):
    lay.write_ck48(root)
    with pytest.raises(DataError, match="size must be|unknown fit"):
        data.load("ckplus", root, "all", **options)

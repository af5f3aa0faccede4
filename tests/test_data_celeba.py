"""CelebA as its copies are laid out: tables in many forms, small parts of the set, eyes and mouth."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import set_layouts as lay
import torch

from fer_teach import data, landmarks
from fer_teach.data import DataError, DataWarning
from fer_teach.data.celeba_rows import ATTRIBUTES
from fer_teach.parts import part_masks

SPLITS = ("train", "valid", "test")
FEW = range(1, 31)


pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def root(tmp_path):
    """A folder with 30 images and no table."""
    lay.write_celeba(tmp_path / "mine")
    (tmp_path / "mine" / "list_attr_celeba.txt").unlink()
    return tmp_path / "mine"


def number_of(image: torch.Tensor) -> int:
    """The image's number, from its grey value."""
    return min(FEW, key=lambda number: abs(number * 7 % 256 - float(image.float().mean())))


def load(root, split="all", **options):
    return data.load("celeba", root, split, size=16, **options)


def matched(dataset, count=30):
    """Every image carries its own 40 attributes, under their published names."""
    assert list(dataset.attributes) == list(ATTRIBUTES)
    assert len(dataset) == count
    for i, image in enumerate(dataset.images):
        assert [int(values[i]) for values in dataset.attributes.values()] == lay.celeba_forty(number_of(image))


def told(root, split="all", **options):
    """The data set and what its warnings say."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dataset = load(root, split, **options)
    assert all(issubclass(one.category, DataWarning) for one in caught)
    return dataset, [str(one.message) for one in caught]


def test_there_are_forty_attributes():
    assert len(set(ATTRIBUTES)) == 40


FORMS = {
    "true_false": {"words": ("False", "True")},
    "lower_case_true": {"words": ("false", "true")},
    "decimals": {"words": ("0.0", "1.0")},
    "signed_decimals": {"words": ("-1.0", "1.0")},
    "semicolons": {"gap": ";"},
    "tabs": {"gap": "\t"},
    "bare_names": {"name": "{:06}"},
    "paths": {"name": "img_align_celeba/{:06}.jpg", "column": "path"},
    "backslashes": {"name": "C:\\faces\\{:06}.JPG", "column": "File Path"},
    **{f"column_{word}": {"column": word} for word in ("filename", "file", "image", "img", "Image Name", "photo")},
    "blanks": {"spell": lambda word: word.replace("_", " ")},
    "lower_case": {"spell": str.lower},
    "hyphens_in_capitals": {"spell": lambda word: word.replace("_", "-").upper()},
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_the_csv(root, form):
    lay.write_celeba_forty(root / "list_attr_celeba.csv", **FORMS[form])
    dataset, warned = told(root, label="Mouth_Slightly_Open")
    matched(dataset)
    assert not warned
    assert dataset.classes == ("not Mouth_Slightly_Open", "Mouth_Slightly_Open")


@pytest.mark.parametrize("name", ["list_attr_celeba_10000.txt", "labels.txt", "Anno/attributes of faces.txt", "my.csv"])
@pytest.mark.parametrize("column", [None, "image_id"])
def test_tables_of_any_name(root, name, column):
    gap = "," if name.endswith("csv") else " "
    lay.write_celeba_forty(root / name, column=column, gap=gap)
    lay.write_text(root / "README.txt", "Smiling people\n\n1 of them is Young, 0 are Bald.\n")
    (root / "licence.txt").write_bytes(b"\xff\xfe\x00broken")
    dataset, warned = told(root)
    matched(dataset)
    assert not warned


def test_columns_that_are_no_attributes_are_told(root):
    lay.write_celeba_forty(root / "faces.csv", more=("celeb_id", "split", "partition"))
    dataset, warned = told(root)
    matched(dataset)
    assert len(warned) == 1
    assert "faces.csv that are no attributes are not read: celeb_id, split, partition" in warned[0]


def test_a_text_table_cut_to_the_images_may_keep_its_first_line(root):
    table = lay.write_celeba_forty(root / "list_attr_celeba.txt", column=None, gap=" ")
    table.write_text("202599\n" + table.read_text().partition("\n")[2])
    matched(load(root))
    (root / "img_align_celeba" / "000030.jpg").rename(root / "img_align_celeba" / "000031.jpg")
    with pytest.raises(DataError, match="holds 30 rows, its first line promises 202,599"):
        load(root)


def test_of_equal_tables_one_is_taken_and_others_are_refused(root):
    lay.write_celeba_forty(root / "list_attr_celeba.txt", range(1, 61), column=None, gap=" ")
    table = lay.write_celeba_forty(root / "list_attr_celeba.csv", words=("0", "1"))
    dataset, warned = told(root)
    matched(dataset)
    assert len(warned) == 0
    lay.write_celeba_forty(root / "list_attr_celeba.csv", range(1, 30))
    with pytest.raises(DataError, match=r"(?s)txt and .*csv say different things of image 000030. Keep one"):
        load(root)
    lines = lay.write_celeba_forty(root / "list_attr_celeba.csv").read_text().splitlines()
    wrong = lines[5].split(",")
    wrong[7] = str(-int(wrong[7]))
    lines[5] = ",".join(wrong)
    table.write_text("\n".join(lines))
    with pytest.raises(DataError, match="say different things of image 000026. Keep one"):
        load(root)


def test_numbers_without_their_zeros_are_refused(root):
    lay.write_celeba_forty(root / "faces.csv", range(2, 31), name="{}")
    with pytest.raises(DataError, match="row 2: there is no image 30, but an image 000030"):
        load(root)
    lay.write_celeba_forty(root / "faces.csv", range(30), name="{}")  # places from 0, as a data frame's index
    with pytest.raises(DataError, match="row 30: '1' is not the name of an image"):
        load(root)


def test_two_columns_of_one_name_are_refused(root):
    lay.write_celeba_forty(root / "list_attr_celeba.csv", more=("smiling",))
    with pytest.raises(DataError, match="row 1: names of columns are missing or doubled"):
        load(root)


# Parts of the set -----------------------------------------------------------------------------------------------------


def partition(root, numbers, part=lambda number: 0, name="list_eval_partition.txt"):
    lay.write_celeba_forty(root / "list_attr_celeba.csv")
    return lay.write_text(root / name, "".join(f"{number:06}.jpg {part(number)}\n" for number in numbers))


@pytest.mark.parametrize("rows", [range(1, 203), range(1, 20)], ids=["all_train", "rows_missing"])
def test_a_partition_that_does_not_serve_is_not_used_and_told(root, rows):
    partition(root, rows, part=lambda number: 0 if len(rows) > 30 else number % 3)
    said, parts = [], {}
    for split in SPLITS:
        parts[split], warned = told(root, split)
        assert len(warned) == 1
        said += warned
    assert "splits are made without it" in said[0]
    assert ("valid and test without an image" if len(rows) > 30 else "has no row for 11 of 30 images") in said[0]
    (root / "list_eval_partition.txt").unlink()
    for split in SPLITS:
        assert parts[split].fingerprint == load(root, split).fingerprint
    assert sum(map(len, parts.values())) == 30


def test_identities_that_lack_rows_are_not_used_and_told(root):
    lay.write_celeba_forty(root / "list_attr_celeba.csv")
    lay.write_text(root / "identity_CelebA.txt", "".join(f"{number:06}.jpg {number}\n" for number in range(5, 31)))
    dataset, warned = told(root)
    assert dataset.subjects is None
    assert len(warned) == 1
    assert "identity_CelebA.txt has no row for 4 of 30 images, such as 000001; people are left out" in warned[0]


@pytest.mark.parametrize(
    "head", ["image_id;partition\n{:06}.jpg;{}\n", ",file,split\n7,{:06},{}\n", "path,partition\nx/{:06}.jpg,{}\n"]
)
def test_forms_of_the_partition(root, head):
    lay.write_celeba_forty(root / "list_attr_celeba.csv")
    first, row, _ = head.split("\n")
    words = ("train", "val", "test") if "split" in first else "012"
    rows = "".join(row.format(number, words[number % 3]) + "\n" for number in FEW)
    lay.write_text(root / "list_eval_partition.csv", first + "\n" + rows)
    for i, split in enumerate(SPLITS):
        dataset, warned = told(root, split)
        assert not warned
        assert {number_of(image) % 3 for image in dataset.images} == {i}


def test_two_partitions_that_differ_are_refused(root):
    partition(root, FEW, lambda number: number % 3)
    partition(root, FEW, lambda number: number % 3, "list_eval_partition_10000.txt")
    assert len(told(root, "test")[0]) == 10
    partition(root, FEW, lambda number: number % 2, "list_eval_partition_10000.txt")
    with pytest.raises(DataError, match="say different things of image 000002"):
        load(root)


# Eyes and mouth -------------------------------------------------------------------------------------------------------


def put_points(root, dots=True):
    """Images with a white square of 3 by 3 pixels on each of their points; black else."""
    for number in FEW:
        image = np.zeros((218, 178, 3), np.uint8)
        for x, y in lay.celeba_points(number):
            image[y - 1 : y + 2, x - 1 : x + 2] = 255 * dots
        image[:8] = number * 7 % 256  # which image it is: cut off by the loader's crop to a square
        lay.put(root / "img_align_celeba" / f"{number:06}.png", image)
        (root / "img_align_celeba" / f"{number:06}.jpg").unlink(missing_ok=True)
    lay.write_celeba_forty(root / "list_attr_celeba.csv")


@pytest.mark.parametrize(
    "options",
    [{"size": 178}, {"size": 64}, {"size": (100, 120)}, {"size": 128, "fit": "pad"}, {"size": 128, "fit": "stretch"}],
    ids=str,
)
@pytest.mark.parametrize("table", ["txt", "csv", "backwards"])
def test_points_lie_where_the_loaded_image_shows_them(root, table, options):
    put_points(root)
    name = f"list_landmarks_align_celeba.{'txt' if table == 'txt' else 'csv'}"
    lay.write_celeba_points(root / name, range(1, 203), backwards=table == "backwards")
    faces = data.load("celeba", root, "all", **options)
    assert faces.five_points.shape == (30, 5, 2)
    assert faces.five_points.dtype == torch.float32
    some = faces.grey().resize(96)[torch.arange(29, -1, -3)]
    for shown in (faces, some):
        near = int(0.04 * min(shown.size))
        for image, points in zip(shown.images.float().mean(1), shown.five_points, strict=True):
            for x, y in points:
                left, upper = round(float(x)) - near, round(float(y)) - near
                window = image[upper : upper + 2 * near + 1, left : left + 2 * near + 1]
                where = torch.stack(torch.meshgrid(*map(torch.arange, window.shape), indexing="ij")[::-1], -1)
                seen = (where * window[..., None]).sum((0, 1)) / window.sum() + torch.tensor([left, upper])
                assert (seen - torch.stack([x, y])).abs().max() < 0.2


def test_points_belong_to_the_image_of_their_row(root):
    put_points(root)
    lay.write_celeba_points(root / "Anno" / "list_landmarks_align_celeba.txt", range(1, 203))
    for split in SPLITS:
        faces = data.load("celeba", root, split, size=(218, 178))
        for image, points in zip(faces.images, faces.five_points, strict=True):
            number = min(FEW, key=lambda number: abs(number * 7 % 256 - float(image[0, 0, 0])))
            assert points.tolist() == lay.celeba_points(number).tolist()


@pytest.mark.parametrize("packing", ["zip", "tar.gz"])
def test_points_in_an_archive(root, packing):
    put_points(root)
    lay.write_celeba_points(root / "CelebA" / "Anno" / "list_landmarks_align_celeba.txt", range(1, 203))
    lay.write_celeba_points(root / "CelebA" / "Anno" / "list_landmarks_celeba.txt", range(1, 203), (436, 356))
    before = load(root).five_points
    (root.parent / "here").mkdir()
    lay.pack(root, root.parent / "here" / f"CelebA.{packing}")
    assert torch.equal(load(root.parent / "here").five_points, before)


def test_images_without_points_and_copies_in_another_size(root):
    put_points(root)
    lay.write_celeba_points(root / "list_landmarks_align_celeba.csv", range(3, 31))
    faces, warned = told(root)
    assert len(warned) == 1
    assert "has no row for 2 of 30 images, such as 000001: no points" in warned[0]
    assert faces.five_points.isnan().all((1, 2)).tolist() == [True, True] + [False] * 28
    masks, index = part_masks(faces)
    assert index.tolist() == list(range(2, 30))
    assert masks["eyes"].shape == (28, 16, 16)
    assert masks["mouth"].flatten(1).any(1).all()
    for number in FEW:  # half as large
        lay.put(root / "img_align_celeba" / f"{number:06}.png", np.zeros((109, 89, 3), np.uint8))
    torch.testing.assert_close(told(root)[0].five_points[2:], faces.five_points[2:])


@pytest.mark.parametrize(
    ("size", "words"),
    [((218, 178), "points outside 28 of 28 images"), ((128, 128), "belong to images of 178 x 218; 30 of 30")],
    ids=["another_table", "another_shape"],
)
def test_points_that_cannot_be_the_images_are_left_out_and_told(root, size, words):
    for number in FEW:
        lay.put(root / "img_align_celeba" / f"{number:06}.jpg", np.zeros((*size, 3), np.uint8), "JPEG")
    lay.write_celeba_forty(root / "list_attr_celeba.csv")
    lay.write_celeba_points(root / "landmarks.csv", range(3, 31), (218 * 4, 178 * 4) if size[0] == 218 else (218, 178))
    faces, warned = told(root)
    assert faces.five_points is None
    assert sum(words in one for one in warned) == 1


def test_points_of_the_images_in_the_wild_are_not_those_of_the_aligned(root):
    put_points(root)
    wild = root.parent / "wild"
    for number in FEW:
        lay.put(wild / "img_celeba" / f"{number:06}.jpg", np.zeros((436, 500, 3), np.uint8), "JPEG")
    lay.write_celeba_forty(wild / "list_attr_celeba.csv")
    for place in (root, wild):
        lay.write_celeba_points(place / "list_landmarks_celeba.txt", size=(436, 356))
    assert load(root).five_points is None
    faces = data.load("celeba", wild, "all", size=(436, 500))
    assert faces.five_points[0].tolist() == lay.celeba_points(1, (436, 356)).tolist()
    (wild / "list_landmarks_celeba.txt").rename(wild / "list_landmarks_align_celeba.txt")
    assert load(wild).five_points is None


@pytest.mark.parametrize(
    ("row", "change", "words"),
    [
        (4, lambda line: line.replace(",136,", ",left,"), "row 4: nose_y is 'left'; a number of pixels was expected"),
        (4, lambda line: line.rsplit(",", 1)[0], "row 4: 10 values instead of 11"),
        (4, lambda line: "000030.jpg" + line[10:], "was listed already in row 2"),
        (4, lambda line: line[:-3] + "nan", "rightmouth_y is 'nan'"),
    ],
)
def test_damaged_points_are_named(root, row, change, words):
    put_points(root)
    path = lay.write_celeba_points(root / "list_landmarks_align_celeba.csv")
    lines = path.read_text().splitlines()
    lines[row - 1] = change(lines[row - 1])
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match=words) as caught:
        load(root)
    assert "list_landmarks_align_celeba.csv" in str(caught.value)


def test_masks_are_drawn_around_the_points_and_dlib_is_not_asked(root, monkeypatch):
    put_points(root)
    lay.write_celeba_points(root / "list_landmarks_align_celeba.txt")
    monkeypatch.setattr(landmarks, "find", lambda images: pytest.fail("dlib was asked"))
    faces = data.load("celeba", root, "all").grey().resize(64)[5:15]
    masks, index = part_masks(faces)
    assert index.tolist() == list(range(10))
    for i, points in enumerate(faces.five_points.round().long().tolist()):
        left, right, nose, *corners = points
        for part, places in (("eyes", [left, right]), ("mouth", corners)):
            assert all(masks[part][i, y, x] for x, y in places)
            assert not masks[part][i, nose[1], nose[0]]
        assert not (masks["eyes"][i] & masks["mouth"][i]).any()
    assert 0.01 < float(masks["eyes"].float().mean()) < 0.03
    assert 0.01 < float(masks["mouth"].float().mean()) < 0.04

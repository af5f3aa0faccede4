"""CelebA as its copies are laid out: tables in many forms, small parts of the set, eyes and mouth."""

from __future__ import annotations

import warnings

import pytest
import set_layouts as lay
import torch

from fer_teach import data
from fer_teach.data import DataError, DataWarning
from fer_teach.data.celeba_rows import ATTRIBUTES

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

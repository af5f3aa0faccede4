"""The authors' lists of hard test images: FERPlus and RAF-DB, with lists, with some, with none."""

from __future__ import annotations

import pytest
from data_layouts import VOTES, write_ferplus
from set_layouts import write_raf

from fer_teach import data
from fer_teach.data import DataError
from fer_teach.data.hard_lists import LISTS

KEPT = [k for k, (_, label) in enumerate(VOTES) if label is not None]

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def root(tmp_path):
    write_ferplus(tmp_path)
    return tmp_path


def names(root):
    """The test images in the order of their table, those without a majority, too."""
    rows = (root / "FER2013Test" / "label.csv").read_text().splitlines()
    return [row.split(",")[0] for row in rows]


def test_no_lists_no_answer(root):
    assert data.hard_lists("ferplus", root) == {}
    assert data.hard_lists("rendered") == {}


@pytest.mark.parametrize("folder", ["", "FERplus_dir"])
def test_rows_are_those_of_the_loaded_images(root, folder):
    every, place = names(root), root / folder
    place.mkdir(exist_ok=True)
    listed = [every[KEPT[2]], every[KEPT[0]]]
    (place / LISTS["ferplus"]["listed_occluded"]).write_text("".join(f"1_{name} 8 0\n" for name in listed))
    stem = every[KEPT[1]].removesuffix(".png")
    (place / LISTS["ferplus"]["listed_pose_45"]).write_text(f"0/{stem}.jpg\n\n")
    found = data.hard_lists("ferplus", root)
    assert list(found) == ["listed_occluded", "listed_pose_45"]
    assert found["listed_occluded"].nonzero()[:, 0].tolist() == [0, 2]
    assert found["listed_pose_45"].nonzero()[:, 0].tolist() == [1]
    assert len(found["listed_pose_45"]) == len(data.load("ferplus", root, "test"))


def test_an_image_without_a_majority_has_no_row(root):
    every = names(root)
    left_out = next(name for k, name in enumerate(every) if k not in KEPT)
    (root / LISTS["ferplus"]["listed_pose_30"]).write_text(f"{left_out}\n{every[KEPT[0]]}\n")
    assert data.hard_lists("ferplus", root)["listed_pose_30"].sum() == 1


def test_raf_lists_name_the_aligned_images(tmp_path):
    known = write_raf(tmp_path / "raf", "list")
    last = sorted(name for name in known if name.startswith("test"))[-1].rpartition("/")[2].removesuffix(".jpg")
    (tmp_path / "raf" / LISTS["rafdb"]["listed_occluded"]).write_text(f"{last} 3 2\n")
    (tmp_path / "raf" / LISTS["rafdb"]["listed_pose_30"]).write_text(f"3/{last}.jpg\n")
    found = data.hard_lists("rafdb", tmp_path / "raf")
    test = data.splits("rafdb", tmp_path / "raf")["test"]
    assert found["listed_occluded"].tolist() == [False] * (len(test) - 1) + [True]
    assert found["listed_pose_30"].equal(found["listed_occluded"])


@pytest.mark.parametrize(
    ("text", "said"),
    [("fer0032220.png\nsomething else\n", "row 2"), ("0/fer9999999.jpg\n", "no image of the test split")],
)
def test_a_damaged_list_is_one_clear_error(root, text, said):
    file = root / LISTS["ferplus"]["listed_occluded"]
    file.write_text(text)
    with pytest.raises(DataError, match=said) as caught:
        data.hard_lists("ferplus", root)
    assert str(file) in str(caught.value)

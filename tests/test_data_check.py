"""What `fer-teach data check` and `data list` report."""

from __future__ import annotations

import shutil

import pytest
from data_layouts import PER_SPLIT, kaggle_rows, new_rows, write_ferplus, write_rows

from fer_teach.data import DataError, check, names


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_TEACH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FER_TEACH_DATA", raising=False)


@pytest.fixture
def root(tmp_path):
    write_ferplus(tmp_path / "ferplus")
    return tmp_path / "ferplus"


def test_counts_and_duplicates(root):
    shutil.copy(root / "FER2013Train" / "fer0000002.png", root / "FER2013Test" / "fer0000014.png")
    shutil.copy(root / "FER2013Train" / "fer0000002.png", root / "FER2013Test" / "fer0000015.png")
    report = check.check("ferplus", root)
    assert report.sizes == dict.fromkeys(("train", "valid", "test"), PER_SPLIT)
    assert report.counts["train"] == {
        "neutral": 1, "happiness": 1, "surprise": 0, "sadness": 0, "anger": 0, "disgust": 0, "fear": 1, "contempt": 1,
    }  # fmt: skip
    shared = {(pair.first, pair.second): (pair.distinct, pair.in_first, pair.in_second) for pair in report.shared}
    assert shared == {("train", "valid"): (0, 0, 0), ("train", "test"): (1, 1, 2), ("valid", "test"): (0, 0, 0)}
    assert report.unique == 3 * PER_SPLIT - 2
    text = check.report_text("ferplus", root)
    assert "train and test share 1 distinct images: 1 images of train, 2 of test." in text
    assert "happiness" in text
    assert "train has 7 images, 28,558 were published" in text


def test_a_split_that_fails_is_named_and_the_others_are_checked(root):
    (root / "FER2013Valid" / "fer0000008.png").write_bytes(b"")
    report = check.check("ferplus", root)
    assert list(report.counts) == ["train", "test"]
    assert "fer0000008.png" in report.missing["valid"]
    assert "No split 'valid'" in str(report)


def test_unlisted_images_are_odd(root):
    shutil.copy(root / "FER2013Train" / "fer0000002.png", root / "FER2013Train" / "fer0099999.png")
    assert any("fer0099999.png" in sentence for sentence in check.check("ferplus", root).odd)


def test_nothing_there_is_one_error(tmp_path):
    with pytest.raises(DataError) as caught:
        check.report_text("ferplus", tmp_path)
    assert str(caught.value).count("Looked in") == 1
    with pytest.raises(DataError, match="^Unknown data set 'nothing'"):
        check.check("nothing", tmp_path)


def test_fer2013_from_a_table(tmp_path):
    write_rows(tmp_path / "fer2013.csv", kaggle_rows()[0])
    write_rows(tmp_path / "fer2013new.csv", new_rows())
    report = check.check("fer2013", tmp_path)
    assert report.source.endswith("fer2013.csv")
    assert report.sizes == dict.fromkeys(("train", "valid", "test"), PER_SPLIT)
    assert check.check("ferplus", tmp_path).sizes == report.sizes


def test_list_shows_every_known_set(root):
    text = check.list_text(root.parent)
    for name in names(all_known=True):
        assert name in text
    assert f"found in {root}" in text
    assert "not yet supported" in text
    assert "found in" not in check.list_text()

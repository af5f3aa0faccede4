"""Counts on the true FERPlus and FER2013, where FER_TEACH_DATA points to the folder that holds ferplus/."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from fer_teach import data
from fer_teach.data import check

ROOT = Path(os.environ.get("FER_TEACH_DATA") or "nowhere") / "ferplus"
pytestmark = pytest.mark.skipif(
    not (ROOT / "FER2013Train" / "label.csv").is_file(), reason="FER_TEACH_DATA holds no ferplus/FER2013Train/label.csv"
)


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    patch.setenv("FER_TEACH_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


def test_published_counts_and_duplicates():
    report = check.check("ferplus", ROOT)
    assert report.sizes == {"train": 28_558, "valid": 3_579, "test": 3_573}
    assert {split: sum(counts.values()) for split, counts in report.counts.items()} == {
        "train": 25_045, "valid": 3_191, "test": 3_137,
    }  # fmt: skip
    assert report.unique == 33_870
    assert {(pair.first, pair.second): pair.distinct for pair in report.shared if pair.first == "train"} == {
        ("train", "valid"): 269, ("train", "test"): 278,
    }  # fmt: skip
    assert report.odd == []


def test_second_load_is_fast_and_the_same():
    first = data.load("ferplus", ROOT, rule="all")
    start = time.process_time()
    second = data.load("ferplus", ROOT, rule="all")
    assert time.process_time() - start < 2
    assert first.fingerprint == second.fingerprint


@pytest.mark.skipif(not (ROOT / "fer2013_labels.csv").is_file(), reason="no fer2013_labels.csv in the ferplus folder")
def test_fer2013_labels():
    sizes = {split: len(data.load("fer2013", ROOT, split)) for split in ("train", "valid", "test")}
    assert sizes == {"train": 28_514, "valid": 3_573, "test": 3_560}

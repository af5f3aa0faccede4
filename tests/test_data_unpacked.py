"""FERPlus and FER2013 as archives of their folders: the same faces as unpacked, and unsafe archives refused."""

from __future__ import annotations

import io
import re
import shutil
import tarfile
import zipfile

import pytest
from data_layouts import write_ferplus

from fer_teach import data, paths
from fer_teach.data import catalog
from fer_teach.errors import DataError

pytestmark = pytest.mark.usefixtures("own_cache")


def pack(folder, archive, above=""):
    """All files of a folder in a tar or zip, below `above`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as out:
            for path in files:
                out.write(path, above + path.relative_to(folder).as_posix())
    else:
        mode = {".gz": "w:gz", ".xz": "w:xz", ".bz2": "w:bz2"}.get(archive.suffix, "w")
        with tarfile.open(archive, mode) as out:
            for path in files:
                out.add(path, above + path.relative_to(folder).as_posix())


@pytest.fixture
def plain(tmp_path):
    write_ferplus(tmp_path / "plain")
    return tmp_path / "plain"


@pytest.mark.parametrize("name", ["ferplus.tar", "some.tar.gz", "f.tar.xz", "f.tar.bz2", "f.zip"])
@pytest.mark.parametrize("above", ["", "data/ferplus/"])
def test_ferplus_in_an_archive(tmp_path, plain, name, above):
    root = tmp_path / "packed"
    root.mkdir()
    pack(plain, root / name, above)
    for place in (root, root / name):
        for split in ("train", "valid", "test"):
            assert data.load("ferplus", place, split).fingerprint == data.load("ferplus", plain, split).fingerprint
    assert str(root / name) in catalog.table(root, only="ferplus")[0]["state"]


@pytest.fixture
def used(tmp_path, plain):
    """A folder with an archive whose training split was loaded, and where its files lie now."""
    root = tmp_path / "packed"
    root.mkdir()
    pack(plain, root / "ferplus.tar")
    data.load("ferplus", root, "train")
    (unpacked,) = (paths.cache() / "data").glob("unpacked-*")
    return root, unpacked


def test_an_archive_is_unpacked_once(used):
    root, unpacked = used
    before = unpacked.stat().st_mtime_ns
    data.load("ferplus", root, "valid")
    assert [unpacked] == list((paths.cache() / "data").glob("unpacked-*"))
    assert unpacked.stat().st_mtime_ns == before


def test_a_file_lost_beside_the_cache_names_the_folder_to_delete(used):
    root, unpacked = used
    next(unpacked.rglob("FER2013Valid/*.png")).unlink()
    with pytest.raises(DataError, match=re.escape(f"Delete {unpacked} to unpack again")):
        data.load("ferplus", root, "valid")
    shutil.rmtree(unpacked)
    assert len(data.load("ferplus", root, "valid"))


def test_fer2013_labels_beside_or_inside_an_archive(tmp_path, plain):
    names = {split: sorted(p.name for p in (plain / f"FER2013{part}").glob("*.png")) for split, part in
             (("Training", "Train"), ("PublicTest", "Valid"), ("PrivateTest", "Test"))}  # fmt: skip
    rows = [f"{name},{usage},{i % 7}" for usage, listed in names.items() for i, name in enumerate(listed)]
    (plain / "fer2013_labels.csv").write_text("\n".join(["image,Usage,emotion", *rows]))
    expected = {split: data.load("fer2013", plain, split).fingerprint for split in ("train", "valid", "test")}
    inside, beside = tmp_path / "inside", tmp_path / "beside"
    inside.mkdir()
    beside.mkdir()
    pack(plain, inside / "all.tar")
    shutil.move(plain / "fer2013_labels.csv", beside / "fer2013_labels.csv")
    pack(plain, beside / "images.tar")
    for root in (inside, beside):
        assert {split: data.load("fer2013", root, split).fingerprint for split in expected} == expected
    assert catalog.table(inside, only="fer2013")[0]["state"] == f"found in {inside / 'all.tar'}"
    (beside / "fer2013_labels.csv").unlink()
    assert catalog.table(beside, only="fer2013")[0]["state"] == "not found"


def test_an_archive_that_leads_out_of_its_folder_is_refused(tmp_path, plain):
    root = tmp_path / "packed"
    root.mkdir()
    pack(plain, root / "ferplus.tar")
    with tarfile.open(root / "ferplus.tar", "a") as archive:
        info = tarfile.TarInfo("../outside.png")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"bad"))
    with pytest.raises(DataError, match="points outside the folder"):
        data.load("ferplus", root, "train")
    assert not (paths.cache() / "outside.png").exists()


def test_a_cut_off_archive_is_named(tmp_path, plain):
    root = tmp_path / "packed"
    root.mkdir()
    pack(plain, root / "ferplus.tar.gz")
    whole = (root / "ferplus.tar.gz").read_bytes()
    (root / "ferplus.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"ferplus\.tar\.gz is damaged or cut off"):
        data.load("ferplus", root, "train")

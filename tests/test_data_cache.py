"""The cache of decoded arrays: damage, other versions, a full disk, two processes at once, permissions."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import time

import numpy as np
import pytest
import torch
from data_layouts import kaggle_rows, write_ferplus, write_rows

from fer_teach import data
from fer_teach.data import DataError, cache


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_TEACH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FER_TEACH_DATA", raising=False)
    return tmp_path / "cache" / "data"


class Builder:
    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return {"images": np.arange(6000, dtype=np.uint8).reshape(6, 1000), "labels": np.arange(6)}


def entry(folder):
    found = [path for path in folder.iterdir() if not path.name.startswith(".")]
    assert len(found) == 1
    return found[0]


def test_built_once_and_memory_mapped(folder):
    build = Builder()
    for _ in range(3):
        arrays = cache.cached("kind", "0" * 64, build)
    assert build.calls == 1
    assert isinstance(arrays["images"], np.memmap)
    assert (arrays["images"] == build()["images"]).all()
    assert os.listdir(folder) == ["kind-" + "0" * 32]


def test_writing_to_the_arrays_leaves_the_cache_alone():
    cache.cached("kind", "0" * 64, Builder())["images"][:] = 0
    assert cache.cached("kind", "0" * 64, Builder())["images"].any()


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    "damage",
    [
        lambda e: flip(e / "images.npy"),
        lambda e: (e / "images.npy").write_bytes((e / "images.npy").read_bytes()[:-10]),
        lambda e: (e / "labels.npy").unlink(),
        lambda e: (e / "meta.json").unlink(),
        lambda e: (e / "meta.json").write_text("{"),
        lambda e: (e / "meta.json").write_text("[]"),
        lambda e: (e / "meta.json").write_bytes(b"\xff\xfe"),
        lambda e: (e / "meta.json").write_text(
            json.dumps(json.loads((e / "meta.json").read_text()) | {"version": cache.VERSION + 1})
        ),
    ],
    ids=["bit", "cut", "array gone", "meta gone", "no json", "no mapping", "no text", "version"],
)
def test_damaged_or_other_version_is_built_again(folder, damage):
    build = Builder()
    cache.cached("kind", "0" * 64, build)
    damage(entry(folder))
    arrays = cache.cached("kind", "0" * 64, build)
    assert build.calls == 2
    assert (arrays["labels"] == np.arange(6)).all()
    cache.cached("kind", "0" * 64, build)
    assert build.calls == 2
    entry(folder)


def test_a_file_where_the_entry_belongs(folder):
    folder.mkdir(parents=True)
    (folder / ("kind-" + "0" * 32)).write_text("in the way")
    build = Builder()
    for _ in range(2):
        cache.cached("kind", "0" * 64, build)
    assert build.calls == 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_one_clear_error(folder, monkeypatch, code):
    def full(*arguments, **options):
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", full)
        with pytest.raises(DataError, match=r"disk is full: .* MiB .*FER_TEACH_CACHE") as caught:
            cache.cached("kind", "0" * 64, Builder())
    assert str(folder) in str(caught.value)
    assert list(folder.iterdir()) == []
    cache.cached("kind", "0" * 64, Builder())


def test_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FER_TEACH_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"Cannot write .*FER_TEACH_CACHE"):
        cache.cached("kind", "0" * 64, Builder())


def test_leftovers_of_killed_processes_are_removed(folder):
    (folder / ".building-old").mkdir(parents=True)
    os.utime(folder / ".building-old", (0, 0))
    (folder / ".building-now").mkdir()
    cache.cached("kind", "0" * 64, Builder())
    assert sorted(path.name[:13] for path in folder.iterdir()) == [".building-now", "kind-00000000"]


def test_build_error_leaves_nothing(folder):
    def fail():
        raise DataError("no")

    with pytest.raises(DataError, match="no"):
        cache.cached("kind", "0" * 64, fail)
    assert not folder.exists()


def race():
    def build():
        time.sleep(0.2)
        return {"images": np.full((100, 1000), 7, np.uint8)}

    for key in "0123":
        assert (cache.cached("race", key * 64, build)["images"] == 7).all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_processes_build_at_once(folder):
    context = multiprocessing.get_context("fork")
    running = [context.Process(target=race) for _ in range(4)]
    for process in running:
        process.start()
    for process in running:
        process.join(60)
        assert process.exitcode == 0
    assert sorted(path.name[:6] for path in folder.iterdir()) == ["race-0", "race-1", "race-2", "race-3"]


def test_second_load_decodes_nothing(tmp_path, monkeypatch):
    from fer_teach.data import kaggle, pictures

    write_ferplus(tmp_path / "ferplus")
    write_rows(tmp_path / "fer2013.csv", kaggle_rows()[0])
    first = [data.load("ferplus", tmp_path / "ferplus"), data.load("fer2013", tmp_path)]
    monkeypatch.setattr(pictures, "decode_grey", None)
    monkeypatch.setattr(kaggle, "parse_pixels", None)
    second = [data.load("ferplus", tmp_path / "ferplus"), data.load("fer2013", tmp_path)]
    assert [a.fingerprint for a in first] == [b.fingerprint for b in second]
    assert all(torch.equal(a.images, b.images) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("closed", ["fer2013.csv", "ferplus", "ferplus/FER2013Train", "ferplus/FER2013Train/label.csv",
                                    "ferplus/FER2013Train/fer0000003.png"])  # fmt: skip
def test_no_permission(tmp_path, closed, request):
    write_ferplus(tmp_path / "ferplus")
    write_rows(tmp_path / "fer2013.csv", kaggle_rows()[0])
    for path in (tmp_path, *tmp_path.parents[:2]):
        if not os.geteuid():
            os.chmod(path, 0o755)
    os.chmod(tmp_path / closed, 0)
    request.getfixturevalue("nobody")
    name, root = ("fer2013", tmp_path) if closed == "fer2013.csv" else ("ferplus", tmp_path / "ferplus")
    with pytest.raises(DataError, match="(?i)no permission") as caught:
        data.load(name, root)
    assert str(tmp_path / closed) in str(caught.value)

"""A miniature book for tests of the machinery: one chapter that runs in a second."""

import os
import textwrap

import pytest

CHAPTER = '''
# %% tags=["parameters"]
PROFILE = "quick"
DATA = "tiny"
DATA_ROOT = None
SEED = 0

# %% tags=["method"]
FACTOR = 2


def double(x):
    """Twice x."""
    return FACTOR * x


def unrelated(x):
    return x


# %%

from fer_teach.record import begin, record, table



class Tiny(list):
    name, fingerprint = "tiny", "0" * 16


begin("07_tiny", PROFILE, {"train": Tiny([1, 2, 3])}, SEED)
record(doubled=double(SEED), n=3, interval=(0.0, 0.5))
record(exact=7)
table("rows", [{"seed": SEED, "value": 1.5}])
'''


@pytest.fixture
def tiny_book(tmp_path, monkeypatch):
    """A folder with one chapter, 07_tiny, taken for the book's root."""
    from fer_teach import chapters, paths

    for folder in ("notebooks", "baselines", "claims", "results"):
        (tmp_path / folder).mkdir()
    (tmp_path / "notebooks" / "07_tiny.py").write_text(textwrap.dedent(CHAPTER).lstrip())
    monkeypatch.setattr(paths, "root", lambda: tmp_path)
    monkeypatch.setattr(paths, "build", lambda: tmp_path / "_build")
    chapters._read.cache_clear()
    yield tmp_path
    chapters._read.cache_clear()


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache that only this test uses, and no data root from outside."""
    monkeypatch.setenv("FER_TEACH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FER_TEACH_DATA", raising=False)


@pytest.fixture
def nobody():
    """Run as a user who may not read what the test closes."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)

"""The same seed on the same machine gives the same record, time fields aside: every chapter, executed twice."""

import pytest

from fer_teach import chapters, paths, record, runner

TWO = {"jobs": 2, "threads": 1}
pytestmark = pytest.mark.timeout(2400)  # the first test waits for all chapters


@pytest.fixture(scope="module")
def twice(tmp_path_factory):
    """{chapter: (its record, the same again)}; the second is made in a folder of its own, with nothing kept."""
    names, settings = chapters.names(), runner.Settings()
    first = runner.run_all(names, settings, paths.build() / "run", **TWO)  # what the book shows; kept if it is fresh
    threads = {one["device"]["threads"] for one in first}
    again = dict(TWO, threads=threads.pop())
    assert not threads, "the book's chapters ran with different numbers of threads: empty _build/run"
    second = runner.run_all(names, settings, tmp_path_factory.mktemp("again"), **again)
    return {name: pair for name, *pair in zip(names, first, second, strict=True)}


@pytest.mark.parametrize("chapter", chapters.names())
def test_two_quick_runs_agree_to_the_last_digit(chapter, twice):
    for held in twice[chapter]:
        for field in record.TIME_FIELDS:
            del held[field]
        for row in (row for table in held["tables"].values() for row in table):
            row.pop("seconds", None)
    first, second = twice[chapter]
    assert second == first

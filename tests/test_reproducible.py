"""The same seed on the same machine gives the same record, time fields aside: every chapter, executed twice."""

import pytest

from fer_teach import chapters, paths, record, runner


@pytest.mark.parametrize("chapter", chapters.names())
def test_two_quick_runs_agree_to_the_last_digit(chapter, tmp_path):
    first = runner.run(chapter, runner.Settings(), paths.build() / "run")  # what the book shows; kept if it is fresh
    second = runner.run(chapter, runner.Settings(), tmp_path)  # its own folder: nothing kept to fall back on
    for held in (first, second):
        for field in record.TIME_FIELDS:
            del held[field]
        for row in (row for table in held["tables"].values() for row in table):
            row.pop("seconds", None)
    assert second == first

"""What `fer-teach data check` and `data list` report."""

from __future__ import annotations

import os
import re
import shutil
import warnings

import numpy as np
import pytest
import set_layouts as lay
from data_layouts import PER_SPLIT, faces, kaggle_rows, new_rows, png, write_ferplus, write_rows

from fer_teach import cli, paths
from fer_teach.cli import main
from fer_teach.data import DataError, check, load, names, published, summary
from fer_teach.data.catalog import entry

pytestmark = pytest.mark.usefixtures("own_cache")


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
    text = str(check.check("ferplus", root))
    assert "train and test share 1 distinct images: 1 images of train, 2 of test." in text
    assert "happiness" in text
    assert "train has 7 images, 28,558 were published" in text


def test_a_split_that_fails_is_named_and_the_others_are_checked(root):
    (root / "FER2013Valid" / "fer0000008.png").write_bytes(b"")
    report = check.check("ferplus", root)
    assert list(report.counts) == ["train", "test"]
    assert "fer0000008.png" in report.missing["valid"]
    assert "No split 'valid'" in str(report)


def votes_of_eleven(folder):
    table = folder / "label.csv"
    table.write_text(table.read_text().replace(",9,", ",11,", 1))


DAMAGES = {
    "truncated": lambda folder: cut(folder / "fer0000008.png"),
    "empty": lambda folder: (folder / "fer0000008.png").write_bytes(b""),
    "missing": lambda folder: (folder / "fer0000008.png").unlink(),
    "of another size": lambda folder: (folder / "fer0000008.png").write_bytes(png(faces(1)[0][:40])),
    "bad vote": votes_of_eleven,
    "no table": lambda folder: (folder / "label.csv").unlink(),
    "no folder": shutil.rmtree,
}


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_command_fails_on_damage(root, damage, capsys):
    assert main(["data", "check", "ferplus", "--root", str(root)]) == 0
    assert capsys.readouterr().err == ""
    DAMAGES[damage](root / "FER2013Valid")
    assert main(["data", "check", "ferplus", "--root", str(root)]) == 2
    said = capsys.readouterr()
    assert "train and test share" in said.out
    assert "ferplus is not whole.\nNo split 'valid': " in said.err
    assert str(root / "FER2013Valid") in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize("closed", ["FER2013Train", "."])
def test_a_closed_folder_is_one_sentence(root, closed, capsys, request):
    if not os.geteuid():
        for path in (root.parent, *root.parent.parents[:2]):
            os.chmod(path, 0o755)
    os.chmod(root / closed, 0)
    request.getfixturevalue("nobody")
    assert main(["data", "check", "ferplus", "--root", str(root)]) == 2
    said = capsys.readouterr().err
    assert said.count("No permission to read") == said.count("\n") == 1
    assert main(["data", "list", "--root", str(root)]) == 0


def test_a_split_that_a_set_need_not_have_is_no_failure(tmp_path, capsys):
    lay.write_raf(tmp_path / "rafdb", "folders")
    lay.write_sfew(tmp_path / "sfew")
    lay.write_ck48(tmp_path / "ckplus", people=2)
    for name in ("rafdb", "sfew", "ckplus"):
        assert main(["data", "check", name, "--root", str(tmp_path / name)]) == 0
    assert capsys.readouterr().err == ""


def test_a_part_that_the_publisher_gives_must_be_there(tmp_path, capsys):
    lay.write_raf(tmp_path, "folders", 2, 0)
    assert main(["data", "check", "rafdb", "--root", str(tmp_path)]) == 2
    assert "No split 'test'" in capsys.readouterr().err


def test_damage_in_one_part_is_named_and_the_rest_is_counted(tmp_path, capsys):
    lay.write_raf(tmp_path, "folders")
    path = next((tmp_path / "test" / "1").iterdir())
    path.write_bytes(b"")
    assert main(["data", "check", "rafdb", "--root", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert "Width x height" in said.out
    assert f"No split 'test': {path} is empty (0 bytes)" in said.err


def test_unlisted_images_are_odd(root):
    shutil.copy(root / "FER2013Train" / "fer0000002.png", root / "FER2013Train" / "fer0099999.png")
    assert any("fer0099999.png" in sentence for sentence in check.check("ferplus", root).odd)


def test_nothing_there_is_one_error(tmp_path):
    with pytest.raises(DataError) as caught:
        check.check("ferplus", tmp_path)
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
    for name in names():
        assert name in text
    assert f"found in {root}" in text
    assert "found in" not in check.list_text()


# The licensed sets, in miniature --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", lay.WRITERS)
def test_check_counts_and_compares(tmp_path, name):
    lay.WRITERS[name](tmp_path / name)
    report = check.check(name, tmp_path)
    assert report.missing == {}
    assert report.source.startswith("found in")
    assert str(tmp_path / name) in report.source
    whole = load(name, tmp_path, "all", size=16)
    assert sum(report.sizes.values()) == len(whole)
    text = str(check.check(name, tmp_path))
    assert f"Width x height of {len(whole):,} files: " in text
    if name != "coco":
        assert "were published" in text
    if whole.subjects is not None:
        assert report.people == len(whole.subjects.unique())
        assert f"the set has {report.people} subjects" in text.lower()


def test_check_agrees_with_a_whole_ck48(tmp_path):
    """Images are few shades of grey, the names are those of 327 sequences of 118 people."""
    numbers = {"anger": 135, "contempt": 54, "disgust": 177, "fear": 75, "happy": 207, "sadness": 84, "surprise": 249}
    sequence = 0
    for word, images in numbers.items():
        for _ in range(images // 3):
            for frame in (1, 2, 3):
                name = f"S{sequence % 118:03}_{sequence // 118 + 1:03}_{frame:08}.png"
                lay.put(tmp_path / word / name, np.full((48, 48), (sequence * 3 + frame) % 256, np.uint8))
            sequence += 1
    report = check.check("ckplus", tmp_path)
    assert report.agree == [
        "the set has as many images of each class as were published.",
        "the set has 981 images, as published for 327 sequences of three frames.",
        "the set has 118 subjects, as published for 327 sequences of three frames.",
    ]
    assert [sentence for sentence in report.odd if "published" in sentence] == []
    assert report.unique == 256
    assert "images repeat another one of the same split" in str(report)
    next((tmp_path / "fear").iterdir()).unlink()
    odd = " ".join(check.check("ckplus", tmp_path).odd)
    assert "the set has 74 images of fear, 75 were published" in odd
    assert "the set has 980 images, 981 were published" in odd


def test_check_compares_the_published_parts(tmp_path):
    lay.write_raf(tmp_path, "folders")
    odd = " ".join(check.check("rafdb", tmp_path).odd)
    assert "train has 70 images, 12,271 were published" in odd
    assert "test has 14 images, 3,068 were published" in odd


def test_published_numbers_add_up():
    raf = published.PUBLISHED["rafdb"][0]
    assert {part: sum(classes.values()) for part, classes in raf.classes.items()} == {"train": 12_271, "test": 3_068}
    for name in ("ckplus", "jaffe"):
        form = published.PUBLISHED[name][0]
        assert sum(form.classes["all"].values()) == form.total
    assert sum(n for _, n in published.PUBLISHED["celeba"][0].parts.values()) == 202_599


def test_the_closest_form_is_compared():
    counts = {"train": {"fear": 891}, "valid": {"fear": 431}}
    agree, differ = published.compare("sfew", counts)
    assert len(agree) == 2
    assert differ == []


def test_commands(tmp_path, capsys, monkeypatch):
    lay.write_jaffe(tmp_path / "JAFFE", 32)
    assert main(["data", "list", "--root", str(tmp_path)]) == 0
    listed = capsys.readouterr().out
    assert f"found in {tmp_path / 'JAFFE'}" in listed
    assert listed.count("not found") == len(names()) - 2
    for name in names():
        assert f"  {name}: " in listed
    monkeypatch.setenv("FER_TEACH_DATA", str(tmp_path))
    assert main(["data", "check", "jaffe"]) == 0
    assert "10 subjects, as published" in capsys.readouterr().out
    assert main(["data", "check", "sfew"]) == 2
    assert "Access:" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["jaffe", "celeba", "ferplus"])
def test_summary_is_a_figure_of_the_users_copy(tmp_path, name):
    {"jaffe": lay.write_jaffe, "celeba": lay.write_celeba, "ferplus": write_ferplus}[name](tmp_path / name)
    options = {} if name == "ferplus" else {"size": 16}
    figure = summary(name, tmp_path, **options)
    counts, sizes, *means = [axes for part in figure.subfigs for axes in part.axes]
    classes = load(name, tmp_path, **options).classes
    assert [tick.get_text() for tick in counts.get_yticklabels()] == list(classes)
    assert len(means) == len(classes)
    sizes_shown = [tick.get_text() for tick in sizes.get_yticklabels()]
    assert sizes_shown == {"jaffe": ["256 x 256"], "celeba": ["178 x 218"], "ferplus": ["48 x 48"]}[name]


@pytest.mark.parametrize("name", ["rafdb", "sfew"])
def test_summary_of_a_set_that_is_published_in_two_parts(tmp_path, name):
    lay.WRITERS[name](tmp_path / name)
    counts = summary(name, tmp_path, size=16).subfigs[0].axes[0]
    assert [text.get_text().split()[0] for text in counts.get_legend().get_texts()] == ["train", "valid", "test"]


@pytest.mark.parametrize("given", ["~nosuchuser/x", "a" * 300])
def test_a_data_folder_that_cannot_be_is_one_sentence(given, monkeypatch, capsys):
    monkeypatch.setenv("FER_TEACH_DATA", given)
    assert main(["data", "check", "jaffe"]) == 2
    assert given in capsys.readouterr().err


def test_summary_shows_no_mean_of_a_few_and_is_kept_out_of_the_book(tmp_path, capsys):
    lay.write_jaffe(tmp_path / "jaffe", 16)
    assert main(["data", "summary", "jaffe", "--root", str(tmp_path), "--out", str(tmp_path / "x" / "jaffe.png")]) == 0
    assert (tmp_path / "x" / "jaffe.png").stat().st_size > 1000
    figure = summary("jaffe", tmp_path)
    assert not any(axes.images for part in figure.subfigs for axes in part.axes)
    inside = paths.root() / "book" / "jaffe.png"
    assert main(["data", "summary", "jaffe", "--root", str(tmp_path), "--out", str(inside)]) == 2
    assert "inside the book" in capsys.readouterr().err
    assert not inside.exists()


def test_too_few_people_to_split_are_checked_as_a_whole(tmp_path):
    lay.write_ck48(tmp_path, people=2)
    report = check.check("ckplus", tmp_path)
    assert list(report.counts) == ["all"]
    assert report.people == 2
    assert "cannot be split" in report.missing["train"]
    assert "the set has 42 images, 981 were published" in str(report)


@pytest.mark.parametrize("name", [name for name in names() if name != "rendered"])
def test_the_guide_has_every_set(name):
    guide = (paths.root() / "book" / "data_guide.md").read_text()
    row = next(line for line in guide.splitlines() if line.startswith(f"| `{name}` |"))
    assert f"| {entry(name).chapters} |" in row
    if name in lay.WRITERS:
        assert f"fer-teach data check {name} --root" in guide
        assert f"\n{name}/\n" in guide


@pytest.mark.parametrize("name", lay.WRITERS)
def test_the_splits_that_the_guide_loads_are_there(tmp_path, name):
    guide = (paths.root() / "book" / "data_guide.md").read_text()
    lay.WRITERS[name](tmp_path)
    (split,) = set(re.findall(rf'data\.load\("{name}", split="(\w+)".*\)', guide)) - {"all"}
    assert len(load(name, tmp_path, split, size=16))


def test_a_set_says_which_chapters_use_it():
    for path in (paths.root() / "notebooks").glob("0[1-5]_*.py"):
        for name in re.findall(r'tables\.say\("paper", "(\w+)"', path.read_text()):
            assert path.name[:2] in entry(name).chapters.replace("01 to 05", "01, 02, 03, 04, 05"), (path.name, name)
    assert "05" in entry("ckplus").chapters  # that paper's own set


def test_a_warning_is_a_sentence_and_said_once(root, capsys, monkeypatch):
    """As the user reads it: no place in the package, no line of its code, and nothing twice."""
    monkeypatch.setattr(cli, "_data_list", lambda options: [load("ferplus", root, "train") for _ in range(2)] and 0)
    warnings.resetwarnings()
    warnings.simplefilter("always")
    assert main(["data", "list"]) == 0
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 1
    assert re.match(r"fer-teach: .*train.* images", told[0])

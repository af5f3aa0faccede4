"""What a page shows: tables with their own n, figures shown once, sliders, checks in words."""

import json
import math

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch

from fer_teach import chapters, checks, evaluation, figures, record, tables
from fer_teach.errors import FerTeachError
from fer_teach.harder import KINDS, behind_square, behind_squares, harder

NAME = "01_deep_emotion"


class Tiny(list):
    name, fingerprint = "rendered", "0" * 16


@pytest.fixture
def begun(monkeypatch, tmp_path):
    from fer_teach import paths

    monkeypatch.setattr(paths, "results", lambda: tmp_path)
    record.begin(NAME, "quick", {"train": Tiny([1, 2, 3])}, 0)
    yield tmp_path
    record._state.clear()


# Tables -------------------------------------------------------------------------------------------------------------


def test_one_seed_gets_wilson_and_several_get_student(begun):
    one = pd.DataFrame([{"way": "a", "seed": 0, "right": 0.8}])
    low, high = evaluation.wilson(40, 50)
    assert f"80.0 [{100 * low:.1f}, {100 * high:.1f}]" in repr(tables.show("one", one, ["way"], ["right"], n=50))
    several = pd.DataFrame([{"way": "a", "seed": s, "right": 0.8 + s / 100} for s in range(3)])
    mean, low, high = evaluation.seed_interval([0.8, 0.81, 0.82])
    shown = repr(tables.show("several", several, ["way"], ["right"], n=50))
    assert f"{100 * mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]" in shown


def test_two_seeds_show_both_values_and_equal_ones_no_interval(begun):
    frame = pd.DataFrame(
        [
            {"way": w, "seed": s, "right": r}
            for w, rs in (("a", (0.7, 0.8)), ("b", (0.5, 0.5, 0.5)))
            for s, r in enumerate(rs)
        ]
    )
    (table,) = tables.show("few", frame, ["way"], ["right"], n=50).tables
    assert [row["right"] for row in table.rows] == ["75.0 (70.0, 80.0)", "50.0"]
    assert "Two seeds: mean and both values. More seeds: mean with Student's" in table.about
    assert "Wilson" not in table.about


def test_an_interval_of_shares_ends_at_none_and_all():
    assert tables.share([0.9, 0.99, 0.98], 50).endswith(", 100.0]")
    assert tables.value([0.9, 0.99, 0.98]).endswith(", 1.08]")


def test_none_among_words_is_one_row_called_none(begun):
    """pandas makes it nan, which is not equal to itself."""
    frame = pd.DataFrame([{"way": way, "seed": s, "right": 0.5} for way in (None, "image") for s in range(2)])
    (table,) = tables.show("ways", frame, ["way"], ["right"], n=50).tables
    assert [(row["way"], row["seeds"]) for row in table.rows] == [("none", "2"), ("image", "2")]


def test_a_mean_over_classes_counts_no_images(begun):
    one = pd.DataFrame([{"way": "a", "seed": 0, "right": 0.8, "precision": 0.7}])
    (table,) = tables.show("one", one, ["way"], ["right", "precision"], n=50, means=["precision"]).tables
    assert table.rows[0]["precision"] == "70.0"
    assert "[" in table.rows[0]["right"]
    several = pd.DataFrame([{"way": "a", "seed": s, "precision": 0.7 + s / 100} for s in range(3)])
    (table,) = tables.show("several", several, ["way"], ["precision"], n=50, means=["precision"]).tables
    assert "[" in table.rows[0]["precision"]


def test_a_column_keeps_its_own_n_and_the_caption_says_so(begun):
    frame = pd.DataFrame([{"way": None, "seed": 0, "all": 0.5, "few": 0.5, "gone": float("nan")}])
    shown = tables.show("mixed", frame, ["way"], ["all", "few"], n={"all": 1000, "few": 10})
    assert "1,000 images, but 10 for few" in shown._repr_html_()
    assert "none" in shown._repr_html_()
    (row,) = record.current()["tables"]["mixed"]
    assert row["n"] == {"all": 1000, "few": 10}
    assert row["gone"] is None
    assert "NaN" not in json.dumps(record.current())


def test_recorded_tables_stand_below_with_where_they_come_from(begun):
    frame = pd.DataFrame([{"way": "a", "seed": 0, "right": 0.8}])
    tables.show("right", frame, ["way"], ["right"], n=50)
    held = json.loads(json.dumps(record.current())) | {"profile": "paper"}
    held["data"] = held["data"] | {"name": "fer2013"}
    record.write(held, begun / NAME / "paper-fer2013.json")
    stack = tables.show("right", frame, ["way"], ["right"], n=50)
    assert len(stack.tables) == 2
    assert f"paper profile, fer2013, {held['date'][:10]}, revision {held['revision']}" in stack.tables[1].caption


@pytest.mark.parametrize("chapter", chapters.names())
def test_said_paragraphs_hold_no_formula(chapter):
    """They reach the page as CommonMark, which knows no formulas."""
    said = [cell.source for cell in chapters.cells(chapter) if "tables.say(" in cell.source]
    assert not [source for source in said if "$" in source]


def test_prose_takes_numbers_from_records_and_claims_or_says_there_are_none(begun):
    assert "fer-teach run 01_deep_emotion --profile paper" in repr(tables.say("paper", "fer2013", "{right}"))
    record.record(right=0.615, n=100, interval=(0.5, 0.7))
    record.record(count=66857)
    held = json.loads(json.dumps(record.current())) | {"profile": "paper"}
    held["data"] = held["data"] | {"name": "fer2013"}
    record.write(held, begun / NAME / "paper-fer2013.json")
    said = repr(tables.say("paper", "fer2013", "{right} of {count}; printed {fer2013-accuracy}"))
    assert said.startswith("61.5 % [50.0, 70.0] of 66,857; printed 70.02 %")
    assert "61.5 points [50.0, 70.0]" in repr(tables.say("paper", "fer2013", "{right:points}"))
    assert "0.615 [0.5, 0.7]" in repr(tables.say("paper", "fer2013", "{right:plain}"))
    with pytest.raises(FerTeachError, match="nonsense"):
        tables.say("paper", "fer2013", "{nonsense}")
    with pytest.raises(FerTeachError, match="the unit is %, points or plain"):
        tables.say("paper", "fer2013", "{right:point}")
    assert repr(tables.say("paper", "fer2013", "{right:%}")) == "61.5 % [50.0, 70.0]"


def test_shapes_follow_the_layers_in_the_order_they_run():
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.Flatten(), torch.nn.Linear(12, 5)).train()
    shown = tables.shapes(network, torch.zeros(2, 1, 4, 4))
    assert [row["Output"] for row in shown.rows] == ["(B, 1, 4, 4)", "(B, 3, 2, 2)", "(B, 12)", "(B, 5)"]
    assert network.training
    assert not any(layer._forward_hooks for layer in network)


# Figures ------------------------------------------------------------------------------------------------------------


def test_a_figure_is_closed_so_that_a_notebook_shows_it_once():
    faces = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    figures.gallery(faces, ["a", "b", "c"], maps=torch.rand(3, 4, 4))
    figures.confusion([[3, 1], [0, 4]], ("a", "b"))
    figures.curves(
        {"run": [{"epoch": 1, "train_loss": 1.0, "valid_loss": None, "valid_accuracy": 0.5}]}, ("train_loss",)
    )
    figures.intervals(["a", "b"], [0.5, 0.6], [0.4, 0.5], [0.6, 0.7], "share", 0.55, "printed")
    figures.thetas({"all": torch.rand(4, 2, 3)}, {"all": torch.rand(4, 2, 3)})
    assert plt.get_fignums() == []


def test_every_emotion_has_its_own_colour_and_marker():
    styles = [tuple(figures.emotion_style(name).values()) for name in figures.EMOTIONS]
    assert len(set(styles)) == len({s[0] for s in styles}) == len({s[1] for s in styles}) == 8
    assert figures.emotion_style("happy") == figures.emotion_style("happiness")


@pytest.mark.parametrize("who", [record.VARIABLE, "FER_TEACH_TWINS"])
def test_sliders_are_twins_for_the_page_and_live_with_a_kernel(monkeypatch, who):
    def draw(x=0.0):
        return figures.intervals(["a"], [x], [x - 1], [x + 1], "x")

    for name in (record.VARIABLE, "FER_TEACH_TWINS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(who, "somewhere.json")
    (twin,) = figures.sliders(draw, "A dot", x=(-1, 1, 0.5, 0))
    assert len(twin) == 5
    assert 'type="range"' in twin._repr_html_()
    monkeypatch.delenv(who)
    live = figures.sliders(draw, "A dot", x=(-1, 1, 0.5, 0))
    assert live.children[0].max == 1


# Harder images ------------------------------------------------------------------------------------------------------


def test_harder_images_are_harder_in_the_way_that_is_named():
    images = torch.randint(0, 256, (6, 1, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    made = {kind: harder(images, kind, seed=3) for kind in KINDS}
    assert torch.equal(made["upright"], images)
    assert all(x.shape == images.shape and x.dtype == torch.uint8 for x in made.values())
    assert all(torch.equal(made[kind], harder(images, kind, seed=3)) for kind in KINDS)
    assert all(not torch.equal(made[kind], images) for kind in KINDS[1:])
    hidden = (made["occluded"] == 127) & (images != 127)
    assert all(200 < count <= 256 for count in hidden.flatten(1).sum(1).tolist())
    with pytest.raises(FerTeachError, match="upside down"):
        harder(images, "upside down")


def test_a_square_hides_its_place_and_nothing_else():
    images = torch.randint(0, 100, (2, 1, 64, 64), dtype=torch.uint8)
    hidden = behind_square(images, torch.full((2, 2), 31.5), 20)
    assert (hidden[..., 22:42, 22:42] == 127).all()
    assert int((hidden != images).sum()) == 2 * 400


def test_training_squares_hide_their_part_of_the_faces():
    x = torch.zeros(400, 1, 32, 32)
    made = behind_squares(x, torch.Generator().manual_seed(3))
    touched = (made != 0).flatten(1).any(1)
    assert 0.5 < touched.float().mean() < 0.7
    assert (made != 0).float().mean((1, 2, 3))[touched].max() < 0.57**2
    assert torch.equal(made, behind_squares(x, torch.Generator().manual_seed(3)))


# Checks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theta", "words"),
    [
        ([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]], "other way round"),
        ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], "no quarter turn"),
        ([[0.0, -1.0, 0.5], [1.0, 0.0, 0.0]], "last column"),
    ],
)
def test_a_wrong_turn_is_told_in_words(theta, words):
    from fer_teach import chapters

    chapter = chapters.load(NAME)
    with pytest.raises(checks.Wrong, match=words):
        checks.quarter_turn(lambda: torch.tensor([theta]), chapter.affine_grid, chapter.bilinear_sample)
    with pytest.raises(checks.Wrong, match="nothing yet"):
        checks.quarter_turn(lambda: None, chapter.affine_grid, chapter.bilinear_sample)


def test_the_planted_bug_is_found():
    def planted(images, grid):
        height, width = images.shape[-2:]
        column, row = (((grid[..., i] + 1) * side - 1) / 2 for i, side in enumerate((height, width)))
        batch = torch.arange(len(images))[:, None, None]
        return images[batch, :, row.round().long(), column.round().long()].permute(0, 3, 1, 2)

    with pytest.raises(checks.Wrong, match="32 by 48"):
        checks.nearest_sample(planted)


def test_counts_must_be_all_of_them():
    with pytest.raises(checks.Wrong, match="should be"):
        checks.possible_counts(lambda percent, n, digits: [round(percent * n / 100)])
    with pytest.raises(checks.Wrong, match="nothing yet"):
        checks.possible_counts(lambda percent, n, digits: None)


def test_counts_may_be_rounded_half_up():
    def answer(percent, n, digits):
        return [k for k in range(n + 1) if math.floor(100 * k / n * 10**digits + 0.5) == round(percent * 10**digits)]

    checks.possible_counts(answer)

"""The slider without a kernel: what its HTML holds. How it moves is tested in tests/browser."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import matplotlib

matplotlib.use("agg")

import pytest
from matplotlib import pyplot
from PIL import Image

from fer_teach.twin import flat, twin


def png(colour="white", size=(40, 30)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


class Tags(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.open, self.found = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in ("img", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attrs for name, attrs in self.found if name == tag]


def decoded(attrs) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(attrs["src"].split(",", 1)[1])))


def test_one_picture_shows_at_the_start_and_each_has_its_text():
    made = twin(
        [(d, png()) for d in (-10, 0, 10)], "angle", lambda label: f"A mesh turned by {label} degrees.", start=1
    )
    tags = Tags(made._repr_html_())
    assert tags.open == []
    images = tags.all("img")
    assert [image["alt"] for image in images] == [f"A mesh turned by {d} degrees." for d in (-10, 0, 10)]
    assert ["hidden" in image for image in images] == [True, False, True]
    (slider,) = tags.all("input")
    assert (slider["type"], slider["min"], slider["max"], slider["value"]) == ("range", "0", "2", "1")
    assert slider["aria-valuetext"] == "0"
    assert len(made) == 3
    assert repr(made) == "angle: 3 pictures, from -10 to 10"


def test_nothing_has_an_id_or_another_address_so_a_twin_may_stand_twice_on_a_page():
    html = twin([("a", png()), ("b", png())], "x", ["The letter a.", "The letter b."])._repr_html_()
    assert not re.search(r"\sid=|https?:|url\(", html)
    assert html == twin([("a", png()), ("b", png())], "x", ["The letter a.", "The letter b."])._repr_html_()


def test_text_is_escaped():
    html = twin([('<b>"1"</b>', png())], "a & b", ['x < y, said "z"'])._repr_html_()
    tags = Tags(html)
    assert tags.all("b") == []
    assert tags.all("img")[0]["alt"] == 'x < y, said "z"'
    assert tags.all("img")[0]["data-label"] == '<b>"1"</b>'


def test_figures_are_drawn_on_white_and_closed():
    figure = pyplot.figure(figsize=(2, 1), dpi=100)
    figure.patch.set_alpha(0)
    image = decoded(Tags(twin([("a", figure)], "x", ["An empty figure."])._repr_html_()).all("img")[0])
    assert image.size == (200, 100)
    assert image.convert("RGB").getpixel((3, 3)) == (255, 255, 255)
    assert not pyplot.fignum_exists(figure.number)


def test_transparent_pictures_are_laid_on_white_and_wide_ones_made_narrower():
    clear = Image.new("RGBA", (2400, 1000), (0, 0, 0, 0))
    (attrs,) = Tags(twin([clear], "x", ["Nothing at all."], labels=["a"])._repr_html_()).all("img")
    image = decoded(attrs)
    assert image.size == (1200, 500) == (int(attrs["width"]), int(attrs["height"]))
    assert image.convert("RGB").getpixel((5, 5)) == (255, 255, 255)


def test_fewer_colours_where_one_cannot_tell():
    grey = Image.linear_gradient("L").convert("RGB")
    assert flat(grey).mode == "P"
    noise = Image.effect_noise((64, 64), 90)
    colours = Image.merge("RGB", [noise, noise.rotate(90), noise.rotate(180)])
    assert flat(colours).mode == "RGB"


@pytest.mark.parametrize(
    ("frames", "options", "says"),
    [
        ([], {"alt": []}, "at least one"),
        ([("a", png())], {"alt": ["A picture."], "start": 1}, "start"),
        ([("a", png())], {"alt": ["A picture."], "start": -1}, "start"),
        ([("a", png()), ("b", png())], {"alt": ["A picture."]}, "every one of the 2"),
        ([("a", png())], {"alt": lambda label: " "}, "says what it shows"),
        ([png()], {"alt": ["A picture."], "labels": ["a", "b"]}, "zip"),
    ],
)
def test_what_is_missing_is_named(frames, options, says):
    with pytest.raises(ValueError, match=says):
        twin(frames, "x", **options)

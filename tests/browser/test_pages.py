"""Every page of the published book, in a real browser: whole, nothing foreign in it, readable and reachable by all."""

from __future__ import annotations

import re

import pytest
from axe_playwright_python.base import AXE_SCRIPT

from fer_teach import paths, publish

from .conftest import DESK, PHONE

pytestmark = pytest.mark.browser
CHAPTERS = [f"notebooks/{name}.html" for name in publish.chapters()]
PAGES = ["index.html", "search.html", *(f"{name}.html" for name in publish.pages() if name != publish.pages()[0])]
LIMIT = 2_000_000


def problems(tab) -> list[str]:
    """What axe-core calls serious or critical on the page in this tab, with where and why."""
    tab.evaluate(AXE_SCRIPT)
    found = tab.evaluate("axe.run(document, {resultTypes: ['violations'], preload: false})")
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def test_every_page_of_the_contents_is_there(site):
    assert [page for page in PAGES if not (site / page).is_file()] == []


@pytest.mark.parametrize("page", PAGES)
def test_light_on_a_desk(page, visit):
    seen = visit(page)
    assert seen.errors == []
    assert seen.failed == []
    assert seen.foreign == [], "a page asks another host"
    assert sum(seen.sizes.values()) < LIMIT, sorted(seen.sizes.items(), key=lambda item: -item[1])[:8]
    assert problems(seen.tab) == []
    blank = """() => [...document.querySelectorAll('.fas, .fab, .fa-solid, .fa-brands')].map(icon => [
        icon.className, getComputedStyle(icon, '::before').content]).filter(icon => /none|normal/.test(icon[1]))"""
    assert seen.tab.evaluate(blank) == [], "an icon that is not in book/_vendor/icons"


@pytest.mark.parametrize("page", PAGES)
def test_dark_on_a_phone(page, visit):
    seen = visit(page, PHONE, "dark")
    assert seen.errors == []
    assert seen.foreign == []
    assert seen.tab.evaluate("document.documentElement.dataset.theme") == "dark"
    wide = seen.tab.evaluate("""() => {
        const page = document.documentElement, limit = page.clientWidth;
        return page.scrollWidth > limit ? [...document.querySelectorAll('.bd-article *')].filter(
            part => part.getBoundingClientRect().right > limit + 1).slice(0, 5).map(part => part.outerHTML) : null }""")
    assert wide is None, "the page scrolls sideways"
    shrunk = """() => [...document.querySelectorAll('.cell_output img')].filter(figure => figure.naturalWidth
        && !figure.closest('[hidden], .ft-twin') && figure.clientWidth < 0.59 * figure.naturalWidth).map(f => f.alt)"""
    assert seen.tab.evaluate(shrunk) == [], "a figure too small to read its words"
    seen.tab.mouse.move(200, 400)
    assert seen.tab.evaluate("(scrollTo(500, 0), scrollX)") == 0
    assert problems(seen.tab) == []


@pytest.mark.parametrize("page", PAGES)
def test_every_picture_says_what_it_shows(page, visit):
    seen = visit(page)
    pictures = seen.tab.evaluate("""() => [...document.images].map(image => ({
        alt: image.getAttribute('alt'), source: image.src.slice(0, 80), figure: !!image.closest('.bd-article'),
        empty: !image.hidden && image.complete && image.naturalWidth === 0 }))""")
    for picture in pictures:
        alt = (picture["alt"] or "").strip()
        assert alt, picture
        assert not re.search(r"\.(png|svg|webp|jpe?g)\b|^[0-9a-f]{32,}|[/\\]", alt), picture
        assert not picture["empty"], picture
        if picture["figure"]:
            assert len(alt) >= 20, picture
            assert len(alt.split()) >= 4, picture


@pytest.mark.parametrize("page", CHAPTERS)
def test_math_is_typeset(page, visit):
    tab = visit(page).tab
    written = tab.locator(".bd-article .math").count()
    assert written > 0
    assert tab.locator(".bd-article mjx-container").count() >= written
    assert tab.locator("mjx-merror, [data-mjx-error]").count() == 0
    assert tab.evaluate("document.querySelector('mjx-container').getBoundingClientRect().height") > 5


@pytest.mark.parametrize("page", CHAPTERS)
def test_colab_opens_the_notebook_beside_the_chapter(page, visit):
    url, branch = publish.repository()
    link = visit(page).tab.locator('a[href*="colab.research.google.com"]')
    name = page.removesuffix(".html")
    assert link.first.get_attribute("href") == (
        f"https://colab.research.google.com/github/{url.removeprefix('https://github.com/')}/blob/{branch}/{name}.ipynb"
    )


@pytest.mark.parametrize("page", CHAPTERS)
def test_twins_move_under_the_keyboard_and_the_mouse(page, visit):
    tab = visit(page).tab
    twins = tab.locator("figure.ft-twin")
    assert twins.count() > 0
    for index in range(twins.count()):
        twin = twins.nth(index)
        slider = twin.get_by_role("slider")
        shown = twin.locator("img:visible")
        last = int(slider.get_attribute("max"))
        slider.scroll_into_view_if_needed()
        slider.focus()
        slider.press("Home")
        labels = [shown.get_attribute("data-label")]
        slider.press("ArrowRight")
        labels.append(shown.get_attribute("data-label"))
        slider.press("End")
        labels.append(shown.get_attribute("data-label"))
        every = [image.get_attribute("data-label") for image in twin.locator("img").all()]
        assert labels == [every[0], every[1], every[last]]
        assert slider.get_attribute("aria-valuetext") == twin.locator("output").inner_text() == every[last]
        assert twin.locator("[aria-live=polite]").text_content() == shown.get_attribute("alt")
        box = slider.bounding_box()
        tab.mouse.click(box["x"] + 3, box["y"] + box["height"] / 2)
        assert shown.count() == 1
        assert shown.get_attribute("data-label") == every[0]
        tab.mouse.down()
        tab.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2, steps=4)
        tab.mouse.up()
        assert shown.get_attribute("data-label") == every[last]


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_twin_shows_one_picture_without_scripts(page, visit):
    tab = visit(page, scripts=False).tab
    twin = tab.locator("figure.ft-twin").first
    assert twin.locator("img:visible").count() == 1
    assert not twin.get_by_role("slider").is_visible()


@pytest.mark.parametrize("page", CHAPTERS)
def test_a_chapter_is_readable_without_what_needs_a_kernel(page, visit):
    tab = visit(page).tab
    assert tab.locator('script[type*="widget"]').count() == 0
    assert tab.locator("text=Error displaying widget").count() == 0
    solutions = tab.locator(".tag_exercise details")
    assert solutions.count() == tab.locator(".tag_exercise").count() > 0
    assert not solutions.first.evaluate("details => details.open")
    solutions.first.locator("summary").click()
    assert solutions.first.evaluate("details => details.open")


def test_search_finds_a_chapter(visit):
    seen = visit("search.html?q=transformer")
    seen.tab.locator("#search-results li").first.wait_for()
    hits = seen.tab.locator("#search-results li a").evaluate_all(
        "links => links.map(link => link.getAttribute('href'))"
    )
    assert any("01_deep_emotion" in hit for hit in hits)
    assert seen.errors == []
    assert seen.failed == []


def test_one_search_field_is_seen(visit):
    tab = visit("index.html", DESK).tab
    assert tab.locator("input[type=search]:visible, .search-button-field:visible").count() == 1


def test_links_between_the_pages_lead_somewhere(site):
    broken = []
    for page in PAGES:
        text = (site / page).read_text()
        for target in set(re.findall(r'href="([^"#?:]+)(?:[#?][^"]*)?"', text)):
            if not ((site / page).parent / target).exists():
                broken.append(f"{page}: {target}")
    assert broken == []


def test_no_private_path_is_published(site):
    private = [str(paths.root().resolve()), str(paths.build().resolve())]
    assert [page for page in PAGES if any(path in (site / page).read_text() for path in private)] == []

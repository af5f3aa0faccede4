"""A site made light: style sheets without the rules that no page can use, figures as WebP, code with fewer tags."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

_SHEETS = ("styles/bootstrap.css", "styles/pydata-sphinx-theme.css", "sphinx-design.min.css", "mystnb.*.css")
_CLASS = re.compile(r"\.(-?[A-Za-z_][\w-]*)")
_WRITTEN = re.compile(r"data:image/webp;base64,([\w+/=]{400,})")
_PLAIN = re.compile(r'<span class="[npw]">([^<]*)</span>')  # a name, punctuation, a space
_TOKEN = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[{};]|[^\"'{};]+")


def unspan(site: Path) -> None:
    """Take code's words out of a span where the style sheets give them the colour of plain text in any theme."""
    for page in site.rglob("*.html"):
        page.write_text(_PLAIN.sub(r"\1", page.read_text()))


def slim(site: Path) -> None:
    """Shorten the theme's style sheets in a built site, in place.

    A rule stays if every class that it names stands, as a word, in some page or script of the site; so classes that a
    script sets later are kept. Comments go.
    """
    static = site / "_static"
    sources = [*site.rglob("*.html"), *static.rglob("*.js")]
    words = set(re.findall(r"-?[A-Za-z_][\w-]*", " ".join(path.read_text(errors="ignore") for path in sources)))
    for path in (found for sheet in _SHEETS for found in static.glob(sheet)):
        path.write_text(_shortened(re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL), words))


def pack_pictures(site: Path) -> None:
    """Make every PNG of a built site a WebP, on white, lay pictures written into a page beside it, and link them.

    Charts keep every pixel. Faces, which would take half as much again or more that way, lose what nobody sees. A
    picture that stands in a page as base64 takes a third more than as a file.
    """
    from PIL import Image

    from fer_teach.twin import flat, webp

    folder, names = site / "_images", {}
    for path in sorted(folder.glob("*.png")):
        figure = flat(Image.open(path)).convert("RGB")
        exact, close = webp(figure, lossless=True), webp(figure, quality=80)
        names[path.name] = _file(folder, exact if len(exact) < 1.5 * len(close) else close)
        path.unlink()
    for page in site.rglob("*.html"):
        text = re.sub(r"(?<=_images/)[\w-]+\.png", lambda found: names.get(found[0], found[0]), page.read_text())
        up = "../" * (len(page.relative_to(site).parts) - 1)
        page.write_text(_WRITTEN.sub(lambda found, up=up: f"{up}_images/{_file(folder, b64decode(found[1]))}", text))


def _file(folder: Path, content: bytes) -> str:
    folder.mkdir(exist_ok=True)
    name = f"{sha256(content).hexdigest()[:16]}.webp"
    (folder / name).write_bytes(content)
    return name


def _shortened(sheet: str, words: set[str]) -> str:
    kept = []
    for prelude, body in _rules(sheet):
        if body is None:
            kept.append(f"{prelude};")
        elif prelude.startswith(("@media", "@supports", "@layer")):
            inside = _shortened(body, words)
            if inside:
                kept.append(f"{prelude}{{{inside}}}")
        elif prelude.startswith("@"):
            kept.append(f"{prelude}{{{body}}}")
        else:
            selectors = [one for one in _selectors(prelude) if _usable(one, words)]
            if selectors:
                kept.append(f"{','.join(selectors)}{{{body}}}")
    return "\n".join(kept)


def _rules(sheet: str) -> Iterator[tuple[str, str | None]]:
    """Yield prelude and body of each rule on the outermost level; the body is None for a statement such as @import."""
    prelude, body, depth = "", "", 0
    for token in _TOKEN.findall(sheet):
        depth += (token == "{") - (token == "}")
        if token == "{" and depth == 1:
            continue
        if token == "}" and depth == 0:
            yield " ".join(prelude.split()), " ".join(body.split())
            prelude = body = ""
        elif depth:
            body += token
        elif token == ";":
            yield " ".join(prelude.split()), None
            prelude = ""
        else:
            prelude += token


def _selectors(prelude: str) -> list[str]:
    """Split a list of selectors at the commas that stand in no bracket."""
    parts, depth = [""], 0
    for sign in prelude:
        depth += (sign in "([") - (sign in ")]")
        if sign == "," and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts]


def _usable(selector: str, words: set[str]) -> bool:
    if "\\" in selector or re.search(r":(is|where|has)\(", selector):
        return True
    plain = re.sub(r":not\([^)]*\)|\[[^\]]*\]", "", selector)
    return all(name in words for name in _CLASS.findall(plain))

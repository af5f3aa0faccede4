"""Fetch the vendored parts of the pages again, from npm, at the versions pinned here (`make vendor`).

The folders beside this file are committed, so a build of the book needs no network for them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
_MATHJAX = [
    "startup.js",
    "core.js",
    "input/tex-base.js",
    *(f"input/tex/extensions/{name}.js" for name in ("ams", "boldsymbol")),
    "output/chtml.js",
    "output/chtml/fonts/tex.js",
    "output/chtml/fonts/woff-v2/*.woff",
    "a11y/assistive-mml.js",
]
# npm package, version, folder inside it, files, folder here
PARTS = [
    ("mathjax", "3.2.2", "es5", _MATHJAX, "mathjax"),
    (
        "@fontsource-variable/source-serif-4",
        "5.3.1",
        "files",
        ["source-serif-4-latin-wght-normal.woff2", "source-serif-4-latin-wght-italic.woff2"],
        "fonts/source-serif-4",
    ),
    (
        "@fontsource-variable/source-sans-3",
        "5.3.0",
        "files",
        ["source-sans-3-latin-wght-normal.woff2"],
        "fonts/source-sans-3",
    ),
]


# The icons that the theme draws; Font Awesome whole, with its script, would weigh two megabytes a page.
ICONS = ("@fortawesome/fontawesome-free", "6.5.2")
FONTS = {
    "fa-solid-900": """angle-down angle-left angle-right angle-up angles-right arrow-up bars chevron-down chevron-right
        chevron-up circle-half-stroke circle-info compress download expand file file-pdf lightbulb link list
        magnifying-glass magnifying-glass-minus moon pencil play rocket sun triangle-exclamation xmark""",
    "fa-brands-400": "github",
}


def fetch(package: str, version: str, folder: str, patterns: list[str], target: Path) -> int:
    """Copy the files of one npm package that match, and its licence; return how many files there are."""
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(["npm", "pack", "--silent", f"{package}@{version}"], cwd=scratch, check=True)
        with tarfile.open(next(Path(scratch).glob("*.tgz"))) as archive:
            archive.extractall(scratch, filter="data")
        source = Path(scratch) / "package"
        shutil.rmtree(target, ignore_errors=True)
        for pattern in patterns:
            found = sorted((source / folder).glob(pattern))
            if not found:
                raise SystemExit(f"{package}@{version} holds no {folder}/{pattern}")
            for path in found:
                copy = target / path.relative_to(source / folder)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(path.read_bytes())
        licence = next(path for path in (source / "LICENSE", source / "LICENSE.txt") if path.is_file())
        (target / "LICENSE.txt").write_bytes(licence.read_bytes())
    return sum(1 for path in target.rglob("*") if path.is_file())


def icons(target: Path) -> int:
    """Cut the icons named above out of Font Awesome's fonts, with the rules that draw them; return their number."""
    from fontTools import subset

    rules = []
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch) / "fa"
        fetch(*ICONS, ".", ["css/all.css", *(f"webfonts/{font}.ttf" for font in FONTS)], whole)
        sheet = (whole / "css" / "all.css").read_text()
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for font, names in FONTS.items():
            codes = {name: _code(sheet, name) for name in names.split()}
            cut = [f"--unicodes={','.join(codes.values())}", "--flavor=woff", f"--output-file={target / font}.woff"]
            subset.main([str(whole / "webfonts" / f"{font}.ttf"), *cut])
            rules += [f'.fa-{name}::before {{ content: "\\{code}"; }}' for name, code in codes.items()]
        (target / "LICENSE.txt").write_bytes((whole / "LICENSE.txt").read_bytes())
    (target / "icons.css").write_text("/* Made by ../refresh.py from Font Awesome Free. */\n" + "\n".join(rules) + "\n")
    return len(rules)


def _code(sheet: str, name: str) -> str:
    found = re.search(rf'\.fa-{name}::?before\s*(?:,[^{{]*)?{{\s*content:\s*"\\(\w+)"', sheet)
    if not found:
        raise SystemExit(f"Font Awesome {ICONS[1]} has no icon {name}")
    return found.group(1)


if __name__ == "__main__":
    for package, version, folder, patterns, target in PARTS:
        print(f"{package}@{version}: {fetch(package, version, folder, patterns, HERE / target)} files")
    print(f"{'@'.join(ICONS)}: {icons(HERE / 'icons')} icons")

"""What the book asks of Sphinx beyond jupyter-book: the repository's address, vendored files, chapters as pages."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

from docutils import nodes
from fer_slim import pack_pictures, slim, unspan
from sphinx.util import logging

_VENDORED = Path(__file__).resolve().parent.parent / "_vendor"
_WIDGET = "application/vnd.jupyter.widget-view+json"
_CLAIMS = "<!-- claims -->"
_VERDICTS = "<!-- verdicts -->"
_DATASHEET = "<!-- composition -->"
_PROMPTS = {
    "exercise": ("Show one solution", "Hide the solution"),
    "injected-parameters": ("Show the parameters of this run", "Hide the parameters"),
    "parameters": ("Show the parameters", "Hide the parameters"),
}


def fill_in(app, docname: str, source: list[str]) -> None:
    """Put address, claims and the datasheet's counts into a page's source; make an executed chapter fit for a page."""
    theme = app.config.html_theme_options
    if app.env.doc2path(docname).endswith(".ipynb"):
        source[0] = for_the_page(source[0])
        return
    if _CLAIMS in source[0]:
        from fer_teach import claims

        source[0] = claims.page()
    if _VERDICTS in source[0]:
        from fer_teach import verdicts

        source[0] = verdicts.page()
    if _DATASHEET in source[0]:
        from fer_teach import datasheet

        source[0] = datasheet.fill(source[0])
    source[0] = source[0].replace("@repository@", theme["repository_url"])
    source[0] = source[0].replace("@folder@", theme["repository_url"].rstrip("/").rsplit("/", 1)[-1])
    source[0] = source[0].replace("@branch@", theme["repository_branch"])


def for_the_page(text: str) -> str:
    """Fold a notebook's solutions and parameters, and drop what only a kernel can show.

    text: a notebook as JSON. Widgets do nothing on a page, so their state and their views go; an output that has
    another form (a picture, HTML) keeps it.
    """
    notebook = json.loads(text)
    notebook["metadata"].pop("widgets", None)
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        metadata = cell["metadata"]
        tags = metadata.setdefault("tags", [])
        for tag, (show, hide) in _PROMPTS.items():
            if tag in tags:
                metadata["tags"] = tags = [*tags, *({"hide-input"} - set(tags))]
                metadata["mystnb"] = {"code_prompt_show": show, "code_prompt_hide": hide, **metadata.get("mystnb", {})}
        cell["outputs"] = [output for output in cell["outputs"] if not _only_a_widget(output)]
    return json.dumps(notebook)


def _only_a_widget(output: dict) -> bool:
    data = output.get("data", {})
    return data.pop(_WIDGET, None) is not None and set(data) <= {"text/plain"}


def tagged_equations(app, document) -> None:
    """Let an equation of several rows carry a tag: Sphinx would wrap it in a `split`, in which MathJax allows none."""
    for node in document.findall(nodes.math_block):
        text = node.astext()
        if "\\tag" in text and "\\\\" in text and not node.get("nowrap"):
            node["nowrap"] = True
            node.children = [nodes.Text(f"\\[{text.strip()}\\]")]


def trim(app, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Load MathJax on pages with equations alone, and mend the roles that docutils gives to a bibliography."""
    if doctree is None or not any(doctree.findall(lambda node: isinstance(node, (nodes.math, nodes.math_block)))):
        scripts = context["script_files"]
        scripts[:] = [script for script in scripts if "mathjax" not in f"{script}{script.attributes}".lower()]
    if "sd-" not in context.get("body", ""):
        context["css_files"][:] = [sheet for sheet in context["css_files"] if "sphinx-design" not in f"{sheet}"]
    if "citation-list" in context.get("body", ""):
        context["body"] = re.sub(r' role="(?:list|doc-biblioentry)"', "", context["body"])


def add_vendored(app) -> None:
    """Serve book/_vendor under _static/; named in _config.yml, its scripts would load on every page."""
    app.config.html_static_path.append(str(_VENDORED))


def drop_unused(app, exception) -> None:
    """Leave out of the site what no page loads: Font Awesome whole, source maps, the script beside the vendored."""
    if exception is None and app.builder.format == "html":
        static = Path(app.outdir) / "_static"
        shutil.rmtree(static / "vendor" / "fontawesome", ignore_errors=True)
        for path in [*static.rglob("*.map"), static / "refresh.py"]:
            path.unlink(missing_ok=True)
        logging.getLogger(__name__).info("making the site light ...")  # fer_teach.publish shows this line
        for lighten in (slim, unspan, pack_pictures):
            lighten(Path(app.outdir))


def setup(app) -> dict:
    """Connect the above. Chapters that the builder itself runs draw sliders for a page (`fer_teach.figures.live`)."""
    os.environ["FER_TEACH_TWINS"] = "1"
    app.connect("builder-inited", add_vendored)
    app.connect("source-read", fill_in)
    app.connect("doctree-read", tagged_equations)
    app.connect("html-page-context", trim, priority=900)
    app.connect("build-finished", drop_unused, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

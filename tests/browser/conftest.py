"""The published book, served on this machine alone, and a Chromium to read it with."""

from __future__ import annotations

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fer_teach import paths

from . import chromium

PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


class Visit:
    """One page opened in a new tab: what it asked for, what went wrong, and the tab itself."""

    def __init__(self, context, address: str, path: str):
        self.foreign, self.failed, self.errors, self.sizes = [], [], [], {}
        self.host = address
        self.tab = context.new_page()
        self.tab.route("**/*", self._route)
        self.tab.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        self.tab.on("requestfailed", lambda request: self.failed.append(request.url))
        self.tab.on("response", self._response)
        self.tab.goto(f"{address}/{path}")  # until its load event: on a busy machine the network may idle before that
        self.tab.wait_for_load_state("networkidle")

    def _route(self, route) -> None:
        if route.request.url.startswith((self.host + "/", "data:", "blob:")):
            route.continue_()
        else:
            self.foreign.append(route.request.url)
            route.abort()

    def _response(self, response) -> None:
        if response.url.startswith("data:"):
            return
        if response.status >= 400:
            self.failed.append(f"{response.status} {response.url}")
        else:
            self.sizes[response.url] = int(response.headers["content-length"])


@pytest.fixture(scope="session")
def site() -> Path:
    folder = paths.build() / "html"
    if not (folder / "index.html").is_file():
        pytest.fail(f"There is no book in {folder}; `make book` makes it, and `make test` calls that first.")
    return folder


@pytest.fixture(scope="session")
def address(site):
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    path = chromium.install()
    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=path, args=chromium.FLAGS)
        yield running
        running.close()


@pytest.fixture
def visit(browser, address):
    """visit(path, viewport=DESK, scheme="light") -> Visit; its tab is closed after the test."""
    contexts = []

    def open_page(path: str, viewport=DESK, scheme: str = "light", scripts: bool = True) -> Visit:
        context = browser.new_context(viewport=viewport, color_scheme=scheme, java_script_enabled=scripts)
        contexts.append(context)
        return Visit(context, address, path)

    yield open_page
    for context in contexts:
        context.close()

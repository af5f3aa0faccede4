"""Find a Chromium for the browser tests, or install one: `python tests/browser/chromium.py` prints its path."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def find() -> str | None:
    """Path of a Chromium or Chrome on this machine, or None: the one in $CHROMIUM, a system one, Playwright's own."""
    chosen = os.environ.get("CHROMIUM")
    if chosen:
        return shutil.which(chosen)
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    return found or _playwrights()


def install() -> str:
    """Return a Chromium's path, installing one where there is none. Raises RuntimeError that says what was tried."""
    found = find()
    tried = []
    for command in _ways() if not found else ():
        print("installing Chromium:", " ".join(command), file=sys.stderr, flush=True)
        done = subprocess.run(command, capture_output=True, text=True)
        found = find() if done.returncode == 0 else None
        if found:
            break
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
        tried.append(f"  {' '.join(command)}: {last[0]}")
    if not found:
        raise RuntimeError(
            "The browser tests need Chromium, and there is none. Install the package `chromium` or set CHROMIUM to its "
            "path.\n" + "\n".join(["Tried:", *tried])
        )
    return found


def _ways() -> list[list[str]]:
    ways = []
    if shutil.which("apt-get"):
        prefix = [] if os.geteuid() == 0 else ["sudo", "-n"]
        if not prefix or shutil.which("sudo"):
            get = "DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends chromium"
            ways.append([*prefix, "sh", "-c", f"apt-get update -q && {get}"])
    ways.append([sys.executable, "-m", "playwright", "install", "--with-deps", "chromium"])
    ways.append([sys.executable, "-m", "playwright", "install", "chromium"])
    return ways


def _playwrights() -> str | None:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    with sync_playwright() as play:
        path = play.chromium.executable_path
    return path if Path(path).is_file() else None


if __name__ == "__main__":
    print(install())

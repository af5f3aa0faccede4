"""One progress bar for everything the data package does once."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from tqdm import tqdm


def progress(items: Iterable, what: str, total: int | None = None, unit: str = "image") -> Iterable:
    """Pass `items` on; after half a second draw a bar on stderr, removed when done. Into a log it writes rarely."""
    often = 0.1 if sys.stderr.isatty() else 10
    return tqdm(items, desc=what, total=total, unit=unit, delay=0.5, leave=False, mininterval=often)

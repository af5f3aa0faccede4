"""Make the data set `rendered`: render its splits, then pack them for `fer_teach.data`."""

from __future__ import annotations

from pathlib import Path

from fer_teach.data import packed
from fer_teach.data.rendered import file_of
from fer_teach.faces.produce import collect, produce

SEED = 2026
SPLITS = {  # faces, first person; the gaps keep people apart
    "train": {"count": 7560, "first_subject": 0},
    "valid": {"count": 1020, "first_subject": 10_000},
    "test": {"count": 1440, "first_subject": 20_000},
    "gallery": {"count": 240, "first_subject": 30_000, "size": 192, "zoom": 1.3, "colour": True, "balanced": True},
}


def make(folder: str | Path, workers: int | None = None, quality: int = 88) -> dict[str, int]:
    """Render all splits into `folder` (going on where a stopped run left off) and pack them. Returns bytes a split."""
    sizes = {}
    for split, arguments in SPLITS.items():
        done = produce(Path(folder) / split, seed=SEED, workers=workers, **arguments)
        target = file_of(split)
        target.parent.mkdir(exist_ok=True)
        sizes[split] = packed.pack(collect(done), target, quality)
    return sizes

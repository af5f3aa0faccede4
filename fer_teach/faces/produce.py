"""Render many faces: in parallel, into shards, going on where a stopped run left off."""

from __future__ import annotations

import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np

from fer_teach import paths
from fer_teach.errors import FerTeachError
from fer_teach.faces import plan

SHARD = 40  # people
ZOOM = (0.5, 10)  # closer there is only skin, farther away the face is a dot


def produce(
    folder: str | os.PathLike,
    count: int,
    seed: int = 0,
    size: int = 64,
    zoom: float = 1.0,
    colour: bool = False,
    balanced: bool = False,
    first_subject: int = 0,
    workers: int | None = None,
) -> Path:
    """Render `count` faces, PER_PERSON of each person, into `folder`/shard-NNNN.npz; finished shards are kept.

    seed: of everything; the same arguments give the same bytes, however many workers. size, zoom: see
    `plan.make_face`. colour: RGB, else grey. balanced: every class equally often, else in `plan.SHARES`.
    first_subject: number of the first person; other numbers are other people. workers: processes, one a core where not
    given. Returns the folder. Errors: FerTeachError where the folder holds a run with other arguments or cannot be
    written to, or an argument is out of range.
    """
    from tqdm.auto import tqdm

    least = {"count": (count, 1), "size": (size, 16), "seed": (seed, 0), "first": (first_subject, 0)}
    least["workers"] = (1 if workers is None else workers, 1)
    for name, (value, lowest) in least.items():
        if value < lowest:
            raise FerTeachError(f"{name} must be at least {lowest}, not {value}.")
    if not ZOOM[0] <= zoom <= ZOOM[1]:
        raise FerTeachError(f"zoom must lie in {ZOOM[0]:g}..{ZOOM[1]:g}, not {zoom:g}.")
    folder = paths.writable(folder)
    asked = {
        "count": count,
        "seed": seed,
        "size": size,
        "zoom": zoom,
        "colour": colour,
        "balanced": balanced,
        "first": first_subject,
    }
    _same_run(folder, asked)
    jobs = []
    per_shard = SHARD * plan.PER_PERSON
    for shard in range(-(-count // per_shard)):
        target = folder / f"shard-{shard:04d}.npz"
        if not target.exists():
            jobs.append((str(target), asked, shard))
    done = min(count, per_shard * (-(-count // per_shard) - len(jobs)))
    with tqdm(total=count, initial=done, desc="Rendering faces", unit="face") as bar:
        workers = workers or os.cpu_count() or 1
        if workers == 1 or len(jobs) < 2:
            for job in jobs:
                bar.update(_shard(*job))
        else:
            with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
                for finished in as_completed([pool.submit(_shard, *job) for job in jobs]):
                    bar.update(finished.result())
    return folder


def collect(folder: str | os.PathLike) -> dict[str, np.ndarray]:
    """All shards of a folder as one dictionary of arrays, in order (see `arrays`). Errors: DataError where a shard
    is damaged or missing."""
    from fer_teach.data import shards  # here, since it imports torch, which a worker does without

    return shards.read(Path(folder))


def arrays(faces, colour: bool) -> dict[str, np.ndarray]:
    """Stack faces: images uint8 (N, C, S, S); labels, subjects int64; votes int64 (N, 10); action_units float32
    (N, units) in 0..1; landmarks float32 (N, 68, 2); mask_* bool (N, S, S); attribute_* bool or float32 (N,)."""
    faces = list(faces)
    grey = np.array([0.299, 0.587, 0.114])
    images = np.stack([f.image for f in faces])
    images = images.transpose(0, 3, 1, 2) if colour else np.rint(images @ grey).astype(np.uint8)[:, None]
    made = {
        "images": np.ascontiguousarray(images),
        "labels": np.array([f.label for f in faces]),
        "subjects": np.array([f.subject for f in faces]),
        "votes": np.stack([f.votes for f in faces]),
        "action_units": np.stack([f.action for f in faces]).astype(np.float32),
        "landmarks": np.stack([f.landmarks for f in faces]),
    }
    made |= {f"mask_{part}": np.stack([f.masks[part] for f in faces]) for part in plan.PARTS}
    for name, value in faces[0].attributes.items():
        kind = np.float32 if isinstance(value, float) else bool
        made[f"attribute_{name}"] = np.array([f.attributes[name] for f in faces], kind)
    return made


def _shard(target, asked, shard):
    """Render one shard; runs in a worker. Returns its number of faces."""
    labels = plan.labels_for(asked["count"], asked["seed"], asked["balanced"])
    per_shard = SHARD * plan.PER_PERSON
    mine = labels[shard * per_shard : (shard + 1) * per_shard]
    people = range(asked["first"] + shard * SHARD, asked["first"] + (shard + 1) * SHARD)
    made = arrays(plan.make_faces(asked["seed"], people, mine, asked["size"], asked["zoom"]), asked["colour"])
    partial = Path(target).with_suffix(f".{os.getpid()}.part")
    with open(partial, "wb") as file:
        np.savez_compressed(file, **made)
    os.replace(partial, target)
    return len(mine)


def _same_run(folder, asked):
    note = folder / "arguments.json"
    if note.exists():
        try:
            before = json.loads(note.read_text())
        except ValueError:
            raise FerTeachError(
                f"{note} is damaged, so nobody knows what the faces beside it were rendered with. "
                "Remove the folder, or give another one."
            ) from None
        if before != asked:
            raise FerTeachError(f"{folder} holds faces rendered with {before}, not {asked}. Give another folder.")
    else:
        partial = note.with_suffix(f".{os.getpid()}.part")
        partial.write_text(json.dumps(asked))
        os.replace(partial, note)

"""Miniature copies of the licensed data sets, in their publishers' layouts. Every image is noise with its own seed."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from fer_teach.data.celeba_rows import ATTRIBUTES

CK_WORDS = {"anger": 1, "contempt": 2, "disgust": 3, "fear": 4, "happy": 5, "sadness": 6, "surprise": 7}
CK_NAMES = {"happy": "happiness"}
JAFFE_PEOPLE = ("KA", "KL", "KM", "KR", "MK", "NA", "NM", "TM", "UY", "YM")
JAFFE_CODES = {
    "AN": "anger", "DI": "disgust", "FE": "fear", "HA": "happiness", "NE": "neutral", "SA": "sadness", "SU": "surprise",
}  # fmt: skip
FERG_PEOPLE = ("aia", "bonnie", "jules", "malcolm", "mery", "ray")
FERG_WORDS = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
RAF_CLASSES = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
SFEW_WORDS = ("Angry", "Disgust", "Fear", "Happy", "Neutral", "Sad", "Surprise")
CELEBA_NAMES = ("Eyeglasses", "Male", "Mouth_Slightly_Open", "Smiling")


def pixels(seed: int, size: tuple[int, ...]) -> np.ndarray:
    """Noise uint8 of a shape."""
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def encoded(image: np.ndarray, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind)
    return stream.getvalue()


def put(path: Path, image: np.ndarray, kind: str = "PNG") -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(image, kind))
    return image


def write_ck48(root: Path, people: int = 4, words=tuple(CK_WORDS)) -> dict[str, tuple[str, str, np.ndarray]]:
    """anger/S010_004_00000017.png, three frames a sequence; file name -> (class, subject, image)."""
    written = {}
    for person in range(people):
        for code, word in enumerate(words, 1):
            for frame in (15, 16, 17):
                name = f"S{10 + person:03}_{code:03}_{frame:08}.png"
                image = put(root / word / name, pixels(len(written), (48, 48)))
                written[name] = CK_NAMES.get(word, word), f"S{10 + person:03}", image
    return written


def write_ck(root: Path, people: int = 4, frames: int = 5, points: bool = False) -> dict[str, tuple[str, str]]:
    """cohn-kanade-images, Emotion and, with `points`, Landmarks and FACS; sequence -> (class, subject).

    One more sequence of every person has no label.
    """
    written = {}
    for person in range(people):
        subject = f"S{10 + person:03}"
        for code in range(1, 9):
            sequence = f"{code:03}"
            stems = [f"{subject}_{sequence}_{frame:08}" for frame in range(1, frames + 1)]
            for i, stem in enumerate(stems):
                image = pixels(1000 * person + 10 * code + i, (49, 64))
                put(root / "cohn-kanade-images" / subject / sequence / f"{stem}.png", image)
                if points:
                    write_points(root / "Landmarks" / subject / sequence / f"{stem}_landmarks.txt")
            if code == 8:
                (root / "Emotion" / subject / sequence).mkdir(parents=True)
                continue
            word = next(word for word, number in CK_WORDS.items() if number == code)
            write_text(root / "Emotion" / subject / sequence / f"{stems[-1]}_emotion.txt", f"   {code:.7e}\n")
            if points:
                facs = f"   {12 + code:.7e}   0.0000000e+00\n   2.5000000e+01   3.0000000e+00\n"
                write_text(root / "FACS" / subject / sequence / f"{stems[-1]}_facs.txt", facs)
            written[f"{subject}_{sequence}"] = CK_NAMES.get(word, word), subject
    return written


def ck_points() -> np.ndarray:
    """68 points (x, y) between (20, 10) and (44, 40) in a frame of 64 x 49."""
    return np.stack([np.linspace(20, 44, 68), np.linspace(10, 40, 68)], 1)


def write_points(path: Path, points: np.ndarray | None = None) -> None:
    rows = ck_points() if points is None else points
    write_text(path, "".join(f"   {x:.7e}   {y:.7e}\n" for x, y in rows))


def write_text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def write_jaffe(root: Path, size: int = 256) -> dict[str, tuple[str, str, np.ndarray]]:
    """KA.AN1.39.tiff ..., one image a person and class, one of them a palette image."""
    written = {}
    for person in JAFFE_PEOPLE:
        for code, word in JAFFE_CODES.items():
            name = f"{person}.{code}1.{len(written) + 1}.tiff"
            image = pixels(len(written), (size, size))
            put(root / name, image, "TIFF")
            if not written:
                Image.fromarray(image).convert("P").save(root / name)
            written[name] = word, person, image
    return written


def write_ferg(root: Path, size: int = 64, each: int = 2) -> dict[str, tuple[str, str, np.ndarray]]:
    """aia/aia_anger/aia_anger_1.png ..."""
    written = {}
    for person in FERG_PEOPLE:
        for word in FERG_WORDS:
            for i in range(1, each + 1):
                name = f"{person}_{word}_{i}.png"
                image = put(root / person / f"{person}_{word}" / name, pixels(len(written), (size, size, 3)))
                written[name] = {"joy": "happiness"}.get(word, word), person, image
    return written


def write_raf(root: Path, layout: str, train: int = 10, test: int = 2, size: int = 100) -> dict[str, tuple[str, int]]:
    """Both layouts of RAF-DB; image without ending -> (part, label 1..7). `train`, `test`: images a class."""
    written = {}
    for part, each in (("train", train), ("test", test)):
        for i in range(each * 7):
            stem, label = f"{part}_{i + 1:05}", i % 7 + 1
            folder = root / part / str(label) if layout == "folders" else root / "Image" / "aligned"
            put(folder / f"{stem}_aligned.jpg", pixels(i + 1000 * (part == "test"), (size, size, 3)), "JPEG")
            written[stem] = part, label
    if layout == "list":
        rows = "".join(f"{stem}.jpg {label}\n" for stem, (_, label) in sorted(written.items(), reverse=True))
        write_text(root / "EmoLabel" / "list_patition_label.txt", rows)
    return written


def write_sfew(root: Path, form: str = "{part}/{word}", films: int = 6, size=(57, 72)) -> dict[str, tuple[str, str]]:
    """Train and Val by class; `form` is the folder. Train has one frame a film and class, Val two films."""
    written = {}
    for part, number in (("Train", films), ("Val", 2)):
        for film in range(number):
            for word in SFEW_WORDS:
                name = f"{part}Film{film}_{100 * len(written):09}_00000001.png"
                put(root / form.format(part=part, word=word) / name, pixels(len(written), (*size, 3)))
                written[name] = part, word
    for i in range(2):
        put(root / "Test" / f"Test_{i:09}.png", pixels(900 + i, (*size, 3)))
    return written


def celeba_values(number: int) -> list[int]:
    """Four attributes of image `number`: not a row's position, so that a shifted table shows."""
    return [number % 2, number // 2 % 2, number // 3 % 2, number * 7 % 5 % 2]


def write_celeba(root: Path, numbers=range(1, 31), table: str = "txt", nested: bool = False) -> None:
    """img_align_celeba and list_attr_celeba, rows in descending order of the names."""
    folder = root / "img_align_celeba" / ("img_align_celeba" if nested else "")
    for number in numbers:
        put(folder / f"{number:06}.jpg", np.full((218, 178, 3), number * 7 % 256, np.uint8), "JPEG")
    write_celeba_table(root, list(numbers)[::-1], table)


def write_celeba_table(root: Path, numbers: list[int], table: str = "txt") -> Path:
    """table: "txt" (-1/1, as published), "csv" (-1/1), "01" (csv of 0/1)."""
    sign = {"01": 0}.get(table, -1)
    rows = [[f"{number:06}.jpg", *(1 if value else sign for value in celeba_values(number))] for number in numbers]
    if table == "txt":
        head = f"{len(rows)}\n{' '.join(CELEBA_NAMES)} \n"
        body = "".join(f"{row[0]} {' '.join(f'{value:2}' for value in row[1:])}\n" for row in rows)
        return write_text(root / "list_attr_celeba.txt", head + body)
    body = "".join(",".join(map(str, row)) + "\n" for row in rows)
    return write_text(root / "list_attr_celeba.csv", ",".join(["image_id", *CELEBA_NAMES]) + "\n" + body)


def celeba_forty(number: int) -> list[int]:
    """All 40 attributes of image `number`."""
    return np.random.default_rng(number).integers(0, 2, len(ATTRIBUTES)).tolist()


def write_celeba_forty(
    path: Path,
    numbers=range(1, 31),
    gap=",",
    words=("-1", "1"),
    column="image_id",
    name="{:06}.jpg",
    spell=str,
    more=(),
) -> Path:
    """All 40 attributes, rows in descending order of the names.

    words   how 0 and 1 are written
    column  the header of the images' names; None: a text table with the number of rows, as published
    name    how image `number` is named
    spell   how an attribute's name is written
    more    columns of other things, after the attributes
    """
    head = [spell(word) for word in ATTRIBUTES]
    rows = [[name.format(i), *(words[value] for value in celeba_forty(i))] for i in list(numbers)[::-1]]
    if column is None:
        rows = [[str(len(rows))], head, *rows]
    else:
        rows = [[*row, *([str(i + 2)] * len(more))] for i, row in enumerate(rows)]
        rows = [[column, *head, *more], *rows]
    return write_text(path, "".join(gap.join(row) + "\n" for row in rows))


def celeba_points(number: int, size=(218, 178)) -> np.ndarray:
    """Five points (x, y) of image `number`, in whole pixels: eyes, nose, corners of the mouth."""
    face = np.array([[69, 111], [108, 111], [88, 135], [72, 152], [105, 152]]) + [number % 7 - 3, number % 5 - 2]
    return np.round(face * size[0] / 218).astype(int)


def write_celeba_points(path: Path, numbers=range(1, 31), size=(218, 178), backwards: bool = False) -> Path:
    """list_landmarks_align_celeba as text with its number of rows, or as csv; backwards: its columns too."""
    head = [f"{at}_{axis}" for at in ("lefteye", "righteye", "nose", "leftmouth", "rightmouth") for axis in "xy"]
    rows = [[f"{i:06}.jpg", *map(str, celeba_points(i, size).ravel())] for i in list(numbers)[::-1]]
    if path.suffix == ".csv":
        rows, gap = [["image_id", *head], *rows], ","
        rows = [row[::-1] for row in rows] if backwards else rows
    else:
        rows, gap = [[str(len(rows))], head, *rows], "  "
    return write_text(path, "".join(gap.join(row) + "\n" for row in rows))


def write_coco(root: Path, layout: str = "json", train: int = 20, val: int = 8) -> set[str]:
    """Images of mixed size; every third one has a person on it. Returns the stems of those without."""
    free, number = set(), 0
    for part, count in (("train2017", train), ("val2017", val)):
        images, annotations = [], []
        for _ in range(count):
            number += 1
            stem, person = f"{number:012}", number % 3 == 0
            size = (60 + number % 5, 80 - number % 7, 3)
            folder = root / part if layout == "json" else root / "images" / part
            put(folder / f"{stem}.jpg", pixels(number, size), "JPEG")
            images.append({"id": number, "file_name": f"{stem}.jpg"})
            marks = [18] + [1] * person
            annotations += [{"id": 10 * number + i, "image_id": number, "category_id": c} for i, c in enumerate(marks)]
            if layout == "yolo":
                rows = [f"{0 if c == 1 else 16} 0.5 0.5 0.2 0.2\n" for c in marks]
                write_text(root / "labels" / part / f"{stem}.txt", "".join(rows))
            if not person:
                free.add(stem)
        if layout == "json" and count:
            categories = [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}]
            content = {"images": images, "annotations": annotations, "categories": categories}
            write_text(root / "annotations" / f"instances_{part}.json", json.dumps(content))
    return free


WRITERS = {
    "ckplus": write_ck48, "jaffe": write_jaffe, "ferg": write_ferg, "rafdb": lambda root: write_raf(root, "folders"),
    "sfew": write_sfew, "celeba": write_celeba, "coco": write_coco,
}  # fmt: skip
PACKINGS = ("zip", "tar", "tar.gz", "tar.bz2", "tar.xz")


def pack(folder: Path, archive: Path) -> Path:
    """All files of a folder, under its own name, in an archive whose ending says which kind; the folder goes."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [str(path.relative_to(folder.parent)) for path in files]
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive, "w") as target:
            for path, name in zip(files, names, strict=True):
                target.write(path, name)
    else:
        kind = archive.name.rpartition(".tar")[2].lstrip(".")
        with tarfile.open(archive, f"w:{kind}") as target:
            for path, name in zip(files, names, strict=True):
                target.add(path, name)
    for path in files:
        path.unlink()
    return archive

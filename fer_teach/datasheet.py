"""The tables of the datasheet of `rendered`: what it consists of, and how far it carries over to photographs."""

from __future__ import annotations

import json

from . import evaluation, paths
from .data import rendered
from .htmltable import Table


def composition() -> list[Table]:
    """Two tables: images, people, size and classes of every split; and who and what is in the pictures."""
    splits = {name: rendered.load(None, name) for name in rendered.SPLITS}
    return [
        Table("Images", "Counted from the packed files.", [_images(name, split) for name, split in splits.items()]),
        Table("In the pictures", "Per cent of each split's images.", _shares(splits)),
    ]


TRAINED = {
    "real": "photographs",
    "rendered": "rendered faces",
    "mixed": "both",
    "real5": "5 % of the photographs",
    "mixed5": "5 % of the photographs and the rendered faces",
}
TESTED = {"real": "photographs", "rendered": "rendered, classes equal", "rendered_all": "rendered"}


def transfer() -> Table:
    """Accuracies of networks trained on one kind of face and tested on the other, from
    results/rendered/transfer.json."""
    file = paths.results() / "rendered/transfer.json"
    about = (
        "Photographs: FERPlus, its train and valid split. Corrected: with the class shares of the test faces put in "
        "place of those of the training faces. Per cent, in brackets 95 % intervals; one training a row."
    )
    if not file.is_file():
        return Table("Carrying over", about, [{"Trained on": "not yet run", "Tested on": ""}])
    stored = json.loads(file.read_text(encoding="utf-8"))
    rows = []
    for test, where in TESTED.items():
        for run in stored["rows"]:
            raw, corrected = run[test]["raw"], run[test]["corrected"]
            low, high = (100 * x for x in raw["interval"])
            rows.append(
                {
                    "Trained on": TRAINED[run["row"]],
                    "Tested on": f"{where} ({run[test]['n']:,})",
                    "Accuracy": f"{100 * raw['accuracy']:.1f} [{low:.1f}, {high:.1f}]",
                    "Balanced": f"{100 * raw['balanced_accuracy']:.1f}",
                    "Corrected": f"{100 * corrected['accuracy']:.1f}",
                    "Corrected, balanced": f"{100 * corrected['balanced_accuracy']:.1f}",
                }
            )
        constant = {"Accuracy": f"{100 * stored['majority'][test]:.1f}", "Balanced": f"{100 * stored['chance']:.1f}"}
        rows.append({"Trained on": "nothing: always the commonest class", "Tested on": where, **constant, **_EMPTY})
    return Table("Carrying over", about, rows)


_EMPTY = {"Corrected": "", "Corrected, balanced": ""}


def detection() -> Table:
    """What dlib finds in the gallery, from results/rendered/landmarks.json."""
    file = paths.results() / "rendered/landmarks.json"
    about = (
        "Gallery faces turned by less than 15 and tilted by less than 12 degrees, nothing in front. Median distances."
    )
    if not file.is_file():
        return Table("dlib on rendered faces", about, [{"Faces": "not yet run", "Found, per cent": ""}])
    stored = json.loads(file.read_text(encoding="utf-8"))
    low, high = (100 * x for x in evaluation.wilson(stored["found"], stored["faces"]))
    corners = {name: stored[name]["outer_corners"] for name in ("median_error", "median_error_without_jaw")}
    row = {
        "Faces": f"{stored['faces']}",
        "Found, per cent": f"{100 * stored['found'] / stored['faces']:.1f} [{low:.1f}, {high:.1f}]",
        "Landmarks off, per cent of the outer eye corners' distance": f"{100 * corners['median_error']:.1f}",
        "without the jaw": f"{100 * corners['median_error_without_jaw']:.1f}",
    }
    return Table("dlib on rendered faces", about, [row])


def looks() -> Table:
    """How the classes differ from those of photographs, from results/rendered/looks.json."""
    file = paths.results() / "rendered/looks.json"
    about = (
        "dlib's landmarks: mean of the rendered faces less mean of FERPlus's training faces, in standard deviations of "
        "the latter. Signal: what a class adds to the mean face; how its picture correlates with the photographs' (1: "
        "the same), and how strong it is (1: as strong). Faces in which dlib finds one."
    )
    if not file.is_file():
        return Table("Class by class", about, [{"Measure": "not yet run", "Class": ""}])
    stored = json.loads(file.read_text(encoding="utf-8"))
    rows = [(name, [f"{round(value, 1) + 0:+.1f}" for value in values]) for name, values in stored["off"].items()]
    rows += [(f"signal, {name}", [f"{value:.2f}" for value in stored[name]]) for name in ("alike", "size")]
    rows += [
        (name, [f"{count:,}" for count in stored[key]])
        for name, key in (("rendered", "faces"), ("photographs", "photographs"))
    ]
    return Table(
        "Class by class",
        about,
        [{"Measure": name, **dict(zip(stored["classes"], row, strict=True))} for name, row in rows],
    )


def fill(text: str) -> str:
    """Put the tables where a page has <!-- composition -->, <!-- looks --> and <!-- transfer -->."""
    measured = {"composition": composition, "looks": lambda: [looks()], "transfer": lambda: [transfer(), detection()]}
    for name, tables in measured.items():
        place = f"<!-- {name} -->"
        if place in text:
            text = text.replace(place, "\n\n".join(table.html() for table in tables()))
    return text


def _images(name, split) -> dict[str, str]:
    channels, height, width = split.images.shape[1:]
    return {
        "Split": name,
        "Images": f"{len(split):,}",
        "People": f"{len(split.subjects.unique()):,}",
        "Pixels": f"{height} x {width}",
        "Colour": "RGB" if channels == 3 else "grey",
        **{label: f"{count:,}" for label, count in split.counts().items()},
    }


def _shares(splits) -> list[dict[str, str]]:
    """One row a property, one column a split."""
    found = {name: _properties(split) for name, split in splits.items()}
    return [
        {"Property": row, **{name: f"{100 * share[row].double().mean():.1f}" for name, share in found.items()}}
        for row in found["train"]
    ]


def _properties(split) -> dict:
    a = split.attributes
    years, tone, yaw = a["years"], a["tone"], a["yaw"].abs()
    return {
        "women": ~a["male"],
        "men": a["male"],
        "under 16 years": years < 16,
        "16 to 59 years": (years >= 16) & (years < 60),
        "60 years and over": years >= 60,
        "skin in the light third of the scale": tone < 1 / 3,
        "in the middle third": (tone >= 1 / 3) & (tone < 2 / 3),
        "in the dark third": tone >= 2 / 3,
        "eyeglasses": a["eyeglasses"],
        "sunglasses": a["sunglasses"],
        "beard": a["beard"],
        "lipstick": a["lipstick"],
        "hat or scarf": a["hat"],
        "something in front of the face": a["occluded"],
        "turned by more than 20 degrees": yaw > 20,
        "turned by more than 45 degrees": yaw > 45,
        "eyes closed": a["eyes_closed"],
    }

"""The numbers that papers and course reports print, as data with their source.

`claims/<chapter>.json` holds one object a number. Its value is written there as its source prints it (86.10, not 86.1).
The tags say where a number was read: S course report, P public summary of the paper, F table or figure of the paper
kept in a public repository, C public code, I issue threads.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from . import paths, record
from .errors import FerTeachError

BY = {
    "report": "course report",
    "paper": "paper",
    "literature": "other work",
    "code": "public code",
    "users": "users of public code",
}
DATA = {
    "fer2013": "FER2013",
    "ckplus": "CK+",
    "ferplus": "FERPlus",
    "rafdb": "RAF-DB",
    "sfew": "SFEW",
    "affectnet": "AffectNet",
    "bu3dfe": "BU-3DFE",
    "celeba": "CelebA",
    "jaffe": "JAFFE",
    "ferg": "FERG",
}


@dataclass(frozen=True)
class Ours:
    """Where our number for a claim stands: a metric of the record results/<chapter>/<profile>-<data>.json."""

    profile: str
    data: str
    metric: str
    label: str = ""


@dataclass(frozen=True)
class Claim:
    """One printed number. value: in `unit`, a tuple where the source prints a list; printed: its digits as printed.

    n: test images behind a share, where known; spread: what stands behind a plus-minus sign, as printed.
    kind: "result", or "setting" for what was chosen and not measured; by: a key of BY; tag: S, P, F, C or I.
    """

    chapter: str
    report: str
    id: str
    what: str
    value: float | int | tuple
    printed: str
    unit: str
    data: str
    by: str
    method: str
    tag: str
    source: str
    group: str
    kind: str = "result"
    ours: tuple[Ours, ...] = ()
    spread: str | None = None
    n: int | None = None
    key: str | None = None
    protocol: str = ""
    note: str = ""

    @property
    def text(self) -> str:
        """The number with its spread and unit, such as "86.67 ± 3.15 %"."""
        number = self.printed if self.spread is None else f"{self.printed} ± {self.spread}"
        return f"{number} {self.unit}".strip()

    @property
    def provenance(self) -> str:
        """Who measured, and the tag of where it was read, such as "course report [S]"."""
        return f"{BY[self.by]} [{self.tag}]"

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval in per cent of a printed share of n images; None where n is unknown."""
        if self.n is None or self.unit != "%":
            return None
        from .evaluation import wilson

        low, high = wilson(round(self.value * self.n / 100), self.n)
        return 100 * float(low), 100 * float(high)


def chapters() -> list[str]:
    """Chapters that have claims, in reading order, such as "01_deep_emotion"."""
    return sorted(path.stem for path in paths.claims().glob("[0-9][0-9]_*.json"))


def load(chapter: str) -> list[Claim]:
    """All claims of a chapter, in order. FerTeachError: no such chapter, or a file that breaks the schema."""
    whole = content(chapter)
    return [_claim(whole, entry) for entry in whole["claims"]]


def get(chapter: str, id: str) -> Claim:
    """The claim of that id; FerTeachError where there is none."""
    found = [claim for claim in load(chapter) if claim.id == id]
    if not found:
        raise FerTeachError(f"claims/{chapter}.json has no claim {id!r}.")
    return found[0]


def cite(chapter: str, id: str) -> str:
    """A claim for running text: "70.02 % (reported, R4)"."""
    claim = get(chapter, id)
    where = {
        "report": f"reported, {claim.report}",
        "paper": "reported, paper",
        "literature": f"reported by others, listed in {claim.report}",
        "code": "public code",
        "users": "reported by users of public code",
    }
    return f"{claim.text} ({where[claim.by]})"


def content(chapter: str) -> dict:
    """The whole file of a chapter's claims, its groups included; numbers with a point are Decimals."""
    path = paths.claims() / f"{chapter}.json"
    if not path.is_file():
        raise FerTeachError(f"There are no claims for {chapter!r}. Chapters: {', '.join(chapters()) or 'none'}.")
    return _parse(path.name, path.read_text())


@cache
def _parse(name: str, text: str) -> dict:
    import jsonschema

    try:
        content = json.loads(text, parse_float=Decimal)
        jsonschema.validate(content, record.schema("claims"))
    except json.JSONDecodeError as error:
        raise FerTeachError(f"claims/{name} is not JSON: {error}") from None
    except jsonschema.ValidationError as error:
        raise FerTeachError(f"claims/{name}, {error.json_path}: {error.message.splitlines()[0][:200]}") from None
    ids = [entry["id"] for entry in content["claims"]]
    used = {entry["group"] for entry in content["claims"]}
    if content["chapter"] + ".json" != name or len(set(ids)) < len(ids) or used != set(content["groups"]):
        raise FerTeachError(f"claims/{name}: its chapter, its ids (once each) or its groups do not agree.")
    return content


def _claim(content: dict, entry: dict) -> Claim:
    value, ours = entry["value"], entry["ours"] or []
    several = isinstance(value, list)
    fields = entry | {
        "value": tuple(map(_plain, value)) if several else _plain(value),
        "printed": ", ".join(map(digits, value)) if several else digits(value),
        "ours": tuple(Ours(**one) for one in (ours if isinstance(ours, list) else [ours])),
        "spread": digits(entry["spread"]) if "spread" in entry else None,
    }
    return Claim(chapter=content["chapter"], report=content["report"], **fields)


def _plain(value) -> float | int:
    return value if isinstance(value, int) else float(value)


def digits(value) -> str:
    """A number as text: a Decimal as printed, an integer with thousands, a float with four digits."""
    if isinstance(value, float):
        return f"{int(value):,}" if value.is_integer() else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else f"{value:f}"

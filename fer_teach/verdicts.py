"""Does it hold? What each paper says, asked of this book's full records by one rule."""

from __future__ import annotations

import math
from dataclasses import dataclass

from . import claims, differences, paths, record
from .htmltable import Table

MARKER = "<!-- verdicts -->"
NOTHING, NOT_YET = "–", "not run yet"


@dataclass(frozen=True)
class Question:
    """One statement of a paper and where our full record on rendered faces answers it.

    metric: a recorded share or gain with its interval; or rows: (table, column of variants, a, b, column of shares),
    for the gain of a over b, paired by seed. above: what the number must exceed, or the metric that holds it.
    printed: the claims (with it, without it) behind the statement, where the paper or the report prints both.
    """

    chapter: str
    says: str
    metric: str | None = None
    rows: tuple | None = None
    above: float | str = 0.0
    printed: tuple[str, str] | None = None


_RAN, _FERATT, _HYBRID, _LGR = "02_region_attention", "03_feratt", "04_attentive_hybrid", "05_local_global_relation"
_PLAIN, _CLS, _BOTH = (
    f"paper-ckplus-{model}" for model in ("preactresnet18", "feratt-plus-cls", "feratt-plus-rep-plus-cls")
)
_CONCAT, _TWO_STEP = "r3-2-rafdb-glm-concat", "r3-2-rafdb-glm-two-step"
_ALL, _NO_ATTENTION, _SOFTMAX, _WHOLE = (
    f"r3-1-rafdb-{row}" for row in ("glma-cosface", "glm-cosface", "glma-softmax", "g-cosface")
)
QUESTIONS = (
    Question(
        "01_deep_emotion",
        "A spatial transformer in front raises the accuracy on upright faces",
        rows=("robustness", "transform", "image", None, "upright"),
    ),
    Question(
        "01_deep_emotion",
        "It does on faces that are turned in the picture",
        rows=("robustness", "transform", "image", None, "rotated"),
    ),
    Question(
        _RAN,
        "Weighing regions beats the mean of the same regions, on hard faces",
        rows=("variants", "variant", "full", "mean", "hard"),
    ),
    Question(
        _RAN,
        "Regions and weights beat one picture of equal cost, on hard faces",
        rows=("variants", "variant", "full", "plain", "hard"),
    ),
    Question(_RAN, "They do on all faces", rows=("variants", "variant", "full", "plain", "all")),
    Question(
        _RAN,
        "A covered region loses weight, in more than half of the pairs",
        metric="mu_behind_a_thing_falls",
        above=0.5,
    ),
    Question(
        _FERATT,
        "The network finds the face better than a mask of the whole scene does",
        metric="mask_iou",
        above="mask_iou_of_everything",
    ),
    Question(
        _FERATT,
        "Attention with both losses beats a plain network of as many parameters, in scenes",
        metric="gain_rep_cls_less_as_many_scenes",
        printed=(_BOTH, _PLAIN),
    ),
    Question(_FERATT, "Attention alone does", metric="gain_cls_less_as_many_scenes", printed=(_CLS, _PLAIN)),
    Question(
        _FERATT, "The manifold loss adds to attention", metric="gain_rep_cls_less_cls_scenes", printed=(_BOTH, _CLS)
    ),
    Question(
        _HYBRID,
        "Two-step fusion beats concatenation of as many parameters",
        metric="gain_two_step_less_concat_of_equal_size",
        printed=(_TWO_STEP, _CONCAT),
    ),
    Question(_HYBRID, "Spatial attention adds", metric="gain_attention_less_none", printed=(_ALL, _NO_ATTENTION)),
    Question(_HYBRID, "CosFace beats softmax", metric="gain_cosface_less_softmax", printed=(_ALL, _SOFTMAX)),
    Question(
        _HYBRID,
        "Three branches with attention beat the whole face alone",
        metric="gain_glma_less_g",
        printed=(_ALL, _WHOLE),
    ),
    Question(
        _LGR,
        "Maps learned from a word about the eyes peak at the eyes of other faces, more often than not",
        metric="transfer_eyes_hits",
        above=0.5,
    ),
    Question(
        _LGR,
        "Maps learned from a word about the mouth peak at the mouth, more often than not",
        metric="transfer_mouth_hits",
        above=0.5,
    ),
    Question(_LGR, "Eyes and mouth, weighed, add to the whole face", metric="gain_over_global"),
    Question(_LGR, "Learned weights beat equal ones", metric="gain_over_weights_fixed"),
    Question(_LGR, "The maps matter: maps of ones do worse", metric="gain_over_maps_of_ones"),
)


def verdict(low: float, high: float, above: float = 0.0) -> str:
    """The rule: "holds" if the whole 95 % interval lies above, "does not hold" if it lies below, else "not shown"."""
    if math.isnan(low) or math.isnan(high):
        return "not shown"
    return "holds" if low > above else "does not hold" if high < above else "not shown"


def answer(question: Question) -> dict[str, str]:
    """One row of the page: what is said, what was printed, what we measured, and the verdict, as text."""
    row = {"Statement": question.says, "Printed": _printed(question), "Ours": NOTHING, "Verdict": NOT_YET}
    held = record.result(question.chapter, "full", "rendered")
    if held is None:
        return row
    found, above = _measured(question, held), question.above
    above = held["metrics"][above]["value"] if isinstance(above, str) else above
    mean, low, high = found
    share = above > 0
    ours = f"{100 * mean:.1f} %" if share else f"{100 * mean:+.1f} points"
    between = f" [{100 * low:.1f}, {100 * high:.1f}]" if share else f" [{100 * low:+.1f}, {100 * high:+.1f}]"
    return {**row, "Ours": ours + between, "Verdict": verdict(low, high, above)}


def _measured(question: Question, held: dict) -> tuple[float, float, float]:
    if question.rows:
        table, *choice = question.rows
        pair = differences.differences(held["tables"][table], *choice)
        return pair.mean, pair.low, pair.high
    metric = held["metrics"][question.metric]
    return metric["value"], *(metric["interval"] or (math.nan, math.nan))


def _printed(question: Question) -> str:
    if not question.printed:
        return NOTHING
    with_it, without = (claims.get(question.chapter, name) for name in question.printed)
    return f"{with_it.value - without.value:+.2f} points\n{claims.DATA.get(with_it.data, with_it.data)}"


def tables() -> list[tuple[str, Table]]:
    """(chapter, its table) in order."""
    made = []
    for chapter in dict.fromkeys(question.chapter for question in QUESTIONS):
        rows = [answer(question) for question in QUESTIONS if question.chapter == chapter]
        made.append((chapter, Table(claims.content(chapter)["title"], "", rows)))
    return made


def page() -> str:
    """book/verdicts.md with its marker replaced by every chapter's table."""
    parts = []
    for chapter, table in tables():
        parts += [f"## {table.caption}", table.html(), f"[The chapter](/notebooks/{chapter}.ipynb)"]
    return (paths.root() / "book" / "verdicts.md").read_text().replace(MARKER, "\n\n".join(parts))

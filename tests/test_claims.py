"""The printed numbers: every file is sound, and its tables say what the sources and the records say."""

import json
import re
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from pybtex.database import parse_file

from fer_teach import claims, paths, printed, record
from fer_teach.errors import FerTeachError

CHAPTERS = ["01_deep_emotion", "02_region_attention", "03_feratt", "04_attentive_hybrid", "05_local_global_relation"]
DEEP = CHAPTERS[0]

# Typed from the sources a second time, independently of the files.
SPOTS = {
    "01_deep_emotion": {
        "fer2013-accuracy": "70.02",
        "fer2013-vgg-plus-svm": "66.31",
        "fer2013-googlenet": "65.2",
        "ckplus-accuracy": "98.0",
        "ckplus-iacnn": "95.37",
        "ckplus-ppdn": "97.3",
        "users-lowest": "47",
        "users-highest": "55",
        "parameters": "66,877",
        "localization-parameters": "23,120",
        "fer2013-correct": "2,513",
        "figure-localization-features": "90",
    },
    "02_region_attention": {
        "r1-ferplus": "86",
        "r1-ferplus-hard": "81",
        "paper-ferplus-resnet18": "88.55",
        "paper-ferplus-vgg16": "89.16",
        "paper-affectnet": "59.5",
        "code-ferplus-occlusion": "82.31",
        "code-ferplus-pose30": "87.01",
        "code-ferplus-pose45": "85.47",
        "r1-train": "32,137",
        "r1-test": "3,173",
        "code-train": "28,236",
        "code-milestones": "18, 30, 48",
    },
    "03_feratt": {
        "r2-ckplus-real-resnet-accuracy": "62.9",
        "r2-ckplus-real-cls-f1": "5.7",
        "r2-ckplus-real-rep-cls-precision": "1.6",
        "r2-ckplus-synthetic-cls-precision": "52.2",
        "r2-ckplus-synthetic-rep-cls-f1": "35.1",
        "r2-ferplus-real-cls-recall": "58.2",
        "r2-ferplus-real-rep-cls-accuracy": "77.2",
        "r2-ferplus-synthetic-resnet-f1": "37.5",
        "r2-ferplus-synthetic-rep-cls-recall": "25.0",
        "r2-ckplus-synthetic-to-real": "86.10",
        "r2-ferplus-synthetic-to-real": "81.60",
        "paper-bu3dfe-feratt-plus-rep-plus-cls": "82.11",
        "r2-beta-2-4-average-loss": "4.751",
        "r2-beta-4-2-minimum": "4.700",
        "r2-beta-1-1-average-epoch": "4.6",
        "r2-beta-07-07-minimum": "4.578",
        "r2-beta-4-4-minimum-epoch": "8",
        "r2-beta-untrained": "4.939",
        "r2-ferplus-real-train": "25,045",
        "r2-ckplus-real-test": "35",
    },
    "04_attentive_hybrid": {
        "r3-1-rafdb-gl-cosface": "88.49",
        "r3-1-rafdb-glma-softmax": "88.85",
        "r3-1-sfew-gla-softmax": "55.89",
        "r3-1-sfew-glm-cosface": "58.20",
        "r3-2-rafdb-gl-concat": "87.91",
        "r3-2-sfew-glm-two-step": "58.89",
        "r3-3-shao-fer2013": "71.14",
        "r3-3-dam-cnn-sfew": "42.3",
        "r3-3-gan-fer2013": "73.73",
        "r3-3-acnns-ckplus": "97.03",
        "r3-3-attentive-hybrid-fer2013": "73.84",
        "cosface-margin": "0.40",
    },
    "05_local_global_relation": {
        "r0-eyes-0-train-bce": "0.6937",
        "r0-eyes-1-valid-accuracy": "54.60",
        "r0-eyes-3-valid-bce": "0.7038",
        "r0-eyes-3-valid-auc": "0.5901",
        "r0-eyes-7-valid-accuracy": "50.10",
        "r0-eyes-9-train-auc": "0.5261",
        "r0-mouth-0-valid-accuracy": "35.57",
        "r0-mouth-0-valid-bce": "0.7095",
        "r0-eyes-accuracy": "53",
        "r0-mouth-accuracy": "58",
        "r0-eyes-seconds": "10,997",
        "paper-eyes-images": "30,000",
    },
}


def test_every_chapter_of_the_book_has_claims():
    assert claims.chapters() == CHAPTERS


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_file_is_sound(chapter):
    held = claims.load(chapter)
    assert len({claim.id for claim in held}) == len(held) >= 20
    assert {claim.tag for claim in held} <= set("SPFCI")
    assert {claim.report for claim in held} == {f"R{(4, 1, 2, 3, 0)[CHAPTERS.index(chapter)]}"}
    for claim in held:
        assert {"S": claim.by in ("report", "literature"), "C": claim.by == "code", "I": claim.by == "users"}.get(
            claim.tag, claim.by == "paper"
        ), claim.id


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_values_equal_the_source(chapter):
    for id, text in SPOTS[chapter].items():
        assert claims.get(chapter, id).printed == text, id


def test_a_value_is_a_number_and_keeps_its_printed_digits():
    claim = claims.get("03_feratt", "r2-ckplus-synthetic-to-real")
    assert (claim.value, claim.printed) == (86.1, "86.10")
    assert claims.get("02_region_attention", "code-milestones").value == (18, 30, 48)
    assert claims.get("03_feratt", "paper-ckplus-feratt-plus-cls").text == "85.42 ± 2.89 %"
    assert claims.get("02_region_attention", "code-weight-decay").printed == "0.0001"


def test_shares_with_a_known_test_set_are_whole_numbers_of_images():
    found = [claim for chapter in CHAPTERS for claim in claims.load(chapter) if claim.n]
    assert len(found) == 42
    for claim in found:
        right, places = round(claim.value * claim.n / 100), len(claim.printed.partition(".")[2])
        assert round(100 * right / claim.n, places) == claim.value, claim.id


def test_tables_of_one_report_agree_with_each_other():
    value = {claim.id: claim.value for claim in claims.load("04_attentive_hybrid")}
    for data in ("rafdb", "sfew"):
        for branches in ("g", "gl", "glm"):
            assert value[f"r3-2-{data}-{branches}-two-step"] == value[f"r3-1-{data}-{branches}a-cosface"]
        assert value[f"r3-3-attentive-hybrid-{data}"] == value[f"r3-1-{data}-glma-cosface"]


def test_f1_follows_from_precision_and_recall():
    value = {claim.id: claim.value for claim in claims.load("03_feratt")}
    rows = [id.removesuffix("-precision") for id in value if id.endswith("-precision")]
    assert len(rows) == 12
    for row in rows:
        precision, recall = value[f"{row}-precision"], value[f"{row}-recall"]
        assert value[f"{row}-f1"] == pytest.approx(2 * precision * recall / (precision + recall), abs=0.11), row


def test_a_citation_says_who_reported():
    assert claims.cite(DEEP, "fer2013-accuracy") == "70.02 % (reported, R4)"
    assert claims.cite(DEEP, "ckplus-ppdn") == "97.3 % (reported by others, listed in R4)"
    assert claims.cite(DEEP, "parameters") == "66,877 parameters (public code)"
    assert claims.cite("02_region_attention", "paper-sfew") == "56.4 % (reported, paper)"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: claims.load("09_nothing"), "09_nothing.*01_deep_emotion"),
        (lambda: claims.get(DEEP, "nothing"), "nothing"),
        (lambda: claims.table(DEEP, "nothing"), "nothing.*FER2013"),
    ],
)
def test_asking_for_what_is_not_there_is_said(call, said):
    with pytest.raises(FerTeachError, match=said):
        call()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"tag": "S"', '"tag": "M"', "'M' is not one of"),
        ('"value": 70.02', '"value": "70.02"', "value"),
        ('"id": "fer2013-accuracy"', '"id": "fer2013-googlenet"', "once each"),
        ('"claims": [', '"claims": [[', "not JSON"),
        ('"group": "Sizes"', '"group": "Size"', "groups"),
        ('"chapter": "01_deep_emotion"', '"chapter": "02_deep_emotion"', "chapter"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, monkeypatch, old, new, said):
    text = (paths.claims() / f"{DEEP}.json").read_text()
    assert old in text
    (tmp_path / f"{DEEP}.json").write_text(text.replace(old, new, 1))
    monkeypatch.setattr(paths, "claims", lambda: tmp_path)
    with pytest.raises(FerTeachError, match=said):
        claims.load(DEEP)


class Cells(HTMLParser):
    """Collects tags with their attributes, and whether every tag is closed."""

    def __init__(self):
        super().__init__()
        self.seen, self.open = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_tables_are_accessible_and_hold_every_claim(chapter, no_records):
    shown = 0
    for table in claims.tables(chapter):
        parser = Cells()
        parser.feed(table.html())
        tags = [tag for tag, _ in parser.seen]
        assert parser.open == []
        assert tags.count("caption") == tags.count("table") == 1
        headers = [attrs["scope"] for tag, attrs in parser.seen if tag == "th"]
        assert headers == ["col"] * len(table.rows[0]) + ["row"] * len(table.rows)
        box = parser.seen[0][1]
        assert box["role"] == "region"
        assert box["tabindex"] == "0"
        assert box["aria-label"] == table.caption
        assert list(table.frame.columns) == list(table.rows[0])
        text = table.html()
        group = next(g for g in printed.content(chapter)["groups"] if table.caption.endswith(g))
        for claim in claims.load(chapter):
            if claim.group == group:
                assert claim.text in text
                shown += 1
    assert shown >= len(claims.load(chapter))


def test_no_captions_are_equal():
    captions = [table.caption for chapter in CHAPTERS for table in claims.tables(chapter)]
    assert len(set(captions)) == len(captions)


@pytest.fixture
def no_records(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "results", lambda: tmp_path / "results")
    return tmp_path / "results"


def one_record(folder, metrics):
    content = {
        "schema": 1,
        "chapter": DEEP,
        "profile": "paper",
        "data": {"name": "fer2013", "counts": {"test": 3589}, "hash": "0123456789abcdef"},
        "seed": 7,
        "versions": {},
        "device": {"kind": "cpu", "processor": "p", "instructions": "i", "threads": 2},
        "revision": "abcdef012345",
        "date": "2026-01-02T03:04:05+00:00",
        "seconds": 1.0,
        "metrics": metrics,
        "tables": {},
    }
    record.write(content, folder / DEEP / "paper-fer2013.json")


def ours(group="FER2013"):
    return claims.table(DEEP, group).frame[["Method", "Ours", "95 % interval", "n", "Protocol"]].to_dict("records")


def test_without_a_record_nothing_is_claimed(no_records):
    rows = ours()
    assert [row["Ours"] for row in rows] == ["–"] * 4 + [
        "not yet run (as described)",
        "not yet run (as described, read mirrored and moved)",
        "not yet run (top of the ladder)",
        "not yet run (three such networks together)",
    ]
    assert {row["n"] for row in rows} == {"–"}


def test_our_number_comes_from_the_record(no_records):
    one_record(
        no_records,
        {
            "described_accuracy": {"value": 0.62345, "n": 3589, "interval": [0.60749, 0.6391]},
            "parameters": {"value": 66877.0, "n": None, "interval": None},
        },
    )
    described, views, top, together = ours()[-4:]
    assert described["Ours"] == "62.34 % (as described)"
    assert described["95 % interval"] == "60.75\u00a0to\u00a063.91"
    assert described["n"] == "3,589"
    assert "paper profile, FER2013, seed 7, revision abcdef012345, 2026-01-02" in described["Protocol"]
    assert views["Ours"] == "not in the record (as described, read mirrored and moved)"
    assert top["Ours"] == "not in the record (top of the ladder)"
    assert together["Ours"] == "not in the record (three such networks together)"
    assert [row["Ours"] for row in ours("Re-implementations")][2] == "66,877 parameters"


def test_a_grid_shows_our_numbers_too(no_records, tmp_path, monkeypatch):
    text = (paths.claims() / f"{DEEP}.json").read_text()
    (tmp_path / f"{DEEP}.json").write_text(text.replace('"FER2013": {', '"FER2013": {"layout": "grid", ', 1))
    monkeypatch.setattr(paths, "claims", lambda: tmp_path)
    one_record(no_records, {"described_accuracy": {"value": 0.62, "n": 3589, "interval": [0.60, 0.64]}})
    row = claims.table(DEEP, "FER2013").rows[-1]
    assert row["Method"] == "Deep-Emotion"
    assert row["FER2013"].startswith("70.02 %")
    assert row["Ours"] == "FER2013: 62.00 % (as described) (60.00\u00a0to\u00a064.00, n = 3,589)"


def test_a_share_recorded_in_per_cent_is_refused(no_records):
    one_record(no_records, {"described_accuracy": {"value": 62.3, "n": 3589, "interval": None}})
    with pytest.raises(FerTeachError, match="recorded as 0 to 1"):
        ours()


def test_committed_records_hold_every_metric_that_a_claim_points_to():
    for chapter in CHAPTERS:
        for claim in claims.load(chapter):
            for one in claim.ours:
                result = record.result(chapter, one.profile, one.data)
                assert result is None or one.metric in result["metrics"], f"{chapter}, {claim.id}: {one.metric}"


def test_an_interval_stands_beside_a_reported_share():
    low, high = claims.get(DEEP, "fer2013-accuracy").interval
    assert (low, high) == (pytest.approx(68.50, abs=0.01), pytest.approx(71.50, abs=0.01))
    assert claims.get(DEEP, "ckplus-accuracy").interval is None


def test_the_page_shows_every_chapter_once(no_records):
    page = claims.page()
    assert claims.MARKER not in page
    for chapter in CHAPTERS:
        assert page.count(f"\n## {printed.content(chapter)['title']}\n") == 1
    assert page.count("<table") == sum(len(claims.tables(chapter)) for chapter in CHAPTERS)
    assert "not yet run" in page
    assert "\n\n" not in re.search(r"<div.*?</div>", page, re.S).group()  # markdown would take it up again


def test_the_page_needs_its_marker(tmp_path, monkeypatch):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "claims.md").write_text("# Claims\n")
    monkeypatch.setattr(paths, "root", lambda: tmp_path)
    with pytest.raises(FerTeachError, match="marks where"):
        claims.page()


def test_every_cited_work_is_in_the_bibliography():
    book = parse_file(paths.root() / "book" / "references.bib")
    for chapter in CHAPTERS:
        paper = printed.content(chapter)["paper"]
        entry = book.entries[paper["key"]]
        assert re.sub(r"[{}]", "", entry.fields["title"]) == paper["title"]
        assert [person.last_names[0] for person in entry.persons["author"]][0] in paper["authors"]
        assert {claim.key for claim in claims.load(chapter)} - {None} <= set(book.entries)
    for key, entry in book.entries.items():
        year = re.search(r"\d{4}", key).group()
        assert entry.fields["year"] == year, key
        assert entry.persons["author"][0].last_names[0].lower() in key or key.startswith("marrero"), key


def test_the_files_are_written_as_printed():
    for chapter in CHAPTERS:
        whole = json.loads((paths.claims() / f"{chapter}.json").read_text(), parse_float=Decimal)
        for entry in whole["claims"]:
            values = entry["value"] if isinstance(entry["value"], list) else [entry["value"]]
            assert all(not isinstance(value, Decimal) or "E" not in str(value) for value in values), entry["id"]

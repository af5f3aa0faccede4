"""Proofs of chapter 00, on the chapter's own method cells, and of its exercises' checks and the datasheet's counts."""

import importlib.util
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fer_teach import chapters, checks, data, datasheet, evaluation, figures, landmarks, paths
from fer_teach.data import ferplus
from fer_teach.faces.expressions import CLASSES, PATTERNS
from fer_teach.faces.facs import CODES, MOST, action, mesh_units
from fer_teach.faces.head import head


@pytest.fixture(scope="module")
def m():
    return chapters.load("00_faces")


@pytest.fixture(scope="module")
def votes():
    """Votes of ten raters each, of every shape from one mind to chaos."""
    rng = np.random.default_rng(3)
    shares = rng.dirichlet(np.full(10, 0.3), 500)
    return torch.from_numpy(np.stack([rng.multinomial(10, share) for share in shares]))


@pytest.fixture(scope="module")
def faces():
    return data.load("rendered", split="valid")[:40]


# Votes


@pytest.mark.parametrize("drop", [True, False])
def test_the_majority_is_the_loader_s(m, votes, drop):
    expected = ferplus.decide(votes.numpy(), "majority", drop_single_votes=drop)
    assert m.majority(votes, drop_single=drop).tolist() == expected.tolist()
    assert (expected < 0).any()


def test_agreement_counts_pairs(m, votes):
    for row, shown in zip(votes[:20], m.agreement(votes[:20]).tolist(), strict=True):
        words = np.repeat(np.arange(10), row.numpy())
        pairs = [words[i] == words[j] for i in range(10) for j in range(10) if i != j]
        assert shown == pytest.approx(np.mean(pairs))


def test_kappa_is_one_for_perfect_zero_for_chance_and_the_library_s(m, votes):
    from statsmodels.stats.inter_rater import fleiss_kappa

    assert m.fleiss_kappa(torch.tensor([[10, 0], [0, 10]])) == pytest.approx(1)
    many = torch.from_numpy(np.random.default_rng(0).multinomial(10, [0.5, 0.3, 0.2], 20_000))
    assert m.fleiss_kappa(many) == pytest.approx(0, abs=0.01)
    assert m.fleiss_kappa(votes) == pytest.approx(fleiss_kappa(votes.numpy()))


def test_entropy_is_scipy_s_and_the_floor_of_soft_labels(m, votes):
    from scipy.stats import entropy

    np.testing.assert_allclose(m.entropy(votes), entropy(votes.numpy(), base=2, axis=1))
    known = votes[votes[:, 8:].sum(1) == 0]
    q = m.soft_labels(known).double()
    torch.testing.assert_close(q.sum(1), torch.ones_like(q[:, 0]))
    torch.testing.assert_close(-torch.xlogy(q, q).sum(1) / np.log(2), m.entropy(known), atol=1e-6, rtol=0)
    assert m.soft_labels(torch.tensor([[0] * 8 + [6, 4]])).sum() == 0


# Intervals


@pytest.mark.parametrize(("k", "n"), [(0, 7), (7, 7), (1, 36), (450, 1000)])
def test_wilson_is_the_package_s(m, k, n):
    np.testing.assert_allclose(m.wilson(k, n), evaluation.wilson(k, n), atol=1e-6)


def test_wilson_covers_the_truth(m):
    hits = np.random.default_rng(1).binomial(50, 0.9, 4000)
    covered = [low <= 0.9 <= high for low, high in (m.wilson(k, 50) for k in hits)]
    assert 0.93 < np.mean(covered) < 0.98


# Faces


def test_a_prototype_lies_within_its_pattern(m):
    for name in CLASSES:
        pattern = max(PATTERNS[name], key=lambda pattern: pattern.share)
        shown = dict(zip(CODES, m.prototype(name), strict=True))
        for code, (low, high) in pattern.units.items():
            assert low <= shown[code][0] <= high
            assert shown[code][1] == (0 if code in pattern.one_sided else shown[code][0])
        assert all(not shown[code].any() for code in set(CODES) - set(pattern.units))


def test_a_portrait_moves_where_the_unit_is(m):
    sitter = m.sitter(8)
    rest, smile = (m.portrait(sitter, action(AU12=a), 64).int() for a in (0, 1))
    assert rest.shape == (3, 64, 64)
    assert torch.equal(rest, m.portrait(sitter, action(), 64).int())
    change = (smile - rest).abs().sum((0, 2))  # by row
    assert change[32:].sum() > 4 * change[:24].sum()
    assert sitter[0].glasses == "none"


@pytest.mark.parametrize("code", CODES)
def test_every_unit_has_something_to_show_alone(m, code):
    half, full = (mesh_units(m.visible(**{code: a})) for a in (0.5, 1.0))
    assert np.abs(full).max() > 0.3
    most = np.array([MOST.get(name, np.inf) for name in head().unit_names])
    np.testing.assert_allclose(np.minimum(2 * half, most), full, atol=1e-6)


def test_aligned_landmarks_forget_shift_turn_and_size(m, faces):
    points = faces.landmarks.double()
    turn = torch.tensor([[0.8, -0.6], [0.6, 0.8]], dtype=torch.double)
    np.testing.assert_allclose(m.align(3 * points @ turn.T + 7), m.align(points), atol=1e-9)
    x = m.align(points).reshape(-1, 68, 2)
    np.testing.assert_allclose(x[:, 42:48].mean(1) - x[:, 36:42].mean(1), [[1, 0]] * len(faces), atol=1e-9)


def test_gradients_forget_brightness_and_contrast_but_not_the_mirror(m, faces):
    from dataclasses import replace

    def read(images):
        return m.gradients(replace(faces, images=images))

    shown = read(faces.images)
    assert shown.shape == (40, 324)
    dim = read((faces.images // 2 + 20).byte())
    assert np.corrcoef(shown.ravel(), dim.ravel())[0, 1] > 0.97
    assert not np.allclose(shown, read(faces.images.flip(3)), atol=0.05)


def test_frames_are_near_and_belong_to_their_face(m, faces):
    filmed = m.frames(faces, 3, 0)
    assert filmed.subjects.tolist() == faces.subjects.repeat_interleave(3).tolist()
    near = (filmed.images[::3].float() - faces.images.float()).abs().mean()
    assert 1 < near < (faces.images[1:].float() - faces.images[:-1].float()).abs().mean()
    assert not torch.equal(filmed.images[0], filmed.images[1])


def test_groups_of_one_kind_part_everybody(m, faces):
    who = list(m.groups(faces).values())
    for kind in (who[:2], who[2:5], who[5:8], who[8:10], who[10:12]):
        assert torch.stack(kind).sum(0).tolist() == [1] * len(faces)


def test_a_group_without_members_is_left_out(m, faces, monkeypatch):
    test = faces[~faces.attributes["eyeglasses"] & (faces.attributes["years"] < 60)]
    shown, kept = [], {}
    monkeypatch.setattr(figures, "intervals", lambda labels, *_: shown.extend(labels))
    run = {**vars(m), "test": test, "figures": figures, "evaluation": evaluation, "np": np}
    run["best"] = SimpleNamespace(accuracy=1.0)
    run |= {"right": {"gradients": np.ones(len(test), bool)}, "record": lambda n, interval, **value: kept.update(value)}
    (code,) = (cell.source for cell in chapters.cells("00_faces") if cell.source.startswith("figure = None"))
    exec(code, run)
    there = [name for name, member in m.groups(test).items() if member.any()]
    assert list(kept) == [f"accuracy_{name.replace(' ', '_')}" for name in there]
    assert len(shown) == len(there) < 12


# Exercises and datasheet


def test_wrong_answers_are_told_in_words(m):
    with pytest.raises(checks.Wrong, match="Two words share the lead"):
        checks.plurality(lambda votes, least=1: torch.where(votes.argmax(1) < 8, votes.argmax(1), -1))
    with pytest.raises(checks.Wrong, match="half of the votes is not asked"):
        checks.plurality(lambda votes, least=1: m.majority(votes, drop_single=False))
    with pytest.raises(checks.Wrong, match="more than needed"):
        checks.faces_needed(lambda p, width: 100_000)
    with pytest.raises(checks.Wrong, match="over 0.2"):
        checks.faces_needed(lambda p, width: 10)
    with pytest.raises(checks.Wrong, match="both sides"):
        checks.held_out(lambda subjects, share, seed: torch.rand(len(subjects)) < share)
    for check in (checks.plurality, checks.faces_needed, checks.held_out):
        with pytest.raises(checks.Wrong, match="nothing yet"):
            check(lambda *arguments: None)


def test_the_datasheet_counts_what_is_packed():
    images, shares = datasheet.composition()
    test = data.load("rendered", split="test")
    (row,) = [row for row in images.rows if row["Split"] == "test"]
    assert row["Images"] == f"{len(test):,}"
    assert row["fear"] == f"{test.counts()['fear']:,}"
    told = {row["Property"]: float(row["test"]) for row in shares.rows}
    assert told["women"] + told["men"] == pytest.approx(100, abs=0.11)
    page = datasheet.fill("<!-- composition -->, <!-- looks --> and <!-- transfer -->")
    assert page.count("<table") == 5
    assert "<!--" not in page


def test_the_datasheet_tells_what_was_measured():
    stored = json.loads((paths.results() / "rendered/transfer.json").read_text())
    table = datasheet.transfer()
    assert len(table.rows) == 3 * (len(stored["rows"]) + 1)
    (row,) = [r for r in table.rows if r["Trained on"] == "rendered faces" and r["Tested on"].startswith("photographs")]
    (run,) = [r for r in stored["rows"] if r["row"] == "rendered"]
    assert row["Accuracy"].startswith(f"{100 * run['real']['raw']['accuracy']:.1f} [")
    assert stored["data"]["train"] == data.load("rendered", split="train").grey().resize(48).fingerprint
    seen = json.loads((paths.results() / "rendered/looks.json").read_text())
    assert seen["data"]["rendered"] == data.load("rendered", split="train").grey().fingerprint
    last = min(zip(seen["alike"], seen["classes"], strict=True))[1]
    assert f"\n{last.capitalize()} is the farthest" in (paths.root() / "book/rendered_faces.md").read_text()
    gallery = json.loads((paths.results() / "rendered/landmarks.json").read_text())
    assert gallery["data"] == data.load("rendered", split="gallery").fingerprint


def benchmark(name):
    described = importlib.util.spec_from_file_location(name, paths.root() / f"benchmarks/{name}.py")
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    return module


def test_faces_are_brought_to_one_place_whatever_their_size_turn_and_shift():
    looks = benchmark("looks")
    row, column = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    points = torch.rand(1, 68, 2, generator=torch.Generator().manual_seed(1)) * 10 + 20
    at = torch.view_as_real(looks.PLACES) / 2 + torch.tensor([5.0, 3.0])  # half as large, and moved
    for part, place in zip((*looks.EYES, looks.MOUTH), at, strict=True):
        points[:, part] += place - points[:, part].mean(1, keepdim=True)
    slope = looks.aligned((2 * column + row)[None, None], points)[0]  # a plane of grey stays a plane
    steps = slope[20:80, 21:80] - slope[20:80, 20:79], slope[21:80, 20:80] - slope[20:79, 20:80]
    assert [float(s.std()) < 1e-3 * float(s.mean()) for s in steps] == [True, True]
    assert float(steps[0].mean() / steps[1].mean()) == pytest.approx(2, rel=1e-3)
    turn = torch.tensor([[0.8, 0.6], [-0.6, 0.8]])
    torch.testing.assert_close(looks.upright(2 * points @ turn + 7), looks.upright(points), atol=1e-4, rtol=1e-4)


def test_a_set_looks_like_itself(monkeypatch):
    looks = benchmark("looks")
    faces = data.load("rendered", split="valid").grey()
    monkeypatch.setattr(landmarks, "find", lambda images: (faces.landmarks, torch.arange(len(faces)) % 5 > 0))
    same = looks.compared(faces, faces)
    assert same["alike"] == same["size"] == [1] * 8
    assert same["apart"] == max(max(map(abs, row)) for row in same["off"].values()) == 0
    assert sum(same["faces"]) == int((torch.arange(len(faces)) % 5 > 0).sum())


def test_the_transfer_benchmark_says_which_network_it_trains(monkeypatch):
    transfer = benchmark("transfer")
    made, about = transfer.network()
    assert about["code"] == chapters.method_hash("01_deep_emotion", {"ResidualEmotion"})
    assert about["parameters"] == sum(p.numel() for p in made.parameters())
    whole = chapters.method_code("01_deep_emotion")
    monkeypatch.setattr(chapters, "method_code", lambda name: whole.replace("F.avg_pool2d(x, 2)", "F.max_pool2d(x, 2)"))
    assert transfer.network()[1]["code"] != about["code"]


def test_the_datasheet_says_what_has_not_been_run(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "results", lambda: tmp_path)
    assert datasheet.fill("<!-- looks --> <!-- transfer -->").count("not yet run") == 3

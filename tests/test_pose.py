"""Head pose, hard subsets, frozen answers and covers: what chapter 02 takes from the package."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from fer_teach import data, differences, record, tables
from fer_teach.faces.occluders import cover
from fer_teach.faces.render import rotation
from fer_teach.frozen import answers, reader
from fer_teach.hardfaces import by_rule, hard_subsets, oddness
from fer_teach.pose import head_pose, mean_shape


@pytest.fixture(scope="module")
def gallery():
    return data.load("rendered", split="gallery")


@pytest.mark.parametrize("angles", [(0, 0, 0), (35, 0, 0), (-50, 10, 5), (12, -20, -15), (0, 20, 30)])
def test_the_pose_of_a_turned_mean_shape_is_found_exactly(angles):
    turn = torch.from_numpy(rotation(*angles)).double()
    placed = mean_shape() @ turn.T
    points = placed[:, :2] * torch.tensor([1.0, -1.0]).double() * 37 + torch.tensor([20.0, 60.0]).double()
    pose = head_pose(points[None].float())
    found = torch.stack([pose.yaw, pose.pitch, pose.roll])[:, 0]
    torch.testing.assert_close(found, torch.tensor(angles, dtype=torch.float32), atol=0.15, rtol=0)
    assert pose.misfit < 1e-3


def test_the_pose_of_rendered_faces_is_near_the_truth(gallery):
    pose = head_pose(gallery.landmarks)
    for name, limit in (("yaw", 5), ("pitch", 8), ("roll", 2)):
        assert (getattr(pose, name) - gallery.attributes[name]).abs().mean() < limit
    far = gallery.attributes["yaw"].abs() > 15
    assert (pose.yaw.sign() == gallery.attributes["yaw"].sign())[far].float().mean() > 0.98


def test_hard_subsets_come_from_the_truth_and_add_up(gallery):
    hard, yaw = hard_subsets(gallery), gallery.attributes["yaw"].abs()
    assert torch.equal(hard["occluded"], gallery.attributes["occluded"])
    assert torch.equal(hard["pose_45"], yaw > 45)
    assert torch.equal(hard["hard"], hard["occluded"] | (yaw > 30))
    assert torch.equal(hard["clean"], ~hard["hard"])
    assert hard["all"].all()


def test_without_the_truth_a_rule_decides(gallery, own_cache):
    few = gallery[:48]
    bare = replace(few, attributes=None)
    assert all(torch.equal(a, b) for a, b in zip(by_rule(few).values(), by_rule(bare).values(), strict=True))
    assert torch.equal(hard_subsets(bare)["occluded"], by_rule(bare)["occluded"])
    assert 0 < int(by_rule(bare)["occluded"].sum()) < 24


def test_occluded_faces_are_odder_than_others():
    from sklearn.metrics import roc_auc_score

    faces = data.load("rendered", split="test")
    odd = oddness(faces.images)
    assert odd.shape == (len(faces),)
    assert 0.58 < roc_auc_score(faces.attributes["occluded"], odd) < 0.9  # a weak sign, as the chapter says


def test_cover_hides_what_it_says_and_nothing_else():
    faces = data.load("rendered", split="valid")[:6]
    hidden, alpha = cover(faces.images, faces.landmarks, seed=1)
    assert hidden.shape == faces.images.shape
    assert hidden.dtype == torch.uint8
    untouched = (alpha == 0)[:, None]
    assert (hidden.int() - faces.images.int()).abs()[untouched].max() <= 1  # rounding of grey
    assert (alpha.mean((1, 2)) >= 0.03).all()
    assert torch.equal(hidden, cover(faces.images, faces.landmarks, seed=1)[0])
    assert not torch.equal(hidden, cover(faces.images, faces.landmarks, seed=2)[0])


def test_frozen_answers_equal_the_layers_and_the_reader_finds_its_rows():
    faces = data.load("rendered", split="valid")[:7]
    trunk = torch.nn.Conv2d(1, 3, 3).eval()

    def cut(part, generator):
        return part.images.float()[:, None].expand(-1, 2, -1, -1, -1) / 255

    made = answers(faces, cut, trunk, batch=3)
    assert made.shape == (7, 2, 3, 62, 62)
    expected = trunk(cut(faces, None)[:, 0]).detach()
    torch.testing.assert_close(made[:, 0].float(), expected, atol=0.02, rtol=0.02)  # bfloat16
    other = made + 1
    feed = reader(lambda: {"valid": [made, other]})
    x, labels = feed(faces, torch.tensor([2, 5]), None)
    assert torch.equal(x, made[[2, 5]].float())
    assert torch.equal(labels, faces.labels[[2, 5]])
    drawn = {float(feed(faces, torch.tensor([0]), torch.Generator().manual_seed(s))[0].mean()) for s in range(20)}
    assert len(drawn) == 2  # both copies are used in training


class Tiny(list):
    name, fingerprint = "rendered", "0" * 16


def test_differences_pair_the_seeds(monkeypatch, tmp_path):
    from fer_teach import evaluation, paths

    monkeypatch.setattr(paths, "results", lambda: tmp_path)
    record.begin("02_region_attention", "quick", {"train": Tiny([1])}, 0)
    rows = [{"variant": v, "seed": s, "all": 0.7 + 0.1 * s + d} for v, d in (("a", 0.02), ("b", 0.0)) for s in range(3)]
    rows[0]["all"] += 0.01
    tables.show("variants", pd.DataFrame(rows), ["variant"], ["all"], n=50)
    (row,) = differences.show("variants", "variant", [("a", "b")], ["all"]).tables[0].rows
    made = evaluation.paired_seeds([0.73, 0.82, 0.92], [0.7, 0.8, 0.9])
    assert row["difference"] == "a - b"
    assert row["all"] == f"+2.3 [{100 * made.low:+.1f}, {100 * made.high:+.1f}]\np = {made.pvalue:.3f}"
    missing = differences.show("variants", "variant", [("a", "c")], ["all"])
    assert missing.tables == []
    record._state.clear()

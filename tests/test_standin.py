"""The stand-in behind the name `rendered`: contract, geometry, determinism."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from fer_teach import data
from fer_teach.data import standin
from fer_teach.data.dataset import pixel_keys
from fer_teach.data.standin_shape import project

COUNTS = {"train": 240, "valid": 80, "test": 120}
DRAW = standin.draw_split


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    """Small splits, drawn once."""
    patch = pytest.MonkeyPatch()
    patch.setenv("FER_TEACH_CACHE", str(tmp_path_factory.mktemp("cache")))
    patch.setattr(standin, "draw_split", lambda split: DRAW(split, COUNTS[split]))
    yield {split: data.load("rendered", split=split) for split in COUNTS}
    patch.undo()


def test_contract(splits):
    for split, dataset in splits.items():
        n = COUNTS[split]
        assert dataset.images.shape == (n, 1, 64, 64)
        assert dataset.classes == (
            "neutral",
            "happiness",
            "surprise",
            "sadness",
            "anger",
            "disgust",
            "fear",
            "contempt",
        )
        assert dataset.votes.shape == (n, 10)
        assert (dataset.votes.sum(1) == 10).all()
        assert dataset.landmarks.shape == (n, 68, 2)
        assert dataset.landmarks.dtype == torch.float32
        assert set(dataset.masks) == {"face", "eyes", "mouth"}
        assert all(mask.shape == (n, 64, 64) and mask.dtype == torch.bool for mask in dataset.masks.values())
        assert set(dataset.attributes) == {"yaw", "pitch", "roll", "occluded"}
        assert dataset.attributes["occluded"].dtype == torch.bool
        assert all(0 <= unit.min() <= unit.max() <= 1 for unit in dataset.action_units.values())
        assert len(dataset.resize(48)) == n


def test_full_sizes_and_balance():
    assert {split: count for split, (_, count) in standin.SPLITS.items()} == {"train": 4000, "valid": 800, "test": 1200}
    spans = [range(first, first + count // 10) for first, count in standin.SPLITS.values()]
    assert not any(set(a) & set(b) for a in spans for b in spans if a is not b)


def test_subjects_and_images_are_disjoint(splits):
    subjects = [set(dataset.subjects.tolist()) for dataset in splits.values()]
    keys = [set(pixel_keys(dataset.images)) for dataset in splits.values()]
    for groups in (subjects, keys):
        assert len(set.union(*groups)) == sum(map(len, groups))
    assert sum(map(len, keys)) == sum(COUNTS.values())


def test_same_source_same_bytes():
    digests = set()
    for _ in range(2):
        drawn = DRAW("valid", 40)
        digests.add(hashlib.sha256(b"".join(array.tobytes() for array in drawn.values())).hexdigest())
    assert len(digests) == 1


def test_landmarks_lie_in_their_masks(splits):
    dataset = splits["train"]
    for part, points in (("eyes", range(36, 48)), ("mouth", range(48, 68))):
        where = dataset.landmarks[:, list(points)].round().long().clamp(0, 63)
        inside = dataset.masks[part][torch.arange(len(dataset))[:, None], where[..., 1], where[..., 0]]
        assert inside.float().mean() > 0.97
    areas = {part: mask.float().mean() for part, mask in dataset.masks.items()}
    assert areas["face"] > 0.2 > areas["eyes"] > 0.01
    assert 0.2 > areas["mouth"] > 0.01


def test_dlib_order(splits):
    upright = {key: value.abs() < 12 for key, value in splits["train"].attributes.items() if key != "occluded"}
    points = splits["train"].landmarks[upright["yaw"] & upright["roll"] & upright["pitch"]]
    x, y = points[..., 0], points[..., 1]
    assert (x[:, 0] < x[:, 36]).all()
    assert (x[:, 36] < x[:, 39]).all()
    assert (x[:, 42] < x[:, 45]).all()
    assert (x[:, 45] < x[:, 16]).all()
    assert (y[:, 27] < y[:, 33]).all()
    assert (y[:, 33] < y[:, 51]).all()
    assert (y[:, 51] < y[:, 57]).all()
    assert (y[:, 57] < y[:, 8]).all()
    assert (x[:, 48] < x[:, 54]).all()


def test_pose_turns_as_documented():
    nose = np.array([[0.0, 0.1, 0.5]])
    assert project(nose, 30, 0, 0)[0, 0] > 0.2
    assert project(nose, 0, 30, 0)[0, 1] < -0.2
    top = np.array([[0.0, -0.9, 0.0]])
    np.testing.assert_allclose(project(top, 0, 0, 90), [[1, 0]], atol=1e-9)


def test_votes_mostly_agree_with_the_label(splits):
    dataset = splits["train"]
    assert (dataset.votes[:, :8].argmax(1) == dataset.labels).float().mean() > 0.9


def test_units_show_in_the_points(splits):
    dataset = splits["train"]
    mouth = dataset.landmarks[:, 66, 1] - dataset.landmarks[:, 62, 1]
    surprise, neutral = (dataset.labels == dataset.classes.index(name) for name in ("surprise", "neutral"))
    assert mouth[surprise].mean() > mouth[neutral].mean() + 2

"""FaceDataset: subsets, resizing, fingerprint, duplicates."""

from __future__ import annotations

import pytest
import torch

from fer_teach.data import DataError, FaceDataset, duplicates, unseen


def make(count=6, channels=1, size=8, **more):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, channels, size, size), generator=generator, dtype=torch.uint8)
    return FaceDataset("toy", "train", images, torch.arange(count) % 3, ("a", "b", "c", "d"), **more)


def full():
    masks = {"face": torch.zeros(6, 8, 8, dtype=torch.bool)}
    masks["face"][:, 2:4, 4:8] = True
    return make(
        subjects=torch.arange(6),
        votes=torch.ones(6, 10, dtype=torch.int64),
        landmarks=torch.arange(6 * 68 * 2, dtype=torch.float32).reshape(6, 68, 2),
        five_points=torch.arange(6 * 5 * 2, dtype=torch.float32).reshape(6, 5, 2),
        masks=masks,
        action_units={"AU12": torch.rand(6)},
        attributes={"yaw": torch.arange(6.0)},
    )


@pytest.mark.parametrize(
    "index",
    [slice(1, 5, 2), [1, 3], torch.tensor([1, 3]), torch.tensor([False, True, False, True, False, False])],
    ids=["slice", "list", "tensor", "mask"],
)
def test_subset_takes_every_field_along(index):
    dataset = full()
    part = dataset[index]
    assert len(part) == 2
    assert torch.equal(part.images, dataset.images[[1, 3]])
    for key in ("labels", "subjects", "votes", "landmarks", "five_points"):
        assert torch.equal(getattr(part, key), getattr(dataset, key)[[1, 3]])
    assert part.masks["face"].shape == (2, 8, 8)
    assert part.attributes["yaw"].tolist() == [1.0, 3.0]
    assert part.action_units["AU12"].shape == (2,)
    assert (part.name, part.split, part.classes) == (dataset.name, dataset.split, dataset.classes)


def test_one_number_gives_one_face_and_empty_list_none():
    dataset = make()
    assert torch.equal(dataset[-1].images, dataset.images[5:])
    assert len(dataset[[]]) == 0
    assert dataset[[]].counts() == {"a": 0, "b": 0, "c": 0, "d": 0}
    with pytest.raises(IndexError):
        dataset[6]


def test_iteration_ends():
    assert sum(len(face) for face in make()) == 6


def test_resize_moves_masks_and_landmarks():
    dataset = full()
    double = dataset.resize(16)
    assert double.size == (16, 16)
    assert double.images.dtype == torch.uint8
    expected = torch.zeros(16, 16, dtype=torch.bool)
    expected[4:8, 8:16] = True
    assert torch.equal(double.masks["face"][0], expected)
    torch.testing.assert_close(double.landmarks, (dataset.landmarks + 0.5) * 2 - 0.5)
    torch.testing.assert_close(double.five_points, (dataset.five_points + 0.5) * 2 - 0.5)
    assert dataset.resize((4, 6)).images.shape == (6, 1, 4, 6)
    assert torch.equal(dataset.resize(8).images, dataset.images)
    assert dataset[[]].resize(4).images.shape == (0, 1, 4, 4)
    with pytest.raises(DataError, match="at least 1"):
        dataset.resize(0)


def test_resize_keeps_a_constant_image():
    dataset = make()
    dataset.images[:] = 77
    assert (dataset.resize(5).images == 77).all()


def test_grey_uses_the_luma_weights():
    colour = make(channels=3)
    colour.images[:] = torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None, None]
    assert colour.grey().images.shape == (6, 1, 8, 8)
    assert (colour.grey().images == 76).all()
    assert torch.equal(make().grey().images, make().images)


def test_grey_keeps_bytes_alone(monkeypatch):
    random = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (2500, 3, 9, 7), generator=random, dtype=torch.uint8)
    colour = FaceDataset("toy", "train", images, torch.zeros(2500, dtype=torch.int64), ("a",))
    weights = torch.tensor([0.299, 0.587, 0.114])
    whole = torch.cat([torch.einsum("nchw,c->nhw", part.float(), weights) for part in images.split(1024)])
    joined, cat = [], torch.cat
    monkeypatch.setattr(torch, "cat", lambda parts: joined.extend(part.dtype for part in parts) or cat(parts))
    assert torch.equal(colour.grey().images, whole.round().clamp(0, 255).byte()[:, None])
    assert set(joined) == {torch.uint8}
    assert colour[[]].grey().images.shape == (0, 1, 9, 7)


def test_fingerprint_follows_content_alone():
    dataset = make()
    assert len(dataset.fingerprint) == 16
    assert int(dataset.fingerprint, 16) >= 0
    assert make().fingerprint == dataset.fingerprint
    other = make()
    other.images[0, 0, 0, 0] ^= 1
    assert other.fingerprint != dataset.fingerprint
    assert dataset[:5].fingerprint != dataset.fingerprint
    assert dataset[torch.arange(6)].fingerprint == dataset.fingerprint


def test_counts_name_every_class():
    assert make().counts() == {"a": 2, "b": 2, "c": 2, "d": 0}


def test_duplicates_are_exact():
    a, b = make(), make()
    b.images[:] = 255 - b.images
    b.images[0], b.images[1] = a.images[4], a.images[2]
    assert duplicates(a, b).tolist() == [2, 4]
    assert duplicates(a, b).dtype == torch.int64
    b.images[0, 0, 0, 0] ^= 1
    assert duplicates(a, b).tolist() == [2]
    assert unseen(a, b).tolist() == [True, True, False, True, True, True]
    assert duplicates(a, make(size=9)).tolist() == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": torch.zeros(6, 1, 8, 8)}, "uint8"),
        ({"labels": torch.zeros(6)}, "int64"),
        ({"labels": torch.full((6,), 4)}, r"0\.\.3"),
        ({"labels": torch.full((6,), -1)}, r"0\.\.3"),
        ({"subjects": torch.arange(5)}, "subjects has 5 rows"),
        ({"attributes": {"yaw": torch.zeros(7)}}, "yaw.* has 7 rows"),
    ],
)
def test_disagreeing_fields_are_refused(changes, message):
    arguments = {"images": make().images, "labels": make().labels} | changes
    with pytest.raises(DataError, match=message):
        FaceDataset("toy", "train", classes=("a", "b", "c", "d"), **arguments)


def test_soft_labels_are_shares_of_the_votes_without_single_ones():
    votes = torch.zeros(6, 10, dtype=torch.int64)
    votes[1, :4] = torch.tensor([6, 3, 1, 0])
    votes[2, [2, 8]] = torch.tensor([1, 9])  # nobody agreed on a class
    shares = make(votes=votes).soft_labels(torch.tensor([1, 2]))
    torch.testing.assert_close(shares[0], torch.tensor([6 / 9, 3 / 9, 0, 0]))
    hard = torch.nn.functional.one_hot(make().labels, 4).float()
    assert torch.equal(shares[1], hard[2])
    assert torch.equal(make().soft_labels(torch.arange(6)), hard)


def test_knowledge_is_what_stands_beside_images_and_labels():
    dataset, other = full(), full()
    other.action_units = dataset.action_units  # these are drawn
    assert dataset.knowledge == other.knowledge != make().knowledge
    for name in ("votes", "landmarks", "five_points", "masks", "attributes"):
        value = getattr(full(), name)
        first = next(iter(value.values())) if isinstance(value, dict) else value
        first[0] = first[0] + 1 if first.dtype != torch.bool else ~first[0]
        changed = full()
        changed.action_units = dataset.action_units
        setattr(changed, name, value)
        assert changed.knowledge != dataset.knowledge
        assert changed.fingerprint == dataset.fingerprint

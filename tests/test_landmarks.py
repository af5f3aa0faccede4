"""dlib's landmarks against the true ones of rendered faces."""

from dataclasses import replace

import pytest
import set_layouts as layouts
import torch

from fer_teach import data, landmarks
from fer_teach.backgrounds import with_masks
from fer_teach.errors import FerTeachError
from fer_teach.hardfaces import by_rule
from fer_teach.parts import outline_masks, part_masks


@pytest.fixture(scope="module")
def frontal():
    test = data.load("rendered", split="test")
    return test[(test.attributes["yaw"].abs() < 15) & ~test.attributes["occluded"]][:120]


def test_points_lie_where_the_mesh_says(frontal, own_cache):
    seen = landmarks.find(frontal.images)
    assert seen.points.shape == (len(frontal), 68, 2)
    assert seen.found.float().mean() > 0.75
    eyes = (frontal.landmarks[:, 36] - frontal.landmarks[:, 45]).norm(dim=-1)
    error = (seen.points - frontal.landmarks).norm(dim=-1).mean(1) / eyes
    assert error[seen.found].median() < 0.08
    again = landmarks.find(frontal.images)
    assert torch.equal(seen.points, again.points)


def test_points_move_with_the_image_and_its_size(frontal):
    image = frontal.images[landmarks.find(frontal.images).found][0]
    wide = torch.nn.functional.pad(image, (8, 0))
    shifted = torch.as_tensor(landmarks.detect(wide)[1] - landmarks.detect(image)[1]).mean(0)
    assert shifted[0] == pytest.approx(8, abs=1)
    assert shifted[1] == pytest.approx(0, abs=1)


def test_images_without_a_face_get_the_stand_in_and_say_so(frontal, own_cache):
    blank = torch.full_like(frontal.images[:2], 127)
    both = torch.cat([frontal.images[:20], blank])
    seen = landmarks.find(both)
    assert not seen.found[-2:].any()
    torch.testing.assert_close(seen.points[-1], seen.points[seen.found].mean(0))
    mine = torch.rand(68, 2)
    assert torch.equal(landmarks.find(blank, stand_in=mine).points[1], mine)
    with pytest.raises(FerTeachError, match="stand_in"):
        landmarks.find(blank)


def test_landmarks_found_in_a_picture_as_it_is_move_along_when_it_is_resized(frontal, own_cache, monkeypatch):
    faces = replace(frontal[:40].resize(48), landmarks=None, attributes=None, masks=None)
    found = landmarks.find(faces.images)
    known = landmarks.landmarked(faces).resize(64)
    monkeypatch.setattr(landmarks, "find", lambda images: pytest.fail("dlib was asked twice"))
    torch.testing.assert_close(known.landmarks, (found.points + 0.5) * 64 / 48 - 0.5)
    seen = landmarks.seen(known)
    assert torch.equal(seen.found, found.found)
    assert torch.equal(seen.points, known.landmarks)
    assert landmarks.landmarked(known) is known
    assert 0 < len(with_masks(known)) == int(found.found.sum()) < 40
    assert len(part_masks(known)[1]) == int(found.found.sum())
    assert by_rule(known)["occluded"][~found.found].all()


def test_true_landmarks_stay_unless_dlibs_are_asked_for(frontal, own_cache):
    few = frontal[:8]
    assert landmarks.landmarked(few) is few
    assert torch.equal(landmarks.landmarked(few, always=True).landmarks, landmarks.find(few.images).points)
    assert torch.equal(landmarks.seen(few).points, landmarks.find(few.images).points)


def test_masks_are_drawn_around_true_landmarks_without_asking_dlib(frontal, monkeypatch):
    monkeypatch.setattr(landmarks, "find", lambda images: pytest.fail("dlib was asked"))
    few = replace(frontal[:8], masks=None).resize(48)
    assert torch.equal(landmarks.known(few).points, few.landmarks)
    assert landmarks.known(few).found.tolist() == [True] * 8
    masks, index = part_masks(few)
    assert index.tolist() == list(range(8))
    assert torch.equal(masks["mouth"], outline_masks(few.landmarks, few.size)["mouth"])


def test_masks_of_ckplus_are_drawn_around_its_landmarks(tmp_path, own_cache, monkeypatch):
    layouts.write_ck(tmp_path, points=True)
    faces = landmarks.landmarked(data.load("ckplus", tmp_path, "test")).grey().resize(64)
    monkeypatch.setattr(landmarks, "find", lambda images: pytest.fail("dlib was asked"))
    masks, index = part_masks(faces)
    assert len(masks["eyes"]) == len(index) == len(faces)


def test_a_missing_predictor_says_what_to_install(monkeypatch):
    monkeypatch.setattr(landmarks.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FerTeachError, match="pip install face-recognition-models"):
        landmarks.predictor_file()

"""dlib's landmarks against the true ones of rendered faces."""

import pytest
import torch

from fer_teach import data, landmarks
from fer_teach.errors import FerTeachError


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


def test_a_missing_predictor_says_what_to_install(monkeypatch):
    monkeypatch.setattr(landmarks.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FerTeachError, match="pip install face-recognition-models"):
        landmarks.predictor_file()

"""What `fit` and `predict` do with a feed, and the paired test over seeds."""

import math

import pytest
import torch
from scipy.stats import ttest_rel
from torch import nn

from fer_teach import evaluation, training
from fer_teach.data import FaceDataset
from fer_teach.errors import FerTeachError


def faces(count=96, seed=0):
    """Faces whose class is whether the left half is the brighter one."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 120, (count, 1, 8, 8), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 2, (count,), generator=generator)
    for image, label in zip(images, labels, strict=True):
        image[..., 4 * int(label) : 4 * int(label) + 4] += 100
    landmarks = torch.rand(count, 68, 2, generator=generator) + labels[:, None, None]
    return FaceDataset("made", "train", images, labels, ("left", "right"), landmarks=landmarks)


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.image, self.points = nn.Linear(64, 2), nn.Linear(136, 2)

    def forward(self, images, points):
        return self.image(images.flatten(1)) + self.points(points.flatten(1))


def feed(dataset, index, generator):
    x = training.augment_images(dataset.images[index], None, generator)
    if generator is not None:
        x = x + 0.01 * torch.randn(x.shape, generator=generator)
    return (x, dataset.landmarks[index]), (dataset.labels[index], index)


def loss(output, target, model):
    labels, index = target
    assert len(index) == len(labels)
    return nn.functional.cross_entropy(output, labels)


def trained(directory=None, epochs=6):
    torch.manual_seed(0)
    recipe = training.Recipe(epochs=epochs, batch=32, lr=0.02, precision="fp32")
    return training.fit(
        TwoInputs(), faces(), faces(seed=1), loss=loss, recipe=recipe, seed=0, feed=feed, progress=False,
        directory=directory,
    )  # fmt: skip


def test_a_feed_gives_model_and_loss_what_they_ask_for(tmp_path):
    made = trained()
    held_out = faces(seed=2)
    assert made.history[-1]["valid_accuracy"] == 1
    assert evaluation.accuracy(made.best, held_out, feed=feed, batch=7) == 1
    again = trained(tmp_path)
    for a, b in zip(made.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)  # every draw comes from the run's own generator


def test_flips_mirror_images_and_leave_points_alone():
    seen = []

    class Watch(nn.Module):
        def forward(self, images, points):
            seen.append((images, points))
            return torch.zeros(len(images), 2)

    evaluation.predict(Watch(), faces(5), feed=feed, flips=True)
    (images, points), (mirrored, same) = seen
    assert torch.equal(mirrored, images.flip(-1))
    assert torch.equal(points, same)


def test_smoothing_that_would_do_nothing_is_refused():
    recipe = training.Recipe(epochs=1, label_smoothing=0.1)
    with pytest.raises(FerTeachError, match="feed"):
        training.fit(TwoInputs(), faces(), loss=loss, recipe=recipe, seed=0, feed=feed, progress=False)


def test_paired_seeds_is_the_paired_t_test():
    a, b = [0.70, 0.74, 0.69, 0.73, 0.75], [0.68, 0.73, 0.69, 0.70, 0.74]
    made, expected = evaluation.paired_seeds(a, b), ttest_rel(a, b)
    assert made.pvalue == pytest.approx(expected.pvalue)
    assert (made.low, made.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert made.mean == pytest.approx(0.014)
    assert math.isnan(evaluation.paired_seeds([0.5], [0.4]).pvalue)
    with pytest.raises(FerTeachError, match="equal length"):
        evaluation.paired_seeds([0.1, 0.2], [0.1])

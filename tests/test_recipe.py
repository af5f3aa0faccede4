"""Recipe and learning-rate schedule."""

from dataclasses import asdict, replace

import pytest
import torch
from torch import nn

from fer_teach.errors import FerTeachError
from fer_teach.training import Augment, Recipe, rate


@pytest.mark.parametrize(
    "bad",
    [{"epochs": 0}, {"batch": 0}, {"optimizer": "lion"}, {"precision": "fp16"}, {"lr": 0}, {"ema": 1.0}, {"clip": 0}],
)
def test_bad_recipe_is_refused(bad):
    with pytest.raises(FerTeachError, match=next(iter(bad))):
        Recipe(**bad)


def test_recipe_is_plain_values():
    recipe = Recipe(augment=Augment(mixup=0.2))
    assert asdict(recipe)["augment"]["mixup"] == 0.2
    assert hash(recipe) == hash(replace(recipe))


def test_one_cycle_agrees_with_the_library_and_ends_near_zero():
    steps, recipe = 101, Recipe(warmup=0.25)
    shares = [rate(step, steps, recipe) for step in range(steps)]
    assert shares[0] == pytest.approx(1 / 25)
    assert shares[25] == max(shares) == pytest.approx(1)
    assert 0 < shares[-1] < 1e-5
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    library = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=101, pct_start=26 / 101, cycle_momentum=False
    )
    for share in shares:
        assert optimizer.param_groups[0]["lr"] == pytest.approx(share, rel=1e-4, abs=1e-6)
        optimizer.step()
        library.step()


@pytest.mark.parametrize("warmup", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_rate_of_few_steps_is_a_share(steps, warmup):
    shares = [rate(step, steps, Recipe(warmup=warmup)) for step in range(steps)]
    assert all(0 < share <= 1 for share in shares)
    assert rate(0, steps, Recipe(schedule="constant")) == 1

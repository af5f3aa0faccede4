"""Predictions, scores with intervals, paired tests and the pointing game."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from .augment import views_of
from .devices import on_fastest
from .errors import FerTeachError
from .paired import McNemar, PairedSeeds, mcnemar, paired_seeds
from .training import normalise

__all__ = [
    "CollapseWarning", "McNemar", "PairedSeeds", "Pointing", "Scores", "accuracy", "bootstrap", "mcnemar",
    "occlusion_on_image", "paired_seeds", "pointing_game", "predict", "rate", "scores", "seed_interval", "wilson",
]  # fmt: skip


class CollapseWarning(UserWarning):
    """A classifier gave one and the same class to every image."""


def predict(model, dataset, batch=512, flips=False, precision="fp32", feed=None, shifts=0):
    """Class probabilities for every image.

    model: takes float (B, C, H, W) from `normalise`, returns logits (B, K) or an object with `.logits`. It runs in eval
    mode, on a GPU if there is one; each module gets its own mode back, and the model its place. dataset: FaceDataset or
    uint8 (N, C, H, W). batch: images at a time. flips: average the probabilities of each image and its mirror image.
    precision: "fp32" or "bf16" (autocast). feed: what `training.fit` was given, for a FaceDataset; `flips` then mirrors
    every image-like tensor (B, ..., H, W) of its x. shifts: average also over the image moved by so many pixels to each
    of the four sides, its edge repeated. Returns float32 (N, K) on the CPU; rows sum to 1.
    Raises FerTeachError for an empty set and for logits that are not finite.
    """
    images = dataset if torch.is_tensor(dataset) else dataset.images
    if len(images) == 0:
        raise FerTeachError("nothing to predict: the set is empty")
    if precision not in ("fp32", "bf16"):
        raise FerTeachError(f"precision must be fp32 or bf16, not {precision!r}")
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    parts = []
    try:
        with (
            on_fastest(model) as device,
            torch.inference_mode(),
            torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"),
        ):
            for index in torch.arange(len(images)).split(batch):
                x = normalise(images[index]) if feed is None else feed(dataset, index, None)[0]
                x = tuple(part.to(device) for part in (x if isinstance(x, tuple) else (x,)))
                views = views_of(x, flips, shifts)
                parts.append(sum(_probabilities(model(*view)) for view in views).div(len(views)).cpu())
    finally:
        for module, mode in modes:
            module.training = mode
    return torch.cat(parts)


def accuracy(model, dataset, **options):
    """The share of a data set that a model reads right, in [0, 1]. options: those of `predict`."""
    return float((predict(model, dataset, **options).argmax(1) == dataset.labels).float().mean())


def _probabilities(output):
    logits = output if torch.is_tensor(output) else output.logits
    if not torch.isfinite(logits).all():
        raise FerTeachError("the network returned logits that are not finite")
    return logits.float().softmax(dim=1)


@dataclass
class Scores:
    """Scores of one set of predictions; every rate lies in [0, 1].

    n: images. accuracy, and interval: its Wilson 95 % interval. balanced_accuracy: mean recall of the classes among
    the labels. precision, recall, f1: means over all K classes, where a class without a label or without a
    prediction counts 0. per_class_recall: (K,), nan for a class without a label. confusion: int64 (K, K), rows are
    the true classes, columns the predicted ones. collapsed: every image got the same class. classes: their names.
    """

    n: int
    accuracy: float
    interval: tuple[float, float]
    balanced_accuracy: float
    precision: float
    recall: float
    f1: float
    per_class_recall: np.ndarray
    confusion: np.ndarray
    collapsed: bool
    classes: tuple[str, ...]


def scores(probabilities, labels, classes):
    """Score probabilities against labels.

    probabilities: float (N, K), rows sum to 1; labels: int64 (N,) in 0..K-1; classes: K names. Returns Scores.
    Warns CollapseWarning if two or more images all get one class. Raises FerTeachError for an empty set, shapes that
    do not fit, labels that are no class, and probabilities that are not finite.
    """
    from torchmetrics.functional.classification import (
        multiclass_accuracy,
        multiclass_confusion_matrix,
        multiclass_f1_score,
        multiclass_precision,
        multiclass_recall,
    )

    probabilities, labels, count = torch.as_tensor(probabilities).float(), torch.as_tensor(labels), len(classes)
    _check_scores(probabilities, labels, count)
    labels = labels.long()
    guess = probabilities.argmax(dim=1)
    collapsed = len(labels) > 1 and bool((guess == guess[0]).all())
    if collapsed:
        warnings.warn(
            f"all {len(labels)} images got the class {classes[int(guess[0])]!r}: the network has collapsed",
            CollapseWarning,
            stacklevel=2,
        )
    right = int((guess == labels).sum())

    def macro(metric):
        return float(metric(guess, labels, num_classes=count, average="none", validate_args=False).mean())

    confusion = multiclass_confusion_matrix(guess, labels, num_classes=count).numpy()
    present = confusion.sum(axis=1)
    recall = np.divide(confusion.diagonal(), present, out=np.full(count, np.nan), where=present > 0)
    return Scores(
        n=len(labels),
        accuracy=float(multiclass_accuracy(guess, labels, num_classes=count, average="micro")),
        interval=wilson(right, len(labels)),
        balanced_accuracy=float(np.nanmean(recall)),
        precision=macro(multiclass_precision),
        recall=macro(multiclass_recall),
        f1=macro(multiclass_f1_score),
        per_class_recall=recall,
        confusion=confusion,
        collapsed=collapsed,
        classes=tuple(classes),
    )


def _check_scores(probabilities, labels, count):
    if probabilities.ndim != 2 or probabilities.shape[1] != count:
        raise FerTeachError(f"probabilities must have shape (N, {count}), not {tuple(probabilities.shape)}")
    if labels.shape != probabilities.shape[:1]:
        raise FerTeachError(f"{len(probabilities)} rows of probabilities but labels of shape {tuple(labels.shape)}")
    if len(labels) == 0:
        raise FerTeachError("nothing to score: the set is empty")
    bad = ~torch.isfinite(probabilities).all(dim=1)
    if bad.any():
        raise FerTeachError(f"row {int(bad.nonzero()[0])} of the probabilities is not finite")
    if (labels != labels.long()).any():
        raise FerTeachError("labels must be whole numbers")
    wrong = ((labels < 0) | (labels >= count)).nonzero()
    if len(wrong):
        row = int(wrong[0])
        raise FerTeachError(f"label {int(labels[row])} in row {row} is outside 0..{count - 1}")


def wilson(k, n, level=0.95):
    """Wilson's interval for k successes in n trials (Wilson 1927): the share's (low, high), both in [0, 1].

    Raises FerTeachError unless 0 <= k <= n, n >= 1 and 0 < level < 1.
    """
    from statsmodels.stats.proportion import proportion_confint

    if not (n >= 1 and 0 <= k <= n):
        raise FerTeachError(f"an interval needs 0 <= k <= n and n >= 1, not k = {k}, n = {n}")
    _check_level(level)
    low, high = proportion_confint(k, n, alpha=1 - level, method="wilson")
    return 0.0 if k == 0 else float(low), 1.0 if k == n else float(high)


def _check_level(level):
    if not 0 < level < 1:
        raise FerTeachError(f"level must lie between 0 and 1, not {level}")


def _sample(values, least):
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or len(values) < least or not np.isfinite(values).all():
        raise FerTeachError(f"needs a list of at least {least} finite values, not {values!r}")
    return values


def bootstrap(values, statistic=np.mean, seed=0, level=0.95, resamples=2000):
    """Percentile bootstrap interval of a statistic (Efron 1979): (low, high).

    values: at least 2 finite numbers; statistic: takes an array (n,) and returns a number; resamples: draws with
    replacement; seed: the same seed gives the same interval. Raises FerTeachError for fewer or other values.
    """
    from scipy.stats import bootstrap as resample

    values = _sample(values, 2)
    _check_level(level)
    result = resample(
        (values,),
        lambda sample: statistic(sample),
        vectorized=False,
        n_resamples=resamples,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def seed_interval(values, level=0.95):
    """Mean over seeds and Student's t interval of that mean: (mean, low, high).

    values: one finite number a seed. One seed alone has no interval: low and high are nan then.
    """
    from scipy.stats import t

    values = _sample(values, 1)
    _check_level(level)
    mean = float(values.mean())
    if len(values) == 1:
        return mean, math.nan, math.nan
    half = float(t.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return mean, mean - half, mean + half


def rate(values, n, level=0.95):
    """Mean over seeds of a share of n images, and its interval: (mean, low, high).

    values: one share in [0, 1] a seed, over the same images. One seed has Wilson's interval over the images. Several
    may differ next time by their seeds and by the images: the reach on either side is the root of the summed squares
    of `seed_interval`'s and `wilson`'s. That errs on the safe side. No interval leaves [0, 1].
    """
    mean, *seeds = seed_interval(values, level)
    images = wilson(round(mean * n), n, level)
    low, high = (math.hypot(seed - mean, image - mean) for seed, image in zip(seeds, images, strict=True))
    return (mean, *images) if len(values) == 1 else (mean, max(mean - low, 0.0), min(mean + high, 1.0))


class Pointing(NamedTuple):
    """hits: bool (n,) of the images whose mask is not empty; rate in [0, 1] with its Wilson interval; area_baseline:
    mean share of the image that the mask covers, which a random point would hit; skipped: images with an empty mask."""

    hits: np.ndarray
    rate: float
    interval: tuple[float, float]
    area_baseline: float
    skipped: int


def pointing_game(maps, masks):
    """Does the highest point of each map lie in its mask (Zhang et al. 2016)?

    maps: float (N, h, w), finite; masks: bool (N, H, W), h <= H, w <= W. A smaller map covers the whole image: the
    centre of its highest cell is scaled to the mask's pixels. Of several highest cells the first in reading order
    counts. Images whose mask is empty are left out and counted. Returns Pointing. Raises FerTeachError for shapes that
    do not fit, maps that are not finite, and if no image has a mask.
    """
    maps, masks = torch.as_tensor(maps).float(), torch.as_tensor(masks).bool()
    if maps.ndim != 3 or masks.ndim != 3 or len(maps) != len(masks):
        raise FerTeachError(
            f"needs maps (N, h, w) and masks (N, H, W), not {tuple(maps.shape)} and {tuple(masks.shape)}"
        )
    if not torch.isfinite(maps).all():
        raise FerTeachError("maps must be finite")
    kept = masks.flatten(1).any(dim=1)
    if not kept.any():
        raise FerTeachError("no image has a mask that is not empty")
    maps, masks = maps[kept], masks[kept]
    (h, w), (height, width) = maps.shape[1:], masks.shape[1:]
    if h > height or w > width:
        raise FerTeachError(f"maps of {h} x {w} are larger than their masks of {height} x {width}")
    place = maps.flatten(1).argmax(dim=1)
    y = ((place // w + 0.5) * height / h).long()
    x = ((place % w + 0.5) * width / w).long()
    hits = masks[torch.arange(len(masks)), y, x]
    count = int(hits.sum())
    return Pointing(
        hits.numpy(), count / len(hits), wilson(count, len(hits)), float(masks.float().mean()), int((~kept).sum())
    )


def occlusion_on_image(maps, size, side):
    """Lay maps of a sliding square over the images that it slid on: a square's value counts at its centre.

    maps: float (N, h, w), h and w squares of `size` pixels at equal distances from the first to the last place of an
    image of `side` pixels. Returns (N, side, side); the rim that no centre reaches gets each map's lowest value.
    """
    maps = torch.as_tensor(maps).float()
    inner = F.interpolate(maps[:, None], (side - size + 1,) * 2, mode="bilinear", align_corners=True)[:, 0]
    low = maps.flatten(1).amin(1)[:, None, None]
    before, after = (size - 1) // 2, size // 2
    return F.pad(inner - low, (before, after, before, after)) + low

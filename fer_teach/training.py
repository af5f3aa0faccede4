"""One way to train every network of the book: `fit`, told by a `Recipe`."""

from __future__ import annotations

import contextlib
import math
import random
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from .augment import Augment, augment_batch, augment_images, normalise
from .errors import FerTeachError

__all__ = ["Augment", "Fit", "Recipe", "augment_batch", "augment_images", "fit", "normalise", "rate"]


@dataclass(frozen=True)
class Recipe:
    """How to train, in plain values, so that a recipe can be hashed, stored and compared.

    epochs: passes over the training images. batch: images a step at most; an epoch is cut into equal batches.
    optimizer: "adamw", "adam" or "sgd" (Nesterov, with `momentum`). lr: the highest learning rate; a parameter with
    an attribute `lr_scale` gets that multiple of it.
    weight_decay: not applied to biases and norm parameters (tensors with fewer than two dimensions).
    schedule: "onecycle" (up for the share `warmup` of all steps, then down to almost 0) or "constant".
    label_smoothing: share of the target spread evenly over all classes; the loss then receives probabilities.
    augment: an Augment, or None. ema: decay of the running average of the weights per step, or None.
    precision: "bf16" (autocast; fp32 on a CPU that lacks it) or "fp32". clip: largest gradient norm, or None.
    """

    epochs: int = 10
    batch: int = 128
    optimizer: str = "adamw"
    lr: float = 2e-3
    weight_decay: float = 0.0
    schedule: str = "onecycle"
    warmup: float = 0.25
    momentum: float = 0.9
    label_smoothing: float = 0.0
    augment: Augment | None = None
    ema: float | None = None
    precision: str = "bf16"
    clip: float | None = None

    def __post_init__(self):
        def need(good, name, what):
            if not good:
                raise FerTeachError(f"Recipe.{name} must be {what}, not {getattr(self, name)!r}")

        need(isinstance(self.epochs, int) and self.epochs >= 1, "epochs", "a whole number of at least 1")
        need(isinstance(self.batch, int) and self.batch >= 1, "batch", "a whole number of at least 1")
        need(self.optimizer in ("adamw", "adam", "sgd"), "optimizer", "adamw, adam or sgd")
        need(self.schedule in ("onecycle", "constant"), "schedule", "onecycle or constant")
        need(self.precision in ("bf16", "fp32"), "precision", "bf16 or fp32")
        need(self.lr > 0, "lr", "positive")
        need(self.weight_decay >= 0, "weight_decay", "at least 0")
        need(0 <= self.warmup <= 1, "warmup", "between 0 and 1")
        need(0 <= self.momentum < 1, "momentum", "at least 0 and below 1")
        need(0 <= self.label_smoothing < 1, "label_smoothing", "at least 0 and below 1")
        need(self.ema is None or 0 <= self.ema < 1, "ema", "None, or at least 0 and below 1")
        need(self.clip is None or self.clip > 0, "clip", "None or positive")
        need(self.augment is None or isinstance(self.augment, Augment), "augment", "None or an Augment")


@dataclass
class Fit:
    """What `fit` returns.

    model: the network that was passed in, with its final weights, in eval mode. ema_model: a copy with the averaged
    weights, in eval mode and fixed (`requires_grad_()` before you train it on), or None. history: one dict an epoch
    with epoch, train_loss, valid_loss, valid_accuracy (share in [0, 1]; both None without validation images; of the
    averaged weights if there are any), lr (of the last step) and seconds. seconds: the sum over the epochs, those
    before a resumption included.
    """

    model: torch.nn.Module
    ema_model: torch.nn.Module | None
    history: list[dict] = field(default_factory=list)

    @property
    def seconds(self):
        return sum(row["seconds"] for row in self.history)

    @property
    def best(self):
        """The averaged network if there is one, else the final one."""
        return self.model if self.ema_model is None else self.ema_model


def rate(step, steps, recipe):
    """Learning rate of one step as a share of `recipe.lr`.

    step: 0 to steps - 1. One cycle (Smith & Topin 2018): a cosine from 1/25 to 1 during the first `warmup` of the
    steps, then a cosine down to 1/250,000 at the last one. With a single step the rate is 1.
    """
    if recipe.schedule == "constant" or steps == 1:
        return 1.0
    peak = recipe.warmup * (steps - 1)
    if step < peak:
        low, share = 1 / 25, step / peak
    else:
        low, share = 4e-6, (steps - 1 - step) / (steps - 1 - peak) if peak < steps - 1 else 1.0
    return low + (1 - low) * (1 - math.cos(math.pi * share)) / 2


def call(model, x):
    """The network's output for x; a tuple holds several arguments."""
    return model(*x) if isinstance(x, tuple) else model(x)


def random_state():
    """The state of Python's, numpy's and torch's global generators."""
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002
    state = {"python": random.getstate(), "numpy": numpy_state, "torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_random_state(state):
    """Put back what `random_state` returned."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


@contextlib.contextmanager
def seeded(seed):
    """Seed the global generators for a while, then put them back as they were."""
    before = random_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)
    try:
        yield
    finally:
        set_random_state(before)


def _check(dataset, what):
    if len(dataset.images) == 0:
        raise FerTeachError(f"the {what} set is empty")
    if len(dataset.images) != len(dataset.labels):
        raise FerTeachError(f"the {what} set has {len(dataset.images)} images but {len(dataset.labels)} labels")
    low, high = int(dataset.labels.min()), int(dataset.labels.max())
    if low < 0 or high >= len(dataset.classes):
        raise FerTeachError(
            f"labels of the {what} set run from {low} to {high}, but there are {len(dataset.classes)} classes"
        )


def _alone(folder):
    """Hold a training's folder, or wait for it; the system lets it go when a process dies."""
    if folder is None:
        return contextlib.nullcontext()
    folder.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(folder.with_name(f"{folder.name}.lock"))


def fit(model, train, valid=None, *, loss, recipe, seed, directory=None, progress=True, feed=None):
    """Train a network, in place.

    model: takes float (B, C, H, W) from `normalise` and returns logits (B, K) or an object with `.logits`; its initial
    weights are the caller's (seed before making it). train, valid: FaceDataset; channels and size are passed on as they
    are. loss(output, target, model) -> scalar, where output is what the model returned and target is int64 (B,), or
    probabilities (B, K) under mixup and label smoothing. seed: governs order, augmentation, dropout and whatever else
    draws while training; the global generators are left as they were. directory: checkpoint.ckpt and history.csv go
    there after each epoch; if it holds an unfinished run of the same recipe, seed and data, that run goes on and ends
    with the weights it would have had uninterrupted; a finished one is loaded; while another process trains there, this
    one waits. progress: show one line as it runs.
    feed(dataset, index, generator) -> (x, target): what goes into the model and the loss in place of augmented images
    and labels, for the rows index (int64 (B,)) of a data set; a tuple x is passed as model(*x). It draws from generator
    alone, which is None where nothing may be drawn (validation). `recipe.augment` and `recipe.label_smoothing` are then
    not applied: feed and loss do what they want.

    Two calls with one seed, one machine and one number of threads give bit-identical weights on a CPU.
    Returns a Fit. Raises FerTeachError for unusable data, a loss that is no number, or a directory of another run.
    """
    _check(train, "training")
    if valid is not None:
        _check(valid, "validation")
    if not isinstance(recipe, Recipe):
        raise FerTeachError(f"recipe must be a Recipe, not {type(recipe).__name__}")
    if feed is not None and recipe.label_smoothing:
        raise FerTeachError("Recipe.label_smoothing does nothing with a feed: smooth in the loss or in the feed")
    from .loop import precision, run

    folder, identity = None, None
    if directory is not None:
        folder = Path(directory)
        identity = {
            "recipe": asdict(recipe),
            "precision": precision(recipe),
            "seed": seed,
            "training data": train.fingerprint,
            "validation data": None if valid is None else valid.fingerprint,
            "network": {name: tuple(value.shape) for name, value in model.state_dict().items()},
        }
    with _alone(folder), seeded(seed):
        learner = run(model, train, valid, loss, recipe, seed, folder, identity, progress, feed)
    return Fit(model.eval(), learner.ema.eval() if learner.ema is not None else None, learner.history)

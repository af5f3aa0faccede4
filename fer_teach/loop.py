"""The Lightning side of `training.fit`; imported only when something is trained, because Lightning loads slowly."""

from __future__ import annotations

import contextlib
import copy
import csv
import logging
import math
import os
import signal
import sys
import time
import warnings

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint, ProgressBar
from lightning.pytorch.utilities.exceptions import SIGTERMException

from .augment import augment_batch, normalise
from .errors import FerTeachError
from .kernels import dense
from .processor import fast_bf16
from .training import call, random_state, rate, set_random_state


def precision(recipe):
    """Lightning's name of the precision that a recipe gets on this machine."""
    fast = torch.cuda.is_available() or fast_bf16()
    return "bf16-mixed" if recipe.precision == "bf16" and fast else "32-true"


class Batches:
    """Batches from memory, in order or in a new random order each time: (x, target) as `feed` makes them of the rows,
    or uint8 images and labels without a feed, and then the labels."""

    def __init__(self, dataset, batch, generator=None, feed=None):
        self.dataset, self.generator = dataset, generator
        self.feed = feed or (lambda dataset, index, generator: (dataset.images[index], dataset.labels[index]))
        self.count = math.ceil(len(dataset.images) / batch)

    def __len__(self):
        return self.count

    def __iter__(self):
        size = len(self.dataset.images)
        order = torch.arange(size) if self.generator is None else torch.randperm(size, generator=self.generator)
        for index in order.tensor_split(self.count):
            yield *self.feed(self.dataset, index, self.generator), self.dataset.labels[index]


def logits_of(output):
    """The logits in what a network returned."""
    return output if torch.is_tensor(output) else output.logits


class Learner(L.LightningModule):
    """Steps, optimiser, averaged weights and history of one run."""

    def __init__(self, model, loss, recipe, classes, steps, generator, fed):
        super().__init__()
        self.model, self.loss, self.recipe, self.fed = model, loss, recipe, fed
        self.classes, self.steps, self.generator = classes, steps, generator
        self.ema = copy.deepcopy(model).eval().requires_grad_(False) if recipe.ema is not None else None
        self.history, self.updates, self.restored = [], 0, None

    def configure_optimizers(self):
        recipe = self.recipe
        groups = {}
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                key = (recipe.weight_decay if parameter.ndim > 1 else 0.0, getattr(parameter, "lr_scale", 1.0))
                groups.setdefault(key, []).append(parameter)
        groups = [{"params": g, "weight_decay": decay, "lr": recipe.lr * scale} for (decay, scale), g in groups.items()]
        if recipe.optimizer == "sgd":
            optimizer = torch.optim.SGD(
                groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0, fused=True
            )
        else:
            kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
            optimizer = kind(groups, lr=recipe.lr, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: rate(min(step, self.steps - 1), self.steps, recipe)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_epoch_start(self):
        if self.restored is not None:
            self.generator.set_state(self.restored["run"])
            set_random_state(self.restored)
            self.restored = None
        self.started, self.total, self.seen = time.perf_counter(), 0.0, 0
        self.valid_total, self.valid_right, self.valid_seen = 0.0, 0, 0

    def on_after_batch_transfer(self, batch, dataloader_idx):
        x, target, labels = batch
        if self.fed:
            return batch
        if not self.trainer.training:
            return normalise(x), target, labels
        changes = self.recipe.augment, self.recipe.label_smoothing
        return *augment_batch(x, labels, self.classes, *changes, self.generator), labels

    def training_step(self, batch, index):
        x, target, labels = batch
        value = self.loss(call(self.model, x), target, self.model)
        if value.ndim:
            raise FerTeachError(f"the loss must return a scalar, not a tensor of shape {tuple(value.shape)}")
        if (index % 50 == 0 or value.device.type == "cpu") and not math.isfinite(value.item()):
            raise FerTeachError(
                f"the loss became {value.item()} in epoch {self.current_epoch + 1}, step {index + 1}: "
                "training stopped; a lower learning rate or gradient clipping may help"
            )
        self.total = self.total + value.detach() * len(labels)
        self.seen += len(labels)
        self.lr = max(group["lr"] for group in self.trainer.optimizers[0].param_groups)
        return value

    def on_before_optimizer_step(self, optimizer):
        if self.recipe.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)

    def on_train_batch_end(self, outputs, batch, index):
        if self.ema is not None:
            self.updates += 1
            average(self.ema, self.model, min(self.recipe.ema, self.updates / (self.updates + 9)))

    def validation_step(self, batch, index):
        network = self.model if self.ema is None else self.ema
        x, target, labels = batch
        output = call(network, x)
        self.valid_total += float(self.loss(output, target, network)) * len(labels)
        self.valid_right += int((logits_of(output).argmax(1) == labels).sum())
        self.valid_seen += len(labels)

    def on_train_epoch_end(self):
        if len(self.history) > self.current_epoch:
            return
        seen = self.valid_seen
        self.history.append(
            {
                "epoch": self.current_epoch + 1,
                "train_loss": float(self.total) / self.seen,
                "valid_loss": self.valid_total / seen if seen else None,
                "valid_accuracy": self.valid_right / seen if seen else None,
                "lr": self.lr,
                "seconds": time.perf_counter() - self.started,
            }
        )

    def on_save_checkpoint(self, checkpoint):
        checkpoint["fer_teach"] = {
            "history": self.history,
            "updates": self.updates,
            "random": {**random_state(), "run": self.generator.get_state()},
        }

    def on_load_checkpoint(self, checkpoint):
        saved = checkpoint["fer_teach"]
        self.history, self.updates, self.restored = saved["history"], saved["updates"], saved["random"]


@torch.no_grad()
def average(ema, model, decay):
    """ema <- decay * ema + (1 - decay) * model for weights and floating buffers; other buffers are copied."""
    old, new = [], []
    for a, b in zip(ema.state_dict(keep_vars=True).values(), model.state_dict(keep_vars=True).values(), strict=True):
        if a.is_floating_point():
            old.append(a)
            new.append(b)
        else:
            a.copy_(b)
    torch._foreach_lerp_(old, new, 1 - decay)


class Keep(Checkpoint):
    """After each epoch: checkpoint.ckpt and history.csv, each replaced in one piece."""

    def __init__(self, folder, identity):
        self.folder, self.identity = folder, identity

    def on_save_checkpoint(self, trainer, learner, checkpoint):
        checkpoint["identity"] = self.identity

    def on_train_epoch_end(self, trainer, learner):
        if trainer.fit_loop.restarting:
            return
        part = self.folder / "checkpoint.part"
        trainer.save_checkpoint(part)
        os.replace(part, self.folder / "checkpoint.ckpt")
        part = self.folder / "history.part"
        with open(part, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(learner.history[0]))
            writer.writeheader()
            writer.writerows(learner.history)
        os.replace(part, self.folder / "history.csv")


class Line(ProgressBar):
    """One line that rewrites itself, ever more rarely, and stays as the last epoch's summary."""

    def __init__(self):
        super().__init__()
        self.next = self.start = time.monotonic()

    def on_train_batch_end(self, trainer, learner, outputs, batch, index):
        now = time.monotonic()
        if now >= self.next:
            self.next = now + max(1.0, 0.05 * (now - self.start))
            self.write(
                f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}, "
                f"step {index + 1}/{trainer.num_training_batches}, loss {float(learner.total) / learner.seen:.3f}"
            )

    def on_train_end(self, trainer, learner):
        last = learner.history[-1]
        valid = "" if last["valid_accuracy"] is None else f", validation {100 * last['valid_accuracy']:.1f} %"
        seconds = sum(row["seconds"] for row in learner.history)
        epochs = "1 epoch" if last["epoch"] == 1 else f"{last['epoch']} epochs"
        self.write(f"{epochs} in {seconds:.0f} s: loss {last['train_loss']:.3f}{valid}", "\n")

    def write(self, text, end=""):
        sys.stderr.write("\r" + text.ljust(64) + end)
        sys.stderr.flush()


@contextlib.contextmanager
def quiet():
    """Without Lightning's notices; Ctrl-C arrives as KeyboardInterrupt, and a run told to end exits with 143."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    main = signal.getsignal(signal.SIGINT)
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            yield
    except SIGTERMException as stop:
        raise SystemExit(128 + signal.SIGTERM) from stop
    except SystemExit as stop:
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGINT, main)
        raise KeyboardInterrupt from stop
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def stored(folder, identity):
    """Path of the checkpoint to go on from, or None; FerTeachError if it is damaged or another run's."""
    path = folder / "checkpoint.ckpt"
    if not path.exists():
        return None
    try:
        found = torch.load(path, map_location="cpu", weights_only=False)["identity"]
    except Exception as error:
        reason = str(error).split("\n")[0]
        raise FerTeachError(f"{path} cannot be read ({reason}); delete it to train again") from error
    different = ", ".join(key for key in identity if found.get(key) != identity[key])
    if different:
        raise FerTeachError(f"{folder} holds a run with another {different}; choose another directory or delete it")
    return path


def run(model, train, valid, loss, recipe, seed, folder, identity, progress, feed=None):
    """Train and return the Learner; see `training.fit`."""
    path, home = None, next(model.parameters()).device
    callbacks = [Line()] if progress else []
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        path = stored(folder, identity)
        callbacks.append(Keep(folder, identity))
    model.to(memory_format=torch.channels_last).train()
    generator = torch.Generator().manual_seed(seed)
    batches = Batches(train, recipe.batch, generator, feed)
    steps = recipe.epochs * len(batches)
    learner = Learner(model, loss, recipe, len(train.classes), steps, generator, feed is not None)
    with quiet(), dense():
        trainer = L.Trainer(
            max_epochs=recipe.epochs,
            precision=precision(recipe),
            accelerator="auto",
            devices=1,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=folder is not None,
            enable_model_summary=False,
            enable_progress_bar=progress,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
        held_out = Batches(valid, 512, feed=feed) if valid is not None else None
        trainer.fit(learner, batches, held_out, ckpt_path=path, weights_only=False)
    learner.trainer = None
    return learner.to(home)

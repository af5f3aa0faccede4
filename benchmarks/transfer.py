"""How far do rendered faces carry over to photographs, and back? Train on one kind of face, test on the other.

    python benchmarks/transfer.py --root DIR [--keep DIR] [--out FILE] [--seed N] [--rows NAME ...]

DIR holds FERPlus. Rows: real (trained on FERPlus), rendered, mixed (both), real5 (5 % of the real labels), mixed5
(these and the rendered faces). Real faces are measured on FERPlus's valid split; its test split is never read.
Rendered faces are measured on the packed test split, every class equally often. Targets are the raters' votes: a
majority hides how often a face is half a class, and rare classes most (Barsoum et al. 2016). Rendered faces also vary
in light, focus and shape while training (`varied`); photographs do by themselves. "corrected" divides the network's
probabilities by the shares of the votes it was trained on and multiplies by the class shares of the test faces.
Trainings are kept under --keep and go on after a stop. The network is ResidualEmotion of chapter 01 as it stands; every
row says which that was (a hash of its code, its number of parameters), and a changed network starts anew.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F

from fer_teach import chapters, data, evaluation, training
from fer_teach.record import device

AUGMENT = training.Augment(flip=0.5, shift=0.06, rotate=8, scale=0.08, brightness=0.1, contrast=0.25, erase=0.2)
SHOWN = ("accuracy", "balanced_accuracy")
STEPS = 2400  # of 128 images, for every row, so that no row trains longer than another
CHAPTER, NETWORK = "01_deep_emotion", "ResidualEmotion"
soft_labels = chapters.load("00_faces").soft_labels


def balanced(split, seed):
    """The same number of faces of every class, as many as the rarest has."""
    generator = torch.Generator().manual_seed(seed)
    least = min(split.counts().values())
    chosen = []
    for c in range(len(split.classes)):
        of_class = (split.labels == c).nonzero()[:, 0]
        chosen.append(of_class[torch.randperm(len(of_class), generator=generator)[:least]])
    return split[torch.cat(chosen)]


def joined(*splits):
    """Several sets of the same classes and size as one; only images, labels and votes are kept, and which of the
    pictures are rendered, an attribute "rendered"."""
    kept = {name: torch.cat([getattr(s, name) for s in splits]) for name in ("images", "labels", "votes")}
    rendered = torch.cat([torch.full((len(s),), s.name == "rendered") for s in splits])
    bare = dict.fromkeys(("subjects", "landmarks", "masks", "action_units"))
    return replace(splits[0], name="mixed", **kept, **bare, attributes={"rendered": rendered})


def varied(x, generator):
    """Pictures (B, 1, H, W) in [-1, 1] under another gamma, another smooth field of light, blurred or sharpened, bent a
    little, with noise: what differs between cameras, rooms and faces, and less between rendered ones."""
    count, size = len(x), x.shape[-2:]

    def draw(low, high):
        return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)

    def smooth(channels, side):
        coarse = torch.randn(count, channels, side, side, generator=generator)
        return F.interpolate(coarse, size, mode="bicubic", align_corners=True)

    y = ((x + 1) / 2).clamp(0, 1) ** draw(-0.5, 0.5).exp()
    y = y * (draw(0, 0.35) * smooth(1, 3)).exp()
    blurred = F.avg_pool2d(F.pad(y, (1, 1, 1, 1), mode="replicate"), 3, 1)
    y = torch.lerp(y, blurred, draw(-0.8, 1.2))
    grid = F.affine_grid(torch.eye(2, 3).expand(count, 2, 3), x.shape, align_corners=False)
    bent = grid + 0.03 * smooth(2, 5).permute(0, 2, 3, 1)
    y = F.grid_sample(y, bent, padding_mode="border", align_corners=False)
    return 2 * (y + draw(0, 0.05) * torch.randn(x.shape, generator=generator)) - 1


def feed(dataset, index, generator):
    """Pictures and votes, for `training.fit`."""
    images, target = dataset.images[index], soft_labels(dataset.votes[index])
    if generator is None:
        return training.normalise(images), target
    x = training.augment_images(images, AUGMENT, generator)
    if dataset.name == "rendered":
        x = varied(x, generator)
    elif dataset.name == "mixed":
        rendered = dataset.attributes["rendered"][index]
        x[rendered] = varied(x[rendered], generator)
    return x, target


def network():
    """A new network of the chapter for eight classes, and what says which one it is."""
    made = getattr(chapters.load(CHAPTER), NETWORK)(8)
    code, parameters = chapters.method_hash(CHAPTER, {NETWORK}), sum(p.numel() for p in made.parameters())
    return made, {"network": f"{CHAPTER}.{NETWORK}", "code": code, "parameters": parameters}


def shares(labels):
    return torch.bincount(labels, minlength=8) / len(labels)


def measure(network, train, test):
    """Accuracy, balanced accuracy and recalls on `test`, raw and with the class shares corrected."""
    raw = evaluation.predict(network, test, flips=True)
    corrected = raw / soft_labels(train.votes).mean(0) * shares(test.labels)
    out = {"n": len(test)}
    for name, probabilities in (("raw", raw), ("corrected", corrected / corrected.sum(1, keepdim=True))):
        scored = evaluation.scores(probabilities, test.labels, test.classes)
        out[name] = {
            "accuracy": float(scored.accuracy),
            "interval": [float(x) for x in scored.interval],
            "balanced_accuracy": float(scored.balanced_accuracy),
            "recall": dict(zip(test.classes, [round(float(r), 4) for r in scored.per_class_recall], strict=True)),
        }
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True, help="the folder where FERPlus lies")
    parser.add_argument("--keep", type=Path, default=Path("_build/transfer"))
    parser.add_argument("--out", type=Path, default=Path("_build/transfer/transfer.json"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", nargs="+", default=["real", "rendered", "mixed", "real5", "mixed5"])
    options = parser.parse_args()
    real = {s: data.load("ferplus", options.root, s).grey().resize(48) for s in ("train", "valid")}
    drawn = {s: data.load("rendered", split=s).grey().resize(48) for s in ("train", "valid", "test")}
    few = real["train"][
        torch.randperm(len(real["train"]), generator=torch.Generator().manual_seed(7))[: len(real["train"]) // 20]
    ]
    sets = {
        "real": real["train"],
        "rendered": drawn["train"],
        "mixed": joined(real["train"], drawn["train"]),
        "real5": few,
        "mixed5": joined(*[few] * 3, drawn["train"]),
    }
    tests = {"real": real["valid"], "rendered": balanced(drawn["test"], 0), "rendered_all": drawn["test"]}
    majority = {name: float(shares(test.labels).max()) for name, test in tests.items()}
    done = json.loads(options.out.read_text()) if options.out.exists() else {"rows": []}
    done |= {
        "majority": majority,
        "chance": 1 / 8,
        "device": device(),
        "data": {k: v.fingerprint for k, v in drawn.items()},
    }
    for row in options.rows:
        train = sets[row]
        torch.manual_seed(options.seed)
        made, about = network()
        recipe = training.Recipe(
            epochs=max(1, round(STEPS * 128 / len(train))),
            lr=3e-3,
            weight_decay=0.03,
            warmup=0.2,
            clip=1.0,
            ema=0.995,
        )
        fit = training.fit(
            made, train, real["valid"] if row != "rendered" else drawn["valid"],
            loss=lambda logits, target, model: F.cross_entropy(logits, target), recipe=recipe, seed=options.seed,
            feed=feed, directory=options.keep / f"{row}-{options.seed}-{train.fingerprint}-{about['code']}",
        )  # fmt: skip
        result = {"row": row, "seed": options.seed, **about, "trained_on": len(train)}
        result["minutes"] = round(fit.seconds / 60, 1)
        result |= {name: measure(fit.best, train, test) for name, test in tests.items()}
        done["rows"] = [r for r in done["rows"] if (r["row"], r["seed"]) != (row, options.seed)] + [result]
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(done, indent=1))
        for name in tests:
            values = (f"{kind} {key} {result[name][kind][key]:.3f}" for kind in ("raw", "corrected") for key in SHOWN)
            print(f"{row:9} -> {name:13}", *values, flush=True)


if __name__ == "__main__":
    main()

"""Images a second that `fer_teach.training.fit` trains, end to end: one JSON line a chapter.

    python benchmarks/throughput.py [--chapter NAME] [--batch N] [--threads N] [--precision bf16|fp32] [--seconds S]
    python benchmarks/throughput.py --regions [--batch N] [--threads N]    a loop over regions beside one batch of them

Counted: taking batches from memory, augmentation, forward, backward, step, and Lightning around them. Not counted:
start-up and the first epoch, in which libraries compile their kernels. Images are noise: the speed does not depend on
their content.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
from dataclasses import replace


def deep_emotion(batch, precision, count):
    """(network's name, model, data set, loss, recipe[, feed]) of chapter 01."""
    from fer_teach import chapters, training

    chapter = chapters.load("01_deep_emotion")

    def loss(logits, target, model):
        return chapter.deep_emotion_loss(logits, target, model, 1e-4)

    augment = training.Augment(flip=0.5, shift=0.08, rotate=10, scale=0.1)
    recipe = training.Recipe(batch=batch or 128, precision=precision, augment=augment, ema=0.999)
    return "DeepEmotion", chapter.DeepEmotion(num_classes=7), noise((1, 48, 48), 7, count), loss, recipe


def region_attention(batch, precision, count):
    """The same of chapter 02, and its feed: six regions of each face, cut as it trains, no layer frozen."""
    from fer_teach import chapters, training

    chapter = chapters.load("02_region_attention")
    model = chapter.RegionAttentionNetwork(chapter.narrow(chapter.PLANS["full"]), 512, 8)

    def loss(output, target, model):
        cross_entropy = chapter.F.cross_entropy(output.logits, target)
        return cross_entropy + chapter.region_biased_loss(output.mu)

    def feed(dataset, index, generator):
        return chapter.regions_of(dataset[index], generator), dataset.labels[index]

    recipe = training.Recipe(batch=batch or 32, precision=precision, ema=0.99)
    return "RegionAttentionNetwork", model, noise((1, 64, 64), 8, count), loss, recipe, feed


def feratt(batch, precision, count):
    """The same of chapter 03, at the size of the authors' code: ResNet-34 encoder, eight blocks, 64 pixels."""
    from fer_teach import chapters, training

    chapter = chapters.load("03_feratt")
    feed = chapter.feed_for("originals")
    recipe = training.Recipe(batch=batch or 32, precision=precision, lr=1e-4)
    network = chapter.FERAtt(num_classes=8, encoder="resnet34")
    return "FERAtt, ResNet-34 encoder", network, noise((1, 64, 64), 8, count), chapter.feratt_loss, recipe, feed


def preact_resnet18(batch, precision, count):
    """The classifier of chapter 03 alone, on 32 pixels."""
    from fer_teach import chapters, training

    chapter = chapters.load("03_feratt")

    def loss(out, target, model):
        return chapter.feratt_loss(out, target, model, rep=False)

    def feed(dataset, index, generator):
        x = training.normalise(dataset.images[index]).expand(-1, 3, -1, -1)
        return x, (dataset.labels[index], None)

    recipe = training.Recipe(batch=batch or 64, precision=precision, lr=1e-4)
    return "PreActResNet18", chapter.PreActResNet18(8), noise((1, 32, 32), 8, count), loss, recipe, feed


def attentive_hybrid(plan):
    """As deep_emotion, and a feed, of a plan of chapter 04: "small" or "large"."""

    def build(batch, precision, count):
        from fer_teach import chapters

        chapter = chapters.load("04_attentive_hybrid")
        chosen, dataset = chapter.PLANS[plan], noise((1, 48, 48), 7, count)
        face = mean_landmarks().expand(count, 68, 2).clone()
        recipe = replace(chosen["recipe"], precision=precision, batch=batch or chosen["recipe"].batch)
        model = chapter.AttentiveHybrid(num_classes=7, **chosen["network"])

        def loss(output, target, model):
            return chapter.hybrid_loss(output, target)

        network = f"AttentiveHybrid, {plan}"
        return network, model, replace(dataset, landmarks=face), loss, recipe, chapter.feeder(chosen["augment"])

    return build


def attention_generator(batch, precision, count):
    """The same of chapter 05, first stage."""
    from fer_teach import chapters

    chapter = chapters.load("05_local_global_relation")
    recipe = replace(chapter.ADAM, precision=precision, batch=batch or chapter.ADAM.batch)

    def loss(output, target, model):
        return chapter.word_loss(output, target, 1.0)

    return "AttentionMapGenerator", chapter.AttentionMapGenerator(growth=24), noise((1, 64, 64), 2, count), loss, recipe


def local_global_relation(cached):
    """The same of chapter 05, second stage, with its feed; cached: maps computed once, or at every step."""

    def build(batch, precision, count):
        from fer_teach import chapters

        chapter = chapters.load("05_local_global_relation")
        generators = [chapter.AttentionMapGenerator(growth=24) for _ in range(2)]
        model = chapter.LocalGlobalRelationNetwork(*generators, 8)
        dataset = chapter.with_maps(noise((1, 64, 64), 8, count), generators)
        recipe = replace(chapter.STEADY, precision=precision, batch=batch or chapter.STEADY.batch)

        def loss(output, target, model):
            other = chapter.partners(target)
            paired = chapter.Related(*(part[other] for part in output))
            return chapter.pair_loss(output, paired, target, target[other])

        def feed(dataset, index, generator):
            (x, maps), labels = chapter.feed_with_maps(dataset, index, generator)
            return ((x, maps) if cached else x), labels

        network = f"LocalGlobalRelationNetwork, {'cached' if cached else 'live'} maps"
        return network, model, dataset, loss, recipe, feed

    return build


def mean_landmarks():
    """The rendered faces' mean shape (68, 2) in an image of 48 pixels."""
    from fer_teach import data

    return data.load("rendered", split="valid").resize(48).landmarks.mean(0)


BUILDERS = {
    "01_deep_emotion": deep_emotion,
    "02_region_attention": region_attention,
    "03_feratt": feratt,
    "03_feratt_baseline": preact_resnet18,
    "04_attentive_hybrid": attentive_hybrid("small"),
    "04_attentive_hybrid, large": attentive_hybrid("large"),
    "05_local_global_relation": local_global_relation(True),
    "05_local_global_relation, live maps": local_global_relation(False),
    "05_local_global_relation, generator": attention_generator,
}


def noise(shape, classes, count):
    """A FaceDataset of random pixels and labels."""
    import torch

    from fer_teach.data import FaceDataset

    generator = torch.Generator().manual_seed(0)
    return FaceDataset(
        name="noise",
        split="train",
        images=torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator),
        labels=torch.randint(0, classes, (count,), generator=generator),
        classes=tuple(map(str, range(classes))),
    )


def measure(chapter, batch=None, precision="bf16", seconds=5.0, count=4096):
    """Train the chapter's network for about so many seconds and return the line's contents as a dict.

    images_per_second: over all epochs but the first. best_images_per_second: over the fastest of them, the figure to
    compare on a machine that others use too. peak_memory_mb: of the whole process, in MiB.
    """
    import torch

    from fer_teach.training import fit

    torch.manual_seed(0)
    network, model, dataset, loss, recipe, *feed = BUILDERS[chapter](batch, precision, count)
    options = {"loss": loss, "seed": 0, "progress": False, "feed": feed[0] if feed else None}

    def epochs(count):
        run = fit(model, dataset, recipe=replace(recipe, epochs=count), **options)
        return [row["seconds"] for row in run.history[1:]]

    times = epochs(max(3, 1 + math.ceil(seconds / epochs(2)[0])))
    scale = 1 if sys.platform == "darwin" else 1024
    return {
        "chapter": chapter.partition(",")[0],
        "network": network,
        "parameters": sum(p.numel() for p in model.parameters()),
        "batch": recipe.batch,
        "threads": torch.get_num_threads(),
        "precision": precision,
        "images_per_second": round(len(dataset) * len(times) / sum(times), 1),
        "best_images_per_second": round(len(dataset) / min(times), 1),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 2**20, 1),
        "n": len(dataset) * len(times),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
    }


def regions(batch=None, repeats=9, size=112):
    """Region attention over ResNet-18, as public code loops over six regions, and as one batch: milliseconds an image.

    Forward and backward of the same network on the same regions of `size` pixels in colour; the loop in fp32 and the
    usual memory layout, the batch in channels_last and bf16. The fastest of `repeats` counts. Returns a dict.
    """
    import time

    import torch
    from torchvision.models import resnet18

    from fer_teach import chapters

    chapter, batch = chapters.load("02_region_attention"), batch or 2
    torch.manual_seed(0)
    backbone = resnet18()
    backbone.fc = torch.nn.Identity()
    network = chapter.RegionAttentionNetwork(backbone, 512, 8).train()
    x, labels = torch.randn(batch, 6, 3, size, size), torch.arange(batch) % 8

    def looped():
        features = torch.stack([backbone(region) for region in x.unbind(1)], 1)  # one pass a region
        mu, pooled = chapter.self_attention(features, network.q0)
        _, representation = chapter.relation_attention(features, mu, pooled, network.q1)
        return network.classifier(representation), mu

    def batched():
        with torch.autocast("cpu", torch.bfloat16):
            output = network(x)
        return output.logits.float(), output.mu

    def milliseconds(forward):
        times = []
        for _ in range(repeats + 2):  # the first two prepare kernels
            network.zero_grad()
            start = time.perf_counter()
            logits, mu = forward()
            (chapter.F.cross_entropy(logits, labels) + chapter.region_biased_loss(mu)).backward()
            times.append((time.perf_counter() - start) / batch * 1000)
        return round(min(times[2:]), 1)

    line = {"looped_fp32_ms": milliseconds(looped)}
    network.to(memory_format=torch.channels_last)
    line["batched_bf16_ms"] = milliseconds(batched)
    share = round(line["batched_bf16_ms"] / line["looped_fp32_ms"], 3)
    return {"comparison": "regions", **line, "share": share, "batch": batch, "threads": torch.get_num_threads()}


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--chapter", choices=sorted(BUILDERS), help="one chapter only")
    parser.add_argument("--batch", type=int, help="images a step (default: the chapter's)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    parser.add_argument("--seconds", type=float, default=5.0, help="about how long to measure each chapter")
    parser.add_argument("--images", type=int, default=4096, help="images an epoch")
    parser.add_argument("--regions", action="store_true", help="the comparison of chapter 02 instead")
    chosen = parser.parse_args(arguments)
    if min(chosen.threads, chosen.images, 1 if chosen.batch is None else chosen.batch) < 1 or chosen.seconds <= 0:
        parser.error("--threads, --batch, --images and --seconds must be positive")
    os.environ.setdefault("OMP_NUM_THREADS", str(chosen.threads))
    import torch

    torch.set_num_threads(chosen.threads)
    if chosen.regions:
        print(json.dumps(regions(chosen.batch)), flush=True)
        return
    if chosen.chapter:
        line = measure(chosen.chapter, chosen.batch, chosen.precision, chosen.seconds, chosen.images)
        print(json.dumps(line), flush=True)
        return
    given = sys.argv[1:] if arguments is None else arguments
    for chapter in sorted(BUILDERS):  # each in a process of its own: a peak of memory never falls
        subprocess.run([sys.executable, __file__, *given, "--chapter", chapter], check=True)


if __name__ == "__main__":
    main()

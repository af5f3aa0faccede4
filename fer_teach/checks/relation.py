"""Chapter 05: constant answers, shifted labels, attention pooling and contrastive pairs."""

from __future__ import annotations

import math

from .common import need, tensor


def constant_answer(answer) -> None:
    """Chapter 05: what a constant answer scores. answer(prior, p) -> (bce, accuracy)."""
    for prior, p in ((0.5, 0.5), (0.5, 0.9), (0.3557, 0.9), (0.3557, 0.2), (0.2, 0.5001)):
        got = answer(prior, p)
        need(got is not None, "constant_answer() returns nothing yet: return the loss and the accuracy.")
        need(len(got) == 2, "constant_answer() must return two numbers: the loss and the accuracy.")
        bce, accuracy = map(float, got)
        loss = -prior * math.log(p) - (1 - prior) * math.log(1 - p)
        need(
            abs(bce - loss) < 1e-6,
            f"With a share of {prior} and the answer {p} the loss is {loss:.4f}, not {bce:.4f}. The share that has the "
            "attribute pays -log p, the rest -log(1 - p).",
        )
        if p != 0.5:
            right = prior if p > 0.5 else 1 - prior
            need(
                abs(accuracy - right) < 1e-6,
                f"With a share of {prior} and the answer {p} a share of {right:.4f} is right, not {accuracy:.4f}.",
            )
    print("Right.")


def best_shift(answer) -> None:
    """Chapter 05: by how many rows labels slipped. answer(scores (N,), labels (N,), most) -> whole number."""
    import torch

    draw = torch.Generator().manual_seed(11)
    for n, slip in ((400, 1), (400, -3), (300, 0), (301, 5)):
        truth = (torch.rand(n, generator=draw) < 0.5).long()
        scores = truth + 0.8 * torch.randn(n, generator=draw)
        got = answer(scores, truth.roll(slip), 6)
        need(got is not None, "best_shift() returns nothing yet: return a whole number.")
        need(
            int(got) != -slip or slip == 0,
            f"The labels slipped by {slip} and you answer {int(got)}: that is the shift that mends them. Say the slip.",
        )
        need(int(got) == slip, f"The labels slipped by {slip} rows, you answer {int(got)}.")
    print("Right.")


def mended_pooling(answer) -> None:
    """Chapter 05: bilinear attention pooling. answer(maps (B,K,h,w), features (B,C,h,w)) -> (B,K,C)."""
    import torch

    draw = torch.Generator().manual_seed(5)
    for b, k, c, h, w in ((2, 3, 4, 5, 6), (1, 1, 2, 2, 2), (3, 2, 7, 4, 4)):
        maps, features = torch.rand(b, k, h, w, generator=draw), torch.randn(b, c, h, w, generator=draw)
        got = tensor(answer(maps, features), (b, k, c), "mended_pooling()")
        expected = torch.stack([(maps[:, i, None] * features).sum((2, 3)) / (h * w) for i in range(k)], 1)
        need(
            not torch.allclose(got, expected * h * w, atol=1e-4),
            "The sums are right, but a mean divides by the number of places.",
        )
        need(
            torch.allclose(got, expected, atol=1e-5),
            "The shape is right and the numbers are not. A feature's value at one place must meet the map's value at "
            "the same place: print features of one channel, and see where reshape puts them.",
        )
    print("Right.")


def push(answer) -> None:
    """Chapter 05: the contrastive loss's gradient for a pair that differs. answer(a (D,), b (D,), margin) -> (D,)."""
    import torch

    draw = torch.Generator().manual_seed(3)
    for size, distance, margin in ((2, 0.4, 1.0), (5, 0.9, 1.0), (3, 1.5, 2.0), (4, 1.2, 1.0)):
        a = torch.randn(size, generator=draw, dtype=torch.double)
        way = torch.randn(size, generator=draw, dtype=torch.double)
        b = a + distance * way / way.norm()
        got = tensor(answer(a, b, margin), (size,), "push()").double()
        if distance > margin:
            need(not got.abs().any(), f"A pair {distance} apart lies beyond the margin {margin}: nothing pushes it.")
            continue
        leaf = a.clone().requires_grad_()
        loss = (margin - (leaf - b).norm()) ** 2
        (expected,) = torch.autograd.grad(loss, leaf)
        need(
            not torch.allclose(got, -expected, atol=1e-6),
            "That is the step downhill. The gradient points uphill: towards b, where the loss is larger.",
        )
        need(
            torch.allclose(got, expected, atol=1e-6),
            f"For a pair {distance} apart and a margin of {margin} the gradient has length {float(got.norm()):.3f}; "
            f"it should be {float(expected.norm()):.3f}, twice what the margin lacks, along the line through both.",
        )
    print("Right.")

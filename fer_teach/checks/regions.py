"""Chapter 02: regions, their attention and their loss."""

from __future__ import annotations

from .common import need, tensor


def top_k_pool(answer) -> None:
    """Chapter 02: pooling over the k weightiest regions. answer(features (B,R,D), weights (B,R), k) -> (B, D)."""
    import torch

    generator = torch.Generator().manual_seed(4)
    features = torch.randn(3, 6, 5, generator=generator)
    weights = torch.rand(3, 6, generator=generator) + 0.1
    for k in (1, 2, 6):
        got = tensor(answer(features.clone(), weights.clone(), k), (3, 5), "top_k_pool()")
        for row in range(3):
            chosen = sorted(range(6), key=lambda i, row=row: -float(weights[row, i]))[:k]
            total = sum(float(weights[row, i]) for i in chosen)
            expected = sum(float(weights[row, i]) * features[row, i] for i in chosen) / total
            if torch.allclose(got[row], expected, atol=1e-5):
                continue
            plain = sum(features[row, i] for i in chosen) / k
            need(
                not torch.allclose(got[row], plain, atol=1e-5), "You take the plain mean of the k regions: weigh them."
            )
            undivided = torch.allclose(got[row], expected * total, atol=1e-5)
            need(not undivided, "Divide by the sum of the k weights, or the length of the result depends on it.")
            need(False, f"With k = {k} the result is not the weighted mean of the {k} weightiest regions.")
    print("Right.")


def reaches_crops(answer) -> None:
    """Chapter 02: the region biased loss with the original last. answer(mu (B, R), margin) -> scalar."""
    import torch

    mu = torch.tensor([[0.7, 0.2, 0.3, 0.1, 0.4, 0.65]])  # the crops first, the original last
    got = float(tensor(answer(mu, 0.1), (), "biased_loss_original_last()"))
    need(abs(got - 0.15) > 1e-6, "Column 0 is a crop here, not the original: the original stands in the last column.")
    need(abs(got - 0.05) < 1e-6, f"For crops up to 0.7 and an original of 0.65 it is {got:.3f}, not 0.05.")
    heavy = torch.tensor([[0.2, 0.3, 0.3, 0.1, 0.4, 0.9]])
    got = float(answer(heavy, 0.1))
    need(abs(got - 0.6) < 1e-6, f"An original of 0.9 over crops up to 0.4 must cost 0.6, not {got:.3f}.")
    two = torch.cat([mu, heavy])
    need(abs(float(answer(two, 0.1)) - 0.325) < 1e-6, "Take the mean over the batch.")
    print("Right.")


def equal_cost_side(answer) -> None:
    """Chapter 02: the side of one picture that costs as much as several regions. answer(size, regions) -> int."""
    for size, regions in ((26, 6), (112, 6), (32, 4), (20, 1), (40, 11)):
        got = answer(size, regions)
        need(got is not None, "equal_cost_side() returns nothing yet: return a whole number.")
        need(got == int(got), f"A side is a whole number of pixels, not {got}.")
        need(
            regions == 1 or got != size * regions,
            "A picture of twice the side has four times the pixels: the cost grows with the square of the side.",
        )
        exact = size * regions**0.5
        need(
            abs(got - exact) <= 0.5,
            f"{regions} regions of {size} pixels cost as much as one of {exact:.1f}, not {got}.",
        )
    print("Right.")


def softmax_bounds(answer) -> None:
    """Chapter 02: the range of a softmax over R sigmoids. answer(regions) -> (lowest, highest)."""
    import torch

    for regions in (2, 6, 11):
        got = answer(regions)
        need(got is not None, "softmax_bounds() returns nothing yet: return a pair.")
        low, high = (float(value) for value in got)
        inputs = torch.eye(2, regions, dtype=torch.float64)
        inputs[1] = 1 - inputs[0]
        expected = float(inputs.softmax(1)[1, 0]), float(inputs.softmax(1)[0, 0])
        need(low < high, "The first number must be the lower one.")
        need(
            abs(low - expected[0]) < 1e-6 and abs(high - expected[1]) < 1e-6,
            f"For {regions} regions the weight lies between {expected[0]:.4f} and {expected[1]:.4f}, not {low:.4f} and "
            f"{high:.4f}. Which sigmoids make one region's share smallest?",
        )
    print("Right.")

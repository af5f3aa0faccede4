"""Chapter 04: mirrored landmarks, one step of an LSTM, gains and their errors."""

from __future__ import annotations

from .common import need, tensor


def mirrored_landmarks(answer) -> None:
    """Chapter 04: landmarks of a mirrored face. answer(points (B, 68, 2), width) -> (B, 68, 2)."""
    from ..data import load

    faces = load("rendered", split="valid")[:40]
    points, width = faces.landmarks, faces.size[1]
    got = tensor(answer(points, width), (40, 68, 2), "mirrored_landmarks()")
    need(
        (got[..., 1].sort(1).values - points[..., 1].sort(1).values).abs().max() < 1e-3,
        "A mirror moves no point up or down.",
    )
    eyes = got[:, 42:48, 0].mean(1) - got[:, 36:42, 0].mean(1)
    need(
        (eyes > 0).all(),
        "Points 36 to 41 are the eye at the left of the picture. After your mirror they lie at the right: "
        "who is who must change too.",
    )  # fmt: skip
    for left, right in (
        (0, 16),
        (17, 26),
        (31, 35),
        (36, 45),
        (39, 42),
        (41, 46),
        (48, 54),
        (58, 56),
        (60, 64),
        (67, 65),
    ):
        far = (got[:, left, 0] + points[:, right, 0] - width).abs().min()
        need(far > 1e-3, "Pixel centres stand at whole numbers: column 0 goes to column width - 1, not to width.")
        away = (got[:, left, 0] + points[:, right, 0] - (width - 1)).abs().max()
        need(away < 1e-3, f"Point {left} of the mirrored face should be where point {right} was, mirrored.")
    need((answer(got, width) - points).abs().max() < 1e-3, "Mirroring twice must give the face back.")
    print("Right.")


def lstm_step(answer) -> None:
    """Chapter 04: one step of an LSTM. answer(z, h, c, w_input, w_hidden, bias) -> (h, c)."""
    import torch
    from torch import nn

    torch.manual_seed(3)
    cell, z, h, c = nn.LSTMCell(5, 4), torch.randn(6, 5), torch.randn(6, 4), torch.randn(6, 4)
    got = answer(z, h, c, cell.weight_ih, cell.weight_hh, cell.bias_ih + cell.bias_hh)
    need(got is not None, "lstm_step() returns nothing yet: return the new h and the new c.")
    need(isinstance(got, tuple) and len(got) == 2, "Return two tensors: the new h and the new c.")
    new_h, new_c = (tensor(value, (6, 4), "lstm_step()") for value in got)
    expected_h, expected_c = cell(z, (h, c))
    need(not torch.allclose(new_c, expected_h, atol=1e-5), "You return c before h: the state that is read comes first.")
    need(
        torch.allclose(new_c, expected_c, atol=1e-5),
        "The new c is not right. Order of the four blocks: input gate, forget gate, candidate, output gate; "
        "only the candidate takes tanh.",
    )  # fmt: skip
    need(torch.allclose(new_h, expected_h, atol=1e-5), "c is right, h is not: h is the output gate times tanh(c).")
    print("Right.")


def smallest_gain(answer) -> None:
    """Chapter 04: the least gain that McNemar's exact test calls significant. answer(discordant) -> int or None."""
    from scipy.stats import binomtest

    for discordant in (0, 2, 5, 6, 9, 20, 51, 300):
        gains = range(discordant % 2, discordant + 1, 2)
        good = [g for g in gains if discordant and binomtest((discordant + g) // 2, discordant).pvalue < 0.05]
        expected, got = (good[0] if good else None), answer(discordant)
        if expected is None:
            need(got is None, f"With {discordant} images on which the two differ no gain is significant: return None.")
            continue
        need(
            got is not None,
            f"smallest_gain({discordant}) returns nothing; with {discordant} images some gain is enough.",
        )
        need(
            (int(got) - discordant) % 2 == 0,
            f"{discordant} images split into a and b, so the gain a - b is {'odd' if discordant % 2 else 'even'}, "
            f"never {got}.",
        )  # fmt: skip
        need(int(got) == expected, f"smallest_gain({discordant}) is {expected}, not {got}. The test is two-sided.")
    print("Right.")


def gain_in_errors(answer) -> None:
    """Chapter 04: a gain in its standard errors. answer(k_a, k_b, n) -> float."""
    cases = [(50, 60, 100), (200, 220, 433), (2705, 2730, 3068), (220, 200, 433)]
    for k_a, k_b, n in cases:
        got = answer(k_a, k_b, n)
        need(got is not None, "gain_in_errors() returns nothing yet: return a number.")
        variance = sum(n * (k / n) * (1 - k / n) for k in (k_a, k_b))
        expected = (k_b - k_a) / variance**0.5
        one = (k_b - k_a) / (n * (k_b / n) * (1 - k_b / n)) ** 0.5
        need(
            abs(got - one) > 1e-3 or abs(expected - one) < 1e-3,
            "Both accuracies are uncertain: their variances add up. You took one.",
        )
        need(abs(got - expected) < 1e-3, f"gain_in_errors({k_a}, {k_b}, {n}) should be {expected:.3f}, not {got:.3f}.")
    print("Right.")
